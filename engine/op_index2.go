package engine

import (
	"fmt"
	"sort"
	"unsafe"

	"github.com/wattshed/wattshed/model"
)

// bytesAs views bytes as elements.
func bytesAs[T number](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(z)))
}

func opNonZero(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	v, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	var hits []int
	for i, e := range v {
		if e != 0 {
			hits = append(hits, i)
		}
	}
	r := x.Rank()
	dst, err := Out[int64](c, 0, []int{r, len(hits)})
	if err != nil {
		return err
	}
	str := strides(x.Shape())
	for j, at := range hits {
		for k := range r {
			dst[k*len(hits)+j] = int64(at / str[k])
			at %= str[k]
		}
	}
	return nil
}

func opOneHot(c *Call) error {
	it, err := c.Need(0)
	if err != nil {
		return err
	}
	dt, err := c.Need(1)
	if err != nil {
		return err
	}
	vt, err := c.Need(2)
	if err != nil {
		return err
	}
	d, err := scalarFloat(dt)
	if err != nil {
		return err
	}
	depth := int(d)
	idx, err := c.toFloat64(it)
	if err != nil {
		return err
	}
	if vt.Len() != 2 || depth < 0 {
		return errShape("values", vt, "[2]")
	}
	ax, err := axis(int(c.Node.Int("axis", -1)), it.Rank()+1)
	if err != nil {
		return err
	}
	shape := append([]int{}, it.Shape()[:ax]...)
	shape = append(append(shape, depth), it.Shape()[ax:]...)
	vals, err := elemsOf(vt)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, vt.DType(), shape)
	if err != nil {
		return err
	}
	inner := product(it.Shape()[ax:])
	for i := range product(shape) {
		dst.copy(i, vals, 0, 1)
	}
	for i, f := range idx {
		v := int(f)
		if v < 0 {
			v += depth
		}
		if v >= 0 && v < depth {
			dst.copy((i/inner*depth+v)*inner+i%inner, vals, 1, 1)
		}
	}
	return done()
}

func opTopK(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	k := int(c.Node.Int("k", -1))
	if c.Opset >= 10 {
		t, err := c.Need(1)
		if err != nil {
			return err
		}
		if k, err = scalarInt(t); err != nil {
			return err
		}
	}
	ax, err := c.axisAttr(-1, x.Rank())
	if err != nil {
		return err
	}
	n := x.Shape()[ax]
	if k < 0 || k > n {
		return fmt.Errorf("k %d is outside of %d", k, n)
	}
	v, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	largest := c.Node.Int("largest", 1) != 0
	shape := append([]int{}, x.Shape()...)
	shape[ax] = k
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	at, err := Out[int64](c, 1, shape)
	if err != nil {
		return err
	}
	inner := product(x.Shape()[ax+1:])
	order := make([]int, n)
	for o := range product(x.Shape()[:ax]) {
		for in := range inner {
			base := o*n*inner + in
			for i := range order {
				order[i] = i
			}
			sort.SliceStable(order, func(a, b int) bool {
				p, q := v[base+order[a]*inner], v[base+order[b]*inner]
				if largest {
					return p > q || p != p && q == q
				}
				return p < q || q != q && p == p
			})
			for i := range k {
				to := (o*k+i)*inner + in
				dst.copy(to, src, base+order[i]*inner, 1)
				at[to] = int64(order[i])
			}
		}
	}
	return done()
}

func opCumSum(c *Call) error { return cumulate(c, opAdd) }

func opCumProd(c *Call) error { return cumulate(c, opMul) }

func cumulate(c *Call, op binaryOp) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	at, err := c.Need(1)
	if err != nil {
		return err
	}
	a, err := scalarInt(at)
	if err != nil {
		return err
	}
	ax, err := axis(a, x.Rank())
	if err != nil {
		return err
	}
	switch x.DType() {
	case model.Float32:
		return cumulateTyped[float32](c, x, ax, op)
	case model.Float64:
		return cumulateTyped[float64](c, x, ax, op)
	case model.Int32:
		return cumulateTyped[int32](c, x, ax, op)
	case model.Int64:
		return cumulateTyped[int64](c, x, ax, op)
	case model.Uint32:
		return cumulateTyped[uint32](c, x, ax, op)
	case model.Uint64:
		return cumulateTyped[uint64](c, x, ax, op)
	}
	return typeError(x)
}

func cumulateTyped[T number](c *Call, x *model.Tensor, ax int, op binaryOp) error {
	src, err := model.Data[T](x)
	if err != nil {
		return err
	}
	dst, err := Out[T](c, 0, x.Shape())
	if err != nil || len(dst) == 0 {
		return err
	}
	excl, rev := c.Node.Int("exclusive", 0) != 0, c.Node.Int("reverse", 0) != 0
	n, inner := x.Shape()[ax], product(x.Shape()[ax+1:])
	f := scalarOp[T](op)
	for o := range len(src) / (n * inner) {
		for in := range inner {
			var acc T
			if op == opMul {
				acc = 1
			}
			for i := range n {
				if rev {
					i = n - 1 - i
				}
				p := (o*n+i)*inner + in
				next := f(acc, src[p])
				if excl {
					dst[p] = acc
				} else {
					dst[p] = next
				}
				acc = next
			}
		}
	}
	return nil
}
