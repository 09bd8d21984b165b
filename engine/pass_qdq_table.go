package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// lookup says that a value is table[root], element by element.
type lookup struct {
	root  qvalue
	table [256]uint8
}

// elementwise lists operators whose result at one place depends on their inputs at that place alone.
func elementwise(op string) bool {
	switch op {
	case "Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Clip", "Elu", "Selu", "Celu", "Gelu", "Softplus", "Softsign", "Mish",
		"Swish", "ThresholdedRelu", "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Erf", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos",
		"Identity", "Add", "Sub", "Mul", "Div", "Pow", "Sum", "Max", "Min", "QuantizeLinear", "DequantizeLinear":
		return true
	}
	return false
}

// maxTableNodes bounds the operators that one table stands for.
const maxTableNodes = 16

// requantizeTable maps the bytes of x to those of out, by float32 as QuantizeLinear and DequantizeLinear do.
func requantizeTable(x, out qvalue) (t [256]uint8) {
	if x.scale == out.scale && x.zero == out.zero {
		for i := range t {
			t[i] = uint8(i)
		}
		return t
	}
	f := dequantizeAll(x, nil)
	kernel.QuantizeLinearU8(f, t[:], out.scale, out.zero)
	return t
}

// dequantizeAll returns the values of the bytes t[0..255], of all bytes if t is nil.
func dequantizeAll(v qvalue, t *[256]uint8) []float32 {
	f := make([]float32, 256)
	for i := range f {
		b := i
		if t != nil {
			b = int(t[i])
		}
		f[i] = float32(b-int(v.zero)) * v.scale
	}
	return f
}

// tableNode is a QuantLookup, or, for the identity, an Identity.
func (p *qdq) tableNode(in string, t [256]uint8) *model.Node {
	return &model.Node{Op: "QuantLookup", Inputs: []string{in, p.e.addConstant(model.FromSlice([]int{256}, t[:]))}}
}

// lookup makes a table of element-wise operators between one DequantizeLinear and q.
func (p *qdq) lookup(q *model.Node, out qvalue) bool {
	x := &tabulation{p: p, values: map[string]*model.Tensor{}}
	y := x.eval(q.In(0))
	if y == nil || x.root == nil || y.Len() != 256 {
		return false
	}
	f, err := model.Data[float32](y)
	if err != nil {
		return false
	}
	l := lookup{root: *x.root}
	kernel.QuantizeLinearU8(f, l.table[:], out.scale, out.zero)
	p.tables[out.name] = l
	names, rank := p.forms(*x.root)
	return p.emit(p.tableNode(names[0], l.table), q, out, rank)
}

// rootOf returns the value that v is a function of, itself at least, and the table of that function.
func (p *qdq) rootOf(v qvalue) lookup {
	if l, ok := p.tables[v.name]; ok {
		return l
	}
	return lookup{root: v, table: requantizeTable(v, v)}
}

// tabulatePair makes a table of a sum or product of functions of one value.
func (p *qdq) tabulatePair(op string, a, b, out qvalue, lo, hi uint8) (l lookup, ok bool) {
	x, y := p.rootOf(a), p.rootOf(b)
	if x.root.name != y.root.name || p.e.constant(x.root.name) != nil {
		return l, false
	}
	l.root = x.root
	if op == "Mul" || op == "QLinearMul" {
		f := kernel.NewMulU8(a.scale, b.scale, out.scale, a.zero, b.zero, out.zero, lo, hi)
		f.Apply(l.table[:], x.table[:], y.table[:])
	} else {
		f := kernel.NewAddU8(a.scale, b.scale, out.scale, a.zero, b.zero, out.zero, lo, hi)
		f.Apply(l.table[:], x.table[:], y.table[:])
	}
	return l, true
}

// tabulation evaluates element-wise operators on all 256 values of one root.
type tabulation struct {
	p      *qdq
	root   *qvalue
	nodes  int
	values map[string]*model.Tensor
}

// eval returns the 256 values of a name, or nil.
func (x *tabulation) eval(name string) *model.Tensor {
	if t, ok := x.values[name]; ok {
		return t
	}
	x.values[name] = nil
	n := x.p.e.maker[name]
	if n == nil || n.Domain != "" && n.Domain != "ai.onnx" || !elementwise(n.Op) || len(n.Outputs) != 1 {
		return nil
	}
	if v, ok := x.p.dequantized(name); ok {
		x.values[name] = x.leaf(v)
		return x.values[name]
	}
	if x.nodes++; x.nodes > maxTableNodes || n.Op == "QuantizeLinear" || n.Op == "DequantizeLinear" {
		return nil
	}
	var in []*model.Tensor
	for _, i := range n.Inputs {
		if i == "" {
			in = append(in, nil)
			continue
		}
		t := x.p.e.constant(i)
		if t == nil {
			if v, ok := x.p.floatScalar(i); ok {
				t = model.Scalar(float32(v))
			}
		}
		if t != nil {
			if t.Len() != 1 || t.Rank() > 1 {
				return nil
			}
		} else if t = x.eval(i); t == nil {
			return nil
		}
		in = append(in, t)
	}
	t := x.p.run(n, in)
	if t == nil || t.DType() != model.Float32 || t.Len() != 256 {
		return nil
	}
	x.values[name] = t
	return t
}

// leaf returns the values of a quantized value as a function of the root.
func (x *tabulation) leaf(v qvalue) *model.Tensor {
	if x.p.e.constant(v.name) != nil {
		return nil
	}
	root, table := v, (*[256]uint8)(nil)
	if l, ok := x.p.tables[v.name]; ok {
		root, table = l.root, &l.table
	}
	if x.root == nil {
		x.root = &root
	} else if x.root.name != root.name {
		return nil
	}
	return model.FromSlice([]int{256}, dequantizeAll(v, table))
}

// run computes a node now, nil if that fails.
func (p *qdq) run(n *model.Node, in []*model.Tensor) *model.Tensor {
	def, err := p.e.c.lookup(n)
	if _, custom := p.e.c.opts.Ops["::"+n.Op]; err != nil || custom || def.random {
		return nil
	}
	call := &Call{Node: n, Opset: p.e.c.opset(n), arena: &arena{limit: maxFoldBytes, most: p.e.c.opts.Memory}, In: in}
	for _, t := range in {
		call.in = append(call.in, slot{t: t})
	}
	if call.invoke(def) != nil || len(call.out) == 0 {
		return nil
	}
	return call.out[0].t
}

// evaluate computes a node whose inputs are constants, nil if they are not.
func (p *qdq) evaluate(n *model.Node) *model.Tensor {
	var in []*model.Tensor
	for _, i := range n.Inputs {
		t := p.e.constant(i)
		if t == nil && i != "" {
			return nil
		}
		in = append(in, t)
	}
	return p.run(n, in)
}

// absorbTable moves a table behind an integer convolution into it.
func absorbTable(e *editor, n *model.Node) {
	if n.Domain != fusedDomain || n.Op != "QuantLookup" {
		return
	}
	conv := e.maker[n.In(0)]
	if conv == nil || conv.Domain != fusedDomain || conv.Op != "QuantConv" || conv.In(4) != "" || !e.inner(conv, n) {
		return
	}
	e.replace(withInput(conv, 4, n.In(1), n), conv, n)
}
