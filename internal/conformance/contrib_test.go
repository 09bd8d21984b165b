//go:build !static

package conformance_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
)

// one is a model of one node of com.microsoft, or of the default domain where domain is "".
type one struct {
	name, domain, op string
	inputs           []*model.Tensor // nil = omitted
	outputs          []model.DType   // Invalid = omitted
	attrs            []model.Attr
	constant         []int // inputs that are initializers
	opset            int64
	skip             func(out int, at []int) bool // elements that no rule defines
	oracle           *one                         // what ONNX Runtime runs, where it has not this form
	sized            bool                         // declare the shapes of the inputs
}

func (o *one) graph() (*model.Graph, engine.Feed) {
	n := &model.Node{Name: o.name, Op: o.op, Domain: o.domain, Attrs: o.attrs}
	opset := o.opset
	if opset == 0 {
		opset = 17
	}
	g := &model.Graph{Name: o.name, Nodes: []*model.Node{n}, Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: opset}, {Domain: "com.microsoft", Version: 1}}}}
	if o.domain == "ai.onnx.ml" {
		g.Model.Opsets = append(g.Model.Opsets, model.Opset{Domain: o.domain, Version: 3})
	}
	feed := engine.Feed{}
	for i, t := range o.inputs {
		name := fmt.Sprintf("x%d", i)
		if t == nil {
			n.Inputs = append(n.Inputs, "")
			continue
		}
		n.Inputs = append(n.Inputs, name)
		if slices.Contains(o.constant, i) {
			g.SetInitializer(name, t)
			continue
		}
		shape := make(model.Shape, t.Rank())
		for k := range shape {
			if shape[k] = (model.Dim{Size: -1, Param: fmt.Sprintf("d%d_%d", i, k)}); o.sized {
				shape[k] = model.Dim{Size: int64(t.Shape()[k])}
			}
		}
		g.Inputs = append(g.Inputs, &model.Value{Name: name, Type: model.Type{DType: t.DType(), Shape: shape}})
		feed[name] = t
	}
	for i, d := range o.outputs {
		name := fmt.Sprintf("y%d", i)
		if d == model.Invalid {
			n.Outputs = append(n.Outputs, "")
			continue
		}
		n.Outputs = append(n.Outputs, name)
		g.Outputs = append(g.Outputs, &model.Value{Name: name, Type: model.Type{DType: d}})
	}
	return g, feed
}

// check runs the model in both runtimes. Floats may differ by tol of the largest element of the output: the order of
// additions differs, and exp and tanh are within a few ULP in both; integers must be equal.
func (o *one) check(t *testing.T, rt *ort.Runtime, tol float64) {
	t.Helper()
	g, feed := o.graph()
	og, of := g, feed
	if o.oracle != nil {
		og, of = o.oracle.graph()
	}
	s, err := rt.Load(t.Context(), engine.Artifact{Graph: og}, engine.Options{Threads: 1, Spin: -1})
	if err != nil {
		t.Errorf("%s: %v", o.name, err)
		return
	}
	defer s.Close()
	want, err := s.Run(t.Context(), of)
	if err != nil {
		t.Errorf("%s: %v", o.name, err)
		return
	}
	n, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 2})
	if err != nil {
		t.Errorf("%s: %v", o.name, err)
		return
	}
	defer n.Close()
	got, err := n.Run(t.Context(), feed)
	if err != nil {
		t.Errorf("%s: %v", o.name, err)
		return
	}
	for i, d := range o.outputs {
		if d == model.Invalid {
			continue
		}
		name := fmt.Sprintf("y%d", i)
		if err := o.close(i, got[name], want[name], tol); err != nil {
			t.Errorf("%s: output %d: %v", o.name, i, err)
		}
	}
}

func (o *one) close(out int, got, want *model.Tensor, tol float64) error {
	if got.DType() != want.DType() || !slices.Equal(got.Shape(), want.Shape()) {
		return fmt.Errorf("%s%v, want %s%v", got.DType(), got.Shape(), want.DType(), want.Shape())
	}
	if got.DType() == model.String {
		a, err := got.Strings()
		b, werr := want.Strings()
		if err = errors.Join(err, werr); err == nil && !slices.Equal(a, b) {
			err = fmt.Errorf("%q, want %q", a, b)
		}
		return err
	}
	a, err := engine.Float64s(got)
	if err != nil {
		return err
	}
	b, err := engine.Float64s(want)
	if err != nil {
		return err
	}
	largest := 0.0
	for _, v := range b {
		if !math.IsInf(v, 0) {
			largest = max(largest, math.Abs(v))
		}
	}
	if !want.DType().IsFloat() {
		tol = 0
	}
	at := make([]int, want.Rank())
	for i := range a {
		rest := i
		for k := len(at) - 1; k >= 0; k-- {
			at[k], rest = rest%want.Shape()[k], rest/want.Shape()[k]
		}
		if o.skip != nil && o.skip(out, at) || a[i] == b[i] || a[i] != a[i] && b[i] != b[i] {
			continue
		}
		if !(math.Abs(a[i]-b[i]) <= tol*largest) {
			return fmt.Errorf("element %v is %g, want %g (largest %g)", at, a[i], b[i], largest)
		}
	}
	return nil
}

// source makes seeded random tensors.
type source struct{ *rand.Rand }

func newSource(seed uint64) source { return source{rand.New(rand.NewPCG(seed, 99))} }

func (r source) floats(shape ...int) *model.Tensor {
	n, _ := model.NumElements(shape)
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return model.FromSlice(shape, v)
}

func (r source) ints(below int, shape ...int) *model.Tensor {
	n, _ := model.NumElements(shape)
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(r.IntN(below))
	}
	return model.FromSlice(shape, v)
}

func ints32(v ...int32) *model.Tensor { return model.FromSlice([]int{len(v)}, v) }

func i(name string, v int64) model.Attr   { return model.IntAttr(name, v) }
func f(name string, v float32) model.Attr { return model.FloatAttr(name, v) }

const (
	microsoft = "com.microsoft"
	none      = model.Invalid
	f32       = model.Float32
)

func TestContribMatMul(t *testing.T) {
	rt, r := reference(t), newSource(1)
	for n := range 40 {
		m, k, w, b := 1+r.IntN(17), 1+r.IntN(33), 1+r.IntN(19), 1+r.IntN(3)
		ta, tb, ba, bb := r.IntN(2), r.IntN(2), r.IntN(2), r.IntN(2)
		pick := func(trans, batch, rows, cols int) *model.Tensor {
			if trans == 1 {
				rows, cols = cols, rows
			}
			if batch == 1 { // the first dimension becomes the rows before the last
				return r.floats(rows, b, 2, cols)
			}
			return r.floats(b, 2, rows, cols)
		}
		a := pick(ta, ba, m, k)
		y := pick(tb, bb, k, w)
		o := one{name: fmt.Sprintf("FusedMatMul %d trans %d%d batch %d%d", n, ta, tb, ba, bb), domain: microsoft, op: "FusedMatMul", outputs: []model.DType{f32},
			inputs: []*model.Tensor{a, y}, attrs: []model.Attr{i("transA", int64(ta)), i("transB", int64(tb)), i("transBatchA", int64(ba)), i("transBatchB", int64(bb)), f("alpha", 0.5)}}
		if n%5 == 0 && bb == 0 { // a constant matrix on the right
			o.constant = []int{1}
		}
		o.check(t, rt, 1e-6)
	}
}

func TestContribNorms(t *testing.T) {
	rt, r := reference(t), newSource(2)
	for n := range 24 {
		b, s, w := 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(70)
		x, skip := r.floats(b, s, w), r.floats(b, s, w)
		switch n % 3 {
		case 1:
			skip = r.floats(1, s, w)
		case 2:
			skip = r.floats(s, w)
		}
		bias := r.floats(w)
		if n%4 == 3 {
			bias = nil
		}
		beta := r.floats(w)
		if n%5 == 4 {
			beta = nil
		}
		eps := []model.Attr{f("epsilon", 1e-3)}
		tol := 1e-5 // 1/sqrt(variance) of narrow rows carries the rounding of the variance
		o := one{name: fmt.Sprintf("SkipLayerNormalization %d", n), domain: microsoft, op: "SkipLayerNormalization", attrs: eps,
			inputs: []*model.Tensor{x, skip, r.floats(w), beta, bias}, outputs: []model.DType{f32, none, none, f32}}
		o.check(t, rt, tol)
		o = one{name: fmt.Sprintf("SkipSimplifiedLayerNormalization %d", n), domain: microsoft, op: "SkipSimplifiedLayerNormalization", attrs: eps,
			inputs: []*model.Tensor{x, skip, r.floats(w), bias}, outputs: []model.DType{f32, none, none, f32}}
		o.check(t, rt, tol)
		o = one{name: fmt.Sprintf("SimplifiedLayerNormalization %d", n), op: "SimplifiedLayerNormalization", attrs: eps,
			inputs: []*model.Tensor{x, r.floats(w)}, outputs: []model.DType{f32}}
		o.check(t, rt, tol)
		rows := 5 + r.IntN(20)
		in := []*model.Tensor{r.ints(rows, b, s), r.ints(2, b, s), r.floats(rows, w), r.floats(s+3, w), r.floats(2, w), r.floats(w), r.floats(w), r.ints(2, b, s)}
		if n%3 == 1 {
			in[1], in[4] = nil, nil
		}
		if n%3 == 2 {
			in = append(in, r.ints(s+3, b, s))
		}
		o = one{name: fmt.Sprintf("EmbedLayerNormalization %d", n), domain: microsoft, op: "EmbedLayerNormalization", attrs: eps, inputs: in, sized: true,
			outputs: []model.DType{f32, model.Int32, f32}}
		o.check(t, rt, tol)
	}
}

func TestContribGelu(t *testing.T) {
	rt, r := reference(t), newSource(3)
	for _, w := range []int{1, 5, 16, 31, 384} {
		x, bias := r.floats(2, 3, w), r.floats(w)
		for _, o := range []one{
			{op: "BiasGelu", inputs: []*model.Tensor{x, bias}},
			{op: "FastGelu", inputs: []*model.Tensor{x, bias}},
			{op: "FastGelu", inputs: []*model.Tensor{x}},
			{op: "Gelu", inputs: []*model.Tensor{x}},
			{op: "QuickGelu", inputs: []*model.Tensor{x}, attrs: []model.Attr{f("alpha", 1.3)}},
		} {
			o.name, o.domain, o.outputs = fmt.Sprintf("%s %d", o.op, w), microsoft, []model.DType{f32}
			o.check(t, rt, 1e-6)
		}
	}
}

// caches returns cos and sin of a rotary embedding of the given size.
func caches(positions, half int) (*model.Tensor, *model.Tensor) {
	c, s := make([]float32, positions*half), make([]float32, positions*half)
	for p := range positions {
		for j := range half {
			a := float64(p) * math.Pow(10000, -float64(j)/float64(half))
			c[p*half+j], s[p*half+j] = float32(math.Cos(a)), float32(math.Sin(a))
		}
	}
	return model.FromSlice([]int{positions, half}, c), model.FromSlice([]int{positions, half}, s)
}

func TestContribRotary(t *testing.T) {
	rt, r := reference(t), newSource(4)
	for n := range 24 {
		b, s, h, half := 1+r.IntN(3), 1+r.IntN(7), 1+r.IntN(4), 4*(1+r.IntN(4))
		cos, sin := caches(32, half)
		pos := model.FromSlice([]int{1}, []int64{int64(r.IntN(20))})
		if n%2 == 1 {
			v := make([]int64, b*s)
			for k := range v {
				v[k] = int64(r.IntN(32))
			}
			pos = model.FromSlice([]int{b, s}, v)
		}
		x, attrs := r.floats(b, s, h*2*half), []model.Attr{i("interleaved", int64(n/2%2))}
		switch n % 3 {
		case 1:
			x = r.floats(b, h, s, 2*half)
		case 2: // only the first part of each head is turned
			x, attrs = r.floats(b, s, h*(2*half+8)), append(attrs, i("num_heads", int64(h)), i("rotary_embedding_dim", int64(2*half)))
		}
		o := one{name: fmt.Sprintf("RotaryEmbedding %d", n), domain: microsoft, op: "RotaryEmbedding", attrs: attrs,
			inputs: []*model.Tensor{x, pos, cos, sin}, outputs: []model.DType{f32}}
		o.check(t, rt, 1e-6)
	}
}
