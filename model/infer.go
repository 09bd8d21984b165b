package model

import (
	"fmt"
	"strconv"
	"strings"
)

// maxValue is the number of elements up to which integer tensors are followed by value.
const maxValue = 256

// InferShapes works out the type and shape of every value of the graph and of its bodies from the graph's inputs,
// weights and operators, and puts them in Values and Outputs. Declarations are not trusted: what follows from the
// operators replaces them. Where nothing follows, since an operator is not known, the declaration stays, if there
// is one. Sizes that depend on the inputs keep the symbolic names of the inputs' dimensions where they are
// passed on unchanged, and are unknown otherwise.
//
// Small integer tensors are followed by value through Shape, Gather, Concat, Slice, arithmetic and the like, so that
// the targets of Reshape, Expand and Slice resolve.
//
// It fails when a node reads a value that a later node makes: sort the graph first.
func InferShapes(g *Graph) error {
	inf := &inferer{opset: g.Opset("")}
	if inf.opset == 0 {
		inf.opset = 1
	}
	return inf.graph(g, &inferScope{facts: map[string]fact{}})
}

// fact is what is known of a value.
type fact struct {
	typ Type
	val []sym   // elements of a small integer or bool tensor of rank 0 or 1; nil when not known
	t   *Tensor // the value of a constant
}

// sym is an integer known by value, or by the name of a dimension, or not at all.
type sym struct {
	v    int64
	ok   bool // v is known
	name string
}

func known(v int64) sym { return sym{v: v, ok: true} }

func (s sym) dim() Dim {
	if s.ok {
		if s.v < 0 {
			return Dim{Size: -1}
		}
		return Dim{Size: s.v}
	}
	return Dim{Size: -1, Param: s.name}
}

func symOf(d Dim) sym {
	if d.Known() {
		return known(d.Size)
	}
	return sym{name: d.Param}
}

// hidden starts the names of dimensions that the file does not name; they are removed in the end.
const hidden = "\x00"

type inferScope struct {
	outer *inferScope
	facts map[string]fact
}

func (s *inferScope) find(name string) fact {
	for ; s != nil; s = s.outer {
		if f, ok := s.facts[name]; ok {
			return f
		}
	}
	return fact{}
}

type inferer struct {
	opset int64
	count int
	loops int // depth of Loop bodies
}

// fresh returns an unknown dimension that equals no other.
func (inf *inferer) fresh() Dim {
	inf.count++
	return Dim{Size: -1, Param: hidden + strconv.Itoa(inf.count)}
}

// named gives every unknown dimension of s a name: its own, unless that means nothing.
func (inf *inferer) named(s Shape) Shape {
	if s == nil {
		return nil
	}
	out := make(Shape, len(s))
	for i, d := range s {
		d.Denotation = ""
		if !d.Known() && (d.Param == "" || d.Param == "?" || d.Param == "None") {
			d = inf.fresh()
		}
		out[i] = d
	}
	return out
}

func shown(t Type) Type {
	if t.Shape == nil {
		return t
	}
	s := make(Shape, len(t.Shape))
	for i, d := range t.Shape {
		if strings.HasPrefix(d.Param, hidden) {
			d.Param = ""
		}
		s[i] = d
	}
	t.Shape = s
	return t
}

// constant returns the fact of a constant tensor.
func constant(t *Tensor) fact {
	f := fact{typ: Type{DType: t.DType(), Shape: FixedShape(t.Shape()...)}, t: t}
	if t.Rank() <= 1 && t.Len() <= maxValue {
		f.val = intsOf(t)
	}
	return f
}

func intsOf(t *Tensor) []sym {
	out := make([]sym, 0, t.Len())
	switch t.DType() {
	case Int64:
		x, err := Data[int64](t)
		if err != nil {
			return nil
		}
		for _, v := range x {
			out = append(out, known(v))
		}
	case Int32:
		x, err := Data[int32](t)
		if err != nil {
			return nil
		}
		for _, v := range x {
			out = append(out, known(int64(v)))
		}
	case Bool:
		x, err := t.Bytes()
		if err != nil {
			return nil
		}
		for _, v := range x {
			out = append(out, known(int64(v)))
		}
	default:
		return nil
	}
	return out
}

// graph infers g in scope sc, which holds nothing of g yet but may hold facts of its inputs.
func (inf *inferer) graph(g *Graph, sc *inferScope) error {
	for _, in := range g.Inputs {
		if _, ok := sc.facts[in.Name]; !ok {
			t := in.Type
			t.Shape = inf.named(t.Shape)
			sc.facts[in.Name] = fact{typ: t}
		}
	}
	for _, name := range g.names {
		sc.facts[name] = constant(g.tensors[name])
	}
	later := map[string]*Node{}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o != "" {
				later[o] = n
			}
		}
	}
	declared := map[string]*Value{}
	for _, list := range [][]*Value{g.Values, g.Outputs} {
		for _, v := range list {
			declared[v.Name] = v
		}
	}
	for _, n := range g.Nodes {
		for _, name := range n.Inputs {
			if m := later[name]; m != nil && name != "" {
				return fmt.Errorf("model: %s reads value %q before %s makes it", n, name, m)
			}
		}
		out, err := inf.node(n, sc)
		if err != nil {
			return err
		}
		for i, o := range n.Outputs {
			if o == "" {
				continue
			}
			delete(later, o)
			f := out[i]
			if v := declared[o]; v != nil && f.typ.Shape == nil && f.typ.Raw == nil {
				d := v.Type
				if f.typ.DType != Invalid {
					d.DType, d.Raw = f.typ.DType, nil
				}
				d.Shape = inf.named(d.Shape)
				f.typ = d
			}
			sc.facts[o] = f
		}
	}
	inf.record(g, sc)
	return nil
}

// record writes the facts into Values and Outputs.
func (inf *inferer) record(g *Graph, sc *inferScope) {
	outputs := map[string]bool{}
	for _, v := range g.Outputs {
		outputs[v.Name] = true
		f := sc.find(v.Name)
		if f.typ.DType == Invalid && f.typ.Shape == nil && f.typ.Raw == nil {
			continue
		}
		t := shown(f.typ)
		t.Denotation = v.Type.Denotation
		if len(t.Shape) == len(v.Type.Shape) { // an unknown size keeps the name that it is declared with
			for i, d := range v.Type.Shape {
				if t.Shape[i].Denotation = d.Denotation; !t.Shape[i].Known() && t.Shape[i].Param == "" {
					t.Shape[i].Param = d.Param
				}
			}
		}
		v.Type = t
	}
	old := map[string]*Value{}
	for _, v := range g.Values {
		old[v.Name] = v
	}
	var values []*Value
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o == "" || outputs[o] {
				continue
			}
			v := old[o]
			if v == nil {
				v = &Value{Name: o}
			}
			delete(old, o)
			v.Type = shown(sc.facts[o].typ)
			if v.Type.DType != Invalid || v.Type.Shape != nil || v.Type.Raw != nil {
				values = append(values, v)
			}
		}
	}
	for _, v := range g.Values { // of initializers and of values that no node makes
		if old[v.Name] != nil && !outputs[v.Name] {
			if t := g.tensors[v.Name]; t != nil {
				v.Type.DType, v.Type.Shape = t.DType(), FixedShape(t.Shape()...)
			}
			values = append(values, v)
		}
	}
	g.Values = values
}

// inferCall is the inference of one node.
type inferCall struct {
	*inferer
	n   *Node
	sc  *inferScope
	in  []fact
	out []fact
	err error
}

func (inf *inferer) node(n *Node, sc *inferScope) ([]fact, error) {
	c := &inferCall{inferer: inf, n: n, sc: sc, out: make([]fact, len(n.Outputs)), in: make([]fact, len(n.Inputs))}
	for i, name := range n.Inputs {
		if name != "" {
			c.in[i] = sc.find(name)
		}
	}
	if rule := inferRule(n); rule != nil && len(n.Outputs) > 0 {
		rule(c)
	} else {
		for _, sub := range n.Subgraphs() { // an unknown operator's bodies are inferred for their own sake
			if err := inf.graph(sub, &inferScope{outer: sc, facts: map[string]fact{}}); err != nil {
				return nil, err
			}
		}
	}
	for i := range c.out { // a value that does not fit its shape, in a model that is wrong, is no value
		s, ok := c.out[i].typ.Shape.Fixed()
		if !ok || len(s) > 1 || len(s) == 1 && s[0] != len(c.out[i].val) || len(s) == 0 && len(c.out[i].val) != 1 {
			c.out[i].val = nil
		}
	}
	return c.out, c.err
}

// has reports whether input i is given.
func (c *inferCall) has(i int) bool { return c.n.In(i) != "" }

func (c *inferCall) fact(i int) fact {
	if i < len(c.in) {
		return c.in[i]
	}
	return fact{}
}

func (c *inferCall) shape(i int) Shape { return c.fact(i).typ.Shape }
func (c *inferCall) dtype(i int) DType { return c.fact(i).typ.DType }
func (c *inferCall) val(i int) []sym   { return c.fact(i).val }

// set gives output i its type.
func (c *inferCall) set(i int, dt DType, s Shape) {
	if i < len(c.out) && c.n.Out(i) != "" {
		c.out[i].typ = Type{DType: dt, Shape: s}
	}
}

// unknown returns a shape of rank n without known sizes.
func (c *inferCall) unknown(n int) Shape {
	s := make(Shape, n)
	for i := range s {
		s[i] = c.fresh()
	}
	return s
}

// ints returns the integers of attribute name, or else of input i when all are known; nil otherwise.
func (c *inferCall) ints(name string, i int) []int64 {
	if a := c.n.Attr(name); a != nil && a.Kind == AttrInts {
		return append([]int64{}, a.Ints...)
	}
	v := c.val(i)
	if v == nil {
		return nil
	}
	out := make([]int64, len(v))
	for j, s := range v {
		if !s.ok {
			return nil
		}
		out[j] = s.v
	}
	return out
}

// given reports whether attribute name or input i is there.
func (c *inferCall) given(name string, i int) bool { return c.n.Attr(name) != nil || c.has(i) }

// axis maps an axis that may be negative to 0..rank-1; -1 when it is out of range.
func axis(a int64, rank int) int {
	if a < 0 {
		a += int64(rank)
	}
	if a < 0 || a >= int64(rank) {
		return -1
	}
	return int(a)
}

// same reports whether two dimensions are certainly equal.
func same(a, b Dim) bool {
	if a.Known() || b.Known() {
		return a.Size == b.Size
	}
	return a.Param != "" && a.Param == b.Param
}
