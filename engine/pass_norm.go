package engine

import (
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// lastAxis reports whether a reduction is over the last axis alone and keeps it.
func (e *editor) lastAxis(n *model.Node) bool {
	if n == nil || n.Int("keepdims", 1) != 1 {
		return false
	}
	list := attrInts(n, "axes")
	if e.version(n) >= 18 {
		t := e.constant(n.In(1))
		if t == nil {
			return false
		}
		var err error
		if list, err = ints(t); err != nil {
			return false
		}
	}
	r := len(e.c.shapes[n.In(0)])
	return len(list) == 1 && (list[0] == -1 || r > 0 && list[0] == r-1)
}

// fuseLayerNorm finds (x-mean)/sqrt(mean((x-mean)^2)+eps)*gamma + beta, from its last addition.
func fuseLayerNorm(e *editor, n *model.Node) {
	if !n.Is("Add") {
		return
	}
	for i, name := range n.Inputs {
		mul := e.from(name, "Mul")
		beta := n.In(1 - i)
		if mul == nil || e.constant(beta) == nil {
			continue
		}
		for j, d := range mul.Inputs {
			div := e.from(d, "Div")
			gamma := mul.In(1 - j)
			if div == nil || e.constant(gamma) == nil {
				continue
			}
			if e.layerNorm(n, mul, div, gamma, beta) {
				return
			}
		}
	}
}

// layerNorm completes the match from the division on.
func (e *editor) layerNorm(root, mul, div *model.Node, gamma, beta string) bool {
	sub, sqrt := e.from(div.In(0), "Sub"), e.from(div.In(1), "Sqrt")
	if sub == nil || sqrt == nil {
		return false
	}
	mean := e.from(sub.In(1), "ReduceMean")
	add := e.from(sqrt.In(0), "Add")
	if !e.lastAxis(mean) || mean.In(0) != sub.In(0) || add == nil {
		return false
	}
	for i, name := range add.Inputs {
		variance := e.from(name, "ReduceMean")
		eps, ok := e.scalar(add.In(1 - i))
		if !e.lastAxis(variance) || !ok {
			continue
		}
		sq := e.maker[variance.In(0)]
		var sub2 *model.Node
		switch {
		case sq == nil:
			return false
		case sq.Is("Pow") && e.isScalar(sq.In(1), 2):
			sub2 = e.from(sq.In(0), "Sub")
		case sq.Is("Mul") && sq.In(0) == sq.In(1):
			sub2 = e.from(sq.In(0), "Sub")
		}
		if sub2 == nil || sub2.In(0) != sub.In(0) || sub2.In(1) != sub.In(1) {
			return false
		}
		g, b := e.constant(gamma), e.constant(beta)
		if g.Rank() != 1 || !sameShape(g.Shape(), b.Shape()) || g.DType() != model.Float32 || b.DType() != model.Float32 {
			return false
		}
		nodes := []*model.Node{mean, sub, sq, variance, add, sqrt, div, mul, root}
		if sub2 != sub {
			nodes = append([]*model.Node{sub2}, nodes...)
		}
		if !e.inner(nodes...) { // two normalizations of one input share what does not depend on gamma and beta
			shared := nodes[:len(nodes)-2]
			if !e.inner(mul, root) || slices.ContainsFunc(shared, e.widens) {
				return false
			}
			nodes = nodes[len(shared):]
			defer e.removeUnread(shared)
		}
		e.replace(&model.Node{Name: root.Name, Op: "LayerNormalization", Inputs: []string{sub.In(0), gamma, beta}, Outputs: root.Outputs,
			Attrs: []model.Attr{model.IntAttr("axis", -1), model.FloatAttr("epsilon", float32(eps)), model.IntAttr(opsetAttr, 17), model.IntAttr(foundAttr, 1)}}, nodes...)
		return true
	}
	return false
}

// fuseGelu finds x/2 (1 + erf(x/sqrt 2)) and its tanh approximation, whatever the order of the factors.
func fuseGelu(e *editor, n *model.Node) {
	switch {
	case n.Is("Erf"):
		arg := e.maker[n.In(0)]
		if arg == nil {
			return
		}
		x := ""
		switch {
		case arg.Is("Div") && e.isScalar(arg.In(1), math.Sqrt2):
			x = arg.In(0)
		case arg.Is("Mul") && e.isScalar(arg.In(1), math.Sqrt2/2):
			x = arg.In(0)
		case arg.Is("Mul") && e.isScalar(arg.In(0), math.Sqrt2/2):
			x = arg.In(1)
		default:
			return
		}
		e.gelu(n, x, "none", arg)
	case n.Is("Tanh"):
		if x, nodes := e.tanhArgument(n.In(0)); nodes != nil {
			e.gelu(n, x, "tanh", nodes...)
		}
	}
}

// tanhArgument matches sqrt(2/pi) (x + 0.044715 x^3) and sqrt(2/pi) x (1 + 0.044715 x^2), however the powers are written.
func (e *editor) tanhArgument(name string) (string, []*model.Node) {
	outer := e.from(name, "Mul")
	if outer == nil {
		return "", nil
	}
	for i := range outer.Inputs {
		sum := e.from(outer.In(1-i), "Add")
		if sum == nil {
			continue
		}
		for j, x := range sum.Inputs {
			power := 3
			if e.isScalar(x, 1) {
				power = 2
				if m := e.from(outer.In(i), "Mul"); m != nil {
					if x = m.In(0); e.constant(x) != nil {
						x = m.In(1)
					}
				}
			}
			c, k, nodes := e.monomial(sum.In(1-j), x, 0)
			front, one, more := e.monomial(outer.In(i), x, 0)
			if k == power && one == 3-power && closeTo(c, 0.044715) && closeTo(front, math.Sqrt(2/math.Pi)) {
				return x, append(append(nodes, more...), sum, outer)
			}
		}
	}
	return "", nil
}

func closeTo(x, want float64) bool { return math.Abs(x-want) <= 1e-3*math.Abs(want) }

// monomial returns c and k of c x^k, and the nodes that compute it; k is negative for anything else.
func (e *editor) monomial(name, x string, depth int) (c float64, k int, nodes []*model.Node) {
	if name == x {
		return 1, 1, nil
	}
	if v, ok := e.scalar(name); ok {
		return v, 0, nil
	}
	n := e.maker[name]
	switch {
	case n == nil || depth > 4:
	case n.Is("Pow") && n.In(0) == x && (e.isScalar(n.In(1), 2) || e.isScalar(n.In(1), 3)):
		p, _ := e.scalar(n.In(1))
		return 1, int(math.Round(p)), []*model.Node{n}
	case n.Is("Mul"):
		a, i, left := e.monomial(n.In(0), x, depth+1)
		b, j, right := e.monomial(n.In(1), x, depth+1)
		if i >= 0 && j >= 0 {
			return a * b, i + j, append(append(left, right...), n)
		}
	}
	return 0, -1, nil
}

// gelu climbs from erf or tanh over (1 + .) and the factors x and 1/2.
func (e *editor) gelu(n *model.Node, x, approximate string, nodes ...*model.Node) {
	add := e.user(n.Out(0))
	if add == nil || !add.Is("Add") || !e.isScalar(other(add, n.Out(0)), 1) {
		return
	}
	nodes = append(nodes, n, add)
	haveX, haveHalf := false, false
	last := add
	for !haveX || !haveHalf {
		mul := e.user(last.Out(0))
		if mul == nil || !mul.Is("Mul") {
			return
		}
		f := other(mul, last.Out(0))
		half := e.from(f, "Mul")
		switch {
		case f == x && !haveX:
			haveX = true
		case e.isScalar(f, 0.5) && !haveHalf:
			haveHalf = true
		case half != nil && !haveX && !haveHalf && (half.In(0) == x && e.isScalar(half.In(1), 0.5) || half.In(1) == x && e.isScalar(half.In(0), 0.5)):
			haveX, haveHalf = true, true
			nodes = append(nodes, half)
		default:
			return
		}
		nodes = append(nodes, mul)
		last = mul
	}
	if !e.inner(nodes...) {
		return
	}
	e.replace(&model.Node{Name: last.Name, Op: "Gelu", Inputs: []string{x}, Outputs: last.Outputs,
		Attrs: []model.Attr{model.StringAttr("approximate", approximate), model.IntAttr(opsetAttr, 20)}}, nodes...)
}

// fuseHardSwish finds x clip(x+3, 0, 6) / 6 and x HardSigmoid(x; 1/6, 1/2).
func fuseHardSwish(e *editor, n *model.Node) {
	if n.Is("HardSigmoid") {
		mul := e.user(n.Out(0))
		if mul != nil && mul.Is("Mul") && other(mul, n.Out(0)) == n.In(0) &&
			math.Abs(float64(n.Float("alpha", 0.2))-1.0/6) < 1e-6 && n.Float("beta", 0.5) == 0.5 {
			e.hardSwish(n.In(0), n, mul)
		}
		return
	}
	if !n.Is("Clip") || !e.clipIs(n, 0, 6) {
		return
	}
	add := e.from(n.In(0), "Add")
	if add == nil {
		return
	}
	for i, x := range add.Inputs {
		if !e.isScalar(add.In(1-i), 3) {
			continue
		}
		a := e.user(n.Out(0))
		if a == nil {
			return
		}
		b := e.user(a.Out(0))
		if b == nil {
			return
		}
		mul, div := a, b
		if a.Is("Div") {
			mul, div = b, a
		}
		if !mul.Is("Mul") || !div.Is("Div") || !e.isScalar(div.In(1), 6) {
			return
		}
		prev := n.Out(0)
		if mul == b {
			prev = a.Out(0)
		}
		if other(mul, prev) == x {
			e.hardSwish(x, add, n, a, b)
		}
		return
	}
}

// clipIs reports whether a Clip has constant bounds lo and hi.
func (e *editor) clipIs(n *model.Node, lo, hi float64) bool {
	if e.version(n) < 11 {
		return float64(n.Float("min", -1)) == lo && float64(n.Float("max", -1)) == hi
	}
	a, ok := e.scalar(n.In(1))
	b, ok2 := e.scalar(n.In(2))
	return ok && ok2 && a == lo && b == hi
}

func (e *editor) hardSwish(x string, nodes ...*model.Node) {
	if !e.inner(nodes...) {
		return
	}
	last := nodes[len(nodes)-1]
	e.replace(&model.Node{Name: last.Name, Op: "HardSwish", Inputs: []string{x}, Outputs: last.Outputs,
		Attrs: []model.Attr{model.IntAttr(opsetAttr, 14)}}, nodes...)
}
