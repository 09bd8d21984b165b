package onnx_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"google.golang.org/protobuf/encoding/protowire"
)

// rec returns a length-delimited protobuf record.
func rec(num protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), bytes.Join(parts, nil))
}

func num(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

// modelWith returns a model whose graph has the given records.
func modelWith(graph ...[]byte) []byte {
	return bytes.Join([][]byte{num(1, 8), rec(8, num(2, 17)), rec(7, graph...)}, nil)
}

func str(n protowire.Number, s string) []byte { return rec(n, []byte(s)) }

// sparseModel writes a model with one float32 weight of the given number of bytes, which are a hole in the file.
func sparseModel(t testing.TB, size int) string {
	t.Helper()
	tensor := bytes.Join([][]byte{num(1, uint64(size/4)), num(2, 1), str(8, "w"),
		protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.BytesType), uint64(size))}, nil)
	graph := protowire.AppendVarint(protowire.AppendTag(nil, 5, protowire.BytesType), uint64(len(tensor)+size))
	graph = append(graph, tensor...)
	head := append(num(1, 8), protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.BytesType), uint64(len(graph)+size))...)
	head = append(head, graph...)
	path := filepath.Join(t.TempDir(), "large.onnx")
	if err := os.WriteFile(path, head, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(head)+size)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpenLarge: opening a model of 640 MiB takes little memory, resident or allocated; so does one weight of it.
func TestOpenLarge(t *testing.T) {
	const size = 640 << 20
	path := sparseModel(t, size)
	var before, after runtime.MemStats
	rss := resident(t)
	runtime.ReadMemStats(&before)
	f, err := onnx.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 && runtime.GOOS != "windows" {
		t.Errorf("Open allocated %d bytes", n)
	}
	if n := resident(t) - rss; n > 16<<20 {
		t.Errorf("Open made %d bytes resident", n)
	}
	w := f.Graph().Initializer("w")
	if w == nil || w.Len() != size/4 {
		t.Fatalf("the weight is %v", w)
	}
}

// resident returns the resident memory of this process in bytes, 0 where the system does not say.
func resident(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestDecode: every typed data field, packed and unpacked. Expected bytes by hand after onnx.proto.
func TestDecode(t *testing.T) {
	packed := func(n protowire.Number, v ...uint64) []byte {
		var b []byte
		for _, x := range v {
			b = protowire.AppendVarint(b, x)
		}
		return rec(n, b)
	}
	neg := ^uint64(0) // -1 as a varint
	for _, c := range []struct {
		name string
		dt   uint64
		dim  uint64
		data []byte
		want []byte
	}{
		{"float packed", 1, 2, rec(4, []byte{0, 0, 128, 63, 0, 0, 0, 64}), []byte{0, 0, 128, 63, 0, 0, 0, 64}},
		{"float unpacked", 1, 2, protowire.AppendFixed32(append(protowire.AppendFixed32([]byte{4<<3 | 5}, 1), 4<<3|5), 2), []byte{1, 0, 0, 0, 2, 0, 0, 0}},
		{"double unpacked", 11, 1, protowire.AppendFixed64([]byte{10<<3 | 1}, 5), []byte{5, 0, 0, 0, 0, 0, 0, 0}},
		{"complex64", 14, 1, rec(4, make([]byte, 8)), make([]byte, 8)},
		{"int32 unpacked", 6, 2, append(num(5, neg), num(5, 2)...), []byte{255, 255, 255, 255, 2, 0, 0, 0}},
		{"int8", 3, 2, packed(5, neg, 2), []byte{255, 2}},
		{"uint16", 4, 1, packed(5, 65535), []byte{255, 255}},
		{"float16", 10, 2, packed(5, 15360, 16384), []byte{0, 0x3c, 0, 0x40}},
		{"bfloat16", 16, 1, packed(5, 0x3f80), []byte{0x80, 0x3f}},
		{"bool", 9, 2, packed(5, 1, 0), []byte{1, 0}},
		{"int4", 22, 3, packed(5, 0x21, 0x0f), []byte{0x21, 0x0f}},
		{"int2", 26, 5, packed(5, 0xe4, 1), []byte{0xe4, 1}},
		{"float8", 17, 1, packed(5, 0x7e), []byte{0x7e}},
		{"int64 mixed", 7, 2, append(packed(7, neg), num(7, 3)...), []byte{255, 255, 255, 255, 255, 255, 255, 255, 3, 0, 0, 0, 0, 0, 0, 0}},
		{"uint32", 12, 1, packed(11, 7), []byte{7, 0, 0, 0}},
		{"uint64", 13, 1, packed(11, neg), []byte{255, 255, 255, 255, 255, 255, 255, 255}},
	} {
		x, name, err := onnx.ParseTensor(bytes.Join([][]byte{num(1, c.dim), num(2, c.dt), c.data, str(8, "x")}, nil))
		if err != nil || name != "x" {
			t.Errorf("%s: %q, %v", c.name, name, err)
			continue
		}
		got, err := x.Bytes()
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, not %v", c.name, got, err, c.want)
		}
	}
	x, _, err := onnx.ParseTensor(bytes.Join([][]byte{num(1, 2), num(2, 8), str(6, "a"), str(6, "")}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := x.Strings(); err != nil || len(s) != 2 || s[0] != "a" {
		t.Errorf("strings: %q, %v", s, err)
	}
}

// TestAttributeKind: of an attribute's values only the one of its kind is read, none beside a reference.
func TestAttributeKind(t *testing.T) {
	tensor := rec(5, num(2, 1), rec(4, make([]byte, 4)), str(8, "t"))
	b := modelWith(rec(1, str(4, "X"),
		rec(5, str(1, "f"), num(3, 1), str(4, "s"), tensor, num(20, 1)),
		rec(5, str(1, "r"), num(3, 1), str(21, "outer"), num(20, 2)),
		rec(5, str(1, "i"), num(3, 7), num(8, 5))))
	g, err := onnx.Parse(b, onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []model.Attr{model.FloatAttr("f", 0), {Name: "r", Kind: model.AttrInt, Ref: "outer"}, model.IntsAttr("i", 5)}
	if got := g.Nodes[0].Attrs; !reflect.DeepEqual(got, want) {
		t.Errorf("attributes %+v, want %+v", got, want)
	}
}

// TestRefuse: what is wrong gives an error that says what and where.
func TestRefuse(t *testing.T) {
	deep := rec(7, nil)
	deep = deep[2:]
	for range 100 { // a graph in an attribute of a node in a graph ...
		deep = rec(1, str(4, "If"), rec(5, str(1, "then_branch"), rec(6, deep), num(20, 5)))
	}
	weight := func(parts ...[]byte) []byte { return modelWith(rec(5, append(parts, str(8, "w"))...)) }
	ext := func(kv ...string) []byte {
		b := append(num(1, 4), num(2, 1)...)
		for i := 0; i < len(kv); i += 2 {
			b = append(b, rec(13, str(1, kv[i]), str(2, kv[i+1]))...)
		}
		return weight(b, num(14, 1))
	}
	for want, b := range map[string][]byte{
		"the file is empty":        nil,
		"no graph":                 num(1, 8),
		"malformed protobuf":       []byte("PK\x03\x04 this is a zip"),
		"field 7 has wire type 0":  num(7, 1),
		"opset 99":                 append(modelWith(), rec(8, num(2, 99))...),
		"opset 29":                 append(modelWith(), rec(8, num(2, 29))...),
		"opset 0":                  append(modelWith(), rec(8, num(2, 0))...),
		"nested more than 64 deep": modelWith(deep),
		`initializer "w": it has no element type`:               weight(num(1, 1)),
		`initializer "w": element type 77`:                      weight(num(2, 77)),
		`initializer "w": dimension 0 of its shape is -1`:       weight(num(1, ^uint64(0)), num(2, 1)),
		"too many elements":                                     weight(num(1, 1<<40), num(1, 1<<40), num(2, 1)),
		"is too large":                                          weight(num(1, 1<<60), num(2, 1)),
		"needs 1099511627776 values in field 4, has 0":          weight(num(1, 1<<40), num(2, 1)),
		"needs 16 bytes, has 3":                                 weight(num(1, 4), num(2, 1), rec(9, []byte{1, 2, 3})),
		"a string tensor has raw data":                          weight(num(1, 1), num(2, 8), str(9, "x")),
		"2 bytes are no whole number of elements":               weight(num(1, 1), num(2, 1), str(4, "xx")),
		`initializer "w" is there twice`:                        modelWith(rec(5, num(2, 1), rec(4, make([]byte, 4)), str(8, "w")), rec(5, num(2, 1), rec(4, make([]byte, 4)), str(8, "w"))),
		"an initializer has no name":                            modelWith(rec(5, num(2, 1), rec(4, make([]byte, 4)))),
		`node "n" (Add): attribute "a": kind 99`:                modelWith(rec(1, str(3, "n"), str(4, "Add"), rec(5, str(1, "a"), num(20, 99)))),
		`attribute "a": the tensor is missing`:                  modelWith(rec(1, str(3, "n"), str(4, "Add"), rec(5, str(1, "a"), num(20, 4)))),
		"has no operator":                                       modelWith(rec(1, str(3, "n"))),
		`location "/etc/passwd" is not a path inside`:           ext("location", "/etc/passwd"),
		`location "../w" leads out`:                             ext("location", "../w"),
		`location "a\\..\\..\\w" leads out`:                     ext("location", `a\..\..\w`),
		`location "" is not a path`:                             ext(),
		`location "link" is a link out of the model's folder`:   ext("location", "link"),
		`offset "-1" is no number`:                              ext("location", "data", "offset", "-1"),
		`offset 33 is behind the end of "data"`:                 ext("location", "data", "offset", "33"),
		`offset 20 and length 16 exceed the 32 bytes of "data"`: ext("location", "data", "offset", "20", "length", "16"),
		"length 9223372036854775807 exceed":                     ext("location", "data", "offset", "20", "length", "9223372036854775807"),
		"needs 16 bytes, has 12":                                ext("location", "data", "offset", "20"),
		`open `:                                                 ext("location", "missing"),
		"is not a regular file":                                 ext("location", "folder"),
	} {
		dir := filepath.Join(t.TempDir(), "m")
		if err := os.MkdirAll(filepath.Join(dir, "folder"), 0o777); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(dir, "data"), make([]byte, 32), 0o666)
		os.WriteFile(filepath.Join(dir, "..", "outside"), make([]byte, 32), 0o666)
		if err := os.Symlink("../outside", filepath.Join(dir, "link")); err != nil {
			t.Skip("no symbolic links here")
		}
		_, err := onnx.Parse(b, onnx.Options{Dir: dir})
		if want == "open " {
			want = "no such file"
		}
		if err == nil || !strings.HasPrefix(err.Error(), "onnx: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	if _, err := onnx.Parse(ext("location", "data"), onnx.Options{}); err == nil || !strings.Contains(err.Error(), "has no folder") {
		t.Errorf("external data of a model in memory: %v", err)
	}
	if _, err := onnx.Open(filepath.Join(t.TempDir(), "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// TestExternal reads what convert_model_to_external_data of Python's onnx would write: two tensors in one file.
func TestExternal(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "sub"), 0o777)
	os.WriteFile(filepath.Join(dir, "sub", "data"), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 0o666)
	one := func(name string, kv ...[]byte) []byte {
		return rec(5, append([][]byte{num(1, 4), num(2, 2), str(8, name), num(14, 1), rec(13, str(1, "location"), str(2, "sub/data"))}, kv...)...)
	}
	b := modelWith(one("a"), one("b", rec(13, str(1, "offset"), str(2, "8")), rec(13, str(1, "length"), str(2, "4"))))
	path := filepath.Join(dir, "m.onnx")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	f, err := onnx.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string][]byte{"a": {1, 2, 3, 4}, "b": {9, 10, 11, 12}} {
		x := f.Graph().Initializer(name)
		if got, err := x.Bytes(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if x.Mapping() == nil {
			t.Errorf("%s is not mapped", name)
		}
	}
}

// TestTruncatedFile: a model cut off anywhere is an error.
func TestTruncatedFile(t *testing.T) {
	g := &model.Graph{Name: "g", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
	g.SetInitializer("w", model.FromSlice([]int{4}, []float32{1, 2, 3, 4}))
	g.Nodes = []*model.Node{{Op: "Relu", Inputs: []string{"w"}, Outputs: []string{"y"}}}
	var out bytes.Buffer
	if err := onnx.Write(&out, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	whole := out.Bytes()
	cut := len(whole) - len(rec(8, num(2, 17))) // the opset comes last, and may be missing in old files
	for i := range cut {
		if _, err := onnx.Parse(whole[:i], onnx.Options{}); err == nil && i > 2 {
			t.Errorf("cut off at %d of %d: no error", i, len(whole))
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(filepath.Dir(filepath.Dir(assets(b)[0])), "M1", "all-minilm-l6-v2.onnx")
	b.ReportAllocs()
	for b.Loop() {
		f, err := onnx.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func BenchmarkOpenLarge(b *testing.B) {
	path := sparseModel(b, 640<<20)
	b.ReportAllocs()
	for b.Loop() {
		f, err := onnx.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
