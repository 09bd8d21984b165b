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

// gamma is n u/(1 - n u), u = 2^-24: what n roundings change a product of factors by at most, and so a sum of n + 1 terms, or one of
// n fused products that starts at a number, in parts of the sum of the magnitudes (Higham, "Accuracy and Stability of Numerical
// Algorithms", lemma 3.1).
func gamma(n float64) float64 { return n * unit / (1 - n*unit) }

// TestConvHelpers compares column matrices, their adjoint, depthwise convolutions and pools with plain loops: what does not add is
// exact, and a sum errs by gamma of its roundings times the sum of the magnitudes. A pixel of Col2Im is added to as often as a window
// meets it; a depthwise sum starts at the bias and has a fused product for every element inside the input, the others being exact; a mean
// of n elements has n - 1 additions, the first element being copied and zeros added exactly, and one division.
func TestConvHelpers(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	share := map[string]float64{}
	most := func(what string, x float64) { share[what] = max(share[what], x) }
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
		size, sizeDW, met, sizeBack := make([]float64, c*out), make([]float64, c*out), make([]float64, c*plane), make([]float64, c*plane)
		for i, v := range back {
			sizeBack[i] = math.Abs(float64(v))
		}
		for ch := range c {
			for o := range out {
				wantDW[ch*out+o], wantMax[ch*out+o] = float64(bias[ch]), math.Inf(-1)
				sizeDW[ch*out+o] = math.Abs(float64(bias[ch]))
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
				size[q], sizeDW[q] = size[q]+math.Abs(v), sizeDW[q]+math.Abs(v*float64(w[ch*kk+k]))
				p := ch*plane + i
				wantBack[p], sizeBack[p], met[p] = wantBack[p]+v, sizeBack[p]+math.Abs(v), met[p]+1
			})
		}
		Im2Col(cols, x, c, &g)
		near(t, "Im2Col", cols, wantCols, 0)
		Col2Im(back, cols, c, &g)
		most("Col2Im", within(t, "Col2Im", back, wantBack, func(i int) float64 { return gamma(met[i]) * sizeBack[i] }))
		DepthwiseConv(dw, x, w, bias, c, &g, ActNone)
		most("DepthwiseConv", within(t, "DepthwiseConv", dw, wantDW, func(i int) float64 { return gamma(n[i]) * sizeDW[i] }))
		MaxPool(mp, x, c, &g)
		for q, want := range wantMax {
			if float64(mp[q]) != want {
				t.Fatalf("MaxPool[%d] = %g, want %g: %+v", q, mp[q], want, g)
			}
		}
		AveragePool(ap, x, c, &g, false)
		AveragePool(api, x, c, &g, true)
		mean, padded := make([]float64, c*out), make([]float64, c*out)
		for q := range sum {
			mean[q], padded[q] = sum[q]/max(n[q], 1), sum[q]/max(np[q], 1)
		}
		most("AveragePool", within(t, "AveragePool", ap, mean, func(i int) float64 { return gamma(n[i]) * size[i] / max(n[i], 1) }))
		most("AveragePool", within(t, "AveragePool with padding", api, padded, func(i int) float64 { return gamma(n[i]) * size[i] / max(np[i], 1) }))
	}
	t.Logf("of the bounds: %v", share)
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
