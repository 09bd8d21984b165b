package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestWinograd wants the bits of the Go twin from every instruction set, with and without threads, and an error against the
// definition that is below Bound for normal inputs, for those that follow a Relu and for those that are 5 or more.
func TestWinograd(t *testing.T) {
	kinds := []struct {
		name  string
		f     func(x float32) float32
		size  float64 // root of the mean square
		share float64
	}{
		{"normal", func(x float32) float32 { return x }, 1, 0}, {"after Relu", func(x float32) float32 { return max(x, 0) }, math.Sqrt(0.5), 0},
		{"at least 5", func(x float32) float32 { return absf(x) + 5 }, math.Sqrt(26 + 10*math.Sqrt(2/math.Pi)), 0},
	}
	r := rand.New(rand.NewPCG(3, 33))
	p := NewPool(3, 0)
	defer p.Close()
	for i := range cases(20000) {
		c := &blockCase{n: 1 + r.IntN(2), cin: 16 + r.IntN(6), cout: 1 + r.IntN(20), groups: 1, act: []Activation{ActNone, ActRelu, ActClip6, ActHardSwish, ActHardSigmoid}[r.IntN(5)]}
		c.g = Window{H: 1 + r.IntN(11), W: 1 + r.IntN(15), KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, Top: r.IntN(3), Left: r.IntN(3), Bottom: r.IntN(3), End: r.IntN(3)}
		if i%32 != 0 { // most are small: the Go twin is slow
			c.n, c.g.H, c.g.W = 1, min(c.g.H, 3), min(c.g.W, 5)
		}
		g := &c.g
		g.OH, g.OW = OutputSize(g.H, 3, 1, 1, g.Top, g.Bottom), OutputSize(g.W, 3, 1, 1, g.Left, g.End)
		out := g.OH * g.OW
		c.x, c.w, c.bias = normals(r, c.n*c.cin*g.H*g.W), normals(r, c.cout*c.cin*9), normals(r, c.cout)
		kind := &kinds[i/2%3]
		for k, v := range c.x {
			c.x[k] = kind.f(v)
		}
		ep := BlockEpilogue{Act: c.act, Alpha: 0.3, Beta: 0.4}
		if i%3 == 0 {
			c.res = normals(r, c.n*c.cout*out)
			ep.Residual = blocked(c.n, c.cout, out, c.res)
		}
		x := blocked(c.n, c.cin, g.H*g.W, c.x)
		pack := PackConv(c.w, c.bias, c.cout, c.cin, 1, 3, 3, false)
		w := NewWinograd(pack, 2+2*(i%2))
		var want []float32
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			for _, pool := range []*Pool{nil, p}[:1+(i+1)%16/15] { // threads in every sixteenth case
				y := make([]float32, c.n*ceilDiv(c.cout, ChannelBlock)*out*ChannelBlock)
				w.Conv(pool, c.n, y, x, g, ep)
				if want == nil {
					want = y
				} else if at := sameBits(y, want); at >= 0 {
					t.Fatalf("%v: case %d %+v: element %d is %g, want %g", isa, i, c.g, at, y[at], want[at])
				}
			}
			restore()
		}
		if out == 0 {
			continue
		}
		direct, tiled := make([]float32, len(want)), make([]float32, len(want))
		ConvBlocked(nil, c.n, direct, x, pack, g, BlockEpilogue{})
		w.Conv(nil, c.n, tiled, x, g, BlockEpilogue{})
		var top, worst float64
		for k, d := range direct {
			top, worst = max(top, math.Abs(float64(d))), max(worst, math.Abs(float64(d)-float64(tiled[k])))
		}
		// Of a few outputs the largest may be small: half a standard deviation at least. The definition in float32 errs, too: six times
		// sqrt(9 cin/2 0.18) 2^-24 standard deviations, 0.18 being the mean square of a relative rounding error in units.
		n := float64(9 * c.cin)
		top = max(top, 0.5*math.Sqrt(n)*kind.size)
		if b := w.Bound() + 6*unit*math.Sqrt(n/2*0.18); worst > b*top {
			t.Fatalf("case %d, %s, %+v: error %g of %g, bound %g", i, kind.name, c.g, worst, top, b)
		}
		kind.share = max(kind.share, worst/(w.Bound()*top))
		if !(w.Bound() > 1e-7 && w.Bound() < 1e-4) {
			t.Fatalf("bound %g", w.Bound())
		}
	}
	for _, k := range kinds {
		t.Logf("%s: %.2f of the bound", k.name, k.share)
	}
}
