package onnx

import (
	"fmt"
	"math"
	"strconv"

	"github.com/wattshed/wattshed/model"
	"google.golang.org/protobuf/encoding/protowire"
)

// message is an encoded protobuf message in pieces: bytes, and tensors whose bytes are fetched when the message is
// written out. Only the structure of a model takes memory.
type message struct {
	parts []part
	size  int64
}

type part struct {
	b []byte
	t *model.Tensor
}

// tail returns the piece to append bytes to.
func (m *message) tail() *[]byte {
	if n := len(m.parts); n == 0 || m.parts[n-1].t != nil {
		m.parts = append(m.parts, part{})
	}
	return &m.parts[len(m.parts)-1].b
}

func (m *message) records(b []byte) {
	if len(b) > 0 {
		p := m.tail()
		*p = append(*p, b...)
		m.size += int64(len(b))
	}
}

func (m *message) tag(num protowire.Number, typ protowire.Type) {
	p := m.tail()
	n := len(*p)
	*p = protowire.AppendTag(*p, num, typ)
	m.size += int64(len(*p) - n)
}

func (m *message) varint(v uint64) {
	p := m.tail()
	*p = protowire.AppendVarint(*p, v)
	m.size += int64(protowire.SizeVarint(v))
}

func (m *message) int(num protowire.Number, v int64) {
	m.tag(num, protowire.VarintType)
	m.varint(uint64(v))
}

func (m *message) bytes(num protowire.Number, b []byte) {
	m.tag(num, protowire.BytesType)
	m.varint(uint64(len(b)))
	m.records(b)
}

// str writes a string field; an empty one is left out.
func (m *message) str(num protowire.Number, s string) {
	if s != "" {
		m.bytes(num, []byte(s))
	}
}

func (m *message) strs(num protowire.Number, all []string) {
	for _, s := range all {
		m.bytes(num, []byte(s))
	}
}

func (m *message) ints(num protowire.Number, v []int64) {
	for _, x := range v {
		m.int(num, x)
	}
}

func (m *message) float(num protowire.Number, v float32) {
	m.tag(num, protowire.Fixed32Type)
	p := m.tail()
	*p = protowire.AppendFixed32(*p, math.Float32bits(v))
	m.size += 4
}

func (m *message) message(num protowire.Number, c *message) {
	m.tag(num, protowire.BytesType)
	m.varint(uint64(c.size))
	for _, p := range c.parts {
		if p.t == nil {
			m.records(p.b)
			continue
		}
		m.parts = append(m.parts, p)
		m.size += int64(p.t.ByteSize())
	}
}

func (m *message) meta(num protowire.Number, kvs []model.KV) {
	for _, kv := range kvs {
		var c message
		c.str(1, kv.Key)
		c.str(2, kv.Value)
		m.message(num, &c)
	}
}

// encoder turns a graph into a message, moving large initializers out where external is set.
type encoder struct {
	external *layout
	minIR    int64 // the IR version that the types in use need
	depth    int
}

func (e *encoder) needs(dt model.DType) {
	switch dt {
	case model.BFloat16:
		e.minIR = max(e.minIR, 4)
	case model.Float8E4M3FN, model.Float8E4M3FNUZ, model.Float8E5M2, model.Float8E5M2FNUZ:
		e.minIR = max(e.minIR, 9)
	case model.Uint4, model.Int4:
		e.minIR = max(e.minIR, 10)
	case model.Float4E2M1:
		e.minIR = max(e.minIR, 11)
	case model.Float8E8M0:
		e.minIR = max(e.minIR, 12)
	case model.Uint2, model.Int2:
		e.minIR = max(e.minIR, 13)
	}
}

func (e *encoder) model(g *model.Graph) (*message, error) {
	info := g.Model
	if info == nil {
		return nil, fmt.Errorf("graph %q carries no model: it is the body of a node", g.Name)
	}
	gm, err := e.graph(g)
	if err != nil {
		return nil, err
	}
	var fns []*message
	for _, f := range info.Functions {
		fm, err := e.function(f)
		if err != nil {
			return nil, fmt.Errorf("function %q: %w", f.Name, err)
		}
		fns = append(fns, fm)
	}
	ir := info.IRVersion
	if ir == 0 && len(info.Opsets) > 0 {
		ir = max(irOf(g.Opset("")), 8) // a graph made in memory; 8 is the IR version of opsets 15 to 18
	}
	var m message
	m.int(1, max(ir, e.minIR))
	m.str(2, info.Producer)
	m.str(3, info.ProducerVersion)
	m.str(4, info.Domain)
	if info.Version != 0 {
		m.int(5, info.Version)
	}
	m.str(6, info.Doc)
	m.message(7, gm)
	for _, o := range info.Opsets {
		m.message(8, opsetMessage(o))
	}
	m.meta(14, info.Meta)
	m.records(info.Extra)
	for _, fm := range fns {
		m.message(25, fm)
	}
	return &m, nil
}

// irOf returns the IR version that an operator set of the default domain came with; 0 below opset 19, where the
// versions say nothing that a reader needs. Source: the table of versions of the ONNX project.
func irOf(opset int64) int64 {
	switch {
	case opset < 19:
		return 0
	case opset < 21:
		return 9
	case opset < 23:
		return 10
	case opset == 23:
		return 11
	case opset == 24:
		return 12
	case opset < 28:
		return 13
	}
	return 14
}

func opsetMessage(o model.Opset) *message {
	var c message
	c.str(1, o.Domain)
	c.int(2, o.Version)
	return &c
}

func (e *encoder) function(f *model.Function) (*message, error) {
	var m message
	m.str(1, f.Name)
	m.strs(4, f.Inputs)
	m.strs(5, f.Outputs)
	m.strs(6, f.Attrs)
	for _, n := range f.Nodes {
		c, err := e.node(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		m.message(7, c)
	}
	m.str(8, f.Doc)
	for _, o := range f.Opsets {
		m.message(9, opsetMessage(o))
	}
	m.str(10, f.Domain)
	for i := range f.Defaults {
		c, err := e.attr(&f.Defaults[i])
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", f.Defaults[i].Name, err)
		}
		m.message(11, c)
	}
	for _, v := range f.Values {
		m.message(12, e.value(v))
	}
	m.str(13, f.Overload)
	m.meta(14, f.Meta)
	m.records(f.Extra)
	return &m, nil
}

func (e *encoder) graph(g *model.Graph) (*message, error) {
	if e.depth++; e.depth > maxDepth {
		return nil, fmt.Errorf("graphs are nested more than %d deep", maxDepth)
	}
	defer func() { e.depth-- }()
	var m message
	for _, n := range g.Nodes {
		c, err := e.node(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		m.message(1, c)
	}
	m.str(2, g.Name)
	for _, name := range g.Initializers() {
		x := g.InitializerExtra(name)
		x.Name = name
		c, err := e.tensor(g.Initializer(name), x, e.external)
		if err != nil {
			return nil, fmt.Errorf("initializer %q: %w", name, err)
		}
		m.message(5, c)
	}
	m.str(10, g.Doc)
	for i, list := range [][]*model.Value{g.Inputs, g.Outputs, g.Values} {
		for _, v := range list {
			m.message(protowire.Number(11+i), e.value(v))
		}
	}
	for _, sp := range g.Sparse {
		m.bytes(15, sp.Raw)
	}
	m.meta(16, g.Meta)
	m.records(g.Extra)
	return &m, nil
}

func (e *encoder) node(n *model.Node) (*message, error) {
	var m message
	m.strs(1, n.Inputs)
	m.strs(2, n.Outputs)
	m.str(3, n.Name)
	m.str(4, n.Op)
	for i := range n.Attrs {
		c, err := e.attr(&n.Attrs[i])
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", n.Attrs[i].Name, err)
		}
		m.message(5, c)
	}
	m.str(6, n.Doc)
	m.str(7, n.Domain)
	m.str(8, n.Overload)
	m.meta(9, n.Meta)
	m.records(n.Extra)
	return &m, nil
}

func (e *encoder) value(v *model.Value) *message {
	var m, t message
	m.str(1, v.Name)
	switch ty := v.Type; {
	case ty.Raw != nil:
		m.bytes(2, ty.Raw)
	case ty.DType != model.Invalid || ty.Shape != nil || ty.Denotation != "":
		e.needs(ty.DType)
		var tt message
		tt.int(1, int64(ty.DType))
		if ty.Shape != nil {
			tt.message(2, shapeMessage(ty.Shape))
		}
		t.message(1, &tt)
		t.str(6, ty.Denotation)
		m.message(2, &t)
	}
	m.str(3, v.Doc)
	m.meta(4, v.Meta)
	m.records(v.Extra)
	return &m
}

func shapeMessage(sh model.Shape) *message {
	var m message
	for _, d := range sh {
		var c message
		switch {
		case d.Size >= 0:
			c.int(1, d.Size)
		case d.Param != "":
			c.str(2, d.Param)
		}
		c.str(3, d.Denotation)
		m.message(1, &c)
	}
	return &m
}

// tensor encodes a TensorProto: strings in string_data, everything else in raw_data, or outside when ext
// takes it.
func (e *encoder) tensor(t *model.Tensor, x model.TensorExtra, ext *layout) (*message, error) {
	if t == nil {
		return nil, fmt.Errorf("there is no tensor")
	}
	e.needs(t.DType())
	var m message
	for _, d := range t.Shape() {
		m.int(1, int64(d))
	}
	m.int(2, int64(t.DType()))
	offset, outside := ext.place(t)
	if t.DType() == model.String {
		strs, err := t.Strings()
		if err != nil {
			return nil, err
		}
		m.strs(6, strs)
	}
	m.str(8, x.Name)
	switch {
	case outside:
		m.str(12, x.Doc)
		m.meta(13, []model.KV{
			{Key: "location", Value: ext.location},
			{Key: "offset", Value: strconv.FormatInt(offset, 10)},
			{Key: "length", Value: strconv.Itoa(t.ByteSize())},
		})
		m.int(14, 1)
	case t.DType() != model.String:
		m.tag(9, protowire.BytesType)
		m.varint(uint64(t.ByteSize()))
		m.parts = append(m.parts, part{t: t})
		m.size += int64(t.ByteSize())
		m.str(12, x.Doc)
	default:
		m.str(12, x.Doc)
	}
	m.meta(16, x.Meta)
	m.records(x.Extra)
	return &m, nil
}
