package recipe

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/reports"
)

// weights counts the parameters of the written file.
func (r *run) weights(m *made) (*reports.Weights, error) {
	f, err := onnx.Open(r.path(m))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := CountWeights(f.Graph())
	if err != nil {
		return nil, err
	}
	w := &reports.Weights{Parameters: c.Parameters, Nonzero: c.Nonzero, Bytes: c.Bytes}
	if c.Parameters > 0 {
		s := 1 - float64(c.Nonzero)/float64(c.Parameters)
		w.Sparsity = &s
	}
	return w, nil
}

// WeightCount is the size of a model's weights; scales, zero points and shapes count as they are.
type WeightCount struct {
	Parameters, Nonzero, Bytes int64
}

// CountWeights counts the elements of all constant tensors of g, those that are not zero, and their bytes.
func CountWeights(g *model.Graph) (WeightCount, error) {
	var c WeightCount
	for _, w := range g.Weights() {
		c.Bytes += int64(w.Tensor.ByteSize())
		if w.Tensor.DType() == model.String {
			continue
		}
		x, err := w.Tensor.Float32()
		if err != nil {
			continue // an 8-bit float or the like: bytes only
		}
		c.Parameters += int64(len(x))
		for _, v := range x {
			if v != 0 {
				c.Nonzero++
			}
		}
	}
	return c, nil
}

// profileRuns is the number of inferences that the time per operator is averaged over.
const profileRuns = 5

// profile measures the time per operator in a session of its own, since measuring costs time; only the
// native runtime has one.
func (r *run) profile(ctx context.Context, i int, m *made) ([]reports.OpProfile, error) {
	if r.recipe.Target.Runtime != "native" {
		return nil, nil
	}
	o := r.options()
	o.Profile = true
	s, err := r.runtime.Load(ctx, engine.Artifact{Path: r.path(m)}, o)
	if err != nil {
		return nil, fmt.Errorf("variant %q: %w", m.Name, err)
	}
	defer s.Close()
	r.progress("time by operator of "+m.Name, i, len(r.made))
	type key struct{ op, kernel string }
	runs, before := map[key][]float64{}, map[key]time.Duration{} // seconds of every inference, and what the profile held before it
	for k := range profileRuns {
		if _, err := s.Run(ctx, r.bound.timing[k%len(r.bound.timing)]); err != nil {
			return nil, fmt.Errorf("variant %q: %w", m.Name, err)
		}
		for _, t := range s.Profile() {
			at := key{t.Op, t.Kernel}
			runs[at] = append(runs[at], (t.Time - before[at]).Seconds())
			before[at] = t.Time
		}
	}
	var total time.Duration
	for _, t := range s.Profile() {
		total += t.Time
	}
	var out []reports.OpProfile
	for _, t := range s.Profile() {
		p := reports.OpProfile{Op: t.Op, Kernel: t.Kernel, Count: t.Count, Seconds: t.Time.Seconds() / profileRuns, N: profileRuns}
		if own := runs[key{t.Op, t.Kernel}]; len(own) == profileRuns {
			if e, err := measure.EstimateOf(own); err == nil {
				h := measure.TQuantile(profileRuns) * math.Sqrt(e.Var)
				p.CI95 = intervalOf(measure.Interval{Lo: max(0, p.Seconds-h), Hi: p.Seconds + h})
			}
		}
		if total > 0 {
			p.Share = float64(t.Time) / float64(total)
		}
		if t.MACs > 0 {
			p.MACs = &t.MACs
		}
		if t.Bytes > 0 {
			p.Bytes = &t.Bytes
		}
		out = append(out, p)
	}
	return out, nil
}

func macs(p []reports.OpProfile) int64 {
	var n int64
	for _, o := range p {
		if o.MACs != nil {
			n += *o.MACs
		}
	}
	return n
}
