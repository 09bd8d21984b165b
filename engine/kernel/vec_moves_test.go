package kernel

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// TestMoveTwo compares taking every other element of a row, and putting them back between others, with the definition; nothing behind them changes.
func TestMoveTwo(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	draw := drawer(r)
	for i := range cases(21000) {
		n := 8 + r.IntN(60)
		if i%50 == 0 {
			n = r.IntN(8)
		}
		more := r.IntN(2) // x may be one longer
		src := draw(2*n + more + r.IntN(3))
		half, back := draw(n+5), draw(2*n+more+5)
		wantHalf, wantBack := slices.Clone(half), slices.Clone(back)
		for k := range n {
			wantHalf[k] = src[2*k]
			wantBack[2*k], wantBack[2*k+1] = src[k], src[n+more+k]
		}
		if more > 0 {
			wantBack[2*n] = src[n]
		}
		stridedRow(half[:n], src, 2)
		interleave2(back[:2*n+more], src[:n+more], src[n+more:][:n])
		if !slices.Equal(half, wantHalf) || !slices.Equal(back, wantBack) {
			t.Fatalf("case %d, %d elements: every other one is %v, want %v; between others %v, want %v", i, n, half, wantHalf, back, wantBack)
		}
	}
}

// TestTransposeWide compares matrices of 80 rows and more, stored past the caches and through them, with the definition at every level: 64 rows at a time,
// 16, and the rest, of rows of dst that lie as far apart as that takes. What lies between those stays as it is.
func TestTransposeWide(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	draw := drawer(r)
	dst, want := floatsOf(Memory(4*30*192)), floatsOf(Memory(4*30*192))
	for i := range cases(21000) {
		m, n := 80+r.IntN(2)*r.IntN(16), 16+r.IntN(14)
		ss, ds := n+r.IntN(5), 128+16*r.IntN(4)
		src, size := draw((m-1)*ss+n), (n-1)*ds+m
		for j := range n {
			for k := range m {
				want[j*ds+k] = src[k*ss+j]
			}
			clear(want[min(size, j*ds+m):min(size, (j+1)*ds)])
		}
		for _, isa := range floatLevels() {
			if isa == Generic && i%8 > 0 && Detect() != Generic {
				continue
			}
			clear(dst[:size])
			restore := Limit(isa)
			transpose(bytesOf(dst[:size]), bytesOf(src), 4, m, n, ds, ss, i%4 > 0)
			restore()
			if at := sameBits(dst[:size], want[:size]); at >= 0 {
				t.Fatalf("%v: case %d, %d by %d, strides %d and %d: element %d, %d is %g, want %g", isa, i, m, n, ds, ss, at/ds, at%ds, dst[at], want[at])
			}
		}
	}
}

// TestMoveLines compares rows of whole cache lines, copied as they lie and by their numbers, past the caches and through them, with the definition.
func TestMoveLines(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 13))
	from := randBytes(r, 1<<14)
	all := Memory(1 << 12)
	for i := range cases(20200) {
		w, rows := cacheLine*(1+r.IntN(4)), 1+r.IntN(4)
		if i%200 == 0 {
			rows = 0
		}
		ds, ss := w+cacheLine*r.IntN(2), r.IntN(2*w)
		dst := all[:max(0, (rows-1)*ds+w)+r.IntN(20)]
		want, src := make([]byte, len(dst)), from[r.IntN(1<<13):]
		index, table := make([]int, rows), src[:4*w]
		for k := range index {
			index[k] = r.IntN(4)
		}
		for _, stream := range []bool{true, false} {
			clear(dst)
			clear(want)
			copyRowsGo(want, src, w, rows, ds, ss)
			copyBlocks(dst, src, w, [2]int{1, rows}, [2]int{0, ds}, [2]int{0, ss}, stream)
			if !bytes.Equal(dst, want) {
				t.Fatalf("case %d: %d rows of %d bytes, strides %d and %d, stream %t, are wrong", i, rows, w, ds, ss, stream)
			}
			clear(dst)
			clear(want)
			for k, q := range index {
				copy(want[k*w:][:w], table[q*w:])
			}
			copyIndexed(dst[:rows*w], table, w, index, stream)
			if !bytes.Equal(dst, want) {
				t.Fatalf("case %d: rows %v of %d bytes, stream %t, are wrong", i, index, w, stream)
			}
		}
	}
	if uintptr(unsafe.Pointer(&all[0]))%cacheLine != 0 {
		t.Error("the memory does not begin with a line: nothing went past the caches")
	}
}
