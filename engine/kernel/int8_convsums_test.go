package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestConvSums: every level gives the sums of the definition, and the float32 results of Float are those sums scaled by the rule of its comment.
func TestConvSums(t *testing.T) {
	pool := NewPool(2, 0)
	defer pool.Close()
	for _, isa := range testLevels() {
		n := cases(20000)
		if isa == Generic {
			n /= 10
		}
		t.Run(isa.String(), func(t *testing.T) {
			defer Limit(isa)()
			r := rand.New(rand.NewPCG(9, uint64(isa)))
			for i := range n {
				v, images := randomVolume(r), r.IntN(3)
				cfg := ConvSumsConfig{KD: v.KD, KH: v.KH, KW: v.KW, Groups: 1}
				cg, og := 1+r.IntN(6), 1+r.IntN(40)
				switch r.IntN(3) {
				case 0:
					cfg.Groups, cg, og = 1+r.IntN(20), 1, 1
				case 1:
					cfg.Groups, cg, og = 1+r.IntN(4), 1+r.IntN(6), 1+r.IntN(20)
				}
				cfg.Cin, cfg.Cout = cg*cfg.Groups, og*cfg.Groups
				taps, in, out := v.KD*v.KH*v.KW, v.D*v.H*v.W, v.OD*v.OH*v.OW
				cfg.W = make([]int8, cfg.Cout*cg*taps)
				limit := []int{1, 64, 128}[r.IntN(3)]
				for k := range cfg.W {
					cfg.W[k] = int8(r.IntN(2*limit) - limit)
				}
				if r.IntN(3) == 0 {
					cfg.ZeroW = make([]int8, []int{1, cfg.Cout}[r.IntN(2)])
					for k := range cfg.ZeroW {
						cfg.ZeroW[k] = int8(r.IntN(256) - 128)
					}
				}
				x, zx := make([]uint8, images*cfg.Cin*in), uint8(r.IntN(256))
				for k := range x {
					x[k] = uint8(r.IntN(256))
				}
				want := make([]int32, images*cfg.Cout*out)
				for b := range images {
					for o := range cfg.Cout {
						zw := int32(0)
						if len(cfg.ZeroW) > 0 {
							zw = int32(cfg.ZeroW[o%len(cfg.ZeroW)])
						}
						for c := range cg {
							volumeDo(&v, func(at, k, i int) {
								want[(b*cfg.Cout+o)*out+at] += (int32(x[(b*cfg.Cin+o/og*cg+c)*in+i]) - int32(zx)) * (int32(cfg.W[(o*cg+c)*taps+k]) - zw)
							})
						}
					}
				}
				q := NewConvSums(cfg)
				if !q.ChannelsFirst() {
					last := make([]uint8, len(x))
					for b := range images {
						TransposeU8(last[b*cfg.Cin*in:], x[b*cfg.Cin*in:][:cfg.Cin*in], cfg.Cin, in)
					}
					x = last
				}
				p := pool
				if i%2 == 0 {
					p = nil
				}
				got := make([]int32, len(want)+1)
				got[len(want)] = -7
				q.Sums(p, images, &v, x, zx, got[:len(want)])
				for k, w := range append(want, -7) {
					if got[k] != w {
						t.Fatalf("case %d %+v, %d images, zero %d, %+v: sum %d is %d, want %d", i, describeSums(&cfg), images, zx, v, k, got[k], w)
					}
				}
				sx, scale, bias, act := float32(r.Float64()), randSlice(r, []int{1, cfg.Cout}[r.IntN(2)]), randSlice(r, cfg.Cout), []Activation{ActNone, ActRelu}[r.IntN(2)]
				if r.IntN(3) == 0 {
					bias = nil
				}
				y := make([]float32, len(want))
				q.Float(p, images, &v, x, zx, sx, scale, bias, act, y)
				for k, s := range want {
					o := k / out % cfg.Cout
					f := float32(s) * float32(sx*scale[o%len(scale)])
					if bias != nil {
						f = float32(f) + bias[o]
					}
					if act == ActRelu {
						f = max(f, 0)
					}
					if y[k] != f {
						t.Fatalf("case %d %+v: element %d is %g, want %g", i, describeSums(&cfg), k, y[k], f)
					}
				}
			}
		})
	}
}

func describeSums(c *ConvSumsConfig) [5]int {
	return [5]int{c.Cin, c.Cout, c.Groups, len(c.ZeroW), c.KD * c.KH * c.KW}
}
