package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// blockCase is a random blocked convolution.
type blockCase struct {
	n, cout, cin, groups int
	plain                bool
	g                    Window
	act                  Activation
	x, w, bias, res      []float32 // not blocked; bias and res may be nil
	half                 []uint16  // in the place of w, nil for none; times scale, which may be nil
	scale                []float32
	kind                 HalfKind
}

func randBlockCase(r *rand.Rand) *blockCase {
	c := &blockCase{n: 1, cout: 1 + r.IntN(40), cin: 1 + r.IntN(20), groups: 1}
	switch r.IntN(8) {
	case 0, 1, 2: // depthwise
		c.groups = c.cout
		c.cin = 1
	case 3: // whole blocks per group
		c.groups, c.cin, c.cout = 2, 16, 32
	case 4:
		c.plain, c.cin = true, 1+r.IntN(4)
	case 5:
		c.cin, c.n = 30+r.IntN(20), 2
	}
	g := Window{H: 1 + r.IntN(7), W: 1 + r.IntN(16), KH: 1 + r.IntN(3), KW: 1 + r.IntN(3), SH: 1 + r.IntN(2), SW: 1 + r.IntN(3),
		DH: 1 + r.IntN(2), DW: 1 + r.IntN(2), Top: r.IntN(4), Left: r.IntN(4), Bottom: r.IntN(4), End: r.IntN(4)}
	if r.IntN(4) == 0 {
		g = Window{H: g.H, W: g.W, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1}
	}
	if r.IntN(16) == 0 && c.groups == 1 { // see convSampled
		g.KH, g.KW, g.Top, g.Left = 1, 1, 0, 0
		c.cout = minSampleOuts*ChannelBlock - r.IntN(30)
	}
	g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
	if r.IntN(9) == 0 {
		g.OW++ // a column past the padding
	}
	c.g = g
	c.act = []Activation{ActNone, ActRelu, ActClip6, ActHardSwish, ActHardSigmoid, ActSigmoid}[r.IntN(6)]
	c.x, c.w = randSlice(r, c.n*c.cin*c.groups*g.H*g.W), randSlice(r, c.cout*c.cin*g.KH*g.KW)
	if r.IntN(3) > 0 {
		c.bias = randSlice(r, c.cout)
	}
	if r.IntN(3) == 0 {
		c.res = randSlice(r, c.n*c.cout*g.OH*g.OW)
	}
	return c
}

func (c *blockCase) pack() *PackedConv {
	if c.half != nil {
		return PackConvHalf(c.kind, c.half, c.scale, c.bias, c.cout, c.cin, c.groups, c.g.KH, c.g.KW, c.plain)
	}
	return PackConv(c.w, c.bias, c.cout, c.cin, c.groups, c.g.KH, c.g.KW, c.plain)
}

// String leaves the numbers out.
func (c *blockCase) String() string {
	return fmt.Sprintf("n %d, %d to %d channels in %d groups, plain %v, %+v, activation %d, bias %v, residual %v", c.n, c.cin*c.groups, c.cout, c.groups,
		c.plain, c.g, c.act, c.bias != nil, c.res != nil)
}

func blocked(n, c, hw int, x []float32) []float32 {
	d := make([]float32, n*ceilDiv(c, ChannelBlock)*hw*ChannelBlock)
	BlockChannels(nil, n, c, hw, d, x)
	return d
}

// run returns the blocked output.
func (c *blockCase) run(p *Pool) []float32 {
	g, x, out := c.g, c.x, c.g.OH*c.g.OW
	if !c.plain {
		x = blocked(c.n, c.cin*c.groups, g.H*g.W, x)
	}
	ep := BlockEpilogue{Act: c.act, Alpha: 0.3, Beta: 0.4}
	if c.res != nil {
		ep.Residual = blocked(c.n, c.cout, out, c.res)
	}
	y := make([]float32, c.n*ceilDiv(c.cout, ChannelBlock)*out*ChannelBlock)
	for i := range y {
		y[i] = float32(math.NaN())
	}
	ConvBlocked(p, c.n, y, x, c.pack(), &g, ep)
	return y
}

func act64(act Activation, x float64) float64 {
	switch act {
	case ActRelu:
		return max(x, 0)
	case ActClip6:
		return min(max(x, 0), 6)
	case ActHardSwish:
		return x * min(max(x/6+0.5, 0), 1)
	case ActHardSigmoid:
		return min(max(0.3*x+0.4, 0), 1)
	case ActSigmoid:
		return 1 / (1 + math.Exp(-x))
	}
	return x
}

// roundings is the number of additions that a term of a sum passes through: those of its chain, and one for every chain after it.
func (c *blockCase) roundings() int {
	kk := c.g.KH * c.g.KW
	if c.plain || c.cin == 1 {
		return c.cin * kk
	}
	step, blocks := min(c.cin, ChannelBlock), ceilDiv(c.cin, ChannelBlock)
	chains := ceilDiv(blocks, max(1, blockChain/(step*kk)))
	return ceilDiv(blocks, chains)*step*kk + chains
}

// check compares an output, not blocked, with the definition in float64. The bound: the roundings of a sum, each within
// 2^-24 of its exact result, and an activation whose slope is at most 1.5 and which rounds a few times more.
func (c *blockCase) check(t *testing.T, y []float32) {
	g := &c.g
	out, plane, kk, og := g.OH*g.OW, g.H*g.W, g.KH*g.KW, c.cout/c.groups
	for i := range y {
		n, co, o := i/out/c.cout, i/out%c.cout, i%out
		var s, abs float64
		if c.bias != nil {
			s = float64(c.bias[co])
		}
		abs = math.Abs(s)
		for ci := range c.cin {
			src := c.x[((n*c.groups+co/og)*c.cin+ci)*plane:]
			for k := range kk {
				h, w := o/g.OW*g.SH+k/g.KW*g.DH-g.Top, o%g.OW*g.SW+k%g.KW*g.DW-g.Left
				if h >= 0 && h < g.H && w >= 0 && w < g.W {
					v := float64(src[h*g.W+w]) * float64(c.w[(co*c.cin+ci)*kk+k])
					s, abs = s+v, abs+math.Abs(v)
				}
			}
		}
		if c.res != nil {
			s, abs = s+float64(c.res[i]), abs+math.Abs(float64(c.res[i]))
		}
		want := act64(c.act, s)
		if bound := float64(c.roundings()+8) * abs * 1.5 / (1 << 24); !(math.Abs(float64(y[i])-want) <= bound+1e-6*math.Abs(want)+1e-7) {
			t.Fatalf("%v: element %d is %g, want %g", c, i, y[i], want)
		}
	}
}

// TestConvBlocked wants the bits of the Go twin from every instruction set, with and without threads, and the definition in
// float64 within a derived bound.
func TestConvBlocked(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 7))
	p := NewPool(3, 0)
	defer p.Close()
	reading := leaveReading(t)
	for i := range cases(20000) {
		reading(i / 2)
		c := randBlockCase(r)
		if i%8 != 0 { // most are tiny: the Go twin is slow
			c.g.H, c.g.W = min(c.g.H, 3), min(c.g.W, 9)
			c.g.OH, c.g.OW = OutputSize(c.g.H, c.g.KH, c.g.SH, c.g.DH, c.g.Top, c.g.Bottom), OutputSize(c.g.W, c.g.KW, c.g.SW, c.g.DW, c.g.Left, c.g.End)
			if c.res != nil {
				c.res = randSlice(r, c.n*c.cout*c.g.OH*c.g.OW)
			}
		}
		var want []float32
		for _, isa := range floatLevels() {
			if isa == Generic && i%8 != 0 && Detect() != Generic && i%3 != 0 {
				continue
			}
			restore := Limit(isa)
			got := c.run(nil)
			if i%16 == 0 {
				if at := sameBits(c.run(p), got); at >= 0 {
					t.Fatalf("%v: case %d, %v: threads change element %d", isa, i, c, at)
				}
			}
			restore()
			if want == nil {
				want = got
				y := make([]float32, c.n*c.cout*c.g.OH*c.g.OW)
				UnblockChannels(nil, c.n, c.cout, c.g.OH*c.g.OW, y, got)
				c.check(t, y)
			} else if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d, %v: element %d is %g, want %g", isa, i, c, at, got[at], want[at])
			}
		}
	}
}

// TestConvBlockedChains sums 4608 equal terms and 2048 of them: in one chain they are off by up to a fifth of so many 2^-24 as a rule, since
// every addition of a binade rounds alike; in chains of 192 at most they keep to the bound.
func TestConvBlockedChains(t *testing.T) {
	for _, s := range [][3]int{{512, 3, 1}, {2048, 1, 3}} {
		c := &blockCase{n: 1, cout: 16, cin: s[0], groups: 1, x: make([]float32, s[0]*s[2]), w: make([]float32, 16*s[0]*s[1]*s[1])}
		c.g = Window{H: 1, W: s[2], KH: s[1], KW: s[1], SH: 1, SW: 1, DH: 1, DW: 1, OH: 1, OW: s[2], Top: s[1] / 2, Left: s[1] / 2, Bottom: s[1] / 2, End: s[1] / 2}
		if s[2] == 1 { // all elements of the window
			c.g.H, c.g.W, c.g.Top, c.g.Left, c.g.Bottom, c.g.End = 3, 3, 0, 0, 0, 0
			c.x = make([]float32, 9*s[0])
		}
		for i := range c.x {
			c.x[i] = 0.3
		}
		for i := range c.w {
			c.w[i] = 0.1 * float32(1+i/(len(c.w)/16))
		}
		y := make([]float32, 16*s[2])
		var want []float32
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := c.run(nil)
			restore()
			if want == nil {
				want = got
				UnblockChannels(nil, 1, 16, s[2], y, got)
				c.check(t, y)
			} else if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: %v: element %d is %g, want %g", isa, c, at, got[at], want[at])
			}
		}
	}
}

// TestPoolBlocked compares poolings and means of blocked images with those of plain ones.
func TestPoolBlocked(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for i := range cases(20000) {
		g, c := randomWindow(r), 1+r.IntN(34)
		blocks, out := ceilDiv(c, ChannelBlock), g.OH*g.OW
		x := normals(r, c*g.H*g.W)
		if len(x) > 0 && i%5 == 0 {
			x[r.IntN(len(x))] = float32(math.NaN())
		}
		xb := blocked(1, c, g.H*g.W, x)
		for kind := range 3 {
			want := make([]float32, c*out)
			switch kind {
			case 0:
				MaxPool(want, x, c, &g)
			default:
				AveragePool(want, x, c, &g, kind == 2)
			}
			for _, isa := range floatLevels() {
				restore := Limit(isa)
				yb, got := make([]float32, blocks*out*ChannelBlock), make([]float32, c*out)
				PoolBlocked(nil, 1, blocks, yb, xb, &g, kind > 0, kind == 2)
				UnblockChannels(nil, 1, c, out, got, yb)
				restore()
				for k := range got { // a mean is the same sum in the same order; only the sign of a zero may differ
					if got[k] != want[k] && !(got[k] != got[k] && want[k] != want[k]) {
						t.Fatalf("%v: kind %d: element %d is %g, want %g: %+v", isa, kind, k, got[k], want[k], g)
					}
				}
			}
		}
	}
}

// TestMeanScaleBlocked compares with plain loops: the mean within 8 roundings of sums whose terms are below 6, the product exactly.
func TestMeanScaleBlocked(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range cases(20000) {
		c, hw := 1+r.IntN(40), 1+r.IntN(60)
		blocks := ceilDiv(c, ChannelBlock)
		x, s := normals(r, c*hw), normals(r, c)
		xb, sb := blocked(1, c, hw, x), blocked(1, c, 1, s)
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			m, y, got := make([]float32, blocks*ChannelBlock), make([]float32, len(xb)), make([]float32, len(x))
			MeanBlocked(m, xb, blocks, hw)
			ScaleBlocked(nil, 1, blocks, hw, y, xb, sb)
			UnblockChannels(nil, 1, c, hw, got, y)
			restore()
			for ch := range c {
				var sum float64
				for p, v := range x[ch*hw : (ch+1)*hw] {
					sum += float64(v)
					if got[ch*hw+p] != v*s[ch] {
						t.Fatalf("%v: product %g, want %g", isa, got[ch*hw+p], v*s[ch])
					}
				}
				if math.Abs(sum/float64(hw)-float64(m[ch])) > 8*6.0/(1<<24)*float64(hw/4+4) {
					t.Fatalf("%v: mean %g, want %g", isa, m[ch], sum/float64(hw))
				}
			}
		}
	}
}

func BenchmarkConvBlocked(b *testing.B) {
	for _, s := range []struct{ m, c, h, k, s, groups int }{
		{64, 64, 56, 3, 1, 1}, {128, 64, 56, 3, 2, 1}, {256, 256, 14, 3, 1, 1}, {512, 512, 7, 3, 1, 1}, {64, 3, 224, 7, 2, 1}, {64, 64, 56, 1, 1, 1},
		{256, 64, 56, 1, 1, 1}, {64, 256, 56, 1, 1, 1}, {1024, 256, 14, 1, 1, 1}, {256, 1024, 14, 1, 1, 1}, {512, 2048, 7, 1, 1, 1}, {1024, 512, 28, 1, 2, 1},
		{128, 128, 28, 1, 1, 1}, {32, 16, 112, 1, 1, 1}, {256, 1, 14, 5, 1, 256}, {64, 1, 56, 3, 1, 64}, {512, 1, 7, 5, 1, 512}, {128, 1, 28, 3, 2, 128}} {
		g := Window{H: s.h, W: s.h, KH: s.k, KW: s.k, SH: s.s, SW: s.s, DH: 1, DW: 1, Top: s.k / 2, Left: s.k / 2, Bottom: s.k / 2, End: s.k / 2}
		g.OH, g.OW = OutputSize(g.H, g.KH, g.SH, g.DH, g.Top, g.Bottom), OutputSize(g.W, g.KW, g.SW, g.DW, g.Left, g.End)
		r := rand.New(rand.NewPCG(1, 1))
		plain := s.c == 3
		w := PackConv(randSlice(r, s.m*s.c*s.k*s.k), nil, s.m, s.c, s.groups, s.k, s.k, plain)
		src := make([]float32, ceilDiv(s.c*s.groups, 16)*16*s.h*s.h)
		dst := make([]float32, s.m*g.OH*g.OW)
		for _, threads := range []int{1, 2} {
			p := NewPool(threads, 200*time.Microsecond)
			b.Run(fmt.Sprintf("%dx%dx%dk%ds%dg%d/t%d", s.m, s.c, s.h, s.k, s.s, s.groups, threads), func(b *testing.B) {
				best := time.Hour // others may use the machine
				for b.Loop() {
					start := time.Now()
					ConvBlocked(p, 1, dst, src, w, &g, BlockEpilogue{Act: ActRelu})
					best = min(best, time.Since(start))
				}
				b.ReportMetric(2*float64(s.m*s.c*g.OH*g.OW*s.k*s.k)/best.Seconds()/1e9, "GFLOPS-best")
			})
			p.Close()
		}
	}
}
