package kernel

import (
	"math/rand/v2"
	"testing"
)

func randomVolume(r *rand.Rand) Volume {
	v := randomWindow(r).Flat()
	v.H, v.W = min(v.H, 5), min(v.W, 8)
	v.OH, v.OW = OutputSize(v.H, v.KH, v.SH, v.DH, v.Top, v.Bottom), OutputSize(v.W, v.KW, v.SW, v.DW, v.Left, v.End)
	if r.IntN(3) == 0 {
		v.D, v.KD, v.SD, v.DD, v.Front = 1+r.IntN(5), 1+r.IntN(3), 1+r.IntN(2), 1+r.IntN(2), r.IntN(3)
		v.OD = OutputSize(v.D, v.KD, v.SD, v.DD, v.Front, r.IntN(3))
	}
	return v
}

// volumeDo calls f for each output and kernel element that meets the input, at offset i.
func volumeDo(v *Volume, f func(o, k, i int)) {
	for od := range v.OD {
		for kd := range v.KD {
			z := od*v.SD + kd*v.DD - v.Front
			if z < 0 || z >= v.D {
				continue
			}
			windowDo(&v.Window, func(o, k, i int, _ bool) {
				if i >= 0 {
					f(od*v.OH*v.OW+o, kd*v.KH*v.KW+k, z*v.H*v.W+i)
				}
			})
		}
	}
}

// TestConvVolume: every level gives the bits of the definition, a chain over (channel, kd, kh, kw) with 0 in the padding.
func TestConvVolume(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 1))
	p := NewPool(3, 0)
	defer p.Close()
	for i := range cases(20000) {
		v := randomVolume(r)
		m, c := 1+r.IntN(12), 1+r.IntN(4)
		taps, in, out := v.KD*v.KH*v.KW, v.D*v.H*v.W, v.OD*v.OH*v.OW
		w, src, res := randSlice(r, m*c*taps), randSlice(r, c*in), randSlice(r, m*out)
		cols := make([]float32, c*taps*out)
		for ch := range c {
			volumeDo(&v, func(o, k, at int) { cols[(ch*taps+k)*out+o] = src[ch*in+at] })
		}
		ep := Epilogue{BiasM: randSlice(r, m)}
		if i%3 == 0 {
			ep.Residual, ep.LdR = res, out
		}
		want := make([]float32, m*out)
		for o := range want {
			for q := range c * taps {
				want[o] = Fma32(w[o/out*c*taps+q], cols[q*out+o%out], want[o])
			}
		}
		ep.applyGo(want, out, 0, m, 0, out)
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := make([]float32, len(want))
			ConvVolumeF32(p, m, w, c, src, &v, got, ep)
			restore()
			if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d m=%d c=%d %+v: element %d is %g, want %g", isa, i, m, c, v, at, got[at], want[at])
			}
		}
	}
}

// TestTransposedConv compares transposed convolutions with the columns of the product added back, whose sums are in another order: at most
// 6*4*5 terms of products of normal numbers, each rounded within 2^-24 of sums below 100. Every level gives the same bits.
func TestTransposedConv(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 1))
	p := NewPool(3, 0)
	defer p.Close()
	for i := range cases(20000) {
		g := Window{OH: 1 + r.IntN(6), OW: 1 + r.IntN(30), KH: 1 + r.IntN(4), KW: 1 + r.IntN(5), SH: 1 + r.IntN(3), SW: 1 + r.IntN(3), DH: 1, DW: 1}
		if r.IntN(3) == 0 {
			g.SH, g.DH = 1, 1+r.IntN(3)
		}
		if r.IntN(3) == 0 {
			g.SW, g.DW = 1, 1+r.IntN(3)
		}
		g.Top, g.Left = r.IntN(g.KH+1), r.IntN(g.KW+1)
		if i%9 == 0 { // beyond what any output meets
			g.Top, g.Left = r.IntN(4*g.KH), r.IntN(4*g.KW)
		}
		g.H = max(0, (g.OH-1)*g.SH+(g.KH-1)*g.DH+1-g.Top-r.IntN(3)+r.IntN(g.SH))
		g.W = max(0, (g.OW-1)*g.SW+(g.KW-1)*g.DW+1-g.Left-r.IntN(3)+r.IntN(g.SW))
		groups, cg, og, images := 1+r.IntN(3), 1+r.IntN(6), 1+r.IntN(5), 1+r.IntN(2)
		in, out, taps := g.OH*g.OW, g.H*g.W, g.KH*g.KW
		w, x, bias := randSlice(r, groups*cg*og*taps), randSlice(r, images*groups*cg*in), randSlice(r, groups*og)
		want := make([]float32, images*groups*og*out)
		for b := range images * groups {
			gr := b % groups
			d := want[b*og*out:][:og*out]
			for k := range d {
				d[k] = bias[gr*og+k/max(out, 1)]
			}
			cols := make([]float32, og*taps*in)
			MatMulF32(nil, og*taps, in, cg, w[gr*cg*og*taps:], og*taps, true, x[b*cg*in:], in, false, cols, in, Epilogue{})
			Col2Im(d, cols, og, &g)
		}
		tr := NewTransposedConv(w, groups*cg, groups*og, groups, &g)
		var first []float32
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := make([]float32, len(want))
			tr.Run(p, images, &g, x, bias, got)
			restore()
			for k := range want {
				if d := got[k] - want[k]; !(max(d, -d) < 2e-4) {
					t.Fatalf("%v: case %d %+v, groups %d, channels %d and %d: element %d is %g, want %g", isa, i, g, groups, cg, og, k, got[k], want[k])
				}
			}
			if first == nil {
				first = got
			}
			if at := sameBits(got, first); at >= 0 {
				t.Fatalf("%v: case %d %+v: element %d is %g, want %g", isa, i, g, at, got[at], first[at])
			}
		}
	}
}
