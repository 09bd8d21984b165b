package quantize

import "math"

// Settings of HQQ.
const (
	hqqNorm  = 0.7
	hqqBeta  = 10
	hqqKappa = 1.01
	hqqIters = 20
)

// power returns x^y for x > 0 by functions that do not depend on whether the processor has fused multiply-add, which
// math.Pow does.
func power(x, y float64) float64 { return math.Exp2(y * math.Log2(x)) }

// wholeZeros reports whether the zero points of HQQ have to be integers: those of DequantizeLinear are, and ONNX Runtime's MatMulNBits
// takes others with 4 bits alone.
func (o WeightOnly) wholeZeros() bool { return o.Format == QDQ || o.Bits == 8 }

// hqq quantizes x, [k][n] or, with columns false, [n][k], with zero points that are no integers unless whole is set:
// starting from Scale = (max-min) / (2^bits-1) and zero = round(-min/Scale) of a group, it alternates between the codes
// and the zero points, which minimise the 0.7-norm of what is lost, as long as its mean magnitude falls. Activations
// are not needed. A symmetric matrix is asked for in vain, HQQ has zero points.
//
// (Badri, Shaji: Half-Quadratic Quantization, 2023; onnxruntime.quantization 1.32, HQQWeightOnlyQuantizer.)
func (f nbits) hqq(x []float32, columns, whole bool) (*blocks, error) {
	f.symmetric = false
	m, err := f.quantize(x, columns) // checks that all is finite
	if err != nil {
		return nil, err
	}
	w := x
	if columns {
		w = flipped(x, f.k, f.n)
	}
	groups := f.n * f.blocks()
	inverse, zero := make([]float32, groups), make([]float32, groups)
	top := float32(int32(1)<<f.bits - 1)
	part := func(g int) []float32 {
		j, b := g/f.blocks(), g%f.blocks()
		return w[j*f.k+b*f.group : j*f.k+min((b+1)*f.group, f.k)]
	}
	for g := range groups {
		lo, hi := part(g)[0], part(g)[0]
		for _, v := range part(g) {
			lo, hi = min(lo, v), max(hi, v)
		}
		if whole { // a zero point is one of the codes
			lo, hi = min(lo, 0), max(hi, 0)
		}
		width := hi - lo
		if width < smallestScale { // all equal: a range from 0 holds them exactly, where the reference rounds them to a step of 1
			lo, hi = min(lo, 0), max(hi, 0)
			if width = hi - lo; width < smallestScale {
				width = top
			}
		}
		inverse[g] = min(top/width, 2e4)
		zero[g] = float32(math.RoundToEven(float64(-lo * inverse[g])))
	}
	code := func(v float32, g int) float32 {
		return min(max(float32(math.RoundToEven(float64(float32(v*inverse[g])+zero[g]))), 0), top)
	}
	best := math.Inf(1)
	next := make([]float32, groups)
	for it, beta := 0, float64(hqqBeta); it < hqqIters; it, beta = it+1, beta*hqqKappa {
		sums := make([]float64, groups)
		parallel(groups, 64, func(first, last int) {
			for g := first; g < last; g++ {
				var lost, z float64
				for _, v := range part(g) {
					q := code(v, g)
					d := float64(v - (q-zero[g])/inverse[g])
					lost += math.Abs(d)
					e := math.Copysign(max(math.Abs(d)-power(math.Abs(d)+1e-8, hqqNorm-1)/beta, 0), d)
					z += float64(q) - (float64(v)-e)*float64(inverse[g])
				}
				sums[g], next[g] = lost, float32(z/float64(len(part(g))))
			}
		})
		total := 0.0
		for _, v := range sums {
			total += v
		}
		if total >= best {
			break
		}
		best = total
		zero, next = next, zero
	}
	m.zf = zero
	if whole {
		for g, z := range zero {
			zero[g] = min(max(float32(math.RoundToEven(float64(z))), 0), top)
			m.z[g] = uint8(zero[g])
		}
		m.zf = nil
	}
	codes := make([]uint8, f.k)
	for j := range f.n {
		for i, v := range w[j*f.k : (j+1)*f.k] {
			codes[i] = uint8(code(v, j*f.blocks()+i/f.group))
		}
		m.setCodes(j, codes)
	}
	for g, v := range inverse {
		m.s[g] = 1 / v
	}
	return m, nil
}
