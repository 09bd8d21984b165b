package model

import (
	"context"
	"errors"
	"fmt"
)

// ErrUnsupported is wrapped by errors about operators, types or versions that this program does not handle.
var ErrUnsupported = errors.New("not supported")

// Graph is a directed acyclic graph of Nodes joined by value names, in topological order. The top
// graph of a model carries its Model; the graphs of If, Loop and Scan bodies do not, and may read values
// of the graphs around them.
type Graph struct {
	Name    string
	Doc     string
	Nodes   []*Node
	Inputs  []*Value
	Outputs []*Value
	Values  []*Value // value_info: declared types of inner values
	Meta    []KV     // metadata_props of the graph
	Model   *Info    // nil in a subgraph
	Sparse  []SparseTensor
	Extra   []byte // unknown protobuf fields, kept verbatim

	names   []string // initializers in file order
	tensors map[string]*Tensor
	extras  map[string]TensorExtra
}

// TensorExtra is what a file says of a tensor besides its values; it survives a rewrite.
type TensorExtra struct {
	Name  string // of a tensor in an attribute; that of an initializer is its key
	Doc   string
	Meta  []KV
	Extra []byte // unknown protobuf fields, kept verbatim
}

// IsZero reports whether the file says nothing.
func (x TensorExtra) IsZero() bool {
	return x.Name == "" && x.Doc == "" && len(x.Meta) == 0 && len(x.Extra) == 0
}

// SparseTensor is an initializer in sparse form, kept verbatim: it has a name and no Tensor.
type SparseTensor struct {
	Name string
	Raw  []byte // its SparseTensorProto
}

// Info is what a model file says beside its graph.
type Info struct {
	IRVersion       int64
	Opsets          []Opset
	Producer        string
	ProducerVersion string
	Domain          string
	Version         int64
	Doc             string
	Meta            []KV // metadata_props
	Functions       []*Function
	Extra           []byte // unknown protobuf fields, kept verbatim
}

// Opset is one import of an operator set; the default domain is "".
type Opset struct {
	Domain  string
	Version int64
}

// Function is a model-local operator defined by nodes.
type Function struct {
	Name, Domain, Overload string
	Inputs, Outputs        []string
	Attrs                  []string // names of attributes without default
	Defaults               []Attr
	Nodes                  []*Node
	Opsets                 []Opset
	Doc                    string
	Values                 []*Value
	Meta                   []KV
	Extra                  []byte // unknown protobuf fields, kept verbatim
}

// Node is one application of an operator. An empty input or output name is an omitted optional one.
type Node struct {
	Name     string
	Op       string
	Domain   string // "" (also written "ai.onnx") is the default domain
	Overload string
	Inputs   []string
	Outputs  []string
	Attrs    []Attr
	Doc      string
	Meta     []KV
	Extra    []byte // unknown protobuf fields, kept verbatim
}

// AttrKind is the type of an attribute, numbered as in ONNX AttributeProto.AttributeType.
type AttrKind uint8

// Attribute kinds.
const (
	AttrNone      AttrKind = 0
	AttrFloat     AttrKind = 1
	AttrInt       AttrKind = 2
	AttrString    AttrKind = 3
	AttrTensor    AttrKind = 4
	AttrGraph     AttrKind = 5
	AttrFloats    AttrKind = 6
	AttrInts      AttrKind = 7
	AttrStrings   AttrKind = 8
	AttrTensors   AttrKind = 9
	AttrGraphs    AttrKind = 10
	AttrSparse    AttrKind = 11
	AttrSparses   AttrKind = 12
	AttrTypeProto AttrKind = 13
	AttrTypes     AttrKind = 14
)

// Attr is a named attribute of a Node; Kind says which field holds it. Sparse and type-proto kinds keep
// their protobuf bytes in Raw, which also holds unknown fields.
type Attr struct {
	Name    string
	Kind    AttrKind
	Ref     string // name of the function's attribute that supplies the value
	Doc     string
	F       float32
	I       int64
	S       []byte
	T       *Tensor
	G       *Graph
	Floats  []float32
	Ints    []int64
	Strings [][]byte
	Tensors []*Tensor
	Graphs  []*Graph
	Raw     []byte        // protobuf records (tag and value) of the fields not listed above
	TExtra  []TensorExtra // of T, or of each of Tensors; nil when the file says nothing of them
}

// IntAttr returns an integer attribute.
func IntAttr(name string, v int64) Attr { return Attr{Name: name, Kind: AttrInt, I: v} }

// FloatAttr returns a float attribute.
func FloatAttr(name string, v float32) Attr { return Attr{Name: name, Kind: AttrFloat, F: v} }

// StringAttr returns a string attribute.
func StringAttr(name, v string) Attr { return Attr{Name: name, Kind: AttrString, S: []byte(v)} }

// IntsAttr returns an attribute of several integers.
func IntsAttr(name string, v ...int64) Attr { return Attr{Name: name, Kind: AttrInts, Ints: v} }

// TensorAttr returns a tensor attribute.
func TensorAttr(name string, t *Tensor) Attr { return Attr{Name: name, Kind: AttrTensor, T: t} }

// Attr returns the attribute called name, or nil.
func (n *Node) Attr(name string) *Attr {
	for i := range n.Attrs {
		if n.Attrs[i].Name == name {
			return &n.Attrs[i]
		}
	}
	return nil
}

// Int returns the integer attribute called name, or def when there is none.
func (n *Node) Int(name string, def int64) int64 {
	if a := n.Attr(name); a != nil && a.Kind == AttrInt {
		return a.I
	}
	return def
}

// Float returns the float attribute called name, or def when there is none.
func (n *Node) Float(name string, def float32) float32 {
	if a := n.Attr(name); a != nil && a.Kind == AttrFloat {
		return a.F
	}
	return def
}

// Str returns the string attribute called name, or def when there is none.
func (n *Node) Str(name, def string) string {
	if a := n.Attr(name); a != nil && a.Kind == AttrString {
		return string(a.S)
	}
	return def
}

// Ints returns the integers of the attribute called name, or nil when there is none.
func (n *Node) Ints(name string) []int64 {
	if a := n.Attr(name); a != nil && a.Kind == AttrInts {
		return a.Ints
	}
	return nil
}

// SetAttr adds a, or puts it in the place of the attribute of the same name. The slice is copied first,
// since clones share it.
func (n *Node) SetAttr(a Attr) {
	attrs := append([]Attr(nil), n.Attrs...)
	n.Attrs = attrs
	for i := range attrs {
		if attrs[i].Name == a.Name {
			attrs[i] = a
			return
		}
	}
	n.Attrs = append(attrs, a)
}

// In returns the name of input i, or "" when it is omitted.
func (n *Node) In(i int) string {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return ""
}

// Out returns the name of output i, or "" when it is omitted.
func (n *Node) Out(i int) string {
	if i < len(n.Outputs) {
		return n.Outputs[i]
	}
	return ""
}

// Is reports whether the node is operator op of the default domain.
func (n *Node) Is(op string) bool { return n.Op == op && (n.Domain == "" || n.Domain == "ai.onnx") }

// String names the node for messages: `node "conv1" (Conv)`, with the domain where it is not the default
// and the first output where the node has no name.
func (n *Node) String() string {
	op := n.Op
	if n.Domain != "" && n.Domain != "ai.onnx" {
		op = n.Domain + "." + n.Op
	}
	if n.Name == "" {
		return fmt.Sprintf("node of output %q (%s)", n.Out(0), op)
	}
	return fmt.Sprintf("node %q (%s)", n.Name, op)
}

// Subgraphs returns the graphs among the node's attributes.
func (n *Node) Subgraphs() []*Graph {
	var out []*Graph
	for i := range n.Attrs {
		if n.Attrs[i].G != nil {
			out = append(out, n.Attrs[i].G)
		}
		out = append(out, n.Attrs[i].Graphs...)
	}
	return out
}

// Initializer returns the tensor called name of this graph, or nil.
func (g *Graph) Initializer(name string) *Tensor { return g.tensors[name] }

// Initializers returns the names of the initializers in their order; it must not be changed.
func (g *Graph) Initializers() []string { return g.names }

// SetInitializer adds the tensor, or puts it in the place of the one of that name.
func (g *Graph) SetInitializer(name string, t *Tensor) {
	if g.tensors == nil {
		g.tensors = map[string]*Tensor{}
	}
	if _, ok := g.tensors[name]; !ok {
		g.names = append(g.names, name)
	}
	g.tensors[name] = t
}

// RemoveInitializer removes the tensor called name, if any.
func (g *Graph) RemoveInitializer(name string) {
	if _, ok := g.tensors[name]; !ok {
		return
	}
	delete(g.tensors, name)
	delete(g.extras, name)
	kept := make([]string, 0, len(g.names)-1)
	for _, n := range g.names {
		if n != name {
			kept = append(kept, n)
		}
	}
	g.names = kept
}

// KeepInitializers removes the initializers for whose names keep returns false.
func (g *Graph) KeepInitializers(keep func(name string) bool) {
	kept := make([]string, 0, len(g.names))
	for _, n := range g.names {
		if keep(n) {
			kept = append(kept, n)
			continue
		}
		delete(g.tensors, n)
		delete(g.extras, n)
	}
	g.names = kept
}

// InitializerExtra returns what the file says of the initializer besides its values.
func (g *Graph) InitializerExtra(name string) TensorExtra { return g.extras[name] }

// SetInitializerExtra records what a file says of the initializer besides its values.
func (g *Graph) SetInitializerExtra(name string, x TensorExtra) {
	if g.extras == nil {
		g.extras = map[string]TensorExtra{}
	}
	g.extras[name] = x
}

// Opset returns the version of the operator set of domain that the model imports, or 0.
func (g *Graph) Opset(domain string) int64 {
	if g.Model == nil {
		return 0
	}
	for _, o := range g.Model.Opsets {
		if o.Domain == domain || domain == "" && o.Domain == "ai.onnx" {
			return o.Version
		}
	}
	return 0
}

// SetOpset sets the imported version of domain, adding the import where it is missing.
func (g *Graph) SetOpset(domain string, version int64) {
	for i, o := range g.Model.Opsets {
		if o.Domain == domain || domain == "" && o.Domain == "ai.onnx" {
			g.Model.Opsets[i].Version = version
			return
		}
	}
	g.Model.Opsets = append(g.Model.Opsets, Opset{domain, version})
}

// Pass is one named rewrite of a graph in place.
type Pass interface {
	Name() string
	Apply(ctx context.Context, g *Graph) error
}

// Clone returns a copy whose nodes, inputs, outputs and tables may be changed without touching g;
// tensors are shared, since they are immutable. Subgraphs are cloned too.
func (g *Graph) Clone() *Graph {
	if g == nil {
		return nil
	}
	c := *g
	c.Nodes = cloneNodes(g.Nodes)
	c.Inputs = cloneValues(g.Inputs)
	c.Outputs = cloneValues(g.Outputs)
	c.Values = cloneValues(g.Values)
	c.Meta = append([]KV(nil), g.Meta...)
	c.Sparse = append([]SparseTensor(nil), g.Sparse...)
	c.names = append([]string(nil), g.names...)
	c.tensors = make(map[string]*Tensor, len(g.tensors))
	for k, v := range g.tensors {
		c.tensors[k] = v
	}
	c.extras = make(map[string]TensorExtra, len(g.extras))
	for k, v := range g.extras {
		c.extras[k] = v
	}
	if g.Model != nil {
		m := *g.Model
		m.Opsets = append([]Opset(nil), m.Opsets...)
		m.Meta = append([]KV(nil), m.Meta...)
		m.Functions = make([]*Function, len(g.Model.Functions))
		for i, f := range g.Model.Functions {
			cf := *f
			cf.Nodes = cloneNodes(f.Nodes)
			m.Functions[i] = &cf
		}
		c.Model = &m
	}
	return &c
}

func cloneValues(vs []*Value) []*Value {
	out := make([]*Value, len(vs))
	for i, v := range vs {
		c := *v
		c.Type.Shape = append(Shape(nil), v.Type.Shape...)
		if v.Type.Shape == nil {
			c.Type.Shape = nil
		} else if len(v.Type.Shape) == 0 {
			c.Type.Shape = Shape{}
		}
		out[i] = &c
	}
	return out
}

func cloneNodes(ns []*Node) []*Node {
	out := make([]*Node, len(ns))
	for i, n := range ns {
		c := *n
		c.Inputs = append([]string(nil), n.Inputs...)
		c.Outputs = append([]string(nil), n.Outputs...)
		c.Attrs = append([]Attr(nil), n.Attrs...)
		for j := range c.Attrs {
			c.Attrs[j].G = c.Attrs[j].G.Clone()
			if c.Attrs[j].Graphs != nil {
				gs := make([]*Graph, len(c.Attrs[j].Graphs))
				for k, sub := range c.Attrs[j].Graphs {
					gs[k] = sub.Clone()
				}
				c.Attrs[j].Graphs = gs
			}
		}
		out[i] = &c
	}
	return out
}
