package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// rnnOps are the recurrent operators.
func rnnOps() map[string]opDef {
	def := func(f32, f64 OpFunc, split []int) opDef {
		return opDef{half: true, prep: func(p *prep) (any, error) { return prepRNN(p, split) }, run: func(c *Call) error {
			x, err := c.Need(0)
			if err != nil {
				return err
			}
			switch x.DType() {
			case model.Float32:
				return f32(c)
			case model.Float64:
				return f64(c)
			}
			return typeError(x)
		}}
	}
	return qualify("", map[string]opDef{
		"LSTM": def(opLSTM[float32], opLSTM[float64], []int{4}),
		"GRU":  def(opGRU[float32], opGRU[float64], []int{2, 1}),
		"RNN":  def(opRNN[float32], opRNN[float64], []int{1}),
	})
}

// rnnState holds packed constant weights, by direction and part.
type rnnState struct {
	wp, rp []*packedMatrix
	quant  bool
	w, r   []*quantMatrix
	digits []*kernel.PackedDigits // R again, of an LSTM for one sequence
}

func (s *rnnState) packedInput(i int) bool {
	return i == 1 && (s.quant || s.wp != nil) || i == 2 && (s.quant || s.rp != nil)
}

// Hidden units between which the recurrent products of one sequence run on digits: below, the weights are in the L1 cache and
// nothing waits for them; above, the second copy would be large, and threads have units of their own.
const digitsFrom, digitsTo = 64, 160

// packDigits packs R [D, 4H, H] as digits where that pays.
func packDigits(p *prep) ([]*kernel.PackedDigits, error) {
	t := p.constant(2)
	if t == nil || t.Rank() != 3 || t.DType() != model.Float32 || p.c.opts.Exact || p.c.opts.NoFusion || !kernel.HasDigits() {
		return nil, nil
	}
	d, h := t.Shape()[0], t.Shape()[2]
	if h < digitsFrom || h > digitsTo || h%kernel.PanelWidth != 0 || t.Shape()[1] != 4*h {
		return nil, nil
	}
	return pack(p, t, "digits", func() ([]*kernel.PackedDigits, int64, error) {
		w, err := t.Float32()
		if err != nil {
			return nil, 0, err
		}
		var out []*kernel.PackedDigits
		size := int64(0)
		for j := range d {
			if !finite(w[j*4*h*h : (j+1)*4*h*h]) {
				return nil, 0, nil
			}
			m := kernel.PackDigits(h, 4*h, w[j*4*h*h:(j+1)*4*h*h])
			out, size = append(out, m), size+m.Bytes()
		}
		return out, size, nil
	})
}

// finite reports whether there is neither an infinity nor a NaN.
func finite(x []float32) bool {
	for _, v := range x {
		if v-v != 0 {
			return false
		}
	}
	return true
}

func prepRNN(p *prep, split []int) (any, error) {
	st := &rnnState{}
	var err error
	if st.wp, err = packGates(p, 1, split); err != nil {
		return nil, err
	}
	if st.rp, err = packGates(p, 2, split); err != nil {
		return nil, err
	}
	if split[0] == 4 && st.rp != nil {
		if st.digits, err = packDigits(p); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// packGates packs input i, [D, gates*H, K], in parts of the given numbers of gates; in half precision where it is stored so.
func packGates(p *prep, i int, split []int) ([]*packedMatrix, error) {
	t := p.constant(i)
	if t == nil || t.Rank() != 3 || t.DType() != model.Float32 && !isHalf(t) || t.Len() == 0 {
		return nil, nil
	}
	t = p.c.stored(t)
	gates := 0
	for _, g := range split {
		gates += g
	}
	if t.Shape()[1]%gates != 0 {
		return nil, nil
	}
	return pack(p, t, fmt.Sprint("gates ", split), func() ([]*packedMatrix, int64, error) {
		d, h, k := t.Shape()[0], t.Shape()[1]/gates, t.Shape()[2]
		part, err := gateRows(t, k)
		if err != nil {
			return nil, 0, err
		}
		var out []*packedMatrix
		size, at := int64(0), 0
		for range d {
			for _, g := range split {
				m := part(at, g*h)
				size += m.bytes()
				at += g * h
				out = append(out, m)
			}
		}
		return out, size, nil
	})
}

// gateRows returns what packs n rows of k elements of w, from one on, as the columns of a matrix.
func gateRows(w *model.Tensor, k int) (func(from, n int) *packedMatrix, error) {
	if isHalf(w) {
		b, err := model.Data[uint16](w)
		return func(from, n int) *packedMatrix { return packHalf(w.DType(), k, n, b[from*k:(from+n)*k], k, true) }, err
	}
	b, err := model.Data[float32](w)
	return func(from, n int) *packedMatrix {
		return &packedMatrix{f32: kernel.PackF32(k, n, b[from*k:(from+n)*k], k, true)}
	}, err
}

// sumBias returns Wb + Rb of one direction from B [D, 2*n].
func sumBias[T real](c *Call, b []T, d, n int) []T {
	if b == nil {
		return nil
	}
	s := Scratch[T](c, n)
	for j := range s {
		s[j] = b[2*d*n+j] + b[(2*d+1)*n+j]
	}
	return s
}

func opLSTM[T real](c *Call) error {
	r, err := newRNN[T](c, 4, []int{4}, []string{"Sigmoid", "Tanh", "Tanh"})
	if err != nil {
		return err
	}
	return lstm(r)
}

func lstm[T real](r *rnnCall[T]) error {
	c, h4 := r.c, 4*r.h
	bias, err := r.optional(3, "B", r.d*2*h4)
	if err != nil {
		return err
	}
	h, err := r.initial(5, "initial_h")
	if err != nil {
		return err
	}
	cell, err := r.initial(6, "initial_c")
	if err != nil {
		return err
	}
	peep, err := r.optional(7, "P", r.d*3*r.h)
	if err != nil {
		return err
	}
	if err := r.outputs(); err != nil {
		return err
	}
	c.NoteISA("lstm", int64(r.t*r.b*r.d*h4*(r.i+r.h)), r.weightBytes())
	forget := c.Node.Int("input_forget", 0) != 0
	fast := r.defaults && peep == nil && !forget
	if f, ok := any(r).(*rnnCall[float32]); ok && fast && f.ready() {
		run := lstmFast
		if f.proj[0][0].quant != nil {
			run = lstmQuant
		}
		run(f, any(bias).([]float32), any(h).([]float32), any(cell).([]float32))
		return r.finish(h, cell)
	}
	gates := Scratch[T](c, r.t*r.b*h4)
	tmp := Scratch[T](c, r.b*h4)
	n := r.b * r.h
	oldH, oldC := Scratch[T](c, n), Scratch[T](c, n)
	for d := range r.d {
		r.proj[d][0].mul(c, r.longest*r.b, r.x, gates, sumBias(c, bias, d, h4), false)
		hd, cd := h[d*n:(d+1)*n], cell[d*n:(d+1)*n]
		var p []T
		if peep != nil {
			p = peep[d*3*r.h : (d+1)*3*r.h]
		}
		for s := range r.longest {
			g := r.rows(gates, tmp, d, s, h4)
			g = r.hid[d][0].mul(c, r.b, r.computed(oldH, hd, d, s), g, nil, true)
			if r.ragged {
				copy(oldH, hd)
				copy(oldC, cd)
			}
			if fast {
				if f, ok := any(g).([]float32); ok {
					kernel.LSTMCell(f, any(cd).([]float32), any(cd).([]float32), any(hd).([]float32), r.b, r.h)
					r.keep(d, s, hd, hd, oldH, cd, oldC)
					continue
				}
			}
			for b := range r.b {
				lstmCell(g[b*h4:(b+1)*h4], cd[b*r.h:(b+1)*r.h], hd[b*r.h:(b+1)*r.h], p, r.acts[3*d:3*d+3], r.clip, forget)
			}
			r.keep(d, s, hd, hd, oldH, cd, oldC)
		}
	}
	return r.finish(h, cell)
}

// lstmCell is one step of one batch entry: g holds the sums for i, o, f and c; p the peepholes i, o, f.
func lstmCell[T real](g, c, h, p []T, acts []activation[T], clip T, forget bool) {
	n := len(c)
	zi, zo, zf, zc := g[:n], g[n:2*n], g[2*n:3*n], g[3*n:]
	if p != nil {
		for j := range n {
			zi[j] += p[j] * c[j]
			zf[j] += p[2*n+j] * c[j]
		}
	}
	clipTo(zi, clip)
	clipTo(zf, clip)
	clipTo(zc, clip)
	acts[0](zi)
	acts[0](zf)
	acts[1](zc)
	if forget {
		for j := range n {
			zf[j] = 1 - zi[j]
		}
	}
	for j := range n {
		c[j] = zf[j]*c[j] + zi[j]*zc[j]
		if p != nil {
			zo[j] += p[n+j] * c[j]
		}
	}
	clipTo(zo, clip)
	acts[0](zo)
	copy(h, c)
	acts[2](h)
	for j := range n {
		h[j] *= zo[j]
	}
}

func opGRU[T real](c *Call) error {
	r, err := newRNN[T](c, 3, []int{2, 1}, []string{"Sigmoid", "Tanh"})
	if err != nil {
		return err
	}
	bias, err := r.optional(3, "B", r.d*6*r.h)
	if err != nil {
		return err
	}
	h, err := r.initial(5, "initial_h")
	if err != nil {
		return err
	}
	if err := r.outputs(); err != nil {
		return err
	}
	c.NoteISA("gru", int64(r.t*r.b*r.d*3*r.h*(r.i+r.h)), r.weightBytes())
	linear := c.Node.Int("linear_before_reset", 0) != 0
	if f, ok := any(r).(*rnnCall[float32]); ok && f.ready() {
		runCells(f, any(bias).([]float32), any(h).([]float32), true, linear)
		return r.finish(h)
	}
	n, hs := r.b*r.h, r.h
	zr, hn := Scratch[T](c, r.t*2*n), Scratch[T](c, r.t*n)
	tz, tn, rh, oldH := Scratch[T](c, 2*n), Scratch[T](c, n), Scratch[T](c, n), Scratch[T](c, n)
	for d := range r.d {
		var bzr, bn, brn []T
		if bias != nil {
			b := bias[d*6*hs : (d+1)*6*hs]
			bzr = Scratch[T](c, 2*hs)
			for j := range bzr {
				bzr[j] = b[j] + b[3*hs+j]
			}
			bn, brn = Scratch[T](c, hs), b[5*hs:]
			copy(bn, b[2*hs:3*hs])
			if !linear {
				for j := range bn {
					bn[j] += brn[j]
				}
			}
		}
		r.proj[d][0].mul(c, r.t*r.b, r.x, zr, bzr, false)
		r.proj[d][1].mul(c, r.t*r.b, r.x, hn, bn, false)
		hd := h[d*n : (d+1)*n]
		for s := range r.t {
			g, m := r.rows(zr, tz, d, s, 2*hs), r.rows(hn, tn, d, s, hs)
			copy(oldH, hd)
			r.hid[d][0].mul(c, r.b, oldH, g, nil, true)
			if linear {
				r.hid[d][1].mul(c, r.b, oldH, rh, brn, false)
			}
			gruCell(r, d, g, m, rh, oldH, hd, linear)
			r.keep(d, s, hd, hd, oldH)
		}
	}
	return r.finish(h)
}

// gruCell is one step: g holds the sums for z and r, m those of the hidden gate without its recurrent part.
func gruCell[T real](r *rnnCall[T], d int, g, m, rh, old, h []T, linear bool) {
	clipTo(g, r.clip)
	r.acts[2*d](g)
	n := r.h
	for b := range r.b {
		for j := range n {
			reset := g[(2*b+1)*n+j]
			if linear {
				m[b*n+j] += reset * rh[b*n+j]
			} else {
				rh[b*n+j] = reset * old[b*n+j]
			}
		}
	}
	if !linear {
		r.hid[d][1].mul(r.c, r.b, rh, m, nil, true)
	}
	clipTo(m, r.clip)
	r.acts[2*d+1](m)
	for b := range r.b {
		for j := range n {
			z := g[2*b*n+j]
			h[b*n+j] = (1-z)*m[b*n+j] + z*old[b*n+j]
		}
	}
}

func opRNN[T real](c *Call) error {
	r, err := newRNN[T](c, 1, []int{1}, []string{"Tanh"})
	if err != nil {
		return err
	}
	bias, err := r.optional(3, "B", r.d*2*r.h)
	if err != nil {
		return err
	}
	h, err := r.initial(5, "initial_h")
	if err != nil {
		return err
	}
	if err := r.outputs(); err != nil {
		return err
	}
	c.NoteISA("rnn", int64(r.t*r.b*r.d*r.h*(r.i+r.h)), r.weightBytes())
	if f, ok := any(r).(*rnnCall[float32]); ok && f.ready() {
		runCells(f, any(bias).([]float32), any(h).([]float32), false, false)
		return r.finish(h)
	}
	n := r.b * r.h
	all, tmp, old := Scratch[T](c, r.t*n), Scratch[T](c, n), Scratch[T](c, n)
	for d := range r.d {
		r.proj[d][0].mul(c, r.t*r.b, r.x, all, sumBias(c, bias, d, r.h), false)
		hd := h[d*n : (d+1)*n]
		for s := range r.t {
			g := r.rows(all, tmp, d, s, r.h)
			copy(old, hd)
			r.hid[d][0].mul(c, r.b, old, g, nil, true)
			clipTo(g, r.clip)
			r.acts[d](g)
			copy(hd, g)
			r.keep(d, s, hd, hd, old)
		}
	}
	return r.finish(h)
}
