package engine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// qlinearOps are the integer operators that the pass qdq makes. Their values are unsigned bytes (signed ones are moved by 128),
// images lie channels last: [N, H, W, C] or [N, W, C].
func qlinearOps() map[string]opDef {
	t := qlinearMicroOps()
	maps.Copy(t, qualify(fusedDomain, map[string]opDef{
		"QuantConv":              {run: opQuantConv, prep: prepQuantConv},
		"QuantTranspose":         {run: opQuantTranspose, prep: prepQuantTranspose},
		"QuantLookup":            plain(opQuantLookup),
		"QuantAdd":               plain(opQuantBinary),
		"QuantMul":               plain(opQuantBinary),
		"QuantConcat":            plain(opQuantConcat),
		"QuantMaxPool":           plain(opQuantMaxPool),
		"QuantAveragePool":       plain(opQuantAveragePool),
		"QuantGlobalAveragePool": plain(opQuantGlobalAveragePool),
		"FlipSign":               plain(opFlipSign),
		"ChannelsLast":           plain(opChannelsLast),
		"ChannelsFirst":          plain(opChannelsFirst),
	}))
	return t
}

// quantConvState is what prepQuantConv makes.
type quantConvState struct{ conv *kernel.ConvU8 }

func (*quantConvState) packedWeight() {}

// byteAttr reads an attribute that holds a byte.
func byteAttr(n *model.Node, name string) uint8 { return uint8(n.Int(name, 0)) }

// prepQuantConv packs x, W [Cout, Cin/groups, kernel...] int8, scale, bias, table, zero points of W.
func prepQuantConv(p *prep) (any, error) {
	w, st := p.constant(1), p.constant(2)
	if w == nil || st == nil || w.DType() != model.Int8 || w.Rank() < 2 {
		return nil, fmt.Errorf("the weights are no constant")
	}
	n := p.node
	cfg := kernel.ConvU8Config{Groups: int(n.Int("group", 1)), KH: 1, KW: 1, Cout: w.Shape()[0],
		ZeroX: byteAttr(n, "zx"), ZeroY: byteAttr(n, "zy"), Lo: byteAttr(n, "lo"), Hi: byteAttr(n, "hi")}
	cfg.Cin = w.Shape()[1] * cfg.Groups
	cfg.Dilated = slices.ContainsFunc(attrInts(n, "dilations"), func(d int) bool { return d != 1 })
	if w.Rank() > 2 {
		cfg.KW = w.Shape()[w.Rank()-1]
	}
	if w.Rank() > 3 {
		cfg.KH = w.Shape()[2]
	}
	kind := fmt.Sprintf("quantized conv %d %d %d %d %d %t %q", cfg.Groups, cfg.ZeroX, cfg.ZeroY, cfg.Lo, cfg.Hi, cfg.Dilated, n.Inputs[2:])
	conv, err := pack(p, w, kind, func() (*kernel.ConvU8, int64, error) {
		if err := quantConvWeights(p, &cfg); err != nil {
			return nil, 0, err
		}
		k := kernel.NewConvU8(cfg)
		k.W = slices.Clone(k.W) // where it is kept
		return k, k.Bytes(), nil
	}, st, p.constant(3), p.constant(4), p.constant(5))
	if err != nil {
		return nil, err
	}
	return &quantConvState{conv: conv}, nil
}

// quantConvWeights reads the constants of a convolution; but for the weights they are copies, as sessions share them.
func quantConvWeights(p *prep, cfg *kernel.ConvU8Config) (err error) {
	if cfg.W, err = model.Data[int8](p.constant(1)); err != nil {
		return err
	}
	if cfg.Scale, err = model.Data[float32](p.constant(2)); err != nil {
		return err
	}
	cfg.Scale = slices.Clone(cfg.Scale)
	if b := p.constant(3); b != nil {
		if cfg.Bias, err = model.Data[int32](b); err != nil {
			return err
		}
		cfg.Bias = slices.Clone(cfg.Bias)
	}
	if t := p.constant(4); t != nil {
		if cfg.Table, err = tableOf(t); err != nil {
			return err
		}
		table := *cfg.Table
		cfg.Table = &table
	}
	if z := p.constant(5); z != nil {
		if cfg.ZeroW, err = model.Data[int8](z); err != nil {
			return err
		}
		cfg.ZeroW = slices.Clone(cfg.ZeroW)
	}
	return nil
}

// tableOf reads a table of 256 bytes.
func tableOf(t *model.Tensor) (*[256]uint8, error) {
	b, err := model.Data[uint8](t)
	if err != nil {
		return nil, err
	}
	if len(b) != 256 {
		return nil, errShape("table", t, "[256]")
	}
	return (*[256]uint8)(b), nil
}

// bytesOf returns input i, which must be unsigned bytes.
func bytesOf(c *Call, i int) (*model.Tensor, []uint8, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, nil, err
	}
	if t.DType() != model.Uint8 {
		return nil, nil, errUnfused
	}
	b, err := model.Data[uint8](t)
	return t, b, err
}

// lastImage splits [N, spatial..., C].
func lastImage(t *model.Tensor) (n, ch int, spatial []int, err error) {
	r := t.Rank()
	if r < 3 {
		return 0, 0, nil, errShape("input", t, "[N spatial... C]")
	}
	return t.Shape()[0], t.Shape()[r-1], t.Shape()[1 : r-1], nil
}

// opQuantConv is a convolution, or, with the attribute matmul, a product of the rows of x with the transposed weights.
func opQuantConv(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	st, ok := c.st.state.(*quantConvState)
	if !ok {
		return fmt.Errorf("not prepared")
	}
	q, w := st.conv, c.In[1].Shape()
	shape := append([]int(nil), x.Shape()...)
	if len(shape) == 0 || shape[len(shape)-1] != q.Cin {
		return fmt.Errorf("weights %v do not fit X %v", w, x.Shape())
	}
	shape[len(shape)-1] = q.Cout
	var g kernel.Window
	n := 1
	if c.Node.Int("matmul", 0) != 0 {
		rows := product(shape[:len(shape)-1])
		g = kernel.Window{H: 1, W: rows, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, OH: 1, OW: rows}
	} else {
		var spatial []int
		if n, _, spatial, err = lastImage(x); err != nil {
			return err
		}
		if len(spatial) != len(w)-2 {
			return fmt.Errorf("weights %v do not fit X %v", w, x.Shape())
		}
		win, err := c.window(spatial, w[2:], false)
		if err != nil {
			return err
		}
		copy(shape[1:], win.out)
		g, _ = win.window2D()
		if len(src) > 0 && !mayPad(c, q.Scratch(&g), len(src)/n) {
			return errUnfused
		}
	}
	y, err := Out[uint8](c, 0, shape)
	if err != nil || len(y) == 0 {
		return err
	}
	c.Note(q.String(), int64(len(y))*q.MACs(), q.Bytes())
	q.Run(c.pool, n, &g, src, y)
	return nil
}

// opQuantLookup maps every byte by a table: x, table.
func opQuantLookup(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	tt, err := c.Need(1)
	if err != nil {
		return err
	}
	t, err := tableOf(tt)
	if err != nil {
		return err
	}
	y, err := c.AllocLike(0, model.Uint8, x.Shape(), 0)
	if err != nil {
		return err
	}
	dst, err := model.Data[uint8](y)
	if err != nil {
		return err
	}
	c.Note("lookup", 0, 0)
	rowsParallel(c.pool, len(src), 1, func(lo, hi int) { kernel.Lookup(dst[lo:hi], src[lo:hi], t) })
	return nil
}

// opQuantBinary adds or multiplies two quantized tensors with broadcasting; sa, sb, sc, za, zb, zc, lo and hi are attributes.
func opQuantBinary(c *Call) error {
	a, x, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	b, y, err := bytesOf(c, 1)
	if err != nil {
		return err
	}
	shape, err := broadcastShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	z, err := Out[uint8](c, 0, shape)
	if err != nil || len(z) == 0 {
		return err
	}
	n := c.Node
	sa, sb, sc := n.Float("sa", 1), n.Float("sb", 1), n.Float("sc", 1)
	za, zb, zc, lo, hi := byteAttr(n, "za"), byteAttr(n, "zb"), byteAttr(n, "zc"), byteAttr(n, "lo"), byteAttr(n, "hi")
	add, mul := kernel.NewAddU8(sa, sb, sc, za, zb, zc, lo, hi), kernel.NewMulU8(sa, sb, sc, za, zb, zc, lo, hi)
	apply := add.Apply
	if n.Op == "QuantMul" {
		apply = mul.Apply
	}
	c.NoteISA("bytes", 0, 0)
	broadcastBytes(c, z, x, y, a.Shape(), b.Shape(), shape, apply)
	return nil
}

// broadcastBytes calls apply for the rows of z[shape], with x[sx] and y[sy] broadcast to it.
func broadcastBytes(c *Call, z, x, y []uint8, sx, sy, shape []int, apply func(dst, a, b []uint8)) {
	if sameShape(sx, sy) {
		rowsParallel(c.pool, len(z), 1, func(lo, hi int) { apply(z[lo:hi], x[lo:hi], y[lo:hi]) })
		return
	}
	l := newLoops(shape, broadcastStrides(sx, shape), broadcastStrides(sy, shape))
	w := l.inner()
	var same [2][]uint8 // an operand that stays the same along a row is spelled out
	for k := range same {
		if l.str[k][len(l.dims)-1] == 0 {
			same[k] = Scratch[uint8](c, w)
		}
	}
	var off [2]int
	for r := range l.rows() {
		l.offsets(r, off[:])
		row := [2][]uint8{x[off[0]:], y[off[1]:]}
		for k, s := range same {
			if s != nil {
				for i := range s {
					s[i] = row[k][0]
				}
				row[k] = s
			}
		}
		apply(z[r*w:(r+1)*w], row[0][:w], row[1][:w])
	}
}

// opQuantConcat joins x0, table0, x1, table1, ... along an axis; a table maps an input to the scale of the output.
func opQuantConcat(c *Call) error {
	var shape []int
	ax := 0
	var err error
	for i := 0; i < c.NumIn(); i += 2 {
		x, _, err := bytesOf(c, i)
		if err != nil {
			return err
		}
		if shape == nil {
			shape = append([]int(nil), x.Shape()...)
			if ax, err = axis(int(c.Node.Int("axis", 0)), len(shape)); err != nil {
				return err
			}
			shape[ax] = 0
		}
		if x.Rank() != len(shape) {
			return errShape(fmt.Sprintf("input %d", i/2), x, fmt.Sprintf("rank %d", len(shape)))
		}
		for k, d := range x.Shape() {
			if k == ax {
				shape[k] += d
			} else if d != shape[k] {
				return errShape(fmt.Sprintf("input %d", i/2), x, fmt.Sprint(shape))
			}
		}
	}
	dst, err := Out[uint8](c, 0, shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	outer, row, at := product(shape[:ax]), product(shape[ax:]), 0
	for i := 0; i < c.NumIn(); i += 2 {
		x, src, err := bytesOf(c, i)
		if err != nil {
			return err
		}
		w := product(x.Shape()[ax:])
		var t *[256]uint8
		if tt := c.Arg(i + 1); tt != nil {
			if t, err = tableOf(tt); err != nil {
				return err
			}
		}
		for o := range outer {
			d := dst[o*row+at:][:w]
			if t == nil {
				copy(d, src[o*w:])
			} else {
				kernel.Lookup(d, src[o*w:][:w], t)
			}
		}
		at += w
	}
	return nil
}

// opFlipSign turns signed bytes into unsigned ones, moved by 128, and back.
func opFlipSign(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if !isByte(x) {
		return errUnfused
	}
	src, err := x.Bytes()
	if err != nil {
		return err
	}
	to := model.Uint8
	if x.DType() == model.Uint8 {
		to = model.Int8
	}
	y, err := c.Alloc(0, to, x.Shape())
	if err != nil {
		return err
	}
	dst, err := y.Bytes()
	if err != nil {
		return err
	}
	kernel.FlipU8(dst, src)
	return nil
}

// opChannelsLast moves the channels of [N, C, spatial...] to the end.
func opChannelsLast(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	n, ch, spatial, err := imageShape(x)
	if err != nil {
		return err
	}
	plane := product(spatial)
	shape := append(append([]int{n}, spatial...), ch)
	if plane == 1 || ch == 1 {
		return c.view(x, shape)
	}
	dst, err := Out[uint8](c, 0, shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	for i := range n {
		d, s := dst[i*plane*ch:(i+1)*plane*ch], src[i*plane*ch:(i+1)*plane*ch]
		if ch < 8 {
			kernel.InterleaveU8(d, s, ch)
		} else {
			kernel.TransposeU8(d, s, ch, plane)
		}
	}
	return nil
}

// view makes output 0 the input x in another shape.
func (c *Call) view(x *model.Tensor, shape []int) error {
	t, err := x.Reshape(shape)
	if err == nil {
		c.Set(0, t)
	}
	return err
}

// opChannelsFirst is the inverse of opChannelsLast.
func opChannelsFirst(c *Call) error {
	x, src, err := bytesOf(c, 0)
	if err != nil {
		return err
	}
	n, ch, spatial, err := lastImage(x)
	if err != nil {
		return err
	}
	plane := product(spatial)
	shape := append([]int{n, ch}, spatial...)
	if plane == 1 || ch == 1 {
		return c.view(x, shape)
	}
	dst, err := Out[uint8](c, 0, shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	for i := range n {
		kernel.TransposeU8(dst[i*plane*ch:(i+1)*plane*ch], src[i*plane*ch:(i+1)*plane*ch], plane, ch)
	}
	return nil
}
