package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestCopyRows compares rows of all lengths, at any address, with any strides, stored through the caches or past them, with the Go twin. What lies
// between the rows, before and behind them stays as it is.
func TestCopyRows(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for range cases(20000) {
		w, rows := 1+r.IntN(80), 1+r.IntN(12)
		switch r.IntN(10) {
		case 0:
			w = 1 + r.IntN(600)
		case 1, 2:
			w = 64 * (1 + r.IntN(6))
		case 3:
			w, rows = streamRow-70+r.IntN(300), 1+r.IntN(3)
		}
		ds, ss, to, from := w, w, r.IntN(130), r.IntN(130)
		if r.IntN(4) > 0 {
			ds += r.IntN(100)
		}
		switch r.IntN(4) {
		case 0:
			ss += r.IntN(100)
		case 1:
			ss = r.IntN(w)
		}
		if w%64 == 0 && r.IntN(2) == 0 { // whole lines
			ds, to = (ds+63)/64*64, 0
		}
		src, dst := make([]byte, from+(rows-1)*ss+w+r.IntN(70)), Memory(to+(rows-1)*ds+w+r.IntN(70))
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		for i := range dst {
			dst[i] = byte(r.Uint32())
		}
		want := bytes.Clone(dst)
		stream, blocks := r.IntN(2) == 0, 1+r.IntN(rows)
		n, end := [2]int{blocks, rows / blocks}, rows/blocks*blocks // rows of blocks lie as other rows do, or in turn with those of other blocks
		bd, bs := [2]int{n[1] * ds, ds}, [2]int{n[1] * ss, ss}
		if r.IntN(2) == 0 {
			bd = [2]int{ds, n[0] * ds}
		}
		if r.IntN(2) == 0 {
			bs = [2]int{ss, n[0] * ss}
		}
		for b := range n[0] {
			copyRowsGo(want[to+b*bd[0]:], src[from+b*bs[0]:], w, n[1], bd[1], bs[1])
		}
		copyBlocks(dst[to:], src[from:], w, n, bd, bs, stream)
		if end < rows {
			copyRowsGo(want[to+end*ds:], src[from+end*ss:], w, rows-end, ds, ss)
			CopyRows(dst[to+end*ds:], src[from+end*ss:], w, rows-end, ds, ss, false)
		}
		if !bytes.Equal(dst, want) {
			t.Fatalf("%v rows of %d bytes, strides %v and %v, from %d to %d, stream %t, are wrong", n, w, bd, bs, from, to, stream)
		}
	}
}

// TestCopyIndexed compares rows by their numbers with the definition; what lies behind them stays as it is.
func TestCopyIndexed(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range cases(20000) {
		w, rows, n := 1+r.IntN(200), 1+r.IntN(20), 1+r.IntN(20)
		if r.IntN(3) == 0 {
			w = 64 * (1 + r.IntN(6))
		}
		to := r.IntN(2) * r.IntN(64)
		src, dst, index := make([]byte, rows*w), Memory(to+n*w+64), make([]int, n)
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		want := bytes.Clone(dst)
		for i := range index {
			index[i] = r.IntN(rows)
			copy(want[to+i*w:][:w], src[index[i]*w:])
		}
		stream := r.IntN(2) == 0
		copyIndexed(dst[to:to+n*w], src, w, index, stream)
		if !bytes.Equal(dst, want) {
			t.Fatalf("rows %v of %d bytes to %d, stream %t, are wrong", index, w, to, stream)
		}
	}
	for _, bad := range []int{-1, 3} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("index %d of 3 rows is accepted", bad)
				}
			}()
			CopyIndexed(make([]byte, 64), make([]byte, 3*64), 64, []int{bad}, false)
		}()
	}
}

// TestStreams compares with what was measured, and with larger and smaller last levels than that.
func TestStreams(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		out, in, threads, cache int
		want                    bool
	}{
		{8, 8, 1, 32, false}, {12, 6, 1, 32, false}, {12, 12, 1, 32, true}, {16, 2, 1, 32, true}, {16, 16, 1, 96, true},
		{12, 12, 2, 32, false}, {15, 15, 2, 32, false}, {16, 8, 2, 32, false}, {16, 9, 2, 32, true}, {16, 16, 2, 32, true},
		{16, 8, 2, 96, false}, {16, 9, 2, 96, true}, {16, 2, 2, 16, true}, {15, 15, 2, 8, false}, {16, 2, 2, 0, true},
	} {
		if got := streams(c.out*mib, c.in*mib, c.threads, c.cache*mib); got != c.want {
			t.Errorf("%d MiB of %d with %d threads and a last level of %d are stored past the caches: %t", c.out, c.in, c.threads, c.cache, got)
		}
	}
}

// BenchmarkMoveRows is BenchmarkMove for rows: the transposition of heads in the order of src, two halves of rows, and rows by their numbers.
func BenchmarkMoveRows(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, mib := range []int{4, 16, 64} {
		total := mib << 20
		src, dst, index := make([]byte, total), make([]byte, total), make([]int, total/2048)
		for i := range src {
			src[i] = byte(i >> 6)
		}
		for i := range index {
			index[i] = r.IntN(len(index))
		}
		for _, c := range []struct {
			name string
			run  func(stream bool)
		}{
			{"copy", func(bool) { copy(dst, src) }},
			{"heads", func(stream bool) {
				at, each := total/16, total/16/256
				CopyBlocks(dst, src, 256, [2]int{each, 16}, [2]int{256, at}, [2]int{16 * 256, 256}, stream)
			}},
			{"halves", func(stream bool) {
				for i := range 2 {
					CopyRows(dst[4096*i:], src[total/2*i:], 4096, total/8192, 8192, 4096, stream)
				}
			}},
			{"odd halves", func(stream bool) {
				for i := range 2 {
					CopyRows(dst[4096*i+20:], src[total/2*i:], 4096, total/8192-1, 8192, 4096, stream)
				}
			}},
			{"index", func(stream bool) { CopyIndexed(dst, src, 2048, index, stream) }},
		} {
			for _, stream := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/%d MiB/stream %t", c.name, mib, stream), func(b *testing.B) {
					b.SetBytes(2 * int64(total))
					for b.Loop() {
						c.run(stream)
					}
				})
			}
		}
	}
}
