package kernel

import "sync"

// scratchF32 is recycled working memory.
type scratchF32 struct{ f []float32 }

var scratchPoolF32 = sync.Pool{New: func() any { return new(scratchF32) }}

// getScratchF32 returns scratch of n elements with undefined contents.
func getScratchF32(n int) *scratchF32 {
	s := scratchPoolF32.Get().(*scratchF32)
	if cap(s.f) < n {
		s.f = make([]float32, n)
	}
	s.f = s.f[:n]
	return s
}

// packPanelF32 writes panel j of B[k,n] to the start of dst: k rows of panelStride(columns) elements.
func packPanelF32(dst []float32, k, n, j int, b []float32, ldb int, trans bool) {
	j0 := j * PanelWidth
	w := min(PanelWidth, n-j0)
	if k == 0 {
		return
	}
	stride := panelStride(w)
	switch {
	case trans:
		transposeBlock(dst, stride, b[j0*ldb:], ldb, w, k)
	case w == PanelWidth:
		copyPanel(dst, b[j0:], ldb, k)
	default:
		for q := range k {
			copy(dst[q*stride:], b[q*ldb+j0:][:w])
		}
	}
}

// transposeF32 writes dst[c*ldd+r] = src[r*lds+c] for r < rows, c < cols, in parallel when that pays.
func transposeF32(p *Pool, dst []float32, ldd int, src []float32, lds, rows, cols int) {
	const chunk = 64
	if p.Threads() == 1 || rows*cols < 1<<17 {
		transposeBlock(dst, ldd, src, lds, rows, cols)
		return
	}
	p.Run(ceilDiv(cols, chunk), func(t int) {
		c := t * chunk
		transposeBlock(dst[c*ldd:], ldd, src[c:], lds, rows, min(chunk, cols-c))
	})
}

// transposeGo is the Go twin of the assembly transposition: dst[c*ldd+r] = src[r*lds+c].
func transposeGo(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	for r := range rows {
		for c, v := range src[r*lds:][:cols] {
			dst[c*ldd+r] = v
		}
	}
}

// copyPanelGo is the Go twin of the assembly copy: k rows of 32 columns.
func copyPanelGo(dst, src []float32, lds, k int) {
	for q := range k {
		copy(dst[q*PanelWidth:][:PanelWidth], src[q*lds:])
	}
}
