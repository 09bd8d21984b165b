package quantize

import (
	"context"

	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// sevenBits is the range of weights whose products with u8 cannot saturate 16 bits.
var sevenBits = Range{-64, 64}

// staticWeight is a constant operand of products, in the way in which their operators read it.
type staticWeight struct {
	name   string
	shape  []int
	axis   int       // of the channels; -1 for one scale for all
	x      []float32 // its values; not changed once set
	scale  []float32 // one a channel
	q      []int8
	users  []*planned
	remark string
	offset uint8 // 128 where the codes are written as uint8
}

// channels returns the number of scales, and how many consecutive elements share one.
func (w *staticWeight) channels() (n, inner int) {
	if w.axis < 0 {
		return 1, len(w.x)
	}
	inner = 1
	for _, d := range w.shape[w.axis+1:] {
		inner *= d
	}
	return w.shape[w.axis], inner
}

func (w *staticWeight) bytes() int64 { return int64(len(w.q) + 5*len(w.scale)) }

// staticBias is the int32 bias of one anchor.
type staticBias struct {
	x     []float32
	scale []float32
	q     []int32

	changed bool // a helper changed x
	own     bool // one scale of its own
}

// weightAxis returns the axis of the output channels of the weight of an anchor, -1 where one scale must serve all.
func (p *staticPlan) weightAxis(n *planned) int {
	shape := p.consts[n.In(1)].Shape()
	switch {
	case p.Granularity == PerTensor:
		return -1
	case n.Op == "Conv":
		return 0
	case n.Op == "ConvTranspose":
		if n.Int("group", 1) != 1 {
			return -1 // the channels of a group share axis 1 with those of the others
		}
		return 1
	case n.Op == "Gemm" && n.Int("transB", 0) != 0:
		return 0
	case len(shape) == 2:
		return 1
	}
	return -1
}

// quantize chooses all parameters and quantizes the weights and biases.
func (p *staticPlan) quantize(ctx context.Context, feeds engine.Feeds) error {
	if err := p.withoutUnseen(); err != nil {
		return err
	}
	for _, name := range p.observed() {
		r := p.ranges.Ranges[name]
		var err error
		if p.acts[name].params, err = ChooseParams(r.Lo, r.Hi, p.rules.activations, p.rules.symmetric); err != nil {
			return fmt.Errorf("quantize: value %q: %w", name, err)
		}
	}
	for _, name := range p.order {
		a := p.acts[name]
		a.params = p.root(a).params
	}
	p.dropClamps()
	if err := p.planTables(); err != nil {
		return err
	}
	if err := p.collect(); err != nil {
		return err
	}
	if p.AdaptRounding {
		if err := p.adaptRounding(ctx, feeds); err != nil {
			return err
		}
	}
	if p.BiasCorrection {
		if err := p.correctBiases(ctx, feeds); err != nil {
			return err
		}
	}
	for _, n := range p.nodes {
		if !n.on || n.bias == nil {
			continue
		}
		if input := p.acts[n.In(0)].params.Scale; p.rules.bias {
			n.bias.quantize(input, n.weight)
		} else if p.Target == ONNXRuntimeCPU && n.bias.beyond(input, n.weight) {
			n.bias.quantizeOwn()
		}
	}
	return nil
}

// dropClamps marks the absorbed clamps that the quantization of their output implies: what lies beyond their bounds
// saturates there, to half a step.
func (p *staticPlan) dropClamps() {
	for _, n := range p.nodes {
		if !n.on || n.place != clamp || !p.rules.absorb || p.acts[n.In(0)] != nil {
			continue
		}
		b, q := p.clampBounds(n), p.acts[n.Out(0)].params
		r := p.rules.activations
		lo, hi := float64(r.Min-q.ZeroPoint)*float64(q.Scale), float64(r.Max-q.ZeroPoint)*float64(q.Scale)
		half := float64(q.Scale) / 2
		n.gone = lo >= float64(b.Lo)-half && hi <= float64(b.Hi)+half
	}
}

// collect quantizes the weights of all anchors, each form once, and gathers the biases. Anchors whose weights are not
// finite fall back to float.
func (p *staticPlan) collect() error {
	type key struct {
		name string
		axis int
	}
	forms := map[key]*staticWeight{}
	for _, n := range p.nodes {
		if !n.on || n.place != anchor && n.place != anchorQ {
			continue
		}
		k := key{n.In(1), p.weightAxis(n)}
		w := forms[k]
		if w == nil {
			t := p.consts[n.In(1)]
			x, err := t.Float32()
			if err != nil {
				return fmt.Errorf("quantize: weight %q: %w", n.In(1), err)
			}
			w = &staticWeight{name: n.In(1), shape: t.Shape(), axis: k.axis, x: x}
			if p.Weights == model.Uint8 {
				w.offset = 128
			}
			forms[k] = w
			p.weights = append(p.weights, w)
			if err := w.chooseScales(p.weightRange()); err != nil {
				return fmt.Errorf("quantize: weight %q: %w", n.In(1), err)
			}
		}
		w.users, n.weight = append(w.users, n), w
		if n.In(2) != "" {
			x, err := p.consts[n.In(2)].Float32()
			if err != nil {
				return fmt.Errorf("quantize: bias %q: %w", n.In(2), err)
			}
			n.bias = &staticBias{x: x}
			if p.rules.bias {
				if err := w.fitBias(p.acts[n.In(0)].params.Scale, x); err != nil {
					return fmt.Errorf("quantize: bias %q: %w", n.In(2), err)
				}
			}
		}
	}
	for _, w := range p.weights {
		w.round(p.weightRange())
	}
	return nil
}

func (p *staticPlan) weightRange() Range {
	switch {
	case p.reduce:
		return sevenBits
	case p.Weights == model.Uint8:
		return Uint8Range // symmetric around 128
	}
	return Int8Range
}

// chooseScales sets a symmetric scale for every channel.
func (w *staticWeight) chooseScales(r Range) error {
	n, inner := w.channels()
	e := newExtents(n)
	var check float32
	for i := 0; i < len(w.x); i += inner {
		c := i / inner % n
		lo, hi := e.lo[c], e.hi[c]
		for _, v := range w.x[i : i+inner] {
			check += v - v
			if v < lo {
				lo = v
			}
			if v > hi {
				hi = v
			}
		}
		e.lo[c], e.hi[c] = lo, hi
	}
	if check != 0 {
		return errNotFinite
	}
	params, err := e.params(r, true)
	w.scale = make([]float32, n)
	for c := range params {
		w.scale[c] = params[c].Scale
	}
	return err
}

// fitBias enlarges the scales of channels whose bias, in steps of the scale of the products, does not fit int32, as
// onnxruntime.quantization does.
func (w *staticWeight) fitBias(input float32, bias []float32) error {
	grown := 0
	for c, b := range bias {
		if b-b != 0 {
			return errNotFinite
		}
		at := c % len(w.scale)
		if least := math.Abs(float64(b)) / (float64(input) * math.MaxInt32); float64(w.scale[at]) < least {
			w.scale[at] = float32(least * (1 + 1e-6))
			grown++
		}
	}
	if grown > 0 {
		w.remark = fmt.Sprintf("the scales of %d channels were enlarged so that the bias fits int32", grown)
	}
	return nil
}

// round sets q to the nearest values.
func (w *staticWeight) round(r Range) {
	n, inner := w.channels()
	w.q = make([]int8, len(w.x))
	// the whole of int8 is the range that values are clipped to, whatever range the scale was chosen for
	lo, hi := float32(Int8Range.Min), float32(Int8Range.Max)
	if r == sevenBits {
		lo, hi = float32(r.Min), float32(r.Max)
	}
	parallel(len(w.x)/max(inner, 1), grainElements/max(inner, 1)+1, func(first, last int) {
		for s := first; s < last; s++ {
			scale := w.scale[s%n]
			out := w.q[s*inner : (s+1)*inner]
			for i, v := range w.x[s*inner : (s+1)*inner] {
				out[i] = int8(roundClamped(v/scale, lo, hi))
			}
		}
	})
}

// quantize sets the int32 bias with the scale of the products: input scale by weight scale.
func (b *staticBias) quantize(input float32, w *staticWeight) {
	b.scale, b.q = make([]float32, len(w.scale)), make([]int32, len(b.x))
	for c := range b.scale {
		b.scale[c] = input * w.scale[c]
	}
	for c, v := range b.x {
		q := math.RoundToEven(float64(v) / float64(b.scale[c%len(b.scale)]))
		b.q[c] = int32(min(max(q, math.MinInt32), math.MaxInt32))
	}
}

// beyond reports whether the bias, in steps of the products, leaves int32. ONNX Runtime rounds a float bias between quantized operands to
// these steps, whatever their width, and saturates it (1.32, weight_bias_quantization.cc).
func (b *staticBias) beyond(input float32, w *staticWeight) bool {
	for c, v := range b.x {
		if math.Abs(float64(v)) >= float64(input)*float64(w.scale[c%len(w.scale)])*math.MaxInt32*0.99 { // it multiplies in float32
			return true
		}
	}
	return false
}

// quantizeOwn sets the int32 bias with one scale, of 31 bits for the largest value, which runtimes restore before they add it.
func (b *staticBias) quantizeOwn() {
	most := 0.0
	for _, v := range b.x {
		most = max(most, math.Abs(float64(v)))
	}
	scale := float32(max(most/(1<<30), smallestScale))
	b.own, b.scale, b.q = true, []float32{scale}, make([]int32, len(b.x))
	for c, v := range b.x {
		b.q[c] = int32(math.RoundToEven(float64(v) / float64(scale)))
	}
}

// tensors returns the initializers of a weight: values, scale, zero point.
func (w *staticWeight) tensors() [3]*model.Tensor {
	each := []int{}
	if w.axis >= 0 {
		each = []int{len(w.scale)}
	}
	if w.offset == 0 {
		return [3]*model.Tensor{model.FromSlice(w.shape, w.q), model.FromSlice(each, w.scale), model.FromSlice(each, make([]int8, len(w.scale)))}
	}
	q, zero := make([]uint8, len(w.q)), make([]uint8, len(w.scale))
	for i, v := range w.q {
		q[i] = uint8(v) + w.offset
	}
	for i := range zero {
		zero[i] = w.offset
	}
	return [3]*model.Tensor{model.FromSlice(w.shape, q), model.FromSlice(each, w.scale), model.FromSlice(each, zero)}
}

// tensors returns the initializers of a bias.
func (b *staticBias) tensors(w *staticWeight) [3]*model.Tensor {
	each := []int{}
	if w.axis >= 0 && !b.own {
		each = []int{len(b.scale)}
	}
	return [3]*model.Tensor{model.FromSlice([]int{len(b.q)}, b.q), model.FromSlice(each, b.scale), model.FromSlice(each, make([]int32, len(b.scale)))}
}

// checkFinite leaves anchors in float whose weights or biases hold values that are not finite. It runs before calibration.
func (p *staticPlan) checkFinite() error {
	for _, n := range p.nodes {
		if n.place != anchor && n.place != anchorQ || n.why != "" {
			continue
		}
		for _, name := range []string{n.In(1), n.In(2)} {
			t := p.consts[name]
			if t == nil {
				continue
			}
			x, err := t.Float32()
			if err != nil {
				return fmt.Errorf("quantize: weight %q: %w", name, err)
			}
			if !finite(x) {
				n.why = fmt.Sprintf("%q %v", name, errNotFinite)
			}
		}
	}
	return nil
}

func finite(x []float32) bool {
	var check float32
	for _, v := range x {
		check += v - v
	}
	return check == 0
}
