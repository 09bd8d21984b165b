package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// drawer returns a function that copies n of 65,536 random numbers from some place on: what many small cases take their operands from.
func drawer(r *rand.Rand) func(n int) []float32 {
	values := normals(r, 1<<16)
	return func(n int) []float32 {
		at := r.IntN(len(values) - n)
		return slices.Clone(values[at : at+n])
	}
}

// TestPackPanel compares packed panels of the columns of an image with their Go twin, half of them of few columns and half of long rows; between the
// rows of a panel only what fills them up to whole vectors may change, and nothing behind them.
func TestPackPanel(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 36))
	draw := drawer(r)
	for i := range cases(14000) {
		var g Window
		for g.OH*g.OW == 0 {
			g = Window{H: 1 + r.IntN(4), W: 16 + r.IntN(50), KH: 1 + r.IntN(3), KW: 1 + r.IntN(3), SH: 1 + r.IntN(2), SW: 1, DH: 1, DW: 1 + r.IntN(2),
				Top: r.IntN(2), Left: r.IntN(3), Bottom: r.IntN(2), End: r.IntN(3)}
			if i%2 == 0 {
				g.H, g.W, g.SW = 1+r.IntN(3), 1+r.IntN(5), 1+r.IntN(2)
			}
			g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
		}
		c, v, n := 1+r.IntN(3), g.Flat(), g.OH*g.OW
		var im convImage
		im.set(nil, c, draw(c*g.H*g.W), &v)
		j := r.IntN(panels(n))
		w := min(PanelWidth, n-j*PanelWidth)
		stride := panelStride(w)
		want := draw(len(im.offs)*stride + 9)
		before := slices.Clone(want)
		im.packPanelGo(want, j, im.offs)
		for _, isa := range floatLevels() {
			got := slices.Clone(before)
			im.packPanel(isa, got, j, im.offs)
			for at := range got {
				if q := at % stride; at < len(im.offs)*stride && q >= w {
					continue
				}
				if got[at] != want[at] {
					t.Fatalf("%v: case %d, panel %d of %+v: element %d is %g, want %g", isa, i, j, g, at, got[at], want[at])
				}
			}
		}
	}
}

// TestWidenBlocks compares blocks of weights in half precision of all bits, times a factor for each channel, with their Go twin.
func TestWidenBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 8))
	draw := drawer(r)
	for i := range cases(32000) {
		n, kind := ChannelBlock*(1+r.IntN(5)), HalfKind(i%2)
		src, scale := make([]uint16, n), draw(ChannelBlock)
		for q := range src {
			src[q] = uint16(r.Uint32())
		}
		got := draw(n + 5)
		want := slices.Clone(got)
		restore := Limit(Generic)
		widenBlocksGo(kind, want[:n], src, scale)
		restore()
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			ran := widenBlocksVec(kind, got[:n], src, scale)
			restore()
			if ran != isa.hasAVX2() {
				t.Fatalf("%v: assembly ran: %v", isa, ran)
			}
			if at := sameBits(got, want); ran && at >= 0 {
				t.Fatalf("%v: case %d, %v: element %d of %d is %g, want %g", isa, i, kind, at, n, got[at], want[at])
			}
			clear(got[:n])
		}
	}
}
