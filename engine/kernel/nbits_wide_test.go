package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// widened is the matrix as float32, [K][N], from the unpacked weights; without zeros no zero points are taken off, which a zero would have a sign from.
func widened(b *NBits, zeros bool) []float32 {
	w := make([]float32, b.K*b.N)
	centre := float32(int(1) << (b.Bits - 1))
	for k := range b.K {
		for n := range b.N {
			s := b.Scale[n*b.Blocks()+k/b.Block]
			q, z := float32(b.Integer(k, n))-centre, float32((b.ZeroAt(k/b.Block, n)-centre)*s)
			if w[k*b.N+n] = float32(q * s); zeros {
				w[k*b.N+n] -= z
			}
		}
	}
	return w
}

// TestNBitsWiden compares rows of weights as float32 with the formula, bit for bit, from random rows and of random blocks.
func TestNBitsWiden(t *testing.T) {
	n := cases(20000)
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 10))
		for i := range n {
			b := randNBits(r, 1+r.IntN(200), 1+r.IntN(70), []int{4, 8, 4, 8, 2}[r.IntN(5)], 16*(1+r.IntN(8)))
			p := PackNBits(b)
			j, k0 := r.IntN(panels(b.N)), r.IntN(b.K)&^7
			rows := 1 + r.IntN(b.K-k0)
			got := make([]float32, (rows+7)&^7*PanelWidth+1)
			got[len(got)-1] = -7
			p.widen(Active(), got, j, k0, rows)
			if got[len(got)-1] != -7 {
				t.Fatalf("case %d: written past the end", i)
			}
			want := widened(b, p.zeros)
			for q := range rows {
				for c := range min(PanelWidth, b.N-j*PanelWidth) {
					g, w := got[q*PanelWidth+c], want[(k0+q)*b.N+j*PanelWidth+c]
					if math.Float32bits(g) != math.Float32bits(w) {
						t.Fatalf("case %d, %d bits, block %d: row %d, column %d of panel %d is %v, want %v", i, b.Bits, b.Block, k0+q, c, j, g, w)
					}
				}
			}
		}
	})
}

// TestNBitsWide: products of many rows have the bits of GemmF32 on those weights, of random shapes, and are near the formula. K roundings of chains or less and
// those of a weight: its product and its zero point's, and their difference, each 2^-24 of what is added up or less, together less than K+4 of them.
func TestNBitsWide(t *testing.T) {
	n := cases(20000)
	pool := NewPool(3, 0)
	defer pool.Close()
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 11))
		for i := range n {
			c := randNBitsCase(r)
			c.bytes = false
			p := []*Pool{nil, pool}[i%2]
			got := c.runDigits(p, 0)
			want := make([]float32, len(got))
			for j := range want {
				want[j] = -7
			}
			GemmF32(nil, c.m, c.a, c.lda, PackF32(c.b.K, c.b.N, widened(c.b, PackNBits(c.b).zeros), c.b.N, false), want, c.ldc, Epilogue{Bias: c.bias})
			if at := sameBits(got, want); at >= 0 {
				t.Fatalf("case %d, %d bits, block %d, %d rows, [%d %d]: element %d is %v, want %v", i, c.b.Bits, c.b.Block, c.m, c.b.K, c.b.N, at, got[at], want[at])
			}
			for e := range got {
				row, col := e/c.ldc, e%c.ldc
				if col >= c.b.N {
					continue
				}
				exact, size := dotNBits(c.b, c.a[row*c.lda:][:c.b.K], col)
				tol := float64(c.b.K+4) * 0x1p-24 * size
				if c.bias != nil {
					exact += float64(c.bias[col])
					tol += 0x1p-23 * (math.Abs(exact) + math.Abs(float64(c.bias[col])))
				}
				if !(math.Abs(float64(got[e])-exact) <= tol) {
					t.Fatalf("case %d, row %d, column %d: %v, want %v within %v", i, row, col, got[e], exact, tol)
				}
			}
		}
	})
}

// TestNBitsRows: GemmNBits with few and many rows, shapes that are cut into K blocks, row tasks and panel tasks, blocks that K blocks cut, and epilogues:
// where nbitsWide says so the bits of float32 with any number of threads, otherwise those of digits.
func TestNBitsRows(t *testing.T) {
	pools := []*Pool{nil, NewPool(2, 0), NewPool(4, 10*time.Microsecond)}
	defer pools[1].Close()
	defer pools[2].Close()
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 12))
		for i, s := range [][4]int{{200, 70, 1100, 32}, {130, 33, 600, 48}, {50, 1300, 530, 1024}, {400, 33, 70, 16}, {24, 901, 300, 128},
			{1, 300, 300, 32}, {3, 70, 1400, 32}, {50, 40, 1500, 32768}} {
			if Active() == Generic && s[0]*s[1]*s[2] > 10e6 {
				continue
			}
			b := randNBits(r, s[2], s[1], []int{4, 8, 2}[i%3], s[3])
			p := PackNBits(b)
			a, bias, res := randSlice(r, s[0]*s[2]), randSlice(r, s[1]), randSlice(r, s[0]*s[1])
			ep := Epilogue{Bias: bias, Residual: res, LdR: s[1], Act: ActRelu}
			for _, bytes := range []bool{false, true} {
				want := make([]float32, s[0]*s[1])
				switch {
				case nbitsWide(Active(), s[0], p, bytes):
					GemmF32(nil, s[0], a, s[2], PackF32(b.K, b.N, widened(b, p.zeros), b.N, false), want, s[1], ep)
				case bytes:
					gemmNBits(nil, s[0], a, s[2], p, want, s[1], 1, ep)
				default:
					gemmNBits(nil, s[0], a, s[2], p, want, s[1], nbitsParts(Active(), p), ep)
				}
				for _, pool := range pools {
					got := make([]float32, s[0]*s[1])
					GemmNBits(pool, s[0], a, s[2], p, got, s[1], bytes, ep)
					if at := sameBits(got, want); at >= 0 {
						t.Fatalf("%v, %d bits, bytes %v, threads=%d: element %d is %g, want %g", s, b.Bits, bytes, pool.Threads(), at, got[at], want[at])
					}
				}
			}
		}
	})
}

// BenchmarkNBitsRows has the products of a small transformer with few and many rows, in digits, in float32, with bytes, and by float32 weights.
func BenchmarkNBitsRows(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, bits := range []int{4, 8} {
		for _, s := range [][2]int{{384, 384}, {384, 1536}, {1536, 384}} {
			k, n := s[0], s[1]
			w := randNBits(r, k, n, bits, 32)
			p, dense := PackNBits(w), PackF32(k, n, randSlice(r, k*n), n, false)
			for _, m := range []int{2, 4, 8, 16, 32, 128} {
				a, c := randSlice(r, m*k), make([]float32, m*n)
				run := func(name string, f func()) {
					b.Run(fmt.Sprintf("bits=%d/%dx%d/m=%d/%s", bits, k, n, m, name), func(b *testing.B) {
						for b.Loop() {
							f()
						}
					})
				}
				run("digits", func() { gemmNBits(nil, m, a, k, p, c, n, nbitsParts(Active(), p), Epilogue{}) })
				run("wide", func() { gemmNBits(nil, m, a, k, p, c, n, 0, Epilogue{}) })
				run("bytes", func() { gemmNBits(nil, m, a, k, p, c, n, 1, Epilogue{}) })
				run("f32", func() { GemmF32(nil, m, a, k, dense, c, n, Epilogue{}) })
			}
		}
	}
}
