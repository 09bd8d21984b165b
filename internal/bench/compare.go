package main

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// difference returns max|a-b| / max|b| over all float outputs.
func difference(a, b engine.Feed) (float64, error) {
	worst := 0.0
	for name, tb := range b {
		ta := a[name]
		if ta == nil || !slices.Equal(ta.Shape(), tb.Shape()) {
			return 0, fmt.Errorf("output %q: the runtimes give different shapes", name)
		}
		x, err := ta.Float32()
		if err != nil {
			continue // no float output
		}
		y, err := tb.Float32()
		if err != nil {
			continue
		}
		var d, top float64
		for i := range x {
			d = max(d, math.Abs(float64(x[i])-float64(y[i])))
			top = max(top, math.Abs(float64(y[i])))
		}
		if top > 0 {
			worst = max(worst, d/top)
		}
	}
	return worst, nil
}

// cosines sets how near the outputs are to those of the float model in ONNX Runtime, of rows whose weights or products have less than float32.
// Products of quantized blocks have no float model: ONNX Runtime's own result is the reference.
func (b *bench) cosines(ctx context.Context, r row, feed engine.Feed, outs []engine.Feed, res *result) (err error) {
	switch {
	case r.bf16 || r.model.blocks():
		res.Cosine, err = cosine(feed, outs[0], outs[1])
		return err
	case !r.int8 && !r.static:
		return nil
	}
	r.int8, r.static = false, false
	path, err := b.file(ctx, r)
	if err != nil {
		return err
	}
	s, err := b.ort.Load(ctx, engine.Artifact{Path: path}, engine.Options{Threads: r.threads})
	if err != nil {
		return err
	}
	defer s.Close()
	want, err := s.Run(ctx, feed)
	if err != nil {
		return err
	}
	if res.Cosine, err = cosine(feed, outs[0], want); err != nil {
		return err
	}
	res.CosineORT, err = cosine(feed, outs[1], want)
	return err
}

// cosine returns the least cosine between the float outputs of a and b that have the same shape. Rows of features per token, [B, S, H] beside an
// attention mask [B, S], are first averaged over the tokens that the mask keeps, and the least is taken over the batch as well.
func cosine(feed, a, b engine.Feed) (float64, error) {
	var mask []int64
	if m := feed["attention_mask"]; m != nil {
		var err error
		if mask, err = model.Data[int64](m); err != nil {
			return 0, err
		}
	}
	least := math.Inf(1)
	for name, t := range b {
		if a[name] == nil || !slices.Equal(a[name].Shape(), t.Shape()) {
			return 0, fmt.Errorf("output %q: the models give different shapes", name)
		}
		x, err := a[name].Float32()
		if err != nil {
			continue // no float output
		}
		y, err := t.Float32()
		if err != nil {
			continue
		}
		if t.Rank() != 3 || len(mask) != t.Shape()[0]*t.Shape()[1] {
			least = min(least, angle(x, y, nil, len(x)))
			continue
		}
		seq, width := t.Shape()[1], t.Shape()[2]
		for i := range t.Shape()[0] {
			least = min(least, angle(x[i*seq*width:(i+1)*seq*width], y[i*seq*width:(i+1)*seq*width], mask[i*seq:(i+1)*seq], width))
		}
	}
	if math.IsInf(least, 1) {
		return 0, fmt.Errorf("no output of floats")
	}
	return least, nil
}

// angle is the cosine between the sums of the rows of x and y [len/width, width] whose weight is not 0; nil weights are all 1.
func angle(x, y []float32, weight []int64, width int) float64 {
	p, q := make([]float64, width), make([]float64, width)
	for i := range x {
		if weight == nil || weight[i/width] != 0 {
			p[i%width] += float64(x[i])
			q[i%width] += float64(y[i])
		}
	}
	var pq, pp, qq float64
	for j := range p {
		pq, pp, qq = pq+p[j]*q[j], pp+p[j]*p[j], qq+q[j]*q[j]
	}
	return pq / math.Sqrt(pp*qq)
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
