package engine

import (
	"github.com/wattshed/wattshed/model"
)

// nbitsBlock is the block in which weights with one scale per column, or one in all, are kept.
const nbitsBlock = 128

// fuseNBits makes MatMulNBits of MatMul, or a Gemm without factors, whose right side is a DequantizeLinear of constant
// integers of 4 or 8 bits: in blocks along K, per column, or with one scale.
func fuseNBits(e *editor, n *model.Node) {
	isGemm := n.Is("Gemm")
	if !isGemm && !n.Is("MatMul") || isGemm && (n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1) {
		return
	}
	dq := e.maker[n.In(1)]
	if dq == nil || dq.Op != "DequantizeLinear" || dq.Domain != "" && dq.Domain != "com.microsoft" {
		return
	}
	data, scale := e.constant(dq.In(0)), e.constant(dq.In(1))
	if data == nil || scale == nil || data.Rank() != 2 || data.Len() == 0 || scale.DType() != model.Float32 || dq.In(2) != "" && e.constant(dq.In(2)) == nil {
		return
	}
	if d := dq.Int("output_dtype", 0); d != 0 && model.DType(d) != model.Float32 {
		return
	}
	m := newBlockWeights(dq, data, scale, e.constant(dq.In(2)), isGemm && n.Int("transB", 0) != 0)
	if m == nil {
		return
	}
	if m.whole {
		if act := e.maker[n.In(0)]; act != nil && act.Op == "DequantizeLinear" {
			return // a product of integers
		}
	}
	bias := n.In(2)
	if isGemm && bias != "" {
		t := e.constant(bias)
		if t == nil || t.DType() != model.Float32 || t.Len() != m.n || t.Rank() > 1 && t.Shape()[t.Rank()-1] != m.n {
			return
		}
	}
	b, s, z := m.tensors()
	if b == nil {
		return
	}
	node := &model.Node{Name: n.Name, Op: "MatMulNBits", Domain: "com.microsoft", Outputs: n.Outputs, Inputs: []string{n.In(0), e.addConstant(b), e.addConstant(s)},
		Attrs: []model.Attr{model.IntAttr("K", int64(m.k)), model.IntAttr("N", int64(m.n)), model.IntAttr("bits", int64(m.bits)), model.IntAttr("block_size", int64(m.block))}}
	if z != nil || isGemm && bias != "" {
		node.Inputs = append(node.Inputs, "", "", "")
		if z != nil {
			node.Inputs[3] = e.addConstant(z)
		}
		if isGemm {
			node.Inputs[5] = bias
		}
	}
	e.replace(node, n)
	if len(e.users[dq.Out(0)]) == 0 && !e.pinned[dq.Out(0)] {
		e.remove(dq)
	}
}

// fuseNBitsBias takes the Add of a constant row after a MatMulNBits in.
func fuseNBitsBias(e *editor, n *model.Node) {
	if n.Domain != "com.microsoft" || n.Op != "MatMulNBits" || n.In(5) != "" {
		return
	}
	add := e.user(n.Out(0))
	if add == nil || !add.Is("Add") {
		return
	}
	bias := e.constant(other(add, n.Out(0)))
	if bias == nil || bias.DType() != model.Float32 || bias.Rank() != 1 || bias.Len() != int(n.Int("N", 0)) || !e.inner(n, add) {
		return
	}
	fused := *n
	fused.Inputs = append([]string{}, n.Inputs...)
	for len(fused.Inputs) < 6 {
		fused.Inputs = append(fused.Inputs, "")
	}
	fused.Inputs[5], fused.Outputs = other(add, n.Out(0)), add.Outputs
	e.replace(&fused, n, add)
}

// blockWeights is a matrix W[k,n] as DequantizeLinear holds it.
type blockWeights struct {
	data, scale, zero *model.Tensor
	k, n, bits, block int
	trans             bool // data is [n,k]
	whole             bool // no blocks: one scale per column or one in all
	signed            bool
}

// newBlockWeights returns nil where the scales do not run along K.
func newBlockWeights(dq *model.Node, data, scale, zero *model.Tensor, trans bool) *blockWeights {
	w := &blockWeights{data: data, scale: scale, zero: zero, k: data.Shape()[0], n: data.Shape()[1], trans: trans, bits: 8}
	switch data.DType() {
	case model.Int4, model.Uint4:
		w.bits = 4
	case model.Int8, model.Uint8:
	default:
		return nil
	}
	w.signed = data.DType() == model.Int4 || data.DType() == model.Int8
	along := 0
	if trans {
		w.k, w.n, along = w.n, w.k, 1
	}
	if zero != nil && (zero.DType() != data.DType() || !sameShape(zero.Shape(), scale.Shape())) {
		return nil
	}
	ax, err := axis(int(dq.Int("axis", 1)), 2)
	if err != nil {
		return nil
	}
	w.block = int(dq.Int("block_size", 0))
	if w.block != 0 {
		want := append([]int{}, data.Shape()...)
		if w.block < 0 || w.block%16 != 0 || w.block > 1<<15 || ax != along {
			return nil
		}
		want[along] = (w.k + w.block - 1) / w.block
		if !sameShape(scale.Shape(), want) {
			return nil
		}
		w.block = min(w.block, (w.k+15)&^15) // one block needs no more room than K
		return w
	}
	w.whole, w.block = true, min(nbitsBlock, (w.k+15)&^15)
	if scale.Len() != 1 && (ax == along || scale.Rank() != 1 || scale.Len() != w.n) {
		return nil
	}
	return w
}

// at is where the scale of a block of column n is.
func (w *blockWeights) at(block, n int) int {
	switch {
	case w.scale.Len() == 1:
		return 0
	case w.whole:
		return n
	case w.trans:
		return n*w.scale.Shape()[1] + block
	}
	return block*w.n + n
}

// tensors returns B, scales and zero_points of MatMulNBits; zero_points is nil where all are the middle.
func (w *blockWeights) tensors() (b, s, z *model.Tensor) {
	raw, err := w.data.Bytes()
	if err != nil {
		return nil, nil, nil
	}
	scale, err := model.Data[float32](w.scale)
	if err != nil {
		return nil, nil, nil
	}
	flip := byte(0)
	if w.signed {
		flip = 1 << (w.bits - 1)
	}
	get := func(raw []byte, i int) byte {
		if w.bits == 8 {
			return raw[i] ^ flip
		}
		return raw[i/2]>>(i%2*4)&15 ^ flip
	}
	kb := (w.k + w.block - 1) / w.block
	row := kb * w.block * w.bits / 8
	q := make([]byte, w.n*row)
	set := func(dst []byte, i int, v byte) {
		if w.bits == 8 {
			dst[i] = v
		} else {
			dst[i/2] |= v << (i % 2 * 4)
		}
	}
	for k := range w.k {
		for n := range w.n {
			i := k*w.n + n
			if w.trans {
				i = n*w.k + k
			}
			set(q[n*row:], k, get(raw, i))
		}
	}
	scales := make([]float32, w.n*kb)
	for n := range w.n {
		for t := range kb {
			scales[n*kb+t] = scale[w.at(t, n)]
		}
	}
	b = model.FromSlice([]int{w.n, kb, w.block * w.bits / 8}, q)
	s = model.FromSlice([]int{w.n, kb}, scales)
	if w.zero == nil && w.signed {
		return b, s, nil
	}
	zr := (kb*w.bits + 7) / 8
	zeros, even := make([]byte, w.n*zr), true
	var zraw []byte
	if w.zero != nil {
		if zraw, err = w.zero.Bytes(); err != nil {
			return nil, nil, nil
		}
	}
	for n := range w.n {
		for t := range kb {
			v := flip
			if zraw != nil {
				v = get(zraw, w.at(t, n))
			}
			even = even && v == 1<<(w.bits-1)
			set(zeros[n*zr:], t, v)
		}
	}
	if even {
		return b, s, nil
	}
	return b, s, model.FromSlice([]int{w.n, zr}, zeros)
}

// blockwise infers the operators on weights in blocks.
func (s *symbols) blockwise(n *model.Node, a, b []dim) {
	switch n.Op {
	case "MatMulNBits":
		if len(a) > 0 {
			s.set(n, append(append([]dim{}, a[:len(a)-1]...), dim{c: int(n.Int("N", 0))}))
		}
	case "GatherBlockQuantized":
		data := s.e.constant(n.In(0))
		if data == nil || data.Rank() != 2 || b == nil || n.Int("gather_axis", 0) != 0 {
			return
		}
		cols := data.Shape()[1]
		if data.DType() == model.Uint8 && n.Int("bits", 4) == 4 {
			cols *= 2
		}
		s.set(n, append(append([]dim{}, b...), dim{c: cols}))
	}
}
