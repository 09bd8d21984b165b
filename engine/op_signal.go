package engine

import (
	"fmt"
	"math"
	"math/bits"
	"math/cmplx"

	"github.com/wattshed/wattshed/model"
)

// signalOps transform between time and frequency.
func signalOps() map[string]opDef {
	return qualify("", map[string]opDef{"DFT": plain(opDFT), "STFT": plain(opSTFT), "MelWeightMatrix": plain(opMel)})
}

// re is the real part; the builtin's name is taken in this package.
func re(z complex128) float64 { return imag(z * 1i) }

// maxPrime bounds the prime factors of a transform, whose work grows with them.
const maxPrime = 1 << 16

// fft sets dst to the transform of src with step between its elements; w holds the n-th roots of unity, every wstep-th
// of which belongs to this length (Cooley and Tukey 1965, by the smallest prime factor).
func fft(dst, src []complex128, step int, w []complex128, wstep int) {
	n := len(dst)
	if n == 1 {
		dst[0] = src[0]
		return
	}
	p := 2
	for ; p*p <= n && n%p != 0; p++ {
	}
	if n%p != 0 {
		p = n
	}
	m := n / p
	if m > 1 {
		for r := range p {
			fft(dst[r*m:(r+1)*m], src[r*step:], step*p, w, wstep*p)
		}
	} else {
		for r := range p {
			dst[r] = src[r*step]
		}
	}
	t := make([]complex128, p)
	for k := range m {
		for r := range t {
			t[r] = dst[r*m+k]
		}
		for q := range p {
			var s complex128
			for r, v := range t {
				s += v * w[r*(k+q*m)*wstep%len(w)]
			}
			dst[q*m+k] = s
		}
	}
}

// transform is the discrete Fourier transform of a length.
type transform struct{ w []complex128 }

func newTransform(n int, inverse bool) (*transform, error) {
	rest := n
	for p := 2; p*p <= rest; p++ {
		for rest%p == 0 && rest > p {
			rest /= p
		}
	}
	if n < 1 || rest > maxPrime || n > 1<<24 {
		return nil, fmt.Errorf("a transform of length %d: %w", n, model.ErrUnsupported)
	}
	t := &transform{w: make([]complex128, n)}
	sign := -1.0
	if inverse {
		sign = 1
	}
	for i := range t.w {
		s, c := math.Sincos(sign * 2 * math.Pi * float64(i) / float64(n))
		t.w[i] = complex(c, s)
	}
	return t, nil
}

// transformTime is the time of a transform of length n in nanoseconds, about, if its factors are small.
func transformTime(n int) int { return 5 * n * bits.Len(uint(n)) }

func (t *transform) apply(dst, src []complex128) { fft(dst, src, 1, t.w, 1) }

// opDFT transforms along an axis: x [..., 1|2], dft_length and, since opset 20, axis. An inverse and one-sided transform
// gives real numbers.
func opDFT(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	r := x.Rank()
	if r < 2 || x.Shape()[r-1] != 1 && x.Shape()[r-1] != 2 {
		return errShape("input", x, "[... 1] or [... 2]")
	}
	ax := int(c.Node.Int("axis", 1))
	if c.Opset >= 20 {
		ax = -2
		if t := c.Arg(2); t != nil {
			if ax, err = scalarInt(t); err != nil {
				return err
			}
		}
	}
	if ax, err = axis(ax, r); err != nil {
		return err
	}
	if ax == r-1 {
		return fmt.Errorf("axis %d holds real and imaginary parts", ax)
	}
	inverse, one := c.Node.Int("inverse", 0) != 0, c.Node.Int("onesided", 0) != 0
	have := x.Shape()[ax]
	n := have
	if inverse && one {
		n = 2 * (have - 1)
	}
	if t := c.Arg(1); t != nil {
		if n, err = scalarInt(t); err != nil {
			return err
		}
	}
	if err := c.arena.room(48 * min(max(n, 0), 1<<30)); err != nil {
		return err
	}
	f, err := newTransform(n, inverse)
	if err != nil {
		return err
	}
	src, err := c.wide(x)
	if err != nil {
		return err
	}
	shape := append([]int(nil), x.Shape()...)
	parts, bins := 2, n
	switch {
	case inverse && one:
		parts = 1
	case one:
		bins = n/2 + 1
	}
	shape[ax], shape[r-1] = bins, parts
	out, err := c.zeros(shape...)
	if err != nil {
		return err
	}
	w := x.Shape()[r-1]
	inner := product(x.Shape()[ax+1 : r-1])
	err = c.each(product(x.Shape()[:ax])*inner, transformTime(n), func(i int) {
		o, in := i/inner, i%inner
		a, b := make([]complex128, n), make([]complex128, n)
		for k := range min(have, n) {
			at := ((o*have+k)*inner + in) * w
			v := complex(src[at], 0)
			if w == 2 {
				v = complex(src[at], src[at+1])
			}
			if !inverse || !one {
				a[k] = v
				continue
			}
			if k > n/2 {
				break
			}
			if a[k] = v; k > 0 {
				a[n-k] = cmplx.Conj(v)
			}
			if k == 0 || 2*k == n {
				a[k] = complex(re(v), 0)
			}
		}
		f.apply(b, a)
		scale := complex(1, 0)
		if inverse {
			scale = complex(1/float64(n), 0)
		}
		for k := range bins {
			at, v := ((o*bins+k)*inner+in)*parts, b[k]*scale
			if out[at] = re(v); parts == 2 {
				out[at+1] = imag(v)
			}
		}
	})
	if err != nil {
		return err
	}
	return c.result(0, x.DType(), shape, out)
}

// opSTFT transforms overlapping frames: signal [B, L(, 1|2)], frame_step, window, frame_length.
func opSTFT(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	step, err := scalarInt(st)
	if err != nil {
		return err
	}
	if x.Rank() != 2 && (x.Rank() != 3 || x.Shape()[2] != 1 && x.Shape()[2] != 2) {
		return errShape("signal", x, "[B L 1] or [B L 2]")
	}
	w := 1
	if x.Rank() == 3 {
		w = x.Shape()[2]
	}
	batch, length := x.Shape()[0], x.Shape()[1]
	frame := length
	var window []float64
	if t := c.Arg(2); t != nil {
		if window, err = c.wide(t); err != nil {
			return err
		}
		frame = len(window)
	}
	if t := c.Arg(3); t != nil {
		if frame, err = scalarInt(t); err != nil {
			return err
		}
	}
	if step < 1 || frame < 1 || frame > length || window != nil && len(window) != frame {
		return fmt.Errorf("frames of %d with a window of %d and a step of %d do not fit a signal of %d", frame, len(window), step, length)
	}
	f, err := newTransform(frame, false)
	if err != nil {
		return err
	}
	src, err := c.wide(x)
	if err != nil {
		return err
	}
	frames, bins := 1+(length-frame)/step, frame
	if c.Node.Int("onesided", 1) != 0 {
		bins = frame/2 + 1
	}
	shape := []int{batch, frames, bins, 2}
	out, err := c.zeros(shape...)
	if err != nil {
		return err
	}
	err = c.each(batch*frames, transformTime(frame), func(i int) {
		a, b := make([]complex128, frame), make([]complex128, frame)
		for k := range a {
			at := (i/frames*length + i%frames*step + k) * w
			v := complex(src[at], 0)
			if w == 2 {
				v = complex(src[at], src[at+1])
			}
			if window != nil {
				v *= complex(window[k], 0)
			}
			a[k] = v
		}
		f.apply(b, a)
		for k := range bins {
			out[(i*bins+k)*2], out[(i*bins+k)*2+1] = re(b[k]), imag(b[k])
		}
	})
	if err != nil {
		return err
	}
	return c.result(0, x.DType(), shape, out)
}

// opMel makes the matrix that gathers spectrogram bins into bins of the mel scale: num_mel_bins, dft_length, sample_rate,
// lower_edge_hertz, upper_edge_hertz.
func opMel(c *Call) error {
	var v [5]float64
	for i := range v {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		if v[i], err = scalarFloat(t); err != nil {
			return err
		}
	}
	bins, length, rate := int(v[0]), int(v[1]), v[2]
	if bins < 0 || length < 0 || rate <= 0 || bins > 1<<20 || length > 1<<28 {
		return fmt.Errorf("%d mel bins of a transform of %d at %g Hz", bins, length, rate)
	}
	rows := length/2 + 1
	out, err := c.zeros(rows, bins)
	if err != nil {
		return err
	}
	mel := func(hz float64) float64 { return 2595 * math.Log10(1+hz/700) }
	lo, hi := mel(v[3]), mel(v[4])
	step := (hi - lo) / float64(bins+2)
	edge := make([]int, bins+2)
	for i := range edge {
		hz := 700 * (math.Pow(10, (lo+float64(i)*step)/2595) - 1)
		edge[i] = int(math.Floor(float64(length+1) * hz / rate))
		if edge[i] < 0 || edge[i] >= rows {
			return fmt.Errorf("mel edge %d lies at bin %d of %d", i, edge[i], rows)
		}
	}
	for i := range bins {
		l, m, h := edge[i], edge[i+1], edge[i+2]
		if l == m {
			out[m*bins+i] = 1
		}
		for j := l; j <= m && m > l; j++ {
			out[j*bins+i] = float64(j-l) / float64(m-l)
		}
		for j := m; j < h; j++ {
			out[j*bins+i] = float64(h-j) / float64(h-m)
		}
	}
	return c.result(0, model.DType(c.Node.Int("output_datatype", int64(model.Float32))), []int{rows, bins}, out)
}
