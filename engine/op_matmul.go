package engine

import (
	"errors"
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// matmulOps are products of matrices.
func matmulOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"MatMul": {run: opMatMul, half: true, prep: prepMatMul},
		"Gemm":   {run: opGemm, half: true, prep: prepGemm},
		"Einsum": float(opEinsum),
	})
}

// prepMatMul packs a constant matrix on the right.
func prepMatMul(p *prep) (any, error) {
	w, err := packRight(p, 1, false)
	if w == nil || err != nil {
		return nil, err
	}
	return &rightState{w}, nil
}

// packRight packs input i when it is a constant matrix of float32 or half precision; nil otherwise.
func packRight(p *prep, i int, trans bool) (*packedMatrix, error) {
	t := p.constant(i)
	if t == nil || t.Rank() != 2 || t.DType() != model.Float32 && !isHalf(t) || t.Len() == 0 {
		return nil, nil
	}
	t = p.c.stored(t)
	kind := "right"
	if trans {
		kind = "transposed right"
	}
	return pack(p, t, kind, func() (*packedMatrix, int64, error) {
		k, n := t.Shape()[0], t.Shape()[1]
		if trans {
			k, n = n, k
		}
		w, err := packMatrix(t, k, n, trans)
		if err != nil {
			return nil, 0, err
		}
		w.round = w.half != nil && w.half.Kind == kernel.BF16 && !p.c.opts.Exact && !p.c.opts.NoFusion
		return w, w.bytes(), nil
	})
}

// rightState holds a packed matrix.
type rightState struct{ w *packedMatrix }

func (*rightState) packedWeight() {}
func (*gemmState) packedWeight()  {}

// packed returns what prep packed, or nil.
func (c *Call) packed() *packedMatrix {
	if c.st == nil {
		return nil
	}
	if s, ok := c.st.state.(*rightState); ok {
		return s.w
	}
	return nil
}

// matmulShape describes a batched product: C[batch..., m, n].
type matmulShape struct {
	m, n, k int
	batch   []int
	sa, sb  []int // strides of the batch dimensions, in matrices
	out     []int
}

func newMatmulShape(a, b []int) (matmulShape, error) {
	var s matmulShape
	if len(a) == 0 || len(b) == 0 {
		return s, fmt.Errorf("a scalar has no matrix product")
	}
	a2, b2 := a, b
	if len(a) == 1 {
		a2 = []int{1, a[0]}
	}
	if len(b) == 1 {
		b2 = []int{b[0], 1}
	}
	ra, rb := len(a2), len(b2)
	s.m, s.k, s.n = a2[ra-2], a2[ra-1], b2[rb-1]
	if b2[rb-2] != s.k {
		return s, fmt.Errorf("shapes %v and %v do not multiply", a, b)
	}
	var err error
	if s.batch, err = broadcastShape(a2[:ra-2], b2[:rb-2]); err != nil {
		return s, fmt.Errorf("shapes %v and %v do not multiply: %w", a, b, err)
	}
	s.sa, s.sb = broadcastStrides(a2[:ra-2], s.batch), broadcastStrides(b2[:rb-2], s.batch)
	s.out = append([]int{}, s.batch...)
	if len(a) > 1 {
		s.out = append(s.out, s.m)
	}
	if len(b) > 1 {
		s.out = append(s.out, s.n)
	}
	return s, nil
}

// productTime is the time of a product [m k] [k n] of matrices that are not packed, on one thread, in nanoseconds: of its call, of reading the second
// matrix, and of its multiply-adds, as measured with AVX-512 on an AMD EPYC Zen 4 for [1 64] [64 64] to [128 64] [64 128], within a third.
func productTime(m, n, k int) int { return 100 + n*k*(2+m)/64 }

func (s *matmulShape) macs() int64 {
	return int64(product(s.batch)) * int64(s.m) * int64(s.n) * int64(s.k)
}

func opMatMul(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	if a.DType() != b.DType() {
		return fmt.Errorf("inputs have types %s and %s: %w", a.DType(), b.DType(), model.ErrType)
	}
	s, err := newMatmulShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	switch a.DType() {
	case model.Float32:
		return matmulFloat32(c, a, b, s, kernel.Epilogue{})
	case model.Float64:
		return matmulPlain[float64](c, a, b, s)
	case model.Int32:
		return matmulPlain[int32](c, a, b, s)
	case model.Int64:
		return matmulPlain[int64](c, a, b, s)
	case model.Uint32:
		return matmulPlain[uint32](c, a, b, s)
	case model.Uint64:
		return matmulPlain[uint64](c, a, b, s)
	}
	return typeError(a)
}

// matmulFloat32 multiplies float32 matrices. With a packed right side all leading dimensions of a are rows; a row of a
// product never depends on the others, so the bits are the same.
func matmulFloat32(c *Call, a, b *model.Tensor, s matmulShape, ep kernel.Epilogue) error {
	x, err := model.Data[float32](a)
	if err != nil {
		return err
	}
	z, err := Out[float32](c, 0, s.out)
	if err != nil || len(z) == 0 {
		return err
	}
	if s.k == 0 {
		clear(z)
		return nil
	}
	if w := c.packed(); w != nil {
		c.noteMatrix(w, s.macs())
		w.mul(c.pool, len(z)/s.n, x, s.k, z, s.n, ep)
		return nil
	}
	y, err := model.Data[float32](b)
	if err != nil {
		return err
	}
	c.NoteISA("matmul", s.macs(), 0)
	batch := product(s.batch)
	if batch == 1 || product(s.sb) == 0 && len(y) == s.k*s.n {
		kernel.MatMulF32(c.pool, len(z)/s.n, s.n, s.k, x, s.k, false, y, s.n, false, z, s.n, ep)
		return nil
	}
	l := newLoops(s.batch, s.sa, s.sb)
	one := func(p *kernel.Pool, i int) {
		var o [2]int
		n := l.inner()
		l.offsets(i/n, o[:])
		oa := (o[0] + i%n*l.str[0][len(l.dims)-1]) * s.m * s.k
		ob := (o[1] + i%n*l.str[1][len(l.dims)-1]) * s.k * s.n
		kernel.MatMulF32(p, s.m, s.n, s.k, x[oa:oa+s.m*s.k], s.k, false, y[ob:ob+s.k*s.n], s.n, false, z[i*s.m*s.n:(i+1)*s.m*s.n], s.n, ep)
	}
	if batch >= 2*c.pool.Threads() {
		return c.each(batch, productTime(s.m, s.n, s.k), func(i int) { one(nil, i) })
	}
	for i := range batch {
		one(c.pool, i)
	}
	return nil
}

func matmulPlain[T number](c *Call, a, b *model.Tensor, s matmulShape) error {
	x, err := model.Data[T](a)
	if err != nil {
		return err
	}
	y, err := model.Data[T](b)
	if err != nil {
		return err
	}
	z, err := Out[T](c, 0, s.out)
	if err != nil || len(z) == 0 {
		return err
	}
	clear(z)
	l := newLoops(s.batch, s.sa, s.sb)
	n := l.inner()
	var o [2]int
	for i := range product(s.batch) {
		l.offsets(i/n, o[:])
		oa := (o[0] + i%n*l.str[0][len(l.dims)-1]) * s.m * s.k
		ob := (o[1] + i%n*l.str[1][len(l.dims)-1]) * s.k * s.n
		if err := c.gemmPlain(func(lo, hi int) {
			gemmPlain(z[(i*s.m+lo)*s.n:(i*s.m+hi)*s.n], x[oa+lo*s.k:oa+hi*s.k], y[ob:ob+s.k*s.n], hi-lo, s.n, s.k)
		}, s.m); err != nil {
			return err
		}
	}
	return nil
}

// gemmPlain calls f for groups of m rows until the run is cancelled.
func (c *Call) gemmPlain(f func(lo, hi int), m int) error {
	for lo := 0; lo < m; lo += 16 {
		if err := c.canceled(); err != nil {
			return err
		}
		f(lo, min(m, lo+16))
	}
	return nil
}

// gemmPlain adds A[m,k] B[k,n] to C, in order of k.
func gemmPlain[T number](z, x, y []T, m, n, k int) {
	for i := range m {
		row := z[i*n : (i+1)*n]
		for p, v := range x[i*k : (i+1)*k] {
			for j, w := range y[p*n : (p+1)*n] {
				row[j] += v * w
			}
		}
	}
}

// gemmState is what prepGemm finds at Compile.
type gemmState struct {
	w    *packedMatrix
	bias []float32 // beta times C, when C is a constant row
}

func prepGemm(p *prep) (any, error) {
	if p.node.Int("transA", 0) != 0 {
		return nil, nil
	}
	v, err := packRight(p, 1, p.node.Int("transB", 0) != 0)
	if err != nil || v == nil {
		return nil, err
	}
	s := &gemmState{w: v}
	_, n := v.dims()
	if t := p.constant(2); t != nil && t.DType() == model.Float32 && t.Len() == n && (t.Rank() == 1 || t.Rank() == 2 && t.Shape()[0] == 1) {
		x, err := t.Float32()
		if err != nil {
			return nil, err
		}
		s.bias = append([]float32(nil), x...)
		if beta := p.node.Float("beta", 1); beta != 1 {
			kernel.MulS(s.bias, s.bias, beta)
		}
	}
	return s, nil
}

func opGemm(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	if a.Rank() != 2 || b.Rank() != 2 || a.DType() != b.DType() {
		return fmt.Errorf("inputs are %s%v and %s%v, want two matrices", a.DType(), a.Shape(), b.DType(), b.Shape())
	}
	ta, tb := c.Node.Int("transA", 0) != 0, c.Node.Int("transB", 0) != 0
	m, k := a.Shape()[0], a.Shape()[1]
	if ta {
		m, k = k, m
	}
	kb, n := b.Shape()[0], b.Shape()[1]
	if tb {
		kb, n = n, kb
	}
	if k != kb {
		return fmt.Errorf("shapes %v and %v do not multiply (transA %t, transB %t)", a.Shape(), b.Shape(), ta, tb)
	}
	bias := c.Arg(2)
	if bias != nil {
		if bias.DType() != a.DType() {
			return fmt.Errorf("bias has type %s: %w", bias.DType(), model.ErrType)
		}
		if s, err := broadcastShape(bias.Shape(), []int{m, n}); err != nil || !sameShape(s, []int{m, n}) {
			return errShape("C", bias, fmt.Sprintf("one that broadcasts to [%d %d]", m, n))
		}
	}
	switch a.DType() {
	case model.Float32:
		return gemmFloat32(c, a, b, bias, m, n, k, ta, tb)
	case model.Float64:
		return gemmTyped[float64](c, a, b, bias, m, n, k, ta, tb)
	case model.Int32:
		return gemmTyped[int32](c, a, b, bias, m, n, k, ta, tb)
	case model.Int64:
		return gemmTyped[int64](c, a, b, bias, m, n, k, ta, tb)
	case model.Uint32:
		return gemmTyped[uint32](c, a, b, bias, m, n, k, ta, tb)
	case model.Uint64:
		return gemmTyped[uint64](c, a, b, bias, m, n, k, ta, tb)
	}
	return typeError(a)
}

func gemmFloat32(c *Call, a, b, bias *model.Tensor, m, n, k int, ta, tb bool) error {
	x, err := model.Data[float32](a)
	if err != nil {
		return err
	}
	z, err := Out[float32](c, 0, []int{m, n})
	if err != nil || len(z) == 0 {
		return err
	}
	alpha, beta := c.Node.Float("alpha", 1), c.Node.Float("beta", 1)
	ep := kernel.Epilogue{Alpha: alpha, Act: c.act()}
	var st *gemmState
	if c.st != nil {
		st, _ = c.st.state.(*gemmState)
	}
	later := bias != nil && beta != 0
	if later && beta == 1 && bias.Len() == n && (bias.Rank() < 2 || bias.Shape()[0] == 1) {
		if ep.Bias, err = model.Data[float32](bias); err != nil {
			return err
		}
		later = false
	}
	if st != nil && st.bias != nil {
		ep.Bias, later = st.bias, false
	}
	switch {
	case k == 0 || alpha == 0:
		clear(z)
		for i := range m {
			if ep.Bias != nil {
				copy(z[i*n:(i+1)*n], ep.Bias)
			}
		}
		return errors.Join(gemmLater(later, z, bias, beta, m, n), activateOut(c, ep.Act))
	case st != nil:
		c.noteMatrix(st.w, int64(m)*int64(n)*int64(k))
		st.w.mul(c.pool, m, x, k, z, n, ep)
	default:
		y, err := model.Data[float32](b)
		if err != nil {
			return err
		}
		c.NoteISA("matmul", int64(m)*int64(n)*int64(k), 0)
		kernel.MatMulF32(c.pool, m, n, k, x, a.Shape()[1], ta, y, b.Shape()[1], tb, z, n, ep)
	}
	return gemmLater(later, z, bias, beta, m, n)
}

// gemmLater adds the bias that the epilogue did not.
func gemmLater(later bool, z []float32, bias *model.Tensor, beta float32, m, n int) error {
	if !later {
		return nil
	}
	return addScaled(z, bias, beta, m, n)
}

// addScaled adds beta times the broadcast bias to z[m,n].
func addScaled[T number](z []T, bias *model.Tensor, beta T, m, n int) error {
	v, err := model.Data[T](bias)
	if err != nil {
		return err
	}
	eachBroadcast([]int{m, n}, [][]int{bias.Shape()}, func(i int, off []int) { z[i] += beta * v[off[0]] })
	return nil
}

func gemmTyped[T number](c *Call, a, b, bias *model.Tensor, m, n, k int, ta, tb bool) error {
	x, err := model.Data[T](a)
	if err != nil {
		return err
	}
	y, err := model.Data[T](b)
	if err != nil {
		return err
	}
	z, err := Out[T](c, 0, []int{m, n})
	if err != nil {
		return err
	}
	if ta {
		x = transposed(x, k, m)
	}
	if tb {
		y = transposed(y, n, k)
	}
	clear(z)
	if err := c.gemmPlain(func(lo, hi int) { gemmPlain(z[lo*n:hi*n], x[lo*k:hi*k], y, hi-lo, n, k) }, m); err != nil {
		return err
	}
	alpha, beta := c.Node.Float("alpha", 1), c.Node.Float("beta", 1)
	for i := range z {
		z[i] = T(float64(alpha) * float64(z[i]))
	}
	if bias == nil {
		return nil
	}
	return addScaled(z, bias, T(beta), m, n)
}

// transposed returns the transpose of x[r,k].
func transposed[T number](x []T, r, k int) []T {
	out := make([]T, len(x))
	for i := range r {
		for j := range k {
			out[j*r+i] = x[i*k+j]
		}
	}
	return out
}
