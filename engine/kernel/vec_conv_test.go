package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func randomWindow(r *rand.Rand) Window {
	g := Window{H: r.IntN(9), W: r.IntN(40), KH: 1 + r.IntN(3), KW: 1 + r.IntN(5), SH: 1 + r.IntN(3), SW: 1 + r.IntN(3),
		DH: 1 + r.IntN(2), DW: 1 + r.IntN(2), Top: r.IntN(4), Left: r.IntN(5), Bottom: r.IntN(4), End: r.IntN(5)}
	g.OH = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom) + r.IntN(2)
	g.OW = OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End) + r.IntN(2)
	return g
}

// windowDo calls f for each output and kernel element; i is the input offset, or -1 in the padding (pad: inside the
// stated padding).
func windowDo(g *Window, f func(o, k, i int, pad bool)) {
	for o := range g.OH * g.OW {
		for k := range g.KH * g.KW {
			h, w := o/g.OW*g.SH+k/g.KW*g.DH-g.Top, o%g.OW*g.SW+k%g.KW*g.DW-g.Left
			if h >= 0 && h < g.H && w >= 0 && w < g.W {
				f(o, k, h*g.W+w, false)
			} else {
				f(o, k, -1, h < g.H+g.Bottom && w < g.W+g.End)
			}
		}
	}
}

// TestConvHelpers compares column matrices, their adjoint, depthwise convolutions and pools with plain loops.
func TestConvHelpers(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range cases(20000) {
		g, c := randomWindow(r), 1+r.IntN(3)
		plane, out, kk := g.H*g.W, g.OH*g.OW, g.KH*g.KW
		x, w, bias := normals(r, c*plane), normals(r, c*kk), normals(r, c)
		cols, dw, mp := make([]float32, c*kk*out), make([]float32, c*out), make([]float32, c*out)
		ap, api, back := make([]float32, c*out), make([]float32, c*out), normals(r, c*plane)
		for i := range cols {
			cols[i] = 99
		}
		wantCols, wantDW, wantMax := make([]float64, len(cols)), make([]float64, c*out), make([]float64, c*out)
		sum, n, np, wantBack := make([]float64, c*out), make([]float64, c*out), make([]float64, c*out), toF64(back)
		for ch := range c {
			for o := range out {
				wantDW[ch*out+o], wantMax[ch*out+o] = float64(bias[ch]), math.Inf(-1)
			}
			windowDo(&g, func(o, k, i int, pad bool) {
				q := ch*out + o
				if i < 0 {
					if pad {
						np[q]++
					}
					return
				}
				v := float64(x[ch*plane+i])
				wantCols[(ch*kk+k)*out+o] = v
				wantDW[q] += v * float64(w[ch*kk+k])
				wantMax[q] = max(wantMax[q], v)
				sum[q], n[q], np[q] = sum[q]+v, n[q]+1, np[q]+1
				wantBack[ch*plane+i] += v
			})
		}
		Im2Col(cols, x, c, &g)
		near(t, "Im2Col", cols, wantCols, 0)
		Col2Im(back, cols, c, &g)
		near(t, "Col2Im", back, wantBack, 1e-5)
		DepthwiseConv(dw, x, w, bias, c, &g, ActNone)
		near(t, "DepthwiseConv", dw, wantDW, 1e-5)
		MaxPool(mp, x, c, &g)
		for q, want := range wantMax {
			if float64(mp[q]) != want {
				t.Fatalf("MaxPool[%d] = %g, want %g: %+v", q, mp[q], want, g)
			}
		}
		AveragePool(ap, x, c, &g, false)
		AveragePool(api, x, c, &g, true)
		for q := range sum {
			np[q], n[q] = sum[q]/max(np[q], 1), sum[q]/max(n[q], 1)
		}
		near(t, "AveragePool", ap, n, 1e-5)
		near(t, "AveragePool with padding", api, np, 1e-5)
	}
}

// TestConvEqual wants the bits of the Go twin from every instruction set.
func TestConvEqual(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for range cases(20000) {
		g, c := randomWindow(r), 2
		x, w := normals(r, c*g.H*g.W), normals(r, c*g.KH*g.KW)
		var want [3][]float32
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			var got [3][]float32
			for k := range got {
				got[k] = make([]float32, c*g.OH*g.OW)
			}
			DepthwiseConv(got[0], x, w, nil, c, &g, ActNone)
			MaxPool(got[1], x, c, &g)
			AveragePool(got[2], x, c, &g, true)
			restore()
			if isa == Generic {
				want = got
			}
			for k := range got {
				for i, v := range got[k] {
					if math.Float32bits(v) != math.Float32bits(want[k][i]) {
						t.Fatalf("%v: output %d[%d] = %g, want %g: %+v", isa, k, i, v, want[k][i], g)
					}
				}
			}
		}
	}
}

// TestDepthwiseTaps is TestConvEqual for the kernels that assembly has loops for: rows of three and of five taps, of which the first begins with the
// bias, and 3x3 with steps of one and two, each in a quarter of the cases.
func TestDepthwiseTaps(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 11))
	draw := drawer(r)
	for i := range cases(82000) {
		g := Window{H: 1 + r.IntN(4), W: 1 + r.IntN(24), KH: 3, KW: 3, SH: 1 + r.IntN(2), SW: 1 + i%2, DH: 1 + r.IntN(2), DW: 1,
			Top: r.IntN(3), Left: r.IntN(3), Bottom: r.IntN(3), End: r.IntN(3)}
		if i%4 > 1 {
			g.KH, g.KW, g.SW, g.DW, g.Left, g.End = 2, 3+i%2*2, 1+r.IntN(3), 1+r.IntN(2), r.IntN(6), r.IntN(6)
			g.Top += 2 // more than one row of taps
		}
		for g.OH*g.OW == 0 {
			g.W, g.Bottom = g.W+1, g.Bottom+1
			g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
		}
		x, w, bias, act := draw(g.H*g.W), draw(g.KH*g.KW), draw(1), []Activation{ActNone, ActRelu, ActClip6}[r.IntN(3)]
		var want []float32
		for _, isa := range floatLevels() {
			got := make([]float32, g.OH*g.OW)
			restore := Limit(isa)
			DepthwiseConv(got, x, w, bias, 1, &g, act)
			restore()
			if isa == Generic {
				want = got
			} else if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d: output %d is %g, want %g: %+v", isa, i, at, got[at], want[at], g)
			}
		}
	}
}
