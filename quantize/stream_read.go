package quantize

import (
	"github.com/wattshed/wattshed/model"
)

// grid says how a matrix of float32 within a tensor passes through memory: in tiles of whole rows, or of strips of
// columns where even the fewest rows that must be together are larger than a block.
type grid struct {
	t          *model.Tensor
	base       int // elements of t before the matrix
	rows, cols int
	high, wide int // of a tile, at most
}

// tile is what is in memory of a grid: rows from first on, columns from col on.
type tile struct {
	first, col, rows, cols int
	x                      []float32 // [rows][cols]
}

func (t tile) matrix() matrix { return matrix{t.x, t.rows, t.cols} }

// cost returns the bytes of a tile of rows x cols together with what is made of it.
type cost func(rows, cols int) int

// budget returns what a block of a matrix may take with all that is made of it: twice the block, which is no larger than
// the matrix.
func (st *streamed) budget(rows, cols int) int { return 2 * min(st.block, 4*rows*cols) }

// whole makes the grid of j for matrices of which rows must stay together: as many of them, a multiple of step, as are
// within a block and the budget; at least step.
func (st *streamed) whole(j *job, t *model.Tensor, base, rows, cols, step int, c cost) grid {
	return st.tiles(j, t, base, rows, cols, step, st.block, c)
}

// flat is whole for matrices whose rows become consecutive bytes: no tile is larger than passBytes, unless it must be.
func (st *streamed) flat(j *job, t *model.Tensor, base, rows, cols, step int, c cost) grid {
	return st.tiles(j, t, base, rows, cols, step, min(st.block, passBytes), c)
}

// passBytes are the bytes of a weight that are read at a time where what becomes of them is written in one piece: few enough that
// they are still in the cache when they are written, and enough for a call of the system.
const passBytes = 1 << 20

func (st *streamed) tiles(j *job, t *model.Tensor, base, rows, cols, step, bytes int, c cost) grid {
	g := grid{t: t, base: base, rows: rows, cols: cols, high: max(bytes/(4*max(cols, 1))/step, 1) * step, wide: cols}
	g.high = min(g.high, (rows+step-1)/step*step)
	for g.high > step && c(g.high, cols) > st.budget(rows, cols) {
		g.high = max(g.high/2/step, 1) * step
	}
	g.high = min(g.high, max(rows, 1))
	j.holds(g, st.block, c)
	return g
}

// strips is flat for matrices whose columns may be apart, in even numbers.
func (st *streamed) strips(j *job, t *model.Tensor, rows, cols, step int, c cost) grid {
	high, budget := min(step, max(rows, 1)), st.budget(rows, cols)
	if cols <= 2 || 4*high*cols <= st.block && c(high, cols) <= budget {
		return st.flat(j, t, 0, rows, cols, step, c)
	}
	g := grid{t: t, rows: rows, cols: cols, high: high, wide: min(cols, max(st.block/(4*high)&^1, 2))}
	for g.wide > 2 && c(high, g.wide) > budget {
		g.wide = max(g.wide/2&^1, 2)
	}
	for g.high < rows && 4*g.wide*(g.high+step) <= st.block && c(g.high+step, g.wide) <= budget {
		g.high = min(g.high+step, rows)
	}
	j.holds(g, st.block, c)
	return g
}

// holds takes down what a tile of g needs.
func (j *job) holds(g grid, block int, c cost) {
	read, all := 4*g.high*g.wide, c(g.high, g.wide)
	j.block, j.memory = max(j.block, int64(max(read, min(block, 4*g.rows*g.cols)))), max(j.memory, int64(all))
	if g.wide < g.cols { // it is copied from the mapped file
		read = 0
	}
	j.heap = max(j.heap, int64(all-read))
}

// each calls fn with the tiles, the strips from left to right, each from the top down. A tile must not be kept.
func (g grid) each(fn func(tile) error) error {
	for col := 0; col < g.cols; col += g.wide {
		if err := g.strip(col, fn); err != nil {
			return err
		}
	}
	return nil
}

// strip calls fn with the tiles of the strip that begins at column col.
func (g grid) strip(col int, fn func(tile) error) error {
	w := min(g.wide, g.cols-col)
	var buf []float32
	for first := 0; first < g.rows; first += g.high {
		h := min(g.high, g.rows-first)
		if w == g.cols {
			if err := g.read(first*w, h*w, func(x []float32) error { return fn(tile{first, 0, h, w, x}) }); err != nil {
				return err
			}
			continue
		}
		if buf == nil {
			buf = make([]float32, g.high*w)
		}
		for i := range h {
			if err := g.read((first+i)*g.cols+col, w, func(x []float32) error { copy(buf[i*w:], x); return nil }); err != nil {
				return err
			}
		}
		if err := fn(tile{first, col, h, w, buf[:h*w]}); err != nil {
			return err
		}
	}
	return nil
}

// read calls fn with n elements of the matrix from at on.
func (g grid) read(at, n int, fn func(x []float32) error) error {
	at += g.base
	return g.t.Part(at*4, (at+n)*4, func(b []byte) error {
		part, err := model.NewTensor(model.Float32, []int{n}, b)
		if err != nil {
			return err
		}
		x, err := part.Float32()
		if err != nil {
			return err
		}
		return fn(x)
	})
}
