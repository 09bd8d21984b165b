package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// prepConvTranspose orders constant float32 weights of one or two spatial dimensions.
func prepConvTranspose(p *prep) (any, error) {
	w := p.constant(1)
	if w == nil || w.DType() != model.Float32 || w.Rank() < 3 || w.Rank() > 4 || w.Len() == 0 {
		return nil, nil
	}
	groups := int(p.node.Int("group", 1))
	if groups < 1 || w.Shape()[0]%groups != 0 {
		return nil, nil // an error of the run
	}
	win, err := transposeWindow(p.node, make([]int, w.Rank()-2), w.Shape()[2:])
	if err != nil {
		return nil, nil
	}
	t, err := pack(p, w, fmt.Sprint("transposed ", groups, win.stride, win.dilation), func() (*transposeState, int64, error) {
		x, err := w.Float32()
		if err != nil {
			return nil, 0, err
		}
		t := newTransposed(x, w.Shape()[0], w.Shape()[1]*groups, groups, win)
		if t == nil {
			return nil, 0, nil
		}
		return t, t.Bytes(), nil
	})
	if t == nil {
		return nil, err
	}
	return t, err
}

// transposeState is a transposed convolution with its weights: a kernel.TransposedConv or a kernel.TransposedSignal.
type transposeState struct {
	transposedKernel
}

type transposedKernel interface {
	Bytes() int64
	Scratch(g *kernel.Window) int
	Run(p *kernel.Pool, n int, g *kernel.Window, x, bias, y []float32)
}

// newTransposed orders weights, or returns nil where there is no kernel.
func newTransposed(w []float32, cin, cout, groups int, win *convWindow) *transposeState {
	g, ok := win.window2D()
	g.Bottom, g.End = 0, 0
	if !ok {
		return nil
	}
	if len(win.kernel) == 1 {
		if t := kernel.NewTransposedSignal(w, cin, cout, groups, &g); t != nil {
			return &transposeState{t}
		}
	}
	if t := kernel.NewTransposedConv(w, cin, cout, groups, &g); t != nil {
		return &transposeState{t}
	}
	return nil
}

// opConvTranspose scatters every input element over the window of outputs that it meets.
func opConvTranspose(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	switch x.DType() {
	case model.Float32:
		return convTranspose(c, x, transposeFast)
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

// transposedConv is one transposed convolution: x [n, groups*cg, w.out...], weights [groups*cg, og, kernel...], y [n, groups*og, w.in...].
type transposedConv[T number] struct {
	n, groups, cg, og int
	w                 *convWindow
	x, weights, bias  []T
	y                 []T
}

// convTranspose computes a transposed convolution; fast, unless nil, does so where it can, and reports whether it did.
func convTranspose[T number](c *Call, xt *model.Tensor, fast func(c *Call, t *transposedConv[T]) bool) error {
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
	t := &transposedConv[T]{n: n, groups: groups, cg: cin / groups, og: wt.Shape()[1]}
	if t.x, err = model.Data[T](xt); err != nil {
		return err
	}
	if t.weights, err = model.Data[T](wt); err != nil {
		return err
	}
	if t.w, err = transposeWindow(c.Node, spatial, wt.Shape()[2:]); err != nil {
		return err
	}
	cout := t.og * groups
	if b := c.Arg(2); b != nil {
		if t.bias, err = model.Data[T](b); err != nil {
			return err
		}
		if len(t.bias) != cout {
			return errShape("B", b, fmt.Sprintf("[%d]", cout))
		}
	}
	if t.y, err = Out[T](c, 0, append([]int{n, cout}, t.w.in...)); err != nil || len(t.y) == 0 {
		return err
	}
	if fast == nil || len(t.x) == 0 || !fast(c, t) {
		t.scatter(c)
	}
	return nil
}

// start writes the bias to y.
func (t *transposedConv[T]) start() {
	clear(t.y)
	plane := product(t.w.in)
	for i, b := range t.bias {
		for n := range t.n {
			d := t.y[(n*len(t.bias)+i)*plane:][:plane]
			for k := range d {
				d[k] = b
			}
		}
	}
}

// scatter goes by the definition.
func (t *transposedConv[T]) scatter(c *Call) {
	t.start()
	in, out, kern, cin, cout := product(t.w.out), product(t.w.in), product(t.w.kernel), t.cg*t.groups, t.og*t.groups
	rowsParallel(c.pool, t.n*cout, in*t.cg*kern, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			b, co := r/cout, r%cout
			gr := co / t.og
			dst := t.y[r*out:]
			for ci := gr * t.cg; ci < (gr+1)*t.cg; ci++ {
				src, ws := t.x[(b*cin+ci)*in:], t.weights[(ci*t.og+co%t.og)*kern:]
				for o := range in {
					v := src[o]
					t.w.each(o, func(k, i int) { dst[i] += v * ws[k] })
				}
			}
		}
	})
}

// transposeFast computes images as convolutions of the remainders of their strides, and volumes, and what these cannot, by products.
func transposeFast(c *Call, t *transposedConv[float32]) bool {
	g, ok := t.w.window2D()
	g.Bottom, g.End = 0, 0 // an output_shape may have made them negative; nothing reads them
	if !ok || !g.Valid() || t.cg == 0 {
		return transposeByProducts(c, t)
	}
	var k *transposeState
	if c.st != nil {
		k, _ = c.st.state.(*transposeState)
	}
	if k == nil {
		k = newTransposed(t.weights, t.cg*t.groups, t.og*t.groups, t.groups, t.w)
	}
	if k == nil || !mayPad(c, k.Scratch(&g), len(t.x)/(t.n*t.groups)) {
		return transposeByProducts(c, t)
	}
	k.Run(c.pool, t.n, &g, t.x, t.bias, t.y)
	c.NoteISA("transposed", t.macs(), int64(4*len(t.weights)))
	return true
}

func (t *transposedConv[T]) macs() int64 {
	return int64(t.n) * int64(t.groups*t.cg) * int64(product(t.w.out)) * int64(t.og*product(t.w.kernel))
}

// maxColumns is the number of elements of the columns of one group up to which a transposed convolution goes over them.
const maxColumns = 1 << 28

// transposeByProducts computes a transposed convolution as the product of the transposed weights with the image, whose columns
// are then added where they belong. It reports false where there are more than three dimensions or the columns are too many.
func transposeByProducts(c *Call, t *transposedConv[float32]) bool {
	v, ok := t.w.volume()
	v.Bottom, v.End = 0, 0
	in, out, kern := product(t.w.out), product(t.w.in), product(t.w.kernel)
	if !ok || !v.Valid() || t.cg == 0 || t.og == 0 || int64(t.og*kern) > min(maxColumns, c.arena.bound()/16)/int64(in) {
		return false
	}
	t.start()
	c.NoteISA("columns", t.macs(), int64(4*len(t.weights)))
	cols := Scratch[float32](c, t.og*kern*in)
	for i := range t.n * t.groups {
		gr := i % t.groups
		kernel.MatMulF32(c.pool, t.og*kern, in, t.cg, t.weights[gr*t.cg*t.og*kern:][:t.cg*t.og*kern], t.og*kern, true, t.x[i*t.cg*in:][:t.cg*in], in, false,
			cols, in, kernel.Epilogue{})
		dst := t.y[i*t.og*out:][:t.og*out]
		rowsParallel(c.pool, t.og, in*kern, func(lo, hi int) {
			kernel.Col2ImVolume(dst[lo*out:hi*out], cols[lo*kern*in:hi*kern*in], hi-lo, &v)
		})
	}
	return true
}
