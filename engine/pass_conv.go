package engine

import (
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// afterConv returns the only user of a convolution with constant float32 weights if it is the operator op with a constant per
// channel [1, C, 1, 1], and that constant.
func afterConv(e *editor, n *model.Node, op string) (user *model.Node, v []float32) {
	if !n.Is("Conv") || n.Int(actAttr, 0) != 0 || !e.isFloat32(n.In(1)) || n.In(2) != "" && !e.isFloat32(n.In(2)) {
		return nil, nil
	}
	user = e.user(n.Out(0))
	if user == nil || !user.Is(op) {
		return nil, nil
	}
	w, t := e.constant(n.In(1)), e.constant(other(user, n.Out(0)))
	if w.Rank() < 3 || t == nil || t.DType() != model.Float32 {
		return nil, nil
	}
	ch, shape := w.Shape()[0], t.Shape()
	if k := len(shape) - (w.Rank() - 1); k < 0 || k > 1 || k == 1 && shape[0] != 1 || shape[k] != ch || t.Len() != ch {
		return nil, nil
	}
	if b := e.constant(n.In(2)); b != nil && b.Len() != ch {
		return nil, nil
	}
	v, err := t.Float32()
	if err != nil {
		return nil, nil
	}
	return user, v
}

// addConvBias adds a constant [1, C, 1, 1] after a convolution to its bias.
func addConvBias(e *editor, n *model.Node) {
	add, v := afterConv(e, n, "Add")
	if add == nil {
		return
	}
	b := append([]float32(nil), v...)
	if n.In(2) != "" {
		old, err := e.constant(n.In(2)).Float32()
		if err != nil {
			return
		}
		for i, x := range old {
			b[i] += x
		}
	}
	e.replace(withInput(n, 2, e.addConstant(model.FromSlice([]int{len(b)}, b)), add), n, add)
}

// scaleConv multiplies a constant [1, C, 1, 1] after a convolution into its weights and bias.
func scaleConv(e *editor, n *model.Node) {
	mul, v := afterConv(e, n, "Mul")
	if mul == nil || len(v) == 0 {
		return
	}
	w, scale := e.constant(n.In(1)), make([]float64, len(v))
	for i, x := range v {
		scale[i] = float64(x)
	}
	scaled, err := e.c.scaled(w, scale)
	if err != nil {
		return
	}
	c := withInput(n, 1, e.addConstant(scaled), mul)
	if n.In(2) != "" {
		old, err := e.constant(n.In(2)).Float32()
		if err != nil {
			return
		}
		b := make([]float32, len(v))
		for i, x := range old {
			b[i] = x * v[i]
		}
		c.Inputs[2] = e.addConstant(model.FromSlice([]int{len(b)}, b))
	}
	e.replace(c, n, mul)
}

// scaleAsConv turns a batch normalisation of images that no convolution took in into a depthwise convolution of one element.
func scaleAsConv(e *editor, n *model.Node) {
	x := e.c.shapes[n.In(0)]
	if !n.Is("BatchNormalization") || n.Int("training_mode", 0) != 0 || len(x) != 4 || x[1].s != 0 || x[1].c < 1 {
		return
	}
	for _, o := range n.Outputs[1:] {
		if o != "" && (len(e.users[o]) > 0 || e.pinned[o]) {
			return
		}
	}
	ch := x[1].c
	var v [4][]float32
	for i := range v {
		t := e.constant(n.In(1 + i))
		if t == nil || t.DType() != model.Float32 || t.Len() != ch {
			return
		}
		var err error
		if v[i], err = t.Float32(); err != nil {
			return
		}
	}
	w, b := make([]float32, ch), make([]float32, ch)
	eps := float64(n.Float("epsilon", 1e-5))
	for k := range w {
		s := float64(v[0][k]) / math.Sqrt(float64(v[3][k])+eps)
		w[k], b[k] = float32(s), float32(float64(v[1][k])-float64(v[2][k])*s)
	}
	e.replace(&model.Node{Name: n.Name, Op: "Conv", Outputs: n.Outputs[:1], Attrs: []model.Attr{model.IntAttr("group", int64(ch))},
		Inputs: []string{n.In(0), e.addConstant(model.FromSlice([]int{ch, 1, 1, 1}, w)), e.addConstant(model.FromSlice([]int{ch}, b))}}, n)
}

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
	if !sameShape(rt.Shape(), v.outShape(c)) {
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
