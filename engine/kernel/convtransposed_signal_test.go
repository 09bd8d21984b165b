package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestTransposedSignal compares transposed convolutions of signals with the definition in float64: a chain of n fused multiply-adds is within
// n*2^-24 of the sum of the magnitudes, about, and adding the bias is one rounding more. Every level and every number of threads gives the same bits.
func TestTransposedSignal(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 2))
	pools := []*Pool{nil, NewPool(3, 0)}
	defer pools[1].Close()
	ran := 0
	for i := range cases(3000) {
		s := 2 + r.IntN(9)
		if i%8 == 0 {
			s = 11 + r.IntN(30)
		}
		g := Window{OH: 1, OW: 1 + r.IntN(40), KH: 1, KW: s * (1 + r.IntN(3)), SH: 1, SW: s, DH: 1, DW: 1, H: 1}
		groups, cg, og, images := 1+r.IntN(2), 6+r.IntN(20), 1+r.IntN(14), 1+r.IntN(2)
		if i%16 == 0 {
			g.OW, cg = 150+r.IntN(400), 6+r.IntN(3)
		}
		g.Left = r.IntN(g.KW + 1)
		g.W = max(0, (g.OW-1)*s+g.KW-g.Left-r.IntN(g.KW+1)+r.IntN(s))
		in, out := g.OW, g.W
		w, x, bias := randSlice(r, groups*cg*og*g.KW), randSlice(r, images*groups*cg*in), randSlice(r, groups*og)
		tr := NewTransposedSignal(w, groups*cg, groups*og, groups, &g)
		if tr == nil {
			continue
		}
		ran++
		if want := int64(4 * len(w)); tr.Bytes() < want {
			t.Fatalf("case %d: %d bytes of weights, want %d at least", i, tr.Bytes(), want)
		}
		if i%5 == 0 {
			bias = nil
		}
		want, size := transposedSums(w, x, bias, images*groups, groups, cg, og, &g)
		var first []float32
		for _, isa := range floatLevels() {
			for _, p := range pools {
				restore := Limit(isa)
				got := randSlice(r, images*groups*og*out)
				tr.Run(p, images, &g, x, bias, got)
				restore()
				for k := range want {
					if d := math.Abs(float64(got[k]) - want[k]); !(d <= float64(cg*g.KW/s+2)*0x1p-24*size[k]) {
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
	if ran < cases(3000)/2 {
		t.Errorf("%d cases ran", ran)
	}
}

// transposedSums is the definition in float64, images being groups of images; size is the sum of the magnitudes.
func transposedSums(w, x, bias []float32, images, groups, cg, og int, g *Window) (y, size []float64) {
	y = make([]float64, images*og*g.W)
	size = make([]float64, len(y))
	for b := range images {
		gr := b % groups
		for o := range og {
			d, e := y[(b*og+o)*g.W:][:g.W], size[(b*og+o)*g.W:][:g.W]
			if bias != nil {
				for i := range d {
					d[i] = float64(bias[gr*og+o])
					e[i] = math.Abs(d[i])
				}
			}
			for c := range cg {
				for i, v := range x[(b*cg+c)*g.OW:][:g.OW] {
					for k, u := range w[((gr*cg+c)*og+o)*g.KW:][:g.KW] {
						if at := i*g.SW + k - g.Left; at >= 0 && at < g.W {
							d[at] += float64(v) * float64(u)
							e[at] += math.Abs(float64(v) * float64(u))
						}
					}
				}
			}
		}
	}
	return y, size
}
