package engine

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// convWindow is the geometry of a convolution or pooling of any number of spatial dimensions.
type convWindow struct {
	in, kernel, stride, dilation, before, after, out []int

	vol *kernel.Volume // the same for the kernels of images and volumes; nil with more than three spatial dimensions
}

// window is newWindow of the node. What the last call had is kept for the next one, whose input often is as large.
func (c *Call) window(in, kern []int, ceil bool) (*convWindow, error) {
	if c.st != nil {
		if w := c.st.window.Load(); w != nil && sameShape(w.in, in) && sameShape(w.kernel, kern) {
			return w, nil
		}
	}
	w, err := newWindow(c.Node, slices.Clone(in), slices.Clone(kern), ceil)
	if err == nil && c.st != nil {
		c.st.window.Store(w)
	}
	return w, err
}

// spatialAttr reads a list attribute with one value per spatial dimension.
func spatialAttr(n *model.Node, name string, dims, count, def int) ([]int, error) {
	v := attrInts(n, name)
	if v == nil {
		v = make([]int, count)
		for i := range v {
			v[i] = def
		}
	}
	if len(v) != count {
		return nil, fmt.Errorf("%s %v does not fit %d spatial dimensions", name, v, dims)
	}
	for _, x := range v {
		if x < 0 || x > 1<<30 || x == 0 && def == 1 {
			return nil, fmt.Errorf("%s %v is invalid", name, v)
		}
	}
	return v, nil
}

// newWindow reads strides, dilations, pads and auto_pad. in and kernel are the spatial sizes.
func newWindow(n *model.Node, in, kern []int, ceil bool) (*convWindow, error) {
	d := len(in)
	w := &convWindow{in: in, kernel: kern, before: make([]int, d), after: make([]int, d), out: make([]int, d)}
	var err error
	if w.stride, err = spatialAttr(n, "strides", d, d, 1); err != nil {
		return nil, err
	}
	if w.dilation, err = spatialAttr(n, "dilations", d, d, 1); err != nil {
		return nil, err
	}
	for _, k := range kern {
		if k < 1 {
			return nil, fmt.Errorf("kernel shape %v is invalid", kern)
		}
	}
	auto := n.Str("auto_pad", "NOTSET")
	pads, err := spatialAttr(n, "pads", d, 2*d, 0)
	if err != nil {
		return nil, err
	}
	for i := range d {
		eff := w.dilation[i]*(kern[i]-1) + 1
		switch auto {
		case "NOTSET", "":
			w.before[i], w.after[i] = pads[i], pads[d+i]
		case "SAME_UPPER", "SAME_LOWER":
			o := (in[i] + w.stride[i] - 1) / w.stride[i]
			total := max(0, (o-1)*w.stride[i]+eff-in[i])
			w.before[i] = total / 2
			if auto == "SAME_LOWER" {
				w.before[i] = total - total/2
			}
			w.after[i] = total - w.before[i]
		case "VALID":
		default:
			return nil, fmt.Errorf("auto_pad %q: %w", auto, model.ErrUnsupported)
		}
		w.out[i] = outputSize(in[i], eff, w.stride[i], w.before[i], w.after[i], ceil)
	}
	if v, ok := w.volume(); ok {
		w.vol = &v
	}
	return w, nil
}

// outputSize is the number of windows; with ceil also one that starts inside and ends outside of the padded input.
func outputSize(in, eff, stride, before, after int, ceil bool) int {
	span := in + before + after - eff
	if span < 0 && !(ceil && span > -stride) {
		return 0
	}
	if !ceil {
		return span/stride + 1
	}
	o := (span+stride-1)/stride + 1
	if (o-1)*stride >= in+before {
		o--
	}
	return o
}

// window2D returns the geometry for the kernels of images; ok is false with more than two spatial dimensions.
func (w *convWindow) window2D() (kernel.Window, bool) {
	switch len(w.in) {
	case 1:
		return kernel.Window{H: 1, W: w.in[0], KH: 1, KW: w.kernel[0], SH: 1, SW: w.stride[0], DH: 1, DW: w.dilation[0],
			Left: w.before[0], End: w.after[0], OH: 1, OW: w.out[0]}, true
	case 2:
		return kernel.Window{H: w.in[0], W: w.in[1], KH: w.kernel[0], KW: w.kernel[1], SH: w.stride[0], SW: w.stride[1],
			DH: w.dilation[0], DW: w.dilation[1], Top: w.before[0], Left: w.before[1], Bottom: w.after[0], End: w.after[1],
			OH: w.out[0], OW: w.out[1]}, true
	}
	return kernel.Window{}, false
}

// volume returns the geometry for the kernels of images and volumes; ok is false with more than three spatial dimensions.
func (w *convWindow) volume() (v kernel.Volume, ok bool) {
	if g, ok := w.window2D(); ok {
		return g.Flat(), true
	}
	if len(w.in) != 3 {
		return v, false
	}
	slice := convWindow{in: w.in[1:], kernel: w.kernel[1:], stride: w.stride[1:], dilation: w.dilation[1:], before: w.before[1:], after: w.after[1:], out: w.out[1:]}
	v.Window, _ = slice.window2D()
	v.D, v.KD, v.SD, v.DD, v.Front, v.OD = w.in[0], w.kernel[0], w.stride[0], w.dilation[0], w.before[0], w.out[0]
	return v, true
}

// each calls f for every kernel position k and input position i that output o meets inside the input.
func (w *convWindow) each(o int, f func(k, i int)) {
	d := len(w.in)
	var posBuf, kBuf [4]int
	pos, k := posBuf[:0], kBuf[:0]
	for range d {
		pos, k = append(pos, 0), append(k, 0)
	}
	for i := d - 1; i >= 0; i-- {
		pos[i] = o%w.out[i]*w.stride[i] - w.before[i]
		o /= w.out[i]
	}
	n := product(w.kernel)
	for kk := range n {
		rest, at, mul, inside := kk, 0, 1, true
		for i := d - 1; i >= 0; i-- {
			k[i] = rest % w.kernel[i]
			rest /= w.kernel[i]
			x := pos[i] + k[i]*w.dilation[i]
			if x < 0 || x >= w.in[i] {
				inside = false
				break
			}
			at += x * mul
			mul *= w.in[i]
		}
		if inside {
			f(kk, at)
		}
	}
}

// imageShape splits [N, C, spatial...].
func imageShape(t *model.Tensor) (n, c int, spatial []int, err error) {
	if t.Rank() < 3 {
		return 0, 0, nil, errShape("input", t, "[N C spatial...]")
	}
	return t.Shape()[0], t.Shape()[1], t.Shape()[2:], nil
}
