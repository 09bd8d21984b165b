//go:build amd64 && !noasm

package kernel

import "sync"

var digitScratch = sync.Pool{New: func() any { return new([]int8) }}

func gemvDigits(a []float32, b *PackedDigits, c []float32) {
	if b.N == 0 {
		return
	}
	q := digitScratch.Get().(*[]int8)
	*q = sized(*q, 3*b.K)
	x := digitsArgs{groups: b.K / 4, panels: b.N / PanelWidth, w: &b.data[0], a: &(*q)[0], c: &c[0]}
	nbitsSplit3(&a[0], b.K, 1/digitUnit, &(*q)[0], &x.start)
	x.start = digitStart(x.start)
	digitsGemv(&x)
	digitScratch.Put(q)
}
