package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// randNBits makes block-wise weights of every kind of zero point.
func randNBits(r *rand.Rand, k, n, bits, block int) *NBits {
	b := &NBits{K: k, N: n, Bits: bits, Block: block}
	kb := b.Blocks()
	b.Q = make([]byte, n*kb*block*bits/8)
	for i := range b.Q {
		b.Q[i] = byte(r.Uint32())
		if r.IntN(8) == 0 {
			b.Q[i] = []byte{0, 0x88, 0x80, 0xff}[r.IntN(4)]
		}
	}
	b.Scale = make([]float32, n*kb)
	for i := range b.Scale {
		b.Scale[i] = float32(r.NormFloat64()) / 16
	}
	switch r.IntN(3) {
	case 0:
		b.Zero = make([]byte, n*ceilDiv(kb*bits, 8))
		for i := range b.Zero {
			b.Zero[i] = byte(r.Uint32())
		}
	case 1:
		b.Floats = make([]float32, n*kb)
		for i := range b.Floats {
			b.Floats[i] = float32(r.Float64() * float64(int(1)<<bits))
		}
	}
	return b
}

// dotNBits is the formula of the operator in float64, and what bounds the rounding of one element of a product: the sum of
// (|q-c| + |z-c|) |s| over k, times the largest magnitude of A in the block of k.
func dotNBits(b *NBits, x []float32, n int) (sum, size float64) {
	c := float64(int(1) << (b.Bits - 1))
	kb := b.Blocks()
	for t := range kb {
		k1 := min(b.K, (t+1)*b.Block)
		s, z := float64(b.Scale[n*kb+t]), float64(b.ZeroAt(t, n))
		top := float64(absMaxGo(x[t*b.Block : k1]))
		for k := t * b.Block; k < k1; k++ {
			q := float64(b.Integer(k, n))
			sum += float64(x[k]) * (q - z) * s
			size += (math.Abs(q-c) + math.Abs(z-c)) * math.Abs(s) * top
		}
	}
	return sum, size
}

// nbitsCase is one product.
type nbitsCase struct {
	m, lda, ldc int
	a           []float32
	b           *NBits
	bytes       bool
	bias        []float32
}

func randNBitsCase(r *rand.Rand) *nbitsCase {
	k, n := r.IntN(100), r.IntN(40)
	if r.IntN(200) == 0 {
		k, n = r.IntN(600), r.IntN(200)
	}
	c := &nbitsCase{m: r.IntN(9), bytes: r.IntN(2) == 0}
	c.b = randNBits(r, k, n, []int{4, 8, 4, 8, 2}[r.IntN(5)], 16<<r.IntN(5))
	c.lda, c.ldc = k+r.IntN(3), n+r.IntN(3)
	c.a = make([]float32, c.m*c.lda)
	for i := range c.a {
		c.a[i] = float32(r.NormFloat64() * math.Exp(4*r.NormFloat64()))
		if r.IntN(10) == 0 {
			c.a[i] = 0
		}
	}
	if r.IntN(2) == 0 {
		c.bias = make([]float32, n)
		for i := range c.bias {
			c.bias[i] = float32(r.NormFloat64())
		}
	}
	return c
}

func (c *nbitsCase) run(p *Pool) []float32 { return c.runDigits(p, c.digits()) }

// digits is the number of digits at the active level.
func (c *nbitsCase) digits() int {
	if c.bytes {
		return 1
	}
	return nbitsParts(Active(), PackNBits(c.b))
}

func (c *nbitsCase) runDigits(p *Pool, parts int) []float32 {
	out := make([]float32, c.m*c.ldc)
	for i := range out {
		out[i] = -7
	}
	gemmNBits(p, c.m, c.a, c.lda, PackNBits(c.b), out, c.ldc, parts, Epilogue{Bias: c.bias})
	return out
}

// check compares with the formula. A block of A is held to 2^-22 of its largest magnitude or better (half of 1/127 with bytes), the
// digits are joined with two roundings, then a product with the scales, one with the zero point and the sum over the blocks
// round once per block: no more than blocks+10 roundings of 2^-23 of what dotNBits calls size.
func (c *nbitsCase) check(got []float32) error {
	if Active() == AVX512 { // no integers: chains of fused multiply-adds
		return c.checkWithin(got, float64(c.b.K)*0x1p-24)
	}
	return c.checkWithin(got, 0)
}

// checkWithin is check with so many times size of further rounding.
func (c *nbitsCase) checkWithin(got []float32, more float64) error {
	for i := range c.m {
		x := c.a[i*c.lda:][:c.b.K]
		for j := range c.ldc {
			g := float64(got[i*c.ldc+j])
			if j >= c.b.N {
				if g != -7 {
					return fmt.Errorf("row %d, column %d past the end is written", i, j)
				}
				continue
			}
			want, size := dotNBits(c.b, x, j)
			tol := float64(c.b.Blocks()+10)*0x1p-23*size + more*size
			if c.bytes {
				tol += size / 254
			}
			if c.bias != nil {
				want += float64(c.bias[j])
				tol += 0x1p-23 * (math.Abs(want) + math.Abs(float64(c.bias[j])))
			}
			if !(math.Abs(g-want) <= tol) {
				return fmt.Errorf("row %d, column %d: %v, want %v within %v", i, j, g, want, tol)
			}
		}
	}
	return nil
}

// TestNBits compares every kernel with the formula, and the kernels of digits with their Go twin bit for bit.
func TestNBits(t *testing.T) {
	n := cases(20000)
	pool := NewPool(2, 0)
	defer pool.Close()
	var twin [][4][]float32 // by the number of digits
	reading := leaveReading(t)
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 8))
		for i := range n {
			reading(i)
			c := randNBitsCase(r)
			got := c.run([]*Pool{nil, pool}[i%2])
			if err := c.check(got); err != nil {
				t.Fatalf("case %d, %d bits, block %d, [%d %d] x [%d %d]: %v", i, c.b.Bits, c.b.Block, c.m, c.b.K, c.b.K, c.b.N, err)
			}
			switch Active() {
			case Generic:
				var of [4][]float32
				for parts := range 4 {
					if parts > 1 && !c.bytes && (parts == 3 || c.digits() == 2) {
						of[parts] = c.runDigits(nil, parts)
					}
				}
				of[c.digits()] = got
				twin = append(twin, of)
			case AVX2, AVXVNNI, AVX512VNNI, AVX512BF16, AMX, NEON, NEONDot, NEONI8MM:
				for j := range got {
					if want := twin[i][c.digits()][j]; math.Float32bits(got[j]) != math.Float32bits(want) {
						t.Fatalf("case %d, element %d: %v, the Go twin has %v", i, j, got[j], want)
					}
				}
			}
		}
	})
}

// TestNBitsFloats has rows below what digits are for, which are multiplied in float32, a row at a time, at every level: the Go twin against the
// formula and, bit for bit, the kernels against it.
func TestNBitsFloats(t *testing.T) {
	n := cases(20000)
	pool := NewPool(2, 0)
	defer pool.Close()
	var twin [][]float32
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 13))
		for i := range n {
			c := randNBitsCase(r)
			c.m = 1 + c.m%3
			c.a = make([]float32, c.m*c.lda)
			for q := range c.a { // no more than 2^-80, and their products are not below the normal range
				c.a[q] = float32(min(8, math.Abs(r.NormFloat64()))+0.01) * 0x1p-84
				if r.IntN(2) == 0 {
					c.a[q] *= -1
				}
			}
			c.bias = nil
			parts := 3
			if c.bytes {
				parts = 1
			}
			got := c.runDigits([]*Pool{nil, pool}[i%2], parts)
			if Active() == Generic {
				c.bytes = false // no row is rounded to bytes
				if err := c.checkWithin(got, float64(c.b.K)*0x1p-24); err != nil {
					t.Fatalf("case %d, %d bits, block %d, [%d %d] x [%d %d]: %v", i, c.b.Bits, c.b.Block, c.m, c.b.K, c.b.K, c.b.N, err)
				}
				twin = append(twin, got)
			} else if at := sameBits(got, twin[i]); at >= 0 {
				t.Fatalf("case %d, %d bits, block %d, element %d: %v, the Go twin has %v", i, c.b.Bits, c.b.Block, at, got[at], twin[i][at])
			}
		}
	})
}

// TestNBitsRange has rows that digits cannot hold: infinities, NaN, and magnitudes at both ends.
func TestNBitsRange(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 9))
		for i := range 60 {
			b := randNBits(r, 48, 40, 4+4*(i%2), 16)
			m := []int{3, 12, 50}[i/2%3]
			for _, v := range []float64{math.Inf(1), math.Inf(-1), math.NaN(), 1e-44, 1e-40, 1e-30, 1e30, 3e38, 0} {
				for _, bytes := range []bool{false, true} {
					a := make([]float32, m*48)
					for q := range a {
						a[q] = float32(r.NormFloat64())
						if math.Abs(v) < 1 && q%48 < 32 { // the third block of a row has usual numbers
							a[q] = 0
						}
					}
					a[48+r.IntN(32)] = float32(v)
					checkNBitsRange(t, b, m, a, bytes, v)
				}
			}
		}
	})
}

// checkNBitsRange compares the product of a [m,K] with the formula.
func checkNBitsRange(t *testing.T, b *NBits, m int, a []float32, bytes bool, v float64) {
	t.Helper()
	c, p := make([]float32, m*b.N), PackNBits(b)
	GemmNBits(nil, m, a, b.K, p, c, b.N, bytes, Epilogue{})
	for j, g := range c {
		want, size := dotNBits(b, a[j/b.N*b.K:][:b.K], j%b.N)
		if math.IsInf(want, 0) || want != want {
			if w := float32(want); g != w && (g == g || w == w) {
				t.Fatalf("%v: element %d is %v, want %v", v, j, g, w)
			}
			continue
		}
		if math.Abs(want) > math.MaxFloat32/2 || size > 1e38 && math.IsInf(float64(g), 0) {
			continue // overflow on the way
		}
		tol := 20*0x1p-23*size + 60*0x1p-149                        // below the normal range every product rounds to a multiple of 2^-149
		if Active() == AVX512 || nbitsWide(Active(), m, p, bytes) { // chains of fused multiply-adds
			tol += float64(b.K+4) * 0x1p-24 * size
		}
		if bytes {
			tol += 0x1p-8 * size
		}
		if !(math.Abs(float64(g)-want) <= tol) {
			t.Fatalf("%v, %d rows, bytes %v: element %d is %v, want %v within %v", v, m, bytes, j, g, want, tol)
		}
	}
}

// TestNBitsExtremes has the largest weights and digits, whose sums are the largest that kernels add in 16 bits, against the formula and the Go twin.
func TestNBitsExtremes(t *testing.T) {
	const k, n = 512, 33
	for _, bits := range []int{2, 4, 8} {
		for _, block := range []int{16, 32, 48, 64, 256} {
			b := &NBits{K: k, N: n, Bits: bits, Block: block}
			b.Q, b.Scale = make([]byte, n*b.Blocks()*block*bits/8), make([]float32, n*b.Blocks())
			for i := range b.Q {
				b.Q[i] = 0xff
			}
			for i := range b.Scale {
				b.Scale[i] = 1
			}
			// The largest element of a block, and the others: of three digits -128 and 127 in the lower ones, -127 and 127 in all; of two -64 and 63
			// in the lower one, -32767 and 32767 in the other.
			for _, x := range [][2]float32{{8355711, -32896}, {8355711, 32639}, {8355711, -8355711}, {8355711, 8355711},
				{4194239, -64}, {4194239, 63}, {4194239, -4194239}, {4194239, 4194239}} {
				most, v := x[0], x[1]
				c := &nbitsCase{m: 1, lda: k, ldc: n, a: make([]float32, k), b: b}
				for i := range c.a {
					c.a[i] = v
				}
				for i := 0; i < k; i += block {
					c.a[i] = most
				}
				for _, c.bytes = range []bool{false, true} {
					parts, restore := c.digits(), Limit(Generic)
					want := c.runDigits(nil, parts)
					restore()
					got := c.run(nil)
					if err := c.check(got); err != nil && !c.bytes { // every element is halfway between two bytes in the first case: no bound of use
						t.Fatalf("%d bits, block %d, %v: %v", bits, block, v, err)
					}
					for j := range got {
						if got[j] != want[j] && Active() != AVX512 {
							t.Fatalf("%d bits, block %d, %v: element %d is %v, the Go twin has %v", bits, block, v, j, got[j], want[j])
						}
					}
				}
			}
		}
	}
}

func BenchmarkNBits(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const k, n = 4096, 4096
	for _, bits := range []int{4, 8} {
		for _, block := range []int{32, 128} {
			w := randNBits(r, k, n, bits, block)
			w.Zero, w.Floats = nil, nil
			p := PackNBits(w)
			for _, m := range []int{1, 2, 4, 32} {
				a, c := make([]float32, m*k), make([]float32, m*n)
				for i := range a {
					a[i] = float32(r.NormFloat64())
				}
				for _, threads := range []int{1, 2} {
					pool := NewPool(threads, 1e6)
					for _, level := range []bool{true, false} {
						b.Run(fmt.Sprintf("bits=%d/block=%d/m=%d/T%d/bytes=%v", bits, block, m, threads, level), func(b *testing.B) {
							b.SetBytes(p.Bytes())
							for b.Loop() {
								GemmNBits(pool, m, a, k, p, c, n, level, Epilogue{})
							}
						})
					}
					pool.Close()
				}
			}
		}
	}
}
