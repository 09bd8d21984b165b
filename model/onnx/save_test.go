package onnx_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

func smallGraph() *model.Graph {
	g := &model.Graph{Name: "g", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
	data := make([]float32, 3000)
	for i := range data {
		data[i] = float32(i)
	}
	w := model.FromSlice([]int{30, 100}, data)
	g.SetInitializer("w", w)
	g.SetInitializer("tied", w)
	g.SetInitializer("v", model.FromSlice([]int{100, 30}, data))
	g.SetInitializer("b", model.FromSlice([]int{3}, []int8{1, -2, 3}))
	s, _ := model.NewStrings([]int{2}, []string{"x", "yz"})
	g.SetInitializer("s", s)
	g.Nodes = []*model.Node{{Op: "MatMul", Inputs: []string{"w", "v"}, Outputs: []string{"y"}}}
	g.Outputs = []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(30, 30)}}}
	return g
}

// TestSave: the file is whole or not there, and no temporary name stays behind.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	g := smallGraph()
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	f, err := onnx.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(g, f.Graph()); d != "" {
		t.Error(d)
	}
	if err := onnx.Save(path, f.Graph().Clone(), onnx.WriteOptions{}); !errors.Is(err, onnx.ErrSource) {
		t.Errorf("saving over the source: %v", err)
	}
	link := filepath.Join(dir, "other")
	if os.Link(path, link) == nil {
		if err := onnx.Save(link, f.Graph(), onnx.WriteOptions{}); !errors.Is(err, onnx.ErrSource) {
			t.Errorf("saving over a link to the source: %v", err)
		}
		os.Remove(link)
	}
	if err := onnx.Save(path, smallGraph(), onnx.WriteOptions{}); err != nil {
		t.Errorf("saving other weights over the file: %v", err)
	}
	bad := smallGraph()
	lazy, _ := model.NewLazy(model.Uint8, []int{1 << 20}, func() ([]byte, []string, error) { return nil, nil, errors.New("gone") })
	bad.SetInitializer("bad", lazy)
	before, _ := os.ReadFile(path)
	for _, o := range []onnx.WriteOptions{{}, {External: true}} {
		if err := onnx.Save(path, bad, o); err == nil {
			t.Error("a weight that cannot be read was saved")
		}
	}
	after, _ := os.ReadFile(path)
	files, _ := os.ReadDir(dir)
	if !bytes.Equal(before, after) || len(files) != 1 {
		t.Errorf("a failed Save left %v", files)
	}
	if err := onnx.Save(filepath.Join(dir, "none", "m.onnx"), g, onnx.WriteOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestSaveExternal: large initializers go to a second file at aligned offsets, each once.
func TestSaveExternal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	g := smallGraph()
	if err := onnx.Save(path, g, onnx.WriteOptions{External: true}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path + ".data")
	if err != nil || st.Size() != 4096*3+12000 { // w (tied counts once) takes three pages
		t.Errorf("external data: %v, %v", st, err)
	}
	f, err := onnx.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if d := diff(g, f.Graph()); d != "" {
		t.Error(d)
	}
	err = onnx.Save(path, f.Graph(), onnx.WriteOptions{External: true})
	if !errors.Is(err, onnx.ErrSource) {
		t.Errorf("saving over the external data: %v", err)
	}
	if err := onnx.Write(new(bytes.Buffer), g, onnx.WriteOptions{External: true}); err == nil {
		t.Error("external data was written to nowhere")
	}
}

// TestIRVersion: kept, and raised only where an element type needs it.
func TestIRVersion(t *testing.T) {
	for dt, want := range map[model.DType]int64{model.Int4: 10, model.Float8E4M3FN: 9, model.Int8: 8, model.Float4E2M1: 11, model.Uint2: 13} {
		g := smallGraph()
		x, err := model.NewTensor(dt, []int{1}, []byte{1})
		if err != nil {
			t.Fatal(err)
		}
		g.Nodes = append(g.Nodes, &model.Node{Op: "Constant", Outputs: []string{"c"}, Attrs: []model.Attr{model.TensorAttr("value", x)}})
		var out bytes.Buffer
		if err := onnx.Write(&out, g, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		back, err := onnx.Parse(out.Bytes(), onnx.Options{})
		if err != nil || back.Model.IRVersion != want {
			t.Errorf("%s: IR version %d, not %d (%v)", dt, back.Model.IRVersion, want, err)
		}
	}
}
