package engine

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// real is the type that recurrent operators compute in.
type real interface{ float32 | float64 }

// rnnCall is what LSTM, GRU and RNN have in common: T steps, B batch entries, I inputs, H hidden units, D directions.
type rnnCall[T real] struct {
	c             *Call
	t, b, i, h, d int
	x             []T // [T, B, I]
	lens          []int
	longest       int // of lens: no step behind it is computed
	ragged        bool
	layout        bool // batch first in the outputs
	reverse       []bool
	clip          T
	acts          []activation[T]
	defaults      bool // the default activations, no clip
	y             []T  // [T, D, B, H]
	proj, hid     [][]*rnnMatrix[T]
}

// rnnMatrix is a weight matrix [n, k], applied as x W^T.
type rnnMatrix[T real] struct {
	n, k   int
	w      []T
	packed *packedMatrix
	quant  *quantMatrix
	tmp    []float32 // for quant
}

// newRNN reads what the operators share. gates is the number of gates. hidden is the part of W that each matrix takes,
// in gates; W and R are split so.
func newRNN[T real](c *Call, gates int, split []int, defaults []string) (*rnnCall[T], error) {
	r := &rnnCall[T]{c: c, layout: c.Node.Int("layout", 0) != 0}
	xt, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	wt, err := c.Need(1)
	if err != nil {
		return nil, err
	}
	rt, err := c.Need(2)
	if err != nil {
		return nil, err
	}
	if xt.Rank() != 3 || wt.Rank() != 3 || rt.Rank() != 3 {
		return nil, fmt.Errorf("inputs X, W and R have shapes %v, %v and %v, want rank 3", xt.Shape(), wt.Shape(), rt.Shape())
	}
	if r.x, err = model.Data[T](xt); err != nil {
		return nil, err
	}
	r.t, r.b, r.i = xt.Shape()[0], xt.Shape()[1], xt.Shape()[2]
	if r.layout {
		r.t, r.b = r.b, r.t
		tmp := Scratch[T](c, len(r.x))
		swapOuter(tmp, r.x, r.b, r.t, r.i)
		r.x = tmp
	}
	if err := r.directions(); err != nil {
		return nil, err
	}
	// The quantized operator has its weights transposed.
	wn, wk, rn, rk := wt.Shape()[1], wt.Shape()[2], rt.Shape()[1], rt.Shape()[2]
	if wt.DType().Bits() == 8 {
		wn, wk, rn, rk = wk, wn, rk, rn
	}
	r.h = rk
	if wt.Shape()[0] != r.d || rt.Shape()[0] != r.d || wk != r.i || rn != gates*r.h || wn != rn {
		return nil, fmt.Errorf("weights W %v and R %v do not fit X %v, %d directions and %d gates", wt.Shape(), rt.Shape(), xt.Shape(), r.d, gates)
	}
	if h := c.Node.Int("hidden_size", int64(r.h)); int(h) != r.h {
		return nil, fmt.Errorf("hidden_size %d does not fit R %v", h, rt.Shape())
	}
	if err := r.matrices(wt, rt, split); err != nil {
		return nil, err
	}
	if err := r.lengths(); err != nil {
		return nil, err
	}
	if r.acts, r.defaults, err = activations[T](c.Node, defaults, r.d); err != nil {
		return nil, err
	}
	if v := c.Node.Float("clip", 0); v > 0 {
		r.clip, r.defaults = T(v), false
	}
	return r, nil
}

func (r *rnnCall[T]) directions() error {
	switch d := r.c.Node.Str("direction", "forward"); d {
	case "forward":
		r.reverse = []bool{false}
	case "reverse":
		r.reverse = []bool{true}
	case "bidirectional":
		r.reverse = []bool{false, true}
	default:
		return fmt.Errorf("direction %q: %w", d, model.ErrUnsupported)
	}
	r.d = len(r.reverse)
	return nil
}

// lengths reads sequence_lens.
func (r *rnnCall[T]) lengths() error {
	r.lens = make([]int, r.b)
	for i := range r.lens {
		r.lens[i] = r.t
	}
	t := r.c.Arg(4)
	if r.longest = r.t; t == nil {
		return nil
	}
	v, err := ints(t)
	if err != nil {
		return err
	}
	if len(v) != r.b {
		return errShape("sequence_lens", t, fmt.Sprintf("[%d]", r.b))
	}
	r.longest = 0
	for i, n := range v {
		if n < 0 || n > r.t {
			return fmt.Errorf("sequence_lens holds %d of %d steps", n, r.t)
		}
		r.lens[i], r.longest = n, max(r.longest, n)
		r.ragged = r.ragged || n != r.t
	}
	return nil
}

// matrices splits W and R by gates and finds their packed forms.
func (r *rnnCall[T]) matrices(wt, rt *model.Tensor, split []int) error {
	var st *rnnState
	if r.c.st != nil {
		st, _ = r.c.st.state.(*rnnState)
	}
	if st != nil && st.quant {
		for d := range r.d {
			r.proj = append(r.proj, []*rnnMatrix[T]{{n: st.w[d].q.N, k: st.w[d].q.K, quant: st.w[d]}})
			r.hid = append(r.hid, []*rnnMatrix[T]{{n: st.r[d].q.N, k: st.r[d].q.K, quant: st.r[d]}})
		}
		return nil
	}
	var w, rec []T // where they are not packed
	var err error
	if st == nil || st.wp == nil {
		if w, err = model.Data[T](wt); err != nil {
			return err
		}
	}
	if st == nil || st.rp == nil {
		if rec, err = model.Data[T](rt); err != nil {
			return err
		}
	}
	total := wt.Shape()[1]
	for d := range r.d {
		var ps, hs []*rnnMatrix[T]
		row := d * total
		for j, g := range split {
			n := g * r.h
			p, h := &rnnMatrix[T]{n: n, k: r.i}, &rnnMatrix[T]{n: n, k: r.h}
			if st != nil && st.wp != nil {
				p.packed = st.wp[d*len(split)+j]
			} else {
				p.pack(w[row*r.i : (row+n)*r.i])
			}
			if st != nil && st.rp != nil {
				h.packed = st.rp[d*len(split)+j]
			} else {
				h.pack(rec[row*r.h : (row+n)*r.h])
			}
			ps, hs = append(ps, p), append(hs, h)
			row += n
		}
		r.proj, r.hid = append(r.proj, ps), append(r.hid, hs)
	}
	return nil
}

// ready reports whether the matrices are all packed ones of numbers, or all quantized.
func (r *rnnCall[T]) ready() bool {
	quant := r.d > 0 && r.proj[0][0].quant != nil
	for d := range r.d {
		for _, m := range slices.Concat(r.proj[d], r.hid[d]) {
			if m.packed == nil && m.quant == nil && m.n > 0 && m.k > 0 || quant != (m.quant != nil) {
				return false
			}
		}
	}
	return r.d > 0 && r.h > 0
}

// weightBytes is the size of the matrices of all directions as they are read.
func (r *rnnCall[T]) weightBytes() int64 {
	size := int64(0)
	for d := range r.d {
		for _, m := range slices.Concat(r.proj[d], r.hid[d]) {
			switch {
			case m.quant != nil:
				size += m.quant.q.Bytes()
			case m.packed != nil:
				size += m.packed.bytes()
			default:
				size += int64(len(m.w)) * int64(unsafe.Sizeof(*new(T)))
			}
		}
	}
	return size
}

// pack takes a matrix that was not constant at Compile; float32 is packed.
func (m *rnnMatrix[T]) pack(w []T) {
	m.w = w
	if w, ok := any(w).([]float32); ok && m.n > 0 && m.k > 0 {
		m.packed = &packedMatrix{f32: kernel.PackF32(m.k, m.n, w, m.k, true)}
	}
}

// mul returns x[rows, k] W^T + bias, added to out when add is set: in out [rows, n], or, for a quantized matrix that adds,
// in memory of its own that the next call overwrites.
func (m *rnnMatrix[T]) mul(c *Call, rows int, x, out, bias []T, add bool) []T {
	if rows == 0 || m.n == 0 {
		return out
	}
	if m.quant != nil {
		y := any(out).([]float32)[:rows*m.n]
		ep := kernel.Epilogue{Bias: any(bias).([]float32)}
		if add {
			if len(m.tmp) < len(y) {
				m.tmp = Scratch[float32](c, len(y))
			}
			ep.Residual, ep.LdR = y, m.n
			y = m.tmp[:len(y)]
		}
		kernel.DynQuantGemm(c.pool, rows, any(x).([]float32), m.k, m.quant.q, m.quant.scale, m.quant.zero, y, m.n, ep)
		return any(y).([]T)
	}
	if m.packed != nil {
		m.packed.mul(c.pool, rows, any(x).([]float32), m.k, any(out).([]float32), m.n,
			kernel.Epilogue{Bias: any(bias).([]float32), Accumulate: add})
		return out
	}
	for i := range rows {
		o := out[i*m.n : (i+1)*m.n]
		for j := range o {
			var s T
			if add {
				s = o[j]
			}
			for k, v := range m.w[j*m.k : (j+1)*m.k] {
				s += x[i*m.k+k] * v
			}
			if bias != nil {
				s += bias[j]
			}
			o[j] = s
		}
	}
	return out
}

// optional returns input i as [D, n] or nil when it is omitted.
func (r *rnnCall[T]) optional(i int, name string, want int) ([]T, error) {
	t := r.c.Arg(i)
	if t == nil {
		return nil, nil
	}
	v, err := model.Data[T](t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(v) != want {
		return nil, errShape(name, t, fmt.Sprintf("%d elements", want))
	}
	return v, nil
}

// initial returns a state [D, B, H] to start from: input i, or zeros; a copy.
func (r *rnnCall[T]) initial(i int, name string) ([]T, error) {
	n := r.d * r.b * r.h
	s := Scratch[T](r.c, n)
	v, err := r.optional(i, name, n)
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		clear(s)
	case r.layout:
		swapOuter(s, v, r.b, r.d, r.h)
	default:
		copy(s, v)
	}
	return s, nil
}

// swapOuter turns src [a, b, n] into dst [b, a, n].
func swapOuter[T any](dst, src []T, a, b, n int) {
	for i := range a {
		for j := range b {
			copy(dst[(j*a+i)*n:(j*a+i+1)*n], src[(i*b+j)*n:(i*b+j+1)*n])
		}
	}
}

// outputs makes the memory of Y.
func (r *rnnCall[T]) outputs() error {
	if r.c.Wants(0) {
		var err error
		if r.layout {
			r.y = Scratch[T](r.c, r.t*r.d*r.b*r.h)
		} else if r.y, err = Out[T](r.c, 0, []int{r.t, r.d, r.b, r.h}); err != nil {
			return err
		}
		if r.ragged {
			clear(r.y)
		}
	}
	return nil
}

// finish writes the final states, [D, B, H], and turns the outputs batch first when asked for. A sequence of no steps has zeros, whatever it
// started from, as in ONNX Runtime.
func (r *rnnCall[T]) finish(states ...[]T) error {
	for i, s := range states {
		if !r.c.Wants(1 + i) {
			continue
		}
		for b, n := range r.lens {
			for d := 0; d < r.d && n == 0; d++ {
				clear(s[(d*r.b+b)*r.h:][:r.h])
			}
		}
		shape := []int{r.d, r.b, r.h}
		if r.layout {
			shape = []int{r.b, r.d, r.h}
		}
		out, err := Out[T](r.c, 1+i, shape)
		if err != nil {
			return err
		}
		if r.layout {
			swapOuter(out, s, r.d, r.b, r.h)
		} else {
			copy(out, s)
		}
	}
	if !r.layout || !r.c.Wants(0) {
		return nil
	}
	out, err := Out[T](r.c, 0, []int{r.b, r.t, r.d, r.h})
	if err != nil {
		return err
	}
	for t := range r.t { // [T, D, B, H] to [B, T, D, H]
		for d := range r.d {
			for b := range r.b {
				copy(out[((b*r.t+t)*r.d+d)*r.h:][:r.h], r.y[((t*r.d+d)*r.b+b)*r.h:][:r.h])
			}
		}
	}
	return nil
}

// at returns the time that step s of batch entry b works on, in direction d.
func (r *rnnCall[T]) at(d, s, b int) int {
	if r.reverse[d] {
		return r.lens[b] - 1 - s
	}
	return s
}

// rows returns the projected inputs of step s: a window of all [T*B, n], or a copy put together when lengths differ.
func (r *rnnCall[T]) rows(all, tmp []T, d, s, n int) []T {
	if !r.ragged {
		t := r.at(d, s, 0)
		return all[t*r.b*n : (t+1)*r.b*n]
	}
	for b := range r.b {
		t := max(r.at(d, s, b), 0)
		copy(tmp[b*n:(b+1)*n], all[(t*r.b+b)*n:(t*r.b+b+1)*n])
	}
	return tmp
}

// computed returns the states h [B, H] for step s of a product in direction d: as they are, or, where they are quantized together, a
// copy in tmp with zeros for those that the step before did not compute.
func (r *rnnCall[T]) computed(tmp, h []T, d, s int) []T {
	if !r.ragged || r.hid[d][0].quant == nil {
		return h
	}
	copy(tmp, h)
	for b, n := range r.lens {
		if s > n {
			clear(tmp[b*r.h : (b+1)*r.h])
		}
	}
	return tmp
}

// keep restores the state of entries whose sequence is over and stores the others in Y.
func (r *rnnCall[T]) keep(d, s int, h []T, old ...[]T) {
	n := r.h
	for b := range r.b {
		if s >= r.lens[b] {
			for i := 0; i+1 < len(old); i += 2 {
				copy(old[i][b*n:(b+1)*n], old[i+1][b*n:(b+1)*n])
			}
			continue
		}
		if r.y != nil {
			t := r.at(d, s, b)
			copy(r.y[((t*r.d+d)*r.b+b)*n:][:n], h[b*n:(b+1)*n])
		}
	}
}
