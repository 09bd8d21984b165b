package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// poolOps reduce windows or whole planes of images.
func poolOps() map[string]opDef {
	global := func(k reduction) opDef {
		return float(func(c *Call) error {
			x, err := c.Need(0)
			if err != nil {
				return err
			}
			if _, _, _, err := imageShape(x); err != nil {
				return err
			}
			mark := make([]bool, x.Rank())
			for i := 2; i < len(mark); i++ {
				mark[i] = true
			}
			g := newReduceGrid(x.Shape(), mark, true)
			if x.DType() == model.Float64 {
				return reduceTyped[float64](c, k, x, g)
			}
			if done, err := reduceVector(c, k, x, g); done || err != nil {
				return err
			}
			return reduceTyped[float32](c, k, x, g)
		})
	}
	return qualify("", map[string]opDef{
		"MaxPool": float(opMaxPool), "AveragePool": float(opAveragePool), "LpPool": float(opLpPool),
		"GlobalAveragePool": global(redMean), "GlobalMaxPool": global(redMax), "MaxUnpool": plain(opMaxUnpool),
		"GlobalLpPool": float(opGlobalLpPool),
	})
}

// poolWindow reads the geometry of a pooling node.
func poolWindow(c *Call, x *model.Tensor) (planes int, w *convWindow, shape []int, err error) {
	n, ch, spatial, err := imageShape(x)
	if err != nil {
		return 0, nil, nil, err
	}
	kern := c.attrInts("kernel_shape")
	if len(kern) != len(spatial) {
		return 0, nil, nil, fmt.Errorf("kernel_shape %v does not fit X %v", kern, x.Shape())
	}
	if w, err = c.window(spatial, kern, c.Node.Int("ceil_mode", 0) != 0); err != nil {
		return 0, nil, nil, err
	}
	return n * ch, w, append([]int{n, ch}, w.out...), nil
}

func opMaxPool(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	planes, w, shape, err := poolWindow(c, x)
	if err != nil {
		return err
	}
	switch x.DType() {
	case model.Float32:
		if g, ok := w.window2D(); ok && !c.Wants(1) && mayPad(c, kernel.PoolLen(&g), g.H*g.W) {
			return poolKernel(c, x, planes, &g, shape, func(dst, src []float32, n int) { kernel.MaxPool(dst, src, n, &g) })
		}
		if v, ok := w.volume(); ok && !c.Wants(1) && mayPoolSlices(c, x, planes, &v) {
			return poolVolume(c, x, planes, &v, shape, kernel.MaxPool, func(dst []float32, slices [][]float32, _ int) {
				for i := range dst {
					dst[i] = float32(math.Inf(-1))
				}
				for _, s := range slices {
					kernel.Max(dst, dst, s)
				}
			})
		}
		return maxPool[float32](c, x, planes, w, shape)
	case model.Float64:
		return maxPool[float64](c, x, planes, w, shape)
	case model.Int8:
		return maxPool[int8](c, x, planes, w, shape)
	case model.Uint8:
		return maxPool[uint8](c, x, planes, w, shape)
	}
	return typeError(x)
}

// poolKernel runs a float32 kernel over the planes.
func poolKernel(c *Call, x *model.Tensor, planes int, g *kernel.Window, shape []int, f func(dst, src []float32, n int)) error {
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	dst, err := Out[float32](c, 0, shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	in, out := g.H*g.W, g.OH*g.OW
	rowsParallel(c.pool, planes, out*g.KH*g.KW, func(lo, hi int) { f(dst[lo*out:hi*out], src[lo*in:hi*in], hi-lo) })
	return nil
}

// mayPoolSlices tells whether all pooled slices of the volumes may be held at once: a quarter of the memory that the run may use, and not far more
// than volumes and output, which pads and a stride of the depth can make small. So may a padded slice of every thread, see mayPad.
func mayPoolSlices(c *Call, x *model.Tensor, planes int, v *kernel.Volume) bool {
	if !mayPad(c, kernel.PoolLen(&v.Window), v.H*v.W) {
		return false
	}
	out := v.OH * v.OW
	most := min(c.arena.bound()/16, max(maxColumns, 4*int64(x.Len()+planes*v.OD*out)))
	return out == 0 || int64(planes*v.D) <= most/int64(out)
}

// poolVolume pools every slice of volumes by flat and combines the slices under a window; combine also gets the output of the depth.
func poolVolume(c *Call, x *model.Tensor, planes int, v *kernel.Volume, shape []int, flat func(dst, src []float32, n int, g *kernel.Window),
	combine func(dst []float32, slices [][]float32, o int)) error {
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	dst, err := Out[float32](c, 0, shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	in, out := v.H*v.W, v.OH*v.OW
	tmp := Scratch[float32](c, planes*v.D*out)
	rowsParallel(c.pool, planes, v.D*out*v.KH*v.KW, func(lo, hi int) {
		flat(tmp[lo*v.D*out:hi*v.D*out], src[lo*v.D*in:hi*v.D*in], (hi-lo)*v.D, &v.Window)
		for i := lo * v.OD; i < hi*v.OD; i++ {
			var slices [][]float32
			for k := range v.KD {
				if z := i%v.OD*v.SD - v.Front + k*v.DD; z >= 0 && z < v.D {
					slices = append(slices, tmp[(i/v.OD*v.D+z)*out:][:out])
				}
			}
			combine(dst[i*out:(i+1)*out], slices, i%v.OD)
		}
	})
	return nil
}

func maxPool[T number](c *Call, x *model.Tensor, planes int, w *convWindow, shape []int) error {
	src, err := model.Data[T](x)
	if err != nil {
		return err
	}
	dst, err := Out[T](c, 0, shape)
	if err != nil {
		return err
	}
	var at []int64
	if c.Wants(1) {
		if at, err = Out[int64](c, 1, shape); err != nil {
			return err
		}
	}
	column := c.Node.Int("storage_order", 0) != 0
	in, out := product(w.in), product(w.out)
	for p := range planes {
		for o := range out {
			best, where := lowest[T](), -1
			w.each(o, func(_, i int) {
				if v := src[p*in+i]; where < 0 || v > best || v != v {
					best, where = v, i
				}
			})
			dst[p*out+o] = best
			if at == nil {
				continue
			}
			if column && len(w.in) >= 2 && where >= 0 {
				where = columnIndex(where, w.in)
			}
			at[p*out+o] = int64(p*in + where)
		}
	}
	return nil
}

// columnIndex turns a row-major position into a column-major one.
func columnIndex(at int, shape []int) int {
	out, mul := 0, 1
	pos := make([]int, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		pos[i] = at % shape[i]
		at /= shape[i]
	}
	for i, p := range pos {
		out += p * mul
		mul *= shape[i]
	}
	return out
}

func opAveragePool(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	planes, w, shape, err := poolWindow(c, x)
	if err != nil {
		return err
	}
	pad := c.Node.Int("count_include_pad", 0) != 0
	if x.DType() == model.Float32 {
		if g, ok := w.window2D(); ok && mayPad(c, kernel.PoolLen(&g), g.H*g.W) {
			return poolKernel(c, x, planes, &g, shape, func(dst, src []float32, n int) { kernel.AveragePool(dst, src, n, &g, pad) })
		}
		if v, ok := w.volume(); ok && mayPoolSlices(c, x, planes, &v) { // the number of elements is that of a slice times that of slices
			flat := func(dst, src []float32, n int, g *kernel.Window) { kernel.AveragePool(dst, src, n, g, pad) }
			return poolVolume(c, x, planes, &v, shape, flat, func(dst []float32, slices [][]float32, o int) {
				n := len(slices)
				if pad {
					for n = 0; n < v.KD && o*v.SD-v.Front+n*v.DD < v.D+w.after[0]; n++ {
					}
				}
				clear(dst)
				for _, s := range slices {
					kernel.Add(dst, dst, s)
				}
				kernel.MulS(dst, dst, 1/float32(max(n, 1)))
			})
		}
	}
	return poolPlain(c, x, planes, w, shape, func(s []float64, o int) float64 {
		var sum float64
		for _, v := range s {
			sum += v
		}
		n := len(s)
		if pad {
			n = w.covered(o)
		}
		return sum / float64(max(n, 1))
	})
}

// covered returns the number of window positions of output o that lie in the input or its stated padding.
func (w *convWindow) covered(o int) int {
	n := 1
	for i := len(w.in) - 1; i >= 0; i-- {
		lo := o%w.out[i]*w.stride[i] - w.before[i]
		o /= w.out[i]
		k := 0
		for j := range w.kernel[i] {
			if lo+j*w.dilation[i] < w.in[i]+w.after[i] {
				k++
			}
		}
		n *= k
	}
	return n
}

// poolPlain applies f to the elements under every window. It takes 16 bytes for each, which are bounded as all that is not the arena's.
func poolPlain(c *Call, x *model.Tensor, planes int, w *convWindow, shape []int, f func(s []float64, o int) float64) error {
	n, err := model.NumElements(shape)
	if err != nil || int64(n) > c.arena.bound()/16 {
		return fmt.Errorf("output 0 of shape %v: %w", shape, ErrMemory)
	}
	src, err := toFloat64(x)
	if err != nil {
		return err
	}
	out64 := make([]float64, n)
	in, out := product(w.in), product(w.out)
	var s []float64
	for p := range planes {
		for o := range out {
			s = s[:0]
			w.each(o, func(_, i int) { s = append(s, src[p*in+i]) })
			out64[p*out+o] = f(s, o)
		}
	}
	t, err := fromFloat64(x.DType(), shape, out64, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

func opLpPool(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	planes, w, shape, err := poolWindow(c, x)
	if err != nil {
		return err
	}
	p := float64(c.Node.Int("p", 2))
	return poolPlain(c, x, planes, w, shape, func(s []float64, _ int) float64 { return norm(s, p) })
}

func norm(s []float64, p float64) float64 {
	var sum float64
	for _, v := range s {
		sum += math.Pow(math.Abs(v), p)
	}
	return math.Pow(sum, 1/p)
}

func opGlobalLpPool(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	n, ch, spatial, err := imageShape(x)
	if err != nil {
		return err
	}
	src, err := toFloat64(x)
	if err != nil {
		return err
	}
	shape := []int{n, ch}
	for range spatial {
		shape = append(shape, 1)
	}
	plane := product(spatial)
	out := make([]float64, n*ch)
	for i := range out {
		out[i] = norm(src[i*plane:(i+1)*plane], float64(c.Node.Int("p", 2)))
	}
	t, err := fromFloat64(x.DType(), shape, out, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

func opMaxUnpool(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	it, err := c.Need(1)
	if err != nil {
		return err
	}
	n, ch, spatial, err := imageShape(x)
	if err != nil {
		return err
	}
	at, err := ints(it)
	if err != nil {
		return err
	}
	d := len(spatial)
	kern := c.attrInts("kernel_shape")
	stride, err := spatialAttr(c.Node, "strides", d, d, 1)
	if err != nil {
		return err
	}
	pads, err := spatialAttr(c.Node, "pads", d, 2*d, 0)
	if err != nil {
		return err
	}
	if len(kern) != d || len(at) != x.Len() {
		return fmt.Errorf("kernel_shape %v or indices %v do not fit X %v", kern, it.Shape(), x.Shape())
	}
	natural := []int{n, ch}
	for i, s := range spatial {
		natural = append(natural, max(0, (s-1)*stride[i]-pads[i]-pads[d+i]+kern[i]))
	}
	shape := natural
	if t := c.Arg(2); t != nil {
		if shape, err = ints(t); err != nil {
			return err
		}
		if len(shape) != len(natural) {
			return fmt.Errorf("output shape %v does not fit X %v", shape, x.Shape())
		}
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	total := product(shape)
	dst.clear(0, total)
	from, to := strides(natural), strides(shape)
	for i, v := range at {
		if v < 0 || v >= product(natural) {
			return fmt.Errorf("index %d is outside of %v", v, natural)
		}
		p := 0
		for k := range natural {
			p += v / from[k] * to[k]
			v %= from[k]
		}
		if p < total {
			dst.copy(p, src, i, 1)
		}
	}
	return done()
}
