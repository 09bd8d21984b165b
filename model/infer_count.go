package model

import "math"

func inferShapeOp(c *inferCall) {
	s := c.shape(0)
	if s == nil {
		c.set(0, Int64, c.unknown(1))
		return
	}
	from, to := c.n.Int("start", 0), c.n.Int("end", math.MaxInt32)
	lo, n := sliceRange(from, to, 1, int64(len(s)))
	val := make([]sym, 0, n)
	for _, d := range s[lo : lo+n] {
		val = append(val, symOf(d))
	}
	c.set(0, Int64, FixedShape(int(n)))
	c.out[0].val = val
}

func inferSize(c *inferCall) {
	c.set(0, Int64, Shape{})
	if s := c.shape(0); s != nil {
		c.out[0].val = []sym{symOf(c.product(s))}
	}
}

func inferConstantOfShape(c *inferCall) {
	dt := Float32
	var fill *Tensor
	if a := c.n.Attr("value"); a != nil && a.T != nil {
		fill = a.T
		dt = fill.DType()
	}
	var out Shape
	if v := c.val(0); v != nil {
		out = Shape{}
		for _, s := range v {
			d := s.dim()
			if !d.Known() && d.Param == "" {
				d = c.fresh()
			}
			out = append(out, d)
		}
	} else if s := c.shape(0); len(s) == 1 && s[0].Known() && s[0].Size <= 64 {
		out = c.unknown(int(s[0].Size))
	}
	c.set(0, dt, out)
	if len(out) == 1 && out[0].Known() && out[0].Size <= maxValue && fill != nil && fill.Len() == 1 {
		if one := intsOf(fill); one != nil {
			for range out[0].Size {
				c.out[0].val = append(c.out[0].val, one[0])
			}
		}
	}
}

func inferRange(c *inferCall) {
	d := c.fresh()
	var val []sym
	a, b, s := c.val(0), c.val(1), c.val(2)
	if len(a) == 1 && len(b) == 1 && len(s) == 1 {
		switch {
		case a[0].ok && b[0].ok && s[0].ok && s[0].v != 0:
			x, y, step := a[0].v, b[0].v, s[0].v
			n := int64(0)
			if step > 0 && y > x {
				n = (y-x-1)/step + 1
			} else if step < 0 && x > y {
				n = (x-y-1)/max(-step, 1) + 1
			}
			d = Dim{Size: n}
			for i := int64(0); n <= maxValue && i < n; i++ {
				val = append(val, known(x+i*step))
			}
		case a[0].ok && a[0].v == 0 && s[0].ok && s[0].v == 1 && b[0].name != "":
			d = b[0].dim()
		}
	} else if f := floatRange(c); f >= 0 {
		d = Dim{Size: f}
	}
	c.set(0, c.dtype(0), Shape{d})
	c.out[0].val = val
}

// floatRange returns the length of a Range of constant floats, -1 when it is not known.
func floatRange(c *inferCall) int64 {
	var v [3]float64
	for i := range v {
		t := c.fact(i).t
		if t == nil || t.Len() != 1 {
			return -1
		}
		f, err := t.Float32()
		if err != nil {
			return -1
		}
		v[i] = float64(f[0])
	}
	n := math.Ceil((v[1] - v[0]) / v[2])
	if !(n < 1<<40) {
		return -1
	}
	return int64(max(n, 0))
}

func inferOneHot(c *inferCall) {
	s := c.shape(0)
	dt := c.dtype(2)
	c.set(0, dt, nil)
	a := axis(c.n.Int("axis", -1), len(s)+1)
	if s == nil || a < 0 {
		return
	}
	d := c.fresh()
	if v := c.val(1); len(v) == 1 && v[0].ok {
		d = v[0].dim()
	} else if t := c.fact(1).t; t != nil && t.Len() == 1 {
		if f, err := t.Float32(); err == nil && f[0] >= 0 && f[0] < 1<<31 {
			d = Dim{Size: int64(f[0])}
		}
	}
	out := append(append(Shape{}, s[:a]...), d)
	c.set(0, dt, append(out, s[a:]...))
}

func inferNonZero(c *inferCall) {
	rank := c.fresh()
	if s := c.shape(0); s != nil {
		rank = Dim{Size: int64(max(len(s), 1))}
	}
	c.set(0, Int64, Shape{rank, c.fresh()})
}

func inferTopK(c *inferCall) {
	s := c.shape(0)
	a := axis(c.n.Int("axis", -1), len(s))
	c.set(0, c.dtype(0), nil)
	c.set(1, Int64, nil)
	if s == nil || a < 0 {
		return
	}
	out := append(Shape{}, s...)
	out[a] = c.fresh()
	if k := c.n.Int("k", -1); k >= 0 {
		out[a] = Dim{Size: k}
	} else if v := c.val(1); len(v) == 1 && v[0].ok {
		out[a] = v[0].dim()
	}
	c.set(0, c.dtype(0), out)
	c.set(1, Int64, out)
}

func inferDepthSpace(c *inferCall) {
	s := c.shape(0)
	b := c.n.Int("blocksize", 0)
	if len(s) != 4 || b < 1 || b > 1<<15 {
		c.set(0, c.dtype(0), nil)
		return
	}
	out := c.unknown(4)
	out[0] = s[0]
	for i := 2; i < 4; i++ {
		switch {
		case !s[i].Known():
		case c.n.Op == "DepthToSpace":
			out[i] = Dim{Size: s[i].Size * b}
		default:
			out[i] = Dim{Size: s[i].Size / b}
		}
	}
	if c.n.Op == "DepthToSpace" && s[1].Known() {
		out[1] = Dim{Size: s[1].Size / (b * b)}
	} else if s[1].Known() {
		out[1] = Dim{Size: s[1].Size * b * b}
	}
	c.set(0, c.dtype(0), out)
}

// inferResize handles Resize and Upsample: sizes, or scales, given as attribute or constant.
func inferResize(c *inferCall) {
	s := c.shape(0)
	c.set(0, c.dtype(0), nil)
	if s == nil {
		return
	}
	out := c.unknown(len(s))
	c.set(0, c.dtype(0), out)
	axes := c.n.Ints("axes")
	if axes == nil {
		for i := range s {
			axes = append(axes, int64(i))
		}
	} else {
		copy(out, s)
		for _, ax := range axes {
			if a := axis(ax, len(s)); a >= 0 {
				out[a] = c.fresh()
			}
		}
	}
	if c.n.Str("keep_aspect_ratio_policy", "stretch") != "stretch" {
		return
	}
	if v := c.val(3); c.has(3) {
		for i, ax := range axes {
			a := axis(ax, len(s))
			if a < 0 {
				return
			}
			if out[a] = c.fresh(); i < len(v) && (v[i].ok || v[i].name != "") {
				out[a] = v[i].dim()
			}
		}
		return
	}
	var scales []float32
	if a := c.n.Attr("scales"); a != nil {
		scales = a.Floats
	} else {
		at := 2
		if c.n.Op == "Upsample" || c.opset < 11 {
			at = 1
		}
		if t := c.fact(at).t; t != nil {
			scales, _ = t.Float32()
		}
	}
	if len(scales) != len(axes) {
		return
	}
	for i, ax := range axes {
		a := axis(ax, len(s))
		if a < 0 {
			return
		}
		if n := math.Floor(float64(float32(s[a].Size) * scales[i])); s[a].Known() && n >= 0 && n < 1<<40 {
			out[a] = Dim{Size: int64(n)}
		} else if out[a] = c.fresh(); scales[i] == 1 {
			out[a] = s[a]
		}
	}
}

func inferArg(c *inferCall) {
	c.set(0, Int64, c.reduced([]int64{c.n.Int("axis", 0)}, c.n.Int("keepdims", 1) != 0))
}

func inferReduce(c *inferCall) {
	axes := c.ints("axes", 1)
	keep := c.n.Int("keepdims", 1) != 0
	switch {
	case axes == nil && c.given("axes", 1):
		var out Shape
		if s := c.shape(0); s != nil && keep {
			out = c.unknown(len(s))
		}
		c.set(0, c.dtype(0), out)
		return
	case len(axes) == 0 && c.n.Int("noop_with_empty_axes", 0) != 0:
		c.set(0, c.dtype(0), c.shape(0))
		return
	case len(axes) == 0:
		axes = nil
		for i := range c.shape(0) {
			axes = append(axes, int64(i))
		}
	}
	c.set(0, c.dtype(0), c.reduced(axes, keep))
	if v := c.val(0); v != nil && c.n.Op == "ReduceProd" && len(axes) == 1 {
		p := known(1)
		for _, s := range v {
			p = arithmetic("Mul", p, s)
		}
		c.out[0].val = []sym{p}
	}
}

// reduced returns the shape of input 0 with the axes set to 1 or left out.
func (c *inferCall) reduced(axes []int64, keep bool) Shape {
	s := c.shape(0)
	if s == nil {
		return nil
	}
	drop := map[int]bool{}
	for _, a := range axes {
		drop[axis(a, len(s))] = true
	}
	out := Shape{}
	for i, d := range s {
		switch {
		case !drop[i]:
			out = append(out, d)
		case keep:
			out = append(out, Dim{Size: 1})
		}
	}
	return out
}
