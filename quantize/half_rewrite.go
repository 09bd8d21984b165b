package quantize

import (
	"github.com/wattshed/wattshed/model"
)

// castKey names a Cast of a value.
type castKey struct {
	value string
	to    model.DType
}

// rewrite puts the plan into the nodes of the scope and its bodies.
func (r *halfRewrite) rewrite(s *halfScope) {
	g := s.graph
	casts := map[castKey]string{}
	nodes := make([]*model.Node, 0, len(g.Nodes))
	want := func(name string, to model.DType) string {
		k := castKey{name, to}
		if c, ok := casts[k]; ok {
			return c
		}
		from := name
		if to == r.dtype && r.dtype == model.Float16 && r.opset >= 11 && s.find(name).wide {
			lo, hi := r.limits(s)
			from = r.names.name(name + "_clipped")
			nodes = append(nodes, &model.Node{Name: r.names.name(name + "_clip"), Op: "Clip", Inputs: []string{name, lo, hi}, Outputs: []string{from}})
		}
		word := "float32"
		if to == r.dtype {
			word = shortName(to)
		}
		c := r.names.name(name + "_as_" + word)
		nodes = append(nodes, &model.Node{Name: r.names.name(name + "_to_" + word), Op: "Cast", Inputs: []string{from}, Outputs: []string{c},
			Attrs: []model.Attr{model.IntAttr("to", int64(to))}})
		casts[k] = c
		return c
	}
	s.renamed = map[string]string{}
	for _, o := range g.Outputs {
		if v, ok := s.values[o.Name]; ok && v.half && s.renamed[o.Name] == "" {
			s.renamed[o.Name] = r.names.name(o.Name + "_" + shortName(r.dtype))
			s.values[s.renamed[o.Name]] = v
		}
	}
	for _, n := range g.Nodes {
		if model.ConstantValue(n) != nil {
			nodes = append(nodes, n)
			continue
		}
		for _, sub := range n.Subgraphs() {
			r.rewrite(s.bodies[sub])
		}
		half := r.halves[n]
		for i, name := range n.Inputs {
			if name == "" || r.typeOf(s, name) != model.Float32 {
				continue
			}
			if w := r.weightOf(s, name); w != nil {
				if half && !floatInput(n.Op, i) {
					n.Inputs[i] = w.half
				}
				continue
			}
			inHalf := s.find(name).half
			name = s.made(name)
			n.Inputs[i] = name
			switch {
			case half && !floatInput(n.Op, i) && !inHalf:
				n.Inputs[i] = want(name, r.dtype)
			case (!half || floatInput(n.Op, i)) && inHalf && !(anyFloat[n.Op] && n.Is(n.Op)):
				n.Inputs[i] = want(name, model.Float32)
			}
		}
		for i, o := range n.Outputs {
			if made, ok := s.renamed[o]; ok {
				n.Outputs[i] = made
			}
		}
		nodes = append(nodes, n)
	}
	done := map[string]bool{}
	for _, o := range g.Outputs {
		if made, ok := s.renamed[o.Name]; ok && !done[o.Name] {
			done[o.Name] = true
			nodes = append(nodes, &model.Node{Name: r.names.name(o.Name + "_to_float32"), Op: "Cast", Inputs: []string{made},
				Outputs: []string{o.Name}, Attrs: toFloat32()})
		}
	}
	r.bodyOutputs(s, &nodes)
	g.Nodes = nodes
	for _, v := range g.Values {
		if _, isOutput := s.renamed[v.Name]; !isOutput && s.values[v.Name].half {
			v.Type.DType = r.dtype
		}
	}
}

// bodyOutputs casts outputs of a body that are values of the graphs around it, made in half precision there.
func (r *halfRewrite) bodyOutputs(s *halfScope, nodes *[]*model.Node) {
	for _, o := range s.graph.Outputs {
		if _, local := s.values[o.Name]; local || !s.find(o.Name).half {
			continue
		}
		from := s.made(o.Name)
		cast := r.names.name(o.Name + "_as_float32")
		*nodes = append(*nodes, &model.Node{Name: r.names.name(o.Name + "_to_float32"), Op: "Cast", Inputs: []string{from},
			Outputs: []string{cast}, Attrs: toFloat32()})
		o.Name = cast
	}
}

// limits returns the names of the scalars that values are clipped to before a Cast to float16.
func (r *halfRewrite) limits(s *halfScope) (lo, hi string) {
	if r.lo == "" {
		for s.outer != nil {
			s = s.outer
		}
		r.lo, r.hi = r.names.name("fp16_lowest"), r.names.name("fp16_highest")
		largest, _ := halfLimit(r.dtype)
		s.graph.SetInitializer(r.lo, model.Scalar(-largest))
		s.graph.SetInitializer(r.hi, model.Scalar(largest))
	}
	return r.lo, r.hi
}
