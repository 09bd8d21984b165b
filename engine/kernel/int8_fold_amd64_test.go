//go:build amd64 && !noasm

package kernel

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFoldBytes compares the folding of rows with its Go twin, and the folded products with the formula, the ends of the ranges included.
func TestFoldBytes(t *testing.T) {
	if !Active().hasAVX2() {
		t.Skip("no AVX2")
	}
	r := rand.New(rand.NewPCG(4, 12))
	for i := range cases(20000) {
		block, blocks, stride := 16*(1+r.IntN(5)), 1+r.IntN(4), 4+4*r.IntN(8)
		x := signed(randBytes(r, block*blocks))
		for range r.IntN(8) {
			x[r.IntN(len(x))] = []int8{-128, 127, 0, -1}[r.IntN(4)]
		}
		flip, mask := uint8(128*r.IntN(2)), uint8(128*r.IntN(2))
		got, want := make([]uint8, 2*len(x)), make([]uint8, 2*len(x))
		sums, sumsGo := make([]int32, blocks*stride/4), make([]int32, blocks*stride/4)
		foldBytes256(blocks, block, &x[0], 0x01010101*uint32(flip), 0x01010101*uint32(mask), &got[0], &sums[0], stride)
		foldBytesGo(block, x, flip, mask, want, sumsGo, stride)
		if !bytes.Equal(got, want) || !slices.Equal(sums, sumsGo) {
			t.Fatalf("case %d, %d blocks of %d, flip %x, mask %x: not as in Go", i, blocks, block, flip, mask)
		}
	}
}

// TestFoldedRow has rows and weights of nothing but the ends of their ranges, whose sums of two products are the ends of 16 bits.
func TestFoldedRow(t *testing.T) {
	defer Limit(AVX2)()
	reading := leaveReading(t)
	r := rand.New(rand.NewPCG(4, 13))
	for i := range cases(20000) {
		reading(i)
		k, n := 1+r.IntN(60), 32+r.IntN(100)
		if r.IntN(8) == 0 { // as the kernel of four panels wants them
			k, n = 29+r.IntN(4)+32*r.IntN(3), 128+r.IntN(200)
		}
		a, w := make([]uint8, k), make([]int8, k*n)
		for j := range a {
			a[j] = []uint8{0, 255, 128, 127}[r.IntN(4)]
		}
		for j := range w {
			w[j] = []int8{-128, 127, -128, 0}[r.IntN(4)]
		}
		c := make([]int32, n)
		GemmU8S8(nil, 1, a, k, PackS8(k, n, w, n, false), c, n)
		for j, got := range c {
			want := int32(0)
			for q, x := range a {
				want += int32(x) * int32(w[q*n+j])
			}
			if got != want {
				t.Fatalf("case %d, [%d %d], column %d: %d, want %d", i, k, n, j, got, want)
			}
		}
	}
}

// TestFoldedNarrow has so many narrow weights that a product of one row is folded where the CPU reads ahead: with the sums that two rows have.
func TestFoldedNarrow(t *testing.T) {
	defer Limit(AVX2)()
	reading := leaveReading(t)
	r := rand.New(rand.NewPCG(4, 14))
	k, n := 4099, foldBytes/4096+45
	a, w := randBytes(r, 2*k), make([]int8, k*n)
	for i := range w {
		w[i] = int8(r.IntN(129) - 64)
	}
	b := PackS8(k, n, w, n, false)
	if !b.narrow || len(b.data) < foldBytes {
		t.Fatalf("narrow %v, %d bytes: not what is to be tested", b.narrow, len(b.data))
	}
	want := make([]int32, 2*n)
	GemmU8S8(nil, 2, a, k, b, want, n)
	for i := range 4 {
		reading(i)
		got := make([]int32, n)
		GemmU8S8(nil, 1, a[:k], k, b, got, n)
		if !slices.Equal(got, want[:n]) {
			t.Fatalf("reads ahead %v: other sums than those of two rows", readsAhead)
		}
	}
}
