package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// postTransform is what operators of ai.onnx.ml make of scores.
type postTransform int

const (
	postNone postTransform = iota
	postLogistic
	postSoftmax
	postSoftmaxZero
	postProbit
)

func newPostTransform(n *model.Node) (postTransform, error) {
	name := n.Str("post_transform", "NONE")
	i := slices.Index([]string{"NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"}, name)
	if i < 0 {
		return 0, fmt.Errorf("post_transform %.40q: %w", name, model.ErrUnsupported)
	}
	return postTransform(i), nil
}

// apply transforms the scores of one row.
func (p postTransform) apply(s []float32) {
	switch p {
	case postLogistic:
		kernel.Sigmoid(s, s)
	case postSoftmax:
		kernel.SoftmaxRows(s, s, 1, len(s), 1, nil)
	case postSoftmaxZero:
		softmaxZero(s)
	case postProbit:
		probit(s)
	}
}

// softmaxZero is the softmax of the scores that are not 0; the others stay next to 0.
func softmaxZero(s []float32) {
	if len(s) == 0 {
		return
	}
	hi := slices.Max(s)
	e := make([]float32, len(s)+1)
	for i, v := range s {
		e[i] = v - hi
	}
	e[len(s)] = -hi
	kernel.Exp(e, e)
	sum := float32(0)
	for i, v := range s {
		if v > 1e-7 || v < -1e-7 {
			s[i] = e[i]
			sum += e[i]
		} else {
			s[i] = v * e[len(s)]
		}
	}
	for i := range s {
		s[i] /= sum
	}
}

// probit is sqrt(2) times the inverse of the error function at 2s - 1, by the approximation of Winitzki that ONNX Runtime has.
func probit(s []float32) {
	log, sign := make([]float32, len(s)), make([]float32, len(s))
	for i, v := range s {
		x := float32(2*v) - 1
		if sign[i] = 1; x < 0 {
			sign[i] = -1
		}
		log[i] = (1 - x) * (1 + x)
	}
	kernel.Log(log, log)
	const a = float32(0.147)
	for i, l := range log {
		v := 2/(float32(math.Pi)*a) + float32(0.5*l)
		w := -v + float32(math.Sqrt(float64(float32(v*v)-float32(1/a*l))))
		s[i] = float32(math.Sqrt2) * sign[i] * float32(math.Sqrt(float64(w)))
	}
}

// opScaler is (x - offset) * scale, by feature or for all.
func opScaler(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	scale, err := attrNumbers(c.Node, "scale")
	if err != nil {
		return err
	}
	offset, err := attrNumbers(c.Node, "offset")
	if err != nil {
		return err
	}
	v, _, cols, err := featuresOf(c, x)
	if err != nil {
		return err
	}
	if len(scale) != len(offset) || len(scale) != 1 && len(scale) != cols || len(scale) == 0 {
		return fmt.Errorf("%d scales and %d offsets for %d features", len(scale), len(offset), cols)
	}
	out, err := Out[float32](c, 0, x.Shape())
	if err != nil {
		return err
	}
	for i, e := range v {
		k := i % len(scale)
		if x.DType() == model.Float64 {
			out[i] = float32((e - offset[k]) * scale[k])
		} else {
			out[i] = (float32(e) - float32(offset[k])) * float32(scale[k])
		}
	}
	return nil
}

// opNormalizer divides rows by their largest element, by the sum of their magnitudes or by their length.
func opNormalizer(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	v, rows, cols, err := featuresOf(c, x)
	if err != nil {
		return err
	}
	norm := c.Node.Str("norm", "MAX")
	if norm != "MAX" && norm != "L1" && norm != "L2" {
		return fmt.Errorf("norm %.40q: %w", norm, model.ErrUnsupported)
	}
	out, err := Out[float32](c, 0, x.Shape())
	if err != nil {
		return err
	}
	for r := range rows {
		row, to := v[r*cols:(r+1)*cols], out[r*cols:(r+1)*cols]
		by := float32(0)
		if norm == "MAX" {
			by = -math.MaxFloat32
		}
		for i, e := range row {
			switch to[i] = float32(e); norm {
			case "MAX":
				by = max(by, to[i])
			case "L1":
				by += float32(math.Abs(float64(to[i])))
			default:
				by += float32(e * e)
			}
		}
		if by == 0 {
			continue
		}
		for i, e := range to {
			if to[i] = e / by; norm == "L2" {
				to[i] = float32(math.Copysign(math.Sqrt(float64(float32(row[i]*row[i])/by)), row[i]))
			}
		}
	}
	return nil
}

// linearScores is x [N F] times the transposed coefficients [n F], plus the intercepts, in out [N n].
func linearScores(c *Call, x *model.Tensor, n int, intercepts []float32) (rows int, out []float32, err error) {
	v, rows, cols, err := featuresOf(c, x)
	if err != nil {
		return 0, nil, err
	}
	var w []float32
	if a := c.Node.Attr("coefficients"); a != nil {
		w = a.Floats
	}
	if n <= 0 || cols == 0 || len(w)%n != 0 || len(w)/n != cols {
		return 0, nil, fmt.Errorf("%d coefficients for %d targets or classes and %d features", len(w), n, cols)
	}
	if err := c.arena.room(4 * (len(v) + rows*n)); err != nil {
		return 0, nil, err
	}
	in := Scratch[float32](c, len(v))
	for i, e := range v {
		in[i] = float32(e)
	}
	out = Scratch[float32](c, rows*n)
	kernel.MatMulF32(c.pool, rows, n, cols, in, cols, false, w, cols, true, out, n, kernel.Epilogue{Bias: intercepts})
	return rows, out, nil
}

func attrFloats(n *model.Node, name string) []float32 {
	if a := n.Attr(name); a != nil {
		return a.Floats
	}
	return nil
}

func opLinearRegressor(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	post, err := newPostTransform(c.Node)
	if err != nil {
		return err
	}
	n, b := int(c.Node.Int("targets", 1)), attrFloats(c.Node, "intercepts")
	if len(b) != n {
		b = nil // as ONNX Runtime does
	}
	rows, s, err := linearScores(c, x, n, b)
	if err != nil {
		return err
	}
	out, err := Out[float32](c, 0, []int{rows, n})
	if err != nil {
		return err
	}
	copy(out, s)
	if n == 1 && post != postProbit { // there is nothing to compare with
		return nil
	}
	for r := range rows {
		post.apply(out[r*n : (r+1)*n])
	}
	return nil
}

// opLinearClassifier has labels [N] and scores [N classes] as outputs. One row of coefficients for two labels is for the second of them, whose
// score s comes with 1-s, as a logistic with that of -s, for the other.
func opLinearClassifier(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	post, err := newPostTransform(c.Node)
	if err != nil {
		return err
	}
	b, ints, names := attrFloats(c.Node, "intercepts"), c.Node.Ints("classlabels_ints"), attrStrings(c.Node, "classlabels_strings")
	labels := len(names)
	if labels == 0 {
		labels = len(ints)
	}
	n := len(b)
	if b == nil {
		n = labels
	}
	if n > 1 && labels < n || n == 1 && labels != 0 && labels != 2 {
		return fmt.Errorf("%d labels for %d classes", labels, n)
	}
	rows, s, err := linearScores(c, x, n, b)
	if err != nil {
		return err
	}
	wide := n
	if n == 1 && labels == 2 {
		wide = 2
	}
	out, err := Out[float32](c, 1, []int{rows, wide})
	if err != nil {
		return err
	}
	if labels == 0 {
		ints = []int64{0, 1}
	}
	label := Scratch[int32](c, rows)
	for r := range rows {
		row, to := s[r*n:(r+1)*n], out[r*wide:(r+1)*wide]
		label[r] = 0
		if n == 1 {
			if row[0] > 0 {
				label[r] = 1
			}
			if post == postProbit {
				probit(row)
			}
			switch to[wide-1] = row[0]; {
			case wide == 2 && post == postLogistic:
				to[0] = -row[0]
				post.apply(to)
			case wide == 2:
				to[0] = 1 - row[0]
			}
			continue
		}
		for k, v := range row {
			if v > row[label[r]] {
				label[r] = int32(k)
			}
		}
		copy(to, row)
		post.apply(to)
	}
	return writeLabels(c, label, ints, names)
}
