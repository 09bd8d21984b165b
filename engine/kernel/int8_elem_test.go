package kernel

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// Every level gives the bytes of the Go twin at every length: the factors are rounded alike, and both use fused multiply-adds.
func TestElementsU8(t *testing.T) {
	for _, isa := range testLevels() {
		rng := rand.New(rand.NewPCG(8, uint64(isa)))
		var table [256]uint8
		for i := range table {
			table[i] = uint8(rng.IntN(256))
		}
		draw := func(n int) []uint8 {
			b := make([]uint8, n)
			for i := range b {
				b[i] = uint8(rng.IntN(256))
			}
			return b
		}
		scale := func() float32 { return float32(math.Exp(4*rng.Float64() - 4)) }
		for i := range cases(20000) {
			n := i % 300
			a, b := draw(n), draw(n)
			lo := uint8(rng.IntN(100))
			add := NewAddU8(scale(), scale(), scale(), uint8(rng.IntN(256)), uint8(rng.IntN(256)), uint8(rng.IntN(256)), lo, lo+uint8(rng.IntN(156)))
			mul := NewMulU8(scale(), scale(), scale()*50, uint8(rng.IntN(256)), uint8(rng.IntN(256)), uint8(rng.IntN(256)), lo, lo+uint8(rng.IntN(156)))
			rows := 1 + rng.IntN(5)
			wide := draw((rows-1)*(n+3) + n)
			run := func(level ISA) [][]uint8 {
				defer Limit(level)()
				out := [][]uint8{make([]uint8, n), make([]uint8, n), make([]uint8, n), bytes.Clone(a), nil}
				add.Apply(out[0], a, b)
				mul.Apply(out[1], a, b)
				Lookup(out[2], a, &table)
				MaxU8(out[3], b)
				acc := make([]int32, n)
				SumRowsU8(acc, wide, rows, n+3)
				for _, s := range acc {
					out[4] = append(out[4], uint8(s), uint8(s>>8))
				}
				return out
			}
			got, want := run(isa), run(Generic)
			for k, name := range []string{"add", "mul", "lookup", "max", "sum of rows"} {
				if !bytes.Equal(got[k], want[k]) {
					t.Fatalf("%s, %s of %d elements: %v, want %v", isa, name, n, got[k], want[k])
				}
			}
		}
	}
}

// The twins against the formulas of the ONNX specification in float64. Where the sum lies within 1e-3 of a tie, the float32
// factors may round to the other side.
func TestElementsU8Formula(t *testing.T) {
	defer Limit(Generic)()
	rng := rand.New(rand.NewPCG(9, 0))
	for range 20000 {
		sa, sb, sc := float32(math.Exp(2*rng.Float64()-3)), float32(math.Exp(2*rng.Float64()-3)), float32(math.Exp(2*rng.Float64()-2))
		za, zb, zc := uint8(rng.IntN(256)), uint8(rng.IntN(256)), uint8(rng.IntN(256))
		a, b := []uint8{uint8(rng.IntN(256))}, []uint8{uint8(rng.IntN(256))}
		fa, fb := float64(sa)*(float64(a[0])-float64(za)), float64(sb)*(float64(b[0])-float64(zb))
		var got [1]uint8
		add := NewAddU8(sa, sb, sc, za, zb, zc, 0, 255)
		add.Apply(got[:], a, b)
		closeTo(t, "sum", got[0], (fa+fb)/float64(sc)+float64(zc))
		mul := NewMulU8(sa, sb, sc, za, zb, zc, 0, 255)
		mul.Apply(got[:], a, b)
		closeTo(t, "product", got[0], fa*fb/float64(sc)+float64(zc))
	}
}

func closeTo(t *testing.T, name string, got uint8, v float64) {
	t.Helper()
	lo, hi := math.RoundToEven(v-1e-3), math.RoundToEven(v+1e-3)
	if g := float64(got); g < min(max(lo, 0), 255) || g > min(max(hi, 0), 255) {
		t.Fatalf("%s: %v, want %v", name, got, v)
	}
}

func TestMoveU8(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 0))
	for range cases(20000) {
		rows, cols := rng.IntN(40), rng.IntN(40)
		src, dst, back := make([]uint8, rows*cols), make([]uint8, rows*cols), make([]uint8, rows*cols)
		for i := range src {
			src[i] = uint8(rng.IntN(256))
		}
		TransposeU8(dst, src, rows, cols)
		InterleaveU8(back, src, max(rows, 1))
		if rows > 0 && !bytes.Equal(dst, back) {
			t.Fatalf("transpose and interleaving of [%d %d] differ", rows, cols)
		}
		for i, v := range src {
			if dst[i%cols*rows+i/cols] != v {
				t.Fatalf("transpose of [%d %d]: element %d is wrong", rows, cols, i)
			}
		}
		FlipU8(dst, src)
		for i, v := range src {
			if int(int8(dst[i])) != int(v)-128 {
				t.Fatalf("byte %d became %d", v, int8(dst[i]))
			}
		}
	}
}

// TestInterleaveThree compares three planes turned into pixels with the definition; what lies behind them stays as it is.
func TestInterleaveThree(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 1))
	x := randBytes(rng, 1<<12)
	for i := range cases(26000) {
		n := rng.IntN(70)
		src := x[rng.IntN(1<<11):][:3*n]
		got := make([]uint8, 3*n+40)
		InterleaveU8(got, src, 3)
		for k, v := range got {
			if want := uint8(0); k < 3*n && v != src[k%3*n+k/3] || k >= 3*n && v != want {
				t.Fatalf("case %d, %d pixels: byte %d is %d", i, n, k, v)
			}
		}
	}
}
