package kernel

import (
	"runtime"
	"testing"
)

// TestPackedBlocksOfFewColumns: what a product of few rows packs takes the memory of its columns, not that of whole panels.
func TestPackedBlocksOfFewColumns(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	const k, n = 1 << 21, 2
	a, b, c := make([]float32, k), make([]float32, n*k), make([]float32, n)
	for i := range a {
		a[i], b[i], b[k+i] = 1, 1, 2
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	MatMulF32(nil, 1, n, k, a, k, false, b, k, true, c, n, Epilogue{})
	runtime.ReadMemStats(&after)
	if c[0] != k || c[1] != 2*k {
		t.Errorf("%v, want %d and %d", c, k, 2*k)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 2*4*n*k {
		t.Errorf("packing %d bytes takes %d", 4*n*k, made)
	}
}
