package model

import "testing"

// TestReader: a weight whose name is only a number is told by the node that reads it.
func TestReader(t *testing.T) {
	read := &Node{Name: "conv1", Op: "Conv"}
	for name, want := range map[string]string{"123": "conv1", "onnx::MatMul_123": "conv1", "body/7": "conv1", "conv1.weight": "", "w1": "", "onnx::weight": "", "": ""} {
		w := &Weight{Name: name, Uses: []Use{{Node: read}}}
		if got := w.Reader(); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	w := &Weight{Name: "5", Uses: []Use{{Node: &Node{Op: "Gemm"}}}}
	if got := WithReader(w.Name, w.Reader()); got != "5 (Gemm)" {
		t.Error(got)
	}
	if got := WithReader("lone", (&Weight{Name: "7"}).Reader()); got != "lone" {
		t.Error(got)
	}
}
