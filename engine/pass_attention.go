package engine

import (
	"github.com/wattshed/wattshed/model"
)

// attentionPass joins scaled dot-product attention over heads: the reshapes and transpositions of Q, K and V, the two
// products, scale, mask and softmax, into one operator on [batch, length, heads*size] tensors.
func attentionPass(c *compiler, g *model.Graph) error {
	return rewrite(func(e *editor, n *model.Node) {
		if n.Is("Softmax") {
			e.attention(n)
		}
	})(c, g)
}

// heads matches Transpose(Reshape(x)) from [B, S, H*D] to [B, H, S, D] (perm 0 2 1 3) or its transpose (0 2 3 1).
func (e *editor) heads(name string, perm ...int) (x string, h, d int, nodes []*model.Node) {
	tr := e.from(name, "Transpose")
	if tr == nil || !sameShape(attrInts(tr, "perm"), perm) {
		return
	}
	rs := e.from(tr.In(0), "Reshape")
	if rs == nil {
		return
	}
	in, out := e.c.shapes[rs.In(0)], e.c.shapes[rs.Out(0)]
	if len(in) != 3 || len(out) != 4 || in[0] != out[0] || in[1] != out[1] || out[2].s != 0 || out[3].s != 0 ||
		out[2].c < 1 || out[3].c < 1 || in[2] != (dim{c: out[2].c * out[3].c}) {
		return
	}
	return rs.In(0), out[2].c, out[3].c, []*model.Node{rs, tr}
}

// attention matches from the softmax in both directions.
func (e *editor) attention(soft *model.Node) {
	ax := soft.Int("axis", -1)
	if e.version(soft) < 13 {
		ax = soft.Int("axis", 1)
	}
	if ax != 3 && ax != -1 {
		return
	}
	scale := 1.0
	mask := ""
	var mid []*model.Node
	name := soft.In(0)
	score := e.maker[name]
	if score != nil && score.Is("Add") {
		for i, s := range score.Inputs {
			if m := e.scaled(s); m != nil {
				mask = score.In(1 - i)
				mid = append(mid, score)
				name = s
				break
			}
		}
		if mask == "" {
			return
		}
		score = e.maker[name]
	}
	if score != nil && (score.Is("Div") || score.Is("Mul")) {
		v, ok := e.scalar(score.In(1))
		if !ok || v == 0 {
			return
		}
		scale = v
		if score.Is("Div") {
			scale = 1 / v
		}
		mid = append(mid, score)
		score = e.maker[score.In(0)]
	}
	if score == nil || !score.Is("MatMul") {
		return
	}
	q, h, d, qn := e.heads(score.In(0), 0, 2, 1, 3)
	k, hk, dk, kn := e.heads(score.In(1), 0, 2, 3, 1)
	if k == "" {
		k, hk, dk, kn = e.twoStep(score.In(1))
	}
	if q == "" || k == "" || h != hk || d != dk {
		return
	}
	pv := e.user(soft.Out(0))
	if pv == nil || !pv.Is("MatMul") || pv.In(0) != soft.Out(0) {
		return
	}
	v, hv, dv, vn := e.heads(pv.In(1), 0, 2, 1, 3)
	back := e.user(pv.Out(0))
	if v == "" || hv != h || back == nil || !back.Is("Transpose") || !sameShape(attrInts(back, "perm"), []int{0, 2, 1, 3}) {
		return
	}
	last := e.user(back.Out(0))
	if last == nil || !last.Is("Reshape") || !e.flatHeads(last, q, h*dv) {
		return
	}
	if mask != "" && !e.maskFits(mask) {
		return
	}
	inner := append(append([]*model.Node{score}, mid...), soft, pv, back, last)
	if !e.inner(inner...) {
		return
	}
	e.replace(&model.Node{Name: soft.Name, Op: "Attention", Domain: fusedDomain, Inputs: []string{q, k, v, mask}, Outputs: last.Outputs,
		Attrs: []model.Attr{model.IntAttr("heads", int64(h)), model.FloatAttr("scale", float32(scale))}}, inner...)
	for _, list := range [][]*model.Node{qn, kn, vn} { // reshapes and transpositions that nobody else reads
		for i := len(list) - 1; i >= 0; i-- {
			if o := list[i].Out(0); len(e.users[o]) == 0 && !e.pinned[o] {
				e.remove(list[i])
			}
		}
	}
}

// scaled returns the node of a name if it is the scaled or plain product of queries and keys.
func (e *editor) scaled(name string) *model.Node {
	n := e.maker[name]
	if n == nil {
		return nil
	}
	if n.Is("MatMul") {
		return n
	}
	if n.Is("Div") || n.Is("Mul") {
		if _, ok := e.scalar(n.In(1)); ok {
			return e.from(n.In(0), "MatMul")
		}
	}
	return nil
}

// twoStep matches keys that are split into heads first and transposed afterwards.
func (e *editor) twoStep(name string) (x string, h, d int, nodes []*model.Node) {
	tr := e.from(name, "Transpose")
	if tr == nil || !sameShape(attrInts(tr, "perm"), []int{0, 1, 3, 2}) {
		return
	}
	if x, h, d, nodes = e.heads(tr.In(0), 0, 2, 1, 3); x == "" {
		return
	}
	return x, h, d, append(nodes, tr)
}

// flatHeads reports whether a Reshape joins heads and sizes again, to the shape of the queries with n columns.
func (e *editor) flatHeads(n *model.Node, q string, cols int) bool {
	out, in := e.c.shapes[n.Out(0)], e.c.shapes[q]
	return len(out) == 3 && len(in) == 3 && out[0] == in[0] && out[1] == in[1] && out[2] == dim{c: cols}
}

// maskFits reports whether a mask is known to have rank 4 and the same values for all queries or all of them.
func (e *editor) maskFits(name string) bool { return len(e.c.shapes[name]) == 4 }
