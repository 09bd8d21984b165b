package kernel

// LayerNormRows sets every row of dst to (x-mean)/sqrt(var+eps)*gamma + beta, x = src + residual, for [rows,n]; the
// variance is the mean of squared differences (two passes). residual and beta may be nil. If sum is not nil it gets
// x (it may be src or residual). mean and inv, if not nil, get each row's mean and 1/sqrt(var+eps) [rows], which
// LayerNormGradRows wants. dst may be src.
//
// With u = 2^-24, k = n/64 + 7 (the roundings of a sum of n elements over 64 partial sums) and s = 1/sqrt(var+eps), an element
// differs from the exact y by at most u (|gamma| (d + |x-mean| s (k/2 + 6 + u d^2)) + |y|), where d = k s mean(|x|) is what the
// rounding of the mean moves it by.
func LayerNormRows(dst, src, residual, sum, gamma, beta []float32, rows, n int, eps float32, mean, inv []float32) {
	checkRows(rows, n, dst, src)
	checkAffine(gamma, beta, n)
	if residual != nil {
		checkRows(rows, n, residual)
	}
	if sum != nil {
		checkRows(rows, n, sum)
	}
	if rows*n == 0 || mean == nil && inv == nil && beta != nil && layerNormFast(dst, src, residual, sum, gamma, beta, rows, n, eps) {
		return
	}
	for r := range rows {
		d, x := dst[r*n:(r+1)*n], src[r*n:(r+1)*n]
		var mu float32
		if residual == nil {
			mu = Sum(x) / float32(n)
			if sum != nil {
				copy(sum[r*n:(r+1)*n], x)
			}
		} else {
			t := d
			if sum != nil {
				t = sum[r*n : (r+1)*n]
			}
			mu = addSum(t, x, residual[r*n:(r+1)*n]) / float32(n)
			x = t
		}
		is := 1 / sqrtf(sumSqDiff(x, mu)/float32(n)+eps)
		if mean != nil {
			mean[r] = mu
		}
		if inv != nil {
			inv[r] = is
		}
		normAffine(d, x, gamma, beta, mu, is)
	}
}

// layerNormFast is LayerNormRows in one assembly call, where there is one.
func layerNormFast(dst, src, residual, sum, gamma, beta []float32, rows, n int, eps float32) bool {
	switch {
	case residual != nil && sum != nil:
		return layerNormResidualVec(&dst[0], &src[0], &gamma[0], &beta[0], &residual[0], &sum[0], n, rows, 0, float32(n), eps)
	case residual != nil:
		return layerNormResidualVec(&dst[0], &src[0], &gamma[0], &beta[0], &residual[0], &dst[0], n, rows, 0, float32(n), eps)
	case sum != nil:
		return false
	}
	return layerNormVec(&dst[0], &src[0], &gamma[0], &beta[0], n, rows, 0, float32(n), eps)
}

// RMSNormRows sets every row of dst to x/sqrt(mean(x^2)+eps)*gamma for src [rows,n]. inv, if not nil, gets
// 1/sqrt(mean(x^2)+eps) of each row. dst may be src. An element is within n/128 + 10 ULP: half of the roundings of a sum of n
// squares over 64 partial sums, the mean, the root, its reciprocal and two products.
func RMSNormRows(dst, src, gamma []float32, rows, n int, eps float32, inv []float32) {
	checkRows(rows, n, dst, src)
	checkAffine(gamma, nil, n)
	for r := range rows {
		if n == 0 {
			return
		}
		d, x := dst[r*n:(r+1)*n], src[r*n:(r+1)*n]
		is := 1 / sqrtf(Dot(x, x)/float32(n)+eps)
		if inv != nil {
			inv[r] = is
		}
		if !normScaleVec(&d[0], &x[0], &gamma[0], n, is) {
			for i, v := range x {
				d[i] = float32(v*is) * gamma[i]
			}
		}
	}
}

// LayerNormGradRows is the gradient of LayerNormRows: with h = (x-mean)*inv and g = dy*gamma,
// dx = inv (g - mean(g) - h mean(g h)), dgamma += sum dy h, dbeta += sum dy (rows in increasing order). x is the
// normalised row (src + residual); dbeta may be nil; dx may be dy.
func LayerNormGradRows(dx, dgamma, dbeta, dy, x, gamma []float32, rows, n int, mean, inv []float32) {
	checkRows(rows, n, dx, dy, x)
	checkAffine(gamma, nil, n)
	checkAffine(dgamma, dbeta, n)
	if len(mean) < rows || len(inv) < rows {
		panic(badRowLen)
	}
	for r := range rows {
		if n == 0 {
			return
		}
		d, g, v := dx[r*n:(r+1)*n], dy[r*n:(r+1)*n], x[r*n:(r+1)*n]
		if dbeta != nil {
			Add(dbeta, dbeta, g)
		}
		s1, s2 := layerNormGradSums(dgamma, g, v, gamma, mean[r], inv[r])
		layerNormGradApply(d, g, v, gamma, mean[r], inv[r], s1/float32(n), s2/float32(n))
	}
}

// RMSNormGradRows is the gradient of RMSNormRows: with h = x*inv and g = dy*gamma, dx = inv (g - h mean(g h)) and
// dgamma += sum dy h. dx may be dy.
func RMSNormGradRows(dx, dgamma, dy, x, gamma []float32, rows, n int, inv []float32) {
	checkRows(rows, n, dx, dy, x)
	checkAffine(gamma, dgamma, n)
	if len(inv) < rows {
		panic(badRowLen)
	}
	for r := range rows {
		if n == 0 {
			return
		}
		d, g, v := dx[r*n:(r+1)*n], dy[r*n:(r+1)*n], x[r*n:(r+1)*n]
		_, s2 := layerNormGradSums(dgamma, g, v, gamma, 0, inv[r])
		layerNormGradApply(d, g, v, gamma, 0, inv[r], 0, s2/float32(n))
	}
}

func checkAffine(gamma, beta []float32, n int) {
	if len(gamma) != n || (beta != nil && len(beta) != n) {
		panic(badRowLen)
	}
}

// addSum sets dst = a + b and returns the sum of dst.
func addSum(dst, a, b []float32) float32 {
	if s, ok := addSumVec(&dst[0], &a[0], &b[0], len(dst)); ok {
		return s
	}
	for i, v := range a {
		dst[i] = v + b[i]
	}
	return Sum(dst)
}

// normAffine sets dst = (x-mean)*inv*gamma + beta, the last two fused.
func normAffine(dst, x, gamma, beta []float32, mean, inv float32) {
	n := len(x)
	if beta == nil {
		if !normAffine0Vec(&dst[0], &x[0], &gamma[0], n, mean, inv) {
			for i, v := range x {
				dst[i] = float32((v-mean)*inv) * gamma[i]
			}
		}
		return
	}
	if !normAffineVec(&dst[0], &x[0], &gamma[0], &beta[0], n, mean, inv) {
		for i, v := range x {
			dst[i] = Fma32((v-mean)*inv, gamma[i], beta[i])
		}
	}
}

// layerNormGradSums adds dy*h to dgamma and returns the sums of g and g*h over 16 partial sums.
func layerNormGradSums(dgamma, dy, x, gamma []float32, mean, inv float32) (s1, s2 float32) {
	if s1, s2, ok := layerNormGradSumsVec(&dgamma[0], &dy[0], &x[0], &gamma[0], len(x), mean, inv); ok {
		return s1, s2
	}
	var p, q [softmaxLanes]float32
	for i, v := range x {
		h := (v - mean) * inv
		dgamma[i] = Fma32(dy[i], h, dgamma[i])
		g := float32(dy[i] * gamma[i])
		p[i%softmaxLanes] += g
		q[i%softmaxLanes] = Fma32(g, h, q[i%softmaxLanes])
	}
	return fold(p[:], addf), fold(q[:], addf)
}

// layerNormGradApply sets dx = inv (dy gamma - m1 - h m2), h = (x-mean) inv.
func layerNormGradApply(dx, dy, x, gamma []float32, mean, inv, m1, m2 float32) {
	if layerNormGradApplyVec(&dx[0], &dy[0], &x[0], &gamma[0], len(x), mean, inv, m1, m2) {
		return
	}
	for i, v := range x {
		h := (v - mean) * inv
		g := float32(dy[i]*gamma[i]) - m1
		dx[i] = inv * Fma32(negf(h), m2, g)
	}
}
