package kernel

// Columns returns a view of columns from to from+n of b; from must be a multiple of PanelWidth, and n too unless the view
// ends where b does.
func (b *PackedF32) Columns(from, n int) *PackedF32 {
	if from < 0 || n < 0 || from+n > b.N || from%PanelWidth != 0 || n%PanelWidth != 0 && from+n != b.N {
		panic(badB)
	}
	return &PackedF32{K: b.K, N: n, data: b.data[b.K*from:][:packedLen(b.K, n)]}
}
