package model

// inferFlow handles If, Loop and Scan: their bodies see the values around them.
func inferFlow(c *inferCall) {
	switch c.n.Op {
	case "If":
		c.ifOp()
	case "Loop":
		c.loop()
	case "Scan":
		c.scan()
	}
}

// body infers sub with the given facts of its inputs and returns the facts of its outputs.
func (c *inferCall) body(sub *Graph, in []fact) []fact {
	sc := &inferScope{outer: c.sc, facts: map[string]fact{}}
	for i, v := range sub.Inputs {
		if i < len(in) && (in[i].typ.DType != Invalid || in[i].typ.Shape != nil || in[i].typ.Raw != nil) {
			sc.facts[v.Name] = in[i]
		}
	}
	if err := c.graph(sub, sc); err != nil && c.err == nil {
		c.err = err
	}
	out := make([]fact, len(sub.Outputs))
	for i, v := range sub.Outputs {
		out[i] = sc.find(v.Name)
	}
	return out
}

func (c *inferCall) graphAttr(name string) *Graph {
	if a := c.n.Attr(name); a != nil {
		return a.G
	}
	return nil
}

// join returns what two facts about the same value have in common.
func (c *inferCall) join(a, b fact) fact {
	if a.typ.Raw != nil || b.typ.Raw != nil {
		return fact{typ: a.typ}
	}
	f := fact{typ: Type{DType: a.typ.DType}}
	if f.typ.DType == Invalid {
		f.typ.DType = b.typ.DType
	}
	x, y := a.typ.Shape, b.typ.Shape
	if x == nil || y == nil || len(x) != len(y) {
		return f
	}
	f.typ.Shape = make(Shape, len(x))
	for i := range x {
		if f.typ.Shape[i] = x[i]; !same(x[i], y[i]) {
			f.typ.Shape[i] = c.fresh()
		}
	}
	return f
}

func (c *inferCall) ifOp() {
	yes, no := c.graphAttr("then_branch"), c.graphAttr("else_branch")
	if yes == nil || no == nil {
		return
	}
	a, b := c.body(yes, nil), c.body(no, nil)
	taken := -1
	if v := c.val(0); len(v) == 1 && v[0].ok {
		taken = int(v[0].v)
	}
	for i := range c.out {
		switch {
		case i >= len(a) || i >= len(b):
		case taken == 1:
			c.out[i] = a[i]
		case taken == 0:
			c.out[i] = b[i]
		default:
			c.out[i] = c.join(a[i], b[i])
		}
	}
}

// maxLoops is the depth of loops up to which carried shapes are followed.
const maxLoops = 4

// loop: inputs M, cond, carried ...; the body takes (iteration, cond, carried ...) and gives (cond, carried ..., scanned ...).
func (c *inferCall) loop() {
	body := c.graphAttr("body")
	if body == nil {
		return
	}
	carried := make([]fact, max(len(c.in)-2, 0))
	for i := range carried {
		carried[i] = fact{typ: c.in[i+2].typ} // a carried value is not a constant
	}
	if c.loops++; c.loops > maxLoops { // each level infers the next several times
		for i := range carried {
			carried[i].typ.Shape = nil
		}
	}
	defer func() { c.loops-- }()
	var out []fact
	for round := 0; ; round++ {
		in := append([]fact{{typ: Type{DType: Int64, Shape: Shape{}}}, {typ: Type{DType: Bool, Shape: Shape{}}}}, carried...)
		out = c.body(body, in)
		stable := true
		for i := range carried {
			if i+1 >= len(out) {
				return
			}
			j := c.join(carried[i], out[i+1])
			if round > 0 { // what has changed twice may change for ever
				j.typ.Shape = c.settle(carried[i].typ.Shape, j.typ.Shape)
			}
			stable = stable && equalShape(j.typ.Shape, carried[i].typ.Shape)
			carried[i] = j
		}
		if stable || round == 3 || c.loops > maxLoops {
			break
		}
	}
	trips := c.fresh()
	for i := range c.out {
		switch {
		case i < len(carried):
			c.out[i] = carried[i]
		case i+1 < len(out):
			f := out[i+1]
			if f.typ.Shape != nil {
				f.typ.Shape = append(Shape{trips}, f.typ.Shape...)
			}
			c.out[i] = fact{typ: f.typ}
		}
	}
}

// settle keeps the names of unknown dimensions that were unknown before, so that loops come to an end.
func (c *inferCall) settle(was, now Shape) Shape {
	if was == nil || now == nil || len(was) != len(now) {
		return nil
	}
	out := append(Shape{}, now...)
	for i := range out {
		if !was[i].Known() && !out[i].Known() {
			out[i] = was[i]
		}
	}
	return out
}

func equalShape(a, b Shape) bool {
	if (a == nil) != (b == nil) || len(a) != len(b) {
		return false
	}
	for i := range a {
		if !same(a[i], b[i]) {
			return false
		}
	}
	return true
}

// scan (opset 9 on): inputs states ..., scanned ...; the body sees one slice of each scanned input.
func (c *inferCall) scan() {
	body := c.graphAttr("body")
	m := int(c.n.Int("num_scan_inputs", 0))
	states := len(c.in) - m
	if body == nil || m < 1 || states < 0 || c.opset < 9 {
		return
	}
	trips := c.fresh()
	axes := c.n.Ints("scan_input_axes")
	in := make([]fact, len(c.in))
	for i := range in {
		in[i] = fact{typ: c.in[i].typ}
		if s := in[i].typ.Shape; i >= states && s != nil {
			a := 0
			if i-states < len(axes) {
				a = axis(axes[i-states], len(s))
			}
			if a < 0 || a >= len(s) {
				return
			}
			trips = s[a]
			in[i].typ.Shape = append(append(Shape{}, s[:a]...), s[a+1:]...)
		}
	}
	out := c.body(body, in)
	outAxes := c.n.Ints("scan_output_axes")
	for i := range c.out {
		switch {
		case i >= len(out):
		case i < states:
			c.out[i] = c.join(in[i], out[i])
		default:
			f := fact{typ: out[i].typ}
			if s := f.typ.Shape; s != nil {
				a := 0
				if i-states < len(outAxes) {
					a = axis(outAxes[i-states], len(s)+1)
				}
				if a < 0 {
					return
				}
				f.typ.Shape = append(append(append(Shape{}, s[:a]...), trips), s[a:]...)
			}
			c.out[i] = f
		}
	}
}
