package onnx_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// corpus calls fn with every model of the ONNX node tests.
func corpus(t testing.TB, fn func(name string, b []byte)) {
	t.Helper()
	f, err := os.Open("../../testdata/conformance/onnx-node-1.23.2.tgz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(h.Name, "/model.onnx") {
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			fn(filepath.Base(filepath.Dir(h.Name)), b)
		}
	}
}

// assets returns the real ONNX models that the tests use. Without a folder of assets the test is skipped, except in CI.
func assets(t testing.TB) []string {
	t.Helper()
	dir := os.Getenv("WATTSHED_ASSETS")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("WATTSHED_ASSETS is not set")
		}
		t.Skip("WATTSHED_ASSETS is not set: no real models to read")
	}
	var files []string
	for _, id := range []string{"M1", "M3", "M10", "M12", "M14cls", "M31"} {
		m, _ := filepath.Glob(filepath.Join(dir, id, "*.onnx"))
		if len(m) == 0 {
			t.Fatalf("asset %s is missing in %s", id, dir)
		}
		files = append(files, m...)
	}
	return files
}

func roundTrip(t *testing.T, name string, g *model.Graph) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := onnx.Write(&out, g, onnx.WriteOptions{}); err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	again, err := onnx.Parse(out.Bytes(), onnx.Options{})
	if err != nil {
		t.Errorf("%s: reading what was written: %v", name, err)
		return nil
	}
	if d := diff(g, again); d != "" {
		t.Errorf("%s: %s", name, d)
	}
	var twice bytes.Buffer
	if err := onnx.Write(&twice, again, onnx.WriteOptions{}); err != nil || !bytes.Equal(out.Bytes(), twice.Bytes()) {
		t.Errorf("%s: writing it again gives other bytes (%v)", name, err)
	}
	return out.Bytes()
}

// TestRoundTripCorpus reads, writes and reads every model of the ONNX node tests.
func TestRoundTripCorpus(t *testing.T) {
	n := 0
	corpus(t, func(name string, b []byte) {
		n++
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		out := roundTrip(t, name, g)
		if dir := os.Getenv("ONNX_ROUND_TRIP"); dir != "" { // keep the files, to load them with another runtime
			keep(t, filepath.Join(dir, name+".onnx"), out)
		}
	})
	if n != 1884 {
		t.Errorf("%d models, not 1884", n)
	}
}

// TestRoundTripAssets does the same for real models.
func TestRoundTripAssets(t *testing.T) {
	for _, path := range assets(t) {
		f, err := onnx.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		out := roundTrip(t, filepath.Base(path), f.Graph())
		if dir := os.Getenv("ONNX_ROUND_TRIP"); dir != "" {
			keep(t, filepath.Join(dir, filepath.Base(path)), out)
		}
		f.Close()
	}
}

func keep(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// Every operator of the ONNX node tests, and of the real models, is one that the standard has or that comes with a domain of its own.
func TestCheckOperators(t *testing.T) {
	n := 0
	corpus(t, func(name string, b []byte) {
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			return // TestRoundTripCorpus tells
		}
		n++
		if err := model.CheckOperators(g); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(g.Nodes) == 0 {
			return
		}
		node := g.Nodes[len(g.Nodes)-1]
		if old := node.Domain; old == "" || old == "ai.onnx" || old == "ai.onnx.ml" {
			node.Op += "X"
			err := model.CheckOperators(g)
			if !errors.Is(err, model.ErrUnsupported) || !strings.Contains(err.Error(), "has no operator "+node.Op) {
				t.Errorf("%s: operator %s: %v", name, node.Op, err)
			}
		}
	})
	if n < 1800 {
		t.Errorf("%d models", n)
	}
	for _, path := range assets(t) {
		f, err := onnx.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := model.CheckOperators(f.Graph()); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if custom := model.CustomOperators(f.Graph(), "com.microsoft"); len(custom) > 0 {
			t.Errorf("%s: %s is taken for a custom operator", path, custom[0])
		}
		f.Close()
	}
}

// Opsets 1 to 28 are read and written with their number; what the files import is kept.
func TestOpsets(t *testing.T) {
	for v := uint64(1); v <= 28; v++ {
		b := bytes.Join([][]byte{num(1, 8), rec(8, num(2, v)), rec(7, rec(1, str(1, "x"), str(2, "y"), str(3, "n"), str(4, "Relu")),
			rec(11, str(1, "x"), rec(2, rec(1, num(1, 1)))), rec(12, str(1, "y"), rec(2, rec(1, num(1, 1)))))}, nil)
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			t.Errorf("opset %d: %v", v, err)
			continue
		}
		again, err := onnx.Parse(roundTrip(t, "opset", g), onnx.Options{})
		if err != nil || g.Opset("") != int64(v) || again.Opset("") != int64(v) {
			t.Errorf("opset %d: read as %d and %v, %v", v, g.Opset(""), again, err)
		}
	}
}
