package quantize

import "math"

// halfBins is the number of bins of a histogram on each side of 0.
const halfBins = 2048

// smallestExponent is the least exponent of a histogram's range: below it values count as 0.
const smallestExponent = -100

// histogram counts values in bins of equal width over -2^exponent..2^exponent. When a value lies outside, the range doubles
// as often as needed and neighbouring bins are joined. As all widths are powers of two, the counts after that are
// exactly those that the wider bins would have had from the start: the result does not depend on the order of the values.
type histogram struct {
	exponent int
	counts   []uint64 // 2 * halfBins; bin i holds i-halfBins <= x/width < i-halfBins+1
	n        uint64
	zeros    uint64 // values that are 0, in the middle bin
	lo, hi   float32
}

// width returns the width of the bins.
func (h *histogram) width() float64 { return math.Ldexp(1, h.exponent) / halfBins }

// edge returns the lower edge of bin i.
func (h *histogram) edge(i int) float64 { return float64(i-halfBins) * h.width() }

// clip returns lo..hi as float32, within the values that were observed.
func (h *histogram) clip(lo, hi float64) (float32, float32) {
	l, u := max(float32(lo), h.lo), min(float32(hi), h.hi)
	return min(l, u), u
}

// Observe implements Observer.
func (h *histogram) Observe(x []float32) {
	lo, hi, ok := extremesOf(x)
	if !ok {
		return
	}
	_, e := math.Frexp(max(math.Abs(float64(lo)), math.Abs(float64(hi))))
	e = max(e, smallestExponent)
	switch {
	case h.counts == nil:
		h.counts, h.exponent, h.lo, h.hi = make([]uint64, 2*halfBins), e, lo, hi
	case e > h.exponent:
		h.widen(e)
	}
	h.lo, h.hi = min(h.lo, lo), max(h.hi, hi)
	h.n += uint64(len(x))
	inverse := math.Ldexp(halfBins, -h.exponent)
	for _, v := range x {
		h.counts[int(math.Floor(float64(v)*inverse))+halfBins]++
		if v == 0 {
			h.zeros++
		}
	}
}

// widen doubles the range until it reaches exponent e.
func (h *histogram) widen(e int) {
	counts := make([]uint64, 2*halfBins)
	shift := min(e-h.exponent, 62)
	for i, n := range h.counts {
		counts[(i-halfBins)>>shift+halfBins] += n
	}
	h.counts, h.exponent = counts, e
}

// Range implements Observer: that of all values.
func (h *histogram) Range() (lo, hi float32) { return h.lo, h.hi }
