package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// sampleOps read images at positions between the pixels, and cut them.
func sampleOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"GridSample": plain(opGridSample), "RoiAlign": plain(opRoiAlign), "AffineGrid": plain(opAffineGrid),
		"CenterCropPad": plain(opCenterCropPad), "DeformConv": plain(opDeformConv), "NonMaxSuppression": plain(opNonMaxSuppression),
	})
}

// sampler reads a field of the given dimensions at real positions.
type sampler struct {
	dims    []int
	lo, hi  []float64 // borders of reflection
	padding string
	mode    string
}

// reflect folds v back into [lo, hi].
func reflect(v, lo, hi float64) float64 {
	r := hi - lo
	if r <= 0 {
		return lo
	}
	switch {
	case v < lo:
		d := lo - v
		n := math.Floor(d / r)
		if d -= n * r; int64(n)%2 == 0 {
			return lo + d
		}
		return hi - d
	case v > hi:
		d := v - hi
		n := math.Floor(d / r)
		if d -= n * r; int64(n)%2 == 0 {
			return hi - d
		}
		return lo + d
	}
	return v
}

// at returns the index of position i along dimension k, or -1 for a zero.
func (s *sampler) at(k int, i float64) int {
	n := s.dims[k]
	switch s.padding {
	case "border":
		i = max(0, min(i, float64(n-1)))
	case "reflection":
		i = math.Trunc(reflect(i, s.lo[k], s.hi[k]))
	}
	if i >= 0 && i < float64(n) {
		return int(i)
	}
	return -1
}

// cubic returns the four weights of a position x behind the second, R. Keys 1981 with a = -0.75.
func cubic(x float64) [4]float64 {
	const a = -0.75
	far := func(t float64) float64 { return ((a*t-5*a)*t+8*a)*t - 4*a }
	near := func(t float64) float64 { return ((a+2)*t-(a+3))*t*t + 1 }
	return [4]float64{far(x + 1), near(x), near(1 - x), far(2 - x)}
}

// read interpolates v at x along the dimensions from k on; off is the offset of the dimensions before.
func (s *sampler) read(v []float64, x []float64, k, off int) float64 {
	if k == len(s.dims) {
		return v[off]
	}
	step := func(i float64) float64 {
		at := s.at(k, i)
		if at < 0 {
			return 0
		}
		return s.read(v, x, k+1, off*s.dims[k]+at)
	}
	switch s.mode {
	case "nearest":
		return step(x[k])
	case "cubic":
		base, sum := math.Floor(x[k]), 0.0
		for j, w := range cubic(x[k] - base) {
			sum += w * step(base+float64(j-1))
		}
		return sum
	}
	base := math.Floor(x[k])
	w := x[k] - base
	return (1-w)*step(base) + w*step(base+1)
}

func opGridSample(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	g, err := c.Need(1)
	if err != nil {
		return err
	}
	n := x.Shape()
	k := len(n) - 2
	if k < 1 || g.Rank() != k+2 || g.Shape()[k+1] != k || g.Shape()[0] != n[0] {
		return fmt.Errorf("input %v and grid %v do not fit", n, g.Shape())
	}
	s := &sampler{dims: n[2:], padding: c.Node.Str("padding_mode", "zeros"), mode: c.Node.Str("mode", "linear")}
	switch s.mode {
	case "bilinear":
		s.mode = "linear"
	case "bicubic":
		s.mode = "cubic"
	case "linear", "cubic", "nearest":
	default:
		return fmt.Errorf("mode %q: %w", s.mode, model.ErrUnsupported)
	}
	corners := c.Node.Int("align_corners", 0) != 0
	for _, d := range s.dims {
		if d == 0 && product(g.Shape()) > 0 {
			return errShape("input", x, "no empty dimension")
		}
		lo, hi := -0.5, float64(d)-0.5
		if corners {
			lo, hi = 0, float64(d-1)
		}
		s.lo, s.hi = append(s.lo, lo), append(s.hi, hi)
	}
	src, err := c.wide(x)
	if err != nil {
		return err
	}
	grid, err := c.wide(g)
	if err != nil {
		return err
	}
	shape := append([]int{n[0], n[1]}, g.Shape()[1:k+1]...)
	out, err := c.zeros(shape...)
	if err != nil {
		return err
	}
	points, plane := product(g.Shape()[1:k+1]), product(s.dims)
	reads := map[string]int{"nearest": 1, "linear": 2, "cubic": 4}[s.mode] // along each axis
	err = c.each(n[0]*points, n[1]*8*int(math.Pow(float64(reads), float64(k))), func(i int) {
		b, p := i/max(points, 1), i%max(points, 1)
		at := make([]float64, k)
		for d := range at {
			v, size := grid[(b*points+p)*k+k-1-d], float64(s.dims[d])
			if corners {
				v = (v + 1) / 2 * (size - 1)
			} else {
				v = ((v+1)*size - 1) / 2
			}
			v = float64(float32(v)) // as the reference rounds positions
			if s.mode == "nearest" {
				v = math.RoundToEven(v)
			}
			if v < s.lo[d] || v > s.hi[d] {
				switch s.padding {
				case "border":
					if s.mode == "cubic" { // its pixels are repeated, and the position stays, as in PyTorch and ONNX Runtime
						break
					}
					v = max(0, min(v, size-1))
				case "reflection":
					v = reflect(v, s.lo[d], s.hi[d])
				}
			}
			at[d] = v
		}
		for ch := range n[1] {
			out[(b*n[1]+ch)*points+p] = s.read(src[(b*n[1]+ch)*plane:][:plane], at, 0, 0)
		}
	})
	if err != nil {
		return err
	}
	return c.result(0, x.DType(), shape, out)
}

// opAffineGrid is theta [N, k, k+1] times the homogeneous positions of a field of size [N, C, ...]. With aligned corners a single position is
// at -1, as in the reference implementation of ONNX (ONNX Runtime has 1 there).
func opAffineGrid(c *Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	size, err := ints(st)
	if err != nil {
		return err
	}
	k := len(size) - 2
	if k != 2 && k != 3 || !sameShape(t.Shape(), []int{size[0], k, k + 1}) {
		return fmt.Errorf("theta %v and size %v do not fit", t.Shape(), size)
	}
	theta, err := c.wide(t)
	if err != nil {
		return err
	}
	dims := size[2:]
	shape := append(append([]int{size[0]}, dims...), k)
	out, err := c.zeros(shape...)
	if err != nil {
		return err
	}
	corners := c.Node.Int("align_corners", 0) != 0
	points := product(dims)
	for i := range size[0] * points {
		b, rest := i/points, i%points
		var pos [4]float64 // x, y(, z), 1
		for d := k - 1; d >= 0; d-- {
			j, n := float64(rest%dims[d]), float64(dims[d])
			rest /= dims[d]
			v := (2*j+1)/n - 1
			if corners {
				v = 2*j/max(n-1, 1) - 1
			}
			pos[k-1-d] = v
		}
		pos[k] = 1
		for r := range k {
			for q := range k + 1 {
				out[i*k+r] += theta[(b*k+r)*(k+1)+q] * pos[q]
			}
		}
	}
	return c.result(0, t.DType(), shape, out)
}

// opCenterCropPad crops or pads the axes around their middle to the sizes of input 1.
func opCenterCropPad(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	want, err := ints(st)
	if err != nil {
		return err
	}
	list := attrInts(c.Node, "axes")
	if list == nil {
		for i := range x.Rank() {
			list = append(list, i)
		}
	}
	if len(list) != len(want) {
		return fmt.Errorf("axes %v and shape %v do not fit", list, want)
	}
	shape := append([]int(nil), x.Shape()...)
	for i, a := range list {
		if a, err = axis(a, x.Rank()); err != nil {
			return err
		}
		if want[i] < 0 {
			return fmt.Errorf("size %d", want[i])
		}
		shape[a] = want[i]
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	total := product(shape)
	dst.clear(0, total)
	from, to, count := make([]int, len(shape)), make([]int, len(shape)), make([]int, len(shape))
	for i, n := range x.Shape() {
		count[i] = min(n, shape[i])
		from[i], to[i] = max(0, (n-shape[i])/2), max(0, (shape[i]-n)/2)
	}
	if r := len(shape); r > 0 && product(count) > 0 {
		l := newLoops(count[:r-1:r-1], strides(x.Shape())[:r-1], strides(shape)[:r-1])
		var o [2]int
		base := [2]int{}
		for k, s := range [][]int{strides(x.Shape()), strides(shape)} {
			for i := range r {
				base[k] += s[i] * [][]int{from, to}[k][i]
			}
		}
		n := l.inner()
		for i := range product(count[:r-1]) {
			l.offsets(i/n, o[:])
			a := o[0] + i%n*l.str[0][len(l.dims)-1]
			b := o[1] + i%n*l.str[1][len(l.dims)-1]
			dst.copy(base[1]+b, src, base[0]+a, count[r-1])
		}
	}
	return done()
}
