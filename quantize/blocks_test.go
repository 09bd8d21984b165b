package quantize_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/quantize"
)

// TestBlocksAsQuantizer compares 1,225 matrices with the bits that MatMulNBitsQuantizer of onnxruntime.quantization
// stores, from both orders of the weight.
func TestBlocksAsQuantizer(t *testing.T) {
	lines := fixture(t, "nbits.tsv")
	if len(lines) < 1000 {
		t.Fatalf("%d cases, want 1000", len(lines))
	}
	for _, line := range lines {
		var seed uint64
		var bits, group, symmetric, k, n int
		var codes, scales, zeros string
		if _, err := fmt.Sscan(line, &seed, &bits, &group, &symmetric, &k, &n, &codes, &scales, &zeros); err != nil {
			t.Fatal(err)
		}
		x := generated(seed+7000, k*n)
		flipped := make([]float32, k*n)
		for i := range k {
			for j := range n {
				flipped[j*k+i] = x[i*n+j]
			}
		}
		q, s, z, w, err := quantize.QuantizeNBits(x, k, n, group, bits, symmetric == 1, true)
		if err != nil {
			t.Fatal(err)
		}
		q2, s2, z2, w2, err := quantize.QuantizeNBits(flipped, k, n, group, bits, symmetric == 1, false)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(q, q2) || !slices.Equal(s, s2) || !slices.Equal(z, z2) || !slices.Equal(w, w2) {
			t.Errorf("seed %d: the two orders differ", seed)
		}
		if crc(q) != codes || crc(s) != scales || symmetric == 0 && crc(z) != zeros {
			t.Errorf("seed %d: %d bits, group %d, symmetric %d, %d x %d: codes %v, scales %v, zero points %v", seed, bits, group, symmetric, k, n,
				crc(q) == codes, crc(s) == scales, crc(z) == zeros)
		}
		for i, v := range flipped { // every weight within half a step, beyond it where a symmetric grid lacks the last code
			step := math.Abs(float64(s[i/k*((k+group-1)/group)+i%k/group]))
			if d := math.Abs(float64(v) - float64(w[i])); d > step*(0.5+float64(symmetric)*0.5)*(1+1e-4)+1e-30 {
				t.Fatalf("seed %d: weight %v became %v, a step is %v", seed, v, w[i], step)
			}
		}
	}
}

// TestBlockCorners: zero range, subnormals, the whole of float32, values that are not finite.
func TestBlockCorners(t *testing.T) {
	for _, bits := range []int{4, 8} {
		for _, symmetric := range []bool{false, true} {
			zero := int32(0)
			if symmetric {
				zero = 1 << (bits - 1)
			}
			for _, v := range [][2]float32{{0, 0}, {0, 0x1p-130}, {-0x1p-149, 0}} {
				if p := quantize.ChooseBlock(v[0], v[1], bits, symmetric); p != (quantize.Params{Scale: 0, ZeroPoint: zero}) {
					t.Errorf("%d bits %v: %+v", bits, v, p)
				}
			}
			rng := rand.New(rand.NewPCG(1, 2))
			x := make([]float32, 64)
			for i := range x {
				x[i] = (rng.Float32()*2 - 1) * math.MaxFloat32
			}
			x[0], x[1] = -math.MaxFloat32, math.MaxFloat32
			_, s, _, w, err := quantize.QuantizeNBits(x, 32, 2, 32, bits, symmetric, false)
			if err != nil || math.IsInf(float64(s[0]), 0) {
				t.Errorf("%d bits: whole range: %v %v", bits, s, err)
			}
			for i := range w {
				if d := math.Abs(float64(w[i]) - float64(x[i])); d > math.Abs(float64(s[i/32]))*1.001 {
					t.Errorf("%d bits: %v became %v", bits, x[i], w[i])
				}
			}
			for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
				for _, columns := range []bool{false, true} {
					x[37] = bad
					if _, _, _, _, err := quantize.QuantizeNBits(x, 32, 2, 16, bits, symmetric, columns); err == nil {
						t.Errorf("%d bits: %v: no error", bits, bad)
					}
				}
			}
		}
	}
}

// TestHQQ: on weights with heavy tails HQQ leaves less of the 0.7-norm that it minimises, and less of the mean magnitude,
// than rounding to nearest on the same kind of grid; with whole zero points no more.
func TestHQQ(t *testing.T) {
	const k, n, group = 256, 40, 64
	rng := rand.New(rand.NewPCG(7, 7))
	w := make([]float32, k*n)
	for i := range w {
		z := rng.NormFloat64()
		w[i] = float32(0.05 * z * math.Exp(0.5*rng.NormFloat64()))
	}
	cost := func(got []float32) (norm, mean float64) {
		for i, v := range got {
			d := math.Abs(float64(v) - float64(w[i]))
			norm += math.Pow(d, 0.7)
			mean += d / float64(len(got))
		}
		return norm, mean
	}
	_, _, _, nearest, err := quantize.QuantizeNBits(w, k, n, group, 4, false, false)
	if err != nil {
		t.Fatal(err)
	}
	norm0, mean0 := cost(nearest)
	for _, whole := range []bool{false, true} {
		got, err := quantize.RunHQQ(w, k, n, group, 4, whole)
		if err != nil {
			t.Fatal(err)
		}
		norm, mean := cost(got)
		t.Logf("whole %v: norm %.4f of rounding to nearest, mean %.4f", whole, norm/norm0, mean/mean0)
		if limit := map[bool]float64{false: 0.99, true: 1.01}[whole]; norm > limit*norm0 || mean > limit*mean0 {
			t.Errorf("whole %v: norm %.4f of rounding to nearest, mean %.4f", whole, norm/norm0, mean/mean0)
		}
	}
}

// TestHQQOneSided: weights of one sign far from 0, whose whole zero points lie on the end of the range, are restored to half a step.
func TestHQQOneSided(t *testing.T) {
	const k, n, group = 64, 8, 32
	rng := rand.New(rand.NewPCG(7, 8))
	for _, bits := range []int{4, 8} {
		for _, sign := range []float32{1, -1} {
			w := make([]float32, k*n)
			for i := range w {
				w[i] = sign * (5 + rng.Float32())
			}
			got, err := quantize.RunHQQ(w, k, n, group, bits, true)
			if err != nil {
				t.Fatal(err)
			}
			step := 6 / float64(int(1)<<bits-1)
			for i, v := range got {
				if d := math.Abs(float64(v - w[i])); d > 0.51*step { // and a few roundings of float32
					t.Fatalf("%d bits: weight %v is restored as %v, more than half a step of %.3g off", bits, w[i], v, step)
				}
			}
		}
	}
}
