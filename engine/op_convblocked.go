package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// Attributes of operators on blocked images (see layoutPass): the number of channels, that X is not blocked, and what a
// HardSigmoid has.
const (
	channelsAttr = "wattshed.channels"
	plainAttr    = "wattshed.plain"
	alphaAttr    = "wattshed.alpha"
	betaAttr     = "wattshed.beta"
)

// blockedOps work on images [N, C/16, H, W, 16].
func blockedOps() map[string]opDef {
	return qualify(fusedDomain, map[string]opDef{
		"Block":              plain(opBlock),
		"Unblock":            plain(opUnblock),
		"BlockedConv":        {run: opBlockedConv, prep: prepBlockedConv},
		"BlockedMaxPool":     plain(opBlockedPool),
		"BlockedAveragePool": plain(opBlockedPool),
		"BlockedMean":        plain(opBlockedMean),
		"BlockedScale":       plain(opBlockedScale),
	})
}

// blocksOf is the number of blocks of c channels.
func blocksOf(c int) int { return (c + kernel.ChannelBlock - 1) / kernel.ChannelBlock }

// blockedImage returns the sizes of an image tensor [N, blocks, H, W, 16] of float32.
func blockedImage(t *model.Tensor) (n, blocks, h, w int, x []float32, err error) {
	s := t.Shape()
	if len(s) != 5 || s[4] != kernel.ChannelBlock {
		return 0, 0, 0, 0, nil, errShape("input", t, "[N C/16 H W 16]")
	}
	x, err = model.Data[float32](t)
	return s[0], s[1], s[2], s[3], x, err
}

// opBlock changes [N, C, H, W] to the blocked layout.
func opBlock(c *Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	s := t.Shape()
	if want := int(c.Node.Int(channelsAttr, 0)); len(s) != 4 || s[1] != want {
		return errShape("input", t, fmt.Sprintf("[N %d H W]", want))
	}
	x, err := model.Data[float32](t)
	if err != nil {
		return err
	}
	y, err := Out[float32](c, 0, []int{s[0], blocksOf(s[1]), s[2], s[3], kernel.ChannelBlock})
	if err != nil || len(y) == 0 {
		return err
	}
	kernel.BlockChannels(c.pool, s[0], s[1], s[2]*s[3], y, x)
	return nil
}

// opUnblock is the inverse of opBlock.
func opUnblock(c *Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	n, blocks, h, w, x, err := blockedImage(t)
	if err != nil {
		return err
	}
	ch := int(c.Node.Int(channelsAttr, 0))
	if blocksOf(ch) != blocks {
		return errShape("input", t, fmt.Sprintf("blocks of %d channels", ch))
	}
	shape := []int{n, ch, h, w}
	if h*w == 1 && ch%kernel.ChannelBlock == 0 {
		v, err := t.Reshape(shape)
		if err != nil {
			return err
		}
		c.Set(0, v)
		return nil
	}
	y, err := Out[float32](c, 0, shape)
	if err != nil || len(y) == 0 {
		return err
	}
	kernel.UnblockChannels(c.pool, n, ch, h*w, y, x)
	return nil
}

// geometry returns the window over an image of h x w pixels.
func (st *blockedConv) geometry(n *model.Node, h, w int) (*blockedGeometry, error) {
	if l := st.last.Load(); l != nil && l.h == h && l.w == w {
		return l, nil
	}
	win, err := newWindow(n, []int{h, w}, []int{st.packed.KH, st.packed.KW}, false)
	if err != nil {
		return nil, err
	}
	g, _ := win.window2D()
	l := &blockedGeometry{h, w, g, nil}
	if g.SH == 1 && g.SW == 1 && g.DH == 1 && g.DW == 1 {
		l.by = st.choose(g.OH, g.OW)
	}
	st.last.Store(l)
	return l, nil
}

func prepBlockedConv(p *prep) (any, error) {
	w, b := p.constant(1), p.constant(2)
	if w == nil || w.Rank() != 4 {
		return nil, fmt.Errorf("the weights are not constant")
	}
	var bias []float32
	if b != nil {
		var err error
		if bias, err = model.Data[float32](b); err != nil {
			return nil, err
		}
	}
	s, groups, isPlain := w.Shape(), int(p.node.Int("group", 1)), p.node.Int(plainAttr, 0) != 0
	kind, from, with := fmt.Sprintf("blocked conv %q %d %v", p.node.In(2), groups, isPlain), p.c.source(w), []*model.Tensor{b}
	if from.by != nil {
		kind, with = fmt.Sprintf("%s scaled %q", kind, p.node.In(1)), append(with, model.FromSlice([]int{len(from.by)}, from.by))
	}
	conv, err := pack(p, from.of, kind, func() (*tiledConv, int64, error) {
		k, err := packConv(from, bias, s, groups, isPlain)
		if err != nil {
			return nil, 0, err
		}
		return &tiledConv{packed: k}, k.Bytes(), nil
	}, with...)
	if err != nil {
		return nil, err
	}
	st := &blockedConv{tiledConv: conv}
	switch kernel.Activation(p.node.Int(actAttr, 0)) {
	case kernel.ActNone, kernel.ActRelu, kernel.ActHardSwish, kernel.ActSiLU: // not those that hide how large the sums are
		if !p.c.opts.Exact && groups == 1 && s[1] >= kernel.ChannelBlock && s[0] >= kernel.ChannelBlock && s[2] == 3 && s[3] == 3 {
			st.tiles = 4
		}
	}
	return st, nil
}

// packConv packs weights of shape s, those in half precision so.
func packConv(from scaledWeight, bias []float32, s []int, groups int, isPlain bool) (*kernel.PackedConv, error) {
	if isHalf(from.of) {
		w, err := model.Data[uint16](from.of)
		if err != nil {
			return nil, err
		}
		var scale []float32
		for _, x := range from.by {
			scale = append(scale, float32(x))
		}
		return kernel.PackConvHalf(halfKind(from.of.DType()), w, scale, bias, s[0], s[1], groups, s[2], s[3], isPlain), nil
	}
	w, err := model.Data[float32](from.of)
	if err != nil {
		return nil, err
	}
	k := kernel.PackConv(w, bias, s[0], s[1], groups, s[2], s[3], isPlain)
	if from.by != nil {
		k.Scale(from.by)
	}
	return k, nil
}

// opBlockedConv is act(Conv(X, W, B) + residual): X blocked or, with plainAttr, [N, C, H, W]; the residual lies like Y.
func opBlockedConv(c *Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	st := c.st.state.(*blockedConv)
	k := st.packed
	s := t.Shape()
	cin := k.Cin * k.Groups
	switch {
	case k.Plain && (len(s) != 4 || s[1] != cin):
		return errShape("input", t, fmt.Sprintf("[N %d H W]", cin))
	case !k.Plain && (len(s) != 5 || s[1] != blocksOf(cin) || s[4] != kernel.ChannelBlock):
		return errShape("input", t, fmt.Sprintf("[N %d H W %d]", blocksOf(cin), kernel.ChannelBlock))
	}
	x, err := model.Data[float32](t)
	if err != nil {
		return err
	}
	geo, err := st.geometry(c.Node, s[2], s[3])
	if err != nil {
		return err
	}
	g := &geo.g
	shape := []int{s[0], blocksOf(k.Cout), g.OH, g.OW, kernel.ChannelBlock}
	ep := kernel.BlockEpilogue{Act: c.act(), Alpha: c.Node.Float(alphaAttr, 0), Beta: c.Node.Float(betaAttr, 0)}
	if r := c.Arg(3); r != nil {
		if !sameShape(r.Shape(), shape) {
			return errShape("residual", r, "that of the output")
		}
		if ep.Residual, err = model.Data[float32](r); err != nil {
			return err
		}
	}
	y, err := Out[float32](c, 0, shape)
	if err != nil || len(y) == 0 {
		return err
	}
	kind := "blocked"
	switch {
	case k.Groups > 1 && k.Cin == 1:
		kind = "blocked-depthwise"
	case geo.by != nil:
		kind = "winograd"
	}
	c.NoteISA(kind, int64(s[0])*int64(k.Cout)*int64(g.OH*g.OW)*int64(k.Cin)*int64(k.KH*k.KW), k.Bytes())
	if geo.by != nil {
		geo.by.Conv(c.pool, s[0], y, x, g, ep)
	} else {
		kernel.ConvBlocked(c.pool, s[0], y, x, k, g, ep)
	}
	return nil
}

// opBlockedPool is MaxPool or AveragePool of blocked images.
func opBlockedPool(c *Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	n, blocks, h, w, x, err := blockedImage(t)
	if err != nil {
		return err
	}
	win, err := c.window([]int{h, w}, c.attrInts("kernel_shape"), c.Node.Int("ceil_mode", 0) != 0)
	if err != nil {
		return err
	}
	g, ok := win.window2D()
	if !ok {
		return fmt.Errorf("kernel_shape %v does not fit images", win.kernel)
	}
	y, err := Out[float32](c, 0, []int{n, blocks, g.OH, g.OW, kernel.ChannelBlock})
	if err != nil || len(y) == 0 {
		return err
	}
	kernel.PoolBlocked(c.pool, n, blocks, y, x, &g, c.Node.Op == "BlockedAveragePool", c.Node.Int("count_include_pad", 0) != 0)
	return nil
}

// opBlockedMean is GlobalAveragePool of blocked images: [N, C/16, 1, 1, 16].
func opBlockedMean(c *Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	n, blocks, h, w, x, err := blockedImage(t)
	if err != nil {
		return err
	}
	y, err := Out[float32](c, 0, []int{n, blocks, 1, 1, kernel.ChannelBlock})
	if err != nil || len(y) == 0 {
		return err
	}
	if h*w == 0 {
		for i := range y {
			y[i] = float32(math.NaN())
		}
		return nil
	}
	plane := h * w * kernel.ChannelBlock
	rowsParallel(c.pool, n*blocks, plane, func(lo, hi int) {
		kernel.MeanBlocked(y[lo*kernel.ChannelBlock:hi*kernel.ChannelBlock], x[lo*plane:hi*plane], hi-lo, h*w)
	})
	return nil
}

// opBlockedScale is X times S [N, C/16, 1, 1, 16].
func opBlockedScale(c *Call) error {
	t, err := c.Need(0)
	if err != nil {
		return err
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	n, blocks, h, w, x, err := blockedImage(t)
	if err != nil {
		return err
	}
	sn, sb, sh, sw, s, err := blockedImage(st)
	if err != nil {
		return err
	}
	if sn != n || sb != blocks || sh != 1 || sw != 1 {
		return errShape("factors", st, fmt.Sprintf("[%d %d 1 1 16]", n, blocks))
	}
	o, err := c.AllocLike(0, model.Float32, t.Shape(), 0)
	if err != nil {
		return err
	}
	y, err := model.Data[float32](o)
	if err != nil || len(y) == 0 {
		return err
	}
	kernel.ScaleBlocked(c.pool, n, blocks, h*w, y, x, s)
	return nil
}
