//go:build !amd64 || noasm

package kernel

func (j *convU8Job) block(gr, r0, r1, p0, p1 int) { j.blockGo(gr, r0, r1, p0, p1) }

func (j *convU8Job) band(n, h0, h1, p0, p1 int) {}
