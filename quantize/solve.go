package quantize

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/wattshed/wattshed/engine/kernel"
)

// errors returns for every output the squared error of its value summed over the activations with the moments h: d^T h d
// for the difference d of its weights. w is [n][k]. The products are float32, the sums over inputs float64.
func (f nbits) errors(w []float32, m *blocks, h []float64) []float64 {
	d := make([]float32, len(w))
	parallel(f.n, grainElements/f.k+1, func(lo, hi int) {
		for j := lo; j < hi; j++ {
			row := d[j*f.k : (j+1)*f.k]
			m.output(row, j)
			for i, v := range w[j*f.k : (j+1)*f.k] {
				row[i] -= v
			}
		}
	})
	return quadratic(d, f.n, f.k, single(h))
}

// single rounds h to float32.
func single(h []float64) []float32 {
	out := make([]float32, len(h))
	for i, v := range h {
		out[i] = float32(v)
	}
	return out
}

// quadratic returns d^T h d of every row d, of k elements.
func quadratic(d []float32, n, k int, h []float32) []float64 {
	pool := kernel.NewPool(runtime.GOMAXPROCS(0), -1)
	defer pool.Close()
	hd := make([]float32, n*k)
	kernel.MatMulF32(pool, n, k, k, d, k, false, h, k, false, hd, k, kernel.Epilogue{})
	out := make([]float64, n)
	for j := range out {
		for i, v := range d[j*k : (j+1)*k] {
			out[j] += float64(v) * float64(hd[j*k+i])
		}
	}
	return out
}

// solve quantizes the values of w for one form with the algorithm of the plan.
func (p *weightOnlyPlan) solve(w *weightPlan, s *stored, x []float32, seen *activations) (*blocks, error) {
	order := s.form == columns
	switch {
	case p.Algorithm == RTN:
		return s.quantize(x, order)
	case s.form == table:
		s.remark = "a table: extremes by least squares"
		return s.leastSquares(x)
	case p.Algorithm == HQQ:
		return s.hqq(x, order, p.wholeZeros())
	}
	m, why := seen.of(p.top, w, s)
	if m == nil {
		s.kept, s.remark = s.n, "rounded to nearest: "+why
		return s.quantize(x, order)
	}
	if p.Algorithm == GPTQ {
		b, kept, remark, err := s.gptq(x, order, m)
		s.kept, s.remark = kept, remark
		if kept > 0 && kept < s.n {
			s.remark = strings.TrimPrefix(fmt.Sprintf("%s; %d of %d outputs rounded to nearest, where GPTQ is no better", remark, kept, s.n), "; ")
		}
		return b, err
	}
	return p.awq(w, s, x, m)
}

// leastSquares rounds x, [n][k], to nearest on grids with the least squared error.
func (f nbits) leastSquares(x []float32) (*blocks, error) {
	m, err := f.quantize(x, false)
	if err != nil {
		return nil, err
	}
	f.fill(m, x, func(_, lo, hi int, part []float32) Params { return f.search(part, nil) })
	return m, nil
}

// fill rounds x, [n][k], to nearest on the grids that choose returns for the inputs lo to hi of output j.
func (f nbits) fill(m *blocks, x []float32, choose func(j, lo, hi int, part []float32) Params) {
	parallel(f.n, 1, func(first, last int) {
		codes := make([]uint8, f.k)
		for j := first; j < last; j++ {
			for b := range f.blocks() {
				lo, hi := b*f.group, min((b+1)*f.group, f.k)
				part := x[j*f.k+lo : j*f.k+hi]
				p := choose(j, lo, hi, part)
				m.s[j*f.blocks()+b], m.z[j*f.blocks()+b] = p.Scale, uint8(p.ZeroPoint)
				QuantizeBlock(codes[lo:hi], part, p, f.bits)
			}
			m.setCodes(j, codes)
		}
	})
}
