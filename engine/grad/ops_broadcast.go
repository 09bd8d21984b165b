package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
)

// sumTo sums input 0 over the axes that broadcasting from the shape of input 1 repeated, elements in row-major order.
func sumTo(c *engine.Call) error {
	d, shape, err := f32(c, 0)
	if err != nil {
		return err
	}
	like, err := c.Need(1)
	if err != nil {
		return err
	}
	want := like.Shape()
	if equal(shape, want) {
		c.Set(0, c.Arg(0))
		return nil
	}
	strides, err := broadcastStrides(want, shape)
	if err != nil {
		return err
	}
	y, err := engine.Out[float32](c, 0, want)
	if err != nil {
		return err
	}
	clear(y)
	if len(d) == 0 || len(y) == 0 {
		return nil
	}
	if n := len(y); len(d)%n == 0 && suffix(want, shape) {
		kernel.AddColumnSums(y, d)
		return nil
	}
	walk(shape, strides, func(i, off int) { y[off] += d[i] })
	return nil
}

// suffix reports whether small, without its leading ones, is the end of shape.
func suffix(small, shape []int) bool {
	for len(small) > 0 && small[0] == 1 {
		small = small[1:]
	}
	return len(small) <= len(shape) && equal(small, shape[len(shape)-len(small):])
}

// broadcastStrides returns the element strides by which an index of shape big reads a tensor of shape small.
func broadcastStrides(small, big []int) ([]int, error) {
	if len(small) > len(big) {
		return nil, fmt.Errorf("shape %v does not broadcast to %v", small, big)
	}
	strides := make([]int, len(big))
	step := 1
	for i := len(small) - 1; i >= 0; i-- {
		j := len(big) - len(small) + i
		switch {
		case small[i] == big[j]:
			strides[j] = step
		case small[i] != 1:
			return nil, fmt.Errorf("shape %v does not broadcast to %v", small, big)
		}
		if small[i] == 1 {
			strides[j] = 0
		}
		step *= small[i]
	}
	return strides, nil
}

// walk calls f for every index of shape in row-major order, with the sum of index times strides.
func walk(shape, strides []int, f func(i, off int)) {
	n := product(shape)
	index := make([]int, len(shape))
	off := 0
	for i := range n {
		f(i, off)
		for j := len(shape) - 1; j >= 0; j-- {
			index[j]++
			off += strides[j]
			if index[j] < shape[j] {
				break
			}
			off -= strides[j] * shape[j]
			index[j] = 0
		}
	}
}

// reduceGrad spreads dy (0) over the elements of x (1) that ReduceSum, ReduceMean or ReduceMax made y (2) from. The axes
// come from input 3 or from the attribute.
func reduceGrad(c *engine.Call) error {
	dy, _, err := f32(c, 0)
	if err != nil {
		return err
	}
	x, shape, err := f32(c, 1)
	if err != nil {
		return err
	}
	y, _, err := f32(c, 2)
	if err != nil {
		return err
	}
	axes, err := ints(c, 3)
	if err != nil {
		return err
	}
	if c.Arg(3) == nil {
		axes = c.Node.Ints("axes")
	}
	dx, err := engine.Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	if len(axes) == 0 && c.Node.Int("noop", 0) != 0 {
		copy(dx, dy)
		return nil
	}
	reduced := make([]int, len(shape))
	copy(reduced, shape)
	for _, a := range axes {
		k, err := axisOf(a, len(shape))
		if err != nil {
			return err
		}
		reduced[k] = 1
	}
	if len(axes) == 0 {
		for k := range reduced {
			reduced[k] = 1
		}
	}
	if n := product(reduced); n != len(dy) || n != len(y) {
		return fmt.Errorf("derivative of %d elements for a result of %d", len(dy), n)
	}
	if len(dx) == 0 {
		return nil
	}
	strides, err := broadcastStrides(reduced, shape)
	if err != nil {
		return err
	}
	spreadReduced(dx, dy, x, y, shape, strides, reduced, c.Node.Str("kind", ""))
	return nil
}

// spreadReduced does the work of reduceGrad. strides are those by which shape reads the result of shape reduced.
func spreadReduced(dx, dy, x, y []float32, shape, strides, reduced []int, kind string) {
	lead := 0
	for lead < len(shape) && reduced[lead] == 1 {
		lead++
	}
	n := len(y)
	if !equal(reduced[lead:], shape[lead:]) { // the rows of x are not the result: spread element by element
		ties := make([]float32, n)
		walk(shape, strides, func(i, off int) {
			if kind == "max" && x[i] == y[off] {
				ties[off]++
			}
		})
		scale := float32(1)
		if kind == "mean" {
			scale = float32(1 / float64(len(x)/n))
		}
		walk(shape, strides, func(i, off int) {
			switch {
			case kind != "max":
				dx[i] = dy[off] * scale
			case x[i] == y[off]:
				dx[i] = dy[off] / ties[off]
			default:
				dx[i] = 0
			}
		})
		return
	}
	switch kind {
	case "max":
		ties := make([]float32, n)
		for o := 0; o < len(x); o += n {
			for i, v := range x[o : o+n] {
				if v == y[i] {
					ties[i]++
				}
			}
		}
		for i := range ties {
			ties[i] = dy[i] / ties[i]
		}
		for o := 0; o < len(x); o += n {
			d := dx[o : o+n]
			for i, v := range x[o : o+n] {
				d[i] = 0
				if v == y[i] {
					d[i] = ties[i]
				}
			}
		}
	case "mean":
		kernel.MulS(dx[:n], dy, float32(1/float64(len(x)/n)))
		for o := n; o < len(x); o += n {
			copy(dx[o:o+n], dx[:n])
		}
	default:
		for o := 0; o < len(x); o += n {
			copy(dx[o:o+n], dy)
		}
	}
}

// concatGrad cuts dy (0) into the parts that Concat joined (inputs 1...).
func concatGrad(c *engine.Call) error {
	dy, shape, err := f32(c, 0)
	if err != nil {
		return err
	}
	axis, err := axisOf(c.Node.Int("axis", 0), len(shape))
	if err != nil {
		return err
	}
	outer, inner := product(shape[:axis]), product(shape[axis+1:])
	row, at := shape[axis]*inner, 0
	for i := range c.Node.Outputs {
		part, err := c.Need(i + 1)
		if err != nil {
			return err
		}
		if part.Rank() != len(shape) {
			return fmt.Errorf("part %d of shape %v in %v", i, part.Shape(), shape)
		}
		n := part.Shape()[axis] * inner
		if at+n > row || part.Len() != outer*n {
			return fmt.Errorf("part %d of shape %v in %v", i, part.Shape(), shape)
		}
		if c.Wants(i) {
			dx, err := engine.Out[float32](c, i, part.Shape())
			if err != nil {
				return err
			}
			for o := range outer {
				copy(dx[o*n:(o+1)*n], dy[o*row+at:o*row+at+n])
			}
		}
		at += n
	}
	return nil
}

// sliceGrad puts dy (0) back where Slice took it from x (1): starts (2), ends (3), axes (4), steps (5), or attributes.
func sliceGrad(c *engine.Call) error {
	dy, dshape, err := f32(c, 0)
	if err != nil {
		return err
	}
	like, err := c.Need(1)
	if err != nil {
		return err
	}
	shape := like.Shape()
	var par [4][]int64
	for k, name := range []string{"starts", "ends", "axes", "steps"} {
		if par[k], err = ints(c, 2+k); err != nil {
			return err
		}
		if c.Arg(2+k) == nil {
			par[k] = c.Node.Ints(name)
		}
	}
	starts, axes, steps := par[0], par[2], par[3]
	if len(dshape) != len(shape) || axes != nil && len(axes) != len(starts) || steps != nil && len(steps) != len(starts) ||
		axes == nil && len(starts) > len(shape) {
		return fmt.Errorf("slice of %v to %v with %d starts, %d axes, %d steps", shape, dshape, len(starts), len(axes), len(steps))
	}
	first := 0
	strides := rowMajor(shape)
	for k, s := range starts {
		axis := k
		if axes != nil {
			if axis, err = axisOf(axes[k], len(shape)); err != nil {
				return err
			}
		}
		step, d := int64(1), int64(shape[axis])
		if steps != nil {
			step = steps[k]
		}
		if s < 0 {
			s += d
		}
		s = max(s, 0)
		if step < 0 {
			s = min(s, d-1)
		}
		if n := int64(dshape[axis]); n > 0 && (s >= d || s+(n-1)*step < 0 || s+(n-1)*step >= d) {
			return fmt.Errorf("slice %d+%d*[0,%d) of axis %d, size %d", s, step, n, axis, d)
		}
		first += int(s) * strides[axis]
		strides[axis] *= int(step)
	}
	dx, err := engine.Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	clear(dx)
	walk(dshape, strides, func(i, off int) { dx[first+off] = dy[i] })
	return nil
}

func rowMajor(shape []int) []int {
	strides := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = n
		n *= shape[i]
	}
	return strides
}

// gatherGrad adds the rows of dy (0) to zeros of the shape of data (1) at indices (2), in the order of the indices.
func gatherGrad(c *engine.Call) error {
	dy, _, err := f32(c, 0)
	if err != nil {
		return err
	}
	like, err := c.Need(1)
	if err != nil {
		return err
	}
	index, err := ints(c, 2)
	if err != nil {
		return err
	}
	shape := like.Shape()
	axis, err := axisOf(c.Node.Int("axis", 0), len(shape))
	if err != nil {
		return err
	}
	outer, rows, inner := product(shape[:axis]), shape[axis], product(shape[axis+1:])
	if len(dy) != outer*len(index)*inner {
		return fmt.Errorf("derivative of %d elements for %d indices into %v", len(dy), len(index), shape)
	}
	for _, v := range index {
		if v < -int64(rows) || v >= int64(rows) {
			return fmt.Errorf("index %d of axis %d, size %d", v, axis, rows)
		}
	}
	dx, err := engine.Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	clear(dx)
	for o := range outer {
		kernel.ScatterAddRows(dx[o*rows*inner:(o+1)*rows*inner], dy[o*len(index)*inner:(o+1)*len(index)*inner], rows, inner, index)
	}
	return nil
}
