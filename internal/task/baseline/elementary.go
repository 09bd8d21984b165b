package baseline

import "math"

// The two halves of ln 2: the first has 32 zero bits at its end, so that small multiples of it are exact (fdlibm).
const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
)

// ln is the natural logarithm, the same bits on every machine, within 2 units in the last place for normal numbers:
// x = m 2^k with m in [sqrt(1/2), sqrt 2), ln m = 2 artanh((m-1)/(m+1)) by its series. ln 0 is -Inf; below 0 it is NaN.
func ln(x float64) float64 {
	switch {
	case x == 0:
		return math.Inf(-1)
	case x < 0 || x != x:
		return math.NaN()
	case math.IsInf(x, 1):
		return x
	}
	m, k := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m *= 2
		k--
	}
	s := (m - 1) / (m + 1)
	q := s * s
	sum := 0.0
	for n := 21; n >= 3; n -= 2 {
		sum = float64(q * (sum + 1/float64(n)))
	}
	ln := float64(2*s) + float64(float64(2*s)*sum)
	return float64(float64(k)*ln2Hi) + (ln + float64(float64(k)*ln2Lo))
}

// exp is the exponential function, the same bits on every machine, within 2 units in the last place: x = k ln 2 + r with
// |r| <= ln 2 / 2, e^r by its Taylor series.
func exp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 709.7:
		return math.Inf(1)
	case x < -745:
		return 0
	}
	k := math.Floor(float64(x/math.Ln2) + 0.5)
	r := (x - float64(k*ln2Hi)) - float64(k*ln2Lo)
	sum := 1.0
	for n := 14; n >= 1; n-- {
		sum = 1 + float64(r*sum)/float64(n)
	}
	return math.Ldexp(sum, int(k))
}
