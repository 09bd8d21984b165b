package verify

import (
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// least are the operator sets that brought a form of QuantizeLinear and DequantizeLinear (ONNX operator changelog).
const (
	leastAxis   = 13
	leastFloat8 = 19
	leastBlocks = 21
)

func (c *checker) quantizeLinear(s *scope, n *model.Node) {
	c.since(n, 10)
	if d := s.dtype(n.In(0)); d != model.Invalid && !d.IsFloat() && d != model.Int32 {
		c.add(RuleType, n, n.In(0), "quantizes %s, want a float type", d)
	}
	q := s.dtype(n.Out(0))
	if n.In(2) == "" && q == model.Invalid {
		q = model.Uint8
	}
	c.linear(s, n, n.In(0), q)
	for _, m := range s.readers[n.Out(0)] {
		if m.Is("DequantizeLinear") && m.In(0) == n.Out(0) {
			c.pair(s, n, m)
		}
	}
}

func (c *checker) dequantizeLinear(s *scope, n *model.Node) {
	c.since(n, 10)
	q := s.dtype(n.In(0))
	if q == model.Int32 {
		if z := s.constant(n.In(2)); z != nil && !all(z, func(v float32) bool { return v == 0 }) {
			c.add(RuleZeroValue, n, n.In(2), "int32 values take the zero point 0 alone")
		}
	}
	c.linear(s, n, n.In(0), q)
	if t := s.constant(n.In(0)); t != nil {
		c.weightAxis(s, n, t)
		c.usesRange(s, n, t)
	}
}

// linear checks scale, zero point, axis and blocks of n, whose values of type q have the shape of the named value.
func (c *checker) linear(s *scope, n *model.Node, values string, q model.DType) {
	if n.Domain != microsoft {
		switch {
		case q.Bits() < 8 && q != model.Invalid, q == model.Int16, q == model.Uint16, n.Int("block_size", 0) != 0:
			c.since(n, leastBlocks)
		case q.IsFloat() && q.Bits() == 8:
			c.since(n, leastFloat8)
		}
	}
	switch q {
	case model.Invalid, model.Int8, model.Uint8, model.Int16, model.Uint16, model.Int4, model.Uint4, model.Int32, model.Int2, model.Uint2:
	default:
		if !q.IsFloat() || q.Bits() > 8 {
			c.add(RuleType, n, values, "quantized values of type %s", q)
		}
	}
	if z := n.In(2); z != "" {
		if d := s.dtype(z); d != model.Invalid && q != model.Invalid && d != q {
			c.add(RuleZeroType, n, z, "is %s, the quantized values are %s", d, q)
		}
		zs, ok1 := s.shape(z)
		ss, ok2 := s.shape(n.In(1))
		if ok1 && ok2 && !slices.Equal(zs, ss) && !(len(zs) < 2 && len(ss) < 2 && count(zs) == 1 && count(ss) == 1) {
			c.add(RuleZeroShape, n, z, "shape %v, the scale has %v", zs, ss)
		}
	}
	if n.Int("block_size", 0) != 0 { // the value of the largest magnitude lies at the longer end, whatever its sign
		c.finite(s, n, n.In(1))
	} else {
		c.scales(s, n, n.In(1))
	}
	shape, ok := s.shape(values)
	scale, ok2 := s.shape(n.In(1))
	if !ok2 || len(scale) == 0 || count(scale) == 1 && len(scale) == 1 {
		return // one scale for all
	}
	if n.Domain != microsoft {
		c.since(n, leastAxis)
	}
	if !ok {
		return
	}
	axis := int(n.Int("axis", 1))
	if axis < -len(shape) || axis >= len(shape) {
		c.add(RuleAxis, n, values, "axis %d of shape %v", axis, shape)
		return
	}
	if axis < 0 {
		axis += len(shape)
	}
	if block := int(n.Int("block_size", 0)); block != 0 {
		c.blockScales(n, shape, scale, axis, block)
		return
	}
	if len(scale) != 1 || shape[axis] >= 0 && scale[0] != shape[axis] {
		c.add(RuleShape, n, n.In(1), "shape %v for axis %d of shape %v", scale, axis, shape)
	}
}

func (c *checker) blockScales(n *model.Node, shape, scale []int, axis, block int) {
	if block < 1 {
		c.add(RuleBlock, n, "", "block_size %d", block)
		return
	}
	want := slices.Clone(shape)
	if want[axis] >= 0 {
		want[axis] = (want[axis] + block - 1) / block
	}
	if len(scale) != len(want) {
		c.add(RuleShape, n, n.In(1), "shape %v for blocks of %d along axis %d of shape %v", scale, block, axis, shape)
		return
	}
	for i := range want {
		if want[i] >= 0 && scale[i] >= 0 && want[i] != scale[i] {
			c.add(RuleShape, n, n.In(1), "shape %v, want %v: blocks of %d along axis %d of shape %v", scale, want, block, axis, shape)
			return
		}
	}
}

// scales checks that constant scales are finite, positive and normal.
func (c *checker) scales(s *scope, n *model.Node, name string) {
	t := s.constant(name)
	if t == nil {
		return
	}
	if !t.DType().IsFloat() {
		c.add(RuleType, n, name, "a scale of type %s", t.DType())
		return
	}
	x, err := t.Float32()
	if err != nil {
		c.add(RuleGraph, n, name, "%v", err)
		return
	}
	least := float32(0x1p-126) // the smallest normal float32
	if t.DType() == model.Float16 {
		least = 0x1p-24 // subnormals of half precision are exact in float32
	}
	for i, v := range x {
		if !(v >= least) || math.IsInf(float64(v), 0) {
			c.add(RuleScale, n, name, "scale %d is %v", i, v)
			return
		}
	}
}

func (c *checker) since(n *model.Node, opset int64) {
	if n.Domain != microsoft && c.opset < opset {
		c.add(RuleOpset, n, "", "needs operator set %d, the model imports %d", opset, c.opset)
	}
}

// pair checks that q and the dq behind it have the same scale and zero point.
func (c *checker) pair(s *scope, q, dq *model.Node) {
	for i, what := range []string{1: "scale", 2: "zero point"} {
		if what == "" || q.In(i) == dq.In(i) {
			continue
		}
		a, b := s.constant(q.In(i)), s.constant(dq.In(i))
		if a == nil || b == nil {
			if (q.In(i) == "") != (dq.In(i) == "") {
				c.add(RulePair, dq, dq.In(i), "one of the pair has no %s", what)
			}
			continue
		}
		x, err1 := a.Float32()
		y, err2 := b.Float32()
		if err1 != nil || err2 != nil || !slices.Equal(x, y) || a.DType() != b.DType() {
			c.add(RulePair, dq, dq.In(i), "%s differs from that of %s", what, q)
		}
	}
	if q.Int("axis", 1) != dq.Int("axis", 1) || q.Int("block_size", 0) != dq.Int("block_size", 0) {
		c.add(RulePair, dq, "", "axis or block size differs from that of %s", q)
	}
}

// weightAxis checks that a weight with a scale per channel has them along the axis that the kernels of one of its readers take, and
// that 8-bit weights of products have zero points that kernels take: all alike over the channels.
func (c *checker) weightAxis(s *scope, dq *model.Node, t *model.Tensor) {
	scale, ok := s.shape(dq.In(1))
	if !ok || count(scale) == 1 || dq.Int("block_size", 0) != 0 {
		return
	}
	axis := int(dq.Int("axis", 1))
	if axis < 0 {
		axis += t.Rank()
	}
	var wrong *model.Node
	channels, product := 0, false
	for _, m := range s.readers[dq.Out(0)] {
		want := -1
		switch {
		case m.Is("Conv") && m.In(1) == dq.Out(0):
			want = 0
		case m.Is("ConvTranspose") && m.In(1) == dq.Out(0):
			want = 1
			if product = true; m.Int("group", 1) != 1 { // the channels of a group share axis 1 with those of the others
				continue
			}
		case m.Is("MatMul") && m.In(1) == dq.Out(0) && t.Rank() >= 2:
			want = t.Rank() - 1
		case m.Is("Gemm") && m.In(1) == dq.Out(0):
			if want = 1; m.Int("transB", 0) != 0 {
				want = 0
			}
		}
		if product = product || want >= 0; want == axis { // one that reads it the other way cannot have its own axis too
			wrong = nil
			break
		}
		if want >= 0 && wrong == nil {
			wrong, channels = m, want
		}
	}
	if wrong != nil {
		c.add(RuleAxis, dq, dq.In(0), "scales along axis %d; the output channels of %s lie along %d", axis, wrong, channels)
	}
	if z := s.constant(dq.In(2)); product && z != nil && (t.DType() == model.Int8 || t.DType() == model.Uint8) {
		if x, err := z.Float32(); err == nil && len(x) > 1 && slices.ContainsFunc(x, func(v float32) bool { return v != x[0] }) {
			c.add(RuleZeroValue, dq, dq.In(2), "zero points of 8-bit weights differ over the channels: older runtimes refuse that")
		}
	}
}

// rangeShare is the share of the integer range below which stored weights cannot have been made for their scale: a
// reduced range (half of it), clipping and compensation all stay far above.
const rangeShare = 8

// usesRange checks per scale that some stored weight reaches an eighth of the type's range around its zero point. A
// symmetric or asymmetric scale is made for the largest value, which then lies at the end of the range.
func (c *checker) usesRange(s *scope, n *model.Node, t *model.Tensor) {
	bits := t.DType().Bits()
	if !t.DType().IsInteger() || bits > 8 || bits < 4 || t.Rank() < 2 || n.Int("block_size", 0) != 0 {
		return
	}
	q, err := t.Float32()
	scale, ok := s.shape(n.In(1))
	if err != nil || !ok || len(q) == 0 {
		return
	}
	channels, inner := 1, len(q)
	if axis := int(n.Int("axis", 1)); count(scale) > 1 && axis >= 0 && axis < t.Rank() && scale[0] == t.Shape()[axis] {
		channels, inner = t.Shape()[axis], 1
		for _, d := range t.Shape()[axis+1:] {
			inner *= d
		}
	}
	zero := make([]float32, channels)
	if z := s.constant(n.In(2)); z != nil {
		if x, err := z.Float32(); err == nil {
			for i := range zero {
				zero[i] = x[min(i, len(x)-1)]
			}
		}
	}
	c.reach(n, n.In(0), q, zero, inner, bits)
}

// reach is usesRange on the values: q[i] has the zero point zero[i/inner%len(zero)].
func (c *checker) reach(n *model.Node, name string, q, zero []float32, inner, bits int) {
	least, most := make([]float32, len(zero)), make([]float32, len(zero))
	for i, v := range q {
		ch := i / inner % len(zero)
		least[ch], most[ch] = min(least[ch], v-zero[ch]), max(most[ch], v-zero[ch])
	}
	for ch := range zero {
		span := most[ch] - least[ch]
		if span > 0 && span < float32(int(1)<<bits)/rangeShare {
			c.add(RuleRange, n, name, "channel %d uses %.0f of %d steps: its scale is too large", ch, span, 1<<bits)
			return
		}
	}
}

// biasOf checks that an int32 bias of a quantized product has the scale of its input times that of its weight.
func (c *checker) biasOf(s *scope, n *model.Node) {
	x, w, b := s.maker(n.In(0)), s.maker(n.In(1)), s.maker(n.In(2))
	if b == nil || x == nil || w == nil || !b.Is("DequantizeLinear") || !x.Is("DequantizeLinear") || !w.Is("DequantizeLinear") || s.dtype(b.In(0)) != model.Int32 {
		return
	}
	if s.dtype(x.In(0)).Bits() > 8 { // products of floats
		return
	}
	xs, ws, bs := s.constant(x.In(1)), s.constant(w.In(1)), s.constant(b.In(1))
	if xs == nil || ws == nil || bs == nil || xs.Len() != 1 {
		return
	}
	xv, _ := xs.Float32()
	wv, _ := ws.Float32()
	bv, _ := bs.Float32()
	if len(xv) == 0 || len(wv) == 0 || len(bv) == 0 || len(bv) != 1 && len(wv) != 1 && len(bv) != len(wv) {
		c.add(RuleBias, n, b.In(1), "%d scales of the bias, %d of the weight", len(bv), len(wv))
		return
	}
	for i := range max(len(bv), len(wv)) {
		have, want := float64(bv[min(i, len(bv)-1)]), float64(xv[0])*float64(wv[min(i, len(wv)-1)])
		if math.Abs(have-want) > 1e-6*want { // one float32 multiplication
			c.add(RuleBias, n, b.In(1), "scale %d is %v; input times weight is %v", i, have, want)
			return
		}
	}
}

// all reports whether every element satisfies ok; false where it cannot be read.
func all(t *model.Tensor, ok func(float32) bool) bool {
	x, err := t.Float32()
	return err == nil && !slices.ContainsFunc(x, func(v float32) bool { return !ok(v) })
}

func count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
