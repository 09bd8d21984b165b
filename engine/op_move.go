package engine

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// moveOps rearrange elements by rules that do not depend on values.
func moveOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Transpose": plain(opTranspose), "Concat": plain(opConcat), "Split": plain(opSplit), "Slice": plain(opSlice),
		"Expand": plain(opExpand), "Tile": plain(opTile), "Pad": plain(opPad), "Trilu": plain(opTrilu),
		"DepthToSpace": plain(opDepthToSpace), "SpaceToDepth": plain(opSpaceToDepth),
		"ReverseSequence": plain(opReverseSequence),
	})
}

func opConcat(c *Call) error {
	if c.NumIn() == 0 || c.In[0] == nil {
		return fmt.Errorf("nothing to join")
	}
	ax, err := c.axisAttr(1, c.In[0].Rank())
	if err != nil {
		return err
	}
	return concat(c, 0, c.In, ax)
}

// repeated is how many tensors concat looks for again among the others: all of a sequence would take time with the square of its length.
const repeated = 16

// concat makes output i the tensors joined along axis ax.
func concat(c *Call, i int, ts []*model.Tensor, ax int) error {
	first := ts[0]
	shape := append([]int(nil), first.Shape()...)
	shape[ax] = 0
	for _, t := range ts {
		if t == nil || t.DType() != first.DType() || t.Rank() != len(shape) {
			return fmt.Errorf("inputs of differing type or rank are joined")
		}
		for k, d := range t.Shape() {
			if k != ax && d != shape[k] {
				return fmt.Errorf("shapes %v and %v do not join along axis %d", first.Shape(), t.Shape(), ax)
			}
		}
		shape[ax] += t.Shape()[ax]
	}
	dst, done, err := c.outElems(i, first.DType(), shape)
	if err != nil {
		return err
	}
	outer, inner, at := product(shape[:ax]), product(shape[ax+1:]), 0
	row, in := shape[ax]*inner, 0
	for k, t := range ts {
		if !slices.Contains(ts[:min(k, repeated)], t) {
			in += outer * t.Shape()[ax] * inner * dst.size
		}
	}
	stream := kernel.Streams(len(dst.b), in, c.pool.Threads())
	for _, t := range ts {
		src, err := elemsOf(t)
		if err != nil {
			return err
		}
		n := t.Shape()[ax] * inner
		if n == 0 {
			continue
		}
		rowsParallel(c.pool, outer, n, func(lo, hi int) {
			dst.copyRows(lo*row+at, src, lo*n, n, hi-lo, row, n, stream)
		})
		at += n
	}
	return done()
}

func opSplit(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(0, x.Rank())
	if err != nil {
		return err
	}
	sizes, ok, err := c.intsFrom("split", 1, 13)
	if err != nil {
		return err
	}
	total, n := x.Shape()[ax], len(c.Node.Outputs)
	if !ok {
		part := (total + n - 1) / n
		if c.Opset < 18 && part*n != total {
			return fmt.Errorf("size %d does not split into %d equal parts", total, n)
		}
		for i := range n {
			sizes = append(sizes, min(part, max(0, total-i*part)))
		}
	}
	if len(sizes) != n {
		return fmt.Errorf("%d sizes for %d outputs", len(sizes), n)
	}
	at := 0
	for i, s := range sizes {
		if s < 0 || at+s > total {
			return fmt.Errorf("sizes %v do not fit %d", sizes, total)
		}
		if err := part(c, i, x, ax, at, s); err != nil {
			return err
		}
		at += s
	}
	if at != total {
		return fmt.Errorf("sizes %v do not add up to %d", sizes, total)
	}
	return nil
}

// part makes output i the elements from lo on along axis ax.
func part(c *Call, i int, x *model.Tensor, ax, lo, n int) error {
	shape := append([]int(nil), x.Shape()...)
	shape[ax] = n
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(i, x.DType(), shape)
	if err != nil {
		return err
	}
	inner := product(shape[ax+1:])
	if product(shape) > 0 {
		dst.copyRows(0, src, lo*inner, n*inner, product(shape[:ax]), n*inner, x.Shape()[ax]*inner, kernel.Streams(len(dst.b), len(dst.b), 1))
	}
	return done()
}

func opSlice(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	var lists [4][]int // starts, ends, axes, steps
	for i, name := range [4]string{"starts", "ends", "axes", "steps"} {
		if lists[i], _, err = c.intsFrom(name, i+1, 10); err != nil {
			return err
		}
	}
	starts, ends, axs, steps := lists[0], lists[1], lists[2], lists[3]
	if len(ends) != len(starts) || axs != nil && len(axs) != len(starts) || steps != nil && len(steps) != len(starts) {
		return fmt.Errorf("starts %v, ends %v, axes %v and steps %v differ in length", starts, ends, axs, steps)
	}
	shape, str := c.intsLike(x.Shape()), stridesIn(c.ints(x.Rank()), x.Shape())
	off := 0
	for i := range starts {
		ax, step := i, 1
		if axs != nil {
			ax = axs[i]
		}
		if ax, err = axis(ax, x.Rank()); err != nil {
			return err
		}
		if steps != nil {
			step = steps[i]
		}
		if step == 0 {
			return fmt.Errorf("step 0")
		}
		lo, n := sliceRange(starts[i], ends[i], step, shape[ax])
		off += lo * str[ax]
		shape[ax] = n
		str[ax] *= step
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	dst.gatherStrided(shape, str, src, off)
	return done()
}

// sliceRange clips a range as NumPy does and returns its first position and its length.
func sliceRange(lo, hi, step, n int) (first, count int) {
	fix := func(v, min0, max0 int) int {
		if v < 0 {
			v = max(v, -n-1) + n
		}
		return min(max(v, min0), max0)
	}
	if step > 0 {
		lo, hi = fix(lo, 0, n), fix(hi, 0, n)
		if hi <= lo {
			return 0, 0
		}
		return lo, (hi-lo-1)/step + 1
	}
	lo, hi = fix(lo, -1, n-1), fix(hi, -1, n-1)
	if hi >= lo {
		return 0, 0
	}
	if step < -n {
		return lo, 1
	}
	return lo, (lo-hi-1)/-step + 1
}

func opExpand(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	t, err := c.Need(1)
	if err != nil {
		return err
	}
	want, err := ints(t)
	if err != nil {
		return err
	}
	for _, d := range want {
		if d < 0 {
			return fmt.Errorf("shape %v is invalid", want)
		}
	}
	shape, err := broadcastShape(x.Shape(), want)
	if err != nil {
		return err
	}
	if sameShape(shape, x.Shape()) {
		c.Set(0, x)
		return nil
	}
	return copyStrided(c, x, shape, broadcastStrides(x.Shape(), shape), 0)
}

// copyStrided makes output 0 from x read with strides.
func copyStrided(c *Call, x *model.Tensor, shape, str []int, off int) error {
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	dst.gatherStrided(shape, str, src, off)
	return done()
}

func opTile(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	t, err := c.Need(1)
	if err != nil {
		return err
	}
	reps, err := ints(t)
	if err != nil {
		return err
	}
	r := x.Rank()
	if len(reps) != r {
		return fmt.Errorf("repeats %v do not fit rank %d", reps, r)
	}
	// Each dimension becomes two, the repeats with stride 0 outside.
	old := strides(x.Shape())
	shape, wide, str := make([]int, r), make([]int, 0, 2*r), make([]int, 0, 2*r)
	for i, n := range reps {
		if n < 0 {
			return fmt.Errorf("repeats %v are invalid", reps)
		}
		if n > maxTensorBytes {
			return fmt.Errorf("repeats %v: %w", reps, ErrMemory)
		}
		shape[i] = n * x.Shape()[i]
		wide = append(wide, n, x.Shape()[i])
		str = append(str, 0, old[i])
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	dst.gatherStrided(wide, str, src, 0)
	return done()
}
