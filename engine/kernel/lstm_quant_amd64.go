//go:build amd64 && !noasm

package kernel

import "math"

const (
	// sweepRows is the number of rows up to which a step waits for the weights. It takes them from the last to the first when the one before did not:
	// so it finds what that read last in the L1 cache.
	sweepRows = 3
	// sweepPanels is the number of panels that are taken at a time.
	sweepPanels = 4
)

// fast is a step behind the quantization: what LSTMCell wants is made of the sums in registers. It is for weights without zero points.
func (l *LSTMQuant) fast(gates, c, h []float32) bool {
	g, hs := l.g, l.h
	if min(g.isa, Active()) < AVX2 || len(g.bZero) > 0 {
		return false
	}
	np := panels(g.b.N)
	ld, step := np*PanelWidth, np
	if l.b <= sweepRows {
		step = sweepPanels
	}
	s := getSums(min(l.b, blockRows) * ld)
	for i := 0; i < l.b; i += blockRows {
		e := min(l.b, i+blockRows)
		for j := 0; j < np; j += step {
			j0, j1 := j, min(np, j+step)
			if l.back {
				j0, j1 = max(0, np-j-step), np-j
			}
			g.sums(at(&s.v[0], j0*PanelWidth), ld, i, e, j0, j1, j1*PanelWidth)
		}
		for r := i; r < e; r++ {
			lstmQuantVec(&gates[4*r*hs], &s.v[(r-i)*ld], &g.b.ColSum[0], &l.scales[0], &c[r*hs], &c[r*hs], &h[r*hs], hs,
				math.Float32frombits(uint32(g.az32[0])), l.scale[0])
		}
	}
	sumsPool.Put(s)
	l.back = !l.back
	return true
}
