package quantize

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// write puts the plan into the graph: the quantized nodes of the graph and its bodies, then tables and recurrent weights.
func (p *staticPlan) write() error {
	byNode := make(map[*model.Node]*planned, len(p.nodes))
	for _, n := range p.nodes {
		byNode[n.Node] = n
	}
	var graphs []*model.Graph
	eachGraph(p.g, func(g *model.Graph) { graphs = append(graphs, g) })
	for _, g := range graphs {
		w := &staticWriter{p: p, g: g, done: map[string]string{}}
		for _, n := range slices.Clone(g.Nodes) {
			if pl := byNode[n]; pl.on {
				w.node(pl)
			} else {
				w.nodes = append(w.nodes, n)
			}
		}
		g.Nodes = w.nodes
	}
	dropUnread(p.g)
	if p.tables != nil {
		p.tables.rewrite(p.g)
	}
	modernize(p.g)
	return sortGraphs(p.g)
}

func sortGraphs(g *model.Graph) (err error) {
	eachGraph(g, func(g *model.Graph) {
		if e := g.TopoSort(); err == nil {
			err = e
		}
	})
	return err
}

// dropUnread removes initializers that nothing reads and declared types of values that are gone.
func dropUnread(g *model.Graph) {
	read := map[string]bool{}
	made := map[string]bool{}
	eachGraph(g, func(g *model.Graph) {
		for _, v := range g.Outputs {
			read[v.Name] = true
		}
		for _, n := range g.Nodes {
			for _, in := range n.Inputs {
				read[in] = true
			}
		}
	})
	eachGraph(g, func(g *model.Graph) {
		for _, name := range slices.Clone(g.Initializers()) {
			if !read[name] {
				g.RemoveInitializer(name)
				g.Inputs = slices.DeleteFunc(g.Inputs, func(v *model.Value) bool { return v.Name == name })
			}
		}
		maps.Copy(made, defined(g))
	})
	eachGraph(g, func(g *model.Graph) {
		g.Values = slices.DeleteFunc(g.Values, func(v *model.Value) bool { return !made[v.Name] })
	})
}

// staticWriter makes the node list of one graph.
type staticWriter struct {
	p     *staticPlan
	g     *model.Graph
	nodes []*model.Node
	done  map[string]string // names of what was made in this graph, by kind and name
}

// once returns the name that f made for a key, calling f the first time.
func (w *staticWriter) once(key string, f func() string) string {
	name, ok := w.done[key]
	if !ok {
		name = f()
		w.done[key] = name
	}
	return name
}

func (w *staticWriter) add(op, domain, name string, inputs []string, output string, attrs ...model.Attr) {
	for len(inputs) > 0 && inputs[len(inputs)-1] == "" {
		inputs = inputs[:len(inputs)-1]
	}
	w.nodes = append(w.nodes, &model.Node{Name: w.p.names.name(name), Op: op, Domain: domain, Inputs: inputs, Outputs: []string{output}, Attrs: attrs})
	if domain == microsoft {
		w.p.g.SetOpset(microsoft, max(1, w.p.g.Opset(microsoft)))
	}
}

// initializer adds a tensor to this graph.
func (w *staticWriter) initializer(name string, t *model.Tensor) string {
	name = w.p.names.name(name)
	w.g.SetInitializer(name, t)
	return name
}

// params returns the names of scale and zero point of an activation.
func (w *staticWriter) params(a *activation) (scale, zero string) {
	a = w.p.root(a)
	scale = w.once("scale "+a.name, func() string { return w.initializer(a.name+"_scale", model.Scalar(a.params.Scale)) })
	zero = w.once("zero "+a.name, func() string { return w.initializer(a.name+"_zero_point", w.zero(a.params)) })
	return scale, zero
}

func (w *staticWriter) zero(q Params) *model.Tensor {
	switch w.p.rules.dtype {
	case model.Int8:
		return model.Scalar(int8(q.ZeroPoint))
	case model.Int16:
		return model.Scalar(int16(q.ZeroPoint))
	case model.Uint16:
		return model.Scalar(uint16(q.ZeroPoint))
	}
	return model.Scalar(uint8(q.ZeroPoint))
}

// quantized returns the name of the 8-bit form of an activation that n reads; it is quantized here unless its maker is.
func (w *staticWriter) quantized(name string) string {
	a := w.p.acts[name]
	if a.born && w.p.home[name] == w.g {
		return w.eightBit(name)
	}
	return w.once("q "+name, func() string {
		scale, zero := w.params(a)
		q := w.eightBit(name)
		w.add("QuantizeLinear", "", name+"_QuantizeLinear", []string{name, scale, zero}, q)
		return q
	})
}

// eightBit returns the name of the quantized form of a value in this graph.
func (w *staticWriter) eightBit(name string) string {
	return w.once("name "+name, func() string { return w.p.names.name(name + "_quantized") })
}

// dequantized returns the name of the float form of an activation that n reads, behind its quantization.
func (w *staticWriter) dequantized(name string) string {
	a := w.p.acts[name]
	if a.born {
		return name // every reader sees the quantized values
	}
	return w.once("dq "+name, func() string {
		q := w.quantized(name)
		scale, zero := w.params(a)
		out := w.p.names.name(name + "_dequantized")
		w.add("DequantizeLinear", "", name+"_DequantizeLinear", []string{q, scale, zero}, out)
		return out
	})
}

// makes returns the name that a float node must give to output name, and adds what quantizes it.
func (w *staticWriter) makes(name string) string {
	a := w.p.acts[name]
	if a == nil || !a.born {
		return name
	}
	raw := w.p.names.name(name + "_float")
	q := w.eightBit(name)
	scale, zero := w.params(a)
	w.add("QuantizeLinear", "", name+"_QuantizeLinear", []string{raw, scale, zero}, q)
	w.add("DequantizeLinear", "", name+"_DequantizeLinear", []string{q, scale, zero}, name)
	return raw
}

// constant returns the names of the quantized form of a constant of an elementwise operator: values, scale, zero point.
func (w *staticWriter) constant(name string) ([3]string, error) {
	if q, ok := w.done["const "+name]; ok {
		return [3]string{q, w.done["const scale "+name], w.done["const zero "+name]}, nil
	}
	t := w.p.consts[name]
	x, err := t.Float32()
	if err != nil {
		return [3]string{}, err
	}
	lo, hi, _ := extremesOf(x)
	q, err := ChooseParams(lo, hi, w.p.rules.activations, w.p.rules.symmetric)
	if err != nil {
		return [3]string{}, err
	}
	grid, err := Scheme{DType: w.p.rules.dtype, Granularity: PerTensor}.NewGrid(t.Shape())
	if err != nil {
		return [3]string{}, err
	}
	grid.Params[0] = q
	values, err := grid.Quantize(x)
	if err != nil {
		return [3]string{}, err
	}
	w.done["const "+name] = w.initializer(name+"_quantized", values)
	w.done["const scale "+name] = w.initializer(name+"_scale", model.Scalar(q.Scale))
	w.done["const zero "+name] = w.initializer(name+"_zero_point", w.zero(q))
	return w.constant(name)
}

// weight returns the names of the quantized weight of an anchor in this graph: values, scale, zero point.
func (w *staticWriter) weight(sw *staticWeight) [3]string {
	return w.triple(fmt.Sprint("weight by axis ", sw.axis), sw.name, sw.tensors)
}

func (w *staticWriter) triple(kind, base string, make func() [3]*model.Tensor) (names [3]string) {
	key := kind + " " + base
	var t *[3]*model.Tensor
	for i, part := range []string{"_quantized", "_scale", "_zero_point"} {
		names[i] = w.once(key+part, func() string {
			if t == nil {
				all := make()
				t = &all
			}
			return w.initializer(base+part, t[i])
		})
	}
	return names
}
