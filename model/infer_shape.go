package model

import "math"

// inferRuleShape holds the operators that move or count elements.
func inferRuleShape(op string) func(c *inferCall) {
	switch op {
	case "Reshape":
		return inferReshape
	case "Flatten":
		return inferFlatten
	case "Squeeze":
		return inferSqueeze
	case "Unsqueeze":
		return inferUnsqueeze
	case "Transpose":
		return inferTranspose
	case "Concat":
		return inferConcat
	case "Split":
		return inferSplit
	case "Slice":
		return inferSlice
	case "Gather":
		return inferGather
	case "GatherElements":
		return func(c *inferCall) { c.set(0, c.dtype(0), c.shape(1)) }
	case "GatherND":
		return inferGatherND
	case "Expand":
		return inferExpand
	case "Tile":
		return inferTile
	case "Pad":
		return inferPad
	case "Shape":
		return inferShapeOp
	case "Size":
		return inferSize
	case "ConstantOfShape":
		return inferConstantOfShape
	case "Range":
		return inferRange
	case "OneHot":
		return inferOneHot
	case "NonZero":
		return inferNonZero
	case "TopK":
		return inferTopK
	case "DepthToSpace", "SpaceToDepth":
		return inferDepthSpace
	case "Resize", "Upsample":
		return inferResize
	case "ArgMax", "ArgMin":
		return inferArg
	case "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
		"ReduceSum", "ReduceSumSquare":
		return inferReduce
	}
	return nil
}

func inferReshape(c *inferCall) {
	in := c.shape(0)
	target := c.val(1)
	if a := c.n.Attr("shape"); a != nil {
		target = constant(FromSlice([]int{len(a.Ints)}, a.Ints)).val
	}
	if target == nil {
		var out Shape
		if s := c.shape(1); len(s) == 1 && s[0].Known() && s[0].Size <= 64 {
			out = c.unknown(int(s[0].Size))
		}
		c.set(0, c.dtype(0), out)
		return
	}
	out := make(Shape, len(target))
	rest := -1
	for i, s := range target {
		switch {
		case s.ok && s.v == 0 && c.n.Int("allowzero", 0) == 0:
			if out[i] = c.fresh(); i < len(in) {
				out[i] = in[i]
			}
		case s.ok && s.v < 0:
			rest = i
			out[i] = c.fresh()
		default:
			if out[i] = s.dim(); !out[i].Known() && out[i].Param == "" {
				out[i] = c.fresh()
				if rest < 0 {
					rest = -2 - i // a size that is not known may still follow, when it is the only one
				}
			}
		}
	}
	if rest < -1 {
		rest = -2 - rest
	}
	if rest >= 0 && in != nil {
		if d, ok := quotient(in, out, rest); ok {
			out[rest] = d
		}
	}
	c.set(0, c.dtype(0), out)
	if len(out) <= 1 {
		c.out[0].val = c.val(0)
	}
}

// quotient returns the size that out must have at dimension i to hold as many elements as in: the product of in
// divided by that of the other dimensions, after named dimensions that both have are cancelled.
func quotient(in, out Shape, i int) (Dim, bool) {
	left := append(Shape{}, in...)
	num, den := int64(1), int64(1)
	for j, d := range out {
		if j == i {
			continue
		}
		if d.Known() {
			if d.Size == 0 || den > math.MaxInt64/d.Size {
				return Dim{}, false
			}
			den *= d.Size
			continue
		}
		found := false
		for k := range left {
			if same(left[k], d) {
				left = append(left[:k], left[k+1:]...)
				found = true
				break
			}
		}
		if !found {
			return Dim{}, false
		}
	}
	var name *Dim
	for k, d := range left {
		switch {
		case !d.Known() && name == nil:
			name = &left[k]
		case !d.Known():
			return Dim{}, false
		case d.Size != 0 && num > math.MaxInt64/d.Size:
			return Dim{}, false
		default:
			num *= d.Size
		}
	}
	if name != nil {
		return *name, num == den
	}
	return Dim{Size: num / den}, num%den == 0
}

// product returns the product of dimensions; unknown unless all are known, or one is named and the rest are 1.
func (c *inferCall) product(s Shape) Dim {
	d, ok := quotient(s, Shape{{Size: -1}}, 0)
	if !ok {
		return c.fresh()
	}
	return d
}

func inferFlatten(c *inferCall) {
	s := c.shape(0)
	if s == nil {
		c.set(0, c.dtype(0), c.unknown(2))
		return
	}
	a := int(c.n.Int("axis", 1))
	if a < 0 {
		a += len(s)
	}
	if a >= 0 && a <= len(s) {
		c.set(0, c.dtype(0), Shape{c.product(s[:a]), c.product(s[a:])})
	}
}

func inferSqueeze(c *inferCall) {
	s := c.shape(0)
	axes := c.ints("axes", 1)
	c.set(0, c.dtype(0), nil)
	if s == nil || axes == nil && c.given("axes", 1) {
		return
	}
	drop := map[int]bool{}
	for _, a := range axes {
		drop[axis(a, len(s))] = true
	}
	out := Shape{}
	for i, d := range s {
		if axes == nil && !d.Known() {
			return
		}
		if !drop[i] && (axes != nil || d.Size != 1) {
			out = append(out, d)
		}
	}
	c.set(0, c.dtype(0), out)
	c.out[0].val = c.val(0)
}

func inferUnsqueeze(c *inferCall) {
	s := c.shape(0)
	axes := c.ints("axes", 1)
	c.set(0, c.dtype(0), nil)
	if s == nil || axes == nil || len(axes) > 64 {
		return
	}
	rank := len(s) + len(axes)
	put := map[int]bool{}
	for _, a := range axes {
		put[axis(a, rank)] = true
	}
	out := Shape{}
	for i, j := 0, 0; i < rank; i++ {
		if put[i] {
			out = append(out, Dim{Size: 1})
		} else if j < len(s) {
			out = append(out, s[j])
			j++
		}
	}
	c.set(0, c.dtype(0), out)
	if len(s) == 0 {
		c.out[0].val = c.val(0)
	}
}

func inferTranspose(c *inferCall) {
	s := c.shape(0)
	perm := c.n.Ints("perm")
	if s == nil || perm != nil && len(perm) != len(s) {
		c.set(0, c.dtype(0), nil)
		return
	}
	out := make(Shape, len(s))
	for i := range out {
		p := len(s) - 1 - i
		if perm != nil {
			if p = axis(perm[i], len(s)); p < 0 {
				return
			}
		}
		out[i] = s[p]
	}
	c.set(0, c.dtype(0), out)
}

func inferConcat(c *inferCall) {
	c.set(0, c.dtype(0), nil)
	s := c.shape(0)
	a := axis(c.n.Int("axis", 1), len(s))
	if s == nil || a < 0 {
		return
	}
	out := append(Shape{}, s...)
	val := []sym{}
	for i := range c.in {
		t := c.shape(i)
		if len(t) != len(s) {
			return
		}
		for j, d := range t {
			switch {
			case j == a && i > 0 && d.Known() && out[j].Known():
				out[j].Size += d.Size
			case j == a && i > 0 && !(d.Known() && d.Size == 0):
				out[j] = c.fresh()
			case j != a && !out[j].Known() && d.Known():
				out[j] = d
			}
		}
		if v := c.val(i); v == nil || val == nil || len(val)+len(v) > maxValue {
			val = nil
		} else {
			val = append(val, v...)
		}
	}
	c.set(0, c.dtype(0), out)
	if len(s) == 1 {
		c.out[0].val = val
	}
}

func inferSplit(c *inferCall) {
	s := c.shape(0)
	a := axis(c.n.Int("axis", 0), len(s))
	sizes := c.ints("split", 1)
	n := int64(len(c.n.Outputs))
	from := int64(0)
	for i := range c.n.Outputs {
		c.set(i, c.dtype(0), nil)
		if s == nil || a < 0 {
			continue
		}
		out := append(Shape{}, s...)
		switch {
		case sizes != nil && len(sizes) == len(c.n.Outputs):
			out[a] = known(sizes[i]).dim()
		case sizes == nil && !c.given("split", 1) && s[a].Known():
			chunk := (s[a].Size + n - 1) / n
			out[a].Size = max(min(chunk, s[a].Size-int64(i)*chunk), 0)
		default:
			out[a] = c.fresh()
		}
		c.set(i, c.dtype(0), out)
		if v := c.val(0); v != nil && len(s) == 1 && out[a].Known() && from+out[a].Size <= int64(len(v)) {
			c.out[i].val = v[from : from+out[a].Size]
		}
		from += max(out[a].Size, 0)
	}
}

func inferSlice(c *inferCall) {
	s := c.shape(0)
	c.set(0, c.dtype(0), nil)
	if s == nil {
		return
	}
	starts, ends := c.ints("starts", 1), c.ints("ends", 2)
	axes, steps := c.ints("axes", 3), c.ints("steps", 4)
	out := append(Shape{}, s...)
	if axes == nil && !c.given("axes", 3) {
		n := len(starts)
		if t := c.shape(1); len(t) == 1 && t[0].Known() {
			n = int(min(t[0].Size, int64(len(s))))
		}
		for i := range n {
			axes = append(axes, int64(i))
		}
	}
	if axes == nil || c.given("steps", 4) && steps == nil {
		c.set(0, c.dtype(0), c.unknown(len(s)))
		return
	}
	val := c.val(0)
	for i, ax := range axes {
		a := axis(ax, len(s))
		if a < 0 {
			return
		}
		step := int64(1)
		if i < len(steps) {
			step = steps[i]
		}
		if i >= len(starts) || i >= len(ends) || step == 0 {
			if i < len(starts) && starts[i] == 0 && step == 1 && i < len(c.val(2)) && same(c.val(2)[i].dim(), s[a]) {
				continue // 0 up to the size itself
			}
			out[a], val = c.fresh(), nil
			continue
		}
		if !s[a].Known() {
			full := step == 1 && starts[i] == 0 && ends[i] >= math.MaxInt32
			if !full && !(step == -1 && starts[i] == -1 && ends[i] <= -math.MaxInt32) {
				out[a] = c.fresh()
			}
			val = nil
			continue
		}
		lo, n := sliceRange(starts[i], ends[i], step, s[a].Size)
		out[a] = Dim{Size: n}
		if val != nil && len(s) == 1 {
			var cut []sym
			for k := range n {
				if j := lo + k*step; j < int64(len(val)) {
					cut = append(cut, val[j])
				}
			}
			val = append([]sym{}, cut...)
		}
	}
	c.set(0, c.dtype(0), out)
	if len(s) == 1 {
		c.out[0].val = val
	}
}

// sliceRange returns the first index and the number of elements that a slice of size elements has.
func sliceRange(start, end, step, size int64) (lo, n int64) {
	clamp := func(v, lo, hi int64) int64 {
		if v < 0 {
			v += size
		}
		return min(max(v, lo), hi)
	}
	if step > 0 {
		lo, end = clamp(start, 0, size), clamp(end, 0, size)
		if end > lo {
			n = (end-lo-1)/step + 1
		}
		return lo, n
	}
	lo, end = clamp(start, 0, size-1), clamp(end, -1, size-1)
	if size > 0 && lo > end {
		n = (lo-end-1)/max(-step, 1) + 1
	}
	return lo, n
}
