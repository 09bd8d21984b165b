package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// addConvResidual turns a convolution with constant float32 weights and the addition of a value of the same shape, proven by
// symbolic shapes, into one Conv: X, W, B, residual.
func addConvResidual(e *editor, n *model.Node) {
	if !n.Is("Conv") || n.Int(actAttr, 0) != 0 || !e.isFloat32(n.In(1)) {
		return
	}
	add := e.user(n.Out(0))
	if add == nil || !add.Is("Add") && !add.Is("Sum") || len(add.Inputs) != 2 || add.In(0) == add.In(1) {
		return
	}
	name := other(add, n.Out(0))
	a, b := e.c.shapes[n.Out(0)], e.c.shapes[name]
	if e.constant(name) != nil || a == nil || b == nil || len(a) != len(b) {
		return
	}
	for i := range a {
		if a[i] != b[i] {
			return
		}
	}
	f := withInput(n, 3, name, add)
	f.Domain = fusedDomain
	e.replace(f, n, add)
}

// opConvResidual is act(Conv(X, W, B) + residual).
func opConvResidual(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	w, err := c.Need(1)
	if err != nil {
		return err
	}
	rt, err := c.Need(3)
	if err != nil {
		return err
	}
	if x.DType() != model.Float32 {
		return typeError(x)
	}
	v, err := newConv(c, x, w, c.Arg(2))
	if err != nil {
		return err
	}
	if !sameShape(rt.Shape(), v.outShape()) {
		return errShape("residual", rt, "that of the output")
	}
	r, err := model.Data[float32](rt)
	if err != nil {
		return err
	}
	return convFloat32(c, v, kernel.Epilogue{Act: c.act(), Residual: r})
}

// addThen adds the residual and applies the activation of an epilogue to output 0, where the kernel does not.
func addThen(c *Call, y []float32, ep kernel.Epilogue) error {
	if ep.Residual != nil {
		rowsParallel(c.pool, len(y), 1, func(lo, hi int) { kernel.Add(y[lo:hi], y[lo:hi], ep.Residual[lo:hi]) })
	}
	return activateOut(c, ep.Act)
}
