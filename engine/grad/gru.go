package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
)

// gruForward is the ONNX GRU (default activations) that also hands out, as outputs 3 and 4, the activations of z and r
// [dirs,t,b,2h], and those of the hidden gate followed by its recurrent term [2,dirs,t,b,h]; the latter is written for linear_before_reset = 1
// only. What lies outside the sequences is not written there.
func gruForward(c *engine.Call) error {
	s, err := readRecurrent(c, 3)
	if err != nil {
		return err
	}
	y, last, err := s.outputs(c)
	if err != nil {
		return err
	}
	zrAll, err := engine.Out[float32](c, 3, []int{s.dirs, s.t, s.b, 2 * s.h})
	if err != nil {
		return err
	}
	hidden, err := engine.Out[float32](c, 4, []int{2, s.dirs, s.t, s.b, s.h})
	if err != nil {
		return err
	}
	nAll, linAll := hidden[:len(hidden)/2], hidden[len(hidden)/2:]
	lbr := c.Node.Int("linear_before_reset", 0) != 0
	h, rows := s.h, s.t*s.b
	zeros, rh := engine.Scratch[float32](c, s.b*h), engine.Scratch[float32](c, s.b*h)
	clear(zeros)
	for d := range s.dirs {
		var zrEp, nEp, linEp kernel.Epilogue
		if wb, rb := s.biases(d); wb != nil {
			sum := engine.Scratch[float32](c, 3*h)
			kernel.Add(sum, wb, rb)
			zrEp.Bias, nEp.Bias = sum[:2*h], sum[2*h:]
			if lbr {
				nEp.Bias, linEp.Bias = wb[2*h:], rb[2*h:]
			}
		}
		kernel.MatMulF32(s.pool, rows, 2*h, s.in, s.x, s.in, false, s.gateRows(s.w, d, 0, 2, s.in), s.in, true, zrAll[d*rows*2*h:], 2*h, zrEp)
		kernel.MatMulF32(s.pool, rows, h, s.in, s.x, s.in, false, s.gateRows(s.w, d, 2, 3, s.in), s.in, true, nAll[d*rows*h:], h, nEp)
		rzr := kernel.PackF32(h, 2*h, s.gateRows(s.r, d, 0, 2, h), h, true)
		rn := kernel.PackF32(h, h, s.gateRows(s.r, d, 2, 3, h), h, true)
		add := kernel.Epilogue{Accumulate: true}
		s.chunks(func(lo, hi int) {
			for k := range s.t {
				t := s.step(d, k)
				s.runsAt(d, t, lo, hi, func(r run) {
					m, prev := r.hi-r.lo, s.previous(y, s.h0, zeros, d, t, r)
					zr, n := s.saved(zrAll, d, t, r, 2*h), s.saved(nAll, d, t, r, h)
					kernel.GemmF32(nil, m, prev, h, rzr, zr, 2*h, add)
					var linear []float32
					if lbr {
						linear = s.saved(linAll, d, t, r, h)
						kernel.GRUGates(zr, prev, nil, m, h)
						kernel.GemmF32(nil, m, prev, h, rn, linear, h, linEp)
					} else {
						reset := rh[r.lo*h : r.hi*h]
						kernel.GRUGates(zr, prev, reset, m, h)
						kernel.GemmF32(nil, m, reset, h, rn, n, h, add)
					}
					kernel.GRUOutput(zr, n, linear, prev, s.at(y, d, t, r), m, h)
				}, func(b int) { clear(s.at(y, d, t, run{lo: b, hi: b + 1})) })
			}
		})
	}
	s.lastStates(last[0], y, s.h0)
	return nil
}

// gruGrads are the derivatives of the pre-activations of one direction, [t*b,h] each: of the gates z and r, of the hidden
// gate's input term, and of its recurrent term.
type gruGrads struct{ z, r, n, rec []float32 }

// gruBackward is the gradient of gruForward: inputs X, W, R, B, lens, h0, -, then Y and the two saved tensors, then the
// derivatives of Y and Y_h.
func gruBackward(c *engine.Call) error {
	s, err := readRecurrent(c, 3)
	if err != nil {
		return err
	}
	var in [12][]float32
	for i := 7; i < 12; i++ {
		if in[i], err = optional(c, i); err != nil {
			return err
		}
	}
	y, zr, hidden, dY, dLast := in[7], in[8], in[9], in[10], in[11]
	states, steps := s.dirs*s.b*s.h, s.t*s.dirs*s.b*s.h
	if len(y) != steps || len(zr) != 2*steps || len(hidden) != 2*steps || dY != nil && len(dY) != steps || dLast != nil && len(dLast) != states {
		return fmt.Errorf("saved values or derivatives do not fit %d steps of %d entries", s.t, s.b)
	}
	out, err := s.gradOutputs(c, 6)
	if err != nil {
		return err
	}
	rows, h := s.t*s.b, s.h
	zeros, hp := engine.Scratch[float32](c, s.b*h), engine.Scratch[float32](c, rows*h)
	clear(zeros)
	dh := out[5]
	if dh == nil {
		dh = engine.Scratch[float32](c, states)
	}
	if clear(dh); dLast != nil {
		copy(dh, dLast)
	}
	lbr := c.Node.Int("linear_before_reset", 0) != 0
	g := gruGrads{n: engine.Scratch[float32](c, rows*h), z: engine.Scratch[float32](c, rows*h), r: engine.Scratch[float32](c, rows*h)}
	for d := range s.dirs {
		s.history(hp, y, zeros, d)
		g.rec = g.n
		reset := hp // what the recurrent term of the hidden gate was a product with: h, or r*h
		var linear []float32
		if lbr {
			linear = hidden[steps+d*rows*h : steps+(d+1)*rows*h]
			g.rec = linear
		} else {
			reset = engine.Scratch[float32](c, rows*h)
			for i := range rows {
				kernel.Mul(reset[i*h:(i+1)*h], hp[i*h:(i+1)*h], zr[((d*rows+i)*2+1)*h:(d*rows+i+1)*2*h])
			}
		}
		copy(g.n, hidden[d*rows*h:(d+1)*rows*h])
		s.gruSteps(c, g, zr, linear, hp, dY, dh, d)
		for i, dz := range [][]float32{g.z, g.r, g.n} {
			s.inputGrad(out[0], dz, d, i, i+1, d > 0 || i > 0)
			s.weightGrad(c, out[1], dz, s.x, s.in, d, i, i+1)
		}
		s.weightGrad(c, out[2], g.z, hp, h, d, 0, 1)
		s.weightGrad(c, out[2], g.r, hp, h, d, 1, 2)
		s.weightGrad(c, out[2], g.rec, reset, h, d, 2, 3)
		if out[3] != nil {
			db := out[3][d*6*h : (d+1)*6*h]
			for i, dz := range [][]float32{g.z, g.r, g.n, g.z, g.r, g.rec} {
				kernel.ColumnSums(db[i*h:(i+1)*h], dz)
			}
		}
	}
	return nil
}

// gruSteps runs direction d backwards in time and fills g; linear is nil for linear_before_reset = 0.
func (s *recurrent) gruSteps(c *engine.Call, g gruGrads, zrAll, linear, hp, dY, dh []float32, d int) {
	h := s.h
	var back [3]*kernel.PackedF32
	for i := range back {
		back[i] = kernel.PackF32(h, h, s.gateRows(s.r, d, i, i+1, h), h, false)
	}
	add := kernel.Epilogue{Accumulate: true}
	tmp := engine.Scratch[float32](c, s.b*h)
	s.chunks(func(lo, hi int) {
		for k := s.t - 1; k >= 0; k-- {
			t := s.step(d, k)
			rows := func(x []float32, r run) []float32 { return x[(t*s.b+r.lo)*h : (t*s.b+r.hi)*h] }
			s.runsAt(d, t, lo, hi, func(r run) {
				m, dhr := r.hi-r.lo, s.state(dh, nil, d, r)
				if dY != nil {
					kernel.Add(dhr, dhr, s.at(dY, d, t, r))
				}
				zr, prev, n, dz, dr := s.saved(zrAll, d, t, r, 2*h), rows(hp, r), rows(g.n, r), rows(g.z, r), rows(g.r, r)
				if linear != nil {
					lin := rows(linear, r)
					kernel.GRUOutputGrad(zr, n, lin, prev, dhr, dz, dr, m, h)
					kernel.GemmF32(nil, m, lin, h, back[2], dhr, h, add)
				} else {
					kernel.GRUOutputGrad(zr, n, nil, prev, dhr, dz, nil, m, h)
					drh := tmp[r.lo*h : r.hi*h]
					kernel.GemmF32(nil, m, n, h, back[2], drh, h, kernel.Epilogue{})
					kernel.GRUResetGrad(zr, prev, drh, dr, dhr, m, h)
				}
				kernel.GemmF32(nil, m, dz, h, back[0], dhr, h, add)
				kernel.GemmF32(nil, m, dr, h, back[1], dhr, h, add)
			}, func(b int) {
				idle := run{lo: b, hi: b + 1}
				clear(rows(g.n, idle))
				clear(rows(g.z, idle))
				clear(rows(g.r, idle))
				if linear != nil {
					clear(rows(linear, idle))
				}
			})
		}
	})
}
