package quantize

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/wattshed/wattshed/engine/kernel"
)

// errNotFinite says that a weight holds an infinity or a NaN.
var errNotFinite = errors.New("holds a value that is not finite")

// parallel calls f on consecutive parts of 0..n of at least grain elements each, on all processors. A fault of memory in f reaches the caller
// as a panic.
func parallel(n, grain int, f func(lo, hi int)) {
	parts := min(runtime.GOMAXPROCS(0), n/max(grain, 1))
	if parts <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[any]
	for i := range parts {
		wg.Go(func() {
			debug.SetPanicOnFault(true)
			defer func() {
				if r := recover(); r != nil {
					if _, ok := r.(interface{ Addr() uintptr }); !ok {
						panic(r) // no fault of memory: the trace is to name this place
					}
					failed.CompareAndSwap(nil, &r)
				}
			}()
			f(i*n/parts, (i+1)*n/parts)
		})
	}
	wg.Wait()
	if r := failed.Load(); r != nil {
		panic(*r)
	}
}

// grainElements is the least number of elements worth a goroutine of its own.
const grainElements = 1 << 15

// matrix is a dense row-major matrix of float32.
type matrix struct {
	x          []float32
	rows, cols int
}

// grain returns how many rows are worth a goroutine of its own.
func (m matrix) grain() int { return grainElements/max(m.cols, 1) + 1 }

// extents are the smallest and largest elements of each row or column, together with 0.
type extents struct{ lo, hi []float32 }

func newExtents(n int) extents { return extents{make([]float32, n), make([]float32, n)} }

// all returns the extents of everything as one.
func (e extents) all() extents {
	a := newExtents(1)
	for i := range e.lo {
		a.lo[0], a.hi[0] = min(a.lo[0], e.lo[i]), max(a.hi[0], e.hi[i])
	}
	return a
}

// params chooses parameters for each of the extents.
func (e extents) params(r Range, symmetric bool) ([]Params, error) {
	p := make([]Params, len(e.lo))
	for i := range p {
		var err error
		if p[i], err = ChooseParams(e.lo[i], e.hi[i], r, symmetric); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// rowExtents returns the extents of the rows.
func (m matrix) rowExtents() (extents, error) {
	e := newExtents(m.rows)
	var mu sync.Mutex
	finite := true
	parallel(m.rows, m.grain(), func(first, last int) {
		var check float32
		for i := first; i < last; i++ {
			var lo, hi float32
			for _, v := range m.x[i*m.cols : (i+1)*m.cols] {
				check += v - v
				if v < lo {
					lo = v
				}
				if v > hi {
					hi = v
				}
			}
			e.lo[i], e.hi[i] = lo, hi
		}
		if check != 0 {
			mu.Lock()
			finite = false
			mu.Unlock()
		}
	})
	if !finite {
		return e, errNotFinite
	}
	return e, nil
}

// colExtents returns the extents of the columns, reading row by row.
func (m matrix) colExtents() (extents, error) {
	e := newExtents(m.cols)
	var mu sync.Mutex
	finite := true
	parallel(m.rows, m.grain(), func(first, last int) {
		part := newExtents(m.cols)
		ok := m.widen(part, first, last)
		mu.Lock()
		defer mu.Unlock()
		finite = finite && ok
		for j := range part.lo {
			e.lo[j], e.hi[j] = min(e.lo[j], part.lo[j]), max(e.hi[j], part.hi[j])
		}
	})
	if !finite {
		return e, errNotFinite
	}
	return e, nil
}

// widen makes e take in the columns of the rows first to last. It reports whether all of them are finite.
func (m matrix) widen(e extents, first, last int) bool {
	if m.cols == 0 {
		return true
	}
	return kernel.ColumnExtents(e.lo[:m.cols], e.hi[:m.cols], m.x[first*m.cols:], last-first, m.cols)
}

// quantizeRows returns the matrix as uint8 with parameters per row, or one for all.
func (m matrix) quantizeRows(perRow bool) ([]uint8, []Params, error) {
	e, err := m.rowExtents()
	if err != nil {
		return nil, nil, err
	}
	if !perRow {
		e = e.all()
	}
	p, err := e.params(Uint8Range, false)
	if err != nil {
		return nil, nil, err
	}
	q := make([]uint8, len(m.x))
	parallel(m.rows, m.grain(), func(first, last int) {
		for i := first; i < last; i++ {
			Quantize(q[i*m.cols:(i+1)*m.cols], m.x[i*m.cols:(i+1)*m.cols], p[i%len(p)], Uint8Range)
		}
	})
	return q, p, nil
}

// quantizeCols returns the codes of the matrix with parameters per column, or one for all.
func (m matrix) quantizeCols(perCol bool, c codes) ([]byte, []Params, error) {
	e, err := m.colExtents()
	if err != nil {
		return nil, nil, err
	}
	if !perCol {
		e = e.all()
	}
	p, err := c.params(e)
	if err != nil {
		return nil, nil, err
	}
	q, s := make([]byte, len(m.x)), c.spread(p, m.cols)
	parallel(m.rows, m.grain(), func(first, last int) {
		for i := first; i < last; i++ {
			c.putRow(q[i*m.cols:(i+1)*m.cols], m.x[i*m.cols:(i+1)*m.cols], s)
		}
	})
	return q, p, nil
}

// quantizeTransposed returns the transpose of the matrix as quantizeCols would of it.
func (m matrix) quantizeTransposed(perCol bool, c codes) ([]byte, []Params, error) {
	e, err := m.rowExtents()
	if err != nil {
		return nil, nil, err
	}
	if !perCol {
		e = e.all()
	}
	p, err := c.params(e)
	if err != nil {
		return nil, nil, err
	}
	q := make([]byte, len(m.x))
	const block = 64 // rows that are written side by side
	parallel((m.rows+block-1)/block, m.grain()/block+1, func(first, last int) {
		line := make([]byte, block*m.cols)
		for b := first; b < last; b++ {
			r0 := b * block
			n := min(block, m.rows-r0)
			for i := range n {
				c.put(line[i*m.cols:(i+1)*m.cols], m.x[(r0+i)*m.cols:(r0+i+1)*m.cols], p[(r0+i)%len(p)])
			}
			for j := range m.cols {
				out := q[j*m.rows+r0:][:n]
				for i := range out {
					out[i] = line[i*m.cols+j]
				}
			}
		}
	})
	return q, p, nil
}
