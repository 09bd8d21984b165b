package engine

import (
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// attentionPass joins scaled dot-product attention over heads into one operator: the two products, scale, mask, softmax and what
// guards it, on [batch, length, heads*size] tensors with the reshapes and transpositions of Q, K and V where they are known, and
// else on tensors of rank 4.
func attentionPass(c *compiler, g *model.Graph) error {
	return rewrite(func(e *editor, n *model.Node) {
		if n.Is("Softmax") {
			e.attention(n)
		}
	})(c, g)
}

// scored is what an attention computes up to its softmax, and what follows: softmax(scale Q K^T + mask) V.
type scored struct {
	scale    float64
	q, k, v  string   // k is transposed
	masks    []string // none, one or two
	guard    bool     // rows that are no numbers become 0
	inner    []*model.Node
	sides    [2][]*model.Node // what scales q and k
	soft, pv *model.Node
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
	s := &scored{scale: 1, soft: soft}
	if !e.scores(s) || !e.weighted(s) || !e.masksFit(s.masks) || s.makes(append(s.masks, s.v)...) {
		return
	}
	if !e.packedAttention(s) {
		e.wholeAttention(s)
	}
}

// makes reports whether one of the names is of a value inside, as that of scores that are added to themselves: it would be gone.
func (s *scored) makes(names ...string) bool {
	return slices.ContainsFunc(s.inner, func(n *model.Node) bool { return slices.Contains(names, n.Out(0)) })
}

// factor returns the input of a Mul or Div by a constant number, and the number that it is multiplied by; "" for other nodes.
func (e *editor) factor(n *model.Node) (string, float64) {
	if n == nil || !n.Is("Mul") && !n.Is("Div") {
		return "", 0
	}
	for i := 1; i >= 0; i-- {
		t := e.constant(n.In(i))
		v, ok := e.scalar(n.In(i))
		switch {
		case !ok || v == 0 || t.Rank() > 1:
		case n.Is("Mul"):
			return n.In(1 - i), v
		case i == 1:
			return n.In(0), 1 / v
		}
	}
	return "", 0
}

// scores finds what makes the input of the softmax: mask, scale and the product of queries and keys.
func (e *editor) scores(s *scored) bool {
	name := s.soft.In(0)
	for add := e.from(name, "Add"); add != nil; add = e.from(name, "Add") {
		i := slices.IndexFunc(add.Inputs, e.scaled)
		if i < 0 && len(s.masks) == 0 { // a mask behind another one
			i = slices.IndexFunc(add.Inputs, func(in string) bool {
				n := e.from(in, "Add")
				return n != nil && slices.ContainsFunc(n.Inputs, e.scaled)
			})
		}
		if i < 0 {
			return false
		}
		s.masks, name = append(s.masks, add.In(1-i)), add.In(i)
		s.inner = append(s.inner, add)
	}
	if x, f := e.factor(e.maker[name]); x != "" {
		s.inner = append(s.inner, e.maker[name])
		s.scale, name = f, x
	}
	product := e.from(name, "MatMul")
	if product == nil {
		return false
	}
	s.inner = append(s.inner, product)
	s.q, s.k = product.In(0), product.In(1)
	for i, side := range []*string{&s.q, &s.k} { // queries, keys or both may be scaled before the product
		if n := e.maker[*side]; n != nil {
			if x, f := e.factor(n); x != "" {
				s.sides[i] = []*model.Node{n}
				s.scale *= f
				*side = x
			}
		}
	}
	return true
}

// scaled reports whether a name is the scaled or plain product of queries and keys.
func (e *editor) scaled(name string) bool {
	if x, _ := e.factor(e.maker[name]); x != "" {
		name = x
	}
	return e.from(name, "MatMul") != nil
}

// weighted finds the product of the softmax and the values.
func (e *editor) weighted(s *scored) bool {
	p := s.soft.Out(0)
	s.inner = append(s.inner, s.soft)
	if u := e.users[p]; len(u) == 2 && !e.pinned[p] { // Where(IsNaN(p), 0, p)
		nan, where := u[0], u[1]
		if !nan.Is("IsNaN") {
			nan, where = where, nan
		}
		if zero, ok := e.scalar(where.In(1)); !nan.Is("IsNaN") || !where.Is("Where") || where.In(0) != nan.Out(0) || where.In(2) != p || !ok || zero != 0 ||
			e.constant(where.In(1)).Rank() > 4 {
			return false
		}
		s.guard = true
		s.inner = append(s.inner, nan, where)
		p = where.Out(0)
	}
	s.pv = e.user(p)
	if s.pv == nil || !s.pv.Is("MatMul") || s.pv.In(0) != p {
		return false
	}
	s.v = s.pv.In(1)
	s.inner = append(s.inner, s.pv)
	return true
}

// node returns the fused node of a match, without its outputs.
func (e *editor) fusedNode(s *scored, q, k, v string, attrs ...model.Attr) *model.Node {
	n := &model.Node{Name: s.soft.Name, Op: "Attention", Domain: fusedDomain, Inputs: []string{q, k, v, e.maskOf(s.masks)},
		Attrs: append(attrs, model.FloatAttr("scale", float32(s.scale)))}
	if s.guard {
		n.Attrs = append(n.Attrs, model.IntAttr("guard", 1))
	}
	return n
}

// maskOf returns the sum of the masks, which several attentions may share.
func (e *editor) maskOf(masks []string) string {
	if len(masks) < 2 {
		return strings.Join(masks, "")
	}
	for _, u := range e.users[masks[0]] {
		if u.Is("Add") && other(u, masks[0]) == masks[1] {
			return u.Out(0)
		}
	}
	sum := &model.Node{Op: "Add", Inputs: slices.Clone(masks), Outputs: []string{e.freshName("mask")}}
	if a, b := e.c.shapes[masks[0]], e.c.shapes[masks[1]]; len(a) == 4 && len(b) == 4 {
		shape, known := slices.Clone(a), true
		for i, d := range b {
			switch one := (dim{c: 1}); {
			case d == a[i] || d == one || a[i].s == 0 && a[i].c > 1:
			case a[i] == one || d.s == 0 && d.c > 1:
				shape[i] = d
			default: // either may be 1
				known = false
			}
		}
		if known {
			e.c.shapes[sum.Out(0)] = shape
		}
	}
	e.index(sum)
	e.g.Nodes = append(e.g.Nodes, sum)
	return sum.Out(0)
}

// packedAttention fuses where Q, K, V and the result are seen to be columns of matrices.
func (e *editor) packedAttention(s *scored) bool {
	q, h, d, qn := e.heads(s.q, 0, 2, 1, 3)
	k, hk, dk, kn := e.heads(s.k, 0, 2, 3, 1)
	if k == "" {
		k, hk, dk, kn = e.twoStep(s.k)
	}
	v, hv, dv, vn := e.heads(s.v, 0, 2, 1, 3)
	back := e.user(s.pv.Out(0))
	if q == "" || k == "" || v == "" || h != hk || d != dk || hv != h || back == nil || !back.Is("Transpose") || !sameShape(attrInts(back, "perm"), []int{0, 2, 1, 3}) {
		return false
	}
	last, rows := e.user(back.Out(0)), q
	if f := strings.SplitN(q, "\x00", 4); len(f) == 4 {
		rows = f[3]
	}
	if last == nil || !last.Is("Reshape") || !e.flatHeads(last, rows, h*dv) {
		return false
	}
	inner := append(slices.Clone(s.inner), back, last)
	if !e.inner(inner...) {
		return false
	}
	node := e.fusedNode(s, q, k, v, model.IntAttr("heads", int64(h)))
	node.Outputs = last.Outputs
	if !e.mergedParts(node, h, d, dv, &qn, &kn, &vn) {
		return false
	}
	e.replace(node, inner...)
	e.removeUnread(append(qn, s.sides[0]...), append(kn, s.sides[1]...), vn)
	return true
}

// removeUnread removes nodes that nobody else reads, from the last of each list on.
func (e *editor) removeUnread(lists ...[]*model.Node) {
	for _, list := range lists {
		for _, n := range slices.Backward(list) {
			if e.unread(n) {
				e.remove(n)
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

// wholeAttention fuses on tensors of rank 4, [B, H, S, D] or [B, S, H, D]: such as keys and values with a cache, behind a rotation of
// positions, or shared by several heads of queries.
func (e *editor) wholeAttention(s *scored) {
	q, lq, qn := e.turned(s.q)
	k, lk, kn := e.keys(s.k)
	if k == "" {
		return
	}
	group := 1
	v, vn := s.v, []*model.Node(nil)
	if k1, g, n1 := e.sharedHeads(k); g > 1 && lk == 0 {
		if v1, gv, n2 := e.sharedHeads(v); gv == g {
			k, kn, v, vn, group = k1, append(n1, kn...), v1, n2, g
		}
	}
	if x, l, n := e.turned(k); lk == 0 {
		k, lk, kn = x, l, append(n, kn...)
	}
	v, lv, n := e.turned(v)
	vn = append(n, vn...)
	for _, name := range []string{q, k, v} {
		if len(e.c.shapes[name]) != 4 {
			return
		}
	}
	inner, lo := s.inner, 0
	if back := e.user(s.pv.Out(0)); back != nil && back.Is("Transpose") && sameShape(attrInts(back, "perm"), []int{0, 2, 1, 3}) {
		inner, lo = append(slices.Clone(inner), back), 1
	}
	if !e.inner(inner...) {
		return
	}
	node := e.fusedNode(s, q, k, v, model.IntsAttr("layout", int64(lq), int64(lk), int64(lv), int64(lo)), model.IntAttr("group", int64(group)))
	node.Outputs = inner[len(inner)-1].Outputs
	e.replace(node, inner...)
	e.removeUnread(append(qn, s.sides[0]...), append(kn, s.sides[1]...), vn)
}

// turned returns what a name is the transposition of, from [B, S, H, D] to [B, H, S, D], and 1; or else the name and 0.
func (e *editor) turned(name string) (string, int, []*model.Node) {
	if tr := e.from(name, "Transpose"); tr != nil && sameShape(attrInts(tr, "perm"), []int{0, 2, 1, 3}) {
		return tr.In(0), 1, []*model.Node{tr}
	}
	return name, 0, nil
}

// keys returns the keys of which a name is the transposition to [B, H, D, S], and 1 for [B, S, H, D].
func (e *editor) keys(name string) (string, int, []*model.Node) {
	if tr := e.from(name, "Transpose"); tr != nil {
		switch perm := attrInts(tr, "perm"); {
		case sameShape(perm, []int{0, 1, 3, 2}):
			return tr.In(0), 0, []*model.Node{tr}
		case sameShape(perm, []int{0, 2, 3, 1}):
			return tr.In(0), 1, []*model.Node{tr}
		}
		return "", 0, nil
	}
	second := e.from(name, "Reshape") // over [B*H, S, D]
	if second == nil {
		return "", 0, nil
	}
	tr := e.from(second.In(0), "Transpose")
	if tr == nil || !sameShape(attrInts(tr, "perm"), []int{0, 2, 1}) {
		return "", 0, nil
	}
	first := e.from(tr.In(0), "Reshape")
	if first == nil {
		return "", 0, nil
	}
	x, flat, y := e.c.shapes[first.In(0)], e.c.shapes[first.Out(0)], e.c.shapes[name]
	if len(x) != 4 || len(flat) != 3 || len(y) != 4 || flat[1] != x[2] || flat[2] != x[3] || y[0] != x[0] || y[1] != x[1] || y[2] != x[3] || y[3] != x[2] {
		return "", 0, nil
	}
	return first.In(0), 0, []*model.Node{first, tr, second}
}

// sharedHeads matches Reshape(Expand(Unsqueeze(x))) from [B, H, S, D] over [B, H, group, S, D] to [B, H*group, S, D].
func (e *editor) sharedHeads(name string) (x string, group int, nodes []*model.Node) {
	rs := e.from(name, "Reshape")
	if rs == nil {
		return
	}
	ex := e.from(rs.In(0), "Expand")
	if ex == nil {
		return
	}
	un := e.from(ex.In(0), "Unsqueeze")
	if un == nil {
		return
	}
	in, one, wide, out := e.c.shapes[un.In(0)], e.c.shapes[un.Out(0)], e.c.shapes[ex.Out(0)], e.c.shapes[name]
	if len(in) != 4 || len(one) != 5 || len(wide) != 5 || len(out) != 4 || one[2] != (dim{c: 1}) || wide[2].s != 0 || in[1].s != 0 {
		return
	}
	g := wide[2].c
	if !slices.Equal(slices.Delete(slices.Clone(one), 2, 3), in) || !slices.Equal(slices.Delete(slices.Clone(wide), 2, 3), in) ||
		!slices.Equal(out, []dim{in[0], {c: in[1].c * g}, in[2], in[3]}) {
		return
	}
	return un.In(0), g, []*model.Node{un, ex, rs}
}

// masksFit reports whether no mask is known to have more than the 4 dimensions of the scores.
func (e *editor) masksFit(masks []string) bool {
	return !slices.ContainsFunc(masks, func(m string) bool { return len(e.c.shapes[m]) > 4 })
}
