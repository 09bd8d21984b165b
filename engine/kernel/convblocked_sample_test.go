package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestConvBlockedSampled: strided 1x1 windows, whose pixels are copied first, in one group or several, on one thread or several: the same bits as at
// every level, and within the bound of check of the definition.
func TestConvBlockedSampled(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 9))
	p := NewPool(3, 0)
	defer p.Close()
	grouped := 0
	for i := range cases(2000) {
		c := &blockCase{n: 1 + r.IntN(2), groups: 1 + r.IntN(3), g: Window{H: 1 + r.IntN(7), W: 1 + r.IntN(12), KH: 1, KW: 1, SH: 1 + r.IntN(3), SW: 1 + r.IntN(3), DH: 1, DW: 1}}
		if i%50 == 0 { // large enough for several threads to copy
			c.g.H, c.g.W = 40+r.IntN(8), 40+r.IntN(8)
		}
		c.cin, c.cout = 1+r.IntN(40), minSampleOuts*ChannelBlock+1-r.IntN(ChannelBlock)
		if c.groups > 1 { // whole blocks per group
			c.cin, c.cout = ChannelBlock*(1+r.IntN(2)), c.groups*ChannelBlock*(minSampleOuts+r.IntN(2))
		}
		if c.g.SH*c.g.SW == 1 {
			c.g.SW = 2
		}
		c.g.OH, c.g.OW = OutputSize(c.g.H, 1, c.g.SH, 1, 0, 0), OutputSize(c.g.W, 1, c.g.SW, 1, 0, 0)
		c.act = []Activation{ActNone, ActRelu, ActHardSwish, ActSigmoid}[r.IntN(4)]
		c.x, c.w = randSlice(r, c.n*c.cin*c.groups*c.g.H*c.g.W), randSlice(r, c.cout*c.cin)
		if r.IntN(3) > 0 {
			c.bias = randSlice(r, c.cout)
		}
		if r.IntN(3) == 0 {
			c.res = randSlice(r, c.n*c.cout*c.g.OH*c.g.OW)
		}
		w := PackConv(c.w, c.bias, c.cout, c.cin, c.groups, 1, 1, false)
		if w.depth || w.outs/w.Groups < minSampleOuts || !c.g.sampling() {
			t.Fatalf("case %d, %v: its pixels are not copied", i, c)
		}
		if c.groups > 1 {
			grouped++
		}
		var want []float32
		for _, isa := range floatLevels() {
			if isa == Generic && i%8 != 0 && Detect() != Generic {
				continue
			}
			restore := Limit(isa)
			got, spread := c.run(nil), c.run(p)
			restore()
			if at := sameBits(spread, got); at >= 0 {
				t.Fatalf("%v: case %d, %v: threads change element %d", isa, i, c, at)
			}
			if want == nil {
				want = got
				y := make([]float32, c.n*c.cout*c.g.OH*c.g.OW)
				UnblockChannels(nil, c.n, c.cout, c.g.OH*c.g.OW, y, got)
				c.check(t, y)
			} else if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d, %v: element %d is %g, want %g", isa, i, c, at, got[at], want[at])
			}
		}
	}
	if grouped == 0 {
		t.Error("no groups")
	}
}
