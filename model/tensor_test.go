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

	"gorgonia.org/tensor"
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

// TestDenseSharesMemory: no copy for the plain types, in both directions.
func TestDenseSharesMemory(t *testing.T) {
	sharesMemory(t, []float32{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []float64{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []int8{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []int16{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []int32{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []int64{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []uint8{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []uint16{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []uint32{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []uint64{1, 2, 3, 4, 5, 6}, 9)
	sharesMemory(t, []bool{true, true, false, true, true, false}, false)
}

func sharesMemory[T Element](t *testing.T, data []T, v T) {
	t.Helper()
	d, err := Dense(FromSlice([]int{2, 3}, data))
	if err != nil {
		t.Fatal(err)
	}
	if !d.Shape().Eq(tensor.Shape{2, 3}) {
		t.Errorf("shape %v", d.Shape())
	}
	if err := d.SetAt(v, 1, 0); err != nil {
		t.Fatal(err)
	}
	if data[3] != v {
		t.Errorf("%T: Dense has copied", data)
	}
	back, err := FromDense(d)
	if err != nil {
		t.Fatal(err)
	}
	view, err := Data[T](back)
	if err != nil || &view[0] != &data[0] {
		t.Errorf("%T: FromDense has copied (%v)", data, err)
	}
}

// TestDenseOther: scalars, empty tensors, strings, raw bytes of half types, and layouts that are refused.
func TestDenseOther(t *testing.T) {
	h, _ := NewTensor(Float16, []int{2, 1}, []byte{0, 0x3c, 0, 0x40})
	d, err := Dense(h)
	if err != nil || !slices.Equal(d.Data().([]uint8), []byte{0, 0x3c, 0, 0x40}) {
		t.Errorf("float16: %v, %v", d, err)
	}
	s, _ := NewStrings([]int{2}, []string{"a", "b"})
	for _, x := range []*Tensor{Scalar(float32(2)), Scalar(true), Scalar(int64(-1)), FromSlice([]int{1}, []int8{3}), s} {
		d, err := Dense(x)
		if err != nil {
			t.Fatal(err)
		}
		back, err := FromDense(d)
		if err != nil {
			t.Fatal(err)
		}
		if back.DType() != x.DType() || !slices.Equal(back.Shape(), x.Shape()) {
			t.Errorf("%s%v came back as %s%v", x.DType(), x.Shape(), back.DType(), back.Shape())
		}
	}
	m := tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	if err := m.T(); err != nil {
		t.Fatal(err)
	}
	if _, err := FromDense(m); err == nil {
		t.Error("a transposed Dense was taken as it lies in memory")
	}
	ints := tensor.New(tensor.WithShape(2), tensor.WithBacking([]int{4, 5}))
	if x, err := FromDense(ints); err != nil || x.DType() != Int64 {
		t.Errorf("int: %v", err)
	}
}

// TestDenseOverMapping: a write to a Dense over a mapped file neither reaches the file nor ends the process. The
// offset makes the floats unaligned, as initializers are.
func TestDenseOverMapping(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w")
	raw := []byte{7, 7, 7, 0, 0, 128, 63, 0, 0, 0, 64}
	if err := os.WriteFile(path, raw, 0o444); err != nil {
		t.Fatal(err)
	}
	m, err := MapFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := m.Tensor(Float32, []int{2}, m.Bytes()[3:])
	if err != nil {
		t.Fatal(err)
	}
	d, err := Dense(x)
	if err != nil {
		t.Fatal(err)
	}
	d.Data().([]float32)[1] = 42
	if f, err := x.Float32(); err != nil || f[0] != 1 || f[1] != 42 {
		t.Errorf("after the write the tensor is %v, %v", f, err)
	}
	if now, err := os.ReadFile(path); err != nil || !slices.Equal(now, raw) {
		t.Errorf("the file is %v, %v", now, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := x.Bytes(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
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
