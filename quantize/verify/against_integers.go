package verify

import (
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// operandAt is where an integer operator has values, their scale and their zero point; axis counts from the end where it is negative.
type operandAt struct{ value, scale, zero, axis int }

// integerOperators are the operands that may be weights of the operators that compute with integers (ONNX, ONNX Runtime,
// docs/ContribOperators.md). QGemm with transB has its channels along axis 0.
var integerOperators = map[string][]operandAt{
	"QLinearConv":           {{3, 4, 5, 0}},
	"QLinearMatMul":         {{3, 4, 5, -1}},
	"QGemm":                 {{3, 4, 5, 1}},
	"QLinearAdd":            {{0, 1, 2, 0}, {3, 4, 5, 0}},
	"QLinearMul":            {{0, 1, 2, 0}, {3, 4, 5, 0}},
	"MatMulIntegerToFloat":  {{1, 3, 5, -1}},
	"DynamicQuantizeMatMul": {{1, 2, 3, -1}},
}

// integers handles the constant operands of an operator of integers.
func (a *against) integers(s *scope, n *model.Node) {
	for _, at := range integerOperators[n.Op] {
		t := s.constant(n.In(at.value))
		if t == nil || !a.wants(n.In(at.value)) {
			continue
		}
		scale, zero := s.floats(n.In(at.scale)), s.floats(n.In(at.zero))
		q, err := t.Float32()
		if err != nil || len(scale) == 0 {
			continue
		}
		axis := at.axis
		if n.Op == "QGemm" && n.Int("transB", 0) != 0 {
			axis = 0
		}
		if axis < 0 {
			axis += t.Rank()
		}
		inner := 1
		if len(scale) > 1 || len(zero) > 1 {
			if axis < 0 || axis >= t.Rank() {
				continue
			}
			size := t.Shape()[axis]
			if inner = count(t.Shape()[axis+1:]); len(scale) != 1 && len(scale) != size || len(zero) > 1 && len(zero) != size {
				continue
			}
		}
		a.compare(n, n.In(at.value), t, affine(q, scale, zero, inner), t.Shape(), bound(t.DType()))
	}
}

// know adds the float weights of the original that are not known yet.
func (a *against) know(original *model.Graph) {
	known := len(a.originals) > 0
	for _, w := range original.Weights() {
		if w.Tensor.DType() != model.Float32 || w.Tensor.Rank() == 0 || w.Tensor.Len() == 0 {
			continue
		}
		switch t := a.originals[w.Value]; {
		case t == nil:
			a.originals[w.Value], a.readers[w.Value] = w.Tensor, w.Reader()
		case !known:
			a.twins[w.Value] = append(a.twins[w.Value], w.Tensor)
		}
	}
}

// twin returns the weight of that name that is nearest to x: bodies of If may have one each.
func (a *against) twin(name string, w *model.Tensor, x []float32) *model.Tensor {
	nearest := func(t *model.Tensor) float64 {
		y, err := t.Float32()
		if err != nil || len(y) != len(x) {
			return -1
		}
		if r := t.Rank(); r >= 2 && r <= 3 {
			return max(correlation(x, y), correlation(x, exchanged(y, t.Shape())))
		}
		return correlation(x, y)
	}
	for _, t := range a.twins[name] {
		if nearest(t) > nearest(w) {
			w = t
		}
	}
	return w
}

// unscaled brings x, [rows][k] where byRows is set and [k][rows] else, back to the scale of the original where the activations that value,
// n's first operand, holds were multiplied by factors first, as AWQ does: a Mul by a constant that is named so and that the original lacks.
func (a *against) unscaled(s *scope, value string, x []float32, k int, byRows bool) {
	m := s.maker(value)
	if m == nil || !m.Is("Mul") || len(x) == 0 || k < 1 || len(x)%k != 0 {
		return
	}
	for _, name := range m.Inputs {
		f := s.floats(name)
		if len(f) != k || !strings.Contains(name, "_inverse") || a.originals[name] != nil {
			continue
		}
		rows := len(x) / k
		for i := range x {
			if byRows {
				x[i] *= f[i%k]
			} else {
				x[i] *= f[i/rows]
			}
		}
		return
	}
}

// unscaledReader is unscaled for a matrix that dq makes, by the first product that reads it as its right-hand side.
func (a *against) unscaledReader(s *scope, dq *model.Node, x []float32, shape []int) {
	if len(shape) != 2 {
		return
	}
	for _, n := range s.readers[dq.Out(0)] {
		if i := slices.Index(n.Inputs, dq.Out(0)); i != 1 || !n.Is("MatMul") && !n.Is("Gemm") {
			continue
		}
		byRows := n.Op == "Gemm" && n.Int("transB", 0) != 0
		k := shape[0]
		if byRows {
			k = shape[1]
		}
		a.unscaled(s, n.In(0), x, k, byRows)
		return
	}
}
