package kernel

import "math"

// HalfKind is a 16-bit number format of weights.
type HalfKind int

// The formats.
const (
	F16  HalfKind = iota // IEEE binary16
	BF16                 // bfloat16
)

// String returns "f16" or "bf16".
func (k HalfKind) String() string {
	if k == BF16 {
		return "bf16"
	}
	return "f16"
}

// PackedHalf is a matrix B[K,N] of half-precision numbers in the order that GemmHalf and GemmBF16 read it: panels of 32
// columns as in PackedF32, of F16 row by row, of BF16 two rows at a time with the elements of a column side by side, filled up
// with rows of zeros to a multiple of 32. It is the same on every ISA and is not changed after PackHalf.
type PackedHalf struct {
	K, N int
	Kind HalfKind
	data []uint16 // F16: as in PackedF32; BF16: [N/32][rows/2][32][2], and then [rows/2][panelStride(N%32)][2]
}

// Bytes returns the size of the packed copy.
func (b *PackedHalf) Bytes() int64 { return int64(len(b.data)) * 2 }

// rows is K, rounded up to what a panel holds.
func (b *PackedHalf) rows() int {
	if b.Kind == BF16 {
		return (b.K + 31) &^ 31
	}
	return b.K
}

// PackHalf packs B[k,n], row-major with leading dimension ldb; with trans, b holds the transpose, [n,k].
func PackHalf(kind HalfKind, k, n int, b []uint16, ldb int, trans bool) *PackedHalf {
	checkB(len(b), k, n, ldb, trans)
	out := &PackedHalf{K: k, N: n, Kind: kind}
	rows := out.rows()
	out.data = make([]uint16, packedLen(rows, n))
	sq, sj := ldb, 1 // strides of row and column
	if trans {
		sq, sj = 1, ldb
	}
	for j0 := 0; j0 < n; j0 += PanelWidth {
		w := min(PanelWidth, n-j0)
		stride, d := panelStride(w), out.data[j0*rows:]
		for q := range k {
			src := b[q*sq+j0*sj:]
			if kind == F16 {
				for e := range w {
					d[q*stride+e] = src[e*sj]
				}
				continue
			}
			row := d[q/2*2*stride+q%2:]
			for e := range w {
				row[2*e] = src[e*sj]
			}
		}
	}
	return out
}

// Columns returns a view of columns from to from+n of b; from must be a multiple of PanelWidth, and n too unless the view
// ends where b does.
func (b *PackedHalf) Columns(from, n int) *PackedHalf {
	if from < 0 || n < 0 || from+n > b.N || from%PanelWidth != 0 || n%PanelWidth != 0 && from+n != b.N {
		panic(badB)
	}
	return &PackedHalf{K: b.K, N: n, Kind: b.Kind, data: b.data[b.rows()*from:][:packedLen(b.rows(), n)]}
}

// GemmHalf is GemmF32 with weights in half precision, which float32 holds exactly: the bits are those of GemmF32 on the widened
// weights, at half of the memory.
func GemmHalf(p *Pool, m int, a []float32, lda int, b *PackedHalf, c []float32, ldc int, ep Epilogue) {
	checkA(len(a), m, b.K, lda)
	checkC(len(c), m, b.N, ldc)
	ep.check(m, b.N)
	if m == 0 || b.N == 0 {
		return
	}
	g := newGemmJob(m, b.N, b.K, a, lda, c, ldc, &ep)
	g.half, g.ps = b, b.rows()*PanelWidth
	g.run(p)
	g.release()
}

// blockHalf is block for half-precision weights: by kernels that widen as they load, or, where that does not pay and where a panel
// is not full, after a block of a panel is widened into memory that stays in the cache.
func (g *gemmJob) blockHalf(i0, i1, j0, j1, k0, kk int, acc bool) {
	j := g.blockHalfDirect(i0, i1, j0, j1, k0, kk, acc)
	g.blockWidened(i0, i1, j, j1, k0, kk, acc)
}

// blockWidened is block for weights that are held in fewer bits than float32: a block of a panel is widened once for all rows of the task, into memory
// that stays in the cache.
func (g *gemmJob) blockWidened(i0, i1, j0, j1, k0, kk int, acc bool) {
	if j0 == j1 {
		return
	}
	s := getScratchF32((kk + 7) &^ 7 * PanelWidth)
	for j := j0; j < j1; j++ {
		if g.nbits != nil {
			g.nbits.widen(g.isa, s.f, j, k0, kk)
		} else {
			stride := panelStride(min(PanelWidth, g.n-j*PanelWidth))
			g.half.widen(s.f, g.half.data[j*g.ps+k0*stride:], stride, kk)
		}
		g.block(s.f, i0, i1, j, j+1, k0, 0, kk, acc)
	}
	scratchPoolF32.Put(s)
}

// widen writes rows of stride elements, from an even one on, to dst; for an odd number of rows of BF16 one more is written.
func (b *PackedHalf) widen(dst []float32, src []uint16, stride, rows int) {
	if b.Kind == F16 {
		F16ToF32(dst[:rows*stride], src[:rows*stride])
		return
	}
	pairs := (rows + 1) / 2
	if stride%16 == 0 && widenPairsVec(dst, src, stride, pairs) {
		return
	}
	for q := range pairs {
		even, odd := dst[2*q*stride:][:stride], dst[(2*q+1)*stride:][:stride]
		for e := range stride {
			at := 2 * (q*stride + e)
			even[e], odd[e] = math.Float32frombits(uint32(src[at])<<16), math.Float32frombits(uint32(src[at+1])<<16)
		}
	}
}
