package engine

import "github.com/wattshed/wattshed/model"

// Symbolic shapes of operators that move elements by indices.

func (s *symbols) gather(n *model.Node, x, idx []dim) {
	if v, ok := s.vals[n.In(0)]; ok && n.Int("axis", 0) == 0 {
		if i, ok := s.vals[n.In(1)]; ok && len(i) == 1 && i[0].s == 0 {
			k := i[0].c
			if k < 0 {
				k += len(v)
			}
			if k >= 0 && k < len(v) {
				s.vals[n.Out(0)], s.rank0[n.Out(0)] = []dim{v[k]}, s.rank0[n.In(1)]
			}
		}
	}
	ax := int(n.Int("axis", 0))
	if x == nil || idx == nil || ax < 0 || ax >= len(x) {
		return
	}
	s.set(n, append(append(append([]dim{}, x[:ax]...), idx...), x[ax+1:]...))
}

// slice keeps the dimensions that are not cut; the others become unknown.
func (s *symbols) slice(n *model.Node, x []dim) {
	s.cut(n)
	if x == nil {
		return
	}
	list := attrInts(n, "axes")
	count := len(attrInts(n, "starts"))
	if s.e.version(n) >= 10 {
		list = nil
		st := s.shapes[n.In(1)]
		if len(st) != 1 || st[0].s != 0 {
			return
		}
		count = st[0].c
		if n.In(3) != "" {
			v, ok := s.vals[n.In(3)]
			if !ok {
				return
			}
			for _, d := range v {
				list = append(list, d.c)
			}
		}
	}
	if list == nil {
		for i := range count {
			list = append(list, i)
		}
	}
	mark, err := axes(list, len(x))
	if err != nil {
		return
	}
	out := append([]dim{}, x...)
	for i, m := range mark {
		if m {
			out[i] = s.kept(n, x[i], i, list, len(x))
		}
	}
	s.set(n, out)
}

func (s *symbols) concat(n *model.Node) {
	if x := s.shapes[n.In(0)]; len(x) > 1 {
		s.join(n, len(x))
		return
	}
	var v []dim
	for _, name := range n.Inputs {
		d, ok := s.vals[name]
		if !ok || s.rank0[name] {
			if len(s.shapes[n.In(0)]) == 1 {
				s.join(n, 1)
			}
			return
		}
		v = append(v, d...)
	}
	if s.set(n, []dim{{c: len(v)}}); len(v) <= maxVals {
		s.vals[n.Out(0)] = v
	}
}

// expand broadcasts to a target, of which the length may be known alone.
func (s *symbols) expand(n *model.Node, x []dim) {
	v, ok := s.vals[n.In(1)]
	if t := s.shapes[n.In(1)]; !ok && len(t) == 1 && t[0].s == 0 && t[0].c <= maxVals {
		v = s.unknowns(t[0].c)
	}
	s.set(n, s.broadcast(x, v))
}

// tile repeats dimensions by constants.
func (s *symbols) tile(n *model.Node, x []dim) {
	v := s.vals[n.In(1)]
	if x == nil || len(v) != len(x) {
		return
	}
	out := s.unknowns(len(x))
	for i, d := range v {
		switch {
		case d == dim{c: 1}:
			out[i] = x[i]
		case d.s == 0 && x[i].s == 0:
			out[i] = dim{c: x[i].c * d.c}
		}
	}
	s.set(n, out)
}

// join infers the concatenation of values of r dimensions.
func (s *symbols) join(n *model.Node, r int) {
	at, err := axis(int(n.Int("axis", 0)), r)
	if err != nil {
		return
	}
	out := append([]dim{}, s.shapes[n.In(0)]...)
	for _, name := range n.Inputs[1:] {
		x := s.shapes[name]
		if len(x) != r {
			return
		}
		out[at] = s.sum(out[at], x[at])
	}
	s.set(n, out)
}

func (s *symbols) squeeze(n *model.Node) {
	x := s.shapes[n.In(0)]
	list := attrInts(n, "axes")
	if s.e.version(n) >= 13 {
		list = nil
		for _, d := range s.vals[n.In(1)] {
			if d.s != 0 {
				return
			}
			list = append(list, d.c)
		}
	}
	// One integer stays one, as long as it goes from a scalar to a list or back.
	if v, ok := s.vals[n.In(0)]; ok && len(v) == 1 && s.rank0[n.In(0)] == (n.Op == "Unsqueeze") && (len(list) == 1 || n.Op == "Squeeze") {
		s.vals[n.Out(0)], s.rank0[n.Out(0)] = v, n.Op == "Squeeze"
		if s.set(n, []dim{{c: 1}}); n.Op == "Squeeze" {
			s.set(n, []dim{})
		}
		return
	}
	if x == nil || list == nil {
		return
	}
	r := len(x)
	if n.Op == "Unsqueeze" {
		r += len(list)
	}
	mark, err := axes(list, r)
	if err != nil {
		return
	}
	var out []dim
	for i := range r {
		switch {
		case n.Op == "Squeeze" && mark[i]:
		case n.Op == "Squeeze":
			out = append(out, x[i])
		case mark[i]:
			out = append(out, dim{c: 1})
		case len(x) == 0:
			return
		default:
			out, x = append(out, x[0]), x[1:]
		}
	}
	s.set(n, out)
}

// split knows the parts of a dimension that is known.
func (s *symbols) split(n *model.Node, x []dim) {
	ax, err := axis(int(n.Int("axis", 0)), len(x))
	if err != nil || x == nil || x[ax].s != 0 || len(n.Outputs) == 0 {
		return
	}
	sizes := attrInts(n, "split")
	if s.e.version(n) >= 13 && n.In(1) != "" {
		t := s.e.constant(n.In(1))
		if t == nil {
			return
		}
		if sizes, err = ints(t); err != nil {
			return
		}
	}
	k := len(n.Outputs)
	if sizes == nil && x[ax].c%k == 0 {
		for range k {
			sizes = append(sizes, x[ax].c/k)
		}
	}
	if len(sizes) != k {
		return
	}
	for i, o := range n.Outputs {
		if o != "" && sizes[i] >= 0 {
			shape := append([]dim{}, x...)
			shape[ax] = dim{c: sizes[i]}
			s.shapes[o] = shape
		}
	}
}

// microsoft infers operators of com.microsoft; a and b are the shapes of the first inputs.
func (s *symbols) microsoft(n *model.Node, a, b []dim) {
	switch n.Op {
	case "Gelu", "FastGelu", "BiasGelu", "QuickGelu":
		s.set(n, a)
	case "SkipLayerNormalization", "SkipSimplifiedLayerNormalization":
		s.set(n, a)
		if a != nil && n.Out(3) != "" { // the sum
			s.shapes[n.Out(3)] = a
		}
	case "EmbedLayerNormalization":
		if table := s.shapes[n.In(2)]; len(a) == 2 && len(table) == 2 {
			s.set(n, []dim{a[0], a[1], table[1]})
		}
	case "Attention":
		if len(a) == 3 && len(b) == 2 && b[1].s == 0 && n.Attr("qkv_hidden_sizes") == nil {
			s.set(n, []dim{a[0], a[1], {c: b[1].c / 3}})
		}
	case "MultiHeadAttention":
		if v := s.shapes[n.In(2)]; len(a) == 3 && len(v) == 3 {
			s.set(n, []dim{a[0], a[1], v[2]})
		}
	default:
		s.blockwise(n, a, b)
	}
}
