package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// reduction names a Reduce operator.
type reduction int

const (
	redSum reduction = iota
	redMean
	redMax
	redMin
	redProd
	redL1
	redL2
	redLogSum
	redLogSumExp
	redSumSquare
)

// reduceOps reduce over axes.
func reduceOps() map[string]opDef {
	r := func(k reduction, since int64) opDef { return float(func(c *Call) error { return reduce(c, k, since) }) }
	return qualify("", map[string]opDef{
		"ReduceSum": r(redSum, 13), "ReduceMean": r(redMean, 18), "ReduceMax": r(redMax, 18), "ReduceMin": r(redMin, 18),
		"ReduceProd": r(redProd, 18), "ReduceL1": r(redL1, 18), "ReduceL2": r(redL2, 18), "ReduceLogSum": r(redLogSum, 18),
		"ReduceLogSumExp": r(redLogSumExp, 18), "ReduceSumSquare": r(redSumSquare, 18),
		"ArgMax": float(func(c *Call) error { return argExtreme(c, false) }),
		"ArgMin": float(func(c *Call) error { return argExtreme(c, true) }),
	})
}

func reduce(c *Call, k reduction, since int64) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	list, ok, err := c.intsFrom("axes", 1, since)
	if err != nil {
		return err
	}
	if !ok || len(list) == 0 {
		list = list[:0]
		if c.Node.Int("noop_with_empty_axes", 0) == 0 || c.Opset < since {
			for i := range x.Rank() {
				list = append(list, i)
			}
		} else if k != redLogSum || x.DType().IsFloat() {
			return reduceNone(c, k, x)
		}
	}
	mark, err := axes(list, x.Rank())
	if err != nil {
		return err
	}
	g := newReduceGrid(x.Shape(), mark, c.Node.Int("keepdims", 1) != 0)
	switch x.DType() {
	case model.Float32:
		if done, err := reduceVector(c, k, x, g); done || err != nil {
			return err
		}
		return reduceTyped[float32](c, k, x, g)
	case model.Float64:
		return reduceTyped[float64](c, k, x, g)
	case model.Int32:
		return reduceTyped[int32](c, k, x, g)
	case model.Int64:
		return reduceTyped[int64](c, k, x, g)
	case model.Uint32:
		return reduceTyped[uint32](c, k, x, g)
	case model.Uint64:
		return reduceTyped[uint64](c, k, x, g)
	case model.Int8:
		return reduceTyped[int8](c, k, x, g)
	case model.Uint8:
		return reduceTyped[uint8](c, k, x, g)
	case model.Bool:
		v, err := x.View(model.Uint8)
		if err != nil {
			return err
		}
		if k != redMax && k != redMin {
			return typeError(x)
		}
		if err := reduceTyped[uint8](c, k, v, g); err != nil {
			return err
		}
		if v, err = c.out[0].t.View(model.Bool); err != nil {
			return err
		}
		c.out[0].t = v
		return nil
	}
	return typeError(x)
}

// reduceNone applies the operator to every element by itself.
func reduceNone(c *Call, k reduction, x *model.Tensor) error {
	switch k {
	case redL1, redL2:
		return opAbs(c)
	case redSumSquare:
		return arithOf(c, opMul, x, x, -1, -1)
	case redLogSum:
		return unary(kernel.Log, math.Log)(c)
	}
	c.Set(0, x)
	return nil
}

// reduceGrid says where the elements of a reduction lie: kept loops around reduced loops.
type reduceGrid struct {
	out         []int
	kept, red   loops
	keptN, redN int
}

func newReduceGrid(shape []int, mark []bool, keep bool) reduceGrid {
	str := strides(shape)
	var g reduceGrid
	var ks, kd, rs, rd []int
	g.out = []int{}
	for i, d := range shape {
		if mark[i] {
			rs, rd = append(rs, str[i]), append(rd, d)
			if keep {
				g.out = append(g.out, 1)
			}
			continue
		}
		ks, kd = append(ks, str[i]), append(kd, d)
		g.out = append(g.out, d)
	}
	g.keptN, g.redN = product(kd), product(rd)
	if g.keptN > 0 && g.redN > 0 {
		g.kept, g.red = newLoops(kd, ks), newLoops(rd, rs)
	}
	return g
}

// each calls f for every kept position with its offset, lo <= position < hi.
func (l *loops) each(lo, hi int, f func(i, off int)) {
	n := l.inner()
	s := l.str[0][len(l.dims)-1]
	var o [1]int
	for i := lo; i < hi; {
		l.offsets(i/n, o[:])
		for j := i % n; j < n && i < hi; j++ {
			f(i, o[0]+j*s)
			i++
		}
	}
}

// reduceVector handles float32 sums, means and extremes over contiguous rows.
func reduceVector(c *Call, k reduction, x *model.Tensor, g reduceGrid) (bool, error) {
	if g.keptN == 0 || g.redN == 0 || len(g.red.dims) != 1 {
		return false, nil
	}
	if n := len(g.kept.dims) - 1; g.kept.str[0][n] == 1 && g.red.str[0][0] == g.kept.dims[n] && g.redN > 1 {
		return reduceColumns(c, k, x, g)
	}
	if g.red.str[0][0] != 1 || g.redN < 4 {
		return false, nil
	}
	var f func([]float32) float32
	switch k {
	case redSum:
		f = kernel.Sum
	case redMean:
		inv := 1 / float32(g.redN)
		f = func(v []float32) float32 { return kernel.Sum(v) * inv }
	case redMax:
		f = kernel.ReduceMax
	case redMin:
		f = kernel.ReduceMin
	case redSumSquare:
		f = kernel.SumSquares
	case redL2:
		f = func(v []float32) float32 { return float32(math.Sqrt(float64(kernel.SumSquares(v)))) }
	default:
		return false, nil
	}
	src, err := model.Data[float32](x)
	if err != nil {
		return false, err
	}
	dst, err := Out[float32](c, 0, g.out)
	if err != nil {
		return false, err
	}
	rowsParallel(c.pool, g.keptN, g.redN, func(lo, hi int) {
		g.kept.each(lo, hi, func(i, off int) { dst[i] = f(src[off : off+g.redN]) })
	})
	return true, nil
}

// reduceColumns reduces [outer, R, inner] over R, row by row and in order.
func reduceColumns(c *Call, k reduction, x *model.Tensor, g reduceGrid) (bool, error) {
	var f func(dst, a, b []float32)
	switch k {
	case redSum, redMean:
		f = kernel.Add
	case redMax:
		f = kernel.Max
	case redMin:
		f = kernel.Min
	default:
		return false, nil
	}
	src, err := model.Data[float32](x)
	if err != nil {
		return false, err
	}
	dst, err := Out[float32](c, 0, g.out)
	if err != nil {
		return false, err
	}
	inner := g.kept.inner()
	chunk := min(inner, 1024)
	pieces := (inner + chunk - 1) / chunk
	rowsParallel(c.pool, g.kept.rows()*pieces, chunk*g.redN, func(lo, hi int) {
		var off [1]int
		for i := lo; i < hi; i++ {
			row, at := i/pieces, i%pieces*chunk
			n := min(chunk, inner-at)
			g.kept.offsets(row, off[:])
			d, s := dst[row*inner+at:][:n], src[off[0]+at:]
			copy(d, s[:n])
			for r := 1; r < g.redN; r++ {
				f(d, d, s[r*inner:][:n])
			}
			if k == redMean {
				kernel.MulS(d, d, 1/float32(g.redN))
			}
		}
	})
	return true, nil
}

func reduceTyped[T number](c *Call, k reduction, x *model.Tensor, g reduceGrid) error {
	src, err := model.Data[T](x)
	if err != nil {
		return err
	}
	dst, err := Out[T](c, 0, g.out)
	if err != nil {
		return err
	}
	if g.keptN == 0 {
		return nil
	}
	if g.redN == 0 {
		return reduceEmpty(k, dst)
	}
	if len(dst) != g.keptN {
		return fmt.Errorf("reduction of shape %v", x.Shape())
	}
	rowsParallel(c.pool, g.keptN, g.redN, func(lo, hi int) {
		g.kept.each(lo, hi, func(i, off int) { dst[i] = reduceOne(k, src[off:], &g.red, g.redN) })
	})
	return nil
}

// reduceOne reduces the elements of one output.
func reduceOne[T number](k reduction, src []T, l *loops, n int) T {
	acc := src[0]
	switch k {
	case redMax:
		l.each(0, n, func(_, o int) { acc = max(acc, src[o]) })
		return acc
	case redMin:
		l.each(0, n, func(_, o int) { acc = min(acc, src[o]) })
		return acc
	case redProd:
		acc = 1
		l.each(0, n, func(_, o int) { acc *= src[o] })
		return acc
	case redL1:
		acc = 0
		l.each(0, n, func(_, o int) {
			if v := src[o]; v < 0 {
				acc -= v
			} else {
				acc += v
			}
		})
		return acc
	case redLogSumExp:
		hi := math.Inf(-1)
		l.each(0, n, func(_, o int) { hi = max(hi, float64(src[o])) })
		if math.IsInf(hi, 0) {
			return T(hi)
		}
		var s float64
		l.each(0, n, func(_, o int) { s += math.Exp(float64(src[o]) - hi) })
		return T(hi + math.Log(s))
	}
	acc = 0
	switch k {
	case redL2, redSumSquare:
		l.each(0, n, func(_, o int) { acc += src[o] * src[o] })
	default:
		l.each(0, n, func(_, o int) { acc += src[o] })
	}
	switch k {
	case redMean:
		return T(float64(acc) / float64(n))
	case redL2:
		return T(math.Sqrt(float64(acc)))
	case redLogSum:
		return T(math.Log(float64(acc)))
	}
	return acc
}

// reduceEmpty fills the result of a reduction over no elements: the neutral element.
func reduceEmpty[T number](k reduction, dst []T) error {
	var v T
	switch k {
	case redProd:
		v = 1
	case redMax, redLogSum, redLogSumExp:
		v = lowest[T]()
	case redMin:
		v = highest[T]()
	case redMean:
		if !isFloatType[T]() {
			return fmt.Errorf("mean of no elements")
		}
		nan := math.NaN()
		v = T(nan)
	}
	for i := range dst {
		dst[i] = v
	}
	return nil
}

func isFloatType[T number]() bool { return T(1)/T(2) != 0 }

// lowest returns -Inf or the smallest integer.
func lowest[T number]() T {
	if isFloatType[T]() {
		inf := math.Inf(-1)
		return T(inf)
	}
	var z T
	if z-1 > 0 {
		return 0
	}
	v := T(1)
	for v > 0 {
		v *= 2
	}
	return v
}

// highest returns +Inf or the largest integer.
func highest[T number]() T {
	if isFloatType[T]() {
		inf := math.Inf(1)
		return T(inf)
	}
	return lowest[T]() - 1
}

// argExtreme is ArgMin or ArgMax: the first or last position of the extreme along an axis.
func argExtreme(c *Call, least bool) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(0, x.Rank())
	if err != nil {
		return err
	}
	last := c.Node.Int("select_last_index", 0) != 0
	v, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	shape := x.Shape()
	n := shape[ax]
	inner := product(shape[ax+1:])
	out := append([]int(nil), shape[:ax]...)
	if c.Node.Int("keepdims", 1) != 0 {
		out = append(out, 1)
	}
	out = append(out, shape[ax+1:]...)
	dst, err := Out[int64](c, 0, out)
	if err != nil {
		return err
	}
	if n == 0 && len(dst) > 0 {
		return fmt.Errorf("axis %d has no elements", ax)
	}
	for i := range dst {
		base := i/inner*n*inner + i%inner
		best := 0
		for j := 1; j < n; j++ {
			a, b := v[base+j*inner], v[base+best*inner]
			if least {
				a, b = b, a
			}
			if a > b || last && a == b {
				best = j
			}
		}
		dst[i] = int64(best)
	}
	return nil
}
