package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
)

// lstmForward is the ONNX LSTM (default activations, no peepholes) that also hands out, as outputs 3 and 4, the activations of the
// gates i, o, f, g [dirs,t,b,4h] and the cells [t,dirs,b,h]. What lies outside the sequences is not written there.
func lstmForward(c *engine.Call) error {
	s, err := readRecurrent(c, 4)
	if err != nil {
		return err
	}
	c0, err := optional(c, 6)
	if err != nil {
		return err
	}
	if c0 != nil && len(c0) != s.dirs*s.b*s.h {
		return fmt.Errorf("initial_c of %d elements", len(c0))
	}
	y, last, err := s.outputs(c)
	if err != nil {
		return err
	}
	gates, err := engine.Out[float32](c, 3, []int{s.dirs, s.t, s.b, 4 * s.h})
	if err != nil {
		return err
	}
	cells, err := engine.Out[float32](c, 4, []int{s.t, s.dirs, s.b, s.h})
	if err != nil {
		return err
	}
	n := 4 * s.h
	zeros := engine.Scratch[float32](c, s.b*s.h)
	clear(zeros)
	for d := range s.dirs {
		ep := kernel.Epilogue{}
		if wb, rb := s.biases(d); wb != nil {
			ep.Bias = engine.Scratch[float32](c, n)
			kernel.Add(ep.Bias, wb, rb)
		}
		z := gates[d*s.t*s.b*n : (d+1)*s.t*s.b*n]
		kernel.MatMulF32(s.pool, s.t*s.b, n, s.in, s.x, s.in, false, s.gateRows(s.w, d, 0, 4, s.in), s.in, true, z, n, ep)
		rt := kernel.PackF32(s.h, n, s.gateRows(s.r, d, 0, 4, s.h), s.h, true)
		s.chunks(func(lo, hi int) {
			for k := range s.t {
				t := s.step(d, k)
				s.runsAt(d, t, lo, hi, func(r run) {
					g := s.saved(gates, d, t, r, n)
					m := r.hi - r.lo
					if !r.first || s.h0 != nil {
						kernel.GemmF32(nil, m, s.previous(y, s.h0, zeros, d, t, r), s.h, rt, g, n, kernel.Epilogue{Accumulate: true})
					}
					kernel.LSTMGates(g, s.previous(cells, c0, zeros, d, t, r), s.at(cells, d, t, r), s.at(y, d, t, r), m, s.h)
				}, func(b int) { clear(s.at(y, d, t, run{lo: b, hi: b + 1})) })
			}
		})
	}
	s.lastStates(last[0], y, s.h0)
	s.lastStates(last[1], cells, c0)
	return nil
}

// lastStates copies the last state of every entry from y [t,dirs,b,h], or the initial one of an empty sequence.
func (s *recurrent) lastStates(dst, y, h0 []float32) {
	if dst == nil {
		return
	}
	for d := range s.dirs {
		for b := range s.b {
			r := run{lo: b, hi: b + 1}
			to := s.state(dst, nil, d, r)
			switch {
			case s.length(b) > 0:
				copy(to, s.at(y, d, s.lastStep(d, b), r))
			case h0 != nil:
				copy(to, s.state(h0, nil, d, r))
			default:
				clear(to)
			}
		}
	}
}

// lstmBackward is the gradient of lstmForward: inputs X, W, R, B, lens, h0, c0, then Y, gates, cells, then the derivatives of Y, Y_h and
// Y_c. It overwrites the gates with the derivatives of the pre-activations, since nothing else reads them; the weights
// then take one product over all steps each (Hochreiter and Schmidhuber, 1997; gate order i, o, f, c of ONNX).
func lstmBackward(c *engine.Call) error {
	s, err := readRecurrent(c, 4)
	if err != nil {
		return err
	}
	var in [13][]float32
	for i := 6; i < 13; i++ {
		if in[i], err = optional(c, i); err != nil {
			return err
		}
	}
	c0, y, gates, cells, dY, dLast := in[6], in[7], in[8], in[9], in[10], in[11:13]
	n := 4 * s.h
	states, steps := s.dirs*s.b*s.h, s.t*s.dirs*s.b*s.h
	if len(y) != steps || len(gates) != 4*steps || len(cells) != steps || dY != nil && len(dY) != steps ||
		dLast[0] != nil && len(dLast[0]) != states || dLast[1] != nil && len(dLast[1]) != states || c0 != nil && len(c0) != states {
		return fmt.Errorf("saved values or derivatives do not fit %d steps of %d entries", s.t, s.b)
	}
	out, err := s.gradOutputs(c, 7)
	if err != nil {
		return err
	}
	zeros := engine.Scratch[float32](c, s.b*s.h)
	clear(zeros)
	hp := engine.Scratch[float32](c, s.t*s.b*s.h)
	var state [2][]float32 // derivatives of h and c, carried from step to step; at the end those of h0 and c0
	for i := range state {
		if state[i] = out[5+i]; state[i] == nil {
			state[i] = engine.Scratch[float32](c, states)
		}
		if clear(state[i]); dLast[i] != nil {
			copy(state[i], dLast[i])
		}
	}
	for d := range s.dirs {
		rp := kernel.PackF32(n, s.h, s.gateRows(s.r, d, 0, 4, s.h), s.h, false)
		s.chunks(func(lo, hi int) {
			for k := s.t - 1; k >= 0; k-- {
				t := s.step(d, k)
				s.runsAt(d, t, lo, hi, func(r run) {
					dh, dc := s.state(state[0], nil, d, r), s.state(state[1], nil, d, r)
					if dY != nil {
						kernel.Add(dh, dh, s.at(dY, d, t, r))
					}
					g := s.saved(gates, d, t, r, n)
					kernel.LSTMGatesGrad(g, s.previous(cells, c0, zeros, d, t, r), s.at(cells, d, t, r), dh, dc, r.hi-r.lo, s.h)
					if !r.first || out[5] != nil {
						kernel.GemmF32(nil, r.hi-r.lo, g, n, rp, dh, s.h, kernel.Epilogue{})
					}
				}, func(b int) { clear(s.saved(gates, d, t, run{lo: b, hi: b + 1}, n)) })
			}
		})
		dz := gates[d*s.t*s.b*n : (d+1)*s.t*s.b*n]
		s.inputGrad(out[0], dz, d, 0, 4, d > 0)
		s.weightGrad(c, out[1], dz, s.x, s.in, d, 0, 4)
		if out[2] != nil {
			s.history(hp, y, zeros, d)
			s.weightGrad(c, out[2], dz, hp, s.h, d, 0, 4)
		}
		if out[3] != nil {
			db := out[3][2*d*n : 2*(d+1)*n]
			kernel.ColumnSums(db[:n], dz)
			copy(db[n:], db[:n])
		}
	}
	return nil
}
