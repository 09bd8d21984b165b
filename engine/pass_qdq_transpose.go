package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// transposedWeights returns the weights of a ConvTranspose, [Cin, Cout/groups, kernel...], with one scale or one per output
// channel, and its number of output channels.
func (p *qdq) transposedWeights(n *model.Node) (w byteWeights, scale []float32, cout int, err error) {
	if w, scale, err = p.weights(n.In(1), 1); err != nil {
		return w, nil, 0, err
	}
	g, r := int(n.Int("group", 1)), w.Rank()
	k := attrInts(n, "kernel_shape")
	switch {
	case r != 3 && r != 4:
		return w, nil, 0, fmt.Errorf("there is no integer kernel for %d spatial dimensions", r-2)
	case g < 1 || w.Shape()[0]%g != 0 || k != nil && !sameShape(k, w.Shape()[2:]):
		return w, nil, 0, fmt.Errorf("its attributes do not fit the weights")
	}
	og := w.Shape()[1]
	cout = og * g
	if len(scale) > 1 && g > 1 { // every group has the channels of axis 1
		all := make([]float32, cout)
		for i := range all {
			all[i] = scale[i%og]
		}
		scale = all
	}
	return w, scale, cout, nil
}

// transposed makes a QuantTranspose of x and constant weights; its results are not placed yet.
func (p *qdq) transposed(n *model.Node, x qvalue, w byteWeights, scale []float32) *model.Node {
	f := &model.Node{Name: n.Name, Op: "QuantTranspose", Domain: fusedDomain, Inputs: []string{p.image(x, w.Rank()), p.e.addConstant(w.Tensor),
		p.e.addConstant(model.FromSlice([]int{len(scale)}, scale)), "", ""}}
	if w.zero != nil {
		f.Inputs[4] = p.e.addConstant(model.FromSlice([]int{len(w.zero)}, w.zero))
	}
	for _, a := range n.Attrs {
		switch a.Name {
		case "strides", "pads", "dilations", "group", "auto_pad", "output_padding", "output_shape":
			f.SetAttr(a)
		}
	}
	return f
}

// convTranspose is DQ, DQ -> ConvTranspose -> Q.
func (p *qdq) convTranspose(n, q *model.Node, out qvalue, lo, hi uint8) bool {
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.constant(x.name) != nil {
		return p.stay(n, "its input is not quantized")
	}
	w, ws, cout, err := p.transposedWeights(n)
	if err != nil {
		return p.stay(n, err.Error())
	}
	b, err := p.bias(n.In(2), cout, x.scale, ws)
	if err != nil {
		return p.stay(n, err.Error())
	}
	scale, ok := products(x.scale, ws)
	for i := range scale {
		scale[i] /= out.scale
		ok = ok && scale[i] <= math.MaxFloat32
	}
	if !ok {
		return p.stay(n, scalesLeave)
	}
	f := p.transposed(n, x, w, scale)
	if b != nil {
		f.Inputs[3] = p.e.addConstant(model.FromSlice([]int{len(b)}, b))
	}
	setBytes(f, map[string]uint8{"zx": x.zero, "zy": out.zero, "lo": lo, "hi": hi})
	return p.emit(f, q, out, w.Rank())
}

// floatTranspose turns a ConvTranspose of quantized inputs whose result is not quantized into one of integers with a float result.
func (p *qdq) floatTranspose(n *model.Node) bool {
	if !n.Is("ConvTranspose") || !p.quantized(n) {
		return false
	}
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.constant(x.name) != nil {
		return p.stay(n, "its input is not quantized")
	}
	w, ws, cout, err := p.transposedWeights(n)
	if err != nil {
		return p.stay(n, err.Error())
	}
	var bias *model.Tensor
	if n.In(2) != "" {
		if bias = p.floatBias(n.In(2), cout); bias == nil {
			return p.stay(n, "its bias is no constant")
		}
	}
	scale, ok := products(x.scale, ws)
	if !ok {
		return p.stay(n, scalesLeave)
	}
	f := p.transposed(n, x, w, scale)
	if bias != nil {
		f.Inputs[3] = p.e.addConstant(bias)
	}
	f.SetAttr(model.IntAttr("float", 1))
	setBytes(f, map[string]uint8{"zx": x.zero})
	f.Outputs = n.Outputs
	p.e.replace(f, n)
	return true
}
