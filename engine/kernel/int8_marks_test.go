package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestMarkWide compares the marks of narrow weights with what they are for: 255 times the weights that are added in 16 bits.
func TestMarkWide(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 6))
	for i := range cases(5000) {
		panel := signed(randBytes(r, 4*PanelWidth*r.IntN(12)))
		for q, v := range panel {
			panel[q] = v >> (2 + i%2)
			if r.IntN(500) == 0 {
				panel[q] = v >> 1
			}
		}
		pairs := len(panel) / (8 * PanelWidth)
		wide := make([]uint8, pairs+1)
		markWide(panel, wide)
		for p := range wide {
			want := uint8(0)
			for at := 0; p < pairs && at < 4*PanelWidth; at += 2 {
				lo, hi := 0, 0
				for _, q := range []int{at, at + 1, at + 4*PanelWidth, at + 4*PanelWidth + 1} {
					w := int(panel[8*PanelWidth*p+q])
					lo, hi = lo+min(0, 255*w), hi+max(0, 255*w)
				}
				if lo < math.MinInt16 || hi > math.MaxInt16 {
					want = 1
				}
			}
			if wide[p] != want {
				t.Fatalf("case %d: mark %d of %d is %d, want %d", i, p, pairs, wide[p], want)
			}
		}
	}
}
