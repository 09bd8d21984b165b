package quantize

import "math"

// meanSquaresParams is a histogram with the integer range that it is quantized to.
type meanSquaresParams struct {
	*histogram
	to        Range
	symmetric bool
}

// meanSquares covers the range whose 8-bit form has the least mean squared error, found by shrinking both ends together
// and then each alone, in steps of a hundredth (the "MSE" search of Nagel et al., "A White Paper on Neural Network
// Quantization", arXiv:2106.08295, section 3.1).
type meanSquares struct{ meanSquaresParams }

// Range implements Observer.
func (m *meanSquares) Range() (lo, hi float32) {
	if m.n == 0 || m.lo == m.hi {
		return m.lo, m.hi
	}
	lo, hi = m.lo, m.hi
	best := math.Inf(1)
	try := func(l, h float32) {
		if l > h {
			return
		}
		if e := m.error(l, h); e < best {
			best, lo, hi = e, l, h
		}
	}
	const steps = 100
	for i := steps; i >= 20; i-- {
		try(m.lo*float32(i)/steps, m.hi*float32(i)/steps)
	}
	l, h := lo, hi
	for i := steps; i >= 50; i-- {
		try(l*float32(i)/steps, h)
		try(l, h*float32(i)/steps)
	}
	return lo, hi
}

// error returns the summed squared error of the values, taken at the middles of their bins, in the quantization that covers lo..hi.
func (m *meanSquares) error(lo, hi float32) float64 {
	p, err := ChooseParams(lo, hi, m.to, m.symmetric)
	if err != nil {
		return math.Inf(1)
	}
	s, z := float64(p.Scale), float64(p.ZeroPoint)
	w := m.width()
	sum := 0.0
	for i, n := range m.counts {
		if n == 0 {
			continue
		}
		x := m.edge(i) + w/2
		q := min(max(math.RoundToEven(x/s)+z, float64(m.to.Min)), float64(m.to.Max))
		d := x - (q-z)*s
		sum += float64(n) * d * d
	}
	return sum
}
