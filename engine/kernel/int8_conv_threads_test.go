package kernel

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestConvU8Threads: convolutions that are large enough to be spread over threads give what one thread does, and what one thread gives is right at
// sampled places: TestConvU8 takes small ones, whose work no second thread gets a part of.
func TestConvU8Threads(t *testing.T) {
	two, three := NewPool(2, 0), NewPool(3, 0)
	defer two.Close()
	defer three.Close()
	for _, isa := range testLevels() {
		n := cases(100)
		if isa == Generic {
			n /= 10
		}
		t.Run(isa.String(), func(t *testing.T) {
			defer Limit(isa)()
			rng := rand.New(rand.NewPCG(13, uint64(isa)))
			var spread [3]int // depthwise, in groups, others
			for i := range n {
				cfg, g, batch := randomConv(rng)
				batch++
				per := len(cfg.W) // products of a pixel, as Run counts them
				if cfg.Groups > 1 && cfg.Groups == cfg.Cin && cfg.Groups == cfg.Cout && len(cfg.ZeroW) == 0 {
					per *= 4
				}
				pixels, ow := min((forkMacs+rng.IntN(forkMacs))/per+1, 40000), 5+rng.IntN(60)
				oh := pixels/(ow*batch) + 1
				g.H, g.W = max(1, (oh-1)*g.SH+(g.KH-1)*g.DH+1-g.Top-g.Bottom), max(1, (ow-1)*g.SW+(g.KW-1)*g.DW+1-g.Left-g.End)
				g.OH = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom)
				g.OW = OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
				x := make([]uint8, batch*g.H*g.W*cfg.Cin)
				for i := range x {
					x[i] = uint8(rng.Uint32())
				}
				c := NewConvU8(cfg)
				size := batch * g.OH * g.OW * cfg.Cout
				want := make([]uint8, size)
				c.Run(nil, batch, g, x, want)
				switch work := size * c.cg * c.taps; {
				case c.depthwise && 4*work >= forkMacs:
					spread[0]++
				case !c.depthwise && work >= forkMacs && c.Groups > 1:
					spread[1]++
				case !c.depthwise && work >= forkMacs:
					spread[2]++
				}
				for _, p := range []*Pool{two, three} {
					y := make([]uint8, size+5)
					fill(y, 0xA5)
					c.Run(p, batch, g, x, y)
					if !bytes.Equal(y[:size], want) || !bytes.Equal(y[size:], []uint8{0xA5, 0xA5, 0xA5, 0xA5, 0xA5}) {
						at := 0
						for at < size && y[at] == want[at] {
							at++
						}
						t.Fatalf("convolution %d, %s: %d threads change element %d of %d", i, describe(&cfg, g, batch), p.Threads(), at, size)
					}
				}
				for range 20 {
					at := rng.IntN(size)
					if v := elementByDefinition(&cfg, g, x, at); v != want[at] {
						t.Fatalf("convolution %d, %s: element %d is %d, want %d", i, describe(&cfg, g, batch), at, want[at], v)
					}
				}
			}
			for i, k := range spread {
				if k < n/40 {
					t.Errorf("only %d of %d convolutions of kind %d were spread over threads", k, n, i)
				}
			}
		})
	}
}

// TestBinnedMemory: weights in bins take twice their memory at most, and a constant, whatever the shape; where they would take more
// they are packed as others are, and the result is the same.
func TestBinnedMemory(t *testing.T) {
	for _, isa := range testLevels() {
		t.Run(isa.String(), func(t *testing.T) {
			defer Limit(isa)()
			rng := rand.New(rand.NewPCG(17, uint64(isa)))
			binned := 0
			for _, s := range []struct{ cin, cout, kh, kw int }{{1, 1 << 16, 1, 1}, {2, 1 << 15, 1, 1}, {5, 1 << 14, 1, 1}, {3, 1 << 14, 1, 2}, {1, 1 << 12, 9, 1}, {1, 1 << 12, 1, 9},
				{8, 1 << 13, 1, 1}, {16, 1 << 12, 1, 1}, {64, 256, 3, 3}, {3, 32, 3, 3}} {
				cfg := ConvU8Config{Groups: 1, Cin: s.cin, Cout: s.cout, KH: s.kh, KW: s.kw, Scale: []float32{0.01}, ZeroX: 7, ZeroY: 100, Hi: 255}
				cfg.W = make([]int8, s.cin*s.cout*s.kh*s.kw)
				for i := range cfg.W {
					cfg.W[i] = int8(rng.IntN(128) - 64)
				}
				c := NewConvU8(cfg)
				if c.binned {
					binned++
					if len(c.data) > 2*len(cfg.W)+64<<10 {
						t.Errorf("%+v: %d bytes for %d weights", s, len(c.data), len(cfg.W))
					}
				}
				g := &Window{H: 9, W: 9, KH: s.kh, KW: s.kw, SH: 1, SW: 1, DH: 1, DW: 1}
				g.OH, g.OW = OutputSize(g.H, g.KH, 1, 1, 0, 0), OutputSize(g.W, g.KW, 1, 1, 0, 0)
				x := make([]uint8, g.H*g.W*s.cin)
				for i := range x {
					x[i] = uint8(rng.Uint32())
				}
				y := make([]uint8, g.OH*g.OW*s.cout)
				c.Run(nil, 1, g, x, y)
				for range 1000 {
					at := rng.IntN(len(y))
					if v := elementByDefinition(&cfg, g, x, at); v != y[at] {
						t.Fatalf("%+v: element %d is %d, want %d", s, at, y[at], v)
					}
				}
			}
			if want := isa == AVX2 || isa == AVX512; (binned > 0) != want || binned == 10 {
				t.Errorf("%d of 10 shapes in bins", binned)
			}
		})
	}
}
