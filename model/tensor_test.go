package model

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestFloat32Types compares the value of every bit pattern with ml_dtypes 0.6.0 and NumPy: the CRC-32 of the 256 (or
// 65,536) float32 values, little-endian, NaN as 0x7fc00000.
func TestFloat32Types(t *testing.T) {
	for dt, want := range map[DType]uint32{
		Float8E4M3FN: 803137964, Float8E4M3FNUZ: 4074741842, Float8E5M2: 1032060177,
		Float8E5M2FNUZ: 164039556, Float8E8M0: 1905883578, Float16: 807454631,
	} {
		n := 1 << dt.Bits()
		var raw []byte
		for i := range n {
			if dt.Bits() == 16 {
				raw = append(raw, byte(i), byte(i>>8))
			} else {
				raw = append(raw, byte(i))
			}
		}
		got := floats(t, dt, []int{n}, raw)
		var b []byte
		for _, v := range got {
			bits := math.Float32bits(v)
			if v != v {
				bits = 0x7fc00000
			}
			b = binary.LittleEndian.AppendUint32(b, bits)
		}
		if c := crc32.ChecksumIEEE(b); c != want {
			t.Errorf("%s: CRC-32 %d, not %d: %v", dt, c, want, got[:min(n, 256)])
		}
	}
}

// TestFloat32Packed: the first value lies in the lowest bits, the last byte is padded. float4e2m1 after ml_dtypes.
func TestFloat32Packed(t *testing.T) {
	for _, c := range []struct {
		dt   DType
		raw  []byte
		want []float32
	}{
		{Int4, []byte{0x81, 0x7f, 0x08}, []float32{1, -8, -1, 7, -8}},
		{Uint4, []byte{0x81, 0x7f, 0x08}, []float32{1, 8, 15, 7, 8}},
		{Int2, []byte{0b11100100, 0b01}, []float32{0, 1, -2, -1, 1}},
		{Uint2, []byte{0b11100100, 0b01}, []float32{0, 1, 2, 3, 1}},
		{Float4E2M1, []byte{0x10, 0x32, 0x54, 0x76, 0xf9}, []float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.5, -6}},
		{BFloat16, []byte{0x80, 0x3f, 0x49, 0xc0}, []float32{1, -3.140625}},
		{Bool, []byte{0, 1}, []float32{0, 1}},
		{Int64, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []float32{-2}},
	} {
		if got := floats(t, c.dt, []int{len(c.want)}, c.raw); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.dt, got, c.want)
		}
	}
	x, _ := NewStrings([]int{1}, []string{"a"})
	if _, err := x.Float32(); err == nil {
		t.Error("a string was read as a float")
	}
	c, _ := NewTensor(Complex64, []int{1}, make([]byte, 8))
	if _, err := c.Float32(); !errors.Is(err, ErrType) {
		t.Errorf("complex: %v", err)
	}
}

func floats(t *testing.T, dt DType, shape []int, raw []byte) []float32 {
	t.Helper()
	x, err := NewTensor(dt, shape, raw)
	if err != nil {
		t.Fatal(err)
	}
	f, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestShapeAppend: two that append to the shape of a tensor do not write to each other's.
func TestShapeAppend(t *testing.T) {
	for rank := range 7 {
		x := FromSlice(slices.Repeat([]int{1}, rank), []float32{1})
		a, b := append(x.Shape(), 7), append(x.Shape(), 9)
		if a[rank] != 7 || b[rank] != 9 {
			t.Errorf("rank %d: %v and %v", rank, a, b)
		}
	}
}

// TestMapFileRefuses: what is no regular file, and an empty one maps to nothing.
func TestMapFileRefuses(t *testing.T) {
	if _, err := MapFile(t.TempDir()); err == nil {
		t.Error("a folder was mapped")
	}
	path := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := MapFile(path)
	if err != nil || len(m.Bytes()) != 0 || m.Touch(nil) != nil {
		t.Errorf("empty file: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
