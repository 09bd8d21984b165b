package kernel

import "math"

// softmaxLanes is the number of partial sums of the exponentials in a row: element i goes to sum i mod 16.
const softmaxLanes = 16

// SoftmaxRows sets every row of dst to softmax(scale*row + mask) for src [rows,n]. mask is nil, [n] (for every row)
// or [rows,n]; scale*x + mask is fused. Row maximum first, then e^(x-max), their sum over 16 partial sums folded in
// halves, and one multiplication by 1/sum. A row of -Inf alone, or one with a NaN, gives NaN. dst may be src.
//
// An element is within 12 + ln n + n/16 + |x-max| ULP of the softmax of the x that it is computed from: the rounding of x-max,
// at most 2^-24 |x-max|, changes its exponential by as many ULP, which is within 1 ULP itself; in the sum such errors weigh as the
// exponentials do, so that they are at most the entropy of the row, ln n, and every partial sum rounds n/16 times; the
// reciprocal and the product follow.
func SoftmaxRows(dst, src []float32, rows, n int, scale float32, mask []float32) {
	checkRows(rows, n, dst, src)
	stride := maskStride(mask, rows, n)
	if rows*n == 0 || mask == nil && softmaxVec(&dst[0], &src[0], n, rows, 0, scale) ||
		mask != nil && softmaxMaskVec(&dst[0], &src[0], &mask[0], n, rows, stride, scale) {
		return
	}
	for r := range rows {
		d, m := dst[r*n:(r+1)*n], scaleMask(dst, src, mask, r, n, stride, scale)
		MulS(d, d, 1/expSum(d, d, m))
	}
}

// SoftmaxPart is the softmax of rows that come in parts (Milakov and Gimelshein, "Online normalizer calculation for
// softmax", 2018). It sets row r of p [rows,n] to e^(x-m), x = scale*p + mask, where m is the largest x of row r in this
// part and in those before, which most[r] held (-Inf at first) and now holds. factor[r] = e^(most before - m) is what sums of
// the parts before are to be multiplied by, as sum[r], the sum of e^(x-m) so far (0 at first), is here. Row r of the mask is
// mask[r*stride:][:n], nil for none. A row that is -Inf so far gives zeros and the factor 1; a NaN makes sum[r] NaN.
// After the last part p/sum are the elements of SoftmaxRows, up to the rounding of the factors.
func SoftmaxPart(p []float32, rows, n int, scale float32, mask []float32, stride int, most, sum, factor []float32) {
	checkRows(rows, n, p)
	if len(most) < rows || len(sum) < rows || len(factor) < rows || mask != nil && rows > 0 && len(mask) < (rows-1)*stride+n {
		panic(badRowLen)
	}
	for r := range rows {
		factor[r] = 1
		if n == 0 {
			continue
		}
		row := p[r*n : (r+1)*n]
		m := scaleMask(p, p, mask, r, n, stride, scale)
		if most[r] > m || most[r] != most[r] {
			m = most[r]
		}
		if m == float32(math.Inf(-1)) {
			if s := Sum(row); s != s { // a NaN that the maximum passed over
				sum[r] = s
			}
			clear(row)
			continue
		}
		if most[r] != m {
			factor[r] = expf(most[r] - m)
		}
		sum[r] = float32(sum[r]*factor[r]) + expSum(row, row, m)
		most[r] = m
	}
}

// LogSoftmaxRows sets every row of dst to (x-max) - log(sum e^(x-max)), x = scale*row + mask, as in SoftmaxRows.
func LogSoftmaxRows(dst, src []float32, rows, n int, scale float32, mask []float32) {
	checkRows(rows, n, dst, src)
	stride := maskStride(mask, rows, n)
	for r := range rows {
		d, m := dst[r*n:(r+1)*n], scaleMask(dst, src, mask, r, n, stride, scale)
		SubS(d, d, m)
		SubS(d, d, logf(expSum(nil, d, 0)))
	}
}

// SoftmaxGradRows sets dx = scale y (dy - sum_j dy_j y_j) for every row, where y = SoftmaxRows(x) [rows,n]: the
// gradient of x from that of y. dx may be dy or y.
func SoftmaxGradRows(dx, dy, y []float32, rows, n int, scale float32) {
	checkRows(rows, n, dx, dy, y)
	for r := range rows {
		d, g, v := dx[r*n:(r+1)*n], dy[r*n:(r+1)*n], y[r*n:(r+1)*n]
		s := Dot(g, v)
		if n > 0 && !softmaxGradVec(&d[0], &g[0], &v[0], n, s, scale) {
			for i, gi := range g {
				d[i] = float32((gi-s)*v[i]) * scale
			}
		}
	}
}

// LogSoftmaxGradRows sets dx = scale (dy - e^y sum_j dy_j) for every row, where y = LogSoftmaxRows(x) [rows,n].
// dx may be dy, not y.
func LogSoftmaxGradRows(dx, dy, y []float32, rows, n int, scale float32) {
	checkRows(rows, n, dx, dy, y)
	var e [128]float32
	for r := range rows {
		s := Sum(dy[r*n : (r+1)*n])
		for c := 0; c < n; c += len(e) {
			lo, hi := r*n+c, r*n+min(c+len(e), n)
			t := e[:hi-lo]
			Exp(t, y[lo:hi])
			copy(dx[lo:hi], dy[lo:hi])
			Axpy(-s, t, dx[lo:hi])
			MulS(dx[lo:hi], dx[lo:hi], scale)
		}
	}
}

func checkRows(rows, n int, xs ...[]float32) {
	for _, x := range xs {
		if rows < 0 || n < 0 || len(x) != rows*n {
			panic(badRowLen)
		}
	}
}

// maskStride returns how far the mask advances per row.
func maskStride(mask []float32, rows, n int) int {
	switch {
	case mask == nil || len(mask) == n:
		return 0
	case len(mask) == rows*n:
		return n
	}
	panic(badRowLen)
}

// scaleMask writes scale*x + mask of row r to dst and returns its maximum.
func scaleMask(dst, src, mask []float32, r, n, stride int, scale float32) float32 {
	if n == 0 {
		return 0
	}
	d, x := dst[r*n:(r+1)*n], src[r*n:(r+1)*n]
	if mask == nil {
		if m, ok := scaleMaxVec(&d[0], &x[0], n, scale); ok {
			return m
		}
		for i, v := range x {
			d[i] = v * scale
		}
	} else {
		mk := mask[r*stride : r*stride+n]
		if m, ok := scaleMaskMaxVec(&d[0], &x[0], &mk[0], n, scale); ok {
			return m
		}
		for i, v := range x {
			d[i] = Fma32(v, scale, mk[i])
		}
	}
	return reduce(d, float32(math.Inf(-1)), maxNaN)
}

// expSum sets dst = e^(src-m) unless dst is nil, and returns the sum.
func expSum(dst, src []float32, m float32) float32 {
	n := len(src)
	if n == 0 {
		return 0
	}
	if dst == nil {
		if s, ok := expSumVec(&src[0], n, m); ok {
			return s
		}
	} else if s, ok := expStoreSumVec(&dst[0], &src[0], n, m); ok {
		return s
	}
	var p [softmaxLanes]float32
	for i, v := range src {
		e := expf(v - m)
		if dst != nil {
			dst[i] = e
		}
		p[i%softmaxLanes] += e
	}
	return fold(p[:], addf)
}
