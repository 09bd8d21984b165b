package model

// inferRule returns the rule of the node's operator, or nil.
func inferRule(n *Node) func(c *inferCall) {
	switch n.Domain {
	case "", "ai.onnx":
		return inferRuleONNX(n.Op)
	case "com.microsoft":
		return inferRuleMicrosoft(n.Op)
	}
	return nil
}

func inferRuleONNX(op string) func(c *inferCall) {
	switch op {
	case "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Clip", "Cos", "Cosh",
		"CumProd", "CumSum", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax",
		"InstanceNormalization", "LRN", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Mish",
		"Neg", "Not", "PRelu", "Reciprocal", "Relu", "ReverseSequence", "RotaryEmbedding", "Round", "Scatter", "ScatterElements",
		"ScatterND", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan",
		"Tanh", "TensorScatter", "ThresholdedRelu", "Trilu":
		return inferUnary
	case "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Mod", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor":
		return inferBroadcast
	case "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual":
		return inferCompare
	case "IsInf", "IsNaN":
		return func(c *inferCall) { c.set(0, Bool, c.shape(0)) }
	case "Where":
		return inferWhere
	case "Identity":
		return func(c *inferCall) { c.out[0] = c.fact(0) }
	case "Cast", "CastLike", "BitCast":
		return inferCast
	case "Dropout":
		return func(c *inferCall) { c.set(0, c.dtype(0), c.shape(0)); c.set(1, dropoutMask(c), c.shape(0)) }
	case "LayerNormalization", "RMSNormalization":
		return inferLayerNorm
	case "BatchNormalization":
		return inferBatchNorm
	case "Constant":
		return inferConstant
	case "If", "Loop", "Scan":
		return inferFlow
	}
	if r := inferRuleShape(op); r != nil {
		return r
	}
	return inferRuleCompute(op)
}

func dropoutMask(c *inferCall) DType {
	if c.opset < 10 {
		return c.dtype(0)
	}
	return Bool
}

// inferUnary: the output is like input 0.
func inferUnary(c *inferCall) {
	c.set(0, c.dtype(0), c.shape(0))
	if v := c.val(0); v != nil {
		switch c.n.Op {
		case "Neg":
			c.out[0].val = mapSym(v, func(x int64) int64 { return -x })
		case "Abs":
			c.out[0].val = mapSym(v, func(x int64) int64 { return max(x, -x) })
		case "Not":
			c.out[0].val = mapSym(v, func(x int64) int64 { return 1 - x })
		}
	}
}

func mapSym(v []sym, fn func(int64) int64) []sym {
	out := make([]sym, len(v))
	for i, s := range v {
		if s.ok {
			out[i] = known(fn(s.v))
		}
	}
	return out
}

// broadcast returns the shape of an elementwise operation on a and b (multidirectional broadcasting).
func (c *inferCall) broadcast(a, b Shape) Shape {
	if a == nil || b == nil {
		return nil
	}
	if len(a) < len(b) {
		a, b = b, a
	}
	out := append(Shape{}, a...)
	for i, d := range b {
		j := len(a) - len(b) + i
		e := a[j]
		switch {
		case same(d, e) || d.Size == 1:
		case e.Size == 1:
			out[j] = d
		case d.Known() && e.Known():
			return nil // they do not fit: nothing follows
		case d.Known():
			out[j] = d // an unknown size must be 1 or this one
		case e.Known():
		default:
			out[j] = c.fresh()
		}
	}
	return out
}

func (c *inferCall) broadcastAll(from int) Shape {
	if from >= len(c.in) {
		return nil
	}
	s := c.shape(from)
	for i := from + 1; i < len(c.in); i++ {
		s = c.broadcast(s, c.shape(i))
	}
	if c.opset < 7 && c.n.Int("broadcast", 0) != 0 {
		return c.shape(from) // the old form: input 1 is stretched to input 0
	}
	return s
}

func inferBroadcast(c *inferCall) {
	dt := c.dtype(0)
	for i := 1; dt == Invalid && c.n.Op != "Pow" && i < len(c.in); i++ {
		dt = c.dtype(i)
	}
	c.set(0, dt, c.broadcastAll(0))
	if len(c.in) == 2 && c.dtype(0).IsInteger() {
		c.out[0].val = zip(c.val(0), c.val(1), func(a, b sym) sym { return arithmetic(c.n.Op, a, b) })
	}
}

// zip applies fn to the elements of a and b, stretching one of length 1; nil when either is not known.
func zip(a, b []sym, fn func(a, b sym) sym) []sym {
	if a == nil || b == nil || len(a) != len(b) && len(a) != 1 && len(b) != 1 {
		return nil
	}
	n := max(len(a), len(b))
	if len(a) == 0 || len(b) == 0 {
		n = 0
	}
	out := make([]sym, n)
	for i := range out {
		out[i] = fn(a[min(i, len(a)-1)], b[min(i, len(b)-1)])
	}
	return out
}

func arithmetic(op string, a, b sym) sym {
	if !a.ok || !b.ok {
		switch {
		case op == "Mul" && a.ok && a.v == 1, op == "Add" && a.ok && a.v == 0:
			return b
		case (op == "Mul" || op == "Div") && b.ok && b.v == 1, (op == "Add" || op == "Sub") && b.ok && b.v == 0:
			return a
		case op == "Mul" && (a.ok && a.v == 0 || b.ok && b.v == 0):
			return known(0)
		case (op == "Max" || op == "Min") && a.name != "" && a.name == b.name:
			return a
		}
		return sym{}
	}
	switch op {
	case "Add", "Sum":
		return known(a.v + b.v)
	case "Sub":
		return known(a.v - b.v)
	case "Mul":
		return known(a.v * b.v)
	case "Div":
		if b.v != 0 {
			return known(a.v / b.v)
		}
	case "Mod":
		if b.v != 0 {
			m := a.v % b.v
			if m != 0 && (m < 0) != (b.v < 0) {
				m += b.v
			}
			return known(m)
		}
	case "Max":
		return known(max(a.v, b.v))
	case "Min":
		return known(min(a.v, b.v))
	}
	return sym{}
}

func inferCompare(c *inferCall) {
	c.set(0, Bool, c.broadcastAll(0))
	c.out[0].val = zip(c.val(0), c.val(1), func(a, b sym) sym {
		switch {
		case !a.ok && !b.ok && a.name != "" && a.name == b.name:
			a, b = known(0), known(0)
		case !a.ok && a.name != "" && b.ok && b.v < 0: // a dimension is never negative
			a = known(0)
		case !b.ok && b.name != "" && a.ok && a.v < 0:
			b = known(0)
		case !a.ok || !b.ok:
			return sym{}
		}
		r := false
		switch c.n.Op {
		case "And":
			r = a.v != 0 && b.v != 0
		case "Or":
			r = a.v != 0 || b.v != 0
		case "Xor":
			r = (a.v != 0) != (b.v != 0)
		case "Equal":
			r = a.v == b.v
		case "Greater":
			r = a.v > b.v
		case "GreaterOrEqual":
			r = a.v >= b.v
		case "Less":
			r = a.v < b.v
		case "LessOrEqual":
			r = a.v <= b.v
		}
		if r {
			return known(1)
		}
		return known(0)
	})
}

func inferWhere(c *inferCall) {
	dt := c.dtype(1)
	if dt == Invalid {
		dt = c.dtype(2)
	}
	c.set(0, dt, c.broadcastAll(0))
	cond, x, y := c.val(0), c.val(1), c.val(2)
	n := max(len(cond), len(x), len(y))
	if cond == nil || x == nil || y == nil {
		return
	}
	for _, l := range []int{len(cond), len(x), len(y)} {
		if l != n && l != 1 {
			return
		}
	}
	out := make([]sym, n)
	for i := range out {
		k, a, b := cond[min(i, len(cond)-1)], x[min(i, len(x)-1)], y[min(i, len(y)-1)]
		switch {
		case !k.ok:
		case k.v != 0:
			out[i] = a
		default:
			out[i] = b
		}
	}
	c.out[0].val = out
}

func inferCast(c *inferCall) {
	dt := DType(0)
	if c.n.Op == "CastLike" {
		dt = c.dtype(1)
	} else if to := c.n.Int("to", 0); to > 0 && to < 256 && DType(to).Valid() {
		dt = DType(to)
	} else {
		dt = castName(c.n.Str("to", ""))
	}
	c.set(0, dt, c.shape(0))
	if v := c.val(0); v != nil && (dt == Int64 || dt == Int32) && c.n.Op != "BitCast" {
		c.out[0].val = v
	}
}

// castName reads the name of a type in attribute "to" of Cast below opset 6.
func castName(s string) DType {
	switch s {
	case "FLOAT":
		return Float32
	case "DOUBLE":
		return Float64
	case "FLOAT16":
		return Float16
	case "INT64":
		return Int64
	case "INT32":
		return Int32
	case "INT16":
		return Int16
	case "INT8":
		return Int8
	case "UINT64":
		return Uint64
	case "UINT32":
		return Uint32
	case "UINT16":
		return Uint16
	case "UINT8":
		return Uint8
	case "BOOL":
		return Bool
	}
	return Invalid
}

func inferConstant(c *inferCall) {
	if t := ConstantValue(c.n); t != nil {
		c.out[0] = constant(t)
	}
}
