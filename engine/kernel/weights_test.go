package kernel

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// weightsCase is a matrix of rows a few elements longer than they are looked at, with parameters of its columns.
type weightsCase struct {
	x           []float32
	rows, n, ld int
	recip, zero []float32
	scale       []float32
}

func newWeightsCase(rng *rand.Rand, rows, n, bits int) weightsCase {
	c := weightsCase{rows: rows, n: n, ld: n + rng.IntN(5)}
	for range max((rows-1)*c.ld+n, 0) {
		c.x = append(c.x, float32(rng.NormFloat64()))
	}
	for range n {
		c.scale = append(c.scale, float32(math.Exp(2*rng.Float64()-5)))
	}
	for j := range n { // parameters of the column: all codes within one of the range, some of them halves
		lo, hi := float32(0), float32(0)
		for i := range rows {
			lo, hi = min(lo, c.x[i*c.ld+j]), max(hi, c.x[i*c.ld+j])
		}
		top := float32(int(1)<<bits - 1)
		s := max(hi-lo, 1e-9) / top
		z := float32(math.Floor(float64(min(max(-lo/s, 0), top)) + 0.5))
		c.recip, c.zero = append(c.recip, 1/s), append(c.zero, z)
		if rng.IntN(3) == 0 {
			c.recip[j], c.zero[j] = float32(int(1)<<rng.IntN(3)), float32(rng.IntN(int(top)))
			for i := range rows {
				c.x[i*c.ld+j] = (float32(rng.IntN(int(2*top)))/2 - c.zero[j]) / c.recip[j]
			}
		}
	}
	return c
}

// Every level gives the bytes of the Go twin: all round the same products, sums and quotients.
func TestWeights(t *testing.T) {
	for _, isa := range testLevels() {
		rng := rand.New(rand.NewPCG(21, uint64(isa)))
		for i := range cases(20000) {
			bits := 4 << (i % 2)
			c := newWeightsCase(rng, 2*rng.IntN(20), 1+rng.IntN(90), bits)
			bad := rng.IntN(4) == 0 && len(c.x) > 0
			at := 0
			if bad {
				at = rng.IntN(len(c.x))
				at -= max(at%c.ld-(c.n-1), 0) // not between the rows
			}
			step := c.rows*bits/8 + rng.IntN(3)
			run := func(level ISA) (lo, hi []float32, finite, whole bool, q, r []uint8) {
				defer Limit(level)()
				x := slices.Clone(c.x)
				lo, hi = make([]float32, c.n), make([]float32, c.n)
				finite = ColumnExtents(lo, hi, x, c.rows, c.ld)
				q = make([]uint8, c.n*step)
				GroupCodes(q, step, x, c.rows, c.ld, c.recip, c.zero, bits)
				r = make([]uint8, c.n)
				if bad {
					x[at] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32}[i/2%4]
				}
				if c.rows > 0 {
					ColumnCodes(r, x[:c.n], c.scale, -64, 63)
				}
				l, h := slices.Clone(lo), slices.Clone(hi)
				whole = ColumnExtents(l, h, x, c.rows, c.ld)
				return append(lo, l...), append(hi, h...), finite, whole, q, r
			}
			lo, hi, finite, whole, q, r := run(isa)
			lo2, hi2, finite2, whole2, q2, r2 := run(Generic)
			if sameBits(lo, lo2) >= 0 || sameBits(hi, hi2) >= 0 || finite != finite2 || whole != whole2 || !finite || whole == (bad && i/2%4 != 3) {
				t.Fatalf("%s: extremes of %d rows of %d: %v %v %v %v, want %v %v %v %v", isa, c.rows, c.n, lo, hi, finite, whole, lo2, hi2, finite2, whole2)
			}
			if !bytes.Equal(q, q2) {
				t.Fatalf("%s: %d bits of %d rows of %d: %v, want %v", isa, bits, c.rows, c.n, q, q2)
			}
			if !bytes.Equal(r, r2) {
				t.Fatalf("%s: codes of a row of %d: %v, want %v", isa, c.n, r, r2)
			}
		}
	}
}

// TestGroupCodes is TestWeights of the codes alone, of whole vectors of columns and the rest, mostly of 4 bits.
func TestGroupCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 9))
	for i := range cases(15000) {
		bits := 4
		if i%6 == 0 {
			bits = 8
		}
		c := newWeightsCase(rng, 8*(1+rng.IntN(2)), 16+rng.IntN(20), bits)
		step := c.rows*bits/8 + rng.IntN(3)
		var want []uint8
		for _, isa := range floatLevels() {
			q := make([]uint8, c.n*step)
			restore := Limit(isa)
			GroupCodes(q, step, c.x, c.rows, c.ld, c.recip, c.zero, bits)
			restore()
			if isa == Generic {
				want = q
			} else if !bytes.Equal(q, want) {
				t.Fatalf("%s: case %d, %d bits of %d rows of %d: %v, want %v", isa, i, bits, c.rows, c.n, q, want)
			}
		}
	}
}

// The twins against the formulas in float64, where a half is one.
func TestWeightsFormula(t *testing.T) {
	defer Limit(Generic)()
	rng := rand.New(rand.NewPCG(22, 0))
	for i := range cases(2000) {
		bits := 4 << (i % 2)
		c := newWeightsCase(rng, 2+2*rng.IntN(8), 1+rng.IntN(9), bits)
		step := c.rows * bits / 8
		q, r := make([]uint8, c.n*step), make([]uint8, c.n)
		GroupCodes(q, step, c.x, c.rows, c.ld, c.recip, c.zero, bits)
		ColumnCodes(r, c.x[:c.n], c.scale, -128, 127)
		lo, hi := make([]float32, c.n), make([]float32, c.n)
		ColumnExtents(lo, hi, c.x, c.rows, c.ld)
		top := float64(int(1)<<bits - 1)
		for j := range c.n {
			l, h := 0.0, 0.0
			for k := range c.rows {
				v := c.x[k*c.ld+j]
				l, h = min(l, float64(v)), max(h, float64(v))
				got := q[j*step+k*bits/8] >> (k * bits % 8) & uint8(top)
				sum := float64(float32(v*c.recip[j]) + c.zero[j])
				if want := min(max(math.Floor(sum+0.5), 0), top); float64(got) != want {
					t.Fatalf("element %d of column %d: code %d, want %v", k, j, got, want)
				}
			}
			if float64(lo[j]) != l || float64(hi[j]) != h {
				t.Fatalf("column %d: %v to %v, want %v to %v", j, lo[j], hi[j], l, h)
			}
			if want := min(max(math.RoundToEven(float64(c.x[j]/c.scale[j])), -128), 127); float64(int8(r[j])) != want {
				t.Fatalf("column %d: code %d, want %v", j, int8(r[j]), want)
			}
		}
	}
}
