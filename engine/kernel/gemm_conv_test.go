package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// naiveConv is the definition: for every output chains over (channel, kh, kw), padding being 0.
func naiveConv(m int, w []float32, c int, src []float32, g *Window) []float32 {
	out := make([]float32, m*g.OH*g.OW)
	for o := range out {
		i, oh, ow := o/(g.OH*g.OW), o/g.OW%g.OH, o%g.OW
		var s, t float32
		k := c * g.KH * g.KW
		for q := range k {
			ch, kh, kw := q/(g.KH*g.KW), q/g.KW%g.KH, q%g.KW
			h, x := oh*g.SH+kh*g.DH-g.Top, ow*g.SW+kw*g.DW-g.Left
			var v float32
			if h >= 0 && h < g.H && x >= 0 && x < g.W {
				v = src[(ch*g.H+h)*g.W+x]
			}
			if t = Fma32(w[i*k+q], v, t); q+1 == k || (q+1)%chainTerms(k) == 0 {
				if q >= chainTerms(k) {
					t += s
				}
				s, t = t, 0
			}
		}
		out[o] = s
	}
	return out
}

func TestConvF32(t *testing.T) {
	n := cases(20000)
	r := rand.New(rand.NewPCG(12, 34))
	p := NewPool(3, 0)
	defer p.Close()
	for i := range n {
		g := Window{H: 1 + r.IntN(14), W: 1 + r.IntN(40), KH: 1 + r.IntN(4), KW: 1 + r.IntN(5), SH: 1 + r.IntN(3), SW: 1 + r.IntN(3),
			DH: 1 + r.IntN(2), DW: 1 + r.IntN(3), Top: r.IntN(4), Left: r.IntN(5), Bottom: r.IntN(4), End: r.IntN(5)}
		if i%8 != 0 { // most are small: plain loops are slow
			g.H, g.W = min(g.H, 4), min(g.W, 20)
		}
		if i%5 == 0 {
			g = Window{H: g.H, W: g.W, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1}
		}
		g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
		if i%7 == 0 {
			g.OW++ // ceil_mode: a column that starts past the padding
		}
		m, c := r.IntN(30), r.IntN(9)
		if i%64 == 1 { // several chains
			m, c = 1+r.IntN(14), 1+(400+r.IntN(500))/(g.KH*g.KW)
		}
		w, src := randSlice(r, m*c*g.KH*g.KW), randSlice(r, c*g.H*g.W)
		ep := Epilogue{BiasM: randSlice(r, m)}
		want := naiveConv(m, w, c, src, &g)
		ep.applyGo(want, g.OH*g.OW, 0, m, 0, g.OH*g.OW)
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := make([]float32, len(want))
			ConvF32(p, m, w, c, src, &g, got, ep)
			restore()
			if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d m=%d c=%d %+v: element %d is %g, want %g", isa, i, m, c, g, at, got[at], want[at])
			}
		}
	}
}

// TestConvSignal is TestConvF32 of images of one row and of those as wide as their rows are apart, whose columns are read in place: with more products
// than are added in one go, and with all epilogues.
func TestConvSignal(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 35))
	p := NewPool(3, 0)
	defer p.Close()
	for i := range cases(4000) {
		g := Window{H: 1, W: 1 + r.IntN(150), KH: 1, KW: 1 + r.IntN(6), SH: 1, SW: 1 + r.IntN(3), DH: 1, DW: 1 + r.IntN(3), Left: r.IntN(6), End: r.IntN(6)}
		if i%4 == 0 {
			g = Window{H: 1 + r.IntN(9), W: 1 + r.IntN(20), KH: 2 + r.IntN(3), KW: 1, SH: 1, SW: 1, DH: 1 + r.IntN(2), DW: 1, Top: r.IntN(3), Bottom: r.IntN(3)}
		}
		g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
		m, c, n := r.IntN(30), r.IntN(9), g.OH*g.OW
		if i%16 == 0 {
			c += 512/g.KW + r.IntN(300)
		}
		w, src := randSlice(r, m*c*g.KH*g.KW), randSlice(r, c*g.H*g.W)
		var ep Epilogue
		if i%5 > 0 {
			ep.BiasM = randSlice(r, m)
		}
		if i%3 == 0 {
			ep.Act = ActRelu
		}
		if i%7 == 0 {
			ep.Residual, ep.LdR = randSlice(r, m*n), n
		}
		want := naiveConv(m, w, c, src, &g)
		ep.applyGo(want, n, 0, m, 0, n)
		ep.activateRows(want, n, 0, m, 0, n)
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := make([]float32, len(want))
			ConvF32(p, m, w, c, src, &g, got, ep)
			restore()
			if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d m=%d c=%d %+v: element %d is %g, want %g", isa, i, m, c, g, at, got[at], want[at])
			}
		}
	}
}

func BenchmarkConv(b *testing.B) {
	for _, s := range []struct{ m, c, h, k, s int }{{64, 64, 56, 3, 1}, {128, 64, 56, 3, 2}, {256, 256, 14, 3, 1}, {64, 3, 224, 7, 2}, {64, 64, 56, 1, 1}} {
		g := Window{H: s.h, W: s.h, KH: s.k, KW: s.k, SH: s.s, SW: s.s, DH: 1, DW: 1, Top: s.k / 2, Left: s.k / 2, Bottom: s.k / 2, End: s.k / 2}
		g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
		r := rand.New(rand.NewPCG(1, 1))
		k, n := s.c*s.k*s.k, g.OH*g.OW
		w, src, dst, cols := randSlice(r, s.m*k), randSlice(r, s.c*s.h*s.h), make([]float32, s.m*n), make([]float32, k*n)
		for _, threads := range []int{1, 2} {
			p := NewPool(threads, 200*time.Microsecond)
			run := func(name string, f func()) {
				b.Run(fmt.Sprintf("%s/%dx%dx%dk%ds%d/t%d", name, s.m, s.c, s.h, s.k, s.s, threads), func(b *testing.B) {
					for b.Loop() {
						f()
					}
					b.ReportMetric(2*float64(s.m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
				})
			}
			run("implicit", func() { ConvF32(p, s.m, w, s.c, src, &g, dst, Epilogue{}) })
			run("im2col", func() {
				Im2Col(cols, src, s.c, &g)
				MatMulF32(p, s.m, n, k, w, k, false, cols, n, false, dst, n, Epilogue{})
			})
			p.Close()
		}
	}
}
