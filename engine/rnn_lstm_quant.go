package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
)

// lstmQuantTask is some batch entries of a quantized LSTM in one direction: the input is quantized as a whole before, the
// state of all entries with one scale in every step. So the tasks go step by step together and tell each other the ranges
// of their states.
type lstmQuantTask struct {
	lstmTask
	qx     []uint8 // X up to the longest sequence, rows of stride i4
	sx     [1]float32
	zx     [1]uint8
	qs     []uint8 // rows of a round
	cell   *kernel.LSTMQuant
	ranges *[2][][2]float32 // of the states, by parity of the step and task
}

func fourfold(n int) int { return (n + 3) &^ 3 }

// lstmQuant runs the recurrence with int8 weights on states h and cell, [D, B, H].
func lstmQuant(r *rnnCall[float32], bias, h, cell []float32) {
	c := r.c
	if r.longest == 0 || r.b*r.h == 0 {
		return
	}
	i4, x := fourfold(r.i), r.x[:r.longest*r.b*r.i]
	sx, zx := kernel.RangeU8(x)
	qx := Scratch[uint8](c, r.longest*r.b*i4)
	quantizeRows(qx, x, r.i, i4, sx, zx)
	parts := max(1, min(r.b, c.pool.Threads(), r.b*r.t*r.h*(r.i+r.h)/forkRecurrence))
	for d := range r.d {
		sum := sumBias(c, bias, d, 4*r.h)
		ranges := &[2][][2]float32{make([][2]float32, parts), make([][2]float32, parts)}
		tasks := make([]*lstmQuantTask, parts)
		for p := range parts {
			t := &lstmQuantTask{lstmTask: lstmTask{rnnTask: newRNNTask(r, d, p, parts, 1, sum, h, 4*r.h)}, qx: qx, ranges: ranges}
			t.sx[0], t.zx[0] = sx, zx
			w := r.hid[d][0].quant
			t.cell, t.qs = kernel.NewLSTMQuant(t.nb, w.q, w.scale, w.zero), inputRoom[uint8](&t.rnnTask, i4)
			if t.c = t.states(cell); t.old != nil {
				t.oldC = Scratch[float32](c, t.nb*r.h)
			}
			lo, hi := kernel.RangeF32(t.h)
			ranges[0][p] = [2]float32{lo, hi}
			tasks[p] = t
		}
		c.pool.RunSteps(r.longest, parts, func(s, p int) { tasks[p].step(s, p) })
		for _, t := range tasks {
			t.cell.Close()
		}
	}
}

// quantizeRows quantizes rows of n elements of x into rows of n4 bytes; the bytes behind a row are not used.
func quantizeRows(q []uint8, x []float32, n, n4 int, scale float32, zero uint8) {
	if n == n4 {
		kernel.QuantizeLinearU8(x, q[:len(x)], scale, zero)
		return
	}
	for i := range len(x) / max(1, n) {
		kernel.QuantizeLinearU8(x[i*n:(i+1)*n], q[i*n4:i*n4+n], scale, zero)
	}
}

// project computes the gates of the round that starts at step s0.
func (t *lstmQuantTask) project(s0 int) {
	r := t.r
	i4, n := fourfold(r.i), min(t.steps, r.longest-s0)
	rows := n * t.nb
	q := stepInputs(&t.rnnTask, t.qs, t.qx, s0, n, i4)
	w := r.proj[t.d][0].quant
	kernel.QuantGemm(nil, rows, q, i4, t.sx[:], t.zx[:], w.q, w.scale, w.zero, t.gates, 4*r.h, kernel.Epilogue{Bias: t.bias})
}

// step computes one step of the task's entries.
func (t *lstmQuantTask) step(s, p int) {
	r := t.r
	if s%t.steps == 0 {
		t.project(s)
	}
	var lo, hi float32
	for _, v := range t.ranges[s%2] {
		lo, hi = min(lo, v[0]), max(hi, v[1])
	}
	if r.ragged {
		copy(t.old, t.h)
		copy(t.oldC, t.c)
	}
	scale, zero := kernel.ParamsU8(lo, hi)
	size := t.nb * 4 * r.h
	t.cell.Step(scale, zero, t.gates[s%t.steps*size:][:size], t.c, t.h)
	t.keep(s, t.c, t.oldC)
	t.ranges[(s+1)%2][p] = t.computed(s)
}

// computed returns the range of the states that step s computed: those of sequences that were over before it do not count.
func (t *lstmQuantTask) computed(s int) [2]float32 {
	r := t.r
	if !r.ragged {
		lo, hi := kernel.RangeF32(t.h)
		return [2]float32{lo, hi}
	}
	var lo, hi float32
	for b := range t.nb {
		if s < r.lens[t.b0+b] {
			l, h := kernel.RangeF32(t.h[b*r.h : (b+1)*r.h])
			lo, hi = min(lo, l), max(hi, h)
		}
	}
	return [2]float32{lo, hi}
}
