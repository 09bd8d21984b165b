package grad

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
)

// Products that feed a sum are written float32(a*b): the rounding keeps a compiler from fusing them.

// pointwise runs f over dy (0), a second operand of the same size (1) and the output.
func pointwise(c *engine.Call, f func(dx, dy, x []float32)) error {
	dy, shape, err := f32(c, 0)
	if err != nil {
		return err
	}
	x, xs, err := f32(c, 1)
	if err != nil {
		return err
	}
	if len(x) != len(dy) {
		return fmt.Errorf("derivative of shape %v for %v", shape, xs)
	}
	dx, err := engine.Out[float32](c, 0, xs)
	if err != nil {
		return err
	}
	f(dx, dy, x)
	return nil
}

// tanhGrad: dx = dy (1 - y^2).
func tanhGrad(c *engine.Call) error {
	return pointwise(c, func(dx, dy, y []float32) {
		for i, v := range y {
			dx[i] = dy[i] * (1 - float32(v*v))
		}
	})
}

// sigmoidGrad: dx = dy y (1 - y).
func sigmoidGrad(c *engine.Call) error {
	return pointwise(c, func(dx, dy, y []float32) {
		for i, v := range y {
			dx[i] = dy[i] * float32(v*(1-v))
		}
	})
}

// reluGrad: dx = dy where y > 0.
func reluGrad(c *engine.Call) error {
	return pointwise(c, func(dx, dy, y []float32) {
		for i, v := range y {
			dx[i] = 0
			if v > 0 {
				dx[i] = dy[i]
			}
		}
	})
}

// erfGrad: dx = dy 2/sqrt(pi) exp(-x^2).
func erfGrad(c *engine.Call) error {
	return pointwise(c, func(dx, dy, x []float32) {
		for i, v := range x {
			dx[i] = -float32(v * v)
		}
		kernel.Exp(dx, dx)
		for i := range dx {
			dx[i] = float32(dx[i]*float32(2/math.SqrtPi)) * dy[i]
		}
	})
}

// geluGrad: for y = x F(x) with F(x) = (1+erf(x/sqrt 2))/2, dx = dy (F(x) + x exp(-x^2/2)/sqrt(2 pi)); for the tanh
// approximation with u = sqrt(2/pi)(x + 0.044715 x^3) and t = tanh u, dx = dy ((1+t)/2 + x/2 (1-t^2) u').
func geluGrad(c *engine.Call) error {
	approximate := c.Node.Str("approximate", "none") == "tanh"
	return pointwise(c, func(dx, dy, x []float32) {
		t := engine.Scratch[float32](c, len(x))
		if approximate {
			const k = 0.7978845608028654 // sqrt(2/pi)
			for i, v := range x {
				t[i] = k * (v + float32(float32(0.044715)*float32(v*float32(v*v))))
			}
			kernel.Tanh(t, t)
			for i, v := range x {
				du := k * (1 + float32(float32(3*0.044715)*float32(v*v)))
				s := 1 - float32(t[i]*t[i])
				dx[i] = dy[i] * (float32(0.5*(1+t[i])) + float32(float32(0.5*v)*float32(s*du)))
			}
			return
		}
		for i, v := range x {
			dx[i] = v * float32(math.Sqrt2/2)
			t[i] = float32(-0.5) * float32(v*v)
		}
		kernel.Erf(dx, dx)
		kernel.Exp(t, t)
		for i, v := range x {
			phi := float32(t[i] * float32(1/(math.Sqrt2*math.SqrtPi)))
			dx[i] = dy[i] * (float32(0.5*(1+dx[i])) + float32(v*phi))
		}
	})
}

// clipGrad passes dy where the bounds (2, 3) include x.
func clipGrad(c *engine.Call) error {
	lo, hi := float32(math.Inf(-1)), float32(math.Inf(1))
	for k, p := range []*float32{&lo, &hi} {
		b, err := optional(c, 2+k)
		if err != nil {
			return err
		}
		if len(b) > 1 {
			return fmt.Errorf("bound of %d elements", len(b))
		}
		if len(b) == 1 {
			*p = b[0]
		}
	}
	return pointwise(c, func(dx, dy, x []float32) {
		for i, v := range x {
			dx[i] = 0
			if lo <= v && v <= hi {
				dx[i] = dy[i]
			}
		}
	})
}

func softmaxGrad(c *engine.Call) error { return rowsGrad(c, kernel.SoftmaxGradRows) }

func logSoftmaxGrad(c *engine.Call) error { return rowsGrad(c, kernel.LogSoftmaxGradRows) }

// rowsGrad runs f over the vectors along the axis of the node, which it first brings to the end.
func rowsGrad(c *engine.Call, f func(dx, dy, y []float32, rows, n int, scale float32)) error {
	dy, shape, err := f32(c, 0)
	if err != nil {
		return err
	}
	y, ys, err := f32(c, 1)
	if err != nil {
		return err
	}
	if !equal(shape, ys) {
		return fmt.Errorf("derivative of shape %v for %v", shape, ys)
	}
	dx, err := engine.Out[float32](c, 0, shape)
	if err != nil || len(y) == 0 {
		return err
	}
	axis, err := axisOf(c.Node.Int("axis", -1), len(shape))
	if err != nil {
		return err
	}
	n, inner := shape[axis], product(shape[axis+1:])
	if c.Node.Int("flatten", 0) != 0 {
		n, inner = n*inner, 1
	}
	rows := len(y) / n
	if inner == 1 {
		f(dx, dy, y, rows, n, 1)
		return nil
	}
	ty, td := engine.Scratch[float32](c, n*inner), engine.Scratch[float32](c, n*inner)
	for o := 0; o < len(y); o += n * inner {
		kernel.Transpose2D(ty, y[o:o+n*inner], n, inner)
		kernel.Transpose2D(td, dy[o:o+n*inner], n, inner)
		f(td, td, ty, inner, n, 1)
		kernel.Transpose2D(dx[o:o+n*inner], td, inner, n)
	}
	return nil
}

// layerNormGrad gives the derivatives by x (1), scale and bias; mean and deviation are computed again.
func layerNormGrad(c *engine.Call) error {
	dy, _, err := f32(c, 0)
	if err != nil {
		return err
	}
	x, shape, err := f32(c, 1)
	if err != nil {
		return err
	}
	gamma, _, err := f32(c, 2)
	if err != nil {
		return err
	}
	axis, err := axisOf(c.Node.Int("axis", -1), len(shape))
	if err != nil {
		return err
	}
	n := product(shape[axis:])
	if len(gamma) != n || len(dy) != len(x) {
		return fmt.Errorf("scale of %d elements and derivative of %d for shape %v, axis %d", len(gamma), len(dy), shape, axis)
	}
	var out [3][]float32
	for i, s := range [][]int{shape, c.Arg(2).Shape(), c.Arg(2).Shape()} {
		if c.Wants(i) {
			if out[i], err = engine.Out[float32](c, i, s); err != nil {
				return err
			}
		} else {
			out[i] = engine.Scratch[float32](c, product(s))
		}
	}
	clear(out[1])
	clear(out[2])
	if len(x) == 0 {
		return nil
	}
	rows := len(x) / n
	mean, inv := engine.Scratch[float32](c, rows), engine.Scratch[float32](c, rows)
	kernel.LayerNormRows(out[0], x, nil, nil, gamma, nil, rows, n, c.Node.Float("epsilon", 1e-5), mean, inv)
	kernel.LayerNormGradRows(out[0], out[1], out[2], dy, x, gamma, rows, n, mean, inv)
	return nil
}

// matMulGrad gives the derivative of MatMul(a, b) by the operand that the attribute names, from dy (0), a (1) and b (2).
func matMulGrad(c *engine.Call) error {
	dy, ys, err := f32(c, 0)
	if err != nil {
		return err
	}
	a, as, err := f32(c, 1)
	if err != nil {
		return err
	}
	b, bs, err := f32(c, 2)
	if err != nil {
		return err
	}
	byB := c.Node.Int("input", 0) == 1
	like := as
	if byB {
		like = bs
	}
	dx, err := engine.Out[float32](c, 0, like)
	if err != nil {
		return err
	}
	if len(as) == 0 || len(bs) == 0 {
		return fmt.Errorf("operands of shapes %v and %v", as, bs)
	}
	batch := append([]int(nil), ys...)
	if len(as) == 1 {
		as = []int{1, as[0]}
	} else {
		batch = batch[:max(0, len(batch)-1)]
	}
	if len(bs) == 1 {
		bs = []int{bs[0], 1}
	} else {
		batch = batch[:max(0, len(batch)-1)]
	}
	m, k, n := as[len(as)-2], as[len(as)-1], bs[len(bs)-1]
	if bs[len(bs)-2] != k || len(dy) != product(batch)*m*n {
		return fmt.Errorf("operands of shapes %v and %v, derivative of %v", as, bs, ys)
	}
	clear(dx)
	if len(dx) == 0 || len(dy) == 0 {
		return nil
	}
	as, bs = as[:len(as)-2], bs[:len(bs)-2]
	if product(bs) == 1 && product(as) == product(batch) { // one weight for the whole batch: one product
		m, batch = m*product(batch), nil
		as, bs = nil, nil
	}
	sa, err := broadcastStrides(as, batch)
	if err != nil {
		return err
	}
	sb, err := broadcastStrides(bs, batch)
	if err != nil {
		return err
	}
	offB := make([]int, product(batch))
	walk(batch, sb, func(i, off int) { offB[i] = off })
	add := kernel.Epilogue{Accumulate: true}
	walk(batch, sa, func(i, off int) {
		ai, bi, di := a[off*m*k:(off+1)*m*k], b[offB[i]*k*n:(offB[i]+1)*k*n], dy[i*m*n:(i+1)*m*n]
		if byB { // db[k,n] += a^T dy
			kernel.MatMulF32(c.Pool(), k, n, m, ai, k, true, di, n, false, dx[offB[i]*k*n:], n, add)
		} else { // da[m,k] += dy b^T
			kernel.MatMulF32(c.Pool(), m, k, n, di, n, false, bi, n, true, dx[off*m*k:], k, add)
		}
	})
	return nil
}
