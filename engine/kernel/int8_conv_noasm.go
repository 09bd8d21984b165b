//go:build !amd64 || noasm

package kernel

func (j *convU8Job) block(gr, r0, r1, _, _ int) {
	if j.c.depthwise {
		j.depthwiseGo(r0, r1)
		return
	}
	j.gemmRows(gr, r0, r1)
}

func (j *convU8Job) band(n, h0, h1, p0, p1 int) {}
