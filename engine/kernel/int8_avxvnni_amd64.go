//go:build amd64 && !noasm

package kernel

// fewRows256 computes a whole panel of m rows, 1 to 3, with VPDPBUSD; col is where it lies in a row of c.
func (g *int8Job) fewRows256(c *int32, ldc, k4 int, y *int8, i, m, col int) {
	x, z := &g.a[i*g.lda], at(c, col)
	switch m {
	case 1:
		vexU8S8x32m1(k4, x, g.lda, y, 4*PanelWidth, z, 4*ldc)
	case 2:
		vexU8S8x32m2(k4, x, g.lda, y, 4*PanelWidth, z, 4*ldc)
	case 3:
		vexU8S8x32m3(k4, x, g.lda, y, 4*PanelWidth, z, 4*ldc)
	}
}

// columnsVNNI256 is columns256 with VPDPBUSD.
func (g *int8Job) columnsVNNI256(c *int32, ldc, k4 int, y *int8, mask *int32, i0, i1, col int) {
	row := 4 * ldc
	for i, blocks := i0, ceilDiv(i1-i0, 6); i < i1; blocks-- {
		x, z := &g.a[i*g.lda], at(c, (i-i0)*ldc+col)
		m := ceilDiv(i1-i, blocks)
		switch m {
		case 6:
			vexU8S8x16m6(k4, x, g.lda, y, 4*PanelWidth, z, row, mask)
		case 5:
			vexU8S8x16m5(k4, x, g.lda, y, 4*PanelWidth, z, row, mask)
		case 4:
			vexU8S8x16m4(k4, x, g.lda, y, 4*PanelWidth, z, row, mask)
		case 3:
			vexU8S8x16m3(k4, x, g.lda, y, 4*PanelWidth, z, row, mask)
		case 2:
			vexU8S8x16m2(k4, x, g.lda, y, 4*PanelWidth, z, row, mask)
		default:
			vexU8S8x16m1(k4, x, g.lda, y, 4*PanelWidth, z, row, mask)
		}
		i += m
	}
}
