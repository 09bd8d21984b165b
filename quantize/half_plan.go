package quantize

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// smallConstant is the number of elements up to which a constant counts as a parameter of its node, such as an
// epsilon, rather than as a weight: none of its elements may become 0.
const smallConstant = 16

// unfit returns why dtype cannot hold the values x, or "". Infinities and NaNs stay what they are.
func unfit(x []float32, dtype model.DType) string {
	if i := beyond(x, dtype); i >= 0 {
		return fmt.Sprintf("element %d is %g, beyond the range of %s", i, x[i], shortName(dtype))
	}
	if dtype != model.Float16 || len(x) > smallConstant {
		return ""
	}
	for _, v := range x {
		if v != 0 && math.Abs(float64(v)) <= 0x1p-25 {
			return fmt.Sprintf("the constant %g is 0 in fp16", v)
		}
	}
	return ""
}

// plan decides for every node of the scope and its bodies where it computes.
func (r *halfRewrite) plan(s *halfScope) {
	for _, in := range s.graph.Inputs {
		if s.graph.Initializer(in.Name) == nil {
			s.values[in.Name] = residence{}
		}
	}
	for _, n := range s.graph.Nodes {
		if model.ConstantValue(n) != nil {
			continue
		}
		for _, sub := range n.Subgraphs() {
			body := &halfScope{outer: s, graph: sub, values: map[string]residence{}}
			if s.bodies == nil {
				s.bodies = map[*model.Graph]*halfScope{}
			}
			s.bodies[sub] = body
			r.plan(body)
		}
		half, res, why := r.decide(s, n)
		r.halves[n] = half
		if why != "" {
			r.keep(n.Op, why)
		}
		r.use(s, n, half)
		for i, o := range n.Outputs {
			if o == "" {
				continue
			}
			v := residence{}
			if r.typeOf(s, o) == model.Float32 {
				v = res
				v.half = half && !floatOutput(n.Op, i)
			}
			s.values[o] = v
		}
	}
	for _, o := range s.graph.Outputs { // an outer weight as the output of a body
		if w := r.weightOf(s, o.Name); w != nil {
			w.floatOutput = true
		}
	}
}

// decide returns whether n computes in half precision, the residence of its outputs if not, and the reason where
// it is kept in float32 against the default.
func (r *halfRewrite) decide(s *halfScope, n *model.Node) (half bool, res residence, why string) {
	in := r.inputsOf(s, n)
	if in.floats == 0 {
		return false, residence{kept: true}, "" // no float32 goes in: a source, or no concern of ours
	}
	if anyFloat[n.Op] && n.Is(n.Op) {
		return false, residence{kept: true}, ""
	}
	res = residence{kept: true, wide: in.wide}
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return false, res, fmt.Sprintf("an operator of domain %s", n.Domain)
	}
	if why, ok := wideOps[n.Op]; ok {
		return false, res, why
	}
	if by := excludes(r.exclude, n); by != "" {
		return false, res, fmt.Sprintf(excludedBy+"%q", by)
	}
	if why := r.overflow(s, n); why != "" && !in.wide && in.unfit == "" {
		return false, res, why
	}
	need, move := moveOps[n.Op]
	if !move {
		var ok bool
		if need, ok = halfOps[n.Op]; !ok {
			return false, res, "not known to compute in " + shortName(r.dtype)
		}
	}
	switch {
	case need.missing(n.Op, r.dtype, r.opset) != "":
		return false, res, need.missing(n.Op, r.dtype, r.opset)
	case in.unknown != "":
		return false, res, fmt.Sprintf("the type of %q is not known", in.unknown)
	case in.unfit != "":
		res.wide = true
		return false, res, in.unfit
	case move && in.values > 0 && in.inFloat == in.values && !in.matrix:
		res.kept = in.kept > 0
		return false, res, ""
	case pointwise[n.Op] && in.values > 0 && in.kept == in.values && !in.matrix:
		return false, res, ""
	case n.Op == "Div" && r.keptValue(s, n.In(1)):
		return false, res, "its divisor is computed in float32"
	}
	return true, residence{}, ""
}

// halfInputs sums up the inputs of a node: of its float32 inputs, how many are values (not weights), how many
// of those live in float32, and how many because their maker is kept there.
type halfInputs struct {
	floats, values, inFloat, kept int
	wide                          bool
	matrix                        bool   // a weight of more than smallConstant elements is among them
	unfit                         string // why a weight cannot be stored in half precision
	unknown                       string // an input of unknown type
}

func (r *halfRewrite) inputsOf(s *halfScope, n *model.Node) halfInputs {
	var h halfInputs
	for i, name := range n.Inputs {
		if name == "" {
			continue
		}
		switch r.typeOf(s, name) {
		case model.Float32:
		case model.Invalid:
			h.unknown, h.floats = name, h.floats+1
			continue
		default:
			continue
		}
		if n.Is(n.Op) && floatInput(n.Op, i) {
			continue
		}
		h.floats++
		if w := r.weightOf(s, name); w != nil {
			if w.why != "" && h.unfit == "" {
				h.unfit = w.why
			}
			h.matrix = h.matrix || w.Tensor.Len() > smallConstant
			continue
		}
		v := s.find(name)
		h.values++
		h.wide = h.wide || v.wide
		if !v.half {
			h.inFloat++
			if v.kept {
				h.kept++
			}
		}
	}
	for i, o := range n.Outputs {
		if o != "" && !floatOutput(n.Op, i) && r.typeOf(s, o) == model.Invalid && h.unknown == "" {
			h.unknown = o
		}
	}
	return h
}

func (r *halfRewrite) keptValue(s *halfScope, name string) bool {
	return r.weightOf(s, name) == nil && s.find(name).kept && !s.find(name).half
}

// use notes how n reads weights.
func (r *halfRewrite) use(s *halfScope, n *model.Node, half bool) {
	for i, name := range n.Inputs {
		w := r.weightOf(s, name)
		if name == "" || w == nil {
			continue
		}
		if half && !floatInput(n.Op, i) {
			w.halfUse = true
		} else if !slices.Contains(w.floatOps, n.Op) {
			w.floatOps = append(w.floatOps, n.Op)
		}
	}
}

// keep counts a node that stays in float32.
func (r *halfRewrite) keep(op, why string) {
	for _, k := range r.kept {
		if k.op == op && k.why == why {
			k.nodes++
			return
		}
	}
	r.kept = append(r.kept, &keptOp{op, why, 1})
}

// joinWords returns "a", "a and b", "a, b and c".
func joinWords(w []string) string {
	if len(w) < 2 {
		return strings.Join(w, "")
	}
	return strings.Join(w[:len(w)-1], ", ") + " and " + w[len(w)-1]
}
