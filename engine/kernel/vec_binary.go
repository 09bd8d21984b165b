package kernel

// Binary functions. All slices of one call have the same length; dst may be one of the operands. The suffix S
// marks a scalar on the right, R a scalar on the left ("reversed").

// Add sets dst[i] = a[i] + b[i].
func Add(dst, a, b []float32) {
	if n := len3(dst, a, b); n > 0 && !addVec(&dst[0], &a[0], &b[0], n) {
		for i, x := range a {
			dst[i] = x + b[i]
		}
	}
}

// Sub sets dst[i] = a[i] - b[i].
func Sub(dst, a, b []float32) {
	if n := len3(dst, a, b); n > 0 && !subVec(&dst[0], &a[0], &b[0], n) {
		for i, x := range a {
			dst[i] = x - b[i]
		}
	}
}

// Mul sets dst[i] = a[i] * b[i].
func Mul(dst, a, b []float32) {
	if n := len3(dst, a, b); n > 0 && !mulVec(&dst[0], &a[0], &b[0], n) {
		for i, x := range a {
			dst[i] = x * b[i]
		}
	}
}

// Div sets dst[i] = a[i] / b[i].
func Div(dst, a, b []float32) {
	if n := len3(dst, a, b); n > 0 && !divVec(&dst[0], &a[0], &b[0], n) {
		for i, x := range a {
			dst[i] = x / b[i]
		}
	}
}

// Max sets dst[i] to the larger of a[i] and b[i], NaN if either is NaN, b[i] if they are equal.
func Max(dst, a, b []float32) {
	if n := len3(dst, a, b); n > 0 && !maxVec(&dst[0], &a[0], &b[0], n) {
		for i, x := range a {
			dst[i] = maxNaN(x, b[i])
		}
	}
}

// Min sets dst[i] to the smaller of a[i] and b[i], NaN if either is NaN, b[i] if they are equal.
func Min(dst, a, b []float32) {
	if n := len3(dst, a, b); n > 0 && !minVec(&dst[0], &a[0], &b[0], n) {
		for i, x := range a {
			dst[i] = minNaN(x, b[i])
		}
	}
}

// AddS sets dst[i] = a[i] + s.
func AddS(dst, a []float32, s float32) {
	if n := len2(dst, a); n > 0 && !addSVec(&dst[0], &a[0], n, s) {
		apply(dst, a, func(x float32) float32 { return x + s })
	}
}

// SubS sets dst[i] = a[i] - s.
func SubS(dst, a []float32, s float32) {
	if n := len2(dst, a); n > 0 && !subSVec(&dst[0], &a[0], n, s) {
		apply(dst, a, func(x float32) float32 { return x - s })
	}
}

// MulS sets dst[i] = a[i] * s.
func MulS(dst, a []float32, s float32) {
	if n := len2(dst, a); n > 0 && !mulSVec(&dst[0], &a[0], n, s) {
		apply(dst, a, func(x float32) float32 { return x * s })
	}
}

// DivS sets dst[i] = a[i] / s.
func DivS(dst, a []float32, s float32) {
	if n := len2(dst, a); n > 0 && !divSVec(&dst[0], &a[0], n, s) {
		apply(dst, a, func(x float32) float32 { return x / s })
	}
}

// MaxS sets dst[i] = Max(a[i], s).
func MaxS(dst, a []float32, s float32) {
	if n := len2(dst, a); n > 0 && !maxSVec(&dst[0], &a[0], n, s) {
		apply(dst, a, func(x float32) float32 { return maxNaN(x, s) })
	}
}

// MinS sets dst[i] = Min(a[i], s).
func MinS(dst, a []float32, s float32) {
	if n := len2(dst, a); n > 0 && !minSVec(&dst[0], &a[0], n, s) {
		apply(dst, a, func(x float32) float32 { return minNaN(x, s) })
	}
}

// SubR sets dst[i] = s - b[i].
func SubR(dst []float32, s float32, b []float32) {
	if n := len2(dst, b); n > 0 && !subRVec(&dst[0], &b[0], n, s) {
		apply(dst, b, func(x float32) float32 { return s - x })
	}
}

// DivR sets dst[i] = s / b[i].
func DivR(dst []float32, s float32, b []float32) {
	if n := len2(dst, b); n > 0 && !divRVec(&dst[0], &b[0], n, s) {
		apply(dst, b, func(x float32) float32 { return s / x })
	}
}

// MaxR sets dst[i] = Max(s, b[i]).
func MaxR(dst []float32, s float32, b []float32) {
	if n := len2(dst, b); n > 0 && !maxRVec(&dst[0], &b[0], n, s) {
		apply(dst, b, func(x float32) float32 { return maxNaN(s, x) })
	}
}

// MinR sets dst[i] = Min(s, b[i]).
func MinR(dst []float32, s float32, b []float32) {
	if n := len2(dst, b); n > 0 && !minRVec(&dst[0], &b[0], n, s) {
		apply(dst, b, func(x float32) float32 { return minNaN(s, x) })
	}
}

// Axpy sets y[i] = a*x[i] + y[i], fused.
func Axpy(a float32, x, y []float32) {
	if n := len2(x, y); n > 0 && !axpyVec(&y[0], &x[0], n, a) {
		for i, v := range x {
			y[i] = Fma32(a, v, y[i])
		}
	}
}

// MulAdd sets dst[i] = a[i]*b[i] + c[i], fused.
func MulAdd(dst, a, b, c []float32) {
	if n := len3(dst, a, b); n != len(c) {
		panic(badVecLen)
	} else if n > 0 && !mulAddVec(&dst[0], &a[0], &b[0], &c[0], n) {
		for i, x := range a {
			dst[i] = Fma32(x, b[i], c[i])
		}
	}
}

// AddRow sets dst = src + row for src [m,n] and row [n], with n = len(row).
func AddRow(dst, src, row []float32) {
	for i, n := 0, rowLen(dst, src, row); i < len(src); i += n {
		Add(dst[i:i+n], src[i:i+n], row)
	}
}

// MulRow sets dst = src * row for src [m,n] and row [n], with n = len(row).
func MulRow(dst, src, row []float32) {
	for i, n := 0, rowLen(dst, src, row); i < len(src); i += n {
		Mul(dst[i:i+n], src[i:i+n], row)
	}
}

func rowLen(dst, src, row []float32) int {
	if len(dst) != len(src) || (len(row) == 0 && len(src) > 0) || (len(row) > 0 && len(src)%len(row) != 0) {
		panic(badRowLen)
	}
	return len(row)
}
