//go:build !amd64 || noasm

package kernel

func (j *blockJob) call(t *blockTile, p, b int) { j.callGo(t, p, b) }

func blockMean(dst, src []float32, hw int) { blockMeanGo(dst, src, hw) }
