package model

func inferGather(c *inferCall) {
	s, idx := c.shape(0), c.shape(1)
	a := axis(c.n.Int("axis", 0), len(s))
	c.set(0, c.dtype(0), nil)
	if s == nil || idx == nil || a < 0 {
		return
	}
	out := append(Shape{}, s[:a]...)
	out = append(append(out, idx...), s[a+1:]...)
	c.set(0, c.dtype(0), out)
	v, at := c.val(0), c.val(1)
	if v == nil || at == nil || len(s) != 1 {
		return
	}
	val := make([]sym, len(at))
	for i, s := range at {
		if s.ok {
			if j := axis(s.v, len(v)); j >= 0 {
				val[i] = v[j]
			}
		}
	}
	c.out[0].val = val
}

func inferGatherND(c *inferCall) {
	s, idx := c.shape(0), c.shape(1)
	c.set(0, c.dtype(0), nil)
	b := c.n.Int("batch_dims", 0)
	if s == nil || len(idx) == 0 || !idx[len(idx)-1].Known() {
		return
	}
	if from := b + idx[len(idx)-1].Size; b >= 0 && from >= 0 && from <= int64(len(s)) {
		c.set(0, c.dtype(0), append(append(Shape{}, idx[:len(idx)-1]...), s[from:]...))
	}
}

func inferExpand(c *inferCall) {
	var target Shape
	if v := c.val(1); v != nil {
		target = Shape{}
		for _, s := range v {
			d := s.dim()
			if !d.Known() && d.Param == "" {
				d = c.fresh()
			}
			target = append(target, d)
		}
	} else if s := c.shape(1); len(s) == 1 && s[0].Known() && s[0].Size <= 64 {
		target = c.unknown(int(s[0].Size))
	}
	c.set(0, c.dtype(0), c.broadcast(c.shape(0), target))
}

func inferTile(c *inferCall) {
	s := c.shape(0)
	reps := c.val(1)
	if s == nil || len(reps) != len(s) || c.opset < 6 {
		if s != nil {
			s = c.unknown(len(s))
		}
		c.set(0, c.dtype(0), s)
		return
	}
	out := make(Shape, len(s))
	for i, d := range s {
		if out[i] = arithmetic("Mul", symOf(d), reps[i]).dim(); !out[i].Known() && out[i].Param == "" {
			out[i] = c.fresh()
		}
	}
	c.set(0, c.dtype(0), out)
}

func inferPad(c *inferCall) {
	s := c.shape(0)
	pads := c.ints("pads", 1)
	if pads == nil {
		pads = c.n.Ints("paddings")
	}
	c.set(0, c.dtype(0), nil)
	if s == nil {
		return
	}
	var axes []int64
	if c.has(3) {
		axes = c.ints("", 3)
	} else {
		for i := range s {
			axes = append(axes, int64(i))
		}
	}
	if axes == nil || len(pads) != 2*len(axes) {
		c.set(0, c.dtype(0), c.unknown(len(s)))
		return
	}
	out := append(Shape{}, s...)
	for i, ax := range axes {
		a := axis(ax, len(s))
		if a < 0 {
			return
		}
		switch p := pads[i] + pads[i+len(axes)]; {
		case out[a].Known():
			out[a] = Dim{Size: max(out[a].Size+p, 0)}
		case p != 0:
			out[a] = c.fresh()
		}
	}
	c.set(0, c.dtype(0), out)
}
