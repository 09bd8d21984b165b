package engine

import "github.com/wattshed/wattshed/engine/kernel"

// GRU and RNN in float32: see rnnTask.

// cellTask is a task of either. The gates z and r, and the only one of an RNN, are [rows, wide]; the hidden gate of a GRU, apart from its
// recurrent part, is [rows, H].
type cellTask struct {
	rnnTask
	gru    bool
	linear bool      // linear_before_reset
	bn, br []float32 // biases of the hidden gate: of its projected input, and of its recurrent part where that is linear
	xs     []float32 // see inputRoom
	hidden []float32
	rh     []float32 // r*h, or the recurrent part of the hidden gate; [nb, H]
}

// runCells runs the recurrence of a GRU or RNN on the states h, [D, B, H]; bias is B of the operator, or nil.
func runCells(r *rnnCall[float32], bias, h []float32, gru, linear bool) {
	c := r.c
	if r.t == 0 || r.b*r.h == 0 {
		return
	}
	matrices, wide := 1, r.h
	if gru {
		matrices, wide = 3, 2*r.h
	}
	parts, units := r.cut(matrices)
	var tasks []recurrent
	for d := range r.d {
		var all, bn, br []float32
		if bias != nil && gru {
			all, bn, br = gruBias(c, bias[d*6*r.h:(d+1)*6*r.h], r.h, linear)
		} else {
			all = sumBias(c, bias, d, r.h)
		}
		for p := range parts {
			t := &cellTask{rnnTask: newRNNTask(r, d, p, parts, units, all, h, wide), gru: gru, linear: linear, bn: bn, br: br}
			if t.xs = inputRoom[float32](&t.rnnTask, r.i); gru {
				t.hidden, t.rh = Scratch[float32](c, t.steps*t.nb*r.h), Scratch[float32](c, t.nb*r.h)
			}
			tasks = append(tasks, t)
		}
	}
	runTasks(c.pool, tasks, units)
}

// gruBias splits the biases Wz Wr Wh Rz Rr Rh of one direction: those of z and r, of the projected input of the hidden gate and of its recurrent part.
func gruBias(c *Call, b []float32, h int, linear bool) (zr, n, rn []float32) {
	zr, n, rn = Scratch[float32](c, 2*h), Scratch[float32](c, h), b[5*h:]
	kernel.Add(zr, b[:2*h], b[3*h:5*h])
	copy(n, b[2*h:3*h])
	if !linear {
		kernel.Add(n, n, rn)
	}
	return zr, n, rn
}

// project computes the gates of n steps from s0 on without their recurrent parts.
func (t *cellTask) project(pool *kernel.Pool, s0, n int) {
	x, rows := stepInputs(&t.rnnTask, t.xs, t.r.x, s0, n, t.r.i), n*t.nb
	t.r.proj[t.d][0].project(pool, rows, x, t.gates, t.bias)
	if t.gru {
		t.r.proj[t.d][1].project(pool, rows, x, t.hidden, t.bn)
	}
}

// run computes all steps.
func (t *cellTask) run() {
	r := t.r
	hs, w := r.h, r.hid[t.d]
	size, wide := t.nb*r.h, w[0].n
	add := kernel.Epilogue{Accumulate: true}
	for s0 := 0; s0 < r.t; s0 += t.steps {
		n := min(t.steps, r.t-s0)
		t.project(nil, s0, n)
		for s := range n {
			if r.ragged {
				copy(t.old, t.h)
			}
			g := t.gates[s*t.nb*wide:][:t.nb*wide]
			w[0].packed.mul(nil, t.nb, t.h, hs, g, wide, add)
			if !t.gru {
				t.activate(g, 0)
				copy(t.h, g)
				t.keep(s0+s, nil, nil)
				continue
			}
			m := t.hidden[s*size:][:size]
			if t.linear {
				w[1].packed.mul(nil, t.nb, t.h, hs, t.rh, hs, kernel.Epilogue{Bias: t.br})
			}
			t.activate(g, 0)
			for b := range t.nb {
				reset, rh := g[(2*b+1)*hs:(2*b+2)*hs], t.rh[b*hs:(b+1)*hs]
				if t.linear {
					row := m[b*hs : (b+1)*hs]
					kernel.MulAdd(row, reset, rh, row)
				} else {
					kernel.Mul(rh, reset, t.h[b*hs:(b+1)*hs])
				}
			}
			if !t.linear {
				w[1].packed.mul(nil, t.nb, t.rh, hs, m, hs, add)
			}
			t.activate(m, 1)
			for b := range t.nb {
				blend(t.h[b*hs:(b+1)*hs], g[2*b*hs:(2*b+1)*hs], m[b*hs:(b+1)*hs], t.h[b*hs:(b+1)*hs])
			}
			t.keep(s0+s, nil, nil)
		}
	}
}

// activate limits gates and applies activation k of the direction.
func (t *cellTask) activate(g []float32, k int) {
	clipTo(g, t.r.clip)
	t.r.acts[t.d*len(t.r.hid[t.d])+k](g)
}

// blend is h = n + z*(old - n), the product and the sum fused, which is (1-z)*n + z*old.
func blend(h, z, n, old []float32) {
	kernel.Sub(h, old, n)
	kernel.MulAdd(h, z, h, n)
}

// runUnits computes all steps with the hidden units cut into parts: a part reads the whole state of the step before and writes its units of the next
// one. A GRU whose reset gate comes before its product takes two of the pool's steps for one of its own.
func (t *cellTask) runUnits(parts int) {
	r := t.r
	hs := r.h
	t.project(r.c.pool, 0, r.t)
	panels := hs / kernel.PanelWidth
	states := [2][]float32{t.h, t.old}
	halves := 1
	if t.gru && !t.linear {
		halves = 2
	}
	r.c.pool.RunSteps(r.t*halves, parts, func(i, p int) {
		s := i / halves
		from, to := p*panels/parts*kernel.PanelWidth, (p+1)*panels/parts*kernel.PanelWidth
		u := &unitStep{t: t, s: s, from: from, to: to, old: states[s%2], next: states[(s+1)%2]}
		switch {
		case !t.gru:
			u.simple()
		case i%halves == 0:
			u.gates()
		}
		if t.gru && i%halves == halves-1 {
			u.output()
		}
	})
	if r.t%2 == 1 {
		copy(t.h, t.old)
	}
}

// unitStep is one step of units from to to of all entries of a task.
type unitStep struct {
	t         *cellTask
	s         int
	from, to  int
	old, next []float32
}

// columns adds state times columns at to at+to-from of a recurrent matrix to out, whose rows are ld elements apart.
func (u *unitStep) columns(m *rnnMatrix[float32], at int, state, out []float32, ld int, ep kernel.Epilogue) {
	m.packed.columns(at, u.to-u.from).mul(nil, u.t.nb, state, u.t.r.h, out, ld, ep)
}

// simple is a step of an RNN.
func (u *unitStep) simple() {
	t, hs := u.t, u.t.r.h
	g := t.gates[u.s*t.nb*hs:][:t.nb*hs]
	u.columns(t.r.hid[t.d][0], u.from, u.old, g[u.from:], hs, kernel.Epilogue{Accumulate: true})
	for b := range t.nb {
		row := g[b*hs+u.from : b*hs+u.to]
		t.activate(row, 0)
		copy(u.next[b*hs+u.from:], row)
		u.keep(b)
	}
}

// gates computes z, r and either r*h or the recurrent part of the hidden gate.
func (u *unitStep) gates() {
	t, hs := u.t, u.t.r.h
	w := t.r.hid[t.d]
	g := t.gates[u.s*t.nb*2*hs:][:t.nb*2*hs]
	add := kernel.Epilogue{Accumulate: true}
	u.columns(w[0], u.from, u.old, g[u.from:], 2*hs, add)
	u.columns(w[0], hs+u.from, u.old, g[hs+u.from:], 2*hs, add)
	if t.linear {
		var ep kernel.Epilogue
		if t.br != nil {
			ep.Bias = t.br[u.from:u.to]
		}
		u.columns(w[1], u.from, u.old, t.rh[u.from:], hs, ep)
	}
	for b := range t.nb {
		z, reset := g[2*b*hs+u.from:2*b*hs+u.to], g[(2*b+1)*hs+u.from:(2*b+1)*hs+u.to]
		t.activate(z, 0)
		t.activate(reset, 0)
		if !t.linear {
			kernel.Mul(t.rh[b*hs+u.from:b*hs+u.to], reset, u.old[b*hs+u.from:b*hs+u.to])
		}
	}
}

// output computes the hidden gate and the state.
func (u *unitStep) output() {
	t, hs := u.t, u.t.r.h
	g, m := t.gates[u.s*t.nb*2*hs:][:t.nb*2*hs], t.hidden[u.s*t.nb*hs:][:t.nb*hs]
	if !t.linear {
		u.columns(t.r.hid[t.d][1], u.from, t.rh, m[u.from:], hs, kernel.Epilogue{Accumulate: true})
	}
	for b := range t.nb {
		lo, hi := b*hs+u.from, b*hs+u.to
		n := m[lo:hi]
		if t.linear {
			kernel.MulAdd(n, g[(2*b+1)*hs+u.from:(2*b+1)*hs+u.to], t.rh[lo:hi], n)
		}
		t.activate(n, 1)
		blend(u.next[lo:hi], g[2*b*hs+u.from:2*b*hs+u.to], n, u.old[lo:hi])
		u.keep(b)
	}
}

// keep restores the units of an entry whose sequence is over, and stores those of the others in Y.
func (u *unitStep) keep(b int) {
	lo, hi := b*u.t.r.h+u.from, b*u.t.r.h+u.to
	if u.s >= u.t.r.lens[u.t.b0+b] {
		copy(u.next[lo:hi], u.old[lo:hi])
		return
	}
	u.t.store(u.s, b, u.from, u.to, u.next)
}
