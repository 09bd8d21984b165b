package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
)

// LSTM in float32 with the usual activations. The inputs of some steps are projected at a time, so that the gates stay in
// the cache until their step. With several threads, every one takes whole sequences; a batch with fewer than there are
// threads is cut by hidden units, whose products wait for the weights, within each step.

const (
	// rnnRows is the number of rows of the inputs that are projected at a time.
	rnnRows = 96
	// forkRNN is the number of multiply-adds of one step of a thread from which on it takes units of its own. Handing a step
	// over, with the lines of the state that the others wrote, costs 0.6 microseconds between two cores of a Zen 4: with 128
	// units, 1.3 microseconds of work for each of two threads, nothing was gained.
	forkRNN = 60_000
)

// lstmTask is some batch entries in one direction.
type lstmTask struct {
	r      *rnnCall[float32]
	d      int
	b0, nb int
	bias   []float32
	h, c   []float32 // state, [nb, H]
	oldH   []float32
	oldC   []float32
	xs     []float32 // inputs of the steps of a round, where they are not rows of X
	gates  []float32
	steps  int // of a round
	digits *kernel.PackedDigits
}

// lstmFast runs the recurrence on states h and cell, [D, B, H].
func lstmFast(r *rnnCall[float32], bias, h, cell []float32) {
	c, n := r.c, r.b*r.h
	if r.t == 0 || n == 0 {
		return
	}
	threads := c.pool.Threads()
	macs := 4 * r.h * (r.i + r.h)
	parts := max(1, min(r.b, threads, r.b*r.t*macs/forkRecurrence))
	units := 1
	if r.d*parts < threads && r.h%kernel.PanelWidth == 0 {
		units = max(1, min(threads, r.h/kernel.PanelWidth, 4*r.h*r.h*r.b/forkRNN))
	}
	var tasks []*lstmTask
	for d := range r.d {
		sum := sumBias(c, bias, d, 4*r.h)
		for p := range parts {
			t := &lstmTask{r: r, d: d, bias: sum, b0: p * r.b / parts}
			t.nb = (p+1)*r.b/parts - t.b0
			if r.b == 1 && units == 1 {
				t.digits = r.digits(d)
			}
			at, size := d*n+t.b0*r.h, t.nb*r.h
			t.h, t.c = h[at:at+size], cell[at:at+size]
			t.steps = min(r.t, max(1, rnnRows/t.nb))
			if units > 1 {
				t.steps = r.t
			}
			t.gates = Scratch[float32](c, t.steps*t.nb*4*r.h)
			if r.ragged || r.reverse[d] || t.nb < r.b {
				t.xs = Scratch[float32](c, t.steps*t.nb*r.i)
			}
			if r.ragged || units > 1 {
				t.oldH, t.oldC = Scratch[float32](c, size), Scratch[float32](c, size)
			}
			tasks = append(tasks, t)
		}
	}
	if units > 1 {
		for _, t := range tasks {
			t.runUnits(units)
		}
		return
	}
	if len(tasks) == 1 {
		tasks[0].run()
		return
	}
	c.pool.Run(len(tasks), func(i int) { tasks[i].run() })
}

// digits returns R of a direction in digits, or nil.
func (r *rnnCall[T]) digits(d int) *kernel.PackedDigits {
	if r.c.st == nil {
		return nil
	}
	if st, ok := r.c.st.state.(*rnnState); ok && st.digits != nil {
		return st.digits[d]
	}
	return nil
}

// forkRecurrence is the number of multiply-adds below which a recurrence is not spread over threads: some 25 microseconds.
const forkRecurrence = 1_200_000

// project computes the gates of n steps from s0 on without their recurrent part.
func (t *lstmTask) project(pool *kernel.Pool, s0, n int) {
	r := t.r
	x := t.xs
	if x == nil {
		x = r.x[s0*r.b*r.i:]
	} else {
		for s := range n {
			for b := range t.nb {
				at := max(0, r.at(t.d, s0+s, t.b0+b))
				copy(x[(s*t.nb+b)*r.i:][:r.i], r.x[(at*r.b+t.b0+b)*r.i:])
			}
		}
	}
	m := r.proj[t.d][0]
	rows := n * t.nb
	if r.i == 0 {
		for i := range rows {
			z := t.gates[i*4*r.h:][:4*r.h]
			clear(z)
			copy(z, t.bias)
		}
		return
	}
	kernel.GemmF32(pool, rows, x, r.i, m.packed, t.gates, 4*r.h, kernel.Epilogue{Bias: t.bias})
}

// run computes all steps.
func (t *lstmTask) run() {
	r := t.r
	w := r.hid[t.d][0].packed
	size := t.nb * 4 * r.h
	for s0 := 0; s0 < r.t; s0 += t.steps {
		n := min(t.steps, r.t-s0)
		t.project(nil, s0, n)
		for s := range n {
			g := t.gates[s*size:][:size]
			if t.digits == nil || !kernel.GemvDigits(t.h, t.digits, g) {
				kernel.GemmF32(nil, t.nb, t.h, r.h, w, g, 4*r.h, kernel.Epilogue{Accumulate: true})
			}
			if r.ragged {
				copy(t.oldH, t.h)
				copy(t.oldC, t.c)
			}
			kernel.LSTMGates(g, t.c, t.c, t.h, t.nb, r.h)
			t.keep(s0+s, t.h)
		}
	}
}

// runUnits computes all steps with the hidden units cut into parts: a part reads the whole state of the step before and
// writes its units of the next one.
func (t *lstmTask) runUnits(parts int) {
	r := t.r
	hs := r.h
	t.project(r.c.pool, 0, r.t)
	w := r.hid[t.d][0].packed
	panels := hs / kernel.PanelWidth
	states := [2][]float32{t.h, t.oldH}
	r.c.pool.RunSteps(r.t, parts, func(s, i int) {
		from, to := i*panels/parts*kernel.PanelWidth, (i+1)*panels/parts*kernel.PanelWidth
		old, next := states[s%2], states[(s+1)%2]
		g := t.gates[s*t.nb*4*hs:][:t.nb*4*hs]
		for b := range t.nb {
			at := b * hs
			if s >= r.lens[t.b0+b] {
				copy(next[at+from:at+to], old[at+from:at+to])
				continue
			}
			c := t.c[at:][:hs]
			kernel.LSTMStep(w, old[at:][:hs], g[4*at:][:4*hs], c, c, next[at:][:hs], from, to-from)
			if r.y != nil {
				y := r.y[((r.at(t.d, s, t.b0+b)*r.d+t.d)*r.b+t.b0+b)*hs:]
				copy(y[from:to], next[at+from:at+to])
			}
		}
	})
	if r.t%2 == 1 {
		copy(t.h, t.oldH)
	}
}

// keep restores the states of entries whose sequence is over and stores those of the others in Y.
func (t *lstmTask) keep(s int, h []float32) {
	r, n := t.r, t.r.h
	if !r.ragged && r.y != nil {
		at := s
		if r.reverse[t.d] {
			at = r.t - 1 - s
		}
		copy(r.y[((at*r.d+t.d)*r.b+t.b0)*n:], h)
		return
	}
	for b := range t.nb {
		if s >= r.lens[t.b0+b] {
			copy(t.h[b*n:(b+1)*n], t.oldH[b*n:])
			copy(t.c[b*n:(b+1)*n], t.oldC[b*n:])
			continue
		}
		if r.y != nil {
			copy(r.y[((r.at(t.d, s, t.b0+b)*r.d+t.d)*r.b+t.b0+b)*n:][:n], h[b*n:])
		}
	}
}
