//go:build (!amd64 && !arm64) || noasm

package kernel

// marksWide tells whether packed weights carry the marks of markWide.
const marksWide = false

func markWide(panel []int8, wide []uint8) { markWideGo(panel, wide) }

func minMax(x []float32) (lo, hi float32) { return minMaxGo(x, 0, 0) }

func quantizeU8(x []float32, q []uint8, scale float32, zero uint8) { quantizeU8Go(x, q, scale, zero) }

func sumU8(x []uint8) int32 { return sumU8Go(x) }

func (g *int8Job) block(i0, i1, j0, j1 int) { g.blockGo(i0, i1, j0, j1) }

func requantize[T int8 | uint8](_ []int32, _ []T, _ []float32, _ []int32, _ uint8, _ uint32) int {
	return 0
}

func packFours(int, []uint8, int, uint32, []uint8, []int32) (int, int32) { return 0, 0 }

func (g *int8Job) prepareRow() {}
