package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// indexOps move elements to or from places given by an input.
func indexOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Gather": plain(opGather), "GatherElements": plain(opGatherElements), "GatherND": plain(opGatherND),
		"Scatter": plain(opScatterElements), "ScatterElements": plain(opScatterElements), "ScatterND": plain(opScatterND),
		"TensorScatter": plain(opTensorScatter), "Compress": plain(opCompress), "NonZero": plain(opNonZero),
		"OneHot": plain(opOneHot), "TopK": float(opTopK), "CumSum": float(opCumSum), "CumProd": float(opCumProd),
	})
}

// index returns position v of a dimension of size n, counting from the end when negative.
func index(v, n int) (int, error) {
	if v < -n || v >= n {
		return 0, fmt.Errorf("index %d is outside of %d", v, n)
	}
	if v < 0 {
		v += n
	}
	return v, nil
}

// alongIndices calls f for every element i of indices with the position in a tensor of the given shape that the
// index along axis ax points to.
func alongIndices(shape []int, ax int, it *model.Tensor, f func(i, at int)) error {
	idx, err := ints(it)
	if err != nil {
		return err
	}
	if it.Rank() != len(shape) {
		return errShape("indices", it, fmt.Sprintf("rank %d", len(shape)))
	}
	for k, d := range it.Shape() {
		if k != ax && d > shape[k] {
			return errShape("indices", it, fmt.Sprintf("one within %v", shape))
		}
	}
	str, is := strides(shape), strides(it.Shape())
	for i, v := range idx {
		v, err := index(v, shape[ax])
		if err != nil {
			return err
		}
		at, rest := v*str[ax], i
		for k := range shape {
			p := rest / is[k]
			rest %= is[k]
			if k != ax {
				at += p * str[k]
			}
		}
		f(i, at)
	}
	return nil
}

func opGatherElements(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	it, err := c.Need(1)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(0, x.Rank())
	if err != nil {
		return err
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), it.Shape())
	if err != nil {
		return err
	}
	if err := alongIndices(x.Shape(), ax, it, func(i, at int) { dst.copy(i, src, at, 1) }); err != nil {
		return err
	}
	return done()
}

func opGatherND(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	it, err := c.Need(1)
	if err != nil {
		return err
	}
	bd := int(c.Node.Int("batch_dims", 0))
	r, q := x.Rank(), it.Rank()
	if bd < 0 || q == 0 || bd >= q || bd > r || !sameShape(x.Shape()[:bd], it.Shape()[:bd]) {
		return fmt.Errorf("batch_dims %d does not fit shapes %v and %v", bd, x.Shape(), it.Shape())
	}
	k := it.Shape()[q-1]
	if bd+k > r {
		return fmt.Errorf("indices of shape %v are too long for %v", it.Shape(), x.Shape())
	}
	idx, err := ints(it)
	if err != nil {
		return err
	}
	shape := append(append([]int{}, it.Shape()[:q-1]...), x.Shape()[bd+k:]...)
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	str := strides(x.Shape())
	inner := product(x.Shape()[bd+k:])
	block := product(x.Shape()[bd:])
	n := product(it.Shape()[:q-1])
	perBatch := product(it.Shape()[bd : q-1])
	for i := range n {
		at := 0
		if perBatch > 0 {
			at = i / perBatch * block
		}
		for j := range k {
			v, err := index(idx[i*k+j], x.Shape()[bd+j])
			if err != nil {
				return err
			}
			at += v * str[bd+j]
		}
		dst.copy(i*inner, src, at, inner)
	}
	return done()
}

// copied makes output i a copy of x that may be changed.
func copied(c *Call, i int, x *model.Tensor) (elems, func() error, error) {
	src, err := elemsOf(x)
	if err != nil {
		return elems{}, nil, err
	}
	dst, done, err := c.outElems(i, x.DType(), x.Shape())
	if err != nil {
		return elems{}, nil, err
	}
	if x.Len() > 0 {
		dst.copy(0, src, 0, x.Len())
	}
	return dst, done, nil
}

func opScatterElements(c *Call) error {
	x, it, u, err := scatterArgs(c)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(0, x.Rank())
	if err != nil {
		return err
	}
	if !sameShape(it.Shape(), u.Shape()) {
		return errShape("updates", u, fmt.Sprint(it.Shape()))
	}
	dst, done, err := copied(c, 0, x)
	if err != nil {
		return err
	}
	src, err := elemsOf(u)
	if err != nil {
		return err
	}
	join, err := joiner(x.DType(), c.Node.Str("reduction", "none"))
	if err != nil {
		return err
	}
	if err := alongIndices(x.Shape(), ax, it, func(i, at int) { join(dst, at, src, i, 1) }); err != nil {
		return err
	}
	return done()
}

func scatterArgs(c *Call) (x, it, u *model.Tensor, err error) {
	if x, err = c.Need(0); err != nil {
		return
	}
	if it, err = c.Need(1); err != nil {
		return
	}
	if u, err = c.Need(2); err != nil {
		return
	}
	if x.DType() != u.DType() {
		err = fmt.Errorf("updates have type %s: %w", u.DType(), model.ErrType)
	}
	return
}

// joiner returns the function that puts n elements of src into dst: by overwriting, adding, ...
func joiner(d model.DType, reduction string) (func(dst elems, at int, src elems, from, n int), error) {
	op, ok := map[string]binaryOp{"add": opAdd, "mul": opMul, "max": opMax, "min": opMin}[reduction]
	if !ok {
		if reduction != "none" {
			return nil, fmt.Errorf("reduction %q: %w", reduction, model.ErrUnsupported)
		}
		return func(dst elems, at int, src elems, from, n int) { dst.copy(at, src, from, n) }, nil
	}
	switch d {
	case model.Float32:
		return joinWith[float32](op), nil
	case model.Float64:
		return joinWith[float64](op), nil
	case model.Int32:
		return joinWith[int32](op), nil
	case model.Int64:
		return joinWith[int64](op), nil
	case model.Uint8:
		return joinWith[uint8](op), nil
	case model.Int8:
		return joinWith[int8](op), nil
	}
	return nil, fmt.Errorf("reduction %q of element type %s: %w", reduction, d, model.ErrUnsupported)
}

func joinWith[T number](op binaryOp) func(dst elems, at int, src elems, from, n int) {
	row := plainRow[T](op)
	return func(dst elems, at int, src elems, from, n int) {
		w := dst.size
		a, b := bytesAs[T](dst.b[at*w:(at+n)*w]), bytesAs[T](src.b[from*w:(from+n)*w])
		row(a, a, b)
	}
}

func opScatterND(c *Call) error {
	x, it, u, err := scatterArgs(c)
	if err != nil {
		return err
	}
	q := it.Rank()
	if q == 0 || it.Shape()[q-1] > x.Rank() {
		return errShape("indices", it, fmt.Sprintf("one that fits %v", x.Shape()))
	}
	k := it.Shape()[q-1]
	if want := append(append([]int{}, it.Shape()[:q-1]...), x.Shape()[k:]...); !sameShape(u.Shape(), want) {
		return errShape("updates", u, fmt.Sprint(want))
	}
	idx, err := ints(it)
	if err != nil {
		return err
	}
	dst, done, err := copied(c, 0, x)
	if err != nil {
		return err
	}
	src, err := elemsOf(u)
	if err != nil {
		return err
	}
	join, err := joiner(x.DType(), c.Node.Str("reduction", "none"))
	if err != nil {
		return err
	}
	str, inner := strides(x.Shape()), product(x.Shape()[k:])
	for i := range product(it.Shape()[:q-1]) {
		at := 0
		for j := range k {
			v, err := index(idx[i*k+j], x.Shape()[j])
			if err != nil {
				return err
			}
			at += v * str[j]
		}
		if inner > 0 {
			join(dst, at, src, i*inner, inner)
		}
	}
	return done()
}

// opTensorScatter writes updates [batch, ..., seq, ...] into a cache at write_indices of each batch entry.
func opTensorScatter(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	u, err := c.Need(1)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(-2, x.Rank())
	if err != nil {
		return err
	}
	if u.Rank() != x.Rank() || ax == 0 || u.DType() != x.DType() {
		return errShape("update", u, fmt.Sprintf("rank %d and axis > 0", x.Rank()))
	}
	for k, d := range u.Shape() {
		if k != ax && d != x.Shape()[k] {
			return errShape("update", u, fmt.Sprintf("%v but for axis %d", x.Shape(), ax))
		}
	}
	batch, size, n := x.Shape()[0], x.Shape()[ax], u.Shape()[ax]
	first := make([]int, batch)
	if t := c.Arg(2); t != nil {
		if first, err = ints(t); err != nil {
			return err
		}
		if len(first) != batch {
			return errShape("write_indices", t, fmt.Sprintf("[%d]", batch))
		}
	}
	circular := c.Node.Str("mode", "linear") == "circular"
	dst, done, err := copied(c, 0, x)
	if err != nil {
		return err
	}
	src, err := elemsOf(u)
	if err != nil {
		return err
	}
	mid, inner := product(x.Shape()[1:ax]), product(x.Shape()[ax+1:])
	for b, w := range first {
		for m := range mid {
			for s := range n {
				p := w + s
				if circular && size > 0 {
					p %= size
				}
				if p < 0 || p >= size {
					return fmt.Errorf("write index %d is outside of %d", p, size)
				}
				dst.copy(((b*mid+m)*size+p)*inner, src, ((b*mid+m)*n+s)*inner, inner)
			}
		}
	}
	return done()
}

func opCompress(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	ct, err := c.Need(1)
	if err != nil {
		return err
	}
	cond, err := model.Data[bool](ct)
	if err != nil {
		return err
	}
	shape, ax := []int{x.Len()}, 0
	if c.Node.Attr("axis") != nil {
		if ax, err = c.axisAttr(0, x.Rank()); err != nil {
			return err
		}
		shape = append([]int{}, x.Shape()...)
	}
	var keep []int
	for i, v := range cond {
		if v {
			if i >= shape[ax] {
				return fmt.Errorf("condition %d is outside of %d", i, shape[ax])
			}
			keep = append(keep, i)
		}
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	n := shape[ax]
	shape[ax] = len(keep)
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	inner := product(shape[ax+1:])
	for o := range product(shape[:ax]) {
		for i, v := range keep {
			dst.copy((o*len(keep)+i)*inner, src, (o*n+v)*inner, inner)
		}
	}
	return done()
}
