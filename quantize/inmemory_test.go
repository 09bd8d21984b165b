package quantize_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// TestInMemoryPlan: the size of the output is that of the file that the stage then writes, or as close as is said here, and
// what does not fit is refused.
func TestInMemoryPlan(t *testing.T) {
	dir := t.TempDir()
	g := graphOf(values(value("x", 2, 256)), values(value("y", 2, 320)), map[string]*model.Tensor{"w": normal(2, 256, 384), "v": normal(3, 384, 384), "u": normal(4, 384, 320)},
		node("MatMul", "h", "x", "w"), node("MatMul", "c", "h", "v"), node("MatMul", "y", "c", "u"))
	in, out := saved(t, g, dir, false), filepath.Join(dir, "out.onnx")
	feeds := feedsOf(staticFeeds(g, 2)...)
	weights := func(o quantize.WeightOnly) (quantize.InMemory, func(*model.Graph) ([]model.Note, error)) {
		o.Feeds = feeds
		return quantize.InMemory{In: in, Out: out, WeightOnly: &o, Runs: 2}, func(g *model.Graph) ([]model.Note, error) { return o.Apply(context.Background(), g) }
	}
	for name, c := range map[string]struct {
		o      quantize.WeightOnly
		lo, hi float64 // planned over written
		half   model.DType
		static bool
		stored model.DType
	}{
		"gptq":           {o: quantize.WeightOnly{Algorithm: quantize.GPTQ}, lo: 1, hi: 1},
		"gptq qdq":       {o: quantize.WeightOnly{Algorithm: quantize.GPTQ, Format: quantize.QDQ, Symmetric: true}, lo: 1, hi: 1},
		"awq":            {o: quantize.WeightOnly{Algorithm: quantize.AWQ}, lo: 1, hi: 1.05}, // factors may be 1 and are then not stored
		"hqq":            {o: quantize.WeightOnly{Algorithm: quantize.HQQ}, lo: 1, hi: 1.05}, // the zero points of RTN are counted too
		"hqq qdq":        {o: quantize.WeightOnly{Algorithm: quantize.HQQ, Format: quantize.QDQ}, lo: 1, hi: 1},
		"int16 weights":  {stored: model.Int16, lo: 0.97, hi: 1.03}, // scales and nodes are not counted
		"half graph":     {half: model.Float16, lo: 0.97, hi: 1.03}, // Casts are not counted
		"static int8":    {static: true, lo: 0.9, hi: 1.05},         // scales and zero points are not counted
		"bfloat16 graph": {half: model.BFloat16, lo: 0.97, hi: 1.03},
	} {
		m, apply := weights(c.o)
		switch {
		case c.half != 0:
			m, apply = quantize.InMemory{In: in, Out: out, Half: c.half}, func(g *model.Graph) ([]model.Note, error) { return quantize.HalfGraph(g, c.half) }
		case c.stored != 0:
			o := quantize.QDQWeights{DType: c.stored}
			m, apply = quantize.InMemory{In: in, Out: out, Stored: &o}, o.Apply
		case c.static:
			s := quantize.Static{Target: quantize.ONNXRuntimeCPU}
			m, apply = quantize.InMemory{In: in, Out: out, Static: &s, Runs: 2}, func(g *model.Graph) ([]model.Note, error) { return s.Apply(context.Background(), g, feeds) }
		}
		p, err := m.Plan(context.Background())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		h := g.Clone()
		if _, err := apply(h); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := errors.Join(quantize.Record(h), onnx.Save(out, h, onnx.WriteOptions{})); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		if ratio := float64(p.ModelBytes+p.DataBytes) / float64(info.Size()); ratio < c.lo || ratio > c.hi {
			t.Errorf("%s: planned %d bytes, written %d", name, p.ModelBytes+p.DataBytes, info.Size())
		}
		if p.Seconds <= 0 || p.SecondsMost < p.Seconds || p.CalibrationRuns != m.Runs || p.InputBytes != 4*(256*384+384*384+384*320) || p.MemoryBytes <= info.Size() {
			t.Errorf("%s: %+v", name, p)
		}
		os.Remove(out)
		m.Memory = p.MemoryBytes - 1
		if _, err := m.Check(context.Background()); !errors.Is(err, quantize.ErrMemory) {
			t.Errorf("%s: %d bytes for %d: %v", name, m.Memory, p.MemoryBytes, err)
		}
	}
}

// TestLabour: tables are no work of GPTQ, AWQ and HQQ, which are not used for them, and HQQ is tried on a corner of the largest other weight.
func TestLabour(t *testing.T) {
	weight := normal(3, 320, 512)
	g := graphOf(values(&model.Value{Name: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{{Size: 4}}}}), values(value("y", 4, 512)),
		map[string]*model.Tensor{"table": normal(2, 3000, 320), "small": normal(4, 320, 320), "w": weight},
		node("Gather", "x", "table", "ids"), node("MatMul", "h", "x", "small"), node("MatMul", "y", "h", "w"))
	in := saved(t, g, t.TempDir(), false)
	const unit = 256
	for algorithm, want := range map[quantize.Algorithm]float64{
		quantize.HQQ:  (320*320 + 320*512) / float64(unit*unit),
		quantize.AWQ:  (320*320*320 + 512*320*320) / float64(unit*unit*unit),
		quantize.GPTQ: (2*320*320*320 + 2*(320+512)*320*320) / float64(3*unit*unit*unit),
	} {
		m := quantize.InMemory{In: in, Out: in + ".out", WeightOnly: &quantize.WeightOnly{Algorithm: algorithm, Feeds: feedsOf()}}
		units, tables, part, rows, cols, err := m.Labour(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(units-want) > 1e-9*want || tables != 3000*320/float64(unit*unit) {
			t.Errorf("%s: %v units, want %v, and %v of tables", algorithm, units, want, tables)
		}
		if algorithm != quantize.HQQ {
			continue
		}
		if rows != unit || cols != unit || len(part) != unit*unit {
			t.Fatalf("a part of %d x %d with %d elements", rows, cols, len(part))
		}
		w, err := weight.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range part {
			if v != w[i/unit*512+i%unit] {
				t.Fatalf("element %d of the part is %v", i, v)
			}
		}
		m.WeightOnly.Format = quantize.QDQ // a table is rounded once there
		if _, tables, _, _, _, err := m.Labour(context.Background()); err != nil || tables != 0 {
			t.Errorf("QDQ: %v of tables, %v", tables, err)
		}
	}
}
