package onnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/model"
)

func (s *source) graph(b []byte) (*model.Graph, error) {
	if s.depth++; s.depth > maxDepth {
		return nil, fmt.Errorf("graphs are nested more than %d deep", maxDepth)
	}
	defer func() { s.depth-- }()
	g := &model.Graph{}
	err := each(b, func(f field) error {
		var err error
		switch f.num {
		case 1:
			var n *model.Node
			n, err = s.node(f.bytes())
			g.Nodes = append(g.Nodes, n)
		case 2:
			g.Name = f.str()
		case 5:
			return s.initializer(g, f.bytes())
		case 10:
			g.Doc = f.str()
		case 11, 12, 13:
			var v *model.Value
			v, err = s.value(f.bytes())
			switch f.num {
			case 11:
				g.Inputs = append(g.Inputs, v)
			case 12:
				g.Outputs = append(g.Outputs, v)
			default:
				g.Values = append(g.Values, v)
			}
		case 15:
			var sp model.SparseTensor
			sp, err = sparse(f.bytes())
			g.Sparse = append(g.Sparse, sp)
		case 16:
			g.Meta, err = addKV(g.Meta, f)
		default:
			g.Extra = append(g.Extra, f.rec...)
		}
		return err
	})
	if err != nil && g.Name != "" {
		return nil, fmt.Errorf("graph %q: %w", g.Name, err)
	}
	return g, err
}

func (s *source) initializer(g *model.Graph, b []byte) error {
	t, x, err := s.tensor(b)
	if err != nil {
		return fmt.Errorf("initializer %q: %w", x.Name, err)
	}
	if x.Name == "" {
		return errors.New("an initializer has no name")
	}
	if g.Initializer(x.Name) != nil {
		return fmt.Errorf("initializer %q is there twice", x.Name)
	}
	name := x.Name
	g.SetInitializer(name, t)
	if x.Name = ""; !x.IsZero() {
		g.SetInitializerExtra(name, x)
	}
	return nil
}

// sparse keeps a SparseTensorProto and finds its name, that of its values.
func sparse(b []byte) (model.SparseTensor, error) {
	sp := model.SparseTensor{Raw: append([]byte(nil), b...)}
	err := each(b, func(f field) error {
		if f.num != 1 {
			return nil
		}
		return each(f.bytes(), func(f field) error {
			if f.num == 8 {
				sp.Name = f.str()
			}
			return nil
		})
	})
	return sp, err
}

func (s *source) node(b []byte) (*model.Node, error) {
	n := &model.Node{}
	err := each(b, func(f field) error {
		var err error
		switch f.num {
		case 1:
			n.Inputs = append(n.Inputs, f.str())
		case 2:
			n.Outputs = append(n.Outputs, f.str())
		case 3:
			n.Name = f.str()
		case 4:
			n.Op = f.str()
		case 5:
			var a model.Attr
			if a, err = s.attr(f.bytes()); err == nil && n.Attr(a.Name) != nil && len(n.Attrs) < 64 {
				err = fmt.Errorf("attribute %q is there twice", a.Name)
			}
			n.Attrs = append(n.Attrs, a)
		case 6:
			n.Doc = f.str()
		case 7:
			n.Domain = f.str()
		case 8:
			n.Overload = f.str()
		case 9:
			n.Meta, err = addKV(n.Meta, f)
		default:
			n.Extra = append(n.Extra, f.rec...)
		}
		return err
	})
	if err == nil && n.Op == "" {
		err = errors.New("it has no operator")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n, err)
	}
	return n, s.count()
}

// attr reads an AttributeProto. A value in a field of another kind than the declared one, and any value beside a
// reference, is dropped, as every reader of ONNX does.
func (s *source) attr(b []byte) (model.Attr, error) {
	var a model.Attr
	var kind int64
	var one, many []model.TensorExtra // of the tensor, and of the list of tensors
	err := each(b, func(f field) error {
		var err error
		switch f.num {
		case 1:
			a.Name = f.str()
		case 2:
			a.F = f.float()
		case 3:
			a.I = f.int()
		case 4:
			a.S = append([]byte{}, f.bytes()...)
		case 5, 10:
			var t *model.Tensor
			var x model.TensorExtra
			if t, x, err = s.tensor(f.bytes()); err != nil {
				return err
			}
			if f.num == 5 {
				a.T, one = t, []model.TensorExtra{x}
			} else {
				a.Tensors, many = append(a.Tensors, t), append(many, x)
			}
		case 6:
			a.G, err = s.graph(f.bytes())
		case 7:
			a.Floats, err = f.floats(a.Floats)
		case 8:
			a.Ints, err = f.ints(a.Ints)
		case 9:
			a.Strings = append(a.Strings, append([]byte{}, f.bytes()...))
			err = s.count()
		case 11:
			var g *model.Graph
			g, err = s.graph(f.bytes())
			a.Graphs = append(a.Graphs, g)
		case 13:
			a.Doc = f.str()
		case 20:
			kind = f.int()
		case 21:
			a.Ref = f.str()
		default:
			a.Raw = append(a.Raw, f.rec...)
		}
		return err
	})
	if err == nil {
		a.Kind, err = attrKind(&a, kind)
	}
	if err != nil {
		return a, fmt.Errorf("attribute %q: %w", a.Name, err)
	}
	a = ofKind(a)
	switch {
	case a.T != nil:
		a.TExtra = one
	case a.Tensors != nil:
		a.TExtra = many
	}
	if !slices.ContainsFunc(a.TExtra, func(x model.TensorExtra) bool { return !x.IsZero() }) {
		a.TExtra = nil
	}
	return a, s.count()
}

// ofKind returns the attribute with the one value that its kind names, and with none if it is a reference.
func ofKind(a model.Attr) model.Attr {
	b := model.Attr{Name: a.Name, Kind: a.Kind, Ref: a.Ref, Doc: a.Doc, Raw: a.Raw}
	if a.Ref != "" {
		return b
	}
	switch a.Kind {
	case model.AttrFloat:
		b.F = a.F
	case model.AttrInt:
		b.I = a.I
	case model.AttrString:
		b.S = a.S
	case model.AttrTensor:
		b.T = a.T
	case model.AttrGraph:
		b.G = a.G
	case model.AttrFloats:
		b.Floats = a.Floats
	case model.AttrInts:
		b.Ints = a.Ints
	case model.AttrStrings:
		b.Strings = a.Strings
	case model.AttrTensors:
		b.Tensors = a.Tensors
	case model.AttrGraphs:
		b.Graphs = a.Graphs
	}
	return b
}

// attrKind checks the declared kind, or, as in files of IR version 1, finds it from the field that is set.
func attrKind(a *model.Attr, kind int64) (model.AttrKind, error) {
	if kind < 0 || kind > int64(model.AttrTypes) {
		return 0, fmt.Errorf("kind %d: %w", kind, model.ErrUnsupported)
	}
	switch k := model.AttrKind(kind); {
	case k == model.AttrTensor && a.T == nil && a.Ref == "":
		return 0, errors.New("the tensor is missing")
	case k == model.AttrGraph && a.G == nil && a.Ref == "":
		return 0, errors.New("the graph is missing")
	case k != model.AttrNone:
		return k, nil
	case a.T != nil:
		return model.AttrTensor, nil
	case a.G != nil:
		return model.AttrGraph, nil
	case a.S != nil:
		return model.AttrString, nil
	case a.Ints != nil:
		return model.AttrInts, nil
	case a.Floats != nil:
		return model.AttrFloats, nil
	case a.Strings != nil:
		return model.AttrStrings, nil
	case a.Tensors != nil:
		return model.AttrTensors, nil
	case a.Graphs != nil:
		return model.AttrGraphs, nil
	case a.F != 0:
		return model.AttrFloat, nil
	case a.I != 0:
		return model.AttrInt, nil
	}
	return model.AttrNone, nil
}

func (s *source) value(b []byte) (*model.Value, error) {
	v := &model.Value{}
	err := each(b, func(f field) error {
		var err error
		switch f.num {
		case 1:
			v.Name = f.str()
		case 2:
			v.Type, err = s.typ(f.bytes())
		case 3:
			v.Doc = f.str()
		case 4:
			v.Meta, err = addKV(v.Meta, f)
		default:
			v.Extra = append(v.Extra, f.rec...)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("value %q: %w", v.Name, err)
	}
	return v, s.count()
}

// typ reads a TypeProto: tensors field by field, everything else verbatim.
func (s *source) typ(b []byte) (model.Type, error) {
	var t model.Type
	tensor := true
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			return each(f.bytes(), func(f field) error {
				var err error
				switch f.num {
				case 1:
					t.DType, err = dtype(f.int())
				case 2:
					t.Shape, err = s.shape(f.bytes())
				default:
					tensor = false
				}
				return err
			})
		case 6:
			t.Denotation = f.str()
		default:
			tensor = false
		}
		return nil
	})
	if !tensor {
		t = model.Type{Raw: append([]byte{}, b...)}
	}
	return t, err
}

func (s *source) shape(b []byte) (model.Shape, error) {
	sh := model.Shape{}
	err := each(b, func(f field) error {
		if f.num != 1 {
			return nil
		}
		if len(sh) == maxRank {
			return fmt.Errorf("a shape of more than %d dimensions", maxRank)
		}
		d := model.Dim{Size: -1}
		err := each(f.bytes(), func(f field) error {
			switch f.num {
			case 1:
				d.Size = max(f.int(), -1)
			case 2:
				d.Param = f.str()
			case 3:
				d.Denotation = f.str()
			}
			return nil
		})
		sh = append(sh, d)
		return err
	})
	return sh, err
}

func dtype(v int64) (model.DType, error) {
	if v < 0 || v > 255 || v != 0 && !model.DType(v).Valid() {
		return 0, fmt.Errorf("element type %d: %w", v, model.ErrUnsupported)
	}
	return model.DType(v), nil
}
