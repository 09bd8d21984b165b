package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// convOps are convolutions.
func convOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Conv": {run: opConv, half: true, prep: prepConv}, "ConvTranspose": float(opConvTranspose), "CausalConvWithState": float(opCausalConv),
		"Col2Im": float(opCol2Im),
	})
}

// convCall is one convolution: X [n, cin, in...], W [cout, cin/groups, kernel...].
type convCall struct {
	n, cin, cout, groups int
	w                    *convWindow
	x, weights, bias     *model.Tensor
}

func newConv(c *Call, x, w, bias *model.Tensor) (*convCall, error) {
	n, cin, spatial, err := imageShape(x)
	if err != nil {
		return nil, err
	}
	if w.Rank() != x.Rank() {
		return nil, errShape("W", w, fmt.Sprintf("rank %d", x.Rank()))
	}
	v := &convCall{n: n, cin: cin, cout: w.Shape()[0], groups: int(c.Node.Int("group", 1)), x: x, weights: w, bias: bias}
	if v.groups < 1 || cin != w.Shape()[1]*v.groups || v.cout%v.groups != 0 {
		return nil, fmt.Errorf("weights %v do not fit X %v in %d groups", w.Shape(), x.Shape(), v.groups)
	}
	if k := attrInts(c.Node, "kernel_shape"); k != nil && !sameShape(k, w.Shape()[2:]) {
		return nil, fmt.Errorf("kernel_shape %v does not fit W %v", k, w.Shape())
	}
	if bias != nil && (bias.Len() != v.cout || bias.Rank() != 1) {
		return nil, errShape("B", bias, fmt.Sprintf("[%d]", v.cout))
	}
	v.w, err = newWindow(c.Node, spatial, w.Shape()[2:], false)
	return v, err
}

func (v *convCall) outShape() []int { return append([]int{v.n, v.cout}, v.w.out...) }

func (v *convCall) macs() int64 {
	return int64(v.n) * int64(v.cout) * int64(product(v.w.out)) * int64(v.cin/v.groups) * int64(product(v.w.kernel))
}

func opConv(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	w, err := c.Need(1)
	if err != nil {
		return err
	}
	v, err := newConv(c, x, w, c.Arg(2))
	if err != nil {
		return err
	}
	switch x.DType() {
	case model.Float32:
		return convFloat32(c, v, kernel.Epilogue{Act: c.act()})
	case model.Float64:
		return convPlain[float64](c, v)
	}
	return typeError(x)
}

// activateOut applies an activation to output 0.
func activateOut(c *Call, act kernel.Activation) error {
	if act == kernel.ActNone {
		return nil
	}
	y, err := model.Data[float32](c.out[0].t)
	if err != nil {
		return err
	}
	f := activationFunc(act)
	rowsParallel(c.pool, len(y), 1, func(lo, hi int) { f(y[lo:hi], y[lo:hi]) })
	return nil
}

func activationFunc(act kernel.Activation) func(dst, src []float32) {
	switch act {
	case kernel.ActRelu:
		return kernel.Relu
	case kernel.ActGeluErf:
		return kernel.GeluErf
	case kernel.ActGeluTanh:
		return kernel.GeluTanh
	case kernel.ActSiLU:
		return kernel.SiLU
	case kernel.ActTanh:
		return kernel.Tanh
	case kernel.ActSigmoid:
		return kernel.Sigmoid
	case kernel.ActClip6:
		return func(dst, src []float32) { kernel.Clip(dst, src, 0, 6) }
	case kernel.ActHardSwish:
		return kernel.HardSwish
	}
	return func(dst, src []float32) { copy(dst, src) }
}

// convPlain is the convolution by its definition, in any number of dimensions.
func convPlain[T number](c *Call, v *convCall) error {
	x, err := model.Data[T](v.x)
	if err != nil {
		return err
	}
	w, err := model.Data[T](v.weights)
	if err != nil {
		return err
	}
	var bias []T
	if v.bias != nil {
		if bias, err = model.Data[T](v.bias); err != nil {
			return err
		}
	}
	y, err := Out[T](c, 0, v.outShape())
	if err != nil || len(y) == 0 {
		return err
	}
	convDirect(c.pool, y, x, w, bias, v)
	return nil
}

func convDirect[T number](p *kernel.Pool, y, x, w, bias []T, v *convCall) {
	in, out, kern := product(v.w.in), product(v.w.out), product(v.w.kernel)
	cg, og := v.cin/v.groups, v.cout/v.groups
	rowsParallel(p, v.n*v.cout, out*cg*kern, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			n, co := r/v.cout, r%v.cout
			src, wt := x[(n*v.cin+co/og*cg)*in:], w[co*cg*kern:]
			for o := range out {
				var s T
				for ci := range cg {
					v.w.each(o, func(k, i int) { s += src[ci*in+i] * wt[ci*kern+k] })
				}
				if bias != nil {
					s += bias[co]
				}
				y[r*out+o] = s
			}
		}
	})
}

// opConvTranspose scatters every input element over the window of outputs that it meets.
func opConvTranspose(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	switch x.DType() {
	case model.Float32:
		return convTranspose(c, x, transposeByProducts)
	case model.Float64:
		return convTranspose[float64](c, x, nil)
	}
	return typeError(x)
}

// transposeWindow returns the window of the forward convolution whose gradient this is: its input is our output.
func transposeWindow(n *model.Node, in, kern []int) (*convWindow, error) {
	d := len(in)
	w := &convWindow{kernel: kern, out: in, in: make([]int, d), before: make([]int, d), after: make([]int, d)}
	var err error
	if w.stride, err = spatialAttr(n, "strides", d, d, 1); err != nil {
		return nil, err
	}
	if w.dilation, err = spatialAttr(n, "dilations", d, d, 1); err != nil {
		return nil, err
	}
	pads, err := spatialAttr(n, "pads", d, 2*d, 0)
	if err != nil {
		return nil, err
	}
	extra, err := spatialAttr(n, "output_padding", d, d, 0)
	if err != nil {
		return nil, err
	}
	want := attrInts(n, "output_shape")
	if len(want) > d {
		want = want[len(want)-d:]
	}
	if want != nil && len(want) != d {
		return nil, fmt.Errorf("output_shape %v does not fit %d spatial dimensions", want, d)
	}
	auto := n.Str("auto_pad", "NOTSET")
	for i := range d {
		if kern[i] < 1 {
			return nil, fmt.Errorf("kernel shape %v is invalid", kern)
		}
		full := w.stride[i]*(in[i]-1) + extra[i] + (kern[i]-1)*w.dilation[i] + 1
		w.before[i], w.after[i] = pads[i], pads[d+i]
		same := auto == "SAME_UPPER" || auto == "SAME_LOWER"
		if want != nil || same {
			o := in[i] * w.stride[i]
			if want != nil {
				o = want[i]
			}
			total := max(0, full-o)
			w.before[i] = total / 2
			if auto != "SAME_UPPER" {
				w.before[i] = total - total/2
			}
			w.after[i] = total - w.before[i]
			if want != nil && full < o {
				w.after[i] = full - o
			}
		}
		if w.in[i] = full - w.before[i] - w.after[i]; w.in[i] < 0 {
			w.in[i] = 0
		}
	}
	return w, nil
}

// convTranspose computes outputs [n, groups*og, w.in...] that hold the bias already; fast, unless nil, does so where it can.
func convTranspose[T number](c *Call, xt *model.Tensor, fast func(c *Call, n, groups, cg, og int, w *convWindow, y, x, wd []T) bool) error {
	wt, err := c.Need(1)
	if err != nil {
		return err
	}
	n, cin, spatial, err := imageShape(xt)
	if err != nil {
		return err
	}
	groups := int(c.Node.Int("group", 1))
	if wt.Rank() != xt.Rank() || wt.Shape()[0] != cin || groups < 1 || cin%groups != 0 {
		return fmt.Errorf("weights %v do not fit X %v in %d groups", wt.Shape(), xt.Shape(), groups)
	}
	x, err := model.Data[T](xt)
	if err != nil {
		return err
	}
	wd, err := model.Data[T](wt)
	if err != nil {
		return err
	}
	w, err := transposeWindow(c.Node, spatial, wt.Shape()[2:])
	if err != nil {
		return err
	}
	og := wt.Shape()[1]
	cout := og * groups
	y, err := Out[T](c, 0, append([]int{n, cout}, w.in...))
	if err != nil {
		return err
	}
	clear(y)
	if b := c.Arg(2); b != nil {
		bias, err := model.Data[T](b)
		if err != nil {
			return err
		}
		if len(bias) != cout {
			return errShape("B", b, fmt.Sprintf("[%d]", cout))
		}
		plane := product(w.in)
		for i := range y {
			y[i] = bias[i/plane%cout]
		}
	}
	if len(y) == 0 || len(x) == 0 {
		return nil
	}
	in, out, kern, cg := product(w.out), product(w.in), product(w.kernel), cin/groups
	if fast != nil && fast(c, n, groups, cg, og, w, y, x, wd) {
		return nil
	}
	rowsParallel(c.pool, n*cout, in*cg*kern, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			b, co := r/cout, r%cout
			gr := co / og
			dst := y[r*out:]
			for ci := gr * cg; ci < (gr+1)*cg; ci++ {
				src, ws := x[(b*cin+ci)*in:], wd[(ci*og+co%og)*kern:]
				for o := range in {
					v := src[o]
					w.each(o, func(k, i int) { dst[i] += v * ws[k] })
				}
			}
		}
	})
	return nil
}
