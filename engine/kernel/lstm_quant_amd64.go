//go:build amd64 && !noasm

package kernel

import (
	"math"
	"unsafe"
)

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
	wide := !Active().hasAVX512() && hs%cellUnits == 0 // then rows of sums have no gaps
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
			if wide {
				l.row(s.v[(r-i)*ld:][:ld], gates[r*ld:], c[r*hs:][:hs], h[r*hs:][:hs])
				continue
			}
			lstmQuantVec(&gates[4*r*hs], &s.v[(r-i)*ld], &g.b.ColSum[0], &l.scales[0], &c[r*hs], &c[r*hs], &h[r*hs], hs,
				math.Float32frombits(uint32(g.az32[0])), l.scale[0])
		}
	}
	sumsPool.Put(s)
	l.back = !l.back
	return true
}

// row is the cell of one entry on 256-bit registers, from its sums: there two loops, each short enough to look ahead of, take less time than one.
func (l *LSTMQuant) row(sums []int32, gates, c, h []float32) {
	n, hs := len(sums), l.h
	z := unsafe.Slice((*float32)(unsafe.Pointer(&sums[0])), n) // the floats take the place of the sums
	lstmSums256(&z[0], &gates[0], &sums[0], &l.g.b.ColSum[0], &l.scales[0], n, l.g.az32[0], l.scale[0])
	lstmCell(z[:hs], z[hs:2*hs], z[2*hs:3*hs], z[3*hs:], c, c, h)
}
