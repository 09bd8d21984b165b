package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestConvBlockedHalf wants of weights in half precision, with a factor per channel, the bits of the same weights widened and
// multiplied beforehand, from every instruction set, with and without threads, and in tiles.
func TestConvBlockedHalf(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 7))
	p := NewPool(3, 0)
	defer p.Close()
	for i := range cases(10000) {
		c := randBlockCase(r)
		if i%8 != 0 { // most are tiny: the Go twin is slow
			c.g.H, c.g.W = min(c.g.H, 3), min(c.g.W, 9)
			c.g.OH, c.g.OW = OutputSize(c.g.H, c.g.KH, c.g.SH, c.g.DH, c.g.Top, c.g.Bottom), OutputSize(c.g.W, c.g.KW, c.g.SW, c.g.DW, c.g.Left, c.g.End)
			c.res = nil
		}
		half, kind := make([]uint16, len(c.w)), HalfKind(r.IntN(2))
		if kind == F16 {
			F32ToF16(half, c.w)
			F16ToF32(c.w, half)
		} else {
			F32ToBF16(half, c.w)
			BF16ToF32(c.w, half)
		}
		var scale []float32
		if r.IntN(3) > 0 {
			scale = randSlice(r, c.cout)
			each := len(c.w) / c.cout
			for k := range c.w {
				c.w[k] *= scale[k/each]
			}
		}
		for _, isa := range floatLevels() {
			if isa == Generic && i%8 != 0 && Detect() != Generic && i%3 != 0 {
				continue
			}
			restore := Limit(isa)
			want := c.run(nil)
			h := *c
			h.half, h.kind, h.scale = half, kind, scale
			if at := sameBits(h.run(nil), want); at >= 0 {
				t.Fatalf("%v: case %d, %v, %v: element %d", isa, i, kind, c, at)
			}
			if i%16 == 0 {
				if at := sameBits(h.run(p), want); at >= 0 {
					t.Fatalf("%v: case %d, %v, %v: threads change element %d", isa, i, kind, c, at)
				}
			}
			if c.g.KH == 3 && c.g.KW == 3 && c.groups == 1 && !c.plain && c.cin >= ChannelBlock {
				a, b := NewWinograd(c.pack(), 2), NewWinograd(h.pack(), 2)
				if !slices.Equal(a.gemm.data, b.gemm.data) || a.Bound() != b.Bound() { // zeros that fill up may be -0
					t.Fatalf("%v: case %d, %v: the transformed weights differ", isa, i, c)
				}
			}
			restore()
		}
		if k := c.pack(); k.Bytes() < 4*int64(len(c.w)) {
			t.Fatalf("%v: %d bytes", c, k.Bytes())
		} else if h := (&blockCase{half: half, cout: c.cout, cin: c.cin, groups: c.groups, plain: c.plain, g: c.g}).pack(); h.Bytes()-8*int64(len(h.bias)) != (k.Bytes()-4*int64(len(k.bias)))/2 {
			t.Fatalf("%v: %d bytes in half precision, %d in float32", c, h.Bytes(), k.Bytes())
		}
	}
}
