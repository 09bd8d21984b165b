//go:build amd64 && !noasm

package kernel

// tileShapes is the operand of LDTILECFG: the bytes of a row and the number of rows of each tile.
type tileShapes struct {
	palette uint8
	_       [15]uint8 // the row to start at, and what is reserved: 0
	width   [16]uint16
	rows    [16]uint8
}

// set makes the shapes those of a product of blocks of m rows (1 to 32) with n columns (1 to 32): two by two tiles of C, two of A with k
// bytes of a row (4 to 64), two of B with k/4 rows. Both C and B have four bytes per column.
func (t *tileShapes) set(m, n, k int) {
	*t = tileShapes{palette: 1}
	for i := range ceilDiv(m, 16) {
		rows := min(m-16*i, 16)
		t.rows[4+i], t.width[4+i] = uint8(rows), uint16(k)
		for j := range ceilDiv(n, 16) {
			width := uint16(4 * min(n-16*j, 16))
			t.rows[2*i+j], t.width[2*i+j] = uint8(rows), width
			t.rows[6+j], t.width[6+j] = uint8(k/4), width
		}
	}
}

const (
	// amxSteps bounds the steps of 64 bytes of k in one call of the assembly, so that what it reads again stays in the L1 cache.
	amxSteps = 8
	// amxGroup bounds the rows in one call, likewise. With panelsPerTask panels a call takes some ten microseconds: nothing can
	// interrupt it (see TestTileWork).
	amxGroup = 64
	// amxCall is the work in multiply-accumulates from which on a call pays for loading and releasing the tiles, some 100 ns, and amxRows
	// the number of rows: below, VNNI is faster.
	amxCall, amxRows = 60_000, 3
)

// amxCuts returns how the groups of four bytes of k are cut into steps: into equal ones if that is possible, which then need one
// configuration of the tiles, or into steps of 16 groups and a rest.
func amxCuts(k4 int) (steps, width int, even bool) {
	steps = ceilDiv(k4, 16)
	if k4%steps == 0 {
		return steps, k4 / steps * 4, true
	}
	return k4 / 16, 64, false
}

// amxPays reports whether tiles are faster than VNNI for m rows and n columns.
func (g *int8Job) amxPays(m, n int) bool {
	calls := 1
	if _, _, even := amxCuts(ceilDiv(g.b.K, 4)); !even {
		calls *= 2
	}
	if n%PanelWidth != 0 && n > PanelWidth {
		calls *= 2
	}
	if m%32 != 0 && m > 32 {
		calls *= 2
	}
	return m >= amxRows && m*n*g.b.K >= amxCall*calls
}

// amxSlices calls f for the slices of k4 groups of four bytes of k that one call of the assembly takes: bytes q to q+steps*width.
func amxSlices(k4 int, f func(q, steps, width int)) {
	all, wide, even := amxCuts(k4)
	for s := 0; s < all; s += amxSteps {
		f(s*wide, min(amxSteps, all-s), wide)
	}
	if !even {
		f(all*64, 1, 4*k4-all*64)
	}
}

// tilePiece is what one call of the assembly computes: blocks of m rows from row i on, and panels of n columns each from panel j on.
type tilePiece struct{ i, m, blocks, j, panels, n int }

// tilePieces calls f for the pieces of rows i0..i1 of panels j0..j1 up to column n, of no more than the given rows and of panelsPerTask panels.
func tilePieces(i0, i1, rows, j0, j1, n int, f func(p tilePiece)) {
	full := min(j1, n/PanelWidth)
	for i := i0; i < i1; {
		p := tilePiece{i: i, m: min(32, i1-i)}
		p.blocks = min(i1-i, rows) / p.m
		for j := j0; j < j1; j += p.panels {
			if p.j, p.panels, p.n = j, min(full-j, panelsPerTask), PanelWidth; j >= full {
				p.panels, p.n = 1, n-j*PanelWidth
			}
			f(p)
		}
		i += p.blocks * p.m
	}
}

// blockAMX writes the sums of rows i0..i1 of panels j0..j1 to c, the element at row i0 of panel j0, whose rows are ldc elements apart;
// columns from n on are left out.
func (g *int8Job) blockAMX(c *int32, ldc, i0, i1, j0, j1, n int) {
	k4 := ceilDiv(g.b.K, 4)
	ps := k4 * 4 * PanelWidth
	amxSlices(k4, func(q, steps, width int) {
		var shapes tileShapes
		x := amxArgs{config: &shapes, steps: steps, width: width, widthB: width * PanelWidth, lda: g.lda, bs: ps, ldc: 4 * ldc}
		x.load = min(q, 1) // after the first slice it adds to c
		tilePieces(i0, i1, amxGroup, j0, j1, n, func(p tilePiece) {
			shapes.set(p.m, p.n, width)
			x.blocks, x.panels = p.blocks, p.panels
			x.a, x.b, x.c = &g.a[p.i*g.lda+q], &g.b.data[p.j*ps+q*PanelWidth], at(c, (p.i-i0)*ldc+(p.j-j0)*PanelWidth)
			amxProduct(&x, p.m, p.n)
		})
	})
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
