package engine_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestImpossibleShapes: sizes below zero, and sums of nothing, which a file may claim, are errors of the operator that has them and not of the passes.
func TestImpossibleShapes(t *testing.T) {
	ones := model.TensorAttr("value", model.FromSlice([]int{1}, []int64{1}))
	for name, f := range map[string]func(b *builder, x string) string{
		"ConstantOfShape": func(b *builder, x string) string { return b.node("ConstantOfShape", []string{b.ints(-3)}, ones) },
		"Reshape": func(b *builder, x string) string {
			return b.node("Reshape", []string{x, b.node("ConstantOfShape", []string{b.ints(-3)})})
		},
		"Expand": func(b *builder, x string) string {
			return b.node("Expand", []string{x, b.node("ConstantOfShape", []string{b.ints(-70)}, ones)})
		},
		"Max":  func(b *builder, x string) string { return b.node("Max", nil) },
		"Tile": func(b *builder, x string) string { return b.node("Tile", []string{x, b.ints(-2, 1)}) },
		"Split": func(b *builder, x string) string {
			list := b.node("Cast", []string{b.node("Reshape", []string{x, b.ints(-1)})}, model.IntAttr("to", int64(model.Int64)))
			part := b.node("Split", []string{list, b.ints(-3, 9)}, model.IntAttr("axis", 0))
			b.g.Nodes[len(b.g.Nodes)-1].Outputs = []string{part, part + "/rest"}
			return b.node("Reshape", []string{x, part})
		},
		"GatherND": func(b *builder, x string) string {
			return b.node("GatherND", []string{x, b.node("Tile", []string{b.constant(model.FromSlice([]int{1, 1}, []int64{0})), b.ints(1, -2)})})
		},
	} {
		b := newBuilder(1, 17)
		b.output(f(b, b.input("x", model.Float32, model.FixedShape(2, 3))))
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{})
		if err == nil {
			_, err = s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{2, 3}, make([]float32, 6))})
			s.Close()
		}
		if err == nil || strings.Contains(err.Error(), "internal error") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestListsOfSizesAreBounded: a list of sizes that every node doubles is followed only as long as it is short. Its 4 million elements would take
// 64 MB, those before them as much again; a graph of 22 nodes takes far less than a quarter.
func TestListsOfSizesAreBounded(t *testing.T) {
	b := newBuilder(1, 17)
	y := b.node("Shape", []string{b.input("x", model.Float32, model.Shape{{Size: -1}})})
	for range 22 {
		y = b.node("Concat", []string{y, y}, model.IntAttr("axis", 0))
	}
	b.output(y)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	load(t, b.g, engine.Options{Threads: 1})
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("%d bytes are allocated for a graph of %d nodes", got, len(b.g.Nodes))
	}
}
