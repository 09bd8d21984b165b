package kernel

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// smallConv draws a convolution of few pixels in one group, for the kernels of 16 to 64 columns at a time and 1 to 8 pixels; with weights of at most 64,
// which AVX2 has kernels for: those of 16 and less are added in pairs of fours, those of whole blocks of 16 columns in bins.
func smallConv(r *rand.Rand, i int, weights []int8) (ConvU8Config, *Window) {
	cfg := ConvU8Config{Groups: 1, KH: 1, KW: 1 + r.IntN(2), Cin: 5 + r.IntN(4), Hi: 255}
	vecs := []int{1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3}[i%11]
	cfg.Cout = vecs * 16
	if vecs < 4 && i%3 > 0 {
		cfg.Cout -= 1 + r.IntN(15)
	}
	n := cfg.Cout * cfg.Cin * cfg.KW
	cfg.W = append(cfg.W, weights[r.IntN(len(weights)-n):][:n]...)
	if i%2 == 0 {
		for k := range cfg.W {
			cfg.W[k] >>= 3
		}
	}
	g := &Window{H: 1 + r.IntN(2), W: cfg.KW + r.IntN(8), KH: 1, KW: cfg.KW, SH: 1, SW: 1 + r.IntN(2), DH: 1, DW: 1, Left: r.IntN(2), End: r.IntN(2)}
	return cfg, g
}

// smallDepthwise draws a depthwise convolution of few pixels, for the kernels of 32 channels or, where they do not fit, of 16.
func smallDepthwise(r *rand.Rand, sixteen bool, weights []int8) (ConvU8Config, *Window) {
	ch := []int{4 << r.IntN(3), 32, 33 + r.IntN(15), 48 + r.IntN(20), 64}[r.IntN(5)]
	if sixteen {
		ch = []int{3, 5, 7, 9 + r.IntN(7), 17 + r.IntN(15)}[r.IntN(5)]
	}
	cfg := ConvU8Config{Groups: ch, Cin: ch, Cout: ch, KH: 1 + r.IntN(3), KW: 1 + r.IntN(3), Hi: 255}
	n := ch * cfg.KH * cfg.KW
	cfg.W = weights[r.IntN(len(weights)-n):][:n]
	g := &Window{H: cfg.KH + r.IntN(2), W: cfg.KW + r.IntN(5), KH: cfg.KH, KW: cfg.KW, SH: 1, SW: 1 + r.IntN(2), DH: 1, DW: 1, Top: r.IntN(2), Left: r.IntN(2),
		Bottom: r.IntN(2), End: r.IntN(2)}
	return cfg, g
}

// TestConvU8Kernels compares small convolutions, each by the kernels of AVX2 and those with VPDPBUSD, with the Go twin, which TestConvU8 compares with the
// definition; nothing behind the result changes.
func TestConvU8Kernels(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 77))
	weights := signed(randBytes(r, 1<<14))
	for k := range weights {
		weights[k] >>= 1
	}
	from := randBytes(r, 1<<14)
	for i := range cases(94000) {
		cfg, g := smallConv(r, i, weights)
		if i%5 > 2 {
			cfg, g = smallDepthwise(r, i%5 == 3, weights)
		}
		g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
		cfg.Scale, cfg.ZeroX, cfg.ZeroY = []float32{0.003 + 0.02*r.Float32()}, uint8(r.IntN(256)), uint8(r.IntN(256))
		if r.IntN(4) == 0 {
			cfg.Lo, cfg.Hi = cfg.ZeroY/2, cfg.ZeroY/2+uint8(r.IntN(128))
		}
		x := from[r.IntN(1<<13):][:g.H*g.W*cfg.Cin]
		size := g.OH * g.OW * cfg.Cout
		var want []uint8
		for _, isa := range testLevels() {
			if isa != Generic && isa != AVX2 && isa != AVX512VNNI && isa < NEON {
				continue // which has the kernels of one of those
			}
			y := make([]uint8, size+5)
			fill(y, 0xA5)
			restore := Limit(isa)
			NewConvU8(cfg).Run(nil, 1, g, x, y)
			restore()
			if isa == Generic {
				want = y
			} else if !bytes.Equal(y, want) {
				t.Fatalf("%v: case %d, %s: %v, want %v", isa, i, describe(&cfg, g, 1), y, want)
			}
		}
	}
}
