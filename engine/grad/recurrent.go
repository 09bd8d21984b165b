package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
)

// recurrent holds the sizes and inputs that LSTM and GRU share: X [t,b,in], W [dirs,gates*h,in], R [dirs,gates*h,h],
// B [dirs,2*gates*h], lens [b] and the initial state h0 [dirs,b,h].
type recurrent struct {
	t, b, in, h, dirs, gates int
	back                     [2]bool // direction d runs from the end
	x, w, r, bias, h0        []float32
	lens                     []int64
	pool                     *kernel.Pool
}

// readRecurrent reads and checks inputs 0 to 5 of a recurrent node of the given number of gates.
func readRecurrent(c *engine.Call, gates int) (*recurrent, error) {
	s := &recurrent{gates: gates, pool: c.Pool()}
	var xs, ws, rs []int
	var err error
	if s.x, xs, err = f32(c, 0); err != nil {
		return nil, err
	}
	if s.w, ws, err = f32(c, 1); err != nil {
		return nil, err
	}
	if s.r, rs, err = f32(c, 2); err != nil {
		return nil, err
	}
	if len(xs) != 3 || len(ws) != 3 || len(rs) != 3 {
		return nil, fmt.Errorf("shapes X %v, W %v, R %v: want three dimensions each", xs, ws, rs)
	}
	s.t, s.b, s.in, s.h, s.dirs = xs[0], xs[1], xs[2], rs[2], ws[0]
	switch dir := c.Node.Str("direction", "forward"); {
	case dir == "forward" && s.dirs == 1:
	case dir == "reverse" && s.dirs == 1:
		s.back[0] = true
	case dir == "bidirectional" && s.dirs == 2:
		s.back[1] = true
	default:
		return nil, fmt.Errorf("direction %q with W %v", dir, ws)
	}
	if !equal(ws, []int{s.dirs, gates * s.h, s.in}) || !equal(rs, []int{s.dirs, gates * s.h, s.h}) {
		return nil, fmt.Errorf("shapes X %v, W %v, R %v do not fit", xs, ws, rs)
	}
	if s.bias, err = optional(c, 3); err != nil {
		return nil, err
	}
	if s.h0, err = optional(c, 5); err != nil {
		return nil, err
	}
	if s.lens, err = ints(c, 4); err != nil {
		return nil, err
	}
	if s.bias != nil && len(s.bias) != s.dirs*2*gates*s.h || s.h0 != nil && len(s.h0) != s.dirs*s.b*s.h ||
		s.lens != nil && len(s.lens) != s.b {
		return nil, fmt.Errorf("bias of %d, initial_h of %d and sequence_lens of %d elements do not fit X %v, R %v", len(s.bias), len(s.h0), len(s.lens), xs, rs)
	}
	for i, l := range s.lens {
		if l < 0 || l > int64(s.t) {
			return nil, fmt.Errorf("sequence_lens[%d] = %d of %d steps", i, l, s.t)
		}
	}
	return s, nil
}

func (s *recurrent) length(b int) int {
	if s.lens == nil {
		return s.t
	}
	return int(s.lens[b])
}

// run is a block of neighbouring batch entries that are all inside their sequences at one step, and all at its first step
// or none.
type run struct {
	lo, hi int
	first  bool
}

// runsAt calls f for the runs among entries [lo, hi) at step t of direction d, and idle for the entries outside.
func (s *recurrent) runsAt(d, t, lo, hi int, f func(run), idle func(b int)) {
	for b := lo; b < hi; {
		if t >= s.length(b) {
			if idle != nil {
				idle(b)
			}
			b++
			continue
		}
		r := run{lo: b, first: s.firstStep(d, b) == t}
		for b < hi && t < s.length(b) && (s.firstStep(d, b) == t) == r.first {
			b++
		}
		r.hi = b
		f(r)
	}
}

// firstStep and lastStep return the steps at which entry b's sequence begins and ends in direction d.
func (s *recurrent) firstStep(d, b int) int {
	if s.back[d] {
		return s.length(b) - 1
	}
	return 0
}

func (s *recurrent) lastStep(d, b int) int {
	if s.back[d] {
		return 0
	}
	return s.length(b) - 1
}

// step returns the k-th step of direction d, and before the one whose state a step continues.
func (s *recurrent) step(d, k int) int {
	if s.back[d] {
		return s.t - 1 - k
	}
	return k
}

func (s *recurrent) before(d, t int) int {
	if s.back[d] {
		return t + 1
	}
	return t - 1
}

// chunks splits the batch into blocks that are computed independently of each other, so that the split shows in no result.
func (s *recurrent) chunks(f func(lo, hi int)) {
	size := s.b
	if threads := s.pool.Threads(); threads > 1 {
		size = max(8, (s.b+2*threads-1)/(2*threads))
	}
	n := (s.b + size - 1) / size
	s.pool.Run(n, func(i int) { f(i*size, min(s.b, (i+1)*size)) })
}

// at returns entries r of step t, direction d, of a tensor [t,dirs,b,h].
func (s *recurrent) at(y []float32, d, t int, r run) []float32 {
	o := ((t*s.dirs+d)*s.b + r.lo) * s.h
	return y[o : o+(r.hi-r.lo)*s.h]
}

// saved returns entries r of step t, direction d, of a tensor [dirs,t,b,n].
func (s *recurrent) saved(x []float32, d, t int, r run, n int) []float32 {
	o := ((d*s.t+t)*s.b + r.lo) * n
	return x[o : o+(r.hi-r.lo)*n]
}

// state returns entries r of direction d of a tensor [dirs,b,h]; zeros holds b*h zeros for one that is omitted.
func (s *recurrent) state(x, zeros []float32, d int, r run) []float32 {
	if x == nil {
		return zeros[r.lo*s.h : r.hi*s.h]
	}
	return x[(d*s.b+r.lo)*s.h : (d*s.b+r.hi)*s.h]
}

// previous returns the state that entries r of step t continue: the initial one, or that in y [t,dirs,b,h].
func (s *recurrent) previous(y, h0, zeros []float32, d, t int, r run) []float32 {
	if r.first {
		return s.state(h0, zeros, d, r)
	}
	return s.at(y, d, s.before(d, t), r)
}

// gateRows returns the rows of gates g0 to g1 of direction d of W or R, each of n elements.
func (s *recurrent) gateRows(w []float32, d, g0, g1, n int) []float32 {
	return w[(d*s.gates+g0)*s.h*n : (d*s.gates+g1)*s.h*n]
}

// biases returns Wb and Rb of direction d, nil when B is omitted.
func (s *recurrent) biases(d int) (wb, rb []float32) {
	if s.bias == nil {
		return nil, nil
	}
	n := s.gates * s.h
	return s.bias[2*d*n : (2*d+1)*n], s.bias[(2*d+1)*n : (2*d+2)*n]
}

// outputs makes Y [t,dirs,b,h] and the last states [dirs,b,h] in outputs 0, 1 and, for an LSTM, 2.
func (s *recurrent) outputs(c *engine.Call) (y []float32, last [2][]float32, err error) {
	if y, err = engine.Out[float32](c, 0, []int{s.t, s.dirs, s.b, s.h}); err != nil {
		return
	}
	for i := range last {
		if c.Wants(1 + i) {
			if last[i], err = engine.Out[float32](c, 1+i, []int{s.dirs, s.b, s.h}); err != nil {
				return
			}
		}
	}
	return
}

// gradOutputs makes the derivatives by X, W, R, B, initial_h (and initial_c) that are wanted, zeroed scratch for X to initial_h
// that are not, in the order of the inputs.
func (s *recurrent) gradOutputs(c *engine.Call, ins int) ([][]float32, error) {
	shapes := [][]int{{s.t, s.b, s.in}, {s.dirs, s.gates * s.h, s.in}, {s.dirs, s.gates * s.h, s.h},
		{s.dirs, 2 * s.gates * s.h}, nil, {s.dirs, s.b, s.h}, {s.dirs, s.b, s.h}}
	out := make([][]float32, ins)
	for i := range ins {
		if !c.Wants(i) || shapes[i] == nil {
			continue
		}
		var err error
		if out[i], err = engine.Out[float32](c, i, shapes[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// inputGrad adds dz W to dx for the gates [g0, g1) of direction d: dz is [t*b,(g1-g0)*h].
func (s *recurrent) inputGrad(dx, dz []float32, d, g0, g1 int, accumulate bool) {
	if dx == nil {
		return
	}
	k := (g1 - g0) * s.h
	kernel.MatMulF32(s.pool, s.t*s.b, s.in, k, dz, k, false, s.gateRows(s.w, d, g0, g1, s.in), s.in, false, dx, s.in,
		kernel.Epilogue{Accumulate: accumulate})
}

// weightGrad sets the gates [g0, g1) of direction d of dw [dirs,gates*h,n] to dz^T a, for dz [t*b,(g1-g0)*h] and a [t*b,n]. The
// product is computed as (a^T dz)^T, which has the same bits, since a is the narrower one to transpose.
func (s *recurrent) weightGrad(c *engine.Call, dw, dz, a []float32, n, d, g0, g1 int) {
	if dw == nil {
		return
	}
	m := (g1 - g0) * s.h
	t := engine.Scratch[float32](c, n*m)
	kernel.MatMulF32(s.pool, n, m, s.t*s.b, a, n, true, dz, m, false, t, m, kernel.Epilogue{})
	kernel.Transpose2D(s.gateRows(dw, d, g0, g1, n), t, n, m)
}

// history fills hp [t*b,h] with the state that each step of direction d continues, zeros outside the sequences.
func (s *recurrent) history(hp, y, zeros []float32, d int) {
	s.chunks(func(lo, hi int) {
		for t := range s.t {
			s.runsAt(d, t, lo, hi, func(r run) {
				copy(hp[(t*s.b+r.lo)*s.h:], s.previous(y, s.h0, zeros, d, t, r))
			}, func(b int) { clear(hp[(t*s.b+b)*s.h : (t*s.b+b+1)*s.h]) })
		}
	})
}
