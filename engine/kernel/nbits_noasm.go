//go:build (!amd64 && !arm64) || noasm

package kernel

func absMax(_ ISA, x []float32) float32 { return absMaxGo(x) }

func splitDigits(_ ISA, x []float32, factor float32, q []int8, parts int, sums *[3]int32) {
	splitDigitsGo(x, factor, q, parts, sums)
}

func (g *nbitsJob) tile(i, n, j int, c []float32, ldc int) { g.tileGo(i, n, j, c, ldc) }

func (g *nbitsJob) widenDigits(int, int, int) {}

// nbitsFirst are streams of weights, of which only kernels of amd64 fetch some ahead.
type nbitsFirst struct{}

func (g *nbitsJob) aim(int, int) {}

func (g *nbitsJob) digitBlocks(int, int, int) (n int, top float32) { return 0, 0 }

func (g *nbitsJob) stream(int, int, int) int { return 0 }
