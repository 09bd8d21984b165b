package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// createOps make tensors from shapes and numbers.
func createOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Constant": plain(opConstant), "ConstantOfShape": plain(opConstantOfShape), "Range": plain(opRange),
		"EyeLike":        plain(opEyeLike),
		"HannWindow":     plain(window([]float64{0.5, 0.5})),
		"HammingWindow":  plain(window([]float64{25.0 / 46, 21.0 / 46})),
		"BlackmanWindow": plain(window([]float64{0.42, 0.5, 0.08})),
	})
}

func opConstant(c *Call) error {
	t := model.ConstantValue(c.Node)
	if t == nil {
		return fmt.Errorf("a sparse constant: %w", model.ErrUnsupported)
	}
	c.Set(0, t)
	return nil
}

func opConstantOfShape(c *Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	shape, err := ints(t)
	if err != nil {
		return err
	}
	v := model.Scalar(float32(0))
	if a := c.Node.Attr("value"); a != nil && a.T != nil {
		v = a.T
	}
	if v.Len() != 1 {
		return errShape("value", v, "one element")
	}
	src, err := elemsOf(v)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, v.DType(), shape)
	if err != nil {
		return err
	}
	n := product(shape)
	for i := range min(n, 1) {
		dst.copy(i, src, 0, 1)
	}
	for i := 1; i < n; i *= 2 { // doubling copies
		dst.copy(i, dst, 0, min(i, n-i))
	}
	return done()
}

func opRange(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	switch a.DType() {
	case model.Float32:
		return rangeOf[float32](c)
	case model.Float64:
		return rangeOf[float64](c)
	case model.Int16:
		return rangeOf[int16](c)
	case model.Int32:
		return rangeOf[int32](c)
	case model.Int64:
		return rangeOf[int64](c)
	case model.Float16, model.BFloat16:
		return rangeHalf(c)
	}
	return typeError(a)
}

func rangeOf[T number](c *Call) error {
	var v [3]T
	for i := range v {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		x, err := model.Data[T](t)
		if err != nil {
			return err
		}
		if len(x) != 1 {
			return errShape("input", t, "one element")
		}
		v[i] = x[0]
	}
	n, err := rangeLen(float64(v[0]), float64(v[1]), float64(v[2]))
	if err != nil {
		return err
	}
	dst, err := Out[T](c, 0, []int{n})
	for i := range dst {
		dst[i] = v[0] + T(i)*v[2]
	}
	return err
}

func rangeLen(start, limit, delta float64) (int, error) {
	n := math.Ceil((limit - start) / delta)
	if n != n || n > 1<<40 {
		return 0, fmt.Errorf("range from %g to %g in steps of %g", start, limit, delta)
	}
	return int(max(n, 0)), nil
}

func rangeHalf(c *Call) error {
	var v [3]float64
	for i := range v {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		if v[i], err = scalarFloat(t); err != nil {
			return err
		}
	}
	n, err := rangeLen(v[0], v[1], v[2])
	if err != nil {
		return err
	}
	if int64(n)*4 > c.arena.bound() {
		return fmt.Errorf("range of %d elements: %w", n, ErrMemory)
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(v[0] + float64(i)*v[2])
	}
	t, err := model.FromFloat32(c.In[0].DType(), []int{n}, x)
	if err == nil {
		c.Set(0, t)
	}
	return err
}

func opEyeLike(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if x.Rank() != 2 {
		return errShape("input", x, "a matrix")
	}
	to := x.DType()
	if a := c.Node.Attr("dtype"); a != nil {
		to = model.DType(a.I)
	}
	one, err := castTensor(model.Scalar(float32(1)), to, castRule{saturate: true})
	if err != nil {
		return err
	}
	src, err := elemsOf(one)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, to, x.Shape())
	if err != nil {
		return err
	}
	dst.clear(0, x.Len())
	k, cols := int(c.Node.Int("k", 0)), x.Shape()[1]
	for i := range x.Shape()[0] {
		if j := i + k; j >= 0 && j < cols {
			dst.copy(i*cols+j, src, 0, 1)
		}
	}
	return done()
}

// window returns the operator of the cosine window with the given coefficients: a0 - a1 cos(2 pi i/n) + a2 cos(4 pi i/n).
func window(a []float64) OpFunc {
	return func(c *Call) error {
		t, err := c.Need(0)
		if err != nil {
			return err
		}
		n, err := scalarInt(t)
		if err != nil {
			return err
		}
		if n < 0 || int64(n)*8 > c.arena.bound() {
			return fmt.Errorf("size %d: %w", n, ErrMemory)
		}
		den := float64(n)
		if c.Node.Int("periodic", 1) == 0 {
			den--
		}
		x := make([]float64, n)
		for i := range x {
			sign := 1.0
			for k, v := range a {
				x[i] += sign * v * math.Cos(2*math.Pi*float64(k)*float64(i)/den)
				sign = -sign
			}
		}
		out, err := fromFloat64(model.DType(c.Node.Int("output_datatype", 1)), []int{n}, x, castRule{saturate: true})
		if err == nil {
			c.Set(0, out)
		}
		return err
	}
}
