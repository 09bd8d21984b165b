package kernel

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestTransposeStrided compares matrices of all element sizes, at any address and with any strides, with the definition.
// What lies between the rows of dst stays as it is.
func TestTransposeStrided(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range cases(20000) {
		size, m, n := 1<<r.IntN(4), 1+r.IntN(40), 1+r.IntN(40)
		if r.IntN(200) == 0 {
			n += transposeStrip
		}
		ds, ss, shift := m+r.IntN(3), n+r.IntN(3), r.IntN(8)
		src, dst := make([]byte, shift+((m-1)*ss+n)*size), make([]byte, shift+((n-1)*ds+m)*size)
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		for i := range dst {
			dst[i] = byte(r.Uint32())
		}
		src, dst = src[shift:], dst[shift:]
		want := bytes.Clone(dst)
		for i := range m {
			for j := range n {
				copy(want[(j*ds+i)*size:][:size], src[(i*ss+j)*size:])
			}
		}
		Transpose(dst, src, size, m, n, ds, ss, false)
		if !bytes.Equal(dst, want) {
			t.Fatalf("%d by %d elements of %d bytes, strides %d and %d, address %d, are wrong", m, n, size, ds, ss, shift)
		}
	}
}

// TestTransposeStream compares matrices of whole cache lines of 32-bit elements, and some others, stored past the caches, with the definition.
func TestTransposeStream(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 8))
	for range cases(20000) {
		m, n := 16*(1+r.IntN(4)), 1+r.IntN(70)
		if r.IntN(3) == 0 { // 64 rows at a time
			m += 128
		}
		if r.IntN(5) == 0 {
			m += r.IntN(16)
		}
		ds, ss := m+16*r.IntN(2), n+r.IntN(3)
		src, dst := normals(r, m*ss), Memory(4*n*ds)
		transpose(dst, bytesOf(src), 4, m, n, ds, ss, true)
		out := unsafe.Slice((*float32)(unsafe.Pointer(&dst[0])), n*ds)
		for j := range n {
			for i := range ds {
				if want := src[min(i, m-1)*ss+j]; i < m && out[j*ds+i] != want || i >= m && out[j*ds+i] != 0 {
					t.Fatalf("%d by %d, strides %d and %d: element %d, %d is %g", m, n, ds, ss, j, i, out[j*ds+i])
				}
			}
		}
	}
}

// BenchmarkMove reports what moving 16 MiB takes as a share of copying them, which reads and writes as many bytes.
func BenchmarkMove(b *testing.B) {
	const total = 16 << 20
	src, dst := make([]byte, total), make([]byte, total)
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(2 * total)
		for b.Loop() {
			copy(dst, src)
		}
	})
	for _, size := range []int{1, 2, 4, 8} {
		for _, rows := range []int{3, 64, 384, 2048} {
			n := total / size / rows
			b.Run(fmt.Sprintf("transpose/%d bytes/%d rows", size, rows), func(b *testing.B) {
				b.SetBytes(2 * total)
				for b.Loop() {
					Transpose(dst, src, size, rows, n, rows, n, false)
				}
			})
		}
	}
}
