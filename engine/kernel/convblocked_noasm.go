//go:build (!amd64 && !arm64) || noasm

package kernel

func (j *blockJob) call(t *blockTile, p, b int) { j.callGo(t, p, b) }

func blockMean(dst, src []float32, hw int) { blockMeanGo(dst, src, hw) }

func (j *winoJob) in(dst, src, _ []float32, ds, rs, n int) { j.inGo(dst, src, ds, rs, n) }

func (j *winoJob) out(dst, src, _, bias []float32, ss, rs, n int) { j.outGo(dst, src, bias, ss, rs, n) }
