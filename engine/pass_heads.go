package engine

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// Heads as exporters split them from the columns of matrices, and join them again.

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
