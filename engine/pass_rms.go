package engine

import (
	"github.com/wattshed/wattshed/model"
)

// fuseRMSNorm finds x / sqrt(mean(x^2) + eps) * gamma, from its last product, in the forms that exporters write: a
// quotient, or a product with a reciprocal, 1/sqrt or the power -1/2.
func fuseRMSNorm(e *editor, n *model.Node) {
	if !n.Is("Mul") {
		return
	}
	for i, name := range n.Inputs {
		gamma := e.constant(n.In(1 - i))
		if gamma == nil || gamma.Rank() != 1 || gamma.DType() != model.Float32 {
			continue
		}
		t := e.maker[name]
		switch {
		case t == nil:
		case t.Is("Div"):
			if root := e.from(t.In(1), "Sqrt"); root != nil && e.rmsNorm(n, t.In(0), n.In(1-i), root.In(0), root, t) {
				return
			}
		case t.Is("Mul"):
			for j := range t.Inputs {
				if v, nodes := e.inverseRoot(t.In(1 - j)); nodes != nil && e.rmsNorm(n, t.In(j), n.In(1-i), v, append(nodes, t)...) {
					return
				}
			}
		}
	}
}

// inverseRoot matches 1/sqrt(v).
func (e *editor) inverseRoot(name string) (string, []*model.Node) {
	n := e.maker[name]
	if n == nil {
		return "", nil
	}
	switch {
	case n.Is("Reciprocal"):
		if r := e.from(n.In(0), "Sqrt"); r != nil {
			return r.In(0), []*model.Node{r, n}
		}
	case n.Is("Div") && e.isScalar(n.In(0), 1):
		if r := e.from(n.In(1), "Sqrt"); r != nil {
			return r.In(0), []*model.Node{r, n}
		}
	case n.Is("Pow") && e.isScalar(n.In(1), -0.5):
		return n.In(0), []*model.Node{n}
	}
	return "", nil
}

// rmsNorm completes the match from the mean of squares of x plus eps, called name, on.
func (e *editor) rmsNorm(root *model.Node, x, gamma, name string, nodes ...*model.Node) bool {
	add := e.from(name, "Add")
	if add == nil {
		return false
	}
	for i := range add.Inputs {
		mean := e.from(add.In(i), "ReduceMean")
		eps, ok := e.scalar(add.In(1 - i))
		if !ok || !e.lastAxis(mean) {
			continue
		}
		sq := e.maker[mean.In(0)]
		if sq == nil || sq.In(0) != x || !(sq.Is("Pow") && e.isScalar(sq.In(1), 2) || sq.Is("Mul") && sq.In(1) == x) {
			return false
		}
		all := append([]*model.Node{sq, mean, add}, append(nodes, root)...)
		if !e.inner(all...) {
			return false
		}
		e.replace(&model.Node{Name: root.Name, Op: "RMSNormalization", Inputs: []string{x, gamma}, Outputs: root.Outputs,
			Attrs: []model.Attr{model.IntAttr("axis", -1), model.FloatAttr("epsilon", float32(eps)), model.IntAttr(opsetAttr, 23), model.IntAttr(foundAttr, 1)}}, all...)
		return true
	}
	return false
}

// fuseSiLU finds x sigmoid(x), and x sigmoid(a x) for a constant a.
func fuseSiLU(e *editor, n *model.Node) {
	if !n.Is("Sigmoid") {
		return
	}
	mul := e.user(n.Out(0))
	if mul == nil || !mul.Is("Mul") {
		return
	}
	x := other(mul, n.Out(0))
	if x == n.In(0) && e.inner(n, mul) {
		e.replace(&model.Node{Name: mul.Name, Op: "SiLU", Domain: fusedDomain, Inputs: []string{x}, Outputs: mul.Outputs}, n, mul)
		return
	}
	arg := e.from(n.In(0), "Mul")
	if arg == nil || other(arg, x) == arg.In(0) && arg.In(1) != x {
		return
	}
	a, ok := e.scalar(other(arg, x))
	if !ok || e.constant(other(arg, x)).Rank() > 0 || e.constant(other(arg, x)).DType() != model.Float32 || !e.inner(arg, n, mul) {
		return
	}
	e.replace(&model.Node{Name: mul.Name, Op: "QuickGelu", Domain: "com.microsoft", Inputs: []string{x}, Outputs: mul.Outputs,
		Attrs: []model.Attr{model.FloatAttr("alpha", float32(a))}}, arg, n, mul)
}
