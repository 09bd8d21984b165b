package engine

import (
	"slices"

	"github.com/wattshed/wattshed/model"
)

// passBatch names what finds plans whose batch may be cut into slices.
const passBatch = "batch"

// batch says that entry i along dimension 0 of every output depends on entries i of the inputs alone, whose dimension 0 is the same unknown
// size: the plan may then run on slices of the batch, one after the other or at the same time, for the same bits.
type batch struct {
	input string // whose dimension 0 is the batch
	works []batchWork
	least sliceLimits
}

// sliceLimits are what a slice has at least: rows in its products, on the average, and multiply-accumulates.
type sliceLimits struct{ rows, macs float64 }

// batchWork is a group of products with constant matrices: so many weights, each of which is multiplied times sizes numbers for every entry.
type batchWork struct {
	weights, times int
	sizes          []inputDim
}

// inputDim is a dimension of an input.
type inputDim struct {
	input string
	axis  int
}

// batchKind is what is known of a value when the batch is cut.
type batchKind uint8

const (
	batchOther  batchKind = iota // nothing
	batchShared                  // it is the same in every slice
	batchRows                    // dimension 0 is the batch, and entry i depends on entry i of the inputs alone
)

// batches looks at a plan's nodes in their order.
type batches struct {
	c      *compiler
	e      *editor
	shapes map[string][]dim
	vals   map[string][]dim
	size   dim              // the batch
	dims   map[int]inputDim // unknown sizes of the inputs
	free   map[int]bool     // unknown sizes that do not depend on the batch
	kinds  map[string]batchKind
	works  []batchWork
}

// batchOf returns how the batch of a graph may be cut, nil where that is not known to be right.
func (c *compiler) batchOf(g *model.Graph) *batch {
	shapes := c.shapeMaps[g]
	c.shapes = shapes
	if shapes == nil || len(g.Outputs) == 0 || c.opts.Watch != nil || c.opts.skips(passBatch) {
		return nil
	}
	b := &batches{c: c, e: newEditor(c, g), shapes: shapes, vals: c.valMaps[g], dims: map[int]inputDim{}, free: map[int]bool{}, kinds: map[string]batchKind{}}
	for _, name := range g.Initializers() {
		b.kinds[name] = batchShared
	}
	r := &batch{least: sliceLimits{sliceRows, sliceMACs}}
	for _, v := range g.Inputs {
		if g.Initializer(v.Name) != nil {
			if b.e.constant(v.Name) == nil { // it may be fed or not
				return nil
			}
			continue
		}
		x := shapes[v.Name]
		if len(x) == 0 || x[0].s == 0 || r.input != "" && x[0] != b.size || v.Type.DType == model.String || v.Type.DType.Bits()%8 != 0 {
			return nil
		}
		if r.input == "" {
			r.input, b.size = v.Name, x[0]
		}
		b.kinds[v.Name] = batchRows
		for i, d := range x[1:] {
			if d == b.size {
				return nil
			}
			if d.s != 0 {
				b.dims[d.s], b.free[d.s] = inputDim{v.Name, i + 1}, true
			}
		}
	}
	if r.input == "" {
		return nil
	}
	for _, n := range g.Nodes {
		k := b.node(n)
		for _, o := range n.Outputs {
			b.set(o, k)
		}
	}
	for _, o := range g.Outputs {
		if b.kinds[o.Name] != batchRows {
			return nil
		}
	}
	r.works = b.works
	return r
}

// node returns what the outputs of a node are.
func (b *batches) node(n *model.Node) batchKind {
	def, err := b.c.lookup(n)
	if err != nil || def.random || b.c.custom(n) || len(n.Subgraphs()) > 0 {
		return batchOther
	}
	if b.all(n.Inputs, batchShared) || len(n.Outputs) == 1 && b.known(n.Out(0)) {
		return batchShared
	}
	for _, o := range n.Outputs {
		if o != "" && (len(b.shapes[o]) == 0 || b.shapes[o][0] != b.size) {
			return batchOther
		}
	}
	if b.rows(n) {
		return batchRows
	}
	return batchOther
}

// set notes the kind of a value. What an entry has, and what is the same for all, has sizes that do not depend on the batch.
func (b *batches) set(name string, k batchKind) {
	if k == batchOther || name == "" {
		return
	}
	b.kinds[name] = k
	for i, d := range b.shapes[name] {
		if d != b.size && (k == batchShared || i > 0) {
			b.free[d.s] = true
		}
	}
}

// all reports whether all inputs that are there are of a kind.
func (b *batches) all(names []string, k batchKind) bool {
	return !slices.ContainsFunc(names, func(s string) bool { return s != "" && b.kinds[s] != k })
}

// known reports whether a value is one of integers that are numbers, or sizes that do not depend on the batch.
func (b *batches) known(name string) bool {
	v, ok := b.vals[name]
	return ok && !slices.ContainsFunc(v, func(d dim) bool { return d.s != 0 && !b.free[d.s] })
}

// alike reports whether a value is one of rows, or is broadcast along them to a rank.
func (b *batches) alike(name string, rank int) bool {
	x, ok := b.shapes[name]
	switch {
	case name == "" || b.kinds[name] == batchRows && len(x) == rank:
		return true
	case b.kinds[name] != batchShared || !ok:
		return false
	}
	return len(x) < rank || len(x) == rank && x[0] == dim{c: 1}
}

// first reports whether input 0 is one of rows and the others are shared.
func (b *batches) first(n *model.Node) bool {
	return b.kinds[n.In(0)] == batchRows && b.all(n.Inputs[1:], batchShared)
}

// behind reports whether an axis of input 0 is known to lie behind the batch.
func (b *batches) behind(n *model.Node, ax int64) bool {
	if r := int64(len(b.shapes[n.In(0)])); ax < 0 {
		ax += r
	}
	return ax > 0
}

// rows reports whether the rows of the outputs of a node depend on those of its inputs alone. The operators are those of transformers.
func (b *batches) rows(n *model.Node) bool {
	rank := len(b.shapes[n.Out(0)])
	switch n.Domain {
	case "", "ai.onnx":
	case fusedDomain:
		switch n.Op {
		case "MatMul":
			return b.product(n)
		case "SiLU":
			return b.first(n)
		case "QuantGather":
			return b.kinds[n.In(1)] == batchRows && b.kinds[n.In(0)] == batchShared && b.all(n.Inputs[2:], batchShared)
		case "Attention":
			return b.all(n.Inputs[:3], batchRows) && b.alike(n.In(3), 4)
		}
		return false
	default:
		return false
	}
	switch n.Op {
	case "Add", "Sub", "Mul", "Div", "Pow", "Where", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Sum",
		"Cast", "Identity", "Relu", "Erf", "Sqrt", "Tanh", "Sigmoid", "Exp", "Log", "Neg", "Abs", "Reciprocal", "Gelu", "HardSwish", "Clip":
		return !slices.ContainsFunc(n.Inputs, func(s string) bool { return !b.alike(s, rank) })
	case "LayerNormalization", "RMSNormalization":
		return b.first(n) && len(n.Outputs) == 1 && b.behind(n, n.Int("axis", -1))
	case "Softmax", "LogSoftmax":
		if b.e.version(n) < 13 {
			return b.first(n) && b.behind(n, n.Int("axis", 1))
		}
		return b.first(n) && b.behind(n, n.Int("axis", -1))
	case "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin":
		return b.first(n) && b.e.lastAxis(n) && len(b.shapes[n.In(0)]) > 1
	case "MatMul":
		return b.product(n)
	case "Gemm":
		return n.Int("transA", 0) == 0 && b.alike(n.In(2), 2) && b.product(n)
	case "Gather":
		if n.Int("axis", 0) == 0 {
			return b.kinds[n.In(0)] == batchShared && b.kinds[n.In(1)] == batchRows
		}
		return b.first(n) && b.behind(n, n.Int("axis", 0))
	case "Reshape": // the batch stays where it is, so entries stay what they are
		return b.first(n)
	case "Transpose":
		p := attrInts(n, "perm")
		return b.first(n) && len(p) > 0 && p[0] == 0
	case "Unsqueeze", "Squeeze":
		list := attrInts(n, "axes")
		if b.e.version(n) >= 13 {
			list = nil
			for _, d := range b.vals[n.In(1)] {
				list = append(list, d.c)
			}
		}
		if n.Op == "Squeeze" {
			rank = len(b.shapes[n.In(0)])
		}
		return b.first(n) && len(list) > 0 && !slices.ContainsFunc(list, func(ax int) bool { return ax == 0 || ax == -rank })
	}
	return false
}

// product is rows of a matrix product; where the matrix is constant, it counts its work.
func (b *batches) product(n *model.Node) bool {
	x, y := b.shapes[n.In(0)], b.shapes[n.In(1)]
	if len(x) < 2 || len(y) < 2 || n.In(3) != "" && b.kinds[n.In(3)] != batchRows {
		return false
	}
	switch {
	case b.kinds[n.In(0)] == batchRows && b.kinds[n.In(1)] == batchRows:
		return len(x) == len(y) && len(x) > 2
	case b.kinds[n.In(0)] != batchRows || b.kinds[n.In(1)] != batchShared || len(y) > 2 && (len(y) > len(x) || len(y) == len(x) && y[0] != dim{c: 1}):
		return false
	}
	if w := b.e.constant(n.In(1)); w != nil && w.Rank() == 2 {
		b.count(w.Len(), x[1:len(x)-1])
	}
	return n.Op == "Gemm" || n.In(2) == "" || b.kinds[n.In(2)] == batchShared
}

// input returns the dimension of an input that a size is, or is likely to be.
func (b *batches) input(d dim) (in inputDim, ok bool) {
	for ; d.s != 0 && !ok; d = b.c.likely[d] {
		in, ok = b.dims[d.s]
	}
	return in, ok
}

// count adds a product of so many weights with a matrix of the given rows per entry; those whose number is not known before a run do not count.
func (b *batches) count(weights int, rows []dim) {
	w := batchWork{weights: weights, times: 1}
	for _, d := range rows {
		in, ok := b.input(d)
		switch {
		case d.s == 0:
			w.times *= d.c
		case !ok:
			return
		default:
			w.sizes = append(w.sizes, in)
		}
	}
	for i := range b.works {
		if o := &b.works[i]; o.times == w.times && slices.Equal(o.sizes, w.sizes) {
			o.weights += weights
			return
		}
	}
	b.works = append(b.works, w)
}
