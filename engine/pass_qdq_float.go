package engine

import (
	"github.com/wattshed/wattshed/model"
)

// mostTaps is the number of products of two bytes, 255 * 128 each at most, whose sum is sure to fit 32 bits, and mostTapsZero that of bytes less
// zero points that are not 0, 255 * 255 each at most.
const (
	mostTaps     = (1<<31 - 1) / (255 * 128)
	mostTapsZero = (1<<31 - 1) / (255 * 255)
)

// floatConv turns a Conv of a quantized input and quantized weights that no rule made an integer one, since its result is not quantized, it has
// three spatial dimensions or its bias is beyond 32 bits, into QuantConvFloat: integer sums, and the scales and the bias in float32.
func (p *qdq) floatConv(n *model.Node) bool {
	if !n.Is("Conv") || !p.quantized(n) {
		return false
	}
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.from(n.In(1), "DequantizeLinear") == nil || p.e.constant(x.name) != nil {
		return false
	}
	w, ws, err := p.weights(n.In(1), 0)
	if err != nil {
		return p.stay(n, err.Error())
	}
	s := w.Shape()
	groups := int(n.Int("group", 1))
	k := attrInts(n, "kernel_shape")
	if len(s) < 3 || len(s) > 5 || groups < 1 || s[0]%groups != 0 || k != nil && !sameShape(k, s[2:]) {
		return p.stay(n, "its attributes do not fit the weights")
	}
	if taps := product(s[1:]); taps > mostTaps || w.zero != nil && taps > mostTapsZero {
		return p.stay(n, "its sums do not fit 32 bits")
	}
	if _, ok := products(x.scale, ws); !ok {
		return p.stay(n, scalesLeave)
	}
	f := &model.Node{Name: n.Name, Op: "QuantConvFloat", Domain: fusedDomain, Outputs: n.Outputs, Attrs: n.Attrs, Inputs: []string{"", "",
		p.e.addConstant(model.FromSlice([]int{1}, []float32{x.scale})), p.e.addConstant(model.FromSlice([]int{len(ws)}, ws)), "", "", ""}}
	if n.In(2) != "" {
		b := p.floatBias(n.In(2), s[0])
		if b == nil {
			return p.stay(n, "its bias is no constant")
		}
		f.Inputs[6] = p.e.addConstant(b)
	}
	f.Inputs[0], f.Inputs[1] = p.plain(x), p.e.addConstant(w.Tensor)
	f.Inputs[4] = p.e.addConstant(model.FromSlice([]int{1}, []uint8{x.zero}))
	if w.zero != nil {
		f.Inputs[5] = p.e.addConstant(model.FromSlice([]int{len(w.zero)}, w.zero))
	}
	p.e.replace(f, n)
	return true
}
