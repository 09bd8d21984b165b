package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// opPad extends (or, with negative pads, crops) a tensor.
func opPad(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	pads, ok, err := c.intsFrom("pads", 1, 11)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("pads are missing")
	}
	r := x.Rank()
	if t := c.Arg(3); t != nil && c.Opset >= 18 {
		list, err := ints(t)
		if err != nil {
			return err
		}
		if len(pads) != 2*len(list) {
			return fmt.Errorf("pads %v do not fit axes %v", pads, list)
		}
		full := c.ints(2 * r)
		for i, a := range list {
			if a, err = axis(a, r); err != nil {
				return err
			}
			full[a], full[r+a] = pads[i], pads[len(list)+i]
		}
		pads = full
	}
	if len(pads) != 2*r {
		return fmt.Errorf("pads %v do not fit rank %d", pads, r)
	}
	shape := c.ints(r)
	for i, d := range x.Shape() {
		if pads[i] > maxTensorBytes || pads[r+i] > maxTensorBytes || pads[i] < -maxTensorBytes || pads[r+i] < -maxTensorBytes {
			return fmt.Errorf("pads %v are too large", pads)
		}
		shape[i] = max(0, d+pads[i]+pads[r+i])
	}
	mode := c.Node.Str("mode", "constant")
	fill, err := padValue(c, x)
	if err != nil {
		return err
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	if product(shape) == 0 {
		return done()
	}
	if r == 0 {
		dst.copy(0, src, 0, 1)
		return done()
	}
	line := func(k int) padLine { return padLine{shape[k], pads[k], x.Shape()[k], mode} }
	// from[k][i] is the source position of output position i along dimension k, all but the last; nil where that would take much memory.
	from := make([][]int, r-1)
	for k, d := range shape {
		if err := line(k).check(); err != nil {
			return err
		}
		if k == r-1 || d > workInts {
			continue
		}
		from[k] = c.ints(d)
		for i := range from[k] {
			from[k][i] = line(k).source(i)
		}
	}
	last, n := line(r-1), shape[r-1]
	runs, whole := last.runs()
	str, pos := stridesIn(c.ints(r), x.Shape()), c.ints(r)
	for row := range product(shape[:r-1]) {
		at, inside := 0, true
		for k, rest := r-2, row; k >= 0; k-- {
			pos[k] = rest % shape[k]
			rest /= shape[k]
			s := 0
			if from[k] != nil {
				s = from[k][pos[k]]
			} else {
				s = line(k).source(pos[k])
			}
			if s < 0 {
				inside = false
			} else {
				at += s * str[k]
			}
		}
		if !inside {
			dst.take(row*n, fill, 0, 0, n)
			continue
		}
		for i, to := 0, 0; to < n; i++ {
			var run padRun
			if i < len(runs) {
				run = runs[i]
			} else if !whole {
				run = last.run(to)
			}
			if run.from < 0 {
				dst.take(row*n+to, fill, 0, 0, run.n)
			} else {
				dst.take(row*n+to, src, at+run.from, run.step, run.n)
			}
			to += run.n
		}
	}
	return done()
}

// A padLine is a dimension of d positions, padded by before, over one of n in a mode.
type padLine struct {
	d, before, n int
	mode         string
}

// A padRun are n neighbours of a dimension that are read step elements apart (-1, 0 or 1), from position from on; from is -1 for the fill value.
type padRun struct{ from, step, n int }

// check returns what is wrong with positions outside of the source, of which there are some at the ends if there are any.
func (p padLine) check() error {
	for _, i := range [2]int{0, p.d - 1} {
		if _, err := padSource(i-p.before, p.n, p.mode); err != nil {
			return err
		}
	}
	return nil
}

// source is the position that position i is read from.
func (p padLine) source(i int) int {
	s, _ := padSource(i-p.before, p.n, p.mode) // see check
	return s
}

// maxPadRuns is the number of runs that a call remembers; those beyond are found again for every row.
const maxPadRuns = 256

// runs returns the first runs, and whether these are all.
func (p padLine) runs() (list []padRun, whole bool) {
	list = make([]padRun, 0, 3)
	for i := 0; i < p.d; {
		if len(list) == maxPadRuns {
			return list, false
		}
		r := p.run(i)
		list = append(list, r)
		i += r.n
	}
	return list, true
}

// run is the run that begins at position i.
func (p padLine) run(i int) padRun {
	inside := func(i int) bool { return i >= p.before && i-p.before < p.n }
	at := p.source(i)
	r := padRun{from: at, n: 1}
	if inside(i) {
		r.step, r.n = 1, min(p.d-i, p.n-(i-p.before))
		return r
	}
	for ; i+r.n < p.d && !inside(i+r.n); r.n++ {
		next := p.source(i + r.n)
		step := next - at
		if step < -1 || step > 1 || r.n > 1 && step != r.step {
			break
		}
		r.step, at = step, next
	}
	return r
}

func padSource(i, n int, mode string) (int, error) {
	if i >= 0 && i < n {
		return i, nil
	}
	if mode == "constant" {
		return -1, nil
	}
	if n == 0 {
		return 0, fmt.Errorf("mode %q on a dimension of size 0", mode)
	}
	switch mode {
	case "edge":
		return min(max(i, 0), n-1), nil
	case "wrap":
		return ((i % n) + n) % n, nil
	case "reflect":
		if n == 1 {
			return 0, nil
		}
		p := 2 * (n - 1)
		i = ((i % p) + p) % p
		return min(i, p-i), nil
	}
	return 0, fmt.Errorf("mode %q: %w", mode, model.ErrUnsupported)
}

// padValue returns one element to fill with.
func padValue(c *Call, x *model.Tensor) (elems, error) {
	if t := c.Arg(2); t != nil && c.Opset >= 11 {
		if t.DType() != x.DType() || t.Len() != 1 {
			return elems{}, errShape("the fill value", t, "one element of type "+x.DType().String())
		}
		return elemsOf(t)
	}
	if c.Opset < 11 {
		if v := c.Node.Float("value", 0); v != 0 {
			t, err := castTensor(model.Scalar(v), x.DType(), castRule{})
			if err != nil {
				return elems{}, err
			}
			return elemsOf(t)
		}
	}
	if x.DType() == model.String {
		return elems{s: []string{""}}, nil
	}
	w := x.DType().Bits() / 8
	return elems{b: make([]byte, w), size: w}, nil
}

// opTrilu keeps the upper or lower triangle of matrices.
func opTrilu(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	k := 0
	if t := c.Arg(1); t != nil {
		if k, err = scalarInt(t); err != nil {
			return err
		}
	}
	if x.Rank() < 2 {
		return errShape("input", x, "a matrix")
	}
	upper := c.Node.Int("upper", 1) != 0
	dst, done, err := copied(c, 0, x)
	if err != nil {
		return err
	}
	r, n := x.Shape()[x.Rank()-2], x.Shape()[x.Rank()-1]
	if x.Len() == 0 {
		return done()
	}
	k = min(max(k, -r-1), n+1)
	for m := range x.Len() / (r * n) {
		for i := range r {
			at := m*r*n + i*n
			cut := min(max(i+k, 0), n)
			if upper {
				dst.clear(at, cut)
			} else {
				cut = min(max(i+k+1, 0), n)
				dst.clear(at+cut, n-cut)
			}
		}
	}
	return done()
}

func opDepthToSpace(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	b := int(c.Node.Int("blocksize", 0))
	if x.Rank() != 4 || b < 1 || b > 1<<15 || x.Shape()[1]%(b*b) != 0 {
		return errShape("input", x, fmt.Sprintf("[N C H W] with C a multiple of %d squared", b))
	}
	n, ch, h, w := x.Shape()[0], x.Shape()[1]/(b*b), x.Shape()[2], x.Shape()[3]
	wide := []int{n, b, b, ch, h, w}
	perm := []int{0, 3, 4, 1, 5, 2}
	if c.Node.Str("mode", "DCR") == "CRD" {
		wide, perm = []int{n, ch, b, b, h, w}, []int{0, 1, 4, 2, 5, 3}
	}
	return permuteAs(c, x, wide, perm, []int{n, ch, h * b, w * b})
}

func opSpaceToDepth(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	b := int(c.Node.Int("blocksize", 0))
	if x.Rank() != 4 || b < 1 || x.Shape()[2]%b != 0 || x.Shape()[3]%b != 0 {
		return errShape("input", x, fmt.Sprintf("[N C H W] with H and W multiples of %d", b))
	}
	n, ch, h, w := x.Shape()[0], x.Shape()[1], x.Shape()[2]/b, x.Shape()[3]/b
	perm := []int{0, 3, 5, 1, 2, 4}
	if c.Node.Str("mode", "DCR") == "CRD" {
		perm = []int{0, 1, 3, 5, 2, 4}
	}
	return permuteAs(c, x, []int{n, ch, h, b, w, b}, perm, []int{n, ch * b * b, h, w})
}

// permuteAs makes output 0 from x seen as shape wide, its dimensions permuted, seen as shape out.
func permuteAs(c *Call, x *model.Tensor, wide, perm, out []int) error {
	str, shape, ps := strides(wide), make([]int, len(perm)), make([]int, len(perm))
	for i, p := range perm {
		shape[i], ps[i] = wide[p], str[p]
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), out)
	if err != nil {
		return err
	}
	dst.gatherStrided(shape, ps, src, 0)
	return done()
}

func opReverseSequence(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	t, err := c.Need(1)
	if err != nil {
		return err
	}
	lens, err := ints(t)
	if err != nil {
		return err
	}
	ba, ta := int(c.Node.Int("batch_axis", 1)), int(c.Node.Int("time_axis", 0))
	if x.Rank() < 2 || ba < 0 || ta < 0 || ba > 1 || ta > 1 || ba == ta || len(lens) != x.Shape()[ba] {
		return fmt.Errorf("axes %d and %d and %d lengths do not fit shape %v", ba, ta, len(lens), x.Shape())
	}
	dst, done, err := copied(c, 0, x)
	if err != nil {
		return err
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	str := strides(x.Shape())
	inner := product(x.Shape()[2:])
	for b, n := range lens {
		if n < 0 || n > x.Shape()[ta] {
			return fmt.Errorf("length %d is outside of %d", n, x.Shape()[ta])
		}
		for i := range n {
			dst.copy(b*str[ba]+i*str[ta], src, b*str[ba]+(n-1-i)*str[ta], inner)
		}
	}
	return done()
}
