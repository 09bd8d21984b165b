package verify

import (
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

func (c *checker) dynamicQuantizeLinear(s *scope, n *model.Node) {
	c.since(n, 11)
	if d := s.dtype(n.In(0)); d != model.Invalid && d != model.Float32 {
		c.add(RuleType, n, n.In(0), "quantizes %s, takes float32 alone", d)
	}
}

// eight reports whether a value is of an 8-bit integer type, as far as its type is known.
func (c *checker) eight(s *scope, n *model.Node, name string) {
	if d := s.dtype(name); d != model.Invalid && d != model.Int8 && d != model.Uint8 {
		c.add(RuleType, n, name, "%s, want int8 or uint8", d)
	}
}

// zero checks the zero point of a value: its type, and one or channels elements.
func (c *checker) zero(s *scope, n *model.Node, value, zero string, channels int) {
	if zero == "" {
		return
	}
	if a, b := s.dtype(value), s.dtype(zero); a != model.Invalid && b != model.Invalid && a != b {
		c.add(RuleZeroType, n, zero, "is %s, %q is %s", b, value, a)
	}
	if shape, ok := s.shape(zero); ok && !slices.Contains(shape, -1) && count(shape) != 1 && (channels < 0 || count(shape) != channels) {
		c.add(RuleZeroShape, n, zero, "shape %v: want one zero point or %d", shape, channels)
	}
}

// matMulInteger checks the pattern of a dynamically quantized product: DynamicQuantizeLinear, MatMulInteger, Cast to
// float, Mul by the product of both scales. ONNX Runtime fuses that shape and no other.
func (c *checker) matMulInteger(s *scope, n *model.Node) {
	c.since(n, 10)
	c.eight(s, n, n.In(0))
	c.eight(s, n, n.In(1))
	columns := -1
	w := s.constant(n.In(1))
	if shape, ok := s.shape(n.In(1)); ok && len(shape) >= 1 {
		columns = shape[len(shape)-1]
	}
	c.zero(s, n, n.In(1), n.In(3), columns)
	if w == nil {
		return
	}
	if z := s.constant(n.In(3)); z != nil && w.DType() == model.Int8 && !all(z, func(v float32) bool { return v == 0 }) {
		c.add(RuleZeroValue, n, n.In(3), "int8 weights are symmetric: want 0")
	}
	if m := s.maker(n.In(0)); m != nil && m.Is("DynamicQuantizeLinear") && (n.In(0) != m.Out(0) || n.In(2) != m.Out(2)) {
		c.add(RulePattern, n, n.In(2), "the zero point of the activations is not the one that %s makes", m)
	}
	c.columnsReach(s, n, w, n.In(3))
	scale := c.productScale(s, n)
	if scale == "" {
		return
	}
	c.scales(s, n, scale)
	if t := s.constant(scale); t != nil && t.Len() != 1 && t.Len() != columns {
		c.add(RuleShape, n, scale, "%d scales for %d columns", t.Len(), columns)
	}
}

// productScale follows the product to the scale of its weight; "" and a finding where the pattern is broken.
func (c *checker) productScale(s *scope, n *model.Node) string {
	only := func(name, op string) *model.Node {
		if r := s.readers[name]; len(r) == 1 && r[0].Is(op) && !s.outputs[name] {
			return r[0]
		}
		return nil
	}
	cast := only(n.Out(0), "Cast")
	if cast == nil || cast.Int("to", 0) != int64(model.Float32) {
		c.add(RulePattern, n, n.Out(0), "want a Cast to float32 behind the product, and no other reader")
		return ""
	}
	mul := only(cast.Out(0), "Mul")
	if mul == nil {
		c.add(RulePattern, n, cast.Out(0), "want a Mul by the scales behind the Cast")
		return ""
	}
	both := mul.In(0)
	if both == cast.Out(0) {
		both = mul.In(1)
	}
	scales, quantize := s.maker(both), s.maker(n.In(0))
	if scales == nil || !scales.Is("Mul") {
		c.add(RulePattern, n, both, "want the product of the two scales")
		return ""
	}
	if quantize == nil || !quantize.Is("DynamicQuantizeLinear") {
		return ""
	}
	switch quantize.Out(1) {
	case scales.In(0):
		return scales.In(1)
	case scales.In(1):
		return scales.In(0)
	}
	c.add(RulePattern, n, both, "the scale of the activations is not the one that %s makes", quantize)
	return ""
}

// columnsReach is usesRange for a matrix [.., K, N] with one zero point or N.
func (c *checker) columnsReach(s *scope, n *model.Node, w *model.Tensor, zeroName string) {
	if w.Rank() < 2 {
		return
	}
	q, err := w.Float32()
	if err != nil || len(q) == 0 {
		return
	}
	zero := []float32{0}
	if z := s.constant(zeroName); z != nil {
		if x, err := z.Float32(); err == nil && len(x) > 0 {
			zero = x
		}
	}
	if len(zero) != 1 && len(zero) != w.Shape()[w.Rank()-1] {
		return
	}
	c.reach(n, n.In(1), q, zero, 1, 8)
}

func (c *checker) convInteger(s *scope, n *model.Node) {
	c.since(n, 10)
	c.eight(s, n, n.In(0))
	c.eight(s, n, n.In(1))
	channels := -1
	if shape, ok := s.shape(n.In(1)); ok && len(shape) > 0 {
		channels = shape[0]
	}
	c.zero(s, n, n.In(0), n.In(2), 1)
	c.zero(s, n, n.In(1), n.In(3), channels)
	c.add(RulePattern, n, "", "several runtimes have no kernel for it; quantize the convolution statically")
}

// dynamicLSTM checks com.microsoft.DynamicQuantizeLSTM: W [directions, inputs, 4*hidden] and R [directions, hidden,
// 4*hidden], scales and zero points [directions] or [directions, 4*hidden] (ONNX Runtime, contrib operators).
func (c *checker) dynamicLSTM(s *scope, n *model.Node) {
	if n.Domain != microsoft {
		c.add(RuleOpset, n, "", "domain %q, want %s", n.Domain, microsoft)
	}
	hidden := int(n.Int("hidden_size", -1))
	for i, name := range []string{1: "W", 2: "R"} {
		if name == "" {
			continue
		}
		c.eight(s, n, n.In(i))
		scale, zero := n.In(6+2*i), n.In(7+2*i)
		shape, ok := s.shape(n.In(i))
		if !ok {
			continue
		}
		if len(shape) != 3 || hidden > 0 && (shape[2] != 4*hidden || i == 2 && shape[1] != hidden) {
			c.add(RuleShape, n, n.In(i), "%s of shape %v with hidden_size %d: want [directions, inputs, 4*hidden]", name, shape, hidden)
			continue
		}
		for _, p := range []string{scale, zero} {
			if ps, ok := s.shape(p); !ok || !(len(ps) == 1 && ps[0] == shape[0] || len(ps) == 2 && ps[0] == shape[0] && ps[1] == shape[2]) {
				rule := RuleShape
				if p == zero {
					rule = RuleZeroShape
				}
				c.add(rule, n, p, "shape %v for %s of shape %v", ps, name, shape)
			}
		}
		c.scales(s, n, scale)
		if a, b := s.dtype(n.In(i)), s.dtype(zero); a != model.Invalid && b != model.Invalid && a != b {
			c.add(RuleZeroType, n, zero, "is %s, %q is %s", b, n.In(i), a)
		}
		if z := s.constant(zero); z != nil && z.DType() == model.Int8 && z.Len() > shape[0] && !all(z, func(v float32) bool { return v == 0 }) {
			c.add(RuleZeroValue, n, zero, "int8 weights per channel are symmetric: want 0")
		}
	}
}

func (c *checker) qlinearMatMul(s *scope, n *model.Node) {
	c.since(n, 10)
	columns := -1
	if shape, ok := s.shape(n.In(3)); ok && len(shape) > 0 {
		columns = shape[len(shape)-1]
	}
	c.qlinear(s, n, 0, -1)
	c.qlinear(s, n, 3, columns)
	c.qlinearOut(s, n, 6)
}

func (c *checker) qgemm(s *scope, n *model.Node) {
	c.contrib(n)
	columns := -1
	if shape, ok := s.shape(n.In(3)); ok && len(shape) == 2 {
		if columns = shape[1]; n.Int("transB", 0) != 0 {
			columns = shape[0]
		}
	}
	c.qlinear(s, n, 0, -1)
	c.qlinear(s, n, 3, columns)
	c.int32Bias(s, n, n.In(6), columns)
	c.qlinearOut(s, n, 7)
}

func (c *checker) qlinearConv(s *scope, n *model.Node) {
	c.since(n, 10)
	channels := -1
	if shape, ok := s.shape(n.In(3)); ok && len(shape) > 0 {
		channels = shape[0]
	}
	c.qlinear(s, n, 0, -1)
	c.qlinear(s, n, 3, channels)
	c.qlinearOut(s, n, 6)
	c.int32Bias(s, n, n.In(8), channels)
}

// qlinear checks an operand of the QLinear family: value, scale and zero point from input i on.
func (c *checker) qlinear(s *scope, n *model.Node, i, channels int) {
	c.eight(s, n, n.In(i))
	c.scales(s, n, n.In(i+1))
	if shape, ok := s.shape(n.In(i + 1)); ok && !slices.Contains(shape, -1) && count(shape) != 1 && (channels < 0 || count(shape) != channels) {
		c.add(RuleShape, n, n.In(i+1), "shape %v: want one scale or %d", shape, channels)
	}
	c.zero(s, n, n.In(i), n.In(i+2), channels)
	if z := s.constant(n.In(i + 2)); z != nil && z.Len() > 1 {
		if x, err := z.Float32(); err == nil && slices.ContainsFunc(x, func(v float32) bool { return v != x[0] }) {
			c.add(RuleZeroValue, n, n.In(i+2), "zero points of 8-bit weights differ over the channels: older runtimes refuse that")
		}
	}
}

func (c *checker) qlinearOut(s *scope, n *model.Node, i int) {
	c.scales(s, n, n.In(i))
	c.zero(s, n, n.Out(0), n.In(i+1), 1)
	if d := s.dtype(n.In(i + 1)); d != model.Invalid && d != model.Int8 && d != model.Uint8 {
		c.add(RuleZeroType, n, n.In(i+1), "is %s, want int8 or uint8", d)
	}
}

func (c *checker) int32Bias(s *scope, n *model.Node, name string, channels int) {
	if name == "" {
		return
	}
	if d := s.dtype(name); d != model.Invalid && d != model.Int32 {
		c.add(RuleBias, n, name, "%s, want int32", d)
	}
	if shape, ok := s.shape(name); ok && channels >= 0 && !slices.Contains(shape, -1) && count(shape) != channels {
		c.add(RuleBias, n, name, "shape %v for %d channels", shape, channels)
	}
}

// halfWeight checks a weight stored in half size behind a Cast: every value is finite.
func (c *checker) halfWeight(s *scope, n *model.Node) {
	t := s.constant(n.In(0))
	if t == nil || t.DType() != model.Float16 && t.DType() != model.BFloat16 {
		return
	}
	x, err := t.Float32()
	if err != nil {
		c.add(RuleGraph, n, n.In(0), "%v", err)
		return
	}
	bad := slices.IndexFunc(x, func(v float32) bool { return math.IsInf(float64(v), 0) || v != v })
	if bad >= 0 {
		c.add(RuleOverflow, n, n.In(0), "value %d is %v in %s", bad, x[bad], t.DType())
	}
}
