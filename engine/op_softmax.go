package engine

import (
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// softmaxOps normalise along an axis.
func softmaxOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Softmax":    float(func(c *Call) error { return alongAxis(c, softmaxRows, softmaxRow64) }),
		"LogSoftmax": float(func(c *Call) error { return alongAxis(c, logSoftmaxRows, logSoftmaxRow64) }),
		"Hardmax":    float(func(c *Call) error { return alongAxis(c, hardmaxRows, hardmaxRow[float64]) }),
	})
}

func softmaxRows(p *kernel.Pool, dst, src []float32, rows, n int) {
	rowsParallel(p, rows, 4*n, func(lo, hi int) { kernel.SoftmaxRows(dst[lo*n:hi*n], src[lo*n:hi*n], hi-lo, n, 1, nil) })
}

func logSoftmaxRows(p *kernel.Pool, dst, src []float32, rows, n int) {
	rowsParallel(p, rows, 4*n, func(lo, hi int) { kernel.LogSoftmaxRows(dst[lo*n:hi*n], src[lo*n:hi*n], hi-lo, n, 1, nil) })
}

func hardmaxRows(_ *kernel.Pool, dst, src []float32, rows, n int) {
	for i := range rows {
		hardmaxRow(dst[i*n:(i+1)*n], src[i*n:(i+1)*n])
	}
}

func hardmaxRow[T float32 | float64](dst, src []T) {
	best := 0
	for i, v := range src {
		if v > src[best] {
			best = i
		}
	}
	clear(dst)
	dst[best] = 1
}

func softmaxRow64(dst, src []float64) {
	hi := math.Inf(-1)
	for _, v := range src {
		hi = max(hi, v)
	}
	var s float64
	for i, v := range src {
		dst[i] = math.Exp(v - hi)
		s += dst[i]
	}
	for i := range dst {
		dst[i] /= s
	}
}

func logSoftmaxRow64(dst, src []float64) {
	hi := math.Inf(-1)
	for _, v := range src {
		hi = max(hi, v)
	}
	var s float64
	for _, v := range src {
		s += math.Exp(v - hi)
	}
	for i, v := range src {
		dst[i] = v - hi - math.Log(s)
	}
}

// alongAxis applies a function of rows along the attribute axis; before opset 13 a row was all dimensions from axis on.
func alongAxis(c *Call, f32 func(p *kernel.Pool, dst, src []float32, rows, n int), f64 func(dst, src []float64)) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	def := int64(-1)
	if c.Opset < 13 {
		def = 1
	}
	if x.Len() == 0 || x.Rank() == 0 {
		if x.Len() == 0 {
			_, err = c.Alloc(0, x.DType(), x.Shape())
			return err
		}
	}
	ax := 0
	if x.Rank() > 0 {
		if ax, err = c.axisAttr(def, x.Rank()); err != nil {
			return err
		}
	}
	inner := 1
	n := product(x.Shape()[ax:])
	if c.Opset >= 13 && x.Rank() > 0 {
		n, inner = x.Shape()[ax], product(x.Shape()[ax+1:])
	}
	rows := x.Len() / n
	switch x.DType() {
	case model.Float32:
		src, err := model.Data[float32](x)
		if err != nil {
			return err
		}
		if inner == 1 {
			y, err := c.AllocLike(0, x.DType(), x.Shape(), 0)
			if err != nil {
				return err
			}
			dst, err := model.Data[float32](y)
			if err != nil {
				return err
			}
			f32(c.pool, dst, src, rows, n)
			return nil
		}
		dst, err := Out[float32](c, 0, x.Shape())
		if err != nil {
			return err
		}
		tmp := Scratch[float32](c, len(src))
		swapInner(tmp, src, len(src)/(n*inner), n, inner)
		f32(c.pool, tmp, tmp, rows, n)
		swapInner(dst, tmp, len(src)/(n*inner), inner, n)
		return nil
	case model.Float64:
		src, err := model.Data[float64](x)
		if err != nil {
			return err
		}
		dst, err := Out[float64](c, 0, x.Shape())
		if err != nil {
			return err
		}
		tmp := make([]float64, len(src))
		swapInner(tmp, src, len(src)/(n*inner), n, inner)
		for i := range rows {
			f64(tmp[i*n:(i+1)*n], tmp[i*n:(i+1)*n])
		}
		swapInner(dst, tmp, len(src)/(n*inner), inner, n)
		return nil
	}
	return typeError(x)
}

// swapInner transposes the last two dimensions of [outer, r, k].
func swapInner[T float32 | float64](dst, src []T, outer, r, k int) {
	for o := range outer {
		s, d := src[o*r*k:(o+1)*r*k], dst[o*r*k:(o+1)*r*k]
		for i := range r {
			for j := range k {
				d[j*r+i] = s[i*k+j]
			}
		}
	}
}
