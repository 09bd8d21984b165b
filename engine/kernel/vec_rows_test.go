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

// within fails unless |got[i]-want[i]| <= bound(i) everywhere, and returns the largest quotient of the two.
func within(t *testing.T, what string, got []float32, want []float64, bound func(i int) float64) (share float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		d, b := math.Abs(float64(got[i])-w), bound(i)
		if !(d <= b) {
			t.Fatalf("%s[%d] = %g, want %g: apart by %g, bound %g", what, i, got[i], w, d, b)
		}
		if d > 0 {
			share = max(share, d/b)
		}
	}
	return share
}

// gradient is the central difference of f at x in float64, with steps of 1e-5 size.
func gradient(x []float64, size float64, f func(x []float64) float64) []float64 {
	g := make([]float64, len(x))
	for i, v := range x {
		hi, lo := v+1e-5*size, v-1e-5*size
		x[i] = hi
		a := f(x)
		x[i] = lo
		b := f(x)
		x[i] = v
		g[i] = (a - b) / (hi - lo)
	}
	return g
}

// differenceError bounds the error of gradient for a sum of n products whose magnitudes add up to sum: its rounding, n+20
// times 2^-53 sum for each of the two values, and the next term of the series, a sixth of the squared step times the third
// derivative, which is below 20 sum/size^3 for the functions here.
func differenceError(n int, sum, size float64) float64 {
	return (float64(n+20)/(1<<53)/1e-5 + 1e-10/6*20) * sum / size
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

// softmaxRow is a row t of arguments as they are rounded, with what bounds its softmax and that of its logarithm.
type softmaxRow struct {
	t, p      []float64 // the arguments and their softmax
	top, log  float64   // the largest argument, and log(sum e^(t-top))
	size, off float64   // means of |t| and of top-t, weighed with p
}

func newSoftmaxRow(t []float64) *softmaxRow {
	s := &softmaxRow{t: t, p: softmax64(t), top: math.Inf(-1)}
	for _, v := range t {
		s.top = max(s.top, v)
	}
	sum := 0.0
	for i, v := range t {
		if sum += math.Exp(v - s.top); s.p[i] > 0 {
			s.size, s.off = s.size+s.p[i]*math.Abs(v), s.off+s.p[i]*(s.top-v)
		}
	}
	s.log = math.Log(sum)
	return s
}

// bound is that of the comment at SoftmaxRows, an ULP of y being at most 2 unit y, and what the rounding of scale x + mask moves
// the exponential and the sum by: unit times the argument.
func (s *softmaxRow) bound(i int) float64 {
	if s.p[i] == 0 {
		return 0
	}
	n := float64(len(s.t))
	return unit * s.p[i] * (2*(12+math.Log(n)+n/softmaxLanes+s.top-s.t[i]) + math.Abs(s.t[i]) + s.size)
}

// logBound: t-top and the result are rounded; the sum errs as in bound, by an exponential (2 units), the weighted roundings of
// t-top, and n/16 + 4 additions; its logarithm is within 1 ULP; and the rounding of scale x + mask comes on top.
func (s *softmaxRow) logBound(i int) float64 {
	y := s.t[i] - s.top - s.log
	return unit * (s.top - s.t[i] + math.Abs(y) + 2 + s.off + float64(len(s.t))/softmaxLanes + 4 + 2*s.log + math.Abs(s.t[i]) + s.size)
}

// TestSoftmaxRows compares with the definition in float64, and the gradients with central differences of it.
func TestSoftmaxRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var share [4]float64
	for range 60 {
		n, scale := 1+r.IntN(200), float32(0.125)
		x, mask, dy := normals(r, n), normals(r, n), normals(r, n)
		for i := range x {
			x[i] *= 10
		}
		y, ly, dx, ldx := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
		SoftmaxRows(y, x, 1, n, scale, mask)
		LogSoftmaxRows(ly, x, 1, n, scale, mask)
		args := func(x []float64) []float64 {
			t := make([]float64, n)
			for i, v := range x {
				t[i] = v*float64(scale) + float64(mask[i])
			}
			return t
		}
		s := newSoftmaxRow(args(toF64(x)))
		share[0] = max(share[0], within(t, "softmax", y, s.p, s.bound))
		lw := make([]float64, n)
		var sum, dots, err, lsum, logs float64 // of |dy|, |dy y|, |dy| times the error of y, dy and |dy log y|
		for i, v := range s.p {
			lw[i] = math.Log(v)
			d := float64(dy[i])
			sum, dots, err, lsum, logs = sum+math.Abs(d), dots+math.Abs(d)*v, err+math.Abs(d)*s.bound(i), lsum+d, logs+math.Abs(d*lw[i])
		}
		share[1] = max(share[1], within(t, "logsoftmax", ly, lw, s.logBound))

		// A sum over 64 partial sums is rounded steps times. Differences, products and the two factors are rounded once each.
		steps, sc, dot := float64(n)/lanes+7, float64(scale), dot64(s.p, toF64(dy))
		SoftmaxGradRows(dx, dy, y, 1, n, scale)
		want := gradient(toF64(x), 1/sc, func(x []float64) float64 { return dot64(softmax64(args(x)), toF64(dy)) })
		share[2] = max(share[2], within(t, "softmax gradient", dx, want, func(i int) float64 {
			diff := math.Abs(float64(dy[i]) - dot)
			return sc*(diff*s.bound(i)+s.p[i]*(err+unit*steps*dots)+3*unit*s.p[i]*diff) + differenceError(2*n, dots, 1/sc)
		}))
		LogSoftmaxGradRows(ldx, dy, ly, 1, n, scale)
		want = gradient(toF64(x), 1/sc, func(x []float64) float64 {
			sum := 0.0
			for i, v := range softmax64(args(x)) {
				sum += math.Log(v) * float64(dy[i])
			}
			return sum
		})
		share[3] = max(share[3], within(t, "logsoftmax gradient", ldx, want, func(i int) float64 {
			return sc*s.p[i]*(math.Abs(lsum)*(s.logBound(i)+2*unit)+unit*steps*sum) + 2*unit*math.Abs(want[i]) + differenceError(2*n, logs+sum, 1/sc)
		}))
	}
	t.Logf("%.2f of the bounds", share)
	inf := float32(math.Inf(-1))
	x := []float32{1, 2, 3, 4}
	SoftmaxRows(x, x, 1, 4, 1, []float32{0, inf, 0, inf})
	s := newSoftmaxRow([]float64{1, math.Inf(-1), 3, math.Inf(-1)})
	within(t, "masked softmax", x, s.p, s.bound)
}

// TestSoftmaxPart cuts rows into parts, some of them all -Inf, and compares with the definition in float64. A factor is within
// 1 ULP, 2 units, and multiplies an element and the sum once for each part, both rounded, as the sum of the sums is: 7 units of
// a part on top of the bound of whole rows. The roundings of the arguments of the factors are in that: the maxima rise from the one
// of the part of an element to the last, and so they add up to top - t.
func TestSoftmaxPart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	inf := float32(math.Inf(-1))
	share := 0.0
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
		got, parts := make([]float32, rows*n), 0
		for lo := 0; lo < n; parts++ {
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
			s := newSoftmaxRow(row)
			share = max(share, within(t, "softmax in parts", got[i*n:][:n], s.p[:n], func(i int) float64 { return s.bound(i) + 7*unit*float64(parts)*s.p[i] }))
		}
	}
	t.Logf("%.2f of the bound", share)
	nan := float32(math.NaN())
	for _, row := range [][]float32{{inf, nan, inf}, {nan, 1, 2}, {1, nan, inf}} {
		most, sum, factor := []float32{inf}, []float32{0}, []float32{0}
		SoftmaxPart(row, 1, 3, 1, nil, 0, most, sum, factor)
		if sum[0] == sum[0] {
			t.Errorf("the sum of a row with a NaN is %g", sum[0])
		}
	}
}

// TestReductions compares the sums with float64 and the rest with plain loops. An element passes through at most n/64 + 7 additions,
// each of which rounds no more than the sum of the magnitudes.
func TestReductions(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		n := r.IntN(500)
		x, y := normals(r, n), normals(r, n)
		s, d, q, mx, mn := 0.0, 0.0, 0.0, math.Inf(-1), math.Inf(1)
		var size [3]float64 // sums of the magnitudes
		for i, v := range x {
			s, d, q = s+float64(v), d+float64(v)*float64(y[i]), q+float64(v)*float64(v)
			size[0], size[1], size[2] = size[0]+math.Abs(float64(v)), size[1]+math.Abs(float64(v)*float64(y[i])), q
			mx, mn = max(mx, float64(v)), min(mn, float64(v))
		}
		within(t, "sum, dot, sum of squares", []float32{Sum(x), Dot(x, y), SumSquares(x)}, []float64{s, d, q}, func(i int) float64 {
			return unit * (float64(n)/lanes + 7) * size[i]
		})
		if float64(ReduceMax(x)) != mx || float64(ReduceMin(x)) != mn {
			t.Errorf("max %g min %g, want %g %g", ReduceMax(x), ReduceMin(x), mx, mn)
		}
		if got := SumSquares64(x); math.Abs(got-q) > float64(n+n/8+4)/(1<<53)*q { // n additions here, n/8 + 4 there, of exact squares
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
