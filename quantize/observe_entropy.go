package quantize

import "math"

// entropy covers the window around 0 whose quantized distribution diverges least from the one observed, in the sense of
// Kullback and Leibler (S. Migacz, "8-bit Inference with TensorRT", GTC 2017, as onnxruntime.quantization's
// EntropyCalibrater generalizes it to values of both signs; with 256 levels and a histogram of 4,096 bins). Zeros, of which Relu makes
// half of all values, have a level of their own in every window and are left out; and what the divergence of a sample exceeds that of its
// distribution by is taken off, (bins-levels)/2n for n values (G. Miller, "Note on the bias of information estimates", 1955), without
// which a few thousand values in as many bins favour the narrowest window. Windows that cost more squared error than the whole range does are not
// taken: behind HardSwish, whose values crowd around 0, the divergence alone cuts off most of the signal.
type entropy struct{ histogram }

// levels is the number of values that 8 bits hold.
const levels = 256

// Range implements Observer.
func (h *entropy) Range() (lo, hi float32) {
	if h.n == h.zeros || h.lo == h.hi {
		return h.lo, h.hi
	}
	// the bins that windows may cover: both sides of 0, or one for values of one sign
	left, right := halfBins, halfBins // reach of the window to either side
	if h.lo >= 0 {
		left = 0
	}
	if h.hi <= 0 {
		right = 0
	}
	h.counts[halfBins] -= h.zeros
	defer func() { h.counts[halfBins] += h.zeros }()
	squares := meanSquares{meanSquaresParams{&h.histogram, Uint8Range, false}}
	most := squares.error(h.lo, h.hi)
	window := func(reach int) (lo, hi float32) {
		return h.clip(h.edge(halfBins-min(left, reach)), h.edge(halfBins+min(right, reach)))
	}
	bounded := func(reach int) bool { lo, hi := window(reach); return squares.error(lo, hi) <= most }
	best, at := math.Inf(1), halfBins
	for reach := levels / 2; reach <= halfBins; reach += 8 {
		first, last := halfBins-min(left, reach), halfBins+min(right, reach)
		if last-first < levels {
			continue
		}
		if d := h.divergence(first, last); d < best && (reach == halfBins || bounded(reach)) {
			best, at = d, reach
		}
	}
	return window(at)
}

// divergence returns that of the window first..last, quantized to levels values, from what was observed, where values
// outside the window count in its outermost bins.
func (h *entropy) divergence(first, last int) float64 {
	size := last - first
	p := make([]float64, size)
	var sums, filled [levels]float64
	for i := range size {
		n := float64(h.counts[first+i])
		p[i] = n
		sums[i*levels/size] += n
	}
	for i, n := range h.counts {
		if i < first {
			p[0] += float64(n)
		} else if i >= last {
			p[size-1] += float64(n)
		}
	}
	for i, v := range p {
		if v > 0 {
			filled[i*levels/size]++
		}
	}
	excess := 0.0
	for _, n := range filled {
		excess += max(n-1, 0)
	}
	q := make([]float64, size)
	for i, v := range p {
		if k := i * levels / size; v > 0 {
			q[i] = sums[k] / filled[k]
		}
	}
	if !smooth(p) || !smooth(q) {
		return math.Inf(1)
	}
	d := 0.0
	for i := range p {
		if p[i] > 0 {
			d += p[i] * math.Log(p[i]/q[i])
		}
	}
	return d - excess/(2*float64(h.n-h.zeros))
}

// smooth makes a distribution of counts: zeros become a small share that the others give up. It returns false when there
// is nothing to share.
func smooth(p []float64) bool {
	const share = 0.0001
	sum, zeros := 0.0, 0
	for _, v := range p {
		sum += v
		if v == 0 {
			zeros++
		}
	}
	filled := len(p) - zeros
	if filled == 0 {
		return false
	}
	give := share * float64(zeros) / float64(filled)
	total := 0.0
	for i, v := range p {
		if v == 0 {
			p[i] = share
		} else {
			p[i] = math.Max(v-give, share)
		}
		total += p[i]
	}
	for i := range p {
		p[i] /= total
	}
	return sum > 0
}
