//go:build !amd64 || noasm

package kernel

func (j *convU8Job) block(gr, r0, r1, p0, p1 int) { j.blockGo(gr, r0, r1, p0, p1) }

func (j *convU8Job) runDepthwise(*Pool, int, int) {}
