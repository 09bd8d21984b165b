package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// unit is the unit roundoff of float32, half a unit in the last place of 1.
const unit = 1.0 / (1 << 24)

// rowsOf draws rows of every length up to a vector's width and of some longer ones, at several sizes of their values.
func rowsOf(seed uint64, f func(r *rand.Rand, n int, x []float32)) {
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range 3000 {
		n := 1 + i%70
		if i%10 == 0 {
			n = 1 + r.IntN(2000)
		}
		x := normals(r, n)
		size, shift := float32(math.Exp(8*r.Float64()-4)), float32(0)
		if i%3 == 0 {
			shift = float32(4 * r.NormFloat64())
		}
		for k := range x {
			x[k] = x[k]*size + shift
		}
		f(r, n, x)
	}
}

// TestSoftmaxULP holds SoftmaxRows to the bound of its comment, against the definition in float64.
func TestSoftmaxULP(t *testing.T) {
	for _, isa := range floatLevels() {
		t.Run(isa.String(), func(t *testing.T) {
			defer Limit(isa)()
			worst, share := 0.0, 0.0
			rowsOf(31, func(r *rand.Rand, n int, x []float32) {
				y := make([]float32, n)
				SoftmaxRows(y, x, 1, n, 1, nil)
				top := ReduceMax(x)
				for i, want := range softmax64(toF64(x)) {
					u := ulps(y[i], want)
					bound := 12 + math.Log(float64(n)) + float64(n)/softmaxLanes + math.Abs(float64(x[i])-float64(top))
					if u > bound {
						t.Fatalf("n %d: softmax of %g under %g is %g, want %g: %.2f ULP, bound %.2f", n, x[i], top, y[i], want, u, bound)
					}
					worst, share = max(worst, u), max(share, u/bound)
				}
			})
			t.Logf("worst %.2f ULP, %.2f of the bound", worst, share)
		})
	}
}

// TestNormULP holds LayerNormRows and RMSNormRows to the bounds of their comments, against the definitions in float64.
func TestNormULP(t *testing.T) {
	for _, isa := range floatLevels() {
		t.Run(isa.String(), func(t *testing.T) {
			defer Limit(isa)()
			var rms, layer, share float64
			rowsOf(32, func(r *rand.Rand, n int, x []float32) {
				gamma, beta, y := normals(r, n), normals(r, n), make([]float32, n)
				steps := float64(n)/lanes + 7
				const eps = 1e-5
				RMSNormRows(y, x, gamma, 1, n, eps, nil)
				eps32 := float64(float32(eps))
				for i, want := range layerNorm64(toF64(x), toF64(gamma), nil, eps32, false) {
					u := ulps(y[i], want)
					if bound := steps/2 + 6; u > bound {
						t.Fatalf("n %d: RMS norm %g, want %g: %.2f ULP, bound %.2f", n, y[i], want, u, bound)
					}
					rms = max(rms, u)
				}
				mean, size := 0.0, 0.0
				for _, v := range x {
					mean, size = mean+float64(v)/float64(n), size+math.Abs(float64(v))/float64(n)
				}
				variance := 0.0
				for _, v := range x {
					variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
				}
				inv := 1 / math.Sqrt(variance+eps32)
				off := steps * size * inv // what the rounding of the mean moves every element by, in units
				for _, b := range [][]float32{beta, nil} {
					var b64 []float64
					if b != nil {
						b64 = toF64(b)
					}
					LayerNormRows(y, x, nil, nil, gamma, b, 1, n, eps, nil, nil)
					for i, want := range layerNorm64(toF64(x), toF64(gamma), b64, eps32, true) {
						h := math.Abs(float64(x[i])-mean) * inv
						bound := unit * (math.Abs(float64(gamma[i]))*(off+h*(steps/2+6+off*off*unit)) + math.Abs(want))
						d := math.Abs(float64(y[i]) - want)
						if d > bound {
							t.Fatalf("n %d: layer norm %g, want %g: apart by %g, bound %g", n, y[i], want, d, bound)
						}
						share = max(share, d/bound)
						layer = max(layer, d/(unit*(math.Abs(want)+math.Abs(float64(gamma[i])))))
					}
				}
			})
			t.Logf("RMS norm: worst %.2f ULP; layer norm: %.2f of the bound", rms, share)
		})
	}
}
