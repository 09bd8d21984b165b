package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// convOps are convolutions.
func convOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Conv": {run: opConv, half: true, prep: prepConv}, "ConvTranspose": {run: opConvTranspose, half: true, prep: prepConvTranspose}, "CausalConvWithState": float(opCausalConv),
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
	if k := c.attrInts("kernel_shape"); k != nil && !sameShape(k, w.Shape()[2:]) {
		return nil, fmt.Errorf("kernel_shape %v does not fit W %v", k, w.Shape())
	}
	if bias != nil && (bias.Len() != v.cout || bias.Rank() != 1) {
		return nil, errShape("B", bias, fmt.Sprintf("[%d]", v.cout))
	}
	v.w, err = c.window(spatial, w.Shape()[2:], false)
	return v, err
}

// outShape is the shape of the output, the call's own until it returns.
func (v *convCall) outShape(c *Call) []int {
	s := c.ints(2 + len(v.w.out))
	s[0], s[1] = v.n, v.cout
	copy(s[2:], v.w.out)
	return s
}

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

// maxPadded is the number of elements of padded images, of all threads together, up to which they may be larger than the images.
const maxPadded = 1 << 28

// mayPad tells whether every thread may hold a padded image of n elements, which an input of in elements becomes. Four times the input always may, since
// pads of a kernel's size make small images that large; more is the work of strides, dilations and pads that reach far beyond the
// image, and a quarter of the memory that the run may use is left to it.
func mayPad(c *Call, n, in int) bool {
	return n <= max(4*in, int(min(maxPadded, c.arena.bound()/16))/c.pool.Threads())
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
	y, err := Out[T](c, 0, v.outShape(c))
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
