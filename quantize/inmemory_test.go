package quantize_test

import (
	"context"
	"errors"
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
