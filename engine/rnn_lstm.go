package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
)

// LSTM in float32 with the usual activations: see rnnTask.

// lstmTask is a task with the cells, [nb, H].
type lstmTask struct {
	rnnTask
	c, oldC []float32
	xs      []float32 // see inputRoom
	digits  *kernel.PackedDigits
}

// lstmFast runs the recurrence on states h and cell, [D, B, H].
func lstmFast(r *rnnCall[float32], bias, h, cell []float32) {
	c := r.c
	if r.t == 0 || r.b*r.h == 0 {
		return
	}
	parts, units := r.cut(4)
	var tasks []recurrent
	for d := range r.d {
		sum := sumBias(c, bias, d, 4*r.h)
		for p := range parts {
			t := &lstmTask{rnnTask: newRNNTask(r, d, p, parts, units, sum, h, 4*r.h)}
			if r.b == 1 && units == 1 {
				t.digits = r.digits(d)
			}
			t.xs = inputRoom[float32](&t.rnnTask, r.i)
			if t.c = t.states(cell); t.old != nil {
				t.oldC = Scratch[float32](c, t.nb*r.h)
			}
			tasks = append(tasks, t)
		}
	}
	runTasks(c.pool, tasks, units)
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

// project computes the gates of n steps from s0 on without their recurrent part.
func (t *lstmTask) project(pool *kernel.Pool, s0, n int) {
	t.r.proj[t.d][0].project(pool, n*t.nb, stepInputs(&t.rnnTask, t.xs, t.r.x, s0, n, t.r.i), t.gates, t.bias)
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
				w.mul(nil, t.nb, t.h, r.h, g, 4*r.h, kernel.Epilogue{Accumulate: true})
			}
			if r.ragged {
				copy(t.old, t.h)
				copy(t.oldC, t.c)
			}
			kernel.LSTMCell(g, t.c, t.c, t.h, t.nb, r.h)
			t.keep(s0+s, t.c, t.oldC)
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
	states := [2][]float32{t.h, t.old}
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
			w.lstmStep(old[at:][:hs], g[4*at:][:4*hs], c, c, next[at:][:hs], from, to-from)
			t.store(s, b, from, to, next)
		}
	})
	if r.t%2 == 1 {
		copy(t.h, t.old)
	}
}

// lstmStep is kernel.LSTMStep with a matrix of either kind.
func (w *packedMatrix) lstmStep(hPrev, gates, cPrev, c, h []float32, from, n int) {
	if w.half == nil {
		kernel.LSTMStep(w.f32, hPrev, gates, cPrev, c, h, from, n)
		return
	}
	for q := range 4 {
		at := q*len(h) + from
		kernel.GemmHalf(nil, 1, hPrev, len(h), w.half.Columns(at, n), gates[at:at+n], n, kernel.Epilogue{Accumulate: true})
	}
	kernel.LSTMUnits(gates, cPrev, c, h, from, n)
}
