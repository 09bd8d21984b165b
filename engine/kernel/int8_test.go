package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func randBytes(r *rand.Rand, n int) []uint8 {
	off := r.IntN(5)
	s := make([]uint8, n+off)
	for i := range s {
		s[i] = uint8(r.Uint32())
		if r.IntN(8) == 0 {
			s[i] = []uint8{0, 127, 128, 255}[r.IntN(4)]
		}
	}
	return s[off:]
}

func signed(b []uint8) []int8 {
	out := make([]int8, len(b))
	for i, v := range b {
		out[i] = int8(v)
	}
	return out
}

// int8Case is one integer product: kind 0 is GemmU8S8, 1 GemmS8S8, 2 MatMulInteger, 3 MatMulInteger with unsigned weights.
type int8Case struct {
	kind, m, n, k, lda, ldb, ldc int
	trans                        bool
	a, b, az, bz                 []uint8 // the bits; signed or not depends on kind
}

func randInt8Case(r *rand.Rand, i int) int8Case {
	c := int8Case{kind: i % 4, m: dim(r), n: dim(r), k: dim(r), trans: r.IntN(2) == 0}
	switch { // enough work for tiles: several blocks of rows, panels and slices of k, with every edge
	case i%200 == 0:
		c.m, c.n, c.k = 30+r.IntN(180), 100+r.IntN(300), 200+r.IntN(300)
	case i%20 == 5:
		c.m, c.n, c.k = 3+r.IntN(70), 1+r.IntN(100), 30+r.IntN(300)
	case i%500 == 7:
		c.m, c.n, c.k = 3+r.IntN(40), 1+r.IntN(70), 400+r.IntN(2200)
	}
	br, bc := c.k, c.n
	if c.trans {
		br, bc = c.n, c.k
	}
	c.lda, c.ldb, c.ldc = c.k+r.IntN(3), bc+r.IntN(3), c.n+r.IntN(3)
	c.a, c.b = randBytes(r, c.m*c.lda), randBytes(r, br*c.ldb)
	if c.m > 0 {
		c.a = c.a[: (c.m-1)*c.lda+c.k : (c.m-1)*c.lda+c.k]
	}
	// weights of seven bits, and of so few that four of them times 255 fit 16 bits in most places: AVX2 has kernels for both
	shift, same := []int{0, 1, 2, 3, 0}[i%5], i%35 == 2
	for q, v := range c.b {
		switch {
		case same: // the most that fits
			c.b[q] = uint8(32 - 64*(i/35%2))
		case shift == 0:
		case r.IntN(300) == 0:
			c.b[q] = uint8(int8(v) >> 1)
		default:
			c.b[q] = uint8(int8(v) >> shift)
		}
	}
	if i%3 == 0 { // the extremes, where saturating instructions fail
		for q := range c.a {
			c.a[q] = 255
		}
	}
	c.az, c.bz = randBytes(r, []int{1, c.m}[r.IntN(2)]), randBytes(r, []int{1, c.n}[r.IntN(2)])
	return c
}

// want is the naive sum; -7 between the rows.
func (c *int8Case) want() []int32 {
	out := make([]int32, c.m*c.ldc)
	for i := range c.m {
		for j := range c.ldc {
			s := int32(-7)
			if j < c.n {
				s = 0
				for q := range c.k {
					at := q*c.ldb + j
					if c.trans {
						at = j*c.ldb + q
					}
					u, v := c.a[i*c.lda+q], c.b[at]
					x, y := int32(u), int32(int8(v))
					switch c.kind {
					case 1:
						x = int32(int8(u))
					case 2:
						x, y = x-int32(c.az[i%len(c.az)]), y-int32(int8(c.bz[j%len(c.bz)]))
					case 3:
						x, y = x-int32(c.az[i%len(c.az)]), int32(v)-int32(c.bz[j%len(c.bz)])
					}
					s += x * y
				}
			}
			out[i*c.ldc+j] = s
		}
	}
	return out
}

func (c *int8Case) run(p *Pool) []int32 {
	got := make([]int32, c.m*c.ldc)
	for q := range got {
		got[q] = -7
	}
	b := PackS8(c.k, c.n, signed(c.b), c.ldb, c.trans)
	switch c.kind {
	case 0:
		GemmU8S8(p, c.m, c.a, c.lda, b, got, c.ldc)
	case 1:
		GemmS8S8(p, c.m, signed(c.a), c.lda, b, got, c.ldc)
	case 2:
		MatMulInteger(p, c.m, c.a, c.lda, c.az, b, signed(c.bz), got, c.ldc)
	case 3:
		MatMulInteger(p, c.m, c.a, c.lda, c.az, PackU8(c.k, c.n, c.b, c.ldb, c.trans), ShiftZero(c.bz), got, c.ldc)
	}
	return got
}

// TestInt8Exact compares every integer product with the naive sum, at every level.
func TestInt8Exact(t *testing.T) {
	n := cases(24000)
	pool := NewPool(2, 0)
	defer pool.Close()
	r := rand.New(rand.NewPCG(21, 4))
	for i := range n {
		c := randInt8Case(r, i)
		want := c.want()
		for _, isa := range testLevels() {
			restore := Limit(isa)
			got := c.run(pool)
			restore()
			for q := range want {
				if got[q] != want[q] {
					t.Fatalf("%v: case %d kind %d m=%d n=%d k=%d trans=%v: element %d is %d, want %d", isa, i, c.kind, c.m, c.n, c.k, c.trans, q, got[q], want[q])
				}
			}
		}
	}
}

// quantizeFormula is ONNX DynamicQuantizeLinear, written from the operator's text in float32.
func quantizeFormula(x []float32) (q []uint8, scale float32, zero uint8) {
	var lo, hi float32
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	scale = 1
	if lo != hi {
		scale = (hi - lo) / 255
	}
	zero = uint8(math.RoundToEven(math.Max(0, math.Min(255, float64(-lo/scale)))))
	q = make([]uint8, len(x))
	for i, v := range x {
		q[i] = uint8(math.Max(0, math.Min(255, math.RoundToEven(float64(v/scale))+float64(zero))))
	}
	return q, scale, zero
}

func TestQuantizeU8(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		check := func(x []float32) {
			t.Helper()
			q := make([]uint8, len(x)+1)
			q[len(x)] = 77
			scale, zero := QuantizeU8(x, q[:len(x)])
			wq, ws, wz := quantizeFormula(x)
			if scale != ws || zero != wz {
				t.Fatalf("n=%d: scale %g zero %d, want %g %d", len(x), scale, zero, ws, wz)
			}
			for i := range wq {
				if q[i] != wq[i] {
					t.Fatalf("n=%d: q[%d] = %d, want %d (x = %g)", len(x), i, q[i], wq[i], x[i])
				}
			}
			if q[len(x)] != 77 {
				t.Fatalf("n=%d: wrote past the end", len(x))
			}
		}
		check(nil)
		for _, n := range []int{1, 15, 16, 17, 100, 1000} {
			check(make([]float32, n)) // all zero
		}
		for i := range cases(20000) {
			x := randSlice(r, r.IntN(150))
			switch i % 6 {
			case 1: // one-sided
				for j := range x {
					x[j] = float32(math.Abs(float64(x[j])))
				}
			case 2:
				for j := range x {
					x[j] = -float32(math.Abs(float64(x[j]))) - 1
				}
			case 3: // ties: scale 1 exactly, halves
				for j := range x {
					x[j] = float32(r.IntN(511))/2 - 100
				}
				if len(x) > 1 {
					x[0], x[1] = -100, 155
				}
			case 4: // far apart
				for j := range x {
					x[j] = x[j] * float32(math.Ldexp(1, r.IntN(250)-140))
				}
			case 5: // tiny
				for j := range x {
					x[j] *= 0x1p-130
				}
			}
			check(x)
		}
	})
}

// TestQuantizeU8Special: NaN is ignored and becomes 0, on every ISA alike.
func TestQuantizeU8Special(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	forEachISA(t, func(t *testing.T) {
		for _, n := range []int{4, 16, 40} {
			for pos := range n {
				x := make([]float32, n)
				x[(pos+1)%n], x[(pos+2)%n] = -10, 245
				x[pos] = nan
				q := make([]uint8, n)
				scale, zero := QuantizeU8(x, q)
				if scale != 1 || zero != 10 || q[pos] != 0 || q[(pos+1)%n] != 0 || q[(pos+2)%n] != 255 {
					t.Fatalf("NaN at %d of %d: scale %g zero %d q %v", pos, n, scale, zero, q)
				}
				x[pos] = inf
				QuantizeLinearU8(x, q, 1, 10)
				if q[pos] != 255 || q[(pos+1)%n] != 0 {
					t.Fatalf("infinity at %d of %d: %v", pos, n, q)
				}
			}
		}
	})
}

// TestQuantizeLinear compares with the formula of ONNX QuantizeLinear, signed and unsigned.
func TestQuantizeLinear(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 6))
		for i := range cases(20000) {
			x := randSlice(r, r.IntN([]int{60, 60, 60, 700}[i%4]))
			scale, zero := float32(math.Ldexp(1, -r.IntN(9)))*[]float32{1, 1.1}[r.IntN(2)], uint8(r.Uint32())
			u, s := make([]uint8, len(x)), make([]int8, len(x))
			QuantizeLinearU8(x, u, scale, zero)
			QuantizeLinearS8(x, s, scale, int8(zero))
			for i, v := range x {
				q := math.RoundToEven(float64(v / scale))
				if want := uint8(min(max(q+float64(zero), 0), 255)); u[i] != want {
					t.Fatalf("u8(%g, scale %g, zero %d) = %d, want %d", v, scale, zero, u[i], want)
				}
				if want := int8(min(max(q+float64(int8(zero)), -128), 127)); s[i] != want {
					t.Fatalf("s8(%g, scale %g, zero %d) = %d, want %d", v, scale, int8(zero), s[i], want)
				}
			}
		}
	})
}

// TestQuantizeQuotient takes quotients beside the halves, where a quotient that is one bit off rounds to another integer, for scales with
// mantissas at both ends and exponents over the whole range.
func TestQuantizeQuotient(t *testing.T) {
	const n = 256
	rounds := cases(20000)
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 7))
		x, got, want := make([]float32, n), make([]uint8, n), make([]uint8, n)
		for i := range rounds {
			mantissa := uint32(r.IntN(1 << 23))
			switch i % 4 {
			case 0:
				mantissa = uint32(r.IntN(64))
			case 1:
				mantissa = 1<<23 - 1 - uint32(r.IntN(64))
			}
			e := 127 + r.IntN(24) - 16
			if i%8 > 5 {
				e = 1 + r.IntN(245)
			}
			scale, zero := math.Float32frombits(uint32(e)<<23|mantissa), uint8(r.Uint32())
			for j := range x {
				v := float32((float64(r.IntN(264)-4) + 0.5 - float64(zero)) * float64(scale))
				x[j] = math.Float32frombits(math.Float32bits(v) + uint32(r.IntN(5)) - 2)
			}
			x[r.IntN(n)], x[r.IntN(n)], x[r.IntN(n)] = 0, float32(math.Inf(1)), float32(math.NaN())
			x[r.IntN(n)], x[r.IntN(n)] = math.MaxFloat32, -math.MaxFloat32
			QuantizeLinearU8(x, got, scale, zero)
			quantizeU8Go(x, want, scale, zero)
			for j := range got {
				if got[j] != want[j] {
					t.Fatalf("%g / %g + %d = %d, want %d", x[j], scale, zero, got[j], want[j])
				}
			}
		}
	})
}

// TestRequantize compares with the formula of QLinearMatMul.
func TestRequantize(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(25, 6))
		for range cases(20000) {
			n := r.IntN(71)
			acc, bias := make([]int32, n), make([]int32, []int{0, 1, n}[r.IntN(3)])
			for i := range acc {
				acc[i] = int32(r.Uint32()) >> r.IntN(31)
			}
			for i := range bias {
				bias[i] = int32(r.Uint32()) >> 12
			}
			scale := make([]float32, []int{1, n}[r.IntN(2)])
			for i := range scale {
				scale[i] = float32(math.Ldexp(1+r.Float64()*float64(r.IntN(2)), -r.IntN(30)))
			}
			zero := uint8(r.Uint32())
			u, s := make([]uint8, n), make([]int8, n)
			RequantizeU8(acc, u, scale, bias, zero)
			RequantizeS8(acc, s, scale, bias, int8(zero))
			for i, v := range acc {
				if len(bias) > 0 {
					v += bias[i%len(bias)]
				}
				q := math.RoundToEven(float64(float32(v) * scale[i%len(scale)]))
				if want := uint8(min(max(q+float64(zero), 0), 255)); u[i] != want {
					t.Fatalf("u8: %d * %g + %d = %d, want %d", v, scale[i%len(scale)], zero, u[i], want)
				}
				if want := int8(min(max(q+float64(int8(zero)), -128), 127)); s[i] != want {
					t.Fatalf("s8: %d * %g + %d = %d, want %d", v, scale[i%len(scale)], int8(zero), s[i], want)
				}
			}
		}
	})
}

// dynQuant writes the chain DynamicQuantizeLinear, MatMulInteger, Cast, Mul by the product of the scales to out, as wide as C; the epilogue and
// what B holds are ignored.
func (c *gemmCase) dynQuant(out []float32, w []int8, scales []float32, bz []int8) {
	x := make([]float32, 0, c.m*c.k)
	for row := range c.m {
		x = append(x, c.a[row*c.lda:][:c.k]...)
	}
	q, as, az := quantizeFormula(x)
	for row := range c.m {
		for col := range c.n {
			var s int32
			for e := range c.k {
				y := int32(w[e*c.n+col])
				if bz != nil {
					y -= int32(bz[col%len(bz)])
				}
				s += (int32(q[row*c.k+e]) - int32(az)) * y
			}
			out[row*c.ldc+col] = float32(s) * (as * scales[col%len(scales)])
		}
	}
}

// TestDynQuantGemm compares bits with the unfused chain of ONNX operators: DynamicQuantizeLinear, MatMulInteger, Cast, Mul
// by the product of the scales, and then the epilogue.
func TestDynQuantGemm(t *testing.T) {
	n := cases(20000)
	pool := NewPool(2, 0)
	defer pool.Close()
	r := rand.New(rand.NewPCG(8, 1))
	for i := range n {
		c := gemmCase{m: dim(r), n: dim(r), k: dim(r)}
		if i%1000 == 0 {
			c.m, c.n, c.k = 40+r.IntN(200), 200+r.IntN(100), 300
		}
		c.fill(r)
		c.ep.Accumulate = false
		w := signed(randBytes(r, c.k*c.n))
		scales := randSlice(r, []int{1, c.n}[r.IntN(2)])
		var bz []int8
		if r.IntN(2) == 0 {
			bz = signed(randBytes(r, []int{1, c.n}[r.IntN(2)]))
		}
		ref := c
		ref.k = 0
		ref.c = append([]float32(nil), c.c...)
		c.dynQuant(ref.c, w, scales, bz)
		ref.ep.Accumulate = true
		want := ref.want()
		if c.n == 0 && len(scales) == 0 {
			scales = []float32{1}
		}
		for _, isa := range testLevels() {
			restore := Limit(isa)
			got := append([]float32(nil), c.c...)
			DynQuantGemm(pool, c.m, c.a, c.lda, PackS8(c.k, c.n, w, c.n, false), scales, bz, got, c.ldc, c.ep)
			restore()
			if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d %v: element %d is %g, want %g", isa, i, c, at, got[at], want[at])
			}
		}
	}
}
