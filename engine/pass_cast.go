package engine

import "github.com/wattshed/wattshed/model"

// removeCast bypasses a conversion to the type that its input has, and leaves out of two conversions the first when it
// loses nothing: then the second, from the type before it, gives the same.
func removeCast(e *editor, n *model.Node) {
	if !n.Is("Cast") {
		return
	}
	to := model.DType(n.Int("to", 0))
	from := e.dtype(n.In(0), maxTypeDepth)
	if from == to && from != model.Invalid {
		if e.rewire(n.Out(0), n.In(0)) {
			e.remove(n)
		}
		return
	}
	first := e.from(n.In(0), "Cast")
	if first == nil || castKind(to) == 0 || n.Attr("saturate") != nil {
		return
	}
	if source := e.dtype(first.In(0), maxTypeDepth); lossless(source, from) {
		e.replace(withInput(n, 0, first.In(0), n), n)
		if len(e.users[first.Out(0)]) == 0 && !e.pinned[first.Out(0)] {
			e.remove(first)
		}
	}
}

// maxTypeDepth bounds the nodes that dtype looks through.
const maxTypeDepth = 32

// dtype returns the element type of a value where it follows from types that are checked when the model runs, or Invalid.
func (e *editor) dtype(name string, depth int) model.DType {
	if name == "" || depth == 0 {
		return model.Invalid
	}
	if t := e.constant(name); t != nil {
		return t.DType()
	}
	n := e.maker[name]
	if n == nil {
		if len(e.c.outer) > 0 { // what bodies are given is not checked
			return model.Invalid
		}
		for _, v := range e.g.Inputs {
			if v.Name == name && v.Type.Raw == nil {
				return v.Type.DType
			}
		}
		return model.Invalid
	}
	if _, custom := e.c.opts.Ops["::"+n.Op]; custom || !n.Is(n.Op) || name != n.Out(0) && n.Op != "Split" {
		return model.Invalid
	}
	switch n.Op {
	case "Cast":
		return model.DType(n.Int("to", 0))
	case "Shape", "Size", "NonZero", "ArgMax", "ArgMin":
		return model.Int64
	case "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf":
		return model.Bool
	case "Where":
		return e.dtype(n.In(1), depth-1)
	case "Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Concat", "Conv", "LayerNormalization": // all inputs are of one type
		for _, in := range n.Inputs {
			if t := e.constant(in); t != nil {
				return t.DType()
			}
		}
		return e.dtype(n.In(0), depth-1)
	case "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "GatherElements", "Expand", "Tile", "Pad",
		"Split", "Neg", "Abs", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Erf", "Sin", "Cos", "Gelu", "Softmax", "LogSoftmax", "Clip",
		"Range", "CumSum", "Pow", "Reciprocal", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin":
		return e.dtype(n.In(0), depth-1)
	}
	return model.Invalid
}

// castKind returns the bits that values of a type have beside their sign and, for floats, exponent; 0 for types whose
// conversions are not looked at.
func castKind(d model.DType) int {
	switch d {
	case model.Bool:
		return 1
	case model.Int8, model.Int16, model.Int32, model.Int64:
		return d.Bits() - 1
	case model.Uint8, model.Uint16, model.Uint32, model.Uint64:
		return d.Bits()
	case model.Float16:
		return 11
	case model.BFloat16:
		return 8
	case model.Float32:
		return 24
	case model.Float64:
		return 53
	}
	return 0
}

// lossless reports whether every value of a is one of b.
func lossless(a, b model.DType) bool {
	ka, kb := castKind(a), castKind(b)
	signed := func(d model.DType) bool {
		return d == model.Int8 || d == model.Int16 || d == model.Int32 || d == model.Int64
	}
	switch {
	case ka == 0 || kb == 0 || b == model.Bool && a != b:
		return false
	case a == b || a == model.Bool:
		return true
	case a.IsFloat():
		return b == model.Float64 || b == model.Float32 && a != model.Float64
	case b.IsFloat():
		return ka <= kb
	}
	return ka <= kb && (signed(b) || !signed(a))
}
