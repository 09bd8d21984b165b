package engine

import (
	"fmt"
	"strconv"
	"strings"

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

// part5 is one of the three matrices in a merged one [B, S, 3*H*D], from its column at.
type part5 struct {
	x         string
	at, width int
}

// mergedName is how heads names a part of a merged matrix that no value stands for.
func mergedName(x string, i, width int) string { return fmt.Sprintf("\x00%d\x00%d\x00%s", i, width, x) }

// merged matches part i of Transpose(Reshape(x)), from [B, S, 3*H*D] over [B, S, 3, H, D] to [3, B, H, S, D].
func (e *editor) merged(name string) (x string, h, d int, nodes []*model.Node) {
	g := e.from(name, "Gather")
	if g == nil || g.Int("axis", 0) != 0 {
		return
	}
	i, ok := e.scalar(g.In(1))
	tr := e.from(g.In(0), "Transpose")
	if !ok || e.constant(g.In(1)).Rank() != 0 || i < -3 || i > 2 || tr == nil || !sameShape(attrInts(tr, "perm"), []int{2, 0, 3, 1, 4}) {
		return
	}
	rs := e.from(tr.In(0), "Reshape")
	if rs == nil {
		return
	}
	in, out := e.c.shapes[rs.In(0)], e.c.shapes[rs.Out(0)]
	if len(in) != 3 || len(out) != 5 || in[0] != out[0] || in[1] != out[1] || out[2] != (dim{c: 3}) || out[3].s != 0 || out[4].s != 0 ||
		out[3].c < 1 || out[4].c < 1 || in[2] != (dim{c: 3 * out[3].c * out[4].c}) {
		return
	}
	h, d = out[3].c, out[4].c
	return mergedName(rs.In(0), (int(i)+3)%3, h*d), h, d, []*model.Node{rs, tr, g}
}

// splitPart finds the merged matrix of which a value is an equal part along the last dimension.
func (e *editor) splitPart(name string, width int) (part5, *model.Node, bool) {
	sp := e.from(name, "Split")
	if sp == nil {
		return part5{}, nil, false
	}
	in := e.c.shapes[sp.In(0)]
	if ax := sp.Int("axis", 0); len(in) != 3 || ax != 2 && ax != -1 || in[2] != (dim{c: 3 * width}) || len(sp.Outputs) != 3 {
		return part5{}, nil, false
	}
	for i, o := range sp.Outputs {
		if shape := e.c.shapes[o]; len(shape) != 3 || shape[2] != (dim{c: width}) {
			return part5{}, nil, false
		}
		if o == name {
			return part5{sp.In(0), i * width, width}, sp, true
		}
	}
	return part5{}, nil, false
}

// mergedParts lets an attention read queries, keys and values where they lie in one merged matrix. It fails where heads
// matched parts that are not of one matrix.
func (e *editor) mergedParts(n *model.Node, h, d, dv int, lists ...*[]*model.Node) bool {
	var parts [3]part5
	var nodes [3]*model.Node
	named, all := 0, true
	for i := range parts {
		name := n.Inputs[i]
		if f := strings.SplitN(name, "\x00", 4); len(f) == 4 {
			k, _ := strconv.Atoi(f[1])
			w, _ := strconv.Atoi(f[2])
			parts[i] = part5{f[3], k * w, w}
			named++
			continue
		}
		var ok bool
		if parts[i], nodes[i], ok = e.splitPart(name, h*d); !ok {
			all = false
		}
	}
	if !all || d != dv || parts[0].x != parts[1].x || parts[0].x != parts[2].x {
		return named == 0
	}
	for i, p := range parts {
		n.Inputs[i] = p.x
		if nodes[i] != nil {
			*lists[i] = append([]*model.Node{nodes[i]}, *lists[i]...)
		}
	}
	n.Attrs = append(n.Attrs, model.IntAttr("size", int64(d)), model.IntsAttr("offsets", int64(parts[0].at), int64(parts[1].at), int64(parts[2].at)))
	return true
}

// heads matches Transpose(Reshape(x)) from [B, S, H*D] to [B, H, S, D] (perm 0 2 1 3) or its transpose (0 2 3 1).
func (e *editor) heads(name string, perm ...int) (x string, h, d int, nodes []*model.Node) {
	tr := e.from(name, "Transpose")
	if tr == nil || !sameShape(attrInts(tr, "perm"), perm) {
		if sameShape(perm, []int{0, 2, 1, 3}) {
			return e.merged(name)
		}
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
	sides := [2]string{score.In(0), score.In(1)}
	for i, name := range sides { // queries, keys or both may be scaled before the product
		m := e.maker[name]
		if m == nil || !m.Is("Mul") && !m.Is("Div") {
			continue
		}
		v, ok := e.scalar(m.In(1))
		if !ok || v == 0 {
			return
		}
		if m.Is("Div") {
			v = 1 / v
		}
		scale *= v
		mid = append(mid, m)
		sides[i] = m.In(0)
	}
	q, h, d, qn := e.heads(sides[0], 0, 2, 1, 3)
	k, hk, dk, kn := e.heads(sides[1], 0, 2, 3, 1)
	if k == "" {
		k, hk, dk, kn = e.twoStep(sides[1])
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
	last, rows := e.user(back.Out(0)), q
	if f := strings.SplitN(q, "\x00", 4); len(f) == 4 {
		rows = f[3]
	}
	if last == nil || !last.Is("Reshape") || !e.flatHeads(last, rows, h*dv) {
		return
	}
	if mask != "" && !e.maskFits(mask) {
		return
	}
	inner := append(append([]*model.Node{score}, mid...), soft, pv, back, last)
	if !e.inner(inner...) {
		return
	}
	node := &model.Node{Name: soft.Name, Op: "Attention", Domain: fusedDomain, Inputs: []string{q, k, v, mask}, Outputs: last.Outputs,
		Attrs: []model.Attr{model.IntAttr("heads", int64(h)), model.FloatAttr("scale", float32(scale))}}
	if merged := e.mergedParts(node, h, d, dv, &qn, &kn, &vn); !merged {
		return
	}
	e.replace(node, inner...)
	for _, list := range [][]*model.Node{qn, kn, vn} { // reshapes and transpositions that nobody else reads
		for i := len(list) - 1; i >= 0; i-- {
			if e.unread(list[i]) {
				e.remove(list[i])
			}
		}
	}
}

// unread reports whether nobody reads the outputs of a node.
func (e *editor) unread(n *model.Node) bool {
	for _, o := range n.Outputs {
		if len(e.users[o]) > 0 || e.pinned[o] {
			return false
		}
	}
	return true
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
