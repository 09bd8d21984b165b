package quantize

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// HalfGraph makes g compute in dtype (Float16 or BFloat16), in place: weights are stored as dtype and read as such.
// Inputs and outputs of the model stay float32 behind Casts, and so do the values that cross the border of a body of
// If, Loop or Scan. Operators that have no form in dtype at the opset of the model, or whose result would leave its
// range or precision (sums, powers, comparisons), stay float32 between Casts; so does a node with a
// constant that dtype cannot hold, such as an epsilon of 1e-12 or a mask of -1e9, and what it computes is clipped to
// the range of float16 before it is cast.
//
// The notes hold one line per float32 weight, and one line per operator kept in float32 with the number of
// its nodes and the reason. It fails with ErrNothing when less than MinShare of the weight bytes would change; g is
// then unchanged. bf16 needs opset 13. ONNX Runtime's CPU provider runs fp16 graphs, mostly by casting to
// float32 around each node; it refuses bf16 graphs.
func HalfGraph(g *model.Graph, dtype model.DType) ([]model.Note, error) {
	return Half{DType: dtype}.Apply(context.Background(), g)
}

func halfGraph(g *model.Graph, h Half, beyond map[string]extent) ([]model.Note, error) {
	r, err := newHalfRewrite(g, h.DType)
	if err != nil {
		return nil, err
	}
	r.exclude, r.beyond = h.Exclude, beyond
	top := &halfScope{graph: g, values: map[string]residence{}}
	r.plan(top)
	notes, err := r.notes()
	if err != nil {
		return notes, err
	}
	if err := r.weightsToHalf(); err != nil {
		return nil, err
	}
	r.rewrite(top)
	modernize(g)
	return notes, nil
}

// residence is where a float32 value of the original graph lives after the rewrite.
type residence struct {
	half bool // made as dtype
	kept bool // float32 since the node that makes it is kept there
	wide bool // may hold values beyond the range of dtype
}

// halfScope is a graph in the rewriting, with what is known of its values.
type halfScope struct {
	outer  *halfScope
	graph  *model.Graph
	values map[string]residence
	bodies map[*model.Graph]*halfScope
	// renamed holds the outputs of the graph that are made in half precision with the name they are made under.
	renamed map[string]string
}

// made returns the name under which the value called name is made.
func (s *halfScope) made(name string) string {
	for ; s != nil; s = s.outer {
		if m, ok := s.renamed[name]; ok {
			return m
		}
		if _, ok := s.values[name]; ok {
			break
		}
	}
	return name
}

func (s *halfScope) find(name string) residence {
	for ; s != nil; s = s.outer {
		if v, ok := s.values[name]; ok {
			return v
		}
	}
	return residence{}
}

// halfWeight is a float32 weight and how it is read.
type halfWeight struct {
	*model.Weight
	why         string // dtype cannot hold it: why
	halfUse     bool
	floatOps    []string // operators that read it as float32
	floatOutput bool     // it is an output of a graph
	half        string   // the name of its half precision copy
}

type halfRewrite struct {
	dtype   model.DType
	opset   int64
	types   map[*model.Graph]map[string]model.DType
	names   *namer
	weights []*halfWeight
	byName  map[*model.Graph]map[string]*halfWeight
	kept    []*keptOp // nodes kept in float32, by operator and reason, in order of appearance
	halves  map[*model.Node]bool
	others  []model.Note // of weights of other types
	lo, hi  string       // initializers that values are clipped to
	exclude []string
	beyond  map[string]extent // values that calibration saw beyond the range of dtype
}

type keptOp struct {
	op, why string
	nodes   int
}

func newHalfRewrite(g *model.Graph, dtype model.DType) (*halfRewrite, error) {
	r := &halfRewrite{dtype: dtype, opset: g.Opset(""), names: newNamer(g), halves: map[*model.Node]bool{},
		byName: map[*model.Graph]map[string]*halfWeight{}}
	var err error
	if r.types, err = valueTypes(g); err != nil {
		return nil, err
	}
	for _, w := range g.Weights() {
		if w.Tensor.DType() != model.Float32 {
			r.others = append(r.others, otherNotes(w)...)
			continue
		}
		x, err := w.Tensor.Float32()
		if err != nil {
			return nil, fmt.Errorf("quantize: weight %q: %w", w.Name, err)
		}
		hw := &halfWeight{Weight: w, why: unfit(x, dtype)}
		for _, o := range w.Graph.Outputs {
			hw.floatOutput = hw.floatOutput || o.Name == w.Value
		}
		r.weights = append(r.weights, hw)
		if r.byName[w.Graph] == nil {
			r.byName[w.Graph] = map[string]*halfWeight{}
		}
		r.byName[w.Graph][w.Value] = hw
	}
	return r, nil
}

// valueTypes returns the element types of all values by graph; those that cannot be worked out are missing.
func valueTypes(g *model.Graph) (map[*model.Graph]map[string]model.DType, error) {
	c := g.Clone()
	if err := model.InferShapes(c); err != nil {
		return nil, fmt.Errorf("quantize: %w", err)
	}
	all := map[*model.Graph]map[string]model.DType{}
	var walk func(g, inferred *model.Graph)
	walk = func(g, inferred *model.Graph) {
		types := map[string]model.DType{}
		for _, vs := range [][]*model.Value{inferred.Values, inferred.Inputs, inferred.Outputs} {
			for _, v := range vs {
				if v.Type.DType != model.Invalid {
					types[v.Name] = v.Type.DType
				}
			}
		}
		for _, name := range g.Initializers() {
			types[name] = g.Initializer(name).DType()
		}
		for i, n := range g.Nodes {
			if t := model.ConstantValue(n); t != nil {
				types[n.Out(0)] = t.DType()
			}
			other := inferred.Nodes[i].Subgraphs()
			for j, sub := range n.Subgraphs() {
				walk(sub, other[j])
			}
		}
		all[g] = types
	}
	walk(g, c)
	return all, nil
}

// typeOf returns the element type of a value as the graph stands, Invalid when it is not known.
func (r *halfRewrite) typeOf(s *halfScope, name string) model.DType {
	for ; s != nil; s = s.outer {
		if t, ok := r.types[s.graph][name]; ok {
			return t
		}
	}
	return model.Invalid
}

// weightOf returns the float32 weight called name as s sees it, or nil.
func (r *halfRewrite) weightOf(s *halfScope, name string) *halfWeight {
	for ; s != nil; s = s.outer {
		if w := r.byName[s.graph][name]; w != nil {
			return w
		}
		if _, made := s.values[name]; made {
			return nil
		}
	}
	return nil
}

// notes returns the lines of the report, and ErrNothing when too little changes.
func (r *halfRewrite) notes() ([]model.Note, error) {
	notes := r.others
	for _, w := range r.weights {
		n := newNote(w.Weight)
		full := n.BytesBefore
		switch {
		case w.halfUse && (len(w.floatOps) > 0 || w.floatOutput):
			n.Action, n.BytesAfter = shortName(r.dtype), full+full/2
			n.Reason = "kept as float32 too, for " + orOutput(w.floatOps)
		case w.halfUse:
			n.Action, n.BytesAfter = shortName(r.dtype), full/2
		case w.why != "":
			n.Reason = w.why
		case len(w.floatOps) > 0 || w.floatOutput:
			n.Reason = "read by " + orOutput(w.floatOps) + ", computed in float32"
		default:
			n.Reason = "no node reads it"
		}
		notes = append(notes, n)
	}
	err := check(shortName(r.dtype)+" graph", notes)
	for _, k := range r.kept {
		notes = append(notes, model.Note{Weight: fmt.Sprintf("(%d nodes)", k.nodes), Ops: []string{k.op}, Action: model.Left,
			Reason: "computed in float32: " + k.why})
	}
	return notes, err
}

func orOutput(ops []string) string {
	if len(ops) == 0 {
		return "an output of the graph"
	}
	return joinWords(ops)
}

// weightsToHalf stores the weights that half precision nodes read: under the same name where no other reader is left.
func (r *halfRewrite) weightsToHalf() error {
	for _, w := range r.weights {
		if !w.halfUse {
			continue
		}
		x, err := w.Tensor.Float32()
		if err != nil {
			return fmt.Errorf("quantize: weight %q: %w", w.Name, err)
		}
		t, _, err := toHalf(r.dtype, w.Tensor.Shape(), x)
		if err != nil {
			return fmt.Errorf("quantize: weight %q: %w", w.Name, err)
		}
		if len(w.floatOps) == 0 && !w.floatOutput {
			w.half = w.Value
			w.Set(t)
			for _, v := range slices.Concat(w.Graph.Inputs, w.Graph.Values) {
				if v.Name == w.Value {
					v.Type.DType = r.dtype
				}
			}
			continue
		}
		w.half = r.names.name(w.Value + "_" + shortName(r.dtype))
		w.Graph.SetInitializer(w.half, t)
	}
	return nil
}
