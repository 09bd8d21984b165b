package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// The recurrent operators in float32. The inputs of some steps are projected at a time, so that the gates stay in the cache until their
// step. With several threads, every one takes whole sequences; a batch with fewer than there are threads is cut by hidden units, whose
// products wait for the weights, within each step. A row of a product never depends on the others, so the bits are those of one thread.

const (
	// rnnRows is the number of rows of the inputs that are projected at a time.
	rnnRows = 96
	// forkRNN is the number of multiply-adds of one step of a thread from which on it takes units of its own. Handing a step
	// over, with the lines of the state that the others wrote, costs 0.6 microseconds between two cores of a Zen 4: with 128
	// units in digits, 1.3 microseconds of work for each of two threads, nothing was gained; in float32 on a Zen 3 it takes a sixth less time.
	forkRNN, forkRNNDigits = 30_000, 60_000
	// forkRecurrence is the number of multiply-adds below which a recurrence is not spread over threads: some 25 microseconds.
	forkRecurrence = 1_200_000
)

// rnnTask is some batch entries in one direction.
type rnnTask struct {
	r      *rnnCall[float32]
	d      int
	b0, nb int
	bias   []float32 // of the gates
	h, old []float32 // state, [nb, H], and that of the step before where it is needed
	gates  []float32 // of the steps of a round
	steps  int       // of a round
}

// cut says into how many parts the batch of a recurrence with so many matrices [H, I+H] is cut, and the hidden units of each step.
func (r *rnnCall[T]) cut(matrices int) (parts, units int) {
	threads := r.c.pool.Threads()
	shares := r.b * r.t * matrices * r.h * (r.i + r.h) / forkRecurrence
	parts, units = max(1, min(r.b, threads, shares)), 1
	if shares > 0 && r.d*parts < threads && r.h%kernel.PanelWidth == 0 {
		least := forkRNN
		if kernel.HasDigits() {
			least = forkRNNDigits
		}
		units = max(1, min(threads, r.h/kernel.PanelWidth, matrices*r.h*r.h*r.b/least))
	}
	return parts, units
}

// newRNNTask returns part p of the batch in direction d, with the states h of the call, [D, B, H], and gates of the given width.
func newRNNTask(r *rnnCall[float32], d, p, parts, units int, bias, h []float32, wide int) rnnTask {
	t := rnnTask{r: r, d: d, bias: bias, b0: p * r.b / parts}
	t.nb = (p+1)*r.b/parts - t.b0
	t.h = t.states(h)
	if t.steps = min(r.t, max(1, rnnRows/t.nb)); units > 1 {
		t.steps = r.t
	}
	t.gates = Scratch[float32](r.c, t.steps*t.nb*wide)
	if r.ragged || units > 1 {
		t.old = Scratch[float32](r.c, t.nb*r.h)
	}
	return t
}

// states returns the part of states [D, B, H] that is the task's.
func (t *rnnTask) states(h []float32) []float32 {
	at := (t.d*t.r.b + t.b0) * t.r.h
	return h[at : at+t.nb*t.r.h]
}

// recurrent is a task that computes all of its steps, alone or with the hidden units cut into parts.
type recurrent interface {
	run()
	runUnits(parts int)
}

// runTasks runs tasks, one for every thread, or one after the other where units are cut.
func runTasks(pool *kernel.Pool, tasks []recurrent, units int) {
	switch {
	case units > 1:
		for _, t := range tasks {
			t.runUnits(units)
		}
	case len(tasks) == 1:
		tasks[0].run()
	default:
		pool.Run(len(tasks), func(i int) { tasks[i].run() })
	}
}

// inputRoom returns room for the inputs of a round, rows of width elements; nil where they are rows of X as they lie there.
func inputRoom[T model.Element](t *rnnTask, width int) []T {
	if r := t.r; r.ragged || r.reverse[t.d] || t.nb < r.b {
		return Scratch[T](r.c, t.steps*t.nb*width)
	}
	return nil
}

// stepInputs returns the inputs of n steps from s0 on, [n, nb, width], of x, [T, B, width]; in room where that is not nil.
func stepInputs[T any](t *rnnTask, room, x []T, s0, n, width int) []T {
	r := t.r
	if room == nil {
		return x[s0*r.b*width:]
	}
	for s := range n {
		for b := range t.nb {
			at := max(0, r.at(t.d, s0+s, t.b0+b))
			copy(room[(s*t.nb+b)*width:][:width], x[(at*r.b+t.b0+b)*width:])
		}
	}
	return room
}

// project is x[rows, k] W^T + bias.
func (m *rnnMatrix[T]) project(pool *kernel.Pool, rows int, x, out, bias []float32) {
	if m.k == 0 {
		for i := range rows {
			z := out[i*m.n : (i+1)*m.n]
			clear(z)
			copy(z, bias)
		}
		return
	}
	m.packed.mul(pool, rows, x, m.k, out, m.n, kernel.Epilogue{Bias: bias})
}

// keep restores the states of entries whose sequence is over, the cells c too where there are any, and stores those of the others in Y.
func (t *rnnTask) keep(s int, c, oldC []float32) {
	r, n := t.r, t.r.h
	if !r.ragged && r.y != nil {
		at := s
		if r.reverse[t.d] {
			at = r.t - 1 - s
		}
		copy(r.y[((at*r.d+t.d)*r.b+t.b0)*n:], t.h)
		return
	}
	for b := range t.nb {
		if s >= r.lens[t.b0+b] {
			copy(t.h[b*n:(b+1)*n], t.old[b*n:])
			if c != nil {
				copy(c[b*n:(b+1)*n], oldC[b*n:])
			}
			continue
		}
		t.store(s, b, 0, n, t.h)
	}
}

// store puts units from to to of entry b of the states h after step s into Y.
func (t *rnnTask) store(s, b, from, to int, h []float32) {
	if r := t.r; r.y != nil {
		y := r.y[((r.at(t.d, s, t.b0+b)*r.d+t.d)*r.b+t.b0+b)*r.h:]
		copy(y[from:to], h[b*r.h+from:b*r.h+to])
	}
}
