package kernel

import "math"

// Reductions over one row. Element i goes to partial result i mod 64, in increasing i; the 64 partial results are
// then folded in halves: p[j] += p[j+32], p[j] += p[j+16], and so on to p[0]. That order holds on every ISA.

const lanes = 64

func fold(p []float32, f func(a, b float32) float32) float32 {
	for h := len(p) / 2; h > 0; h /= 2 {
		for j := range h {
			p[j] = f(p[j], p[j+h])
		}
	}
	return p[0]
}

func addf(a, b float32) float32 { return a + b }

// Sum returns the sum of x, 0 for no elements.
func Sum(x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	if s, ok := sumVec(&x[0], len(x)); ok {
		return s
	}
	var p [lanes]float32
	for i, v := range x {
		p[i%lanes] += v
	}
	return fold(p[:], addf)
}

// SumSquares returns the sum of x[i]^2, with fused multiply-adds.
func SumSquares(x []float32) float32 { return Dot(x, x) }

// Dot returns the sum of x[i]*y[i], with fused multiply-adds.
func Dot(x, y []float32) float32 {
	n := len2(x, y)
	if n == 0 {
		return 0
	}
	if s, ok := dotVec(&x[0], &y[0], n); ok {
		return s
	}
	var p [lanes]float32
	for i, v := range x {
		p[i%lanes] = Fma32(v, y[i], p[i%lanes])
	}
	return fold(p[:], addf)
}

// sumSqDiff returns the sum of (x[i]-mean)^2.
func sumSqDiff(x []float32, mean float32) float32 {
	if s, ok := sumSqDiffVec(&x[0], len(x), mean); ok {
		return s
	}
	var p [lanes]float32
	for i, v := range x {
		d := v - mean
		p[i%lanes] = Fma32(d, d, p[i%lanes])
	}
	return fold(p[:], addf)
}

// ReduceMax returns the largest element, NaN if there is one, -Inf for no elements.
func ReduceMax(x []float32) float32 {
	if len(x) == 0 {
		return float32(math.Inf(-1))
	}
	if s, ok := reduceMaxVec(&x[0], len(x)); ok {
		return s
	}
	return reduce(x, float32(math.Inf(-1)), maxNaN)
}

// ReduceMin returns the smallest element, NaN if there is one, +Inf for no elements.
func ReduceMin(x []float32) float32 {
	if len(x) == 0 {
		return float32(math.Inf(1))
	}
	if s, ok := reduceMinVec(&x[0], len(x)); ok {
		return s
	}
	return reduce(x, float32(math.Inf(1)), minNaN)
}

func reduce(x []float32, identity float32, f func(a, b float32) float32) float32 {
	var p [lanes]float32
	for j := range p {
		p[j] = identity
	}
	for i, v := range x {
		p[i%lanes] = f(p[i%lanes], v)
	}
	return fold(p[:], f)
}

// ColumnSums sets dst[j] = sum over i of src[i,j] for src [m,n], n = len(dst), adding rows in increasing i to 0.
func ColumnSums(dst, src []float32) {
	clear(dst)
	AddColumnSums(dst, src)
}

// AddColumnSums adds the rows of src [m,n] to dst [n] in increasing order.
func AddColumnSums(dst, src []float32) {
	n := rowLen(src, src, dst)
	for i := 0; i < len(src); i += n {
		Add(dst, dst, src[i:i+n])
	}
}

// SumSquares64 returns the sum of x[i]^2 in float64, exact products: element i is added to partial sum i mod 8, and
// the partial sums are folded in halves. It is the squared norm that gradient clipping uses.
func SumSquares64(x []float32) float64 {
	var p [8]float64
	for len(x) >= 8 {
		for j, v := range x[:8] {
			p[j] += float64(float64(v) * float64(v))
		}
		x = x[8:]
	}
	for j, v := range x {
		p[j] += float64(float64(v) * float64(v))
	}
	for h := 4; h > 0; h /= 2 {
		for j := range h {
			p[j] += p[j+h]
		}
	}
	return p[0]
}
