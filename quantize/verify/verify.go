// Package verify checks a written quantized model against the rules of its format: types and shapes of scales and zero
// points, axes, blocks, packing, operator set and IR versions, the patterns that runtimes fuse, and, beside the original,
// what the stored integers stand for.
package verify

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// Rule names an invariant.
type Rule string

// Rules. Each finding belongs to one.
const (
	RuleGraph     Rule = "graph"           // names, order, imported domains (model.Validate), types and shapes (model.InferShapes)
	RuleOpset     Rule = "opset"           // the operator or its form is younger than the imported operator set
	RuleIR        Rule = "ir-version"      // an element type is younger than the IR version
	RuleType      Rule = "type"            // an operand has an element type that the operator does not take
	RuleZeroType  Rule = "zero-point-type" // the zero point's type is not that of the quantized values
	RuleZeroShape Rule = "zero-point-shape"
	RuleZeroValue Rule = "zero-point-value" // of int32 biases, of symmetric weights
	RuleScale     Rule = "scale"            // not finite, not positive, or a subnormal
	RuleShape     Rule = "scale-shape"      // scales are not as many as channels or blocks
	RuleAxis      Rule = "axis"
	RuleBlock     Rule = "block"    // block size, attributes K and N, or packed shape
	RulePadding   Rule = "padding"  // bits behind the last value of a packed tensor are not zero
	RuleBias      Rule = "bias"     // scale of a bias is not that of input times weight
	RulePair      Rule = "pair"     // QuantizeLinear and the DequantizeLinear behind it differ
	RulePattern   Rule = "pattern"  // a runtime cannot fuse what stands there
	RuleRange     Rule = "range"    // the stored integers do not use the range that their scale was made for
	RuleOverflow  Rule = "overflow" // a half-size weight is infinite or no number
	RuleError     Rule = "error"    // restored weights are too far from the original's
	RuleChanged   Rule = "changed"  // a float weight is not that of the original
	RuleOrigin    Rule = "origin"   // the model was not made from the original
	RulePlan      Rule = "plan"     // an initializer is not the one that was written, as the file's own metadata says
)

// Finding is an invariant that does not hold.
type Finding struct {
	Rule  Rule   `json:"rule"`
	Node  string `json:"node,omitempty"`  // operator and name
	Value string `json:"value,omitempty"` // the weight or value
	What  string `json:"what"`            // what is there, and what should be
}

// String gives the rule, the thing and what is wrong with it.
func (f Finding) String() string {
	s := string(f.Rule) + ": "
	if f.Node != "" {
		s += f.Node + ": "
	}
	if f.Value != "" {
		s += fmt.Sprintf("%q: ", f.Value)
	}
	return s + f.What
}

// maxFindings bounds the list: a broken exporter breaks every weight in the same way.
const maxFindings = 200

// Graph checks a whole model and returns what does not hold, at most 200 findings; none means that every invariant
// holds. Weights in bodies of If, Loop and Scan are checked like others. g is not changed.
func Graph(g *model.Graph) []Finding {
	c := &checker{root: g, opset: g.Opset(""), once: map[string]bool{}}
	if err := model.Validate(g); err != nil {
		c.add(RuleGraph, nil, "", "%v", err)
		return c.found
	}
	if err := model.CheckOperators(g); err != nil {
		c.add(RuleGraph, nil, "", "%v", err)
	}
	typed := g.Clone()
	if err := model.InferShapes(typed); err != nil {
		c.add(RuleGraph, nil, "", "%v", err)
		typed = g
	}
	c.graph(typed, nil)
	c.versions(g)
	c.plan(g)
	return c.found
}

// plan compares the initializers with the digests that the file was written with, where it has them.
func (c *checker) plan(g *model.Graph) {
	want, err := quantize.ReadPlan(g)
	if err != nil {
		c.add(RulePlan, nil, "", "%v", err)
	}
	if want == nil {
		return
	}
	have, err := quantize.PlanOf(g)
	if err != nil {
		c.add(RuleGraph, nil, "", "%v", err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		switch d, ok := have[name]; {
		case !ok:
			c.add(RulePlan, nil, name, "was written, and is not in the file")
		case d != want[name] && name == "":
			c.add(RulePlan, nil, "", "one of the initializers of a few elements is not what was written: CRC-32C %s, want %s", d, want[name])
		case d != want[name]:
			c.add(RulePlan, nil, name, "the bytes are not those that were written: CRC-32C %s, want %s", d, want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[name]; !ok {
			c.add(RulePlan, nil, name, "is in the file, and was not written with it")
		}
	}
}

type checker struct {
	root  *model.Graph
	opset int64
	found []Finding
	once  map[string]bool
}

func (c *checker) add(r Rule, n *model.Node, value, format string, args ...any) {
	f := Finding{Rule: r, Value: value, What: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Node = n.Op
		if n.Name != "" {
			f.Node += " " + n.Name
		}
	}
	if key := f.String(); len(c.found) < maxFindings && !c.once[key] {
		c.once[key] = true
		c.found = append(c.found, f)
	}
}

// scope is what is known of the values of a graph.
type scope struct {
	g       *model.Graph
	outer   *scope
	consts  map[string]*model.Tensor
	made    map[string]*model.Node
	readers map[string][]*model.Node
	types   map[string]model.Type
	outputs map[string]bool
}

func newScope(g *model.Graph, outer *scope) *scope {
	s := &scope{g: g, outer: outer, consts: map[string]*model.Tensor{}, made: map[string]*model.Node{},
		readers: map[string][]*model.Node{}, types: map[string]model.Type{}, outputs: map[string]bool{}}
	for _, list := range [][]*model.Value{g.Values, g.Inputs, g.Outputs} {
		for _, v := range list {
			s.types[v.Name] = v.Type
		}
	}
	for _, o := range g.Outputs {
		s.outputs[o.Name] = true
	}
	for _, name := range g.Initializers() {
		s.consts[name] = g.Initializer(name)
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			s.made[o] = n
		}
		for _, in := range n.Inputs {
			s.readers[in] = append(s.readers[in], n)
		}
		if t := model.ConstantValue(n); t != nil {
			s.consts[n.Out(0)] = t
		}
	}
	for _, n := range g.Nodes {
		if n.Is("Identity") {
			if t := s.constant(n.In(0)); t != nil {
				s.consts[n.Out(0)] = t
			}
		}
	}
	return s
}

// constant returns the tensor that the value always is, or nil.
func (s *scope) constant(name string) *model.Tensor {
	for ; s != nil && name != ""; s = s.outer {
		if t := s.consts[name]; t != nil {
			return t
		}
		if s.made[name] != nil || slices.ContainsFunc(s.g.Inputs, func(v *model.Value) bool { return v.Name == name }) {
			return nil
		}
	}
	return nil
}

// maker returns the node that makes the value, through outer graphs, or nil.
func (s *scope) maker(name string) *model.Node {
	for ; s != nil && name != ""; s = s.outer {
		if n := s.made[name]; n != nil {
			return n
		}
	}
	return nil
}

// dtype returns the element type of a value, Invalid where it is not known.
func (s *scope) dtype(name string) model.DType {
	if t := s.constant(name); t != nil {
		return t.DType()
	}
	for ; s != nil; s = s.outer {
		if t, ok := s.types[name]; ok {
			return t.DType
		}
	}
	return model.Invalid
}

// shape returns the sizes of a value, -1 where one is not known; ok is false where the rank is not.
func (s *scope) shape(name string) (sizes []int, ok bool) {
	if t := s.constant(name); t != nil {
		return t.Shape(), true
	}
	for ; s != nil; s = s.outer {
		if t, found := s.types[name]; found {
			if t.Shape == nil {
				return nil, false
			}
			for _, d := range t.Shape {
				sizes = append(sizes, int(max(d.Size, -1)))
			}
			return sizes, true
		}
	}
	return nil, false
}

func (c *checker) graph(g *model.Graph, outer *scope) {
	s := newScope(g, outer)
	for _, n := range g.Nodes {
		if f := checks[n.Op]; f != nil && (n.Domain == "" || n.Domain == "ai.onnx" || n.Domain == microsoft) {
			f(c, s, n)
		}
		for _, sub := range n.Subgraphs() {
			c.graph(sub, s)
		}
	}
	for name, t := range s.consts {
		c.packed(name, t)
	}
}

const microsoft = "com.microsoft"

// checks are the rules of the operators.
var checks = map[string]func(*checker, *scope, *model.Node){
	"QuantizeLinear":           (*checker).quantizeLinear,
	"DequantizeLinear":         (*checker).dequantizeLinear,
	"DynamicQuantizeLinear":    (*checker).dynamicQuantizeLinear,
	"MatMulInteger":            (*checker).matMulInteger,
	"ConvInteger":              (*checker).convInteger,
	"DynamicQuantizeLSTM":      (*checker).dynamicLSTM,
	"QLinearMatMul":            (*checker).qlinearMatMul,
	"QGemm":                    (*checker).qgemm,
	"QLinearConv":              (*checker).qlinearConv,
	"QLinearAdd":               (*checker).qlinearBinary,
	"QLinearMul":               (*checker).qlinearBinary,
	"QLinearConcat":            (*checker).qlinearConcat,
	"QLinearSigmoid":           (*checker).qlinearUnary,
	"QLinearLeakyRelu":         (*checker).qlinearUnary,
	"QLinearSoftmax":           (*checker).qlinearUnary,
	"QLinearAveragePool":       (*checker).qlinearUnary,
	"QLinearGlobalAveragePool": (*checker).qlinearUnary,
	"MatMulIntegerToFloat":     (*checker).matMulIntegerToFloat,
	"DynamicQuantizeMatMul":    (*checker).dynamicMatMul,
	"MatMulNBits":              (*checker).matMulNBits,
	"GatherBlockQuantized":     (*checker).gatherBlock,
	"Cast":                     (*checker).halfWeight,
	"Conv":                     (*checker).biasOf,
	"ConvTranspose":            (*checker).biasOf,
	"Gemm":                     (*checker).biasOf,
}

// versions checks the imported operator sets and the IR version against the element types in use.
func (c *checker) versions(g *model.Graph) {
	if c.opset > 27 {
		c.walk(g, func(n *model.Node) {
			if n.Is("QuantizeLinear") || n.Is("DequantizeLinear") {
				c.add(RuleOpset, n, "", "operator set %d: ONNX Runtime has these up to 27", c.opset)
			}
		})
	}
	need := map[model.DType]int64{model.Float8E4M3FN: 9, model.Float8E4M3FNUZ: 9, model.Float8E5M2: 9, model.Float8E5M2FNUZ: 9,
		model.Uint4: 10, model.Int4: 10, model.Float4E2M1: 11, model.Float8E8M0: 12, model.Uint2: 13, model.Int2: 13}
	for _, w := range g.Weights() {
		if ir := need[w.Tensor.DType()]; g.Model.IRVersion < ir {
			c.add(RuleIR, nil, w.Name, "%s needs IR version %d, the model has %d", w.Tensor.DType(), ir, g.Model.IRVersion)
		}
	}
}

func (c *checker) walk(g *model.Graph, visit func(*model.Node)) {
	for _, n := range g.Nodes {
		visit(n)
		for _, sub := range n.Subgraphs() {
			c.walk(sub, visit)
		}
	}
}

// packed checks that nothing stands behind the last value of a packed tensor (ONNX TensorProto: padded with zeros).
func (c *checker) packed(name string, t *model.Tensor) {
	bits := t.DType().Bits()
	if bits == 0 || bits >= 8 || t.Len()*bits%8 == 0 {
		return
	}
	raw, err := t.Bytes()
	if err != nil {
		c.add(RuleGraph, nil, name, "%v", err)
		return
	}
	if last := raw[len(raw)-1] >> (t.Len() * bits % 8); last != 0 {
		c.add(RulePadding, nil, name, "the last byte of %d values of %d bits is %#x: what is behind the last value is not zero", t.Len(), bits, raw[len(raw)-1])
	}
}
