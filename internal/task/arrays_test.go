package task

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// readFixture reads a .npz file that NumPy wrote.
func readFixture(t testing.TB, path string) *NPZ {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := ReadNPZ(bytes.NewReader(b), int64(len(b)), path)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestReadNPZ reads what NumPy wrote: the same six numbers in every element type.
func TestReadNPZ(t *testing.T) {
	z := readFixture(t, "testdata/numpy.npz")
	want := []float32{0, 1, 2, 3, 100, 127}
	for name, dtype := range map[string]model.DType{"f2": model.Float16, "f4": model.Float32, "f8": model.Float64, "i1": model.Int8, "i2": model.Int16,
		"i4": model.Int32, "i8": model.Int64, "u1": model.Uint8, "u2": model.Uint16, "u4": model.Uint32, "u8": model.Uint64} {
		a := z.Arrays[name]
		if a == nil || a.DType() != dtype || !reflect.DeepEqual(a.Shape(), []int{3, 2}) {
			t.Errorf("%s: %v", name, a)
			continue
		}
		if x, err := a.Float32(); err != nil || !reflect.DeepEqual(x, want) {
			t.Errorf("%s: %v, %v", name, x, err)
		}
	}
	if b, err := z.Arrays["b1"].Bytes(); err != nil || !bytes.Equal(b, []byte{0, 1, 0, 1, 0, 1}) {
		t.Errorf("b1: %v, %v", b, err)
	}
	if s := z.Arrays["scalar"]; s.Rank() != 0 || s.Len() != 1 {
		t.Errorf("scalar: %v", s.Shape())
	}
}

// npy is an array as NumPy writes it, with any header.
func npy(header string, data []byte) []byte {
	b := append([]byte(npyMagic), 1, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(header)))
	return append(append(b, header...), data...)
}

func header(descr, order, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr, order, shape)
}

func TestReadNPYRefuses(t *testing.T) {
	data := make([]byte, 24)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "no NumPy array"},
		{"magic", []byte("PK\x03\x04xxxxxxxx"), "no NumPy array"},
		{"version", append([]byte(npyMagic), 9, 0, 0, 0), "format 9.0"},
		{"long header", append([]byte(npyMagic), 2, 0, 0xff, 0xff, 0xff, 0xff), "a header of more than"},
		{"cut header", npy(header("<f4", "False", "(2, 3)"), nil)[:30], "header"},
		{"few", npy(header("<f4", "False", "(2, 3)"), data[:20]), "takes 24 bytes, the array has 20"},
		{"many", npy(header("<f4", "False", "(2, 3)"), make([]byte, 25)), "has more"},
		{"huge", npy(header("<f4", "False", "(1000000, 1000000)"), data), "more than"},
		{"overflow", npy(header("<f4", "False", "(4294967296, 4294967296, 4294967296)"), data), "too many elements"},
		{"negative", npy(header("<f4", "False", "(-2, 3)"), data), "want a word"},
		{"deep", npy(header("<f4", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,)"), data), "dimensions"},
		{"fortran", npy(header("<f4", "True", "(2, 3)"), data), "C order"},
		{"big-endian", npy(header(">f4", "False", "(2, 3)"), data), "little-endian"},
		{"text", npy(header("<U3", "False", "(2,)"), data), "little-endian"},
		{"object", npy(header("|O", "False", "(3,)"), data), "little-endian"},
		{"bool", npy(header("|b1", "False", "(2,)"), []byte{1, 2}), "neither 0 nor 1"},
		{"twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", data[:4]), "given twice"},
		{"missing", npy("{'descr': '<f4', 'fortran_order': False}", data), "want descr"},
		{"other key", npy("{'descr': '<f4', 'x': False}", data), "none of"},
		{"behind", npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()} + 1", data[:4]), "behind the dictionary"},
		{"structured", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}", data), "want a text"},
	} {
		_, err := ReadNPY(bytes.NewReader(c.b), maxArrayBytes)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := ReadNPY(bytes.NewReader(npy(header("<f4", "True", "(6,)"), data)), maxArrayBytes); err != nil {
		t.Errorf("one dimension is in either order: %v", err)
	}
	_, err := ReadNPY(bytes.NewReader(npy(header(">f4", "False", "(6,)"), data)), maxArrayBytes)
	if !errors.Is(err, model.ErrUnsupported) {
		t.Errorf("big-endian: %v", err)
	}
}

// archive makes a zip file of entries.
func archive(t testing.TB, entries ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(entries); i += 2 {
		f, err := w.Create(entries[i].(string))
		if err == nil {
			_, err = f.Write(entries[i+1].([]byte))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadNPZRefuses(t *testing.T) {
	one := npy(header("<f4", "False", "(1,)"), make([]byte, 4))
	bomb := npy(header("|u1", "False", "(1048576,)"), make([]byte, 1<<20)) // deflated to a kilobyte
	var crowd []any
	for i := range maxArrays + 1 {
		crowd = append(crowd, fmt.Sprintf("a%d.npy", i), one)
	}
	broken := archive(t, "x.npy", npy(header("<f4", "False", "(64,)"), make([]byte, 256)))
	broken[60] ^= 0xff
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"text", []byte("hello"), "no .npz file"},
		{"empty", archive(t), "no arrays"},
		{"other entry", archive(t, "x.txt", one), "no .npy"},
		{"twice", archive(t, "x.npy", one, "x.npy", one), "there twice"},
		{"bombs", archive(t, "x.npy", bomb, "y.npy", bomb), "takes more than"},
		{"longer than it says", archive(t, "x.npy", append(bytes.Clone(one), make([]byte, 1<<21)...)), "has more"},
		{"crowd", archive(t, crowd...), "at most 256"},
		{"broken", broken, `array "x"`},
	} {
		_, err := readNPZ(bytes.NewReader(c.b), int64(len(c.b)), "a.npz", 1<<20+1000) // room for one of the bombs
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "a.npz") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestArrays(t *testing.T) {
	z := readFixture(t, "testdata/numpy.npz")
	arrays := &NPZ{Name: "a.npz", Arrays: map[string]*model.Tensor{"x": z.Arrays["i8"], "y": z.Arrays["f8"], "rate": z.Arrays["scalar"],
		"label": z.Arrays["column"]}}
	in := &Arrays{NPZ: arrays, Labels: "label", Zero: []string{"h"}}
	inputs := []*model.Value{value("x", model.Int32, free("n"), fixed(2)), value("y", model.Float32, free("n"), free("w")), value("h", model.Float32, free("n"), fixed(5))}
	inputs = append(inputs, &model.Value{Name: "rate", Type: model.Type{DType: model.Int64, Shape: model.Shape{}}})
	if err := in.Bind(inputs); err != nil || in.Len() != 3 || in.Whole() {
		t.Fatal(err, in.Len(), in.Whole())
	}
	f, mask, err := in.Feed(1, 3)
	if err != nil || mask != nil {
		t.Fatal(err, mask)
	}
	if x, _ := model.Data[int32](f["x"]); !reflect.DeepEqual(x, []int32{2, 3, 100, 127}) || !reflect.DeepEqual(f["x"].Shape(), []int{2, 2}) {
		t.Errorf("x %v %v", x, f["x"].Shape())
	}
	if y, _ := f["y"].Float32(); y[3] != 127 || f["y"].DType() != model.Float32 {
		t.Errorf("y %v", y)
	}
	if !reflect.DeepEqual(f["h"].Shape(), []int{1, 5}) || f["rate"].Rank() != 0 {
		t.Errorf("h %v, rate %v", f["h"].Shape(), f["rate"].Shape())
	}
	if _, err := in.Classes(); err == nil {
		t.Error("labels that are floats")
	}
	arrays.Arrays["label"] = model.FromSlice([]int{3}, []uint8{2, 0, 1})
	if c, err := in.Classes(); err != nil || !reflect.DeepEqual(c, []int{2, 0, 1}) {
		t.Errorf("classes %v, %v", c, err)
	}

	// a whole input per example
	whole := &Arrays{NPZ: &NPZ{Name: "a.npz", Arrays: map[string]*model.Tensor{"x": model.FromSlice([]int{2, 1, 3}, []float32{1, 2, 3, 4, 5, 6})}}}
	if err := whole.Bind([]*model.Value{value("x", model.Float32, fixed(1), fixed(3))}); err != nil || !whole.Whole() || whole.Len() != 2 {
		t.Fatal(err, whole.Whole(), whole.Len())
	}
	if f, _, err := whole.Feed(1, 2); err != nil || !reflect.DeepEqual(f["x"].Shape(), []int{1, 3}) {
		t.Errorf("%v %v", f["x"], err)
	}
	if _, _, err := whole.Feed(0, 2); err == nil {
		t.Error("two whole inputs in one run")
	}
}

func TestArraysRefuse(t *testing.T) {
	z := readFixture(t, "testdata/numpy.npz")
	bind := func(v *model.Value, arrays map[string]*model.Tensor) error {
		return (&Arrays{NPZ: &NPZ{Name: "a.npz", Arrays: arrays}, Labels: "label"}).Bind([]*model.Value{v})
	}
	x := value("x", model.Int8, free("n"), fixed(2))
	for _, c := range []struct {
		name   string
		v      *model.Value
		arrays map[string]*model.Tensor
		want   string
	}{
		{"missing", x, map[string]*model.Tensor{"y": z.Arrays["i8"]}, "no array of this name"},
		{"too many", x, map[string]*model.Tensor{"x": z.Arrays["i8"], "y": z.Arrays["i8"]}, `"y" is no input`},
		{"width", value("x", model.Int8, free("n"), fixed(3)), map[string]*model.Tensor{"x": z.Arrays["i8"]}, "shape [3 2]"},
		{"rank", value("x", model.Int8, free("n"), free("a"), free("b"), free("c")), map[string]*model.Tensor{"x": z.Arrays["i8"]}, "shape [3 2]"},
		{"floats as integers", x, map[string]*model.Tensor{"x": z.Arrays["f4"]}, "array of float32"},
		{"integers as floats", value("x", model.Float32, free("n"), fixed(2)), map[string]*model.Tensor{"x": z.Arrays["i8"]}, "array of int64"},
		{"negative as unsigned", value("x", model.Uint8, free("n"), fixed(2)), map[string]*model.Tensor{"x": z.Arrays["negative"]}, "-1 does not fit"},
		{"too large", x, map[string]*model.Tensor{"x": model.FromSlice([]int{1, 2}, []uint8{1, 128})}, "128 does not fit"},
		{"none", x, map[string]*model.Tensor{"x": model.FromSlice([]int{0, 2}, []int8{})}, "no examples"},
	} {
		if err := bind(c.v, c.arrays); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	two := &Arrays{NPZ: &NPZ{Name: "a.npz", Arrays: map[string]*model.Tensor{"x": z.Arrays["i1"], "y": model.FromSlice([]int{1, 2}, []int8{1, 2})}}}
	if err := two.Bind([]*model.Value{x, value("y", model.Int8, free("n"), fixed(2))}); err == nil || !strings.Contains(err.Error(), "1 examples") {
		t.Errorf("numbers of examples: %v", err)
	}
	if got, err := convertElements(z.Arrays["negative"], model.Int16); err != nil {
		t.Error(err)
	} else if x, _ := model.Data[int16](got); x[5] != -128 {
		t.Errorf("negative numbers: %v", x)
	}
}

// FuzzArrays reads any bytes as a .npy file, as a .npz file and as an image: no panic, no memory beyond the input's own inflated size,
// and what is accepted holds what it says.
func FuzzArrays(f *testing.F) {
	if b, err := os.ReadFile("testdata/numpy.npz"); err == nil {
		f.Add(b)
	}
	f.Add(npy(header("<f4", "False", "(2, 3)"), make([]byte, 24)))
	f.Add(npy("{\"descr\": '|u1', 'fortran_order': True, 'shape': (3L,)}", make([]byte, 3)))
	f.Add(archive(f, "x.npy", npy(header("<i8", "False", "(1,)"), make([]byte, 8))))
	if b, err := os.ReadFile("testdata/image.png"); err == nil {
		f.Add(b)
	}
	for _, encode := range []func(io.Writer, image.Image) error{png.Encode,
		func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) },
		func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) }} {
		var b bytes.Buffer
		if err := encode(&b, image.NewGray(image.Rect(0, 0, 5, 3))); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		fuzzImage(t, b)
		if x, err := ReadNPY(bytes.NewReader(b), maxArrayBytes); err == nil {
			if n, err := model.NumElements(x.Shape()); err != nil || n != x.Len() || x.ByteSize() > len(b) {
				t.Errorf("%d elements in shape %v of %d bytes: %v", x.Len(), x.Shape(), len(b), err)
			}
		}
		z, err := ReadNPZ(bytes.NewReader(b), int64(len(b)), "a.npz")
		if err != nil {
			return
		}
		sum := 0
		for name, x := range z.Arrays {
			sum += x.ByteSize()
			in := &Arrays{NPZ: &NPZ{Name: "a.npz", Arrays: map[string]*model.Tensor{name: x}}, Labels: name}
			_, _ = in.Classes()
			if in.Bind([]*model.Value{{Name: name, Type: model.Type{DType: model.Int32}}}) == nil {
				if _, _, err := in.Feed(0, 1); err != nil {
					t.Errorf("array %q: %v", name, err)
				}
			}
		}
		if sum > maxArrayBytes || float64(sum) > 1100*float64(len(b)) && sum > math.MaxInt32 {
			t.Errorf("%d bytes of a file of %d", sum, len(b))
		}
	})
}

// fuzzImage decodes any bytes as an image: what is accepted has pixels, and makes pixels from 0 to 1. Images of
// more than a million pixels are left out, a fuzzer has no time for them; TestImagesRefuse has the cap.
func fuzzImage(t *testing.T, b []byte) {
	c, _, err := image.DecodeConfig(bytes.NewReader(b))
	if err == nil && c.Width > 0 && c.Height > 1<<20/c.Width {
		return
	}
	img, err := DecodeImage(b)
	if err != nil {
		return
	}
	if s := img.Bounds().Size(); s.X < 1 || s.Y < 1 {
		t.Errorf("an image of %v pixels, its header tells %d x %d", s, c.Width, c.Height)
		return
	}
	m := &Images{depth: 3, height: 4, width: 3}
	x := m.prepare(img)
	if len(x) != 36 {
		t.Errorf("%d values, want 3 x 4 x 3", len(x))
	}
	for _, v := range x {
		if !(v >= 0 && v <= 1) {
			t.Errorf("pixel %v", v)
		}
	}
}

// TestWriteNPZ writes what NumPy wrote and reads it again; headers are aligned as NumPy aligns them.
func TestWriteNPZ(t *testing.T) {
	z := readFixture(t, "testdata/numpy.npz")
	var b bytes.Buffer
	if err := WriteNPZ(&b, z.Arrays); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNPZ(bytes.NewReader(b.Bytes()), int64(b.Len()), "b.npz")
	if err != nil || len(got.Arrays) != len(z.Arrays) {
		t.Fatal(err, len(got.Arrays))
	}
	for name, want := range z.Arrays {
		x, y := got.Arrays[name], want
		bx, _ := x.Bytes()
		by, _ := y.Bytes()
		if x.DType() != y.DType() || !reflect.DeepEqual(x.Shape(), y.Shape()) || !bytes.Equal(bx, by) {
			t.Errorf("%s: %v %v", name, x, y)
		}
		if n := len(npyHeader("<f4", x.Shape())); n%64 != 0 {
			t.Errorf("%s: a header of %d bytes", name, n)
		}
	}
	if err := WriteNPZ(&b, map[string]*model.Tensor{"x": model.FromSlice([]int{1}, []uint8{1})}); err != nil {
		t.Error(err)
	}
}
