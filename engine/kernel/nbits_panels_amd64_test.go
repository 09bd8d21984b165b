//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestNBitsPanels has one row and whole panels of weights in one block or two, for the kernels that take several panels in one call, of every number of
// bits and digits, and of rows too small for digits: with AVX2, fetching ahead and not, and with AVX-512 the bits of the Go twin, which TestNBitsStream compares with the formula.
func TestNBitsPanels(t *testing.T) {
	own, asks := readsAhead, asksAhead
	defer func() { readsAhead, asksAhead = own, asks }()
	r := rand.New(rand.NewPCG(4, 14))
	draw, bytes := drawer(r), randBytes(r, 1<<16)
	for _, kind := range []struct {
		n, bits, parts, block, whole int
		tiny                         bool
	}{
		{17500, 4, 1, 32, 3, false}, {17000, 4, 3, 32, 1, false}, {19500, 4, 3, 64, 1, false}, {19500, 8, 1, 32, 5, false}, {17500, 8, 3, 32, 1, false},
		{19800, 8, 3, 64, 1, false}, {18000, 8, 2, 32, 1, false}, {8000, 4, 1, 64, 1, false}, {6000, 8, 1, 32, 1, true},
	} {
		for i := range cases(kind.n) {
			k, n := kind.block-r.IntN(16), kind.whole*PanelWidth // of fewer k the block would be smaller
			switch {
			case kind.parts == 2:
				k += 24 + r.IntN(20)
			case i%16 == 0: // a second block
				k = kind.block + 1 + r.IntN(10)
			}
			if i%4 == 0 {
				n += r.IntN(PanelWidth)
			}
			b := &NBits{K: k, N: n, Bits: kind.bits, Block: kind.block}
			kb := b.Blocks()
			b.Q, b.Scale = bytes[r.IntN(1<<15):][:n*kb*kind.block*kind.bits/8], draw(n*kb)
			switch i % 6 {
			case 0:
				b.Zero = bytes[r.IntN(1<<15):][:n*ceilDiv(kb*kind.bits, 8)]
			case 1:
				b.Floats = draw(n * kb)
			}
			p, a := PackNBits(b), draw(k)
			if kind.tiny { // multiplied in float32
				for q := range a {
					a[q] *= 0x1p-84
				}
			}
			var want []float32
			run := func(isa ISA) {
				defer Limit(isa)()
				got := make([]float32, n+3)
				for q := range got {
					got[q] = -7
				}
				gemmNBits(nil, 1, a, k, p, got, n, kind.parts, Epilogue{})
				if isa == Generic {
					want = got
				}
				for j := range got {
					if math.Float32bits(got[j]) != math.Float32bits(want[j]) {
						t.Fatalf("%v, reads ahead %v, asks %v: case %d of %+v, [%d %d], element %d: %v, the Go twin has %v", isa, readsAhead, asksAhead, i, kind, k, n, j, got[j], want[j])
					}
				}
			}
			for _, isa := range testLevels() {
				switch {
				case isa == AVX2:
					for _, readsAhead = range []bool{true, false} {
						run(isa)
					}
				case isa == AVX512VNNI && kind.parts != 2:
					for ahead := range 3 {
						asksAhead, p.distant = ahead > 0, ahead == 2
						run(isa)
					}
				case isa == Generic:
					run(isa)
				}
			}
		}
	}
}
