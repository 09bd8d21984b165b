package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestMarkWide compares the marks of narrow weights with what they are for: 255 times the weights that are added in 16 bits.
func TestMarkWide(t *testing.T) { forEachISA(t, testMarkWide) }

func testMarkWide(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 6))
	for i := range cases(20000) {
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

// TestPackFours compares the packing at every level with the order of the type's comment and sums by the book.
func TestPackFours(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(21, 7))
		for i := range cases(20000) {
			k, n := r.IntN(40), r.IntN(140)
			ldb := n + r.IntN(3)
			raw := randBytes(r, k*ldb)
			if i%3 > 0 {
				for q, v := range raw {
					raw[q] = uint8(int8(v)>>1) + uint8(i%2*128)
				}
			}
			b, flip := PackS8(k, n, signed(raw), ldb, false), uint8(0)
			if i%2 == 1 {
				b, flip = PackU8(k, n, raw, ldb, false), 0x80
			}
			narrow := true
			for j := range n {
				var sum int32
				for q := range k {
					w := int8(raw[q*ldb+j] ^ flip)
					sum += int32(w)
					if got := b.data[(j/PanelWidth*ceilDiv(k, 4)+q/4)*4*PanelWidth+j%PanelWidth*4+q%4]; got != w {
						t.Fatalf("case %d: element %d, %d of %d x %d is %d, want %d", i, q, j, k, n, got, w)
					}
					if q%2 == 1 {
						two := int32(w) + int32(int8(raw[(q-1)*ldb+j]^flip))
						narrow = narrow && two >= -128 && two <= 128
					}
				}
				if b.ColSum[j] != sum {
					t.Fatalf("case %d: the sum of column %d is %d, want %d", i, j, b.ColSum[j], sum)
				}
			}
			if b.narrow != narrow {
				t.Fatalf("case %d: narrow is %v, want %v", i, b.narrow, narrow)
			}
		}
	})
}
