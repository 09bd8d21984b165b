//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// smallProduct is a product of bytes by a matrix whose elements lie in rows: sums in the order of k.
func smallProduct(m, n, k int, a []uint8, lda int, b []int8) []int32 {
	c := make([]int32, m*n)
	for i := range m {
		row := c[i*n:][:n]
		for q, x := range a[i*lda:][:k] {
			for j, w := range b[q*n:][:n] {
				row[j] += int32(x) * int32(w)
			}
		}
	}
	return c
}

// TestInt8FewRows has products of bytes of few rows by whole panels, mostly of one, for the kernels that only such products call: narrow weights, and
// wide ones by so many panels and so many k that four panels are taken at a time, with AVX2 fetching ahead and not.
func TestInt8FewRows(t *testing.T) {
	own := readsAhead
	defer func() { readsAhead = own }()
	r := rand.New(rand.NewPCG(21, 8))
	bytes := randBytes(r, 1<<16)
	wide := signed(randBytes(r, 1<<16))
	narrow := make([]int8, len(wide))
	for i, w := range wide {
		narrow[i] = w >> 1
	}
	for i := range cases(47000) {
		m, n, k, from := 1, PanelWidth+r.IntN(2*PanelWidth), 1+r.IntN(12), narrow
		if i%2 == 0 {
			n, k, from = 4*PanelWidth+r.IntN(2*PanelWidth), 29+r.IntN(4), wide
		}
		if i%12 < 2 {
			m = 2 + r.IntN(2)
		}
		if i%200 < 2 { // no multiple of eight groups of four
			k = r.IntN(70)
		}
		lda, ldc, at := k+r.IntN(5), n+r.IntN(3), r.IntN(1<<15)
		a, b := bytes[at:][:(m-1)*lda+k], from[r.IntN(1<<15):][:k*n]
		if r.IntN(6) == 0 { // the extremes, where saturating instructions fail
			a = slices.Repeat([]uint8{255}, len(a))
		}
		want, packed := smallProduct(m, n, k, a, lda, b), PackS8(k, n, b, n, false)
		for _, isa := range testLevels() {
			if isa == Generic || isa == AVX512 || isa > AVX512VNNI { // whose kernels are those of another, or none
				continue
			}
			for _, readsAhead = range []bool{true, false} {
				if readsAhead && isa != AVX2 {
					continue
				}
				got := slices.Repeat([]int32{-7}, m*ldc)
				restore := Limit(isa)
				GemmU8S8(nil, m, a, lda, packed, got, ldc)
				restore()
				for at, v := range got {
					if w := int32(-7); at%ldc < n && v != want[at/ldc*n+at%ldc] || at%ldc >= n && v != w { // nothing between the rows changes
						t.Fatalf("%v, reads ahead %v: case %d, m=%d n=%d k=%d: element %d of rows of %d is %d", isa, readsAhead, i, m, n, k, at, ldc, v)
					}
				}
			}
		}
	}
}

// TestDequantize compares what becomes of sums, with one scale and one zero point of A and with those of every row, with terms of the columns and the
// rows and without, with the Go twin, bit for bit.
func TestDequantize(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 2))
	draw := drawer(r)
	bytes := randBytes(r, 1<<12)
	for i := range cases(42000) {
		m, n, k := 1+r.IntN(3), 1+r.IntN(40), 1+r.IntN(4)
		if i%500 == 0 {
			m, n, k = r.IntN(3), r.IntN(70), r.IntN(9)
		}
		a := bytes[r.IntN(1<<11):][:m*k]
		packed := PackS8(k, n, signed(bytes[r.IntN(1<<11):][:k*n]), n, false)
		scaleA, zeroA, scaleB, zeroB := draw(1), bytes[r.IntN(99):][:1], draw([]int{1, max(n, 1)}[r.IntN(2)]), []int8(nil)
		if len(scaleB) != n {
			scaleB = scaleB[:1]
		}
		var ep Epilogue
		switch i % 18 {
		case 0, 1, 2, 3: // a row at a time
			scaleA, zeroA = draw(m), bytes[r.IntN(99):][:m]
			if m == 0 {
				scaleA, zeroA = draw(1), nil
			}
			if r.IntN(2) == 0 {
				zeroB = signed(bytes[r.IntN(99):][:[]int{1, n}[r.IntN(2)]])
			}
			if r.IntN(2) == 0 {
				ep.BiasM = draw(m)
			}
		case 4, 5, 6, 7, 8, 9, 10, 11: // one scale, and limits or a residual
			ep.LdR = n + r.IntN(3)
			ep.Residual, ep.Act = draw(m*ep.LdR), []Activation{ActNone, ActRelu, ActClip6}[r.IntN(3)]
			if r.IntN(2) == 0 {
				ep.Residual, ep.Act = nil, ActRelu
			}
		}
		if r.IntN(2) == 0 {
			ep.Bias = draw(n)
		}
		if r.IntN(8) == 0 {
			ep.Alpha = 0.3
		}
		ldc := n + r.IntN(4)
		before := draw(m * ldc)
		var want []float32
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := slices.Clone(before)
			QuantGemm(nil, m, a, k, scaleA, zeroA, packed, scaleB, zeroB, got, ldc, ep)
			restore()
			if isa == Generic {
				want = got
			} else if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d, m=%d n=%d k=%d: element %d of rows of %d is %g, want %g", isa, i, m, n, k, at, ldc, got[at], want[at])
			}
		}
	}
}

// TestQuantizeFar has scales beyond those whose inverses the fast kernels multiply with, against the Go twin.
func TestQuantizeFar(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 8))
		for i := range cases(6000) {
			n := r.IntN(60)
			scale, zero := float32(math.Ldexp(1+r.Float64(), []int{-101 - r.IntN(30), 101 + r.IntN(20)}[i%2])), uint8(r.Uint32())
			x, got, want := make([]float32, n), make([]uint8, n+1), make([]uint8, n+1)
			for j := range x {
				x[j] = float32((float64(r.IntN(528)-8)/2 - float64(zero)) * float64(scale))
			}
			QuantizeLinearU8(x, got[:n], scale, zero)
			quantizeU8Go(x, want[:n], scale, zero)
			if !slices.Equal(got, want) {
				t.Fatalf("case %d, scale %g, zero %d: %v, want %v", i, scale, zero, got, want)
			}
		}
	})
}

// TestSumU8 compares sums of bytes with the Go twin.
func TestSumU8(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 9))
	x := randBytes(r, 1<<12)
	for range cases(14000) {
		s := x[r.IntN(1<<11):][:r.IntN(300)]
		if got, want := sumU8(s), sumU8Go(s); got != want {
			t.Fatalf("%d bytes: %d, want %d", len(s), got, want)
		}
	}
}

// TestLSTMSums compares what a step of an LSTM makes of its sums with the formula of the stub, rounded as it says, in place and elsewhere.
func TestLSTMSums(t *testing.T) {
	if !Active().hasAVX2() {
		t.Skip("no assembly at the active level")
	}
	r := rand.New(rand.NewPCG(13, 2))
	draw := drawer(r)
	for i := range cases(20000) {
		n, az, as := 16*(1+r.IntN(8)), int32(r.IntN(256)), draw(1)[0]
		gates, scale := draw(n), draw(n)
		sums, colSum, want := make([]int32, n), make([]int32, n), make([]float32, n+3)
		z := draw(n + 3)
		for j := range sums {
			sums[j], colSum[j] = int32(r.Uint32())>>8, int32(r.Uint32())>>16
			f := float32(as * scale[j])
			want[j] = float32(float32(sums[j]-az*colSum[j])*f) + gates[j]
		}
		copy(want[n:], z[n:])
		if i%2 == 0 {
			lstmSums256(&z[0], &gates[0], &sums[0], &colSum[0], &scale[0], n, az, as)
		} else {
			for j, s := range sums {
				z[j] = math.Float32frombits(uint32(s))
			}
			lstmSums256(&z[0], &gates[0], (*int32)(unsafe.Pointer(&z[0])), &colSum[0], &scale[0], n, az, as)
		}
		if at := sameBits(z, want); at >= 0 {
			t.Fatalf("case %d: element %d of %d is %g, want %g", i, at, n, z[at], want[at])
		}
	}
}
