package kernel

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTranspose compares with the index formula for random ranks, sizes and permutations.
func TestTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range cases(20000) {
		rank, elem := r.IntN(6), []int{1, 2, 3, 4, 4, 4, 8, 16}[r.IntN(8)]
		shape, size := make([]int, rank), elem
		for k := range shape {
			shape[k] = r.IntN(5)
			if r.IntN(4) == 0 {
				shape[k] = r.IntN(20)
			}
			size *= shape[k]
		}
		perm := r.Perm(rank)
		src, dst, want := make([]byte, size), make([]byte, size), make([]byte, size)
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		for d := range size / elem {
			idx, q := make([]int, rank), d
			for k := rank - 1; k >= 0; k-- {
				idx[perm[k]] = q % shape[perm[k]]
				q /= shape[perm[k]]
			}
			s := 0
			for k := range rank {
				s = s*shape[k] + idx[k]
			}
			copy(want[d*elem:(d+1)*elem], src[s*elem:])
		}
		TransposeBytes(dst, src, elem, shape, perm)
		if !bytes.Equal(dst, want) {
			t.Fatalf("shape %v perm %v elem %d: %v, want %v", shape, perm, elem, dst, want)
		}
	}
	for range cases(20000) {
		m, n := r.IntN(70), r.IntN(70)
		src, dst := normals(r, m*n), make([]float32, m*n)
		Transpose2D(dst, src, m, n)
		for i := range m {
			for j := range n {
				if dst[j*m+i] != src[i*n+j] {
					t.Fatalf("%dx%d: dst[%d,%d] = %g, want %g", m, n, j, i, dst[j*m+i], src[i*n+j])
				}
			}
		}
	}
}

// TestGather gathers and scatters rows, with negative indices.
func TestGather(t *testing.T) {
	table := []float32{1, 2, 3, 4, 5, 6}
	out := make([]float32, 6)
	GatherRowsF32(out, table, 3, 2, []int64{2, -3, -1})
	if want := []float32{5, 6, 1, 2, 5, 6}; !slices.Equal(out, want) {
		t.Errorf("gather = %v, want %v", out, want)
	}
	b := make([]byte, 4)
	GatherRows(b, []byte{1, 2, 3, 4, 5, 6}, 2, 3, 1, []int64{-1, 0})
	if want := []byte{5, 6, 1, 2}; !bytes.Equal(b, want) {
		t.Errorf("gather bytes = %v, want %v", b, want)
	}
	acc := make([]float32, 6)
	ScatterAddRows(acc, out, 3, 2, []int64{2, -3, -1})
	if want := []float32{1, 2, 0, 0, 10, 12}; !slices.Equal(acc, want) {
		t.Errorf("scatter = %v, want %v", acc, want)
	}
}

// f16Value is the value of IEEE binary16 bits by definition.
func f16Value(h uint16) float64 {
	e, m := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(1024+m, e-25)
	switch {
	case e == 0:
		v = math.Ldexp(m, -24)
	case e == 31 && m == 0:
		v = math.Inf(1)
	case e == 31:
		v = math.NaN()
	}
	if h>>15 == 1 {
		v = -v
	}
	return v
}

// TestHalf goes through all half-precision values, and the middles between neighbours, where ties go to even.
func TestHalf(t *testing.T) {
	n := 1 << 16
	h, back, f := make([]uint16, n), make([]uint16, n), make([]float32, n)
	for i := range h {
		h[i] = uint16(i)
	}
	F16ToF32(f, h)
	F32ToF16(back, f)
	for i, v := range f {
		w := f16Value(h[i])
		if float64(v) != w && (v == v || w == w) {
			t.Fatalf("F16ToF32(%#x) = %g, want %g", i, v, w)
		}
		if v == v && back[i] != h[i] || v != v && back[i]&0x7fff <= 0x7c00 {
			t.Fatalf("F32ToF16(%g) = %#x, want %#x", v, back[i], i)
		}
	}
	mid := make([]float32, 0x7bff+1)
	for i := range mid { // up to the middle between 65504 and 65536, which overflows
		hi := f16Value(uint16(i + 1))
		if i == 0x7bff {
			hi = 65536
		}
		mid[i] = float32((f16Value(uint16(i)) + hi) / 2)
	}
	got := make([]uint16, len(mid))
	F32ToF16(got, mid)
	for i, g := range got {
		if want := uint16(i + i&1); g != want {
			t.Fatalf("F32ToF16(%g) = %#x, want %#x", mid[i], g, want)
		}
	}
	BF16ToF32(f, h)
	F32ToBF16(back, f)
	for i, v := range f {
		if math.Float32bits(v) != uint32(i)<<16 || (v == v && back[i] != h[i]) || (v != v && back[i]&0x7fff <= 0x7f80) {
			t.Fatalf("BF16 %#x -> %g -> %#x", i, v, back[i])
		}
	}
	b := make([]uint16, 4)
	F32ToBF16(b, []float32{math.Float32frombits(0x3f808000), math.Float32frombits(0x3f818000), math.Float32frombits(0x3f808001), math.MaxFloat32})
	if want := []uint16{0x3f80, 0x3f82, 0x3f81, 0x7f80}; !slices.Equal(b, want) {
		t.Errorf("BF16 ties: %#x, want %#x", b, want)
	}
	d := make([]float32, 4)
	DequantizeRowsS8(d, []int8{-128, 127, 3, 4}, 2, 2, []float32{0.5, 2}, []int8{1, 0})
	near(t, "rows of int8", d, []float64{-64.5, 63, 6, 8}, 0)
	DequantizeRowsU8(d, []uint8{0, 255, 3, 4}, 2, 2, []float32{0.5, 2}, []uint8{128, 0})
	near(t, "rows of uint8", d, []float64{-64, 63.5, 6, 8}, 0)
}
