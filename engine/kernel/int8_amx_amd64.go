//go:build amd64 && !noasm

package kernel

// tileShapes is the operand of LDTILECFG: the bytes of a row and the number of rows of each tile.
type tileShapes struct {
	palette, start uint8
	_              [14]uint8
	width          [16]uint16
	rows           [16]uint8
}

// newTileShapes are the shapes of a product of blocks of m rows (1 to 32) with n columns (1 to 32): two by two tiles of C, two of A with k
// bytes of a row (4 to 64), two of B with k/4 rows. Both C and B have four bytes per column.
func newTileShapes(m, n, k int) *tileShapes {
	t := &tileShapes{palette: 1}
	set := func(tile, rows, width int) { t.rows[tile], t.width[tile] = uint8(rows), uint16(width) }
	for i, rows := range []int{min(m, 16), m - 16} {
		if rows <= 0 {
			break
		}
		set(4+i, rows, k)
		for j, cols := range []int{min(n, 16), n - 16} {
			if cols <= 0 {
				break
			}
			set(2*i+j, rows, 4*cols)
			set(6+j, k/4, 4*cols)
		}
	}
	return t
}

const (
	// amxRows is the number of rows from which on tiles are faster than VNNI.
	amxRows = 4
	// amxSteps bounds the steps of 64 bytes of k in one call of the assembly, which nothing can interrupt: with at most rowsPerTask rows
	// and panelsPerTask panels it takes well below a millisecond.
	amxSteps = 128
)

// blockAMX writes the sums of rows i0..i1 of panels j0..j1 to c, the element at row i0 of panel j0, whose rows are ldc elements apart;
// columns from n on are left out.
func (g *int8Job) blockAMX(c *int32, ldc, i0, i1, j0, j1, n int) {
	k4 := ceilDiv(g.b.K, 4)
	ps := k4 * 4 * PanelWidth
	whole := min(j1, n/PanelWidth) - j0 // panels
	for q := 0; q < 4*k4; {
		steps, width := min((4*k4-q)/64, amxSteps), 64
		if steps == 0 {
			steps, width = 1, 4*k4-q
		}
		x := amxArgs{steps: steps, lda: g.lda, bs: ps, ldc: 4 * ldc, load: min(q, 1)}
		for i := i0; i < i1; {
			m := min(32, i1-i)
			x.blocks = (i1 - i) / m
			x.a = &g.a[i*g.lda+q]
			if whole > 0 {
				x.config, x.panels = newTileShapes(m, PanelWidth, width), whole
				x.b, x.c = &g.b.data[j0*ps+q*PanelWidth], at(c, (i-i0)*ldc)
				amxProduct(&x, m, PanelWidth)
			}
			if j := j0 + whole; j < j1 {
				w := n - j*PanelWidth
				x.config, x.panels = newTileShapes(m, w, width), 1
				x.b, x.c = &g.b.data[j*ps+q*PanelWidth], at(c, (i-i0)*ldc+whole*PanelWidth)
				amxProduct(&x, m, w)
			}
			i += x.blocks * m
		}
		q += steps * width
	}
}

// amxProduct calls the kernel for blocks of m rows and panels of n columns.
func amxProduct(x *amxArgs, m, n int) {
	switch {
	case m > 16 && n > 16:
		amxU8S8x2x2(x)
	case m > 16:
		amxU8S8x2x1(x)
	case n > 16:
		amxU8S8x1x2(x)
	default:
		amxU8S8x1x1(x)
	}
}
