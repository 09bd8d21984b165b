//go:build !amd64 || noasm

package kernel

func lstmStep(r *PackedF32, hPrev, gates, cPrev, c, h []float32, from, n int) {
	lstmStepGo(r, hPrev, gates, cPrev, c, h, from, n)
}
