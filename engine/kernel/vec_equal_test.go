package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// vecCase runs one function on random inputs and returns everything it wrote.
type vecCase struct {
	name string
	run  func(in func(n int) []float32, n int, r *rand.Rand) [][]float32
}

func unaryCase(name string, f func(dst, src []float32)) vecCase {
	return vecCase{name, func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
		src, dst := in(n), in(n)
		f(dst, src)
		f(src, src) // in place
		return [][]float32{dst, src}
	}}
}

func binaryCase(name string, f func(dst, a, b []float32)) vecCase {
	return vecCase{name, func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
		dst, a, b := in(n), in(n), in(n)
		f(dst, a, b)
		f(a, a, b)
		return [][]float32{dst, a}
	}}
}

func scalarCase(name string, f func(dst, a []float32, s float32)) vecCase {
	return vecCase{name, func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
		dst, a := in(n), in(n)
		f(dst, a, in(1)[0])
		return [][]float32{dst}
	}}
}

func reduceCase(name string, f func(x, y []float32) float32) vecCase {
	return vecCase{name, func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
		return [][]float32{{f(in(n), in(n))}}
	}}
}

func vecCases() []vecCase {
	elementwise := []vecCase{
		unaryCase("Exp", Exp), unaryCase("Log", Log), unaryCase("Tanh", Tanh), unaryCase("Sigmoid", Sigmoid),
		unaryCase("Erf", Erf), unaryCase("GeluErf", GeluErf), unaryCase("GeluTanh", GeluTanh), unaryCase("SiLU", SiLU),
		unaryCase("HardSwish", HardSwish), unaryCase("Relu", Relu), unaryCase("Softplus", Softplus),
		unaryCase("Sqrt", Sqrt), unaryCase("Reciprocal", Reciprocal), unaryCase("Neg", Neg), unaryCase("Abs", Abs),
		unaryCase("Floor", Floor), unaryCase("Ceil", Ceil), unaryCase("Round", Round),
		unaryCase("Pow2", func(d, s []float32) { Pow(d, s, 2) }),
		scalarCase("LeakyRelu", LeakyRelu), scalarCase("Elu", Elu),
		scalarCase("HardSigmoid", func(d, s []float32, a float32) { HardSigmoid(d, s, a, 0.5) }),
		scalarCase("Clip", func(d, s []float32, a float32) { Clip(d, s, -1, a) }),
		binaryCase("Add", Add), binaryCase("Sub", Sub), binaryCase("Mul", Mul), binaryCase("Div", Div),
		binaryCase("Max", Max), binaryCase("Min", Min), binaryCase("MulAdd", func(d, a, b []float32) { MulAdd(d, a, b, a) }),
		scalarCase("AddS", AddS), scalarCase("SubS", SubS), scalarCase("MulS", MulS), scalarCase("DivS", DivS),
		scalarCase("MaxS", MaxS), scalarCase("MinS", MinS),
		scalarCase("SubR", func(d, a []float32, s float32) { SubR(d, s, a) }),
		scalarCase("DivR", func(d, a []float32, s float32) { DivR(d, s, a) }),
		scalarCase("MaxR", func(d, a []float32, s float32) { MaxR(d, s, a) }),
		scalarCase("MinR", func(d, a []float32, s float32) { MinR(d, s, a) }),
		scalarCase("Axpy", func(d, a []float32, s float32) { Axpy(s, a, d) }),
		reduceCase("Sum", func(x, _ []float32) float32 { return Sum(x) }), reduceCase("Dot", Dot),
		reduceCase("ReduceMax", func(x, _ []float32) float32 { return ReduceMax(x) }),
		reduceCase("ReduceMin", func(x, _ []float32) float32 { return ReduceMin(x) }),
	}
	return append(elementwise, rowCases()...)
}

func rowCases() []vecCase {
	return []vecCase{
		{"Softmax", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			a, b, c, mask := in(2*n), in(2*n), in(2*n), in(n)
			SoftmaxRows(a, b, 2, n, 0.125, nil)
			SoftmaxRows(c, c, 2, n, 0.125, mask)
			d, e := in(2*n), in(2*n)
			SoftmaxGradRows(d, b, a, 2, n, 0.5)
			SoftmaxRows(e, e, 2, n, 0.5, in(2*n))
			return [][]float32{a, c, d, e}
		}},
		{"SoftmaxPart", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			most, sum, factor, mask := []float32{float32(math.Inf(-1)), in(1)[0]}, []float32{0, in(1)[0]}, in(2), in(n+n/2)
			out := [][]float32{most, sum, factor}
			for i := range 3 { // one part after the other, the second without a mask
				p, m := in(2*n), mask
				if i == 1 {
					m = nil
				}
				SoftmaxPart(p, 2, n, 0.125, m, n/2*(i/2), most, sum, factor)
				out = append(out, p, append([]float32(nil), factor...))
			}
			return out
		}},
		{"LogSoftmax", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			a, b, c := in(2*n), in(2*n), in(2*n)
			LogSoftmaxRows(a, b, 2, n, 1, nil)
			LogSoftmaxRows(c, c, 2, n, 1, in(2*n))
			LogSoftmaxGradRows(b, b, a, 2, n, 0.5)
			return [][]float32{a, b, c}
		}},
		{"LayerNorm", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			a, x, res, sum, gamma, mean, inv := in(2*n), in(2*n), in(2*n), in(2*n), in(n), in(2), in(2)
			LayerNormRows(a, x, res, sum, gamma, in(n), 2, n, 1e-5, mean, inv)
			b := in(2 * n)
			LayerNormRows(b, x, nil, nil, gamma, nil, 2, n, 1e-5, nil, nil)
			LayerNormRows(x, x, res, nil, gamma, in(n), 2, n, 1e-5, nil, nil)
			e, f := in(2*n), in(2*n)
			LayerNormRows(e, f, res, res, gamma, in(n), 2, n, 1e-5, nil, nil)
			LayerNormRows(f, f, nil, nil, gamma, in(n), 2, n, 1e-5, nil, nil)
			dx, dg, db := in(2*n), in(n), in(n)
			LayerNormGradRows(dx, dg, db, res, sum, gamma, 2, n, mean, inv)
			return [][]float32{a, b, dx, dg, db, sum, mean, inv, x, e, f, res}
		}},
		{"RMSNorm", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			a, x, gamma, inv := in(2*n), in(2*n), in(n), in(2)
			RMSNormRows(a, x, gamma, 2, n, 1e-5, inv)
			dx, dg := in(2*n), in(n)
			RMSNormGradRows(dx, dg, a, x, gamma, 2, n, inv)
			return [][]float32{a, dx, dg, inv}
		}},
		{"LSTMCell", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			z, p, c, h := in(8*n), in(2*n), in(2*n), in(2*n)
			LSTMCell(z, p, c, h, 2, n)
			LSTMUnits(z[4*n:], p[n:], p[n:], p[:n], n/3, n-n/3)
			return [][]float32{z, p, c, h}
		}},
		{"LSTM", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			z, p, c, h, dh, dc := in(8*n), in(2*n), in(2*n), in(2*n), in(2*n), in(2*n)
			LSTMGates(z, p, c, h, 2, n)
			act := append([]float32(nil), z...)
			LSTMGatesGrad(z, p, c, dh, dc, 2, n)
			return [][]float32{act, z, c, h, dc}
		}},
		{"GRU", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			zr, p, rh, a, lin, h := in(4*n), in(2*n), in(2*n), in(2*n), in(2*n), in(2*n)
			GRUGates(zr, p, rh, 2, n)
			GRUOutput(zr, a, lin, p, h, 2, n)
			return [][]float32{zr, rh, a, h}
		}},
		{"AdamW", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			w, g, m, v := in(n), in(n), in(n), in(n)
			AdamW(w, g, m, v, AdamWParams{LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, Step: 1 + r.IntN(100)})
			SGD(w, g, in(n), 0.1, 0.9, 0.01)
			return [][]float32{w, m, v}
		}},
		{"Half", func(in func(int) []float32, n int, r *rand.Rand) [][]float32 {
			x := in(n)
			h, q := make([]uint16, n), make([]uint8, n)
			b := make([]uint16, n)
			F32ToF16(h, x)
			F32ToBF16(b, x)
			out := [][]float32{in(n), in(n), in(n), in(n), in(n), in(n)}
			F16ToF32(out[0], h)
			BF16ToF32(out[1], b)
			s := make([]int8, n)
			for i := range h {
				h[i], b[i], q[i], s[i] = uint16(r.Uint32()), uint16(r.Uint32()), uint8(r.Uint32()), int8(r.Uint32())
			}
			F16ToF32(out[2], h)
			BF16ToF32(out[3], b)
			DequantizeU8(out[4], q, 0.3, 7)
			DequantizeS8(out[5], s, 0.3, -7)
			return out
		}},
	}
}

// specials are the values at which a kernel and its twin could part.
var specials = []float32{0, float32(math.Copysign(0, -1)), 1, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 1.1754944e-38, 0.625, 0.921875,
	88.7, 88.8, -87.4, -103.9, -104.1, 0.70710677, 1.4142135, 0.5, 1.5, 2.5, -0.5, 8388608.5, 16777216, 65504, 65520, 1e-7}

// randomInput returns slices of n values that start at any alignment inside a guarded buffer, and the guards' check.
func randomInput(r *rand.Rand, mode int) (in func(n int) []float32, intact func() bool) {
	const guard = 70
	var all [][]float32
	in = func(n int) []float32 {
		off := guard + r.IntN(16)
		buf := make([]float32, off+n+guard)
		for i := range buf {
			buf[i] = 123.25
		}
		x := buf[off : off+n : off+n]
		for i := range x {
			switch k := r.IntN(100); {
			case mode == 0 && k < 10:
				x[i] = specials[r.IntN(len(specials))]
			case mode == 0 && k < 30, mode == 1 && k < 5:
				x[i] = math.Float32frombits(r.Uint32())
			default:
				x[i] = float32(r.NormFloat64() * 4)
			}
		}
		all = append(all, buf[:off], buf[off+n:])
		return x
	}
	return in, func() bool {
		for _, g := range all {
			for _, v := range g {
				if v != 123.25 {
					return false
				}
			}
		}
		return true
	}
}

// TestVecEqual runs every vector function on each instruction set and on the Go twin with the same seeded inputs, and
// wants the same bits (any NaN equals any NaN) and untouched surroundings: 20,000 inputs for each function that are not empty, and of those whose
// kernels take 16 elements at least so many that have them.
func TestVecEqual(t *testing.T) {
	if Detect() == Generic {
		t.Skip("no assembly for this machine")
	}
	for _, c := range vecCases() {
		inputs := 20800
		if c.name == "Half" {
			inputs = 34000
		}
		for seed := range uint64(cases(inputs)) {
			var want [][]float32
			for _, isa := range floatLevels() {
				r := rand.New(rand.NewPCG(seed, 7))
				n := r.IntN(40)
				switch seed % 64 {
				case 2, 3:
					n = r.IntN(300)
				case 4, 5:
					n = 16 * r.IntN(12)
				}
				in, intact := randomInput(r, int(seed%3))
				restore := Limit(isa)
				got := c.run(in, n, r)
				restore()
				if !intact() {
					t.Fatalf("%s %v seed %d n %d: wrote outside of its slice", c.name, isa, seed, n)
				}
				if isa == Generic {
					want = got
					continue
				}
				for k := range want {
					for i, w := range want[k] {
						if g := got[k][i]; math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
							t.Fatalf("%s %v seed %d n %d: output %d[%d] = %g (%#x), Go twin %g (%#x)", c.name, isa, seed, n, k, i,
								g, math.Float32bits(g), w, math.Float32bits(w))
						}
					}
				}
			}
		}
	}
}
