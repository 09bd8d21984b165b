package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestGemvDigits compares with float64 under the bound of the doc comment, and the assembly with its Go twin bit for bit.
func TestGemvDigits(t *testing.T) {
	r := rand.New(rand.NewPCG(24, 3))
	n := cases(20000)
	for i := range n {
		k, cols := 16*(1+r.IntN(12)), 32*(1+r.IntN(4))
		b, a, c := make([]float32, k*cols), make([]float32, k), make([]float32, cols)
		for j := range b {
			b[j] = float32(r.NormFloat64() * math.Exp(3*r.NormFloat64()))
		}
		if i%10 == 0 {
			clear(b[:k])
		}
		for j := range a {
			a[j] = float32(math.Tanh(2 * r.NormFloat64()))
			if r.IntN(8) == 0 {
				a[j] = []float32{-1, 1, 0, 1e-30}[r.IntN(4)]
			}
		}
		for j := range c {
			c[j] = float32(r.NormFloat64())
		}
		p := PackDigits(k, cols, b)
		got := append([]float32(nil), c...)
		gemvDigitsGo(a, p, got)
		for j, v := range got {
			want, size, top := float64(c[j]), 0.0, 0.0
			for q, x := range a {
				w := float64(b[j*k+q])
				want += float64(x) * w
				size += math.Abs(w)
				top = max(top, math.Abs(w))
			}
			tol := 0x1p-23*size + float64(k)*0x1p-23*top + 0x1p-22*(size+float64(k)*0x1p-7*top) + 0x1p-23*math.Abs(want)
			if !(math.Abs(float64(v)-want) <= tol) {
				t.Fatalf("case %d, [%d %d], column %d: %v, want %v within %v", i, k, cols, j, v, want, tol)
			}
		}
		fast := append([]float32(nil), c...)
		if !GemvDigits(a, p, fast) {
			continue
		}
		for j := range fast {
			if math.Float32bits(fast[j]) != math.Float32bits(got[j]) {
				t.Fatalf("case %d, column %d: %v, the Go twin has %v", i, j, fast[j], got[j])
			}
		}
	}
}

func BenchmarkGemvDigits(b *testing.B) {
	const k, n = 128, 512
	w, a, c := make([]float32, k*n), make([]float32, k), make([]float32, n)
	for i := range w {
		w[i] = float32(i%7) - 3
	}
	p, f := PackDigits(k, n, w), PackF32(k, n, w, k, true)
	b.Run("digits", func(b *testing.B) {
		for b.Loop() {
			GemvDigits(a, p, c)
		}
	})
	b.Run("float32", func(b *testing.B) {
		for b.Loop() {
			GemmF32(nil, 1, a, k, f, c, n, Epilogue{Accumulate: true})
		}
	})
}
