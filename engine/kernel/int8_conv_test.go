package kernel

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// randomConv draws a small convolution.
func randomConv(rng *rand.Rand) (ConvU8Config, *Window, int) {
	cfg := ConvU8Config{Groups: 1, KH: 1 + rng.IntN(3), KW: 1 + rng.IntN(3), Cin: 1 + rng.IntN(20), Cout: 1 + rng.IntN(150)}
	switch rng.IntN(4) {
	case 0:
		cfg.Cin = 1 + rng.IntN(150)
		cfg.Cout, cfg.Groups = cfg.Cin, cfg.Cin
		cfg.KH, cfg.KW = 1+rng.IntN(5), 1+rng.IntN(5)
	case 1:
		cfg.Groups = 1 + rng.IntN(3)
		cfg.Cin, cfg.Cout = cfg.Groups*(1+rng.IntN(9)), cfg.Groups*(1+rng.IntN(40))
	case 2:
		cfg.KH, cfg.KW = 1, 1
		cfg.Cin = 1 + rng.IntN(80)
	}
	if cfg.Groups == 1 && rng.IntN(2) == 0 {
		cfg.Cout = ceilDiv(cfg.Cout, 16) * 16
	}
	cfg.W = make([]int8, cfg.Cout*cfg.Cin/cfg.Groups*cfg.KH*cfg.KW)
	limit := []int{1, 12, 32, 64, 128}[rng.IntN(5)]
	for i := range cfg.W {
		cfg.W[i] = int8(rng.IntN(2*limit) - limit)
	}
	cfg.Scale = make([]float32, []int{1, cfg.Cout}[rng.IntN(2)])
	for i := range cfg.Scale {
		cfg.Scale[i] = float32(math.Exp(-8 * rng.Float64()))
	}
	if rng.IntN(6) == 0 {
		cfg.ZeroW = make([]int8, []int{1, cfg.Cout}[rng.IntN(2)])
		for i := range cfg.ZeroW {
			cfg.ZeroW[i] = int8(rng.IntN(256) - 128)
		}
	}
	if rng.IntN(2) == 0 {
		cfg.Bias = make([]int32, cfg.Cout)
		for i := range cfg.Bias {
			cfg.Bias[i] = int32(rng.IntN(20000) - 10000)
		}
	}
	cfg.ZeroX, cfg.ZeroY, cfg.Hi = uint8(rng.IntN(256)), uint8(rng.IntN(256)), 255
	if rng.IntN(3) == 0 {
		cfg.Lo = uint8(rng.IntN(128))
		cfg.Hi = cfg.Lo + uint8(rng.IntN(128))
	}
	if rng.IntN(3) == 0 {
		cfg.Table = new([256]uint8)
		for i := range cfg.Table {
			cfg.Table[i] = uint8(rng.IntN(256))
		}
		for i := range rng.IntN(2) * rng.IntN(256) { // an activation is constant there
			cfg.Table[i+1] = cfg.Table[0]
		}
	}
	g := &Window{H: 1 + rng.IntN(6), W: 1 + rng.IntN(9), KH: cfg.KH, KW: cfg.KW, SH: 1 + rng.IntN(2), SW: 1 + rng.IntN(2),
		DH: 1 + rng.IntN(2), DW: 1 + rng.IntN(2), Top: rng.IntN(3), Left: rng.IntN(3), Bottom: rng.IntN(3), End: rng.IntN(3)}
	g.OH = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom)
	g.OW = OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
	cfg.Dilated = g.DW > 1 || rng.IntN(8) == 0
	return cfg, g, rng.IntN(3)
}

// convByDefinition is QLinearConv in 64-bit integers and float32, channel by channel.
func convByDefinition(c *ConvU8Config, n int, g *Window, x []uint8) []uint8 {
	y := make([]uint8, n*g.OH*g.OW*c.Cout)
	for i := range y {
		y[i] = elementByDefinition(c, g, x, i)
	}
	return y
}

// elementByDefinition is element i of that.
func elementByDefinition(c *ConvU8Config, g *Window, x []uint8, i int) uint8 {
	cg, og := c.Cin/c.Groups, c.Cout/c.Groups
	o, ow, oh, b := i%c.Cout, i/c.Cout%g.OW, i/c.Cout/g.OW%g.OH, i/c.Cout/g.OW/g.OH
	var s int64
	for kh := range c.KH {
		for kw := range c.KW {
			h, w := oh*g.SH+kh*g.DH-g.Top, ow*g.SW+kw*g.DW-g.Left
			if h < 0 || w < 0 || h >= g.H || w >= g.W {
				continue // x - ZeroX is 0
			}
			for ch := range cg {
				v := int64(x[((b*g.H+h)*g.W+w)*c.Cin+o/og*cg+ch]) - int64(c.ZeroX)
				zw := int64(0)
				if len(c.ZeroW) > 0 {
					zw = int64(c.ZeroW[o%len(c.ZeroW)])
				}
				s += v * (int64(c.W[((o*cg+ch)*c.KH+kh)*c.KW+kw]) - zw)
			}
		}
	}
	if c.Bias != nil {
		s += int64(c.Bias[o])
	}
	v := math.RoundToEven(float64(float32(s)*c.Scale[o%len(c.Scale)])) + float64(c.ZeroY)
	y := uint8(min(max(v, float64(c.Lo)), float64(c.Hi)))
	if c.Table != nil {
		return c.Table[y]
	}
	return y
}

// Every level gives the bytes of the definition: sums of integers have no rounding, and the scaling is one float32 product.
func TestConvU8(t *testing.T) {
	pool := NewPool(2, 0)
	defer pool.Close()
	for _, isa := range testLevels() {
		n := cases(20000)
		if isa == Generic {
			n /= 10
		}
		t.Run(isa.String(), func(t *testing.T) {
			defer Limit(isa)()
			rng := rand.New(rand.NewPCG(7, uint64(isa)))
			for i := range n {
				cfg, g, batch := randomConv(rng)
				x := make([]uint8, batch*g.H*g.W*cfg.Cin)
				least := []int{0, 250}[rng.IntN(2)] // large bytes bring sums of few products near the ends of 16 bits
				for i := range x {
					x[i] = uint8(least + rng.IntN(256-least))
				}
				y := make([]uint8, batch*g.OH*g.OW*cfg.Cout+5)
				fill(y, 0xA5)
				p := pool
				if i%2 == 0 {
					p = nil
				}
				NewConvU8(cfg).Run(p, batch, g, x, y)
				want := append(convByDefinition(&cfg, batch, g, x), 0xA5, 0xA5, 0xA5, 0xA5, 0xA5)
				if !bytes.Equal(y, want) {
					at := 0
					for y[at] == want[at] {
						at++
					}
					t.Fatalf("convolution %d, %s: element %d is %d, want %d", i, describe(&cfg, g, batch), at, y[at], want[at])
				}
			}
		})
	}
}

func describe(c *ConvU8Config, g *Window, n int) string {
	return fmt.Sprintf("%d images, cin %d cout %d groups %d, zero %d to %d, [%d %d], %+v", n, c.Cin, c.Cout, c.Groups, c.ZeroX, c.ZeroY, c.Lo, c.Hi, *g)
}

// Pixels of three bytes are widened to four with nothing read or written beyond them.
func TestWidenPixels(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(11, 3))
		for i := range cases(20000) {
			n := i % 100
			src, dst := make([]uint8, 3*n), make([]uint8, 4*n+8)
			for i := range src {
				src[i] = uint8(r.Uint32())
			}
			for i := range dst {
				dst[i] = 7
			}
			widenPixels(dst[:4*n], src[:3*n:3*n])
			for i, v := range dst {
				switch p, ch := i/4, i%4; {
				case p >= n && v != 7:
					t.Fatalf("%d pixels: byte %d behind them is written", n, i-4*n)
				case p < n && ch < 3 && v != src[3*p+ch]:
					t.Fatalf("%d pixels: byte %d of pixel %d is %d, want %d", n, ch, p, v, src[3*p+ch])
				}
			}
		}
	})
}
