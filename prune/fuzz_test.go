package prune_test

import (
	"bytes"
	"testing"

	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/prune"
)

// FuzzSelect parses a model and prunes it with every pattern: nothing may panic, what Select selects Apply applies, and
// it drops as many elements as the mask says.
func FuzzSelect(f *testing.F) {
	var b bytes.Buffer
	if err := onnx.Write(&b, zoo(), onnx.WriteOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes(), 0.5)
	f.Fuzz(func(t *testing.T, b []byte, sparsity float64) {
		if len(b) > 64<<10 {
			return
		}
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			return
		}
		for _, p := range []prune.Pattern{prune.Unstructured{}, prune.Global{}, prune.NM{N: 2, M: 4}} {
			c := g.Clone()
			mask, _, err := prune.Select(c, prune.Options{Pattern: p, Sparsity: sparsity})
			if err != nil {
				continue
			}
			if err := prune.Apply(c, mask); err != nil {
				t.Fatal(err)
			}
			for _, w := range c.Weights() {
				bits, ok := mask[w.Name]
				if !ok {
					continue
				}
				x, err := w.Tensor.Float32()
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range x {
					if v != 0 && !bits.Get(i) {
						t.Fatalf("%s: element %d is %v", w.Name, i, v)
					}
				}
			}
		}
	})
}
