package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestConvBlockedFew is TestConvBlocked of images of up to fewPixels outputs and of so many channels that four blocks of them are computed together.
func TestConvBlockedFew(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 8))
	p := NewPool(3, 0)
	defer p.Close()
	for i := range cases(20000) {
		c := &blockCase{n: 1, groups: 1, cin: 1 + r.IntN(4), cout: 3*ChannelBlock + 1 + r.IntN(2*ChannelBlock)}
		switch r.IntN(40) {
		case 0:
			c.n, c.groups, c.cin, c.cout = 1+r.IntN(2), 2, ChannelBlock, 8*ChannelBlock
		case 1: // several passes of input channels, more than one group of four blocks
			c.cin, c.cout = 30+r.IntN(40), 6*ChannelBlock+r.IntN(2*ChannelBlock)
		case 2:
			c.plain = true
		}
		g := &c.g
		for g.OH*g.OW == 0 || g.OH*g.OW > fewPixels {
			*g = Window{H: 1 + r.IntN(3), W: 1 + r.IntN(4), KH: 1, KW: 1, SH: 1 + r.IntN(2), SW: 1 + r.IntN(3), DH: 1 + r.IntN(2), DW: 1 + r.IntN(2)}
			if r.IntN(2) == 0 {
				g.KH, g.KW, g.Top, g.Left, g.Bottom, g.End = 1+r.IntN(2), 1+r.IntN(3), r.IntN(2), r.IntN(2), r.IntN(2), r.IntN(2)
			}
			g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
		}
		c.act = []Activation{ActNone, ActRelu, ActClip6, ActHardSwish, ActHardSigmoid, ActSigmoid}[r.IntN(6)]
		c.x, c.w = randSlice(r, c.n*c.cin*c.groups*g.H*g.W), randSlice(r, c.cout*c.cin*g.KH*g.KW)
		if r.IntN(3) > 0 {
			c.bias = randSlice(r, c.cout)
		}
		if r.IntN(3) == 0 {
			c.res = randSlice(r, c.n*c.cout*g.OH*g.OW)
		}
		var want []float32
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := c.run(nil)
			if i%16 == 0 {
				if at := sameBits(c.run(p), got); at >= 0 {
					t.Fatalf("%v: case %d, %v: threads change element %d", isa, i, c, at)
				}
			}
			restore()
			if want == nil {
				want = got
				y := make([]float32, c.n*c.cout*g.OH*g.OW)
				UnblockChannels(nil, c.n, c.cout, g.OH*g.OW, y, got)
				c.check(t, y)
			} else if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d, %v: element %d is %g, want %g", isa, i, c, at, got[at], want[at])
			}
		}
	}
}
