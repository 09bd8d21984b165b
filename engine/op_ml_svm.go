package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// svmKernel compares inputs with support vectors.
type svmKernel struct {
	kind                 string // LINEAR, POLY, RBF or SIGMOID
	gamma, coef0, degree float32
}

func newSVMKernel(n *model.Node) (k svmKernel, err error) {
	k.kind = n.Str("kernel_type", "LINEAR")
	if !slices.Contains([]string{"LINEAR", "POLY", "RBF", "SIGMOID"}, k.kind) {
		return k, fmt.Errorf("kernel_type %.40q: %w", k.kind, model.ErrUnsupported)
	}
	switch p := attrFloats(n, "kernel_params"); {
	case len(p) >= 3:
		k.gamma, k.coef0, k.degree = p[0], p[1], p[2]
	case len(p) > 0:
		return k, fmt.Errorf("%d kernel_params, want gamma, coef0 and degree", len(p))
	}
	return k, nil
}

// compare sets out [rows n] to the kernel of the rows of x [rows f] and the vectors v [n f].
func (k svmKernel) compare(c *Call, out, x, v []float32, rows, n, f int) error {
	if k.kind == "RBF" {
		return c.each(rows, n*(f+4), func(r int) {
			row, to := x[r*f:(r+1)*f], out[r*n:(r+1)*n]
			for j := range to {
				sum := float32(0)
				for i, e := range v[j*f : (j+1)*f] {
					d := row[i] - e
					sum += float32(d * d)
				}
				to[j] = -k.gamma * sum
			}
			kernel.Exp(to, to)
		})
	}
	kernel.MatMulF32(c.pool, rows, n, f, x, f, false, v, f, true, out, n, kernel.Epilogue{})
	if k.kind == "LINEAR" {
		return nil
	}
	for i, e := range out {
		e = float32(k.gamma*e) + k.coef0
		switch {
		case k.kind == "SIGMOID":
			out[i] = e
		case k.degree == 2:
			out[i] = e * e
		case k.degree == 3:
			out[i] = float32(e*e) * e
		default:
			out[i] = float32(math.Pow(float64(e), float64(k.degree)))
		}
	}
	if k.kind == "SIGMOID" {
		kernel.Tanh(out, out)
	}
	return nil
}

// svmRows calls f with some rows at a time: the first of them and their kernels [rows vectors].
func svmRows(c *Call, x *model.Tensor, k svmKernel, vectors []float32, n int, begin func(rows int) error, f func(first, rows int, kernels []float32)) error {
	v, rows, cols, err := featuresOf(c, x)
	if err != nil {
		return err
	}
	if n <= 0 || cols == 0 || len(vectors)%n != 0 || len(vectors)/n != cols {
		return fmt.Errorf("%d numbers are not %d vectors of %d features", len(vectors), n, cols)
	}
	if err := begin(rows); err != nil {
		return err
	}
	block := min(rows, 4*rowsAtOnce)
	if err := c.arena.room(4 * block * (cols + n)); err != nil {
		return err
	}
	in, out := Scratch[float32](c, block*cols), Scratch[float32](c, block*n)
	for first := 0; first < rows; first += block {
		count := min(block, rows-first)
		for i, e := range v[first*cols : (first+count)*cols] {
			in[i] = float32(e)
		}
		if err := k.compare(c, out[:count*n], in, vectors, count, n, cols); err != nil {
			return err
		}
		f(first, count, out)
	}
	return c.canceled()
}

// opSVMRegressor is the sum of the kernels with the support vectors by their coefficients, plus rho, or, without vectors, of the features by
// theirs; its sign where there is one class. It has no transform, as in ONNX Runtime.
func opSVMRegressor(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	k, err := newSVMKernel(c.Node)
	if err != nil {
		return err
	}
	vectors, w, rho := attrFloats(c.Node, "support_vectors"), attrFloats(c.Node, "coefficients"), attrFloats(c.Node, "rho")
	n, linear := int(c.Node.Int("n_supports", 0)), false
	if n <= 0 {
		n, vectors, k, linear = 1, w, svmKernel{kind: "LINEAR"}, true
	}
	if len(rho) == 0 || !linear && len(w) != n {
		return fmt.Errorf("%d coefficients and %d rho for %d vectors", len(w), len(rho), n)
	}
	one := c.Node.Int("one_class", 0) != 0
	var y []float32
	return svmRows(c, x, k, vectors, n, func(rows int) (err error) {
		y, err = Out[float32](c, 0, []int{rows, 1})
		return err
	}, func(first, rows int, kernels []float32) {
		for r := range rows {
			sum := float64(0)
			for j, e := range kernels[r*n : (r+1)*n] {
				if !linear {
					e *= w[j]
				}
				sum += float64(e)
			}
			v := float32(sum + float64(rho[0]))
			if one && v > 0 {
				v = 1
			} else if one {
				v = -1
			}
			y[first+r] = v
		}
	})
}

// svmClassifier is one with support vectors, of which every class has its own, or with a row of coefficients for every class.
type svmClassifier struct {
	classes     int
	start       []int // of the vectors of every class, and their number
	w, rho      []float32
	a, b        []float32 // of probabilities, or nil
	post        postTransform
	positive    bool // no coefficient is below 0
	ints        []int64
	names       []string
	pairs       int // of classes
	width       int // of the scores
	one         []float32
	votes       []int
	probability []float32
}

func newSVMClassifier(n *model.Node) (s *svmClassifier, err error) {
	s = &svmClassifier{w: attrFloats(n, "coefficients"), rho: attrFloats(n, "rho"), a: attrFloats(n, "prob_a"), b: attrFloats(n, "prob_b"),
		ints: n.Ints("classlabels_ints"), names: attrStrings(n, "classlabels_strings"), start: []int{0}}
	if s.post, err = newPostTransform(n); err != nil {
		return nil, err
	}
	if s.classes = len(s.names); s.classes == 0 {
		s.classes = len(s.ints)
	}
	if s.classes < 2 || s.classes > math.MaxUint16 {
		return nil, fmt.Errorf("%d classes: %w", s.classes, model.ErrUnsupported)
	}
	s.pairs = s.classes * (s.classes - 1) / 2
	s.positive = !slices.ContainsFunc(s.w, func(v float32) bool { return !(v >= 0) })
	total := 0
	per := attrInts(n, "vectors_per_class")
	for _, v := range per {
		if v < 0 || v > len(s.w) {
			return nil, fmt.Errorf("a class has %d vectors", v)
		}
		total += v
		s.start = append(s.start, total)
	}
	switch s.width = s.classes; {
	case total == 0:
		s.start = nil
		if len(s.rho) == 0 {
			return nil, fmt.Errorf("rho is missing")
		}
		return s, nil
	case len(per) != s.classes || total > len(s.w)/(s.classes-1) || len(s.rho) < s.pairs || len(s.a) != len(s.b) || len(s.a) > 0 && len(s.a) < s.pairs:
		return nil, fmt.Errorf("%d vectors of %d classes do not fit %d coefficients, %d rho, %d prob_a and %d prob_b for %d classes", total, len(per), len(s.w), len(s.rho), len(s.a), len(s.b), s.classes)
	case len(s.a) == 0 && s.classes > 2:
		s.width = s.pairs
	}
	s.one, s.votes, s.probability = make([]float32, s.pairs), make([]int, s.classes), make([]float32, s.classes*s.classes)
	return s, nil
}

// opSVMClassifier has labels [N] and scores as outputs: of classes where there are probabilities or no support vectors, of pairs of classes, or of
// the second of two with that of the first.
func opSVMClassifier(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	s, err := newSVMClassifier(c.Node)
	if err != nil {
		return err
	}
	k, err := newSVMKernel(c.Node)
	if err != nil {
		return err
	}
	vectors, n := attrFloats(c.Node, "support_vectors"), 0
	if s.start == nil {
		vectors, n, k = s.w, s.classes, svmKernel{kind: "LINEAR"}
	} else {
		n = s.start[s.classes]
	}
	var z []float32
	var label []int32
	err = svmRows(c, x, k, vectors, n, func(rows int) (err error) {
		label = Scratch[int32](c, rows)
		z, err = Out[float32](c, 1, []int{rows, s.width})
		return err
	}, func(first, rows int, kernels []float32) {
		for r := range rows {
			row, to := kernels[r*n:(r+1)*n], z[(first+r)*s.width:][:s.width]
			if s.start == nil {
				label[first+r] = int32(s.linear(row, to))
			} else {
				label[first+r] = int32(s.voted(row, to))
			}
		}
	})
	if err != nil {
		return err
	}
	return writeLabels(c, label, s.ints, s.names)
}

// linear adds rho to the scores of the classes. Of two classes the second is taken where a score is above 0, as in ONNX Runtime.
func (s *svmClassifier) linear(row, z []float32) int {
	best := 0
	for k, v := range row {
		if z[k] = v + s.rho[0]; z[k] > z[best] {
			best = k
		}
	}
	if s.classes == 2 && len(s.a) == 0 && (s.positive && z[best] >= 0.5 || !s.positive && z[best] > 0) {
		best = 1
	}
	s.post.apply(z)
	return best
}

// voted lets every pair of classes vote for one of the two.
func (s *svmClassifier) voted(row, z []float32) int {
	n, p := len(row), 0
	clear(s.votes)
	for i := range s.classes {
		for j := i + 1; j < s.classes; j++ {
			sum := 0.0
			for m := s.start[i]; m < s.start[i+1]; m++ {
				sum += float64(s.w[(j-1)*n+m] * row[m])
			}
			for m := s.start[j]; m < s.start[j+1]; m++ {
				sum += float64(s.w[i*n+m] * row[m])
			}
			sum += float64(s.rho[p])
			if s.one[p] = float32(sum); sum > 0 {
				s.votes[i]++
			} else {
				s.votes[j]++
			}
			p++
		}
	}
	switch {
	case len(s.a) > 0:
		s.probabilities(z)
		s.post.apply(z)
	case s.classes > 2:
		copy(z, s.one)
		s.post.apply(z)
	default:
		switch z[0], z[1] = -s.one[0], s.one[0]; s.post {
		case postNone:
		case postLogistic:
			s.post.apply(z)
		case postProbit:
			z[0], z[1] = s.one[0], 0
			s.post.apply(z[:1])
		default:
			z[0] = 1 - s.one[0]
		}
	}
	return slices.Index(s.votes, slices.Max(s.votes))
}

// probabilities sets p to those of the classes that fit the probabilities of the pairs best.
// (Wu, Lin, Weng: Probability Estimates for Multi-class Classification by Pairwise Coupling, 2004, their second method.)
func (s *svmClassifier) probabilities(p []float32) {
	n, r := s.classes, s.probability
	for i, at := 0, 0; i < n; i++ {
		for j := i + 1; j < n; j++ {
			one := [1]float32{-(float32(s.one[at]*s.a[at]) + s.b[at])}
			kernel.Sigmoid(one[:], one[:])
			v := min(max(one[0], 1e-7), 1-1e-7)
			r[i*n+j], r[j*n+i] = v, 1-v
			at++
		}
	}
	q, qp := make([]float32, n*n), make([]float32, n)
	for i := range n {
		p[i] = 1 / float32(n)
		for j := range n {
			if j != i {
				q[i*n+i] += float32(r[j*n+i] * r[j*n+i])
				q[i*n+j] = -float32(r[j*n+i] * r[i*n+j])
			}
		}
	}
	for range 100 {
		pqp := float32(0)
		for i := range n {
			qp[i] = 0
			for j := range n {
				qp[i] += float32(q[i*n+j] * p[j])
			}
			pqp += float32(p[i] * qp[i])
		}
		most := float32(0)
		for _, v := range qp {
			most = max(most, float32(math.Abs(float64(v-pqp))))
		}
		if most < 0.005/float32(n) {
			break
		}
		for i := range n {
			d := (pqp - qp[i]) / q[i*n+i]
			p[i] += d
			pqp = (pqp + float32(d*(float32(d*q[i*n+i])+float32(2*qp[i])))) / (1 + d) / (1 + d)
			for j := range n {
				qp[j] = (qp[j] + float32(d*q[i*n+j])) / (1 + d)
				p[j] /= 1 + d
			}
		}
	}
}
