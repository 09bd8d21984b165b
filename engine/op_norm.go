package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// normOps normalise by mean, variance or norm.
func normOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"BatchNormalization": float(opBatchNorm), "LayerNormalization": {run: opLayerNorm, half: true, stats: true},
		"InstanceNormalization": float(opInstanceNorm), "GroupNormalization": float(opGroupNorm),
		"RMSNormalization": float(opRMSNorm), "LRN": float(opLRN), "LpNormalization": float(opLpNorm),
		"MeanVarianceNormalization": float(opMVN),
	})
}

// vectors reads several inputs of n elements each.
func vectors[T model.Element](c *Call, n int, inputs ...int) ([][]T, error) {
	out := make([][]T, len(inputs))
	for k, i := range inputs {
		t, err := c.Need(i)
		if err != nil {
			return nil, err
		}
		if t.Len() != n {
			return nil, errShape(fmt.Sprintf("input %d", i), t, fmt.Sprintf("[%d]", n))
		}
		if out[k], err = model.Data[T](t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func opBatchNorm(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if x.Rank() < 2 {
		return errShape("input", x, "[N C ...]")
	}
	if x.DType() == model.Float64 {
		return batchNorm[float64](c, x)
	}
	if x.DType() != model.Float32 {
		return typeError(x)
	}
	// In half precision the scale is of the type of x, the statistics of float32 or float64.
	for i := 1; i < len(c.In); i++ {
		if c.In[i] != nil && c.In[i].DType() == model.Float64 {
			if c.In[i], err = castTensor(c.In[i], model.Float32, castRule{}); err != nil {
				return err
			}
		}
	}
	return batchNorm[float32](c, x)
}

func batchNorm[T real](c *Call, x *model.Tensor) error {
	ch := x.Shape()[1]
	v, err := vectors[T](c, ch, 1, 2, 3, 4)
	if err != nil {
		return err
	}
	src, err := model.Data[T](x)
	if err != nil {
		return err
	}
	eps := T(c.Node.Float("epsilon", 1e-5))
	plane := product(x.Shape()[2:])
	if c.Node.Int("training_mode", 0) != 0 {
		return batchNormTraining(c, x, src, v, eps, plane)
	}
	dst, err := Out[T](c, 0, x.Shape())
	if err != nil {
		return err
	}
	scale, shift := make([]T, ch), make([]T, ch)
	for i := range scale {
		scale[i] = v[0][i] / T(math.Sqrt(float64(v[3][i]+eps)))
		shift[i] = v[1][i] - v[2][i]*scale[i]
	}
	if plane == 0 || len(src) == 0 {
		return nil
	}
	rowsParallel(c.pool, len(src)/plane, plane, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			a, b := scale[r%ch], shift[r%ch]
			d := dst[r*plane : (r+1)*plane]
			for i, e := range src[r*plane : (r+1)*plane] {
				d[i] = e*a + b
			}
		}
	})
	return nil
}

// batchNormTraining normalises by the statistics of the batch and also returns the running ones.
func batchNormTraining[T real](c *Call, x *model.Tensor, src []T, v [][]T, eps T, plane int) error {
	ch, n := x.Shape()[1], x.Shape()[0]
	momentum := T(c.Node.Float("momentum", 0.9))
	dst, err := Out[T](c, 0, x.Shape())
	if err != nil {
		return err
	}
	mean, variance := make([]T, ch), make([]T, ch)
	for k := range ch {
		var s, q float64
		for b := range n {
			for _, e := range src[(b*ch+k)*plane : (b*ch+k+1)*plane] {
				s += float64(e)
			}
		}
		m := s / float64(n*plane)
		for b := range n {
			for _, e := range src[(b*ch+k)*plane : (b*ch+k+1)*plane] {
				q += (float64(e) - m) * (float64(e) - m)
			}
		}
		q /= float64(n * plane)
		inv := 1 / math.Sqrt(q+float64(eps))
		for b := range n {
			for i := (b*ch + k) * plane; i < (b*ch+k+1)*plane; i++ {
				dst[i] = T((float64(src[i])-m)*inv)*v[0][k] + v[1][k]
			}
		}
		mean[k] = v[2][k]*momentum + T(m)*(1-momentum)
		variance[k] = v[3][k]*momentum + T(q)*(1-momentum)
	}
	for i, s := range [][]T{mean, variance} {
		if !c.Wants(1 + i) {
			continue
		}
		out, err := Out[T](c, 1+i, []int{ch})
		if err != nil {
			return err
		}
		copy(out, s)
	}
	return nil
}

// opLayerNorm normalises over the dimensions from axis on; outputs 1 and 2 are the mean and 1/deviation.
func opLayerNorm(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(-1, x.Rank())
	if err != nil {
		return err
	}
	n := product(x.Shape()[ax:])
	rows := product(x.Shape()[:ax])
	eps := c.Node.Float("epsilon", 1e-5)
	stat := append([]int{}, x.Shape()[:ax]...)
	for range x.Shape()[ax:] {
		stat = append(stat, 1)
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	if x.DType() == model.Float32 && st.Len() == n && (c.Arg(2) == nil || c.Arg(2).Len() == n) && n > 0 {
		return layerNorm32(c, x, rows, n, eps, stat)
	}
	if x.DType() != model.Float32 && x.DType() != model.Float64 {
		return typeError(x)
	}
	src, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	out := make([]float64, len(src))
	mean, inv := make([]float64, rows), make([]float64, rows)
	for r := range rows {
		s := src[r*n : (r+1)*n]
		var m, q float64
		for _, v := range s {
			m += v
		}
		m /= float64(n)
		for _, v := range s {
			q += (v - m) * (v - m)
		}
		mean[r], inv[r] = m, 1/math.Sqrt(q/float64(n)+float64(eps))
		for i, v := range s {
			out[r*n+i] = (v - m) * inv[r]
		}
	}
	if err := scaleShift(c, x, out, 1, 2); err != nil {
		return err
	}
	for i, s := range [][]float64{mean, inv} {
		if c.Wants(1 + i) {
			t, err := fromFloat64(x.DType(), stat, s, castRule{})
			if err != nil {
				return err
			}
			c.Set(1+i, t)
		}
	}
	return nil
}

func layerNorm32(c *Call, x *model.Tensor, rows, n int, eps float32, stat []int) error {
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	gamma, err := model.Data[float32](c.In[1])
	if err != nil {
		return err
	}
	var beta, mean, inv []float32
	if t := c.Arg(2); t != nil {
		if beta, err = model.Data[float32](t); err != nil {
			return err
		}
	}
	y, err := c.AllocLike(0, model.Float32, x.Shape(), 0)
	if err != nil {
		return err
	}
	dst, err := model.Data[float32](y)
	if err != nil {
		return err
	}
	if c.Wants(1) {
		if mean, err = Out[float32](c, 1, stat); err != nil {
			return err
		}
	}
	if c.Wants(2) {
		if inv, err = Out[float32](c, 2, stat); err != nil {
			return err
		}
	}
	rowsParallel(c.pool, rows, 4*n, func(lo, hi int) {
		var m, v []float32
		if mean != nil {
			m = mean[lo:hi]
		}
		if inv != nil {
			v = inv[lo:hi]
		}
		kernel.LayerNormRows(dst[lo*n:hi*n], src[lo*n:hi*n], nil, nil, gamma, beta, hi-lo, n, eps, m, v)
	})
	return nil
}

// scaleShift multiplies by input 1 and adds input 2, where the operator has them, broadcast to x; the result is output 0.
func scaleShift(c *Call, x *model.Tensor, v []float64, inputs ...int) error {
	for _, i := range inputs {
		t := c.Arg(i)
		if t == nil {
			continue
		}
		f, err := c.toFloat64(t)
		if err != nil {
			return err
		}
		if shape, err := broadcastShape(x.Shape(), t.Shape()); err != nil || !sameShape(shape, x.Shape()) {
			if err == nil && c.Node.Int(foundAttr, 0) != 0 { // the operators one by one make x larger
				return errUnfused
			}
			return errShape(fmt.Sprintf("input %d", i), t, fmt.Sprintf("one that broadcasts to %v", x.Shape()))
		}
		eachBroadcast(x.Shape(), [][]int{t.Shape()}, func(e int, off []int) {
			if i == 1 {
				v[e] *= f[off[0]]
			} else {
				v[e] += f[off[0]]
			}
		})
	}
	t, err := fromFloat64(x.DType(), x.Shape(), v, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

func opRMSNorm(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(-1, x.Rank())
	if err != nil {
		return err
	}
	n, rows := product(x.Shape()[ax:]), product(x.Shape()[:ax])
	eps := c.Node.Float("epsilon", 1e-5)
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	if x.DType() == model.Float32 && st.DType() == model.Float32 && st.Len() == n && n > 0 {
		src, err := model.Data[float32](x)
		if err != nil {
			return err
		}
		gamma, err := model.Data[float32](st)
		if err != nil {
			return err
		}
		dst, err := Out[float32](c, 0, x.Shape())
		if err != nil {
			return err
		}
		rowsParallel(c.pool, rows, 4*n, func(lo, hi int) {
			kernel.RMSNormRows(dst[lo*n:hi*n], src[lo*n:hi*n], gamma, hi-lo, n, eps, nil)
		})
		return nil
	}
	src, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	out := make([]float64, len(src))
	for r := range rows {
		var q float64
		for _, v := range src[r*n : (r+1)*n] {
			q += v * v
		}
		inv := 1 / math.Sqrt(q/float64(n)+float64(eps))
		for i, v := range src[r*n : (r+1)*n] {
			out[r*n+i] = v * inv
		}
	}
	return scaleShift(c, x, out, 1)
}
