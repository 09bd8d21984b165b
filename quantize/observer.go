package quantize

import (
	"fmt"
	"math"
)

// Observer sees the values of one activation, batch by batch, in one pass and constant memory, and then chooses the range
// that its 8-bit form covers.
type Observer interface {
	// Observe takes the values of one batch; they must be finite.
	Observe(x []float32)
	// Range returns the range chosen, lo <= hi; 0, 0 when nothing was observed.
	Range() (lo, hi float32)
}

// Method names the way in which ranges are chosen.
type Method string

// Methods. The order of the batches does not matter to the bit, but for MovingAverage, where float64 sums are taken in
// the order of the batches: results differ by no more than one part in 10^6 of the range.
const (
	MinMax        Method = "min-max"        // the extremes of all values
	MovingAverage Method = "moving-average" // the mean over batches of their extremes
	Percentile    Method = "percentile"     // all but the outermost values
	Entropy       Method = "entropy"        // least divergence of the quantized distribution (TensorRT's calibration)
	MSE           Method = "mse"            // least mean squared error of the quantized values
)

// observers has the constructor of every method.
var observers = map[Method]func(*Static) Observer{
	MinMax:        func(*Static) Observer { return &minMax{} },
	MovingAverage: func(*Static) Observer { return &movingAverage{} },
	Percentile:    func(s *Static) Observer { return &percentile{share: s.percentile() / 100} },
	Entropy:       func(*Static) Observer { return &entropy{} },
	MSE:           func(s *Static) Observer { return &meanSquares{s.affine()} },
}

// Methods are the methods in the order in which help lists them.
var Methods = []Method{MinMax, MovingAverage, Percentile, Entropy, MSE}

func (s *Static) percentile() float64 {
	if s.Percentile == 0 {
		return 99.99
	}
	return s.Percentile
}

// affine returns a function that chooses parameters for activations of the target.
func (s *Static) affine() meanSquaresParams {
	r, err := s.Target.rules()
	if err != nil {
		r = targetRules{activations: Uint8Range}
	}
	return meanSquaresParams{&histogram{}, r.activations, r.symmetric}
}

// newObserver makes an observer of the method.
func (s *Static) newObserver() (Observer, error) {
	method := s.Method
	if method == "" {
		method = MinMax
	}
	f := observers[method]
	if f == nil {
		return nil, fmt.Errorf("quantize: method %q: want some of %v", s.Method, Methods)
	}
	if p := s.percentile(); !(p > 50 && p <= 100) {
		return nil, fmt.Errorf("quantize: percentile %v: want more than 50, at most 100", s.Percentile)
	}
	return f(s), nil
}

// NewObserver makes an observer of the settings' method, for callers with activations of their own.
func (s Static) NewObserver() (Observer, error) { return s.newObserver() }

// minMax covers all values.
type minMax struct {
	lo, hi float32
	seen   bool
}

// Observe implements Observer.
func (m *minMax) Observe(x []float32) {
	lo, hi, ok := extremesOf(x)
	if !ok {
		return
	}
	if !m.seen {
		m.lo, m.hi, m.seen = lo, hi, true
		return
	}
	m.lo, m.hi = min(m.lo, lo), max(m.hi, hi)
}

// Range implements Observer.
func (m *minMax) Range() (lo, hi float32) { return m.lo, m.hi }

// extremesOf returns the smallest and largest of x; false for none.
func extremesOf(x []float32) (lo, hi float32, ok bool) {
	if len(x) == 0 {
		return 0, 0, false
	}
	lo, hi = x[0], x[0]
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi, true
}

// movingAverage covers the mean extremes of the batches: one batch with an outlier moves the range by its share only. It
// is the moving average with weight 1/n for batch n, so that no batch counts more than another.
type movingAverage struct {
	lo, hi float64
	n      float64
}

// Observe implements Observer.
func (m *movingAverage) Observe(x []float32) {
	lo, hi, ok := extremesOf(x)
	if !ok {
		return
	}
	m.n++
	m.lo += float64(lo)
	m.hi += float64(hi)
}

// Range implements Observer.
func (m *movingAverage) Range() (lo, hi float32) {
	if m.n == 0 {
		return 0, 0
	}
	return float32(m.lo / m.n), float32(m.hi / m.n)
}

// percentile covers all but the outermost share of the values, half of it on each side; its edges are edges of a
// histogram's bins, so that they are off by at most a 2048th of the largest magnitude.
type percentile struct {
	histogram
	share float64
}

// Range implements Observer.
func (p *percentile) Range() (lo, hi float32) {
	if p.n == 0 {
		return 0, 0
	}
	cut := uint64(math.Floor((1 - p.share) / 2 * float64(p.n)))
	first, last := 0, len(p.counts)-1
	for sum := p.counts[first]; sum <= cut && first < last; first++ {
		sum += p.counts[first+1]
	}
	for sum := p.counts[last]; sum <= cut && last > first; last-- {
		sum += p.counts[last-1]
	}
	return p.clip(p.edge(first), p.edge(last+1))
}
