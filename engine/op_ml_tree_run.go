package engine

import (
	"fmt"
	"math/bits"

	"github.com/wattshed/wattshed/model"
)

// treesOp is an ensemble whose attributes are read at Compile.
func treesOp(classes bool) opDef {
	return opDef{prep: func(p *prep) (any, error) { return prepTrees(p.node, classes) }, run: func(c *Call) error {
		var t *trees
		if c.st != nil {
			t, _ = c.st.state.(*trees)
		}
		if t == nil {
			var err error
			if t, err = prepTrees(c.Node, classes); err != nil {
				return err
			}
		}
		x, err := c.Need(0)
		if err != nil {
			return err
		}
		if x.DType() == model.Float64 {
			return runTrees[float64](c, t, x, classes)
		}
		return runTrees[float32](c, t, x, classes)
	}}
}

// score is the sum, or the least or largest, of what the trees say of one target.
type score[T real] struct {
	v   T
	any bool // a tree spoke of it: of several scores the others count as 0, whatever their base value is, as in ONNX Runtime
}

// scoresOf returns the scores of several targets or classes.
func scoresOf[T real](s []score[T], z []float32) {
	for k, e := range s {
		if z[k] = 0; e.any {
			z[k] = float32(e.v)
		}
	}
}

// featuresOf is x [N features], or [features], in float64; integers are rounded to float32 first, as ONNX Runtime does.
func featuresOf(c *Call, x *model.Tensor) (v []float64, rows, cols int, err error) {
	switch x.DType() {
	case model.Float32, model.Float64, model.Int32, model.Int64:
	default:
		return nil, 0, 0, typeError(x)
	}
	switch x.Rank() {
	case 1:
		rows, cols = 1, x.Shape()[0]
	case 2:
		rows, cols = x.Shape()[0], x.Shape()[1]
	default:
		return nil, 0, 0, errShape("input", x, "[N features]")
	}
	if v, err = c.toFloat64(x); err != nil {
		return nil, 0, 0, err
	}
	if x.DType().IsInteger() {
		for i, e := range v {
			v[i] = float64(float32(e))
		}
	}
	return v, rows, cols, nil
}

// rowsAtOnce is the number of rows that a thread takes at a time.
const rowsAtOnce = 64

// runTrees computes scores [N, targets], for a classifier behind labels [N], in the precision of T.
func runTrees[T real](c *Call, t *trees, x *model.Tensor, classes bool) error {
	v, rows, cols, err := featuresOf(c, x)
	if err != nil {
		return err
	}
	if t.features > cols {
		return fmt.Errorf("the trees test %d features, the input has %d", t.features, cols)
	}
	at := 0
	if classes {
		at = 1
	}
	out, err := Out[float32](c, at, []int{rows, t.targets})
	if err != nil {
		return err
	}
	label, parts := Scratch[int32](c, rows), (rows+rowsAtOnce-1)/rowsAtOnce
	if err := c.arena.room(16 * t.targets * min(parts, c.pool.Threads())); err != nil { // of the scores of a row
		return err
	}
	depth := bits.Len(uint(len(t.nodes) / max(1, len(t.roots)))) // of a balanced tree
	err = c.each(parts, rowsAtOnce*(len(t.roots)*depth*2+t.targets*8), func(part int) {
		s := make([]score[T], t.targets)
		for i := part * rowsAtOnce; i < min(rows, (part+1)*rowsAtOnce); i++ {
			collect(t, s, v[i*cols:(i+1)*cols])
			z := out[i*t.targets : (i+1)*t.targets]
			if classes {
				label[i] = int32(classOf(t, s, z))
			} else {
				regress(t, s, z)
			}
		}
	})
	if err != nil || !classes {
		return err
	}
	return writeLabels(c, label, t.ints, t.strings)
}

// writeLabels writes output 0: the labels of classes; 0 and 1 where there is none for a class.
func writeLabels(c *Call, label []int32, ints []int64, strings []string) error {
	d := model.Int64
	if len(strings) > 0 {
		d = model.String
	}
	y, done, err := c.outElems(0, d, []int{len(label)})
	if err != nil {
		return err
	}
	if d == model.String {
		for i, k := range label {
			y.s[i] = strings[k]
		}
		return done()
	}
	if err := done(); err != nil {
		return err
	}
	dst, err := model.Data[int64](c.out[0].t)
	if err != nil {
		return err
	}
	for i, k := range label {
		dst[i] = ints[k]
	}
	return nil
}

// collect sums what the leaves of all trees say of a row. With one target a leaf has one weight.
func collect[T real](t *trees, s []score[T], row []float64) {
	clear(s)
	for _, root := range t.roots {
		d := t.leaf(root, row)
		list := t.weights[d.yes : d.yes+d.no]
		if t.targets == 1 {
			list = list[:1]
		}
		for _, w := range list {
			o, e := &s[w.target], T(w.w)
			switch {
			case t.how == "SUM" || t.how == "AVERAGE":
				o.v += e
			case !o.any || t.how == "MIN" && e < o.v || t.how == "MAX" && e > o.v:
				o.v = e
			}
			o.any = true
		}
	}
}

// regress writes the scores of a row. The transform of a single target is the probit or none, as in ONNX Runtime.
func regress[T real](t *trees, s []score[T], z []float32) {
	for k := range s {
		if t.how == "AVERAGE" {
			s[k].v /= T(len(t.roots))
		}
		if len(t.base) == len(s) {
			s[k].v += T(t.base[k])
		}
	}
	if len(s) == 1 {
		if z[0] = float32(s[0].v); t.post != postProbit {
			return
		}
	} else {
		scoresOf(s, z)
	}
	t.post.apply(z)
}

// classOf writes the scores of a row and returns its class. Two classes follow the rules of ONNX Runtime: where weights are for one of them
// alone, or only the first has a score, it is that of the second class.
func classOf[T real](t *trees, s []score[T], z []float32) int {
	base := t.base
	switch len(s) {
	case 1:
		if len(base) == 1 {
			s[0].v += T(base[0])
		}
		if z[0] = float32(s[0].v); t.post == postProbit {
			t.post.apply(z)
		}
		return second(s[0].v > 0)
	case 2:
		return classOfTwo(t, s, z)
	}
	for k, b := range base {
		s[k].v, s[k].any = s[k].v+T(b), true
	}
	best := -1
	for k, e := range s {
		if e.any && (best < 0 || e.v > s[best].v) {
			best = k
		}
	}
	scoresOf(s, z)
	t.post.apply(z)
	return max(best, 0)
}

func classOfTwo[T real](t *trees, s []score[T], z []float32) int {
	pair := s[1].any // there are two scores
	switch base := t.base; {
	case len(base) == 2 && pair:
		s[1].v = T(base[1]) + s[0].v
		s[0].v = -s[1].v
	case len(base) == 2:
		s[1].v += T(base[1])
		s[0].v += T(base[0])
	case len(base) == 1:
		s[0].v += T(base[0])
	}
	v := s[0].v
	if s[1].any {
		v = s[1].v
	}
	class := second(v > 0)
	if t.single && t.positive {
		class = second(v > 0.5)
	}
	scoresOf(s, z)
	switch {
	case pair || len(t.base) == 2:
		t.post.apply(z)
	case t.post == postProbit:
		z[1] = 0
		t.post.apply(z[:1])
	case t.single && t.positive && t.post != postLogistic:
		z[0], z[1] = float32(1-v), float32(v)
	case t.single || len(t.base) == 0:
		z[0], z[1] = float32(-v), float32(v)
		if t.post == postLogistic {
			t.post.apply(z)
		}
	}
	return class
}

func second(b bool) int {
	if b {
		return 1
	}
	return 0
}
