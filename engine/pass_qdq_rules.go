package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// product makes a QuantConv of weights [Cout, ...] and emits it.
func (p *qdq) product(n, q *model.Node, x qvalue, w byteWeights, ws []float32, bias []int32, out qvalue, lo, hi uint8) bool {
	scale, ok := products(x.scale, ws)
	for i := range scale {
		scale[i] /= out.scale
		ok = ok && scale[i] <= math.MaxFloat32
	}
	if !ok {
		return p.stay(n, scalesLeave)
	}
	rank := 0
	in := ""
	if n.Is("Conv") || n.Is("QLinearConv") {
		rank = w.Rank()
		in = p.image(x, rank)
	} else {
		in = p.plain(x)
	}
	f := &model.Node{Op: "QuantConv", Inputs: []string{in, p.e.addConstant(w.Tensor), p.e.addConstant(model.FromSlice([]int{len(scale)}, scale)), "", "", ""}}
	if w.zero != nil {
		f.Inputs[5] = p.e.addConstant(model.FromSlice([]int{len(w.zero)}, w.zero))
	}
	if bias != nil {
		f.Inputs[3] = p.e.addConstant(model.FromSlice([]int{len(bias)}, bias))
	}
	if rank > 0 {
		for _, a := range n.Attrs {
			switch a.Name {
			case "strides", "pads", "dilations", "group", "auto_pad":
				f.SetAttr(a)
			}
		}
	} else {
		f.SetAttr(model.IntAttr("matmul", 1))
	}
	setBytes(f, map[string]uint8{"zx": x.zero, "zy": out.zero, "lo": lo, "hi": hi})
	return p.emit(f, q, out, rank)
}

// setBytes sets attributes that hold bytes.
func setBytes(n *model.Node, m map[string]uint8) {
	for _, name := range []string{"zx", "zy", "za", "zb", "zc", "lo", "hi"} {
		if v, ok := m[name]; ok {
			n.SetAttr(model.IntAttr(name, int64(v)))
		}
	}
}

// conv is DQ, DQ -> Conv -> Q.
func (p *qdq) conv(n, q *model.Node, out qvalue, lo, hi uint8) bool {
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.constant(x.name) != nil {
		return p.stay(n, "its input is not quantized")
	}
	w, ws, err := p.weights(n.In(1), 0)
	if err != nil {
		return p.stay(n, err.Error())
	}
	if r := w.Rank(); r > 4 {
		return p.stay(n, fmt.Sprintf("there is no integer kernel for %d spatial dimensions", r-2))
	}
	if !convFits(n, w.Tensor) {
		return p.stay(n, "its attributes do not fit the weights")
	}
	b, err := p.bias(n.In(2), w.Shape()[0], x.scale, ws)
	if err != nil {
		return p.stay(n, err.Error())
	}
	return p.product(n, q, x, w, ws, b, out, lo, hi)
}

// convFits reports whether a convolution has one or two spatial dimensions and attributes that fit its weights.
func convFits(n *model.Node, w *model.Tensor) bool {
	g := int(n.Int("group", 1))
	if r := w.Rank(); r != 3 && r != 4 || g < 1 || w.Shape()[0]%g != 0 {
		return false
	}
	k := attrInts(n, "kernel_shape")
	return k == nil || sameShape(k, w.Shape()[2:])
}

// gemm is DQ, DQ -> Gemm -> Q with weights [N, K] or [K, N].
func (p *qdq) gemm(n, q *model.Node, out qvalue, lo, hi uint8) bool {
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.constant(x.name) != nil {
		return p.stay(n, "its input is not quantized")
	}
	if n.Float("alpha", 1) != 1 || n.Int("transA", 0) != 0 || n.In(2) != "" && n.Float("beta", 1) != 1 {
		return p.stay(n, "alpha, beta or transA is set")
	}
	w, ws, err := p.matrix(n.In(1), n.Int("transB", 0) != 0, true)
	if err != nil {
		return p.stay(n, err.Error())
	}
	b, err := p.bias(n.In(2), w.Shape()[0], x.scale, ws)
	if err != nil {
		return p.stay(n, err.Error())
	}
	return p.product(n, q, x, w, ws, b, out, lo, hi)
}

// matrix returns quantized weights as [N, K] if byColumns, else as [K, N]; transposed tells that they are stored as [N, K].
func (p *qdq) matrix(name string, transposed, byColumns bool) (byteWeights, []float32, error) {
	ax := 1
	if transposed {
		ax = 0
	}
	w, ws, err := p.weights(name, ax)
	if err != nil {
		return w, nil, err
	}
	if w.Rank() != 2 {
		return w, nil, fmt.Errorf("the weights have shape %v", w.Shape())
	}
	if transposed != byColumns {
		w.Tensor, err = transposedBytes(w.Tensor)
	}
	return w, ws, err
}

func transposedBytes(w *model.Tensor) (*model.Tensor, error) {
	b, err := model.Data[int8](w)
	if err != nil {
		return nil, err
	}
	k, n := w.Shape()[0], w.Shape()[1]
	out := make([]int8, len(b))
	for i := range k {
		for j := range n {
			out[j*k+i] = b[i*n+j]
		}
	}
	return model.FromSlice([]int{n, k}, out), nil
}

// matmul is DQ, DQ -> MatMul -> Q; without constant weights it becomes QLinearMatMul.
func (p *qdq) matmul(n, q *model.Node, out qvalue, lo, hi uint8) bool {
	x, ok := p.dequantized(n.In(0))
	if !ok {
		return p.stay(n, "its input is not quantized")
	}
	if w, ws, err := p.matrix(n.In(1), false, true); err == nil && p.e.constant(x.name) == nil {
		return p.product(n, q, x, w, ws, nil, out, lo, hi)
	}
	y, ok := p.dequantized(n.In(1))
	if !ok || lo != 0 || hi != 255 {
		return p.stay(n, "its second input is not quantized by one scale")
	}
	zero := func(v qvalue) string { return p.e.addConstant(model.Scalar(v.zero)) }
	scale := func(v qvalue) string { return p.e.addConstant(model.Scalar(v.scale)) }
	f := &model.Node{Op: "QLinearMatMul", Inputs: []string{p.plain(x), scale(x), zero(x), p.plain(y), scale(y), zero(y), scale(out), zero(out)}}
	p.emit(f, q, out, 0)
	f.Domain = ""
	return true
}

// binary is DQ, DQ -> Add, Sum or Mul -> Q.
func (p *qdq) binary(n, q *model.Node, out qvalue, lo, hi uint8) bool {
	if len(n.Inputs) != 2 {
		return false
	}
	a, ok := p.dequantized(n.In(0))
	b, ok2 := p.dequantized(n.In(1))
	if !ok || !ok2 {
		return false
	}
	if !pairFits(n.Op, a, b, out, pairRatio) || n.Op == "Mul" && !isNormal(a.scale*b.scale) {
		return p.stay(n, scalesLeave)
	}
	return p.pair(n.Op, q, a, b, out, lo, hi)
}

// pairFits reports whether the factor of a product of bytes is finite, and those of a sum are below a bound.
func pairFits(op string, a, b, out qvalue, bound float32) bool {
	if op == "Mul" || op == "QLinearMul" {
		r := a.scale * b.scale / out.scale
		return r-r == 0
	}
	x, y := a.scale/out.scale, b.scale/out.scale
	return max(x, -x) < bound && max(y, -y) < bound
}

const (
	// pairRatio bounds the factors of a sum of bytes: the zero points, multiplied with them, must cancel to within half a byte of 24 bits.
	pairRatio = 1 << 14
	// pairFinite bounds them where values are finite, whatever they are.
	pairFinite = math.MaxFloat32 / 512
)

// pair makes QuantAdd or QuantMul, or a table where both sides are functions of one value.
func (p *qdq) pair(op string, q *model.Node, a, b, out qvalue, lo, hi uint8) bool {
	if p.e.constant(a.name) != nil && p.e.constant(b.name) != nil {
		return false
	}
	if l, ok := p.tabulatePair(op, a, b, out, lo, hi); ok {
		p.tables[out.name] = l
		names, rank := p.forms(l.root)
		return p.emit(p.tableNode(names[0], l.table), q, out, rank)
	}
	names, rank := p.forms(a, b)
	f := &model.Node{Op: "QuantAdd", Inputs: names}
	if op == "Mul" || op == "QLinearMul" {
		f.Op = "QuantMul"
	}
	f.SetAttr(model.FloatAttr("sa", a.scale))
	f.SetAttr(model.FloatAttr("sb", b.scale))
	f.SetAttr(model.FloatAttr("sc", out.scale))
	setBytes(f, map[string]uint8{"za": a.zero, "zb": b.zero, "zc": out.zero, "lo": lo, "hi": hi})
	return p.emit(f, q, out, rank)
}

// concat is DQ, DQ, ... -> Concat -> Q.
func (p *qdq) concat(n, q *model.Node, out qvalue) bool {
	var vs []qvalue
	for _, in := range n.Inputs {
		v, ok := p.dequantized(in)
		if !ok {
			return p.stay(n, "an input is not quantized")
		}
		vs = append(vs, v)
	}
	return p.join(q, vs, out, int(n.Int("axis", 0)))
}

// join makes QuantConcat.
func (p *qdq) join(q *model.Node, vs []qvalue, out qvalue, ax int) bool {
	names, rank := p.forms(vs...)
	f := &model.Node{Op: "QuantConcat"}
	for i, v := range vs {
		table := ""
		if v.scale != out.scale || v.zero != out.zero {
			t := requantizeTable(v, out)
			table = p.e.addConstant(model.FromSlice([]int{256}, t[:]))
		}
		f.Inputs = append(f.Inputs, names[i], table)
	}
	if rank > 0 {
		if ax < 0 {
			ax += rank
		}
		if ax == 1 {
			ax = rank - 1
		} else if ax > 1 {
			ax--
		}
	}
	f.SetAttr(model.IntAttr("axis", int64(ax)))
	return p.emit(f, q, out, rank)
}

// pool is DQ -> pooling -> Q.
func (p *qdq) pool(n, q *model.Node, out qvalue, lo, hi uint8) bool {
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.constant(x.name) != nil {
		return p.stay(n, "its input is not quantized")
	}
	return p.pooling(n.Op, n, q, x, out, lo, hi)
}

// pooling makes QuantMaxPool, QuantAveragePool or QuantGlobalAveragePool.
func (p *qdq) pooling(op string, n, q *model.Node, x, out qvalue, lo, hi uint8) bool {
	rank := p.rankOf(x.name)
	if k := attrInts(n, "kernel_shape"); k != nil {
		rank = len(k) + 2
	}
	if rank != 3 && rank != 4 {
		return p.stay(n, "the number of its dimensions is not known")
	}
	if op != "MaxPool" && x.scale/out.scale > math.MaxFloat32 {
		return p.stay(n, scalesLeave)
	}
	if len(n.Outputs) > 1 && n.Outputs[1] != "" || n.Int("storage_order", 0) != 0 {
		return p.stay(n, "its positions are read")
	}
	f := &model.Node{Op: "Quant" + op, Inputs: []string{p.image(x, rank)}}
	for _, a := range n.Attrs {
		switch a.Name {
		case "strides", "pads", "dilations", "auto_pad", "kernel_shape", "ceil_mode", "count_include_pad":
			f.SetAttr(a)
		}
	}
	if op == "MaxPool" {
		if x.scale == out.scale && x.zero == out.zero && lo == 0 && hi == 255 {
			return p.emit(f, q, out, rank)
		}
		f.Name, f.Domain, f.Outputs = n.Name, fusedDomain, []string{p.fresh(out.name, "/max")}
		p.add(f)
		t := requantizeTable(x, out)
		for i, v := range t {
			t[i] = min(max(v, lo), hi)
		}
		return p.emit(p.tableNode(f.Outputs[0], t), q, out, rank)
	}
	if n.Op == "QLinearAveragePool" {
		f.SetAttr(model.IntAttr(wholeAttr, 1))
	}
	f.SetAttr(model.FloatAttr("sx", x.scale))
	f.SetAttr(model.FloatAttr("sy", out.scale))
	setBytes(f, map[string]uint8{"zx": x.zero, "zy": out.zero, "lo": lo, "hi": hi})
	return p.emit(f, q, out, rank)
}

// bytePool is a MaxPool of bytes that an integer operator made: it needs no scale.
func (p *qdq) bytePool(n *model.Node) bool {
	in := n.In(0)
	if _, ok := p.last[in]; !ok || p.e.constant(in) != nil {
		return false
	}
	x := qvalue{name: in, scale: 1, signed: p.u8[in] != in}
	out := x
	out.name = n.Out(0)
	return p.pooling("MaxPool", n, n, x, out, 0, 255)
}

// move is DQ -> an operator that moves elements -> Q: it moves the bytes.
func (p *qdq) move(n, q *model.Node, out qvalue) bool {
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.constant(x.name) != nil {
		return false
	}
	f := *n
	f.Inputs = append([]string{p.plain(x)}, n.Inputs[1:]...)
	f.Outputs = []string{p.fresh(out.name, "/moved")}
	p.add(&f)
	return p.emit(p.tableNode(f.Outputs[0], requantizeTable(x, out)), q, out, 0)
}

// split is DQ -> Split -> one Q of several: the bytes are split once, for all of them.
func (p *qdq) split(n, q *model.Node, out qvalue) bool {
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.constant(x.name) != nil {
		return false
	}
	f := p.splits[n]
	if f == nil {
		c := *n
		c.Inputs = append([]string{p.plain(x)}, n.Inputs[1:]...)
		c.Outputs = make([]string, len(n.Outputs))
		for i, o := range n.Outputs {
			if o != "" {
				c.Outputs[i] = p.fresh(o, "/split")
			}
		}
		f = &c
		p.add(f)
		p.splits[n] = f
	}
	return p.emit(p.tableNode(f.Outputs[slices.Index(n.Outputs, q.In(0))], requantizeTable(x, out)), q, out, 0)
}
