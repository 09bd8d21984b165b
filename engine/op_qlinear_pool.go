package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// quantWindow reads the geometry of a pooling of images that lie channels last.
func quantWindow(c *Call, x *model.Tensor) (n, ch int, g kernel.Window, shape []int, err error) {
	n, ch, spatial, err := lastImage(x)
	if err != nil {
		return 0, 0, g, nil, err
	}
	kern := c.attrInts("kernel_shape")
	if len(kern) != len(spatial) || len(spatial) > 2 {
		return 0, 0, g, nil, fmt.Errorf("kernel_shape %v does not fit X %v", kern, x.Shape())
	}
	w, err := c.window(spatial, kern, c.Node.Int("ceil_mode", 0) != 0)
	if err != nil {
		return 0, 0, g, nil, err
	}
	g, _ = w.window2D()
	return n, ch, g, append(append([]int{n}, w.out...), ch), nil
}

// eachPixel calls f with the position of every pixel of image n that output (oh, ow) meets.
func eachPixel(g *kernel.Window, n, oh, ow int, f func(pixel int)) {
	for kh := range g.KH {
		h := oh*g.SH + kh*g.DH - g.Top
		if h < 0 || h >= g.H {
			continue
		}
		for kw := range g.KW {
			if w := ow*g.SW + kw*g.DW - g.Left; w >= 0 && w < g.W {
				f((n*g.H+h)*g.W + w)
			}
		}
	}
}

// meets reports whether every one of out windows along a dimension holds a pixel of the size that there are.
func meets(out, kern, stride, dilation, before, size int) bool {
	for o := range out {
		some := false
		for k := range kern {
			at := o*stride + k*dilation - before
			some = some || at >= 0 && at < size
		}
		if !some {
			return false
		}
	}
	return true
}

// opQuantMaxPool takes the largest byte: scales are positive, so that is the largest value.
func opQuantMaxPool(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	n, ch, g, shape, err := quantWindow(c, x)
	if err != nil {
		return err
	}
	dst, err := Out[uint8](c, 0, shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	if !meets(g.OH, g.KH, g.SH, g.DH, g.Top, g.H) || !meets(g.OW, g.KW, g.SW, g.DW, g.Left, g.W) {
		return errUnfused // the largest of nothing is below all bytes
	}
	c.NoteISA("bytes", 0, 0)
	rowsParallel(c.pool, n*g.OH, g.OW*ch*g.KH*g.KW/8, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			for ow := range g.OW {
				d, first := dst[(r*g.OW+ow)*ch:][:ch], true
				eachPixel(&g, r/g.OH, r%g.OH, ow, func(p int) {
					if first {
						copy(d, src[p*ch:])
						first = false
						return
					}
					kernel.MaxU8(d, src[p*ch:][:ch])
				})
			}
		}
	})
	return nil
}

// wholeAttr marks averages over all positions of the kernel, also where ceil_mode lets it reach beyond the padded input: those of
// QLinearAveragePool with count_include_pad.
const wholeAttr = "wattshed.whole"

// opQuantAveragePool averages x - zx and scales by sx/sy: round((float32(sum)/count)*sx/sy + zy).
func opQuantAveragePool(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	n, ch, g, shape, err := quantWindow(c, x)
	if err != nil {
		return err
	}
	dst, err := Out[uint8](c, 0, shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	m := c.Node
	zx, zy, lo, hi := byteAttr(m, "zx"), float32(byteAttr(m, "zy")), float32(byteAttr(m, "lo")), float32(byteAttr(m, "hi"))
	ratio := m.Float("sx", 1) / m.Float("sy", 1)
	padded, whole := m.Int("count_include_pad", 0) != 0, m.Int(wholeAttr, 0) != 0
	c.NoteISA("bytes", 0, 0)
	rowsParallel(c.pool, n*g.OH, g.OW*ch*g.KH*g.KW/4, func(r0, r1 int) {
		acc := make([]int32, ch)
		for r := r0; r < r1; r++ {
			for ow := range g.OW {
				count, oh := int32(0), r%g.OH
				clear(acc)
				eachPixel(&g, r/g.OH, oh, ow, func(p int) {
					count++
					kernel.SumRowsU8(acc, src[p*ch:][:ch], 1, ch)
				})
				zero, div := count*int32(zx), count
				switch {
				case padded && whole:
					div = int32(g.KH * g.KW)
				case padded: // what lies outside of the padded input too counts no more
					div = int32(paddedCount(oh, g.KH, g.SH, g.DH, g.Top, g.H+g.Bottom) * paddedCount(ow, g.KW, g.SW, g.DW, g.Left, g.W+g.End))
				}
				d := dst[(r*g.OW+ow)*ch:][:ch]
				for i, s := range acc {
					v := float32(s-zero) / float32(max(div, 1))
					d[i] = uint8(math.RoundToEven(float64(min(max(v*ratio+zy, lo), hi))))
				}
			}
		}
	})
	return nil
}

// opQuantAverageVolume is opQuantAveragePool of volumes, with the averages that wholeAttr marks.
func opQuantAverageVolume(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	n, ch, spatial, err := lastImage(x)
	if err != nil {
		return err
	}
	kern := attrInts(c.Node, "kernel_shape")
	if len(kern) != len(spatial) {
		return fmt.Errorf("kernel_shape %v does not fit X %v", kern, x.Shape())
	}
	w, err := newWindow(c.Node, spatial, kern, c.Node.Int("ceil_mode", 0) != 0)
	if err != nil {
		return err
	}
	dst, err := Out[uint8](c, 0, append(append([]int{n}, w.out...), ch))
	if err != nil || len(dst) == 0 {
		return err
	}
	m, plane, pixels := c.Node, product(w.out), product(spatial)
	zx, zy, ratio := int32(byteAttr(m, "zx")), float32(byteAttr(m, "zy")), m.Float("sx", 1)/m.Float("sy", 1)
	padded := m.Int("count_include_pad", 0) != 0
	rowsParallel(c.pool, n*plane, ch*product(kern)/4, func(r0, r1 int) {
		acc := make([]int32, ch)
		for r := r0; r < r1; r++ {
			count := int32(0)
			clear(acc)
			w.each(r%plane, func(_, i int) {
				count++
				kernel.SumRowsU8(acc, src[(r/plane*pixels+i)*ch:][:ch], 1, ch)
			})
			zero, div := count*zx, count
			if padded {
				div = int32(product(kern))
			}
			for i, s := range acc {
				v := float32(s-zero) / float32(max(div, 1))
				dst[r*ch+i] = uint8(math.RoundToEven(float64(min(max(v*ratio+zy, 0), 255))))
			}
		}
	})
	return nil
}

// paddedCount is the number of kernel positions of output o that lie before end, the end of the padded input.
func paddedCount(o, kern, stride, dilation, before, end int) int {
	k := 0
	for i := range kern {
		if o*stride+i*dilation-before < end {
			k++
		}
	}
	return k
}

// opQuantGlobalAveragePool requantizes the sums of all pixels with sx/(sy*count), as ONNX Runtime does.
func opQuantGlobalAveragePool(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	n, ch, spatial, err := lastImage(x)
	if err != nil {
		return err
	}
	shape := make([]int, x.Rank())
	for i := range shape {
		shape[i] = 1
	}
	shape[0], shape[len(shape)-1] = n, ch
	dst, err := Out[uint8](c, 0, shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	m, plane := c.Node, product(spatial)
	if plane == 0 && m.Op == "QLinearGlobalAveragePool" {
		return fmt.Errorf("an average of no pixels")
	} else if plane == 0 {
		return errUnfused
	}
	zx, zy, lo, hi := int32(byteAttr(m, "zx")), byteAttr(m, "zy"), byteAttr(m, "lo"), byteAttr(m, "hi")
	scale := []float32{m.Float("sx", 1) / (m.Float("sy", 1) * float32(plane))}
	c.NoteISA("bytes", 0, 0)
	rowsParallel(c.pool, n, plane*ch, func(n0, n1 int) {
		acc := make([]int32, ch)
		for i := n0; i < n1; i++ {
			clear(acc)
			kernel.SumRowsU8(acc, src[i*plane*ch:(i+1)*plane*ch], plane, ch)
			d := dst[i*ch : (i+1)*ch]
			kernel.RequantizeU8(acc, d, scale, []int32{-zx * int32(plane)}, zy)
			for k, v := range d {
				d[k] = min(max(v, lo), hi)
			}
		}
	})
	return nil
}
