package dense_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gorgonia.org/tensor"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/dense"
)

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

func sharesMemory[T model.Element](t *testing.T, data []T, v T) {
	t.Helper()
	d, err := dense.From(model.FromSlice([]int{2, 3}, data))
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
	back, err := dense.Tensor(d)
	if err != nil {
		t.Fatal(err)
	}
	view, err := model.Data[T](back)
	if err != nil || &view[0] != &data[0] {
		t.Errorf("%T: FromDense has copied (%v)", data, err)
	}
}

// TestDenseOther: scalars, empty tensors, strings, raw bytes of half types, and layouts that are refused.
func TestDenseOther(t *testing.T) {
	h, _ := model.NewTensor(model.Float16, []int{2, 1}, []byte{0, 0x3c, 0, 0x40})
	d, err := dense.From(h)
	if err != nil || !slices.Equal(d.Data().([]uint8), []byte{0, 0x3c, 0, 0x40}) {
		t.Errorf("float16: %v, %v", d, err)
	}
	s, _ := model.NewStrings([]int{2}, []string{"a", "b"})
	for _, x := range []*model.Tensor{model.Scalar(float32(2)), model.Scalar(true), model.Scalar(int64(-1)), model.FromSlice([]int{1}, []int8{3}), s} {
		d, err := dense.From(x)
		if err != nil {
			t.Fatal(err)
		}
		back, err := dense.Tensor(d)
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
	if _, err := dense.Tensor(m); err == nil {
		t.Error("a transposed Dense was taken as it lies in memory")
	}
	ints := tensor.New(tensor.WithShape(2), tensor.WithBacking([]int{4, 5}))
	if x, err := dense.Tensor(ints); err != nil || x.DType() != model.Int64 {
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
	m, err := model.MapFile(path)
	if err != nil {
		t.Fatal(err)
	}
	x, err := m.Tensor(model.Float32, []int{2}, m.Bytes()[3:])
	if err != nil {
		t.Fatal(err)
	}
	d, err := dense.From(x)
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
