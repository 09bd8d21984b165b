package engine

import (
	"math"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// qdq turns operators between DequantizeLinear and QuantizeLinear, and the QLinear operators, into integer ones. Values of the
// integer operators are unsigned bytes, images with their channels last; nodes that convert at the borders are added freely and
// those that nobody reads fall to the pass dead.
type qdq struct {
	e      *editor
	u8     map[string]string           // the unsigned form of a quantized value, in the model's layout
	last   map[string]string           // the unsigned form, channels last
	rank   map[string]int              // of the values in last
	tables map[string]lookup           // values that are functions of one other
	splits map[*model.Node]*model.Node // Split by the one of bytes beside it
	stays  map[*model.Node]string      // quantized operators that stay in float: why
	stored map[*model.Node]bool        // readers of weights that foldWeights dequantized
}

// qvalue is a quantized value: element v stands for (v - zero) * scale, with v and zero unsigned.
type qvalue struct {
	name   string
	scale  float32
	zero   uint8
	signed bool // the model holds v - 128
}

// qdqPass rewrites the top graph.
func qdqPass(c *compiler, g *model.Graph) error {
	p := &qdq{e: c.edit(g), u8: map[string]string{}, last: map[string]string{}, rank: map[string]int{},
		tables: map[string]lookup{}, splits: map[*model.Node]*model.Node{}, stays: map[*model.Node]string{}, stored: map[*model.Node]bool{}}
	nodes := slices.Clone(g.Nodes)
	for _, n := range nodes {
		if p.e.gone[n] {
			continue
		}
		switch {
		case n.Is("MaxPool"):
			p.bytePool(n)
		case n.Is("QuantizeLinear"):
			p.quantize(n)
		case strings.HasPrefix(n.Op, "QLinear") || n.Op == "QGemm":
			p.operator(n)
		}
	}
	for _, n := range nodes {
		if !p.e.gone[n] {
			p.floatProduct(n)
			p.floatConv(n)
			p.floatTranspose(n)
		}
	}
	live := p.e.live()
	for _, n := range nodes {
		if !p.e.gone[n] {
			p.unflip(n)
			p.foldWeights(n, live)
		}
	}
	c.warnings = append(c.warnings, p.warnings(nodes, live)...)
	return p.e.finish()
}

// unflip lets a DequantizeLinear of signed bytes read the unsigned form where there is one.
func (p *qdq) unflip(n *model.Node) {
	if p.e.gone[n] || !n.Is("DequantizeLinear") {
		return
	}
	v, ok := p.dequantized(n.Out(0))
	if name := p.u8[v.name]; ok && v.signed && name != "" && p.e.constant(v.name) == nil {
		f := *n
		f.Inputs = []string{name, n.In(1), p.e.addConstant(model.FromSlice(p.e.constant(n.In(1)).Shape(), []uint8{v.zero}))}
		p.e.replace(&f, n)
	}
}

// stay notes that a quantized operator stays in float.
func (p *qdq) stay(n *model.Node, why string) bool {
	if p.stays[n] == "" {
		p.stays[n] = why
	}
	return false
}

// value describes the quantized form name with scale and zero point; ok is false where they are no constants of one element or the
// type is not a byte.
func (p *qdq) value(name, scale, zero string, output bool) (v qvalue, ok bool) {
	st := p.e.constant(scale)
	if name == "" || st == nil || st.DType() != model.Float32 || st.Len() != 1 {
		return v, false
	}
	s, err := model.Data[float32](st)
	if err != nil || !(s[0] > 0) || math.IsInf(float64(s[0]), 0) {
		return v, false
	}
	v = qvalue{name: name, scale: s[0]}
	if zero == "" {
		if t := p.e.constant(name); t != nil && !output {
			v.signed = t.DType() == model.Int8
			return v, t.DType() == model.Uint8 || t.DType() == model.Int8
		}
		if m := p.e.maker[name]; !output && (m == nil || !m.Is("QuantizeLinear") || m.In(2) != "") {
			return v, false // the type is not known
		}
		return v, true
	}
	zt := p.e.constant(zero)
	if zt == nil || zt.Len() != 1 || !isByte(zt) {
		return v, false
	}
	raw, err := zt.Bytes()
	if err != nil {
		return v, false
	}
	v.zero, v.signed = raw[0], zt.DType() == model.Int8
	if v.signed {
		v.zero ^= 0x80
	}
	return v, true
}

// dequantized returns the quantized value behind the output of a DequantizeLinear.
func (p *qdq) dequantized(name string) (qvalue, bool) {
	n := p.e.from(name, "DequantizeLinear")
	if n == nil || n.Int("block_size", 0) != 0 || n.Int("output_dtype", int64(model.Float32)) != int64(model.Float32) {
		return qvalue{}, false
	}
	return p.value(n.In(0), n.In(1), n.In(2), false)
}

// result returns what a QuantizeLinear makes.
func (p *qdq) result(n *model.Node) (qvalue, bool) {
	if n.Int("block_size", 0) != 0 {
		return qvalue{}, false
	}
	if d := n.Int("output_dtype", 0); d != 0 && n.In(2) == "" && d != int64(model.Uint8) {
		return qvalue{}, false
	}
	return p.value(n.Out(0), n.In(1), n.In(2), true)
}

// add puts a node into the graph.
func (p *qdq) add(n *model.Node) string {
	p.e.index(n)
	p.e.g.Nodes = append(p.e.g.Nodes, n)
	return n.Out(0)
}

// convert adds a node of one input that only changes the form of a value.
func (p *qdq) convert(op, from, to string) string {
	return p.add(&model.Node{Name: to, Op: op, Domain: fusedDomain, Inputs: []string{from}, Outputs: []string{to}})
}

// fresh returns a name that nothing has.
func (p *qdq) fresh(name, suffix string) string {
	name += suffix
	for p.e.maker[name] != nil || p.e.g.Initializer(name) != nil || p.e.fixed[name] {
		name += "'"
	}
	return name
}

// plain returns the unsigned form of a value in the model's layout.
func (p *qdq) plain(v qvalue) string {
	if name, ok := p.u8[v.name]; ok {
		return name
	}
	name := v.name
	if v.signed {
		name = p.fresh(v.name, "/u8")
		switch m := p.e.maker[v.name]; {
		case p.e.constant(v.name) != nil:
			name = p.constant(v, nil)
		case m != nil && m.Is("QuantizeLinear") && p.e.constant(m.In(2)) != nil:
			z := p.e.addConstant(model.Scalar(v.zero))
			p.add(&model.Node{Name: name, Op: "QuantizeLinear", Inputs: []string{m.In(0), m.In(1), z}, Outputs: []string{name}})
		default:
			p.convert("FlipSign", v.name, name)
		}
	}
	p.u8[v.name] = name
	return name
}

// constant adds the unsigned form of a constant, with its dimensions in the order of perm where that is not nil.
func (p *qdq) constant(v qvalue, perm []int) string {
	t := p.e.constant(v.name)
	raw, err := t.Bytes()
	if err != nil {
		return ""
	}
	out := slices.Clone(raw)
	if v.signed {
		for i := range out {
			out[i] ^= 0x80
		}
	}
	u := model.FromSlice(t.Shape(), out)
	if perm != nil {
		call := &Call{Node: &model.Node{Op: "Transpose"}, arena: &arena{limit: maxFoldBytes, most: p.e.c.opts.Memory}}
		if transposeTo(call, 0, u, perm) != nil {
			return ""
		}
		u = call.out[0].t
	}
	return p.e.addConstant(u)
}

// image returns the unsigned form of a value of the given rank, channels last.
func (p *qdq) image(v qvalue, rank int) string {
	if name, ok := p.last[v.name]; ok {
		return name
	}
	var name string
	if p.e.constant(v.name) != nil {
		perm := []int{0}
		for i := 2; i < rank; i++ {
			perm = append(perm, i)
		}
		name = p.constant(v, append(perm, 1))
	} else {
		from := p.plain(v)
		name = p.convert("ChannelsLast", from, p.fresh(v.name, "/last"))
	}
	p.last[v.name], p.rank[v.name] = name, rank
	return name
}

// emit puts n in the place of old: it makes the value out, as an image of the given rank or, with rank 0, in the model's layout.
func (p *qdq) emit(n *model.Node, old *model.Node, out qvalue, rank int) bool {
	p.e.remove(old)
	name := out.name
	if out.signed {
		name = p.fresh(out.name, "/u8")
	}
	n.Name, n.Domain, n.Outputs = old.Name, fusedDomain, []string{name}
	if rank > 0 {
		n.Outputs[0] = p.fresh(out.name, "/last")
		p.last[out.name], p.rank[out.name] = p.add(n), rank
		p.convert("ChannelsFirst", n.Outputs[0], name)
	} else {
		p.add(n)
	}
	if out.signed {
		p.convert("FlipSign", name, out.name)
	}
	p.u8[out.name] = name
	return true
}

// rankOf returns the rank of a value where it is known, or -1.
func (p *qdq) rankOf(name string) int {
	if r, ok := p.rank[name]; ok {
		return r
	}
	if t := p.e.constant(name); t != nil {
		return t.Rank()
	}
	if s, ok := p.e.c.shapes[name]; ok && s != nil {
		return len(s)
	}
	return -1
}

// forms returns the names of values in one layout: as images if any is one already and all can be, else in the model's.
func (p *qdq) forms(values ...qvalue) (names []string, rank int) {
	for _, v := range values {
		if _, ok := p.last[v.name]; ok && p.e.constant(v.name) == nil {
			rank = max(rank, p.rank[v.name])
		}
	}
	for _, v := range values {
		if t := p.e.constant(v.name); t != nil && t.Len() == 1 && t.Rank() <= rank {
			continue
		}
		if p.rankOf(v.name) != rank {
			rank = 0
			break
		}
	}
	for _, v := range values {
		t := p.e.constant(v.name)
		if rank > 0 && (t == nil || t.Len() != 1) {
			names = append(names, p.image(v, rank))
		} else {
			names = append(names, p.plain(v))
		}
	}
	return names, rank
}

// limits returns the bytes that the bounds of an activation become: y limited to [lo, hi] before it is quantized is the quantized y
// limited to these, since quantizing is monotone.
func limits(out qvalue, lo, hi float64) (uint8, uint8) {
	var q [2]uint8
	f := []float32{float32(max(lo, -math.MaxFloat32)), float32(min(hi, math.MaxFloat32))}
	kernel.QuantizeLinearU8(f, q[:], out.scale, out.zero)
	return q[0], q[1]
}

// bounds returns the limits of a Relu or Clip with constant limits.
func (p *qdq) bounds(n *model.Node) (lo, hi float64, ok bool) {
	lo, hi = math.Inf(-1), math.Inf(1)
	switch {
	case n.Is("Relu"):
		return 0, hi, true
	case n.Is("Clip"):
		if p.e.version(n) < 11 {
			return float64(n.Float("min", -math.MaxFloat32)), float64(n.Float("max", math.MaxFloat32)), true
		}
		for i, b := range []*float64{&lo, &hi} {
			if name := n.In(1 + i); name != "" {
				if v, found := p.floatScalar(name); found {
					*b = v
				} else {
					return 0, 0, false
				}
			}
		}
		return lo, hi, lo <= hi
	}
	return 0, 0, false
}

// floatScalar returns a constant of one number, also behind DequantizeLinear.
func (p *qdq) floatScalar(name string) (float64, bool) {
	if v, ok := p.e.scalar(name); ok {
		return v, true
	}
	v, ok := p.dequantized(name)
	if !ok {
		return 0, false
	}
	t := p.e.constant(v.name)
	if t == nil || t.Len() != 1 {
		return 0, false
	}
	raw, err := t.Bytes()
	if err != nil {
		return 0, false
	}
	if v.signed {
		return float64(float32(int32(raw[0]^0x80)-int32(v.zero)) * v.scale), true
	}
	return float64(float32(int32(raw[0])-int32(v.zero)) * v.scale), true
}

// quantize handles one QuantizeLinear and the operator before it.
func (p *qdq) quantize(q *model.Node) bool {
	n := p.e.maker[q.In(0)]
	out, ok := p.result(q)
	if n == nil || !ok {
		return false
	}
	switch n.Op { // as ONNX Runtime computes them, also as functions of one value
	case "Add", "Sum", "Mul":
		if p.e.user(n.Out(0)) != nil && n.Is(n.Op) && p.binary(n, q, out, 0, 255) {
			return true
		}
	}
	if p.lookup(q, out) {
		return true
	}
	if n.Is("Split") {
		return p.split(n, q, out)
	}
	lo, hi := uint8(0), uint8(255)
	if l, h, ok := p.bounds(n); ok && p.e.user(n.In(0)) == n && p.e.maker[n.In(0)] != nil {
		lo, hi = limits(out, l, h)
		n = p.e.maker[n.In(0)]
	}
	if p.e.user(n.Out(0)) == nil {
		if p.quantized(n) && !n.Is("MatMul") && !n.Is("Gemm") && !n.Is("ConvTranspose") { // these have integer kernels with float results
			p.stay(n, "its result is read in float too")
		}
		return false
	}
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return false
	}
	switch n.Op {
	case "Conv":
		return p.conv(n, q, out, lo, hi)
	case "ConvTranspose":
		return p.convTranspose(n, q, out, lo, hi)
	case "Gemm":
		return p.gemm(n, q, out, lo, hi)
	case "MatMul":
		return p.matmul(n, q, out, lo, hi)
	case "Add", "Sum", "Mul":
		return p.binary(n, q, out, lo, hi) || p.stay(n, "its inputs are not two quantized values")
	case "Concat":
		return lo == 0 && hi == 255 && p.concat(n, q, out)
	case "GlobalAveragePool", "AveragePool", "MaxPool":
		return p.pool(n, q, out, lo, hi)
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Slice", "Expand", "Tile", "Gather", "DepthToSpace", "SpaceToDepth":
		return lo == 0 && hi == 255 && p.move(n, q, out)
	}
	if p.quantized(n) {
		p.stay(n, "there is no integer kernel")
	}
	return false
}

// quantized reports whether an input comes from DequantizeLinear.
func (p *qdq) quantized(n *model.Node) bool {
	for _, in := range n.Inputs {
		if p.e.from(in, "DequantizeLinear") != nil {
			return true
		}
	}
	return false
}
