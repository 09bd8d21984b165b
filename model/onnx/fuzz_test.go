package onnx_test

import (
	"bytes"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// FuzzParse: no bytes panic, nothing is allocated beyond a multiple of the input, and what is read survives a round
// trip. Seeds are node tests of at most 1 KiB.
func FuzzParse(f *testing.F) {
	n := 0
	corpus(f, func(_ string, b []byte) {
		if n++; len(b) <= 1024 && n%19 == 0 {
			f.Add(b)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			t.Skip()
		}
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			return
		}
		readAll(t, g)
		var out bytes.Buffer
		if err := onnx.Write(&out, g, onnx.WriteOptions{}); err != nil {
			t.Fatalf("written: %v", err)
		}
		again, err := onnx.Parse(out.Bytes(), onnx.Options{})
		if err != nil {
			t.Fatalf("read again: %v", err)
		}
		g.Model.IRVersion = max(g.Model.IRVersion, again.Model.IRVersion) // Write raises it where a type needs that
		if d := diff(g, again); d != "" {
			t.Fatal(d)
		}
	})
}

func readAll(t *testing.T, g *model.Graph) {
	for _, w := range g.Weights() {
		if w.Tensor.DType() == model.String {
			continue
		}
		if _, err := w.Tensor.Bytes(); err != nil {
			t.Fatalf("weight %q passed the check and cannot be read: %v", w.Name, err)
		}
	}
}

// FuzzGraph: whatever a file says, inference, validation and conversion end without a panic.
func FuzzGraph(f *testing.F) {
	n := 0
	corpus(f, func(_ string, b []byte) {
		if n++; len(b) <= 2048 && n%7 == 0 {
			f.Add(b)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			t.Skip()
		}
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			return
		}
		valid := model.Validate(g) == nil
		inferred := model.InferShapes(g.Clone()) == nil
		up := g.Clone()
		if err := onnx.UpConvert(up, 21); err == nil && valid && inferred {
			if err := model.Validate(up); err != nil {
				t.Fatalf("valid before UpConvert, not after: %v", err)
			}
		}
	})
}
