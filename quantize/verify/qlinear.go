package verify

import (
	"slices"

	"github.com/wattshed/wattshed/model"
)

// The operators of com.microsoft that compute with integers (ONNX Runtime, docs/ContribOperators.md).

func (c *checker) contrib(n *model.Node) {
	if n.Domain != microsoft {
		c.add(RuleOpset, n, "", "domain %q, want %s", n.Domain, microsoft)
	}
}

// qlinearBinary checks QLinearAdd and QLinearMul: A, scale, zero point, B, scale, zero point, C's scale, zero point; each one scalar.
func (c *checker) qlinearBinary(s *scope, n *model.Node) {
	c.contrib(n)
	c.qlinear(s, n, 0, 1)
	c.qlinear(s, n, 3, 1)
	c.qlinearResult(s, n, 6, 0)
	if a, b := s.dtype(n.In(0)), s.dtype(n.In(3)); a != b && a != model.Invalid && b != model.Invalid {
		c.add(RuleType, n, n.In(3), "is %s, %q is %s", b, n.In(0), a)
	}
}

// qlinearUnary checks X, scale, zero point, Y's scale, zero point: QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax, the pools.
func (c *checker) qlinearUnary(s *scope, n *model.Node) {
	c.contrib(n)
	c.qlinear(s, n, 0, 1)
	c.qlinearResult(s, n, 3, 0)
	if n.Op == "QLinearSoftmax" && n.Int("opset", 0) < 1 {
		c.add(RuleOpset, n, "", "attribute opset %d: it says which Softmax is meant", n.Int("opset", 0))
	}
	if n.Op == "QLinearLeakyRelu" && !(n.Float("alpha", 0.01) >= 0) {
		c.add(RuleType, n, "", "alpha %v", n.Float("alpha", 0.01))
	}
}

// qlinearConcat checks Y's scale and zero point, and then value, scale and zero point of each operand.
func (c *checker) qlinearConcat(s *scope, n *model.Node) {
	c.contrib(n)
	if len(n.Inputs) < 5 || len(n.Inputs)%3 != 2 {
		c.add(RuleShape, n, "", "%d inputs, want 2 and 3 for each operand", len(n.Inputs))
		return
	}
	c.qlinearResult(s, n, 0, 0)
	for i := 2; i < len(n.Inputs); i += 3 {
		c.qlinear(s, n, i, 1)
		if a, b := s.dtype(n.In(2)), s.dtype(n.In(i)); a != b && a != model.Invalid && b != model.Invalid {
			c.add(RuleType, n, n.In(i), "is %s, %q is %s", b, n.In(2), a)
		}
	}
}

// qlinearResult checks scale and zero point, from input i on, of an 8-bit result of the type of the values in input like.
func (c *checker) qlinearResult(s *scope, n *model.Node, i, like int) {
	c.qlinearOut(s, n, i)
	if shape, ok := s.shape(n.In(i)); ok && !slices.Contains(shape, -1) && count(shape) != 1 {
		c.add(RuleShape, n, n.In(i), "shape %v: want one scale", shape)
	}
	if n.Op == "QLinearConcat" {
		like = 2
	}
	if a, b := s.dtype(n.In(like)), s.dtype(n.In(i+1)); a != b && a != model.Invalid && b != model.Invalid {
		c.add(RuleZeroType, n, n.In(i+1), "is %s, %q is %s", b, n.In(like), a)
	}
}

// columnsOf returns the last size of a value, -1 where it is not known.
func (s *scope) columnsOf(name string) int {
	if shape, ok := s.shape(name); ok && len(shape) > 0 {
		return shape[len(shape)-1]
	}
	return -1
}

// matMulIntegerToFloat checks A, B, A's scale, B's scale, zero points of both, bias.
func (c *checker) matMulIntegerToFloat(s *scope, n *model.Node) {
	c.contrib(n)
	c.eight(s, n, n.In(0))
	c.right(s, n, 3, 5)
	c.scales(s, n, n.In(2))
	c.zero(s, n, n.In(0), n.In(4), 1)
	c.floatBias(s, n, 6)
}

// dynamicMatMul checks A in float, B, B's scale, zero point, bias.
func (c *checker) dynamicMatMul(s *scope, n *model.Node) {
	c.contrib(n)
	if d := s.dtype(n.In(0)); d != model.Invalid && d != model.Float32 {
		c.add(RuleType, n, n.In(0), "quantizes %s, takes float32 alone", d)
	}
	c.right(s, n, 2, 3)
	c.floatBias(s, n, 4)
}

// right checks the 8-bit right-hand side in input 1 with its scale and zero point: one or one by column.
func (c *checker) right(s *scope, n *model.Node, scale, zero int) {
	c.eight(s, n, n.In(1))
	columns := s.columnsOf(n.In(1))
	c.scales(s, n, n.In(scale))
	if shape, ok := s.shape(n.In(scale)); ok && columns >= 0 && !slices.Contains(shape, -1) && count(shape) != 1 && count(shape) != columns {
		c.add(RuleShape, n, n.In(scale), "shape %v for %d columns", shape, columns)
	}
	c.zero(s, n, n.In(1), n.In(zero), columns)
	w := s.constant(n.In(1))
	if w == nil {
		return
	}
	if z := s.constant(n.In(zero)); z != nil && w.DType() == model.Int8 && !all(z, func(v float32) bool { return v == 0 }) {
		c.add(RuleZeroValue, n, n.In(zero), "int8 weights are symmetric: want 0")
	}
	c.columnsReach(s, n, w, n.In(zero))
}

// floatBias checks a bias by column.
func (c *checker) floatBias(s *scope, n *model.Node, i int) {
	columns := s.columnsOf(n.In(1))
	if shape, ok := s.shape(n.In(i)); n.In(i) != "" && ok && columns >= 0 && !slices.Contains(shape, -1) && count(shape) != columns {
		c.add(RuleBias, n, n.In(i), "shape %v for %d columns", shape, columns)
	}
	if d := s.dtype(n.In(i)); n.In(i) != "" && d != model.Invalid && !d.IsFloat() {
		c.add(RuleBias, n, n.In(i), "%s, want float", d)
	}
}
