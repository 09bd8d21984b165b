package grad

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// The reference evaluates a graph in float64, operator by operator from the ONNX specification, as plainly as it can be written. It
// shares no code with the engine. Integers and booleans are float64 too, exactly.

type array struct {
	shape []int
	x     []float64
}

func newArray(shape ...int) *array { return &array{shape, make([]float64, product(shape))} }

func arrayOf(t *model.Tensor) *array {
	a := newArray(t.Shape()...)
	switch t.DType() {
	case model.Float32:
		v, _ := model.Data[float32](t)
		for i := range v {
			a.x[i] = float64(v[i])
		}
	case model.Int64:
		v, _ := model.Data[int64](t)
		for i := range v {
			a.x[i] = float64(v[i])
		}
	case model.Int32:
		v, _ := model.Data[int32](t)
		for i := range v {
			a.x[i] = float64(v[i])
		}
	case model.Bool:
		v, _ := model.Data[bool](t)
		for i := range v {
			if v[i] {
				a.x[i] = 1
			}
		}
	}
	return a
}

type ref struct {
	g      *model.Graph
	values map[string]*array
	opset  int64
}

// evaluate returns the value called name.
func evaluate(g *model.Graph, in map[string]*array, name string) *array {
	r := &ref{g: g, values: map[string]*array{}, opset: g.Opset("")}
	for k, v := range in {
		r.values[k] = v
	}
	for _, n := range g.Initializers() {
		if r.values[n] == nil {
			r.values[n] = arrayOf(g.Initializer(n))
		}
	}
	for _, n := range g.Nodes {
		r.node(n)
	}
	return r.values[name]
}

func (r *ref) in(n *model.Node, i int) *array { return r.values[n.In(i)] }

func (r *ref) node(n *model.Node) {
	outs := refOps[n.Op](r, n)
	for i, o := range n.Outputs {
		if o != "" {
			r.values[o] = outs[i]
		}
	}
}

type refOp func(r *ref, n *model.Node) []*array

var refOps = map[string]refOp{
	"Identity": refFirst, "Dropout": refFirst, "Cast": refFirst,
	"Neg": refMap(func(x float64) float64 { return -x }), "Exp": refMap(math.Exp), "Log": refMap(math.Log), "Sqrt": refMap(math.Sqrt),
	"Abs": refMap(math.Abs), "Reciprocal": refMap(func(x float64) float64 { return 1 / x }), "Tanh": refMap(math.Tanh),
	"Erf": refMap(math.Erf), "Sigmoid": refMap(sigmoid64), "Relu": refMap(func(x float64) float64 { return math.Max(x, 0) }),
	"Not": refMap(func(x float64) float64 { return 1 - x }), "Floor": refMap(math.Floor),
	"Gelu": func(r *ref, n *model.Node) []*array {
		if n.Str("approximate", "none") == "tanh" {
			return refMap(func(x float64) float64 { return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) })(r, n)
		}
		return refMap(func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) })(r, n)
	},
	"Add": refZip(func(a, b float64) float64 { return a + b }), "Sub": refZip(func(a, b float64) float64 { return a - b }),
	"Mul": refZip(func(a, b float64) float64 { return a * b }), "Div": refZip(func(a, b float64) float64 { return a / b }),
	"Pow": refZip(math.Pow), "Equal": refZip(func(a, b float64) float64 {
		if a == b {
			return 1
		}
		return 0
	}),
	"Sum": func(r *ref, n *model.Node) []*array {
		s := r.in(n, 0)
		for i := 1; i < len(n.Inputs); i++ {
			s = zip(s, r.in(n, i), func(a, b float64) float64 { return a + b })
		}
		return []*array{s}
	},
	"Where": refWhere, "Clip": refClip, "MatMul": refMatMul, "Gemm": refGemm, "Gather": refGather,
	"Softmax": refSoftmax, "LogSoftmax": refSoftmax, "LayerNormalization": refLayerNorm,
	"ReduceSum": refReduce, "ReduceMean": refReduce, "ReduceMax": refReduce, "Transpose": refTranspose,
	"Reshape": refReshape, "Squeeze": refReshape, "Unsqueeze": refReshape, "Flatten": refReshape,
	"Concat": refConcat, "Slice": refSlice, "Split": refSplit, "Expand": refExpand, "LSTM": refLSTM, "GRU": refGRU,
	"CrossEntropy": refLoss, "BinaryCrossEntropy": refLoss, "KLDivergence": refLoss,
}

func sigmoid64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func refFirst(r *ref, n *model.Node) []*array { return []*array{r.in(n, 0)} }

func refMap(f func(float64) float64) refOp {
	return func(r *ref, n *model.Node) []*array {
		a := r.in(n, 0)
		y := newArray(a.shape...)
		for i, v := range a.x {
			y.x[i] = f(v)
		}
		return []*array{y}
	}
}

func refZip(f func(a, b float64) float64) refOp {
	return func(r *ref, n *model.Node) []*array { return []*array{zip(r.in(n, 0), r.in(n, 1), f)} }
}

// index returns the multi-index of element i.
func index(i int, shape []int) []int {
	ix := make([]int, len(shape))
	for k := len(shape) - 1; k >= 0; k-- {
		ix[k] = i % shape[k]
		i /= shape[k]
	}
	return ix
}

// at reads a with broadcasting: trailing indices, sizes of 1 repeat.
func (a *array) at(ix ...int) float64 { return a.x[a.offset(ix)] }

func (a *array) offset(ix []int) int {
	ix = ix[len(ix)-len(a.shape):]
	o := 0
	for k, d := range a.shape {
		i := ix[k]
		if d == 1 {
			i = 0
		}
		o = o*d + i
	}
	return o
}

func broadcast(shapes ...[]int) []int {
	var out []int
	for _, s := range shapes {
		for len(out) < len(s) {
			out = append([]int{1}, out...)
		}
		for i := range s {
			k := len(out) - len(s) + i
			out[k] = max(out[k], s[i])
		}
	}
	return out
}

func zip(a, b *array, f func(a, b float64) float64) *array {
	y := newArray(broadcast(a.shape, b.shape)...)
	for i := range y.x {
		ix := index(i, y.shape)
		y.x[i] = f(a.at(ix...), b.at(ix...))
	}
	return y
}

func refWhere(r *ref, n *model.Node) []*array {
	c, a, b := r.in(n, 0), r.in(n, 1), r.in(n, 2)
	y := newArray(broadcast(c.shape, a.shape, b.shape)...)
	for i := range y.x {
		ix := index(i, y.shape)
		if y.x[i] = b.at(ix...); c.at(ix...) != 0 {
			y.x[i] = a.at(ix...)
		}
	}
	return []*array{y}
}

func refClip(r *ref, n *model.Node) []*array {
	lo, hi := math.Inf(-1), math.Inf(1)
	if a := r.in(n, 1); a != nil {
		lo = a.x[0]
	}
	if a := r.in(n, 2); a != nil {
		hi = a.x[0]
	}
	return refMap(func(x float64) float64 { return math.Min(math.Max(x, lo), hi) })(r, n)
}

func refMatMul(r *ref, n *model.Node) []*array {
	a, b := r.in(n, 0), r.in(n, 1)
	as, bs := a.shape, b.shape
	if len(as) == 1 {
		as = []int{1, as[0]}
	}
	if len(bs) == 1 {
		bs = []int{bs[0], 1}
	}
	a2, b2 := &array{as, a.x}, &array{bs, b.x}
	batch := broadcast(as[:len(as)-2], bs[:len(bs)-2])
	m, k, w := as[len(as)-2], as[len(as)-1], bs[len(bs)-1]
	y := newArray(append(append([]int{}, batch...), m, w)...)
	for i := range y.x {
		ix := index(i, y.shape)
		lead := ix[:len(ix)-2]
		for q := range k {
			y.x[i] += a2.at(append(append([]int{}, lead...), ix[len(ix)-2], q)...) * b2.at(append(append([]int{}, lead...), q, ix[len(ix)-1])...)
		}
	}
	shape := batch
	if len(a.shape) > 1 {
		shape = append(append([]int{}, shape...), m)
	}
	if len(b.shape) > 1 {
		shape = append(append([]int{}, shape...), w)
	}
	return []*array{{shape, y.x}}
}

func transpose2(a *array) *array {
	y := newArray(a.shape[1], a.shape[0])
	for i := range y.x {
		ix := index(i, y.shape)
		y.x[i] = a.at(ix[1], ix[0])
	}
	return y
}

func refGemm(r *ref, n *model.Node) []*array {
	a, b, c := r.in(n, 0), r.in(n, 1), r.in(n, 2)
	if n.Int("transA", 0) != 0 {
		a = transpose2(a)
	}
	if n.Int("transB", 0) != 0 {
		b = transpose2(b)
	}
	y := newArray(a.shape[0], b.shape[1])
	for i := range y.x {
		ix := index(i, y.shape)
		for q := range a.shape[1] {
			y.x[i] += float64(n.Float("alpha", 1)) * a.at(ix[0], q) * b.at(q, ix[1])
		}
		if c != nil {
			y.x[i] += float64(n.Float("beta", 1)) * c.at(ix...)
		}
	}
	return []*array{y}
}

func refAxis(a int64, rank int) int { return (int(a) + rank) % rank }

func refGather(r *ref, n *model.Node) []*array {
	d, ind := r.in(n, 0), r.in(n, 1)
	ax := refAxis(n.Int("axis", 0), len(d.shape))
	shape := append(append(append([]int{}, d.shape[:ax]...), ind.shape...), d.shape[ax+1:]...)
	y := newArray(shape...)
	for i := range y.x {
		ix := index(i, shape)
		j := int(ind.x[(&array{shape: ind.shape}).offset(ix[ax:ax+len(ind.shape)])])
		if j < 0 {
			j += d.shape[ax]
		}
		src := append(append(append([]int{}, ix[:ax]...), j), ix[ax+len(ind.shape):]...)
		y.x[i] = d.at(src...)
	}
	return []*array{y}
}

func refSoftmax(r *ref, n *model.Node) []*array {
	a := r.in(n, 0)
	def := int64(-1)
	if r.opset < 13 {
		def = 1
	}
	ax := refAxis(n.Int("axis", def), len(a.shape))
	same := func(i, j []int) bool { // whether two elements are normalised together
		for k := range i {
			if i[k] != j[k] && (k < ax || r.opset >= 13 && k > ax) {
				return false
			}
		}
		return true
	}
	y := newArray(a.shape...)
	for i := range y.x {
		sum := 0.0
		for j := range y.x {
			if same(index(i, a.shape), index(j, a.shape)) {
				sum += math.Exp(a.x[j])
			}
		}
		if y.x[i] = math.Exp(a.x[i]) / sum; n.Op == "LogSoftmax" {
			y.x[i] = a.x[i] - math.Log(sum)
		}
	}
	return []*array{y}
}

func refLayerNorm(r *ref, n *model.Node) []*array {
	a, scale, bias := r.in(n, 0), r.in(n, 1), r.in(n, 2)
	w := product(a.shape[refAxis(n.Int("axis", -1), len(a.shape)):])
	y := newArray(a.shape...)
	for o := 0; o < len(a.x); o += w {
		mean, v := 0.0, 0.0
		for _, x := range a.x[o : o+w] {
			mean += x / float64(w)
		}
		for _, x := range a.x[o : o+w] {
			v += (x - mean) * (x - mean) / float64(w)
		}
		for i, x := range a.x[o : o+w] {
			y.x[o+i] = (x - mean) / math.Sqrt(v+float64(n.Float("epsilon", 1e-5))) * scale.x[i]
			if bias != nil {
				y.x[o+i] += bias.x[i]
			}
		}
	}
	return []*array{y}
}

func (r *ref) axes(n *model.Node, rank int) map[int]bool {
	out := map[int]bool{}
	for _, a := range n.Ints("axes") {
		out[refAxis(a, rank)] = true
	}
	if t := r.in(n, 1); t != nil {
		for _, a := range t.x {
			out[refAxis(int64(a), rank)] = true
		}
	}
	return out
}

func refReduce(r *ref, n *model.Node) []*array {
	a := r.in(n, 0)
	axes := r.axes(n, len(a.shape))
	if len(axes) == 0 && n.Int("noop_with_empty_axes", 0) != 0 {
		return []*array{a}
	}
	kept, full := []int{}, []int{}
	for k, d := range a.shape {
		switch {
		case len(axes) > 0 && !axes[k]:
			kept, full = append(kept, d), append(full, d)
		default:
			full = append(full, 1)
			if n.Int("keepdims", 1) != 0 {
				kept = append(kept, 1)
			}
		}
	}
	y := newArray(full...)
	seen := make([]bool, len(y.x))
	for i, v := range a.x {
		o := y.offset(index(i, a.shape))
		if n.Op != "ReduceMax" {
			y.x[o] += v
		} else if !seen[o] || v > y.x[o] {
			y.x[o] = v
		}
		seen[o] = true
	}
	if n.Op == "ReduceMean" {
		for i := range y.x {
			y.x[i] *= float64(len(y.x)) / float64(len(a.x))
		}
	}
	return []*array{{kept, y.x}}
}

func refLoss(r *ref, n *model.Node) []*array {
	x, t := r.in(n, 0), r.in(n, 1)
	y := newArray()
	rows := x.shape[0]
	logsoftmax := func(a *array, i int, temp float64) []float64 {
		c := a.shape[1]
		sum, out := 0.0, make([]float64, c)
		for _, v := range a.x[i*c : (i+1)*c] {
			sum += math.Exp(v / temp)
		}
		for j := range out {
			out[j] = a.x[i*c+j]/temp - math.Log(sum)
		}
		return out
	}
	temp := float64(n.Float("temperature", 1))
	for i := range rows {
		switch n.Op {
		case "CrossEntropy":
			y.x[0] -= logsoftmax(x, i, 1)[int(t.x[i])] / float64(rows)
		case "KLDivergence":
			ls, lt := logsoftmax(x, i, temp), logsoftmax(t, i, temp)
			for j := range ls {
				y.x[0] += temp * temp * math.Exp(lt[j]) * (lt[j] - ls[j]) / float64(rows)
			}
		default:
			p := sigmoid64(x.x[i])
			y.x[0] -= (t.x[i]*math.Log(p) + (1-t.x[i])*math.Log(1-p)) / float64(rows)
		}
	}
	return []*array{y}
}

func (a *array) String() string { return fmt.Sprint(a.shape, a.x) }
