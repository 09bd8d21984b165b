package quantize

import "math"

// choleskyBlock is the number of columns that are factored at a time.
const choleskyBlock = 64

// cholesky replaces the lower triangle of a, symmetric of size n, by L with a = L L^T, block by block; the upper
// triangle is not used. It reports whether a is positive definite.
func cholesky(a []float64, n int) bool {
	for b := 0; b < n; b += choleskyBlock {
		e := min(b+choleskyBlock, n)
		for j := b; j < e; j++ { // the block on the diagonal
			for i := j; i < e; i++ {
				s := a[i*n+j] - dot(a[i*n+b:i*n+j], a[j*n+b:j*n+j])
				if i > j {
					a[i*n+j] = s / a[j*n+j]
					continue
				}
				if !(s > 0) || math.IsInf(s, 1) {
					return false
				}
				a[j*n+j] = math.Sqrt(s)
			}
		}
		parallel(n-e, 8, func(lo, hi int) { // the columns below it
			for i := e + lo; i < e+hi; i++ {
				for j := b; j < e; j++ {
					a[i*n+j] = (a[i*n+j] - dot(a[i*n+b:i*n+j], a[j*n+b:j*n+j])) / a[j*n+j]
				}
			}
		})
		parallel(n-e, 8, func(lo, hi int) { // what is left
			for i := e + lo; i < e+hi; i++ {
				row := a[i*n+b : i*n+e]
				for j := e; j <= i; j++ {
					a[i*n+j] -= dot(row, a[j*n+b:j*n+e])
				}
			}
		})
	}
	return true
}

// dot returns the sum of products, in a fixed order.
func dot(x, y []float64) float64 {
	var a, b, c, d float64
	y = y[:len(x)]
	i := 0
	for ; i+4 <= len(x); i += 4 {
		a += x[i] * y[i]
		b += x[i+1] * y[i+1]
		c += x[i+2] * y[i+2]
		d += x[i+3] * y[i+3]
	}
	for ; i < len(x); i++ {
		a += x[i] * y[i]
	}
	return a + b + c + d
}

// axpy adds f*x to y.
func axpy(y, x []float64, f float64) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += f * v
	}
}

// invertLower returns the inverse of the lower triangle of l, of size n, as a matrix with zeros above the diagonal.
func invertLower(l []float64, n int) []float64 {
	x := make([]float64, n*n)
	for b := 0; b < n; b += choleskyBlock {
		e := min(b+choleskyBlock, n)
		parallel(e-b, 4, func(lo, hi int) {
			for i := b + lo; i < b+hi; i++ {
				row := x[i*n : i*n+b]
				for j := range b {
					axpy(row[:j+1], x[j*n:j*n+j+1], -l[i*n+j])
				}
			}
		})
		for i := b; i < e; i++ {
			for j := b; j < i; j++ {
				axpy(x[i*n:i*n+j+1], x[j*n:j*n+j+1], -l[i*n+j])
			}
			d := 1 / l[i*n+i]
			for j := range i {
				x[i*n+j] *= d
			}
			x[i*n+i] = d
		}
	}
	return x
}

// inverseFactor returns the upper triangular U with U^T U = h^-1 for a symmetric positive definite h of size n, and
// false for any other h. With the order of rows and columns reversed h = L L^T, so h^-1 = L^-T L^-1, and U is L^-1
// reversed again.
func inverseFactor(h []float64, n int) ([]float64, bool) {
	r := make([]float64, n*n)
	for i := range n * n {
		r[i] = h[n*n-1-i]
	}
	if !cholesky(r, n) {
		return nil, false
	}
	u := invertLower(r, n)
	for i, j := 0, n*n-1; i < j; i, j = i+1, j-1 {
		u[i], u[j] = u[j], u[i]
	}
	return u, true
}
