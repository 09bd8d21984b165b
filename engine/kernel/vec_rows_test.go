package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func normals(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func toF64(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// near fails unless |got-want| <= tol (1 + |want|) everywhere.
func near(t *testing.T, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= tol*(1+math.Abs(w))) {
			t.Fatalf("%s[%d] = %g, want %g", what, i, got[i], w)
		}
	}
}

// gradient is the central difference of f at x in float64, with a step whose truncation and rounding are both near 1e-10.
func gradient(x []float64, f func(x []float64) float64) []float64 {
	g := make([]float64, len(x))
	for i, v := range x {
		h := 1e-5 * (1 + math.Abs(v))
		x[i] = v + h
		a := f(x)
		x[i] = v - h
		b := f(x)
		x[i] = v
		g[i] = (a - b) / (2 * h)
	}
	return g
}

func dot64(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func softmax64(x []float64) []float64 {
	m, s := math.Inf(-1), 0.0
	for _, v := range x {
		m = max(m, v)
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = math.Exp(v - m)
		s += y[i]
	}
	for i := range y {
		y[i] /= s
	}
	return y
}

func layerNorm64(x, gamma, beta []float64, eps float64, center bool) []float64 {
	n, mu, va := float64(len(x)), 0.0, 0.0
	for _, v := range x {
		mu += v / n
	}
	if !center {
		mu = 0
	}
	for _, v := range x {
		va += (v - mu) * (v - mu) / n
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (v - mu) / math.Sqrt(va+eps) * gamma[i]
		if beta != nil {
			y[i] += beta[i]
		}
	}
	return y
}

// A row of n <= 200 float32 values near 1 loses a few ULP (6e-8) in its sums and less than 10 in all: 2e-6 covers it.
const rowTol = 2e-6

// TestSoftmaxRows compares with the definition in float64, and the gradients with central differences of it.
func TestSoftmaxRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		n, scale := 1+r.IntN(200), float32(0.125)
		x, mask, dy := normals(r, n), normals(r, n), normals(r, n)
		for i := range x {
			x[i] *= 10
		}
		y, ly, dx, ldx := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
		SoftmaxRows(y, x, 1, n, scale, mask)
		LogSoftmaxRows(ly, x, 1, n, scale, mask)
		f := func(x []float64) []float64 {
			t := make([]float64, n)
			for i, v := range x {
				t[i] = v*float64(scale) + float64(mask[i])
			}
			return softmax64(t)
		}
		want := f(toF64(x))
		near(t, "softmax", y, want, rowTol)
		lw := make([]float64, n)
		for i, v := range want {
			lw[i] = math.Log(v)
		}
		near(t, "logsoftmax", ly, lw, rowTol)
		SoftmaxGradRows(dx, dy, y, 1, n, scale)
		near(t, "softmax gradient", dx, gradient(toF64(x), func(x []float64) float64 { return dot64(f(x), toF64(dy)) }), rowTol)
		LogSoftmaxGradRows(ldx, dy, ly, 1, n, scale)
		near(t, "logsoftmax gradient", ldx, gradient(toF64(x), func(x []float64) float64 {
			s := 0.0
			for i, v := range f(x) {
				s += math.Log(v) * float64(dy[i])
			}
			return s
		}), 1e-5) // the sum of dy, up to 30, multiplies the error of e^y
	}
	inf := float32(math.Inf(-1))
	x := []float32{1, 2, 3, 4}
	SoftmaxRows(x, x, 1, 4, 1, []float32{0, inf, 0, inf})
	if x[1] != 0 || x[3] != 0 || math.Abs(float64(x[0]+x[2]-1)) > 1e-6 {
		t.Errorf("masked softmax = %v", x)
	}
}

// TestSoftmaxPart cuts rows into parts, some of them all -Inf, and compares with the definition in float64. A factor is within
// 2 ULP (1.2e-7) and multiplies the sum once for each part, of which there are at most 6: with the bound of whole rows 3e-6.
func TestSoftmaxPart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	inf := float32(math.Inf(-1))
	for range 2000 {
		rows, n, scale, sink := 1+r.IntN(3), 1+r.IntN(120), float32(0.125), r.IntN(2) == 0
		x, mask := normals(r, rows*n), normals(r, rows*n)
		for i := range x {
			x[i] *= 20
		}
		hidden := r.IntN(n)
		for i := range mask {
			if i%n < hidden && i%n != n-1 {
				mask[i] = inf
			}
		}
		most, sum, factor := make([]float32, rows), make([]float32, rows), make([]float32, rows)
		for i := range most {
			most[i] = inf
			if sink {
				most[i], sum[i] = 1.5, 1
			}
		}
		got := make([]float32, rows*n)
		for lo := 0; lo < n; {
			w := min(n-lo, 20+r.IntN(60))
			p := make([]float32, 0, rows*w)
			for i := range rows {
				p = append(p, x[i*n+lo:][:w]...)
			}
			SoftmaxPart(p, rows, w, scale, mask[lo:], n, most, sum, factor)
			for i := range rows {
				MulS(got[i*n:][:lo], got[i*n:][:lo], factor[i])
				copy(got[i*n+lo:], p[i*w:(i+1)*w])
			}
			lo += w
		}
		for i := range rows {
			row := make([]float64, n, n+1)
			for j := range row {
				row[j] = float64(x[i*n+j])*float64(scale) + float64(mask[i*n+j])
			}
			if sink {
				row = append(row, 1.5)
			}
			MulS(got[i*n:][:n], got[i*n:][:n], 1/sum[i])
			near(t, "softmax in parts", got[i*n:][:n], softmax64(row)[:n], 3e-6)
		}
	}
	nan := float32(math.NaN())
	for _, row := range [][]float32{{inf, nan, inf}, {nan, 1, 2}, {1, nan, inf}} {
		most, sum, factor := []float32{inf}, []float32{0}, []float32{0}
		SoftmaxPart(row, 1, 3, 1, nil, 0, most, sum, factor)
		if sum[0] == sum[0] {
			t.Errorf("the sum of a row with a NaN is %g", sum[0])
		}
	}
}

// TestNormRows compares both normalisations with the definition in float64, and the gradients with central differences.
func TestNormRows(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 60 {
		n, rows := 2+r.IntN(100), 2
		x, res, gamma, beta, dy := normals(r, rows*n), normals(r, rows*n), normals(r, n), normals(r, n), normals(r, rows*n)
		y, sum, dx, mean, inv := make([]float32, rows*n), make([]float32, rows*n), make([]float32, rows*n), make([]float32, rows), make([]float32, rows)
		LayerNormRows(y, x, res, sum, gamma, beta, rows, n, 1e-5, mean, inv)
		all := func(x, gamma, beta []float64, center bool) []float64 {
			return append(layerNorm64(x[:n], gamma, beta, 1e-5, center), layerNorm64(x[n:], gamma, beta, 1e-5, center)...)
		}
		s, g, b, d := toF64(sum), toF64(gamma), toF64(beta), toF64(dy)
		near(t, "layer norm", y, all(s, g, b, true), 1e-5) // 1/sqrt(var) amplifies when two values nearly agree
		dgamma, dbeta := make([]float32, n), make([]float32, n)
		LayerNormGradRows(dx, dgamma, dbeta, dy, sum, gamma, rows, n, mean, inv)
		near(t, "layer norm dx", dx, gradient(s, func(x []float64) float64 { return dot64(all(x, g, b, true), d) }), 1e-4)
		near(t, "layer norm dgamma", dgamma, gradient(g, func(g []float64) float64 { return dot64(all(s, g, b, true), d) }), 1e-5)
		near(t, "layer norm dbeta", dbeta, gradient(b, func(b []float64) float64 { return dot64(all(s, g, b, true), d) }), 1e-5)

		RMSNormRows(y, sum, gamma, rows, n, 1e-5, inv)
		near(t, "rms norm", y, all(s, g, nil, false), 1e-5)
		clear(dgamma)
		RMSNormGradRows(dx, dgamma, dy, sum, gamma, rows, n, inv)
		near(t, "rms norm dx", dx, gradient(s, func(x []float64) float64 { return dot64(all(x, g, nil, false), d) }), 1e-4)
		near(t, "rms norm dgamma", dgamma, gradient(g, func(g []float64) float64 { return dot64(all(s, g, nil, false), d) }), 1e-5)
	}
}

// TestReductions compares the sums with float64 and the rest with plain loops.
func TestReductions(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		n := r.IntN(500)
		x, y := normals(r, n), normals(r, n)
		s, d, q, mx, mn := 0.0, 0.0, 0.0, math.Inf(-1), math.Inf(1)
		for i, v := range x {
			s, d, q = s+float64(v), d+float64(v)*float64(y[i]), q+float64(v)*float64(v)
			mx, mn = max(mx, float64(v)), min(mn, float64(v))
		}
		near(t, "sum, dot, sum of squares", []float32{Sum(x), Dot(x, y), SumSquares(x)}, []float64{s, d, q}, 5e-6)
		if float64(ReduceMax(x)) != mx || float64(ReduceMin(x)) != mn {
			t.Errorf("max %g min %g, want %g %g", ReduceMax(x), ReduceMin(x), mx, mn)
		}
		if got := SumSquares64(x); math.Abs(got-q) > 1e-12*q {
			t.Errorf("SumSquares64 = %g, want %g", got, q)
		}
	}
	cols := make([]float32, 3)
	ColumnSums(cols, []float32{1, 2, 3, 10, 20, 30})
	near(t, "column sums", cols, []float64{11, 22, 33}, 0)
	m := make([]float32, 4)
	AddRow(m, []float32{1, 2, 3, 4}, []float32{10, 20})
	near(t, "AddRow", m, []float64{11, 22, 13, 24}, 0)
	MulRow(m, []float32{1, 2, 3, 4}, []float32{10, 20})
	near(t, "MulRow", m, []float64{10, 40, 30, 80}, 0)
}
