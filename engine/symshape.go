package engine

import (
	"slices"

	"github.com/wattshed/wattshed/model"
)

// dim is a size in a symbolic shape: the number c when s is 0, else the unknown number s. Two dims that are equal are
// equal in every run.
type dim struct{ c, s int }

// trusted is a declaration of one dimension of an input that rewrites rely on: its size, or a symbolic name that it shares
// with others. A run whose inputs do not keep it uses the plan without rewrites.
type trusted struct {
	input string
	axis  int
	size  int // -1 for a name
	same  int // with a name: the place in the list of the first dimension of that name
}

// symbols infers shapes of the values of one graph, and the values of small integer tensors made from shapes.
type symbols struct {
	c      *compiler
	g      *model.Graph
	e      *editor
	next   int
	shapes map[string][]dim
	vals   map[string][]dim
	rank0  map[string]bool // names in vals that are scalars
	sums   map[[2]dim]dim  // by two sizes of which one is unknown, the unknown size that is their sum
	capped map[dim]dim     // by the smaller of an unknown size and a number above 1, the former
	likely map[dim]dim     // by an unknown size of two that are broadcast, the first of them, which it is unless that is 1

	windows map[windowKey]dim
}

// shapesPass infers symbolic shapes, replaces what is computed from known sizes by constants and makes the targets of
// Reshape constant where they are known to copy dimensions; the nodes that computed them are dead then.
func shapesPass(c *compiler, g *model.Graph) error {
	s := &symbols{c: c, g: g, e: c.edit(g), shapes: map[string][]dim{}, vals: map[string][]dim{}, rank0: map[string]bool{}, sums: map[[2]dim]dim{}, capped: map[dim]dim{}, likely: map[dim]dim{}}
	for _, name := range g.Initializers() {
		s.constant(name)
	}
	type param struct {
		d     dim
		at    int
		input string
	}
	params := map[string]param{}
	for _, v := range g.Inputs {
		if g.Initializer(v.Name) != nil && s.e.constant(v.Name) != nil {
			continue
		}
		delete(s.vals, v.Name)
		delete(s.shapes, v.Name)
		if v.Type.Shape == nil || len(c.outer) > 0 { // nobody checks what a body is given
			continue
		}
		shape := make([]dim, len(v.Type.Shape))
		for i, d := range v.Type.Shape {
			if d.Known() {
				shape[i] = dim{c: int(d.Size)}
				c.trusted = append(c.trusted, trusted{v.Name, i, int(d.Size), 0})
				continue
			}
			first, named := params[d.Param]
			if named && first.input == v.Name { // "?" and the like, given to every dimension
				shape[i] = s.unknown()
				continue
			}
			if named && d.Param != "" {
				shape[i] = first.d
				c.trusted = append(c.trusted, trusted{v.Name, i, -1, first.at})
				continue
			}
			shape[i] = s.unknown()
			if d.Param != "" {
				params[d.Param] = param{shape[i], len(c.trusted), v.Name}
				c.trusted = append(c.trusted, trusted{v.Name, i, -1, len(c.trusted)})
			}
		}
		s.shapes[v.Name] = shape
	}
	for _, n := range append([]*model.Node(nil), g.Nodes...) {
		s.node(n)
		s.reshape(n)
		s.fold(n)
	}
	if c.shapeMaps == nil {
		c.shapeMaps, c.valMaps = map[*model.Graph]map[string][]dim{}, map[*model.Graph]map[string][]dim{}
	}
	c.shapes, c.shapeMaps[g], c.valMaps[g] = s.shapes, s.shapes, s.vals
	if len(c.outer) == 0 {
		c.likely = s.likely
	}
	return s.e.finish()
}

// fold replaces a node whose integers are known, such as the sizes of inputs that declare them, by a constant.
func (s *symbols) fold(n *model.Node) {
	v, ok := s.vals[n.Out(0)]
	if !ok || len(n.Outputs) != 1 || s.e.pinned[n.Out(0)] || !s.int64s(n, 0) {
		return
	}
	out := make([]int64, len(v))
	for i, d := range v {
		if d.s != 0 {
			return
		}
		out[i] = int64(d.c)
	}
	t := model.FromSlice([]int{len(out)}, out)
	if s.rank0[n.Out(0)] {
		t = model.Scalar(out[0])
	}
	name := n.Out(0)
	s.e.remove(n)
	s.e.made[name] = false
	s.g.SetInitializer(name, t)
}

// int64s reports whether the integers that a node makes are of type int64, as far as that is known.
func (s *symbols) int64s(n *model.Node, depth int) bool {
	switch {
	case n == nil || depth > 16 || n.Is("Equal"):
		return false
	case n.Is("Shape"):
		return true
	case n.Is("Cast"):
		return model.DType(n.Int("to", 0)) == model.Int64
	}
	if name := n.In(0); s.e.maker[name] != nil {
		return s.int64s(s.e.maker[name], depth+1)
	} else if t := s.e.constant(name); t != nil {
		return t.DType() == model.Int64
	}
	return false
}

func (s *symbols) unknown() dim {
	s.next++
	return dim{s: s.next}
}

// unknowns returns a shape of which the rank is known alone.
func (s *symbols) unknowns(rank int) []dim {
	out := make([]dim, rank)
	for i := range out {
		out[i] = s.unknown()
	}
	return out
}

func (s *symbols) constant(name string) {
	t := s.g.Initializer(name)
	shape := make([]dim, t.Rank())
	for i, d := range t.Shape() {
		shape[i] = dim{c: d}
	}
	s.shapes[name] = shape
	if t.Rank() <= 1 && t.Len() <= maxVals && (t.DType() == model.Int64 || t.DType() == model.Int32) {
		if v, err := ints(t); err == nil {
			d := make([]dim, len(v))
			for i, x := range v {
				d[i] = dim{c: x}
			}
			s.vals[name], s.rank0[name] = d, t.Rank() == 0
		}
	}
}

// reshape replaces the computed target of a Reshape by a constant: 0 where the dimension is that of the input at the
// same place, a number where it is known, -1 for one other.
func (s *symbols) reshape(n *model.Node) {
	if !n.Is("Reshape") || s.e.version(n) < 5 || s.e.constant(n.In(1)) != nil {
		return
	}
	target, in := s.vals[n.In(1)], s.shapes[n.In(0)]
	if target == nil || in == nil || zeroed(n, target) {
		return
	}
	out, free := make([]int64, len(target)), 0
	for i, d := range target {
		switch {
		case d.s == 0 && d.c != 0:
			out[i] = int64(d.c)
			if d.c == -1 {
				free++
			}
		case d.s == 0:
			return
		case i < len(in) && in[i] == d:
			out[i] = 0
		default:
			out[i] = -1
			free++
		}
	}
	if free > 1 {
		return
	}
	n.Inputs = []string{n.In(0), s.e.addConstant(model.FromSlice([]int{len(out)}, out))}
	n.Attrs = slices.DeleteFunc(n.Attrs, func(a model.Attr) bool { return a.Name == "allowzero" })
	s.c.view = nil // it still has the reader of the computed target
}

// set notes the shape of output 0; one with a negative size, which a file may claim, is none.
func (s *symbols) set(n *model.Node, shape []dim) {
	if shape != nil && n.Out(0) != "" && !slices.ContainsFunc(shape, func(d dim) bool { return d.c < 0 }) {
		s.shapes[n.Out(0)] = shape
	}
}

// broadcast joins two shapes; a pair of different unknowns gives a new unknown. Where one is the smaller of the other and a number
// above 1, it must be the other.
func (s *symbols) broadcast(a, b []dim) []dim {
	if a == nil || b == nil {
		return nil
	}
	r := max(len(a), len(b))
	out := make([]dim, r)
	one := dim{c: 1}
	for i := range out {
		x, y := one, one
		if j := i - (r - len(a)); j >= 0 {
			x = a[j]
		}
		if j := i - (r - len(b)); j >= 0 {
			y = b[j]
		}
		switch {
		case x == y || y == one:
			out[i] = x
		case x == one:
			out[i] = y
		case x.s == 0 && x.c > 1:
			out[i] = x
		case y.s == 0 && y.c > 1, s.capped[x] == y && y.s != 0:
			out[i] = y
		case s.capped[y] == x && x.s != 0:
			out[i] = x
		default:
			out[i] = s.unknown()
			s.likely[out[i]] = x
		}
	}
	return out
}

// node infers the outputs of one node; an operator that it does not know has unknown ones.
func (s *symbols) node(n *model.Node) {
	in := func(i int) []dim { return s.shapes[n.In(i)] }
	if n.Domain == "com.microsoft" {
		s.microsoft(n, in(0), in(1))
	}
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return
	}
	switch n.Op {
	case "Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Equal", "Less", "Greater", "And", "Or", "LessOrEqual", "GreaterOrEqual":
		s.set(n, s.broadcast(in(0), in(1)))
		s.arithmetic(n)
	case "Sum", "Min", "Max":
		out := in(0)
		for i := 1; i < len(n.Inputs); i++ {
			out = s.broadcast(out, in(i))
		}
		s.set(n, out)
	case "Conv", "ConvInteger", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool":
		s.image(n)
	case "Where":
		s.set(n, s.broadcast(in(0), s.broadcast(in(1), in(2))))
		s.choose(n)
	case "Relu", "Erf", "Sqrt", "Tanh", "Sigmoid", "Exp", "Log", "Neg", "Abs", "Softmax", "LogSoftmax", "Identity", "Dropout",
		"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "IsNaN", "Sin", "Cos", "Floor", "Ceil", "Round", "Sign", "Gelu", "HardSwish", "HardSigmoid", "Clip", "LeakyRelu", "Reciprocal", "BatchNormalization",
		"DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear", "Not", "Elu", "Cast",
		"CumSum", "Trilu", "InstanceNormalization", "GroupNormalization", "Softplus":
		s.set(n, in(0))
		if n.Op == "DynamicQuantizeLinear" {
			s.shapes[n.Out(1)], s.shapes[n.Out(2)] = []dim{}, []dim{}
		}
		if n.Op == "Cast" || n.Op == "Identity" {
			if v, ok := s.vals[n.In(0)]; ok {
				if d := model.DType(n.Int("to", int64(model.Int64))); d == model.Int64 || d == model.Int32 {
					s.vals[n.Out(0)], s.rank0[n.Out(0)] = v, s.rank0[n.In(0)]
				}
			}
		}
	case "MatMul", "MatMulInteger":
		s.matmul(n, in(0), in(1))
	case "Gemm":
		s.gemm(n, in(0), in(1))
	case "Shape":
		s.sizes(n, in(0))
	case "ConstantOfShape":
		s.filled(n)
	case "GatherElements":
		s.set(n, in(1))
	case "Tile":
		s.tile(n, in(0))
	case "Range":
		s.set(n, []dim{s.unknown()})
	case "Flatten":
		s.flatten(n, in(0))
	case "GatherND":
		if x, idx := in(0), in(1); len(idx) > 0 && idx[len(idx)-1].s == 0 && n.Int("batch_dims", 0) == 0 && len(x) >= idx[len(idx)-1].c {
			s.set(n, append(slices.Clone(idx[:len(idx)-1]), x[idx[len(idx)-1].c:]...))
		}
	case "Expand":
		s.expand(n, in(0))
	case "Transpose":
		x, perm := in(0), attrInts(n, "perm")
		if x == nil || len(perm) != len(x) {
			return
		}
		out := make([]dim, len(x))
		for i, p := range perm {
			if p < 0 || p >= len(x) {
				return
			}
			out[i] = x[p]
		}
		s.set(n, out)
	case "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin":
		if x := in(0); x != nil && s.e.lastAxis(n) && len(x) > 0 {
			s.set(n, append(append([]dim{}, x[:len(x)-1]...), dim{c: 1}))
		}
	case "Reshape":
		s.reshaped(n, in(0))
	case "Gather":
		s.gather(n, in(0), in(1))
	case "Slice":
		s.slice(n, in(0))
	case "Concat":
		s.concat(n)
	case "Split":
		s.split(n, in(0))
	case "Unsqueeze", "Squeeze":
		s.squeeze(n)
	}
}

func (s *symbols) matmul(n *model.Node, a, b []dim) {
	if len(a) < 2 || len(b) < 2 {
		return
	}
	batch := s.broadcast(a[:len(a)-2], b[:len(b)-2])
	s.set(n, append(append([]dim{}, batch...), a[len(a)-2], b[len(b)-1]))
}

// reshaped resolves the target of a Reshape.
func (s *symbols) reshaped(n *model.Node, in []dim) {
	target := s.vals[n.In(1)]
	if t := s.shapes[n.In(1)]; target == nil && len(t) == 1 && t[0].s == 0 && t[0].c <= maxVals {
		s.set(n, s.unknowns(t[0].c))
	}
	if target == nil || zeroed(n, target) {
		return
	}
	if v, ok := s.vals[n.In(0)]; ok && len(target) <= 1 { // a list, or a number
		s.vals[n.Out(0)], s.rank0[n.Out(0)] = v, len(target) == 0
	}
	out := append([]dim{}, target...)
	for i, d := range out {
		switch {
		case d == dim{}:
			if i >= len(in) {
				return
			}
			out[i] = in[i]
		case d.s == 0 && d.c < 0:
			out[i] = s.rest(in, target, i)
		}
	}
	s.set(n, out)
}

// rest returns what -1 at place at stands for: what is left of the input when the other dimensions are taken away.
func (s *symbols) rest(in, target []dim, at int) dim {
	if in == nil {
		return s.unknown()
	}
	left := append([]dim{}, in...)
	num, den := 1, 1
	for i, d := range target {
		if i == at {
			continue
		}
		if d == (dim{}) {
			if i >= len(in) {
				return s.unknown()
			}
			d = in[i]
		}
		if d.s == 0 {
			den *= d.c
			continue
		}
		found := false
		for j, l := range left {
			if l == d {
				left[j], found = dim{c: 1}, true
				break
			}
		}
		if !found {
			return s.unknown()
		}
	}
	sym := dim{c: 1}
	for _, l := range left {
		switch {
		case l.s == 0:
			num *= l.c
		case sym == dim{c: 1}:
			sym = l
		default:
			return s.unknown()
		}
	}
	switch {
	case sym.s != 0 && num == den:
		return sym
	case sym.s == 0 && den > 0 && num%den == 0:
		return dim{c: num / den}
	}
	return s.unknown()
}
