//go:build amd64 && !noasm

package kernel

// lstmStep multiplies a panel of each gate at a time: four streams of weights, as the kernel for few rows wants them.
func lstmStep(r *PackedF32, hPrev, gates, cPrev, c, h []float32, from, n int) {
	isa, hs := Active(), len(h)
	if isa < AVX2 {
		lstmStepGo(r, hPrev, gates, cPrev, c, h, from, n)
		return
	}
	var z [4 * PanelWidth]float32
	chain := evenBlock(hs, kBlock)
	ps := 4 * hs * hs // bytes from a panel of one gate to that of the next
	for u := from; u < from+n; u += PanelWidth {
		for q := range 4 {
			copy(z[q*PanelWidth:][:PanelWidth], gates[q*hs+u:])
		}
		for k := 0; k < hs; k += chain {
			n, x, w := min(chain, hs-k), &hPrev[k], r.data[u*hs+k*PanelWidth:]
			if isa >= AVX512 {
				gemv512m1(n, x, 4*hs, &w[0], 4*PanelWidth, ps, &z[0], 4*len(z), 1)
			} else {
				gemv256m1(n, x, 4*hs, &w[0], 4*PanelWidth, ps, &z[0], 4*len(z), 1)
				gemv256m1(n, x, 4*hs, &w[2*hs*hs], 4*PanelWidth, ps, &z[2*PanelWidth], 4*len(z), 1)
			}
		}
		lstmCell(z[:PanelWidth], z[PanelWidth:2*PanelWidth], z[2*PanelWidth:3*PanelWidth], z[3*PanelWidth:],
			cPrev[u:][:PanelWidth], c[u:][:PanelWidth], h[u:][:PanelWidth])
		for q := range 4 {
			copy(gates[q*hs+u:][:PanelWidth], z[q*PanelWidth:])
		}
	}
}
