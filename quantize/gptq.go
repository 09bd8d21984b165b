package quantize

import (
	"cmp"
	"fmt"
	"slices"
)

// Settings of GPTQ.
const (
	gptqBlock = 128  // columns whose updates of the rest are gathered
	damping   = 0.01 // of the mean of the diagonal of the Hessian, added to it
	retries   = 5    // with ten times the damping each
)

// gptq quantizes x, [k][n] or, with columns false, [n][k], so that the outputs for activations with the moments h change
// little: inputs in the order of their second moments, largest first; each is rounded on the grid of its group, which
// is fixed beforehand, and its error divided among the inputs still to come as the inverse of H tells. Where an
// output comes out no better than rounded to nearest, it is rounded to nearest. remark says what had to be done
// beyond that: more damping, or rounding to nearest throughout since no damping helped. kept is the number of outputs that are
// rounded to nearest.
//
// (Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, 2022, with act-order and static groups.)
func (f nbits) gptq(x []float32, columns bool, m *moments) (_ *blocks, kept int, remark string, err error) {
	nearest, err := f.quantize(x, columns)
	if err != nil {
		return nil, 0, "", err
	}
	k, n := f.k, f.n
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(m.h[b*k+b], m.h[a*k+a]) })
	u, factor := gptqFactor(m.h, k, order)
	if u == nil {
		return nearest, f.n, "rounded to nearest: the Hessian of its activations is not positive definite at any damping", nil
	}
	if factor > damping {
		remark = fmt.Sprintf("damping raised to %g", factor)
	}
	// one output after another in memory: outputs are independent of each other
	w := x
	if columns {
		w = flipped(x, k, n)
	}
	diag := make([]float64, k)
	for i := range diag {
		diag[i] = m.h[i*k+i]
	}
	better := f.newBlocks()
	parallel(n, 1, func(lo, hi int) {
		const strip = 16 // outputs that share a pass over the factor
		for at := lo; at < hi; at += strip {
			f.gptqStrip(w, at, min(at+strip, hi), order, u, diag, better)
		}
	})
	a, b := f.errors(w, better, m.h), f.errors(w, nearest, m.h)
	for j := range n {
		if !(a[j] < b[j]) {
			better.take(nearest, j)
			kept++
		}
	}
	return better, kept, remark, nil
}

// gptqFactor returns the factor of the inverse of h, its inputs in the given order, with as little of the usual
// damping as works, and that damping; nil when none does.
func gptqFactor(h []float64, k int, order []int) (u []float64, factor float64) {
	mean := 0.0
	for i := range k {
		mean += h[i*k+i] / float64(k)
	}
	if !(mean > 0) {
		return nil, 0
	}
	factor = damping
	for range retries + 1 {
		a := make([]float64, k*k)
		for i, oi := range order {
			for j, oj := range order {
				a[i*k+j] = h[oi*k+oj]
			}
			if a[i*k+i] == 0 { // never active: it is rounded alone
				a[i*k+i] = mean
			}
			a[i*k+i] += factor * mean
		}
		if u, ok := inverseFactor(a, k); ok {
			return u, factor
		}
		factor *= 10
	}
	return nil, 0
}

// gptqStrip quantizes the outputs first to last of w, which is [n][k].
func (f nbits) gptqStrip(w []float32, first, last int, order []int, u, diag []float64, to *blocks) {
	k, s := f.k, last-first
	work := make([]float64, k*s) // [input in order][output]
	params := make([]Params, s*f.blocks())
	codes := make([]uint8, s*k)
	for j := range s {
		row := w[(first+j)*k:][:k]
		for i, oi := range order {
			work[i*s+j] = float64(row[oi])
		}
		for b := range f.blocks() {
			lo, hi := b*f.group, min((b+1)*f.group, k)
			p := f.search(row[lo:hi], diag[lo:hi])
			params[j*f.blocks()+b] = p
			at := (first+j)*f.blocks() + b
			to.s[at], to.z[at] = p.Scale, uint8(p.ZeroPoint)
		}
	}
	top := float32(int32(1)<<f.bits - 1)
	errs := make([]float64, gptqBlock*s)
	for b := 0; b < k; b += gptqBlock {
		e := min(b+gptqBlock, k)
		for i := b; i < e; i++ {
			d := u[i*k+i]
			err := errs[(i-b)*s : (i-b+1)*s]
			for j, v := range work[i*s : (i+1)*s] {
				p := params[j*f.blocks()+order[i]/f.group]
				c := roundCode(float32(float32(v)*p.reciprocal())+float32(p.ZeroPoint), top)
				codes[j*k+order[i]] = c
				err[j] = (v - float64(float32(int32(c)-p.ZeroPoint)*p.Scale)) / d
			}
			for r := i + 1; r < e; r++ {
				axpy(work[r*s:(r+1)*s], err, -u[i*k+r])
			}
		}
		for r := e; r < k; r++ {
			for i := b; i < e; i++ {
				axpy(work[r*s:(r+1)*s], errs[(i-b)*s:(i-b+1)*s], -u[i*k+r])
			}
		}
	}
	for j := range s {
		to.setCodes(first+j, codes[j*k:(j+1)*k])
	}
}

// search returns the parameters of a group that round x with the least squared error weighted by weight (all alike
// when it is nil): those of its extremes, or of extremes shrunk by up to 0.4. (GPTQ's grid search of norm 2.)
func (f nbits) search(x []float32, weight []float64) Params {
	var lo, hi float32
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return f.searchBy(lo, hi, func(p Params) float64 {
		var e float64
		for i, d := range f.roundings(x, p) {
			if weight == nil {
				e += d * d
			} else {
				e += d * d * weight[i]
			}
		}
		return e
	})
}

// searchSteps is the number of shrunk ranges that are tried.
const searchSteps = 16

// searchBy returns the parameters of lo..hi, or of that range shrunk, with the least cost; the widest of equals.
func (f nbits) searchBy(lo, hi float32, cost func(Params) float64) Params {
	best := f.choose(lo, hi)
	least := cost(best)
	for i := 1; i <= searchSteps && least > 0; i++ {
		shrink := 1 - 0.4*float32(i)/searchSteps
		p := f.choose(lo*shrink, hi*shrink)
		if e := cost(p); e < least {
			best, least = p, e
		}
	}
	return best
}

// roundings yields by index what is lost of every x.
func (f nbits) roundings(x []float32, p Params) func(func(int, float64) bool) {
	return func(yield func(int, float64) bool) {
		r, z, top := p.reciprocal(), float32(p.ZeroPoint), float32(int32(1)<<f.bits-1)
		for i, v := range x {
			c := roundCode(float32(v*r)+z, top)
			if !yield(i, float64(v)-float64(float32(int32(c)-p.ZeroPoint)*p.Scale)) {
				return
			}
		}
	}
}

// take copies output j of another matrix of the same form.
func (m *blocks) take(from *blocks, j int) {
	k, b := m.blocks(), m.blocks()*m.blob()
	copy(m.q[j*b:(j+1)*b], from.q[j*b:])
	copy(m.s[j*k:(j+1)*k], from.s[j*k:])
	copy(m.z[j*k:(j+1)*k], from.z[j*k:])
}

// flipped returns the transpose of x, [rows][cols].
func flipped(x []float32, rows, cols int) []float32 {
	y := make([]float32, len(x))
	parallel(cols, grainElements/max(rows, 1)+1, func(lo, hi int) {
		const tile = 16
		for j0 := lo; j0 < hi; j0 += tile {
			for i := range rows {
				for j := j0; j < min(j0+tile, hi); j++ {
					y[j*rows+i] = x[i*cols+j]
				}
			}
		}
	})
	return y
}
