package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// seeded writes a copy of a model whose weights are made by ConstantOfShape, as the light models of ONNX are, with normal numbers in their
// place that keep the deviation of activations: weights of one value cannot be quantized, and zeros leave nothing to compare.
func seeded(path, dir string) (string, error) {
	g, err := onnx.Load(path)
	if err != nil {
		return "", err
	}
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *model.Value) bool { return g.Initializer(v.Name) != nil })
	made := map[string][]int{}
	var kept []*model.Node
	for _, n := range g.Nodes {
		t := g.Initializer(n.In(0))
		if !n.Is("ConstantOfShape") || t == nil {
			kept = append(kept, n)
			continue
		}
		dims, err := model.Data[int64](t)
		if err != nil {
			return "", fmt.Errorf("%s: %w", n, err)
		}
		for _, d := range dims {
			made[n.Out(0)] = append(made[n.Out(0)], int(d))
		}
		g.RemoveInitializer(n.In(0))
	}
	g.Nodes = kept
	g.Model.IRVersion = max(g.Model.IRVersion, 4) // before it an initializer was an input too
	rng := rand.New(rand.NewPCG(31, 0))
	put := func(name string, mean, dev float64) {
		shape, ok := made[name]
		if !ok {
			return
		}
		t := normal(rng, dev, shape...)
		x, _ := model.Data[float32](t)
		for i := range x {
			x[i] = float32(math.Abs(mean) + float64(x[i]))
		}
		g.SetInitializer(name, t)
		delete(made, name)
	}
	for _, n := range g.Nodes {
		switch n.Op {
		case "Sum": // of two: quantizers place Add
			n.Op = "Add"
		case "Conv", "Gemm":
			shape := made[n.In(1)]
			fan := 1
			for _, d := range shape[min(1, len(shape)):] {
				fan *= d
			}
			dev := math.Sqrt(2 / float64(fan))
			if n.Op == "Gemm" {
				dev /= 100 // logits that differ, but not by much
			}
			put(n.In(1), 0, dev)
			put(n.In(2), 0, 0.05)
		case "BatchNormalization": // scale, shift, mean, variance
			put(n.In(1), 0.7, 0.02)
			put(n.In(2), 0, 0.1)
			put(n.In(3), 0, 0.05)
			put(n.In(4), 1, 0.02)
		}
	}
	for name := range made {
		put(name, 0, 0.05)
	}
	out := filepath.Join(dir, "seeded-"+filepath.Base(path))
	return out, onnx.Save(out, g, onnx.WriteOptions{})
}
