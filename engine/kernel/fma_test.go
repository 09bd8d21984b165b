package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// bigFma is the oracle: exact arithmetic in math/big, one rounding to float32.
func bigFma(x, y, z float32) float32 {
	var a, b, c big.Float
	a.SetPrec(1000).SetFloat64(float64(x))
	b.SetPrec(1000).SetFloat64(float64(y))
	c.SetPrec(1000).SetFloat64(float64(z))
	a.Mul(&a, &b)
	a.Add(&a, &c)
	r, _ := a.Float32()
	return r
}

func TestFma32AgainstBig(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	check := func(x, y, z float32) {
		t.Helper()
		got, want := Fma32(x, y, z), bigFma(x, y, z)
		if math.Float32bits(got) != math.Float32bits(want) && !(got == 0 && want == 0) {
			t.Fatalf("Fma32(%g, %g, %g) = %g (%08x), want %g (%08x)", x, y, z, got, math.Float32bits(got), want, math.Float32bits(want))
		}
	}
	for range 300000 {
		x, y, z := math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32())
		if bad(x) || bad(y) || bad(z) {
			continue
		}
		check(x, y, z)
	}
	// Sums near a float32 midpoint, where rounding twice goes wrong: z + half an ulp + or - a tiny product.
	wrong := 0
	for range 200000 {
		z := math.Float32frombits(r.Uint32()&0x007fffff | uint32(60+r.IntN(100))<<23)
		half := float64(math.Nextafter32(z, math.MaxFloat32)-z) / 2
		x := float32(1 + float64(r.IntN(8))*0x1p-23)
		y := float32(half * (1 + float64(r.IntN(9)-4)*0x1p-23))
		if r.IntN(2) == 0 {
			x, y = -x, -y
		}
		if r.IntN(4) == 0 {
			y = -y
		}
		check(x, y, z)
		if float32(float64(x)*float64(y)+float64(z)) != bigFma(x, y, z) {
			wrong++
		}
	}
	if wrong == 0 {
		t.Fatal("no case needed the correction: the generator does not test it")
	}
	// Results in the subnormal range.
	for range 200000 {
		x := math.Float32frombits(r.Uint32()&0x007fffff | uint32(40+r.IntN(30))<<23)
		y := math.Float32frombits(r.Uint32()&0x807fffff | uint32(30+r.IntN(50))<<23)
		z := math.Float32frombits(r.Uint32() & 0x80ffffff)
		check(x, y, z)
	}
}

func bad(x float32) bool { return x != x || math.IsInf(float64(x), 0) }

func TestFma32Special(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	for _, c := range [][4]float32{
		{inf, 1, 0, inf}, {inf, 0, 1, nan}, {inf, 1, -inf, nan}, {1, 1, inf, inf}, {nan, 1, 1, nan},
		{math.MaxFloat32, 2, 0, inf}, {math.MaxFloat32, 2, -math.MaxFloat32, math.MaxFloat32}, {0, 0, 0, 0}, {1, -1, 1, 0},
	} {
		got := Fma32(c[0], c[1], c[2])
		if got != c[3] && !(got != got && c[3] != c[3]) {
			t.Errorf("Fma32(%g, %g, %g) = %g, want %g", c[0], c[1], c[2], got, c[3])
		}
	}
	if nz := float32(math.Copysign(0, -1)); math.Signbit(float64(Fma32(nz, 1, nz))) != true {
		t.Error("Fma32(-0, 1, -0) is not -0")
	}
}
