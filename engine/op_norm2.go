package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// standardize sets v to (v-mean)/sqrt(var+eps) in groups of n consecutive elements.
func standardize(v []float64, n int, eps float64) {
	for lo := 0; n > 0 && lo+n <= len(v); lo += n {
		s := v[lo : lo+n]
		var m, q float64
		for _, e := range s {
			m += e
		}
		m /= float64(n)
		for _, e := range s {
			q += (e - m) * (e - m)
		}
		inv := 1 / math.Sqrt(q/float64(n)+eps)
		for i, e := range s {
			s[i] = (e - m) * inv
		}
	}
}

// affine multiplies and adds per channel of [N, C, ...] and makes output 0.
func affine(c *Call, x *model.Tensor, v []float64, per int) error {
	ch := x.Shape()[1]
	s, err := c.toFloat64(c.In[1])
	if err != nil {
		return err
	}
	b, err := c.toFloat64(c.In[2])
	if err != nil {
		return err
	}
	if len(s) != per || len(b) != per || per == 0 || ch%per != 0 {
		return fmt.Errorf("scale %v and bias %v do not fit X %v", c.In[1].Shape(), c.In[2].Shape(), x.Shape())
	}
	plane := max(1, product(x.Shape()[2:]))
	for i := range v {
		k := i / plane % ch / (ch / per)
		v[i] = v[i]*s[k] + b[k]
	}
	t, err := fromFloat64(x.DType(), x.Shape(), v, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

// three returns X and checks that scale and bias are there.
func three(c *Call) (*model.Tensor, []float64, error) {
	if c.NumIn() < 3 || c.In[0] == nil || c.In[1] == nil || c.In[2] == nil {
		return nil, nil, fmt.Errorf("three inputs are needed")
	}
	if c.In[0].Rank() < 2 {
		return nil, nil, errShape("input", c.In[0], "[N C ...]")
	}
	if d := c.In[0].DType(); d != model.Float32 && d != model.Float64 {
		return nil, nil, typeError(c.In[0])
	}
	v, err := c.toFloat64(c.In[0])
	return c.In[0], append([]float64(nil), v...), err
}

func opInstanceNorm(c *Call) error {
	x, v, err := three(c)
	if err != nil {
		return err
	}
	standardize(v, product(x.Shape()[2:]), float64(c.Node.Float("epsilon", 1e-5)))
	return affine(c, x, v, x.Shape()[1])
}

func opGroupNorm(c *Call) error {
	x, v, err := three(c)
	if err != nil {
		return err
	}
	g := int(c.Node.Int("num_groups", 1))
	if g < 1 || x.Shape()[1]%g != 0 {
		return fmt.Errorf("%d groups do not fit X %v", g, x.Shape())
	}
	standardize(v, x.Shape()[1]/g*product(x.Shape()[2:]), float64(c.Node.Float("epsilon", 1e-5)))
	per := x.Shape()[1]
	if c.Opset < 21 {
		per = g
	}
	return affine(c, x, v, per)
}

func opLRN(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if x.Rank() < 2 {
		return errShape("input", x, "[N C ...]")
	}
	size := int(c.Node.Int("size", 1))
	if x.DType() == model.Float32 && size >= 1 && size < 64 {
		return lrnFloat32(c, x, size)
	}
	v, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	alpha, beta, bias := float64(c.Node.Float("alpha", 1e-4)), float64(c.Node.Float("beta", 0.75)), float64(c.Node.Float("bias", 1))
	if size < 1 {
		return fmt.Errorf("size %d", size)
	}
	ch, plane := x.Shape()[1], product(x.Shape()[2:])
	out := make([]float64, len(v))
	rowsParallel(c.pool, x.Shape()[0]*ch, plane*(size+20), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			n, k := r/ch, r%ch
			first, last := max(0, k-(size-1)/2), min(ch-1, k+size/2)
			for i := range plane {
				var q float64
				for j := first; j <= last; j++ {
					e := v[(n*ch+j)*plane+i]
					q += e * e
				}
				out[r*plane+i] = v[r*plane+i] / math.Pow(bias+alpha/float64(size)*q, beta)
			}
		}
	})
	t, err := fromFloat64(x.DType(), x.Shape(), out, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

// lrnFloat32 normalises rows of pixels of one channel at a time.
func lrnFloat32(c *Call, t *model.Tensor, size int) error {
	x, err := model.Data[float32](t)
	if err != nil {
		return err
	}
	y, err := Out[float32](c, 0, t.Shape())
	if err != nil || len(y) == 0 {
		return err
	}
	alpha, beta, bias := c.Node.Float("alpha", 1e-4), c.Node.Float("beta", 0.75), c.Node.Float("bias", 1)
	ch, plane := t.Shape()[1], product(t.Shape()[2:])
	const piece = 2048
	rowsParallel(c.pool, t.Shape()[0]*ch, plane*(size+20), func(lo, hi int) {
		var sum, root [piece]float32
		for r := lo; r < hi; r++ {
			k := r % ch
			for at := 0; at < plane; at += piece {
				n := min(piece, plane-at)
				s, q := sum[:n], root[:n]
				clear(s)
				for j := max(0, k-(size-1)/2); j <= min(ch-1, k+size/2); j++ {
					e := x[(r-k+j)*plane+at:][:n]
					kernel.MulAdd(s, e, e, s)
				}
				kernel.MulS(s, s, alpha/float32(size))
				kernel.AddS(s, s, bias)
				src, dst := x[r*plane+at:][:n], y[r*plane+at:][:n]
				if beta == 0.75 { // s^0.75 = sqrt(s) sqrt(sqrt(s))
					kernel.Sqrt(s, s)
					kernel.Sqrt(q, s)
					kernel.Mul(s, s, q)
				} else {
					kernel.Pow(s, s, beta)
				}
				kernel.Div(dst, src, s)
			}
		}
	})
	return nil
}

func opLpNorm(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(-1, x.Rank())
	if err != nil {
		return err
	}
	src, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	p := float64(c.Node.Int("p", 2))
	n, inner := x.Shape()[ax], product(x.Shape()[ax+1:])
	out, s := make([]float64, len(src)), make([]float64, n)
	for o := range product(x.Shape()[:ax]) {
		for in := range inner {
			for i := range n {
				s[i] = src[(o*n+i)*inner+in]
			}
			if l := norm(s, p); l != 0 {
				for i := range n {
					out[(o*n+i)*inner+in] = s[i] / l
				}
			}
		}
	}
	t, err := fromFloat64(x.DType(), x.Shape(), out, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

// opMVN is (x - mean) / (deviation + 1e-9) over the attribute axes.
func opMVN(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	list := attrInts(c.Node, "axes")
	if list == nil {
		list = []int{0, 2, 3}
	}
	mark, err := axes(list, x.Rank())
	if err != nil {
		return err
	}
	src, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	out := make([]float64, len(src))
	g := newReduceGrid(x.Shape(), mark, true)
	if len(src) > 0 {
		g.kept.each(0, g.keptN, func(_, off int) {
			var m, q float64
			g.red.each(0, g.redN, func(_, o int) { m += src[off+o] })
			m /= float64(g.redN)
			g.red.each(0, g.redN, func(_, o int) { q += (src[off+o] - m) * (src[off+o] - m) })
			d := math.Sqrt(q/float64(g.redN)) + 1e-9
			g.red.each(0, g.redN, func(_, o int) { out[off+o] = (src[off+o] - m) / d })
		})
	}
	t, err := fromFloat64(x.DType(), x.Shape(), out, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}
