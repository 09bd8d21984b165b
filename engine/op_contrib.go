package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// contribOps are the operators of transformer models that ONNX Runtime's optimizer and exporters write: those of
// com.microsoft as its contrib_ops documentation defines them, and SimplifiedLayerNormalization, which it keeps in the
// default domain.
func contribOps() map[string]opDef {
	t := qualify("com.microsoft", map[string]opDef{
		"FusedMatMul":                      float(opFusedMatMul),
		"TransposeMatMul":                  float(opFusedMatMul),
		"SkipLayerNormalization":           {run: opSkipLayerNorm, half: true, stats: true},
		"SkipSimplifiedLayerNormalization": {run: opSkipRMSNorm, half: true, stats: true},
		"EmbedLayerNormalization":          float(opEmbedLayerNorm),
		"MultiHeadAttention":               float(opMultiHeadAttention),
		"GroupQueryAttention":              float(opGroupQueryAttention),
		"Attention":                        {run: opContribAttention, half: true, prep: prepMatMul},
		"RotaryEmbedding":                  float(opContribRotary),
	})
	t["::SimplifiedLayerNormalization"] = opDef{run: opSimplifiedLayerNorm, half: true, stats: true}
	return t
}

// opFusedMatMul is alpha op(A) op(B): transA and transB swap the last two dimensions, transBatchA and transBatchB move
// the first dimension before the last.
func opFusedMatMul(c *Call) error {
	n := c.Node
	in, shape := make([]*model.Tensor, 2), make([][]int, 2)
	var trans [2]bool
	for i, side := range []string{"A", "B"} {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		r := t.Rank()
		if n.Int("transBatch"+side, 0) != 0 && r > 2 {
			perm := make([]int, 0, r)
			for k := 1; k < r-1; k++ {
				perm = append(perm, k)
			}
			tmp := &Call{Node: n, arena: c.arena, in: []slot{{t: t}}}
			if err := transposeTo(tmp, 0, t, append(perm, 0, r-1)); err != nil {
				return err
			}
			if tmp.out[0].buf != nil {
				c.bufs = append(c.bufs, tmp.out[0].buf)
			}
			t = tmp.out[0].t
		}
		in[i], shape[i] = t, append([]int(nil), t.Shape()...)
		if trans[i] = n.Int("trans"+side, 0) != 0 && r >= 2; trans[i] {
			shape[i][r-2], shape[i][r-1] = shape[i][r-1], shape[i][r-2]
		}
	}
	s, err := newMatmulShape(shape[0], shape[1])
	if err != nil {
		return err
	}
	alpha := n.Float("alpha", 1)
	if in[0].DType() != in[1].DType() {
		return fmt.Errorf("inputs have types %s and %s: %w", in[0].DType(), in[1].DType(), model.ErrType)
	}
	if in[0].DType() == model.Float64 {
		return fusedMatMul64(c, in, trans, s, float64(alpha))
	}
	if in[0].DType() != model.Float32 {
		return typeError(in[0])
	}
	x, err := model.Data[float32](in[0])
	if err != nil {
		return err
	}
	y, err := model.Data[float32](in[1])
	if err != nil {
		return err
	}
	z, err := Out[float32](c, 0, s.out)
	if err != nil || len(z) == 0 {
		return err
	}
	if s.k == 0 || alpha == 0 {
		clear(z)
		return nil
	}
	lda, ldb := s.k, s.n
	if trans[0] {
		lda = s.m
	}
	if trans[1] {
		ldb = s.k
	}
	c.NoteISA("matmul", s.macs(), 0)
	ep := kernel.Epilogue{Alpha: alpha}
	batch := product(s.batch)
	if batch == 1 || !trans[0] && product(s.sb) == 0 && len(y) == s.k*s.n {
		kernel.MatMulF32(c.pool, len(z)/s.n, s.n, s.k, x, lda, trans[0], y, ldb, trans[1], z, s.n, ep)
		return nil
	}
	l := newLoops(s.batch, s.sa, s.sb)
	var o [2]int
	for i := range batch {
		w := l.inner()
		l.offsets(i/w, o[:])
		oa := (o[0] + i%w*l.str[0][len(l.dims)-1]) * s.m * s.k
		ob := (o[1] + i%w*l.str[1][len(l.dims)-1]) * s.k * s.n
		kernel.MatMulF32(c.pool, s.m, s.n, s.k, x[oa:oa+s.m*s.k], lda, trans[0], y[ob:ob+s.k*s.n], ldb, trans[1], z[i*s.m*s.n:(i+1)*s.m*s.n], s.n, ep)
	}
	return nil
}

// fusedMatMul64 is FusedMatMul of float64.
func fusedMatMul64(c *Call, in []*model.Tensor, trans [2]bool, s matmulShape, alpha float64) error {
	var v [2][]float64
	for i, t := range in {
		x, err := model.Data[float64](t)
		if err != nil {
			return err
		}
		if v[i] = x; !trans[i] {
			continue
		}
		r := t.Rank()
		rows, cols := t.Shape()[r-2], t.Shape()[r-1]
		v[i] = Scratch[float64](c, len(x))
		for at := 0; rows*cols > 0 && at < len(x); at += rows * cols {
			for a := range rows {
				for b := range cols {
					v[i][at+b*rows+a] = x[at+a*cols+b]
				}
			}
		}
	}
	z, err := Out[float64](c, 0, s.out)
	if err != nil || len(z) == 0 {
		return err
	}
	clear(z)
	l := newLoops(s.batch, s.sa, s.sb)
	w := l.inner()
	var o [2]int
	for i := range product(s.batch) {
		l.offsets(i/w, o[:])
		oa := (o[0] + i%w*l.str[0][len(l.dims)-1]) * s.m * s.k
		ob := (o[1] + i%w*l.str[1][len(l.dims)-1]) * s.k * s.n
		gemmPlain(z[i*s.m*s.n:(i+1)*s.m*s.n], v[0][oa:oa+s.m*s.k], v[1][ob:ob+s.k*s.n], s.m, s.n, s.k)
	}
	for i := range z {
		z[i] *= alpha
	}
	return nil
}

// rowsOf returns x as float32 rows of its last dimension.
func rowsOf(x *model.Tensor) (v []float32, rows, n int, err error) {
	if x.DType() != model.Float32 {
		return nil, 0, 0, typeError(x)
	}
	if x.Rank() == 0 || x.Shape()[x.Rank()-1] == 0 {
		return nil, 0, 0, errShape("input", x, "[... N], N > 0")
	}
	n = x.Shape()[x.Rank()-1]
	v, err = model.Data[float32](x)
	return v, len(v) / n, n, err
}

// skipSum returns input + skip (+ bias): the skip may lack the batch; it also makes output 3 where that is wanted.
func skipSum(c *Call, bias int) (sum []float32, rows, n int, err error) {
	x, err := c.Need(0)
	if err != nil {
		return nil, 0, 0, err
	}
	skip, err := c.Need(1)
	if err != nil {
		return nil, 0, 0, err
	}
	v, rows, n, err := rowsOf(x)
	if err != nil {
		return nil, 0, 0, err
	}
	w, err := model.Data[float32](skip)
	if err != nil {
		return nil, 0, 0, err
	}
	if r := skip.Rank(); r < 1 || skip.Shape()[r-1] != n || len(w) == 0 && len(v) > 0 || len(w) > 0 && len(v)%len(w) != 0 {
		return nil, 0, 0, errShape("skip", skip, fmt.Sprintf("one that broadcasts to %v", x.Shape()))
	}
	b, err := biasOf(c, bias, n)
	if err != nil {
		return nil, 0, 0, err
	}
	if c.Wants(3) {
		if sum, err = Out[float32](c, 3, x.Shape()); err != nil {
			return nil, 0, 0, err
		}
	} else {
		sum = Scratch[float32](c, len(v))
	}
	rowsParallel(c.pool, rows, n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			d := sum[r*n : (r+1)*n]
			at := r * n % len(w)
			kernel.Add(d, v[r*n:(r+1)*n], w[at:at+n])
			if b != nil {
				kernel.Add(d, d, b)
			}
		}
	})
	return sum, rows, n, nil
}

// rowStats makes output i as [..., 1] like x, nil when it is not wanted.
func rowStats(c *Call, i int, x *model.Tensor) ([]float32, error) {
	if !c.Wants(i) {
		return nil, nil
	}
	shape := append([]int(nil), x.Shape()...)
	shape[len(shape)-1] = 1
	return Out[float32](c, i, shape)
}

// subslice returns s[lo:hi] of a slice that may be nil.
func subslice(s []float32, lo, hi int) []float32 {
	if s == nil {
		return nil
	}
	return s[lo:hi]
}

// normRows normalises the rows of sum into output 0: LayerNorm with beta, or RMSNorm; outputs 1 and 2 are the mean and
// 1/deviation.
func normRows(c *Call, sum, gamma, beta []float32, rows, n int, rms bool) error {
	dst, err := Out[float32](c, 0, c.In[0].Shape())
	if err != nil {
		return err
	}
	mean, err := rowStats(c, 1, c.In[0])
	if err != nil {
		return err
	}
	clear(mean)
	inv, err := rowStats(c, 2, c.In[0])
	if err != nil {
		return err
	}
	eps := c.Node.Float("epsilon", 1e-12)
	rowsParallel(c.pool, rows, 4*n, func(lo, hi int) {
		if rms {
			kernel.RMSNormRows(dst[lo*n:hi*n], sum[lo*n:hi*n], gamma, hi-lo, n, eps, subslice(inv, lo, hi))
			return
		}
		kernel.LayerNormRows(dst[lo*n:hi*n], sum[lo*n:hi*n], nil, nil, gamma, beta, hi-lo, n, eps, subslice(mean, lo, hi), subslice(inv, lo, hi))
	})
	return nil
}

// opSkipLayerNorm is LayerNorm(input + skip + bias) gamma + beta: input, skip, gamma, beta, bias.
func opSkipLayerNorm(c *Call) error {
	sum, rows, n, err := skipSum(c, 4)
	if err != nil {
		return err
	}
	g, err := vectors[float32](c, n, 2)
	if err != nil {
		return err
	}
	beta, err := biasOf(c, 3, n)
	if err != nil {
		return err
	}
	return normRows(c, sum, g[0], beta, rows, n, false)
}

// opSkipRMSNorm is RMSNorm(input + skip + bias) gamma: input, skip, gamma, bias.
func opSkipRMSNorm(c *Call) error {
	sum, rows, n, err := skipSum(c, 3)
	if err != nil {
		return err
	}
	g, err := vectors[float32](c, n, 2)
	if err != nil {
		return err
	}
	return normRows(c, sum, g[0], nil, rows, n, true)
}

// opSimplifiedLayerNorm is RMSNorm over the dimensions from axis on: X, scale; output 1 is 1/deviation.
func opSimplifiedLayerNorm(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(-1, x.Rank())
	if err != nil {
		return err
	}
	n, rows := product(x.Shape()[ax:]), product(x.Shape()[:ax])
	if x.DType() != model.Float32 || n == 0 {
		return typeError(x)
	}
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	g, err := vectors[float32](c, n, 1)
	if err != nil {
		return err
	}
	dst, err := Out[float32](c, 0, x.Shape())
	if err != nil {
		return err
	}
	var inv []float32
	if c.Wants(1) {
		stat := append([]int(nil), x.Shape()[:ax]...)
		for range x.Shape()[ax:] {
			stat = append(stat, 1)
		}
		if inv, err = Out[float32](c, 1, stat); err != nil {
			return err
		}
	}
	eps := c.Node.Float("epsilon", 1e-5)
	rowsParallel(c.pool, rows, 4*n, func(lo, hi int) {
		kernel.RMSNormRows(dst[lo*n:hi*n], src[lo*n:hi*n], g[0], hi-lo, n, eps, subslice(inv, lo, hi))
	})
	return nil
}
