package recipe

import (
	"context"
	"testing"

	"github.com/wattshed/wattshed/distill"
)

// TestParametersAlike: a model has as many parameters as its architecture says and as were trained, in whatever type they are stored.
func TestParametersAlike(t *testing.T) {
	arch := distill.Arch{Kind: "lstm", Vocabulary: 600, Embedding: 16, Hidden: 40, Pooling: "max", Classes: 2}
	g, err := arch.Graph(1)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(arch.Parameters())
	if c, err := CountWeights(g); err != nil || c.Parameters != want {
		t.Errorf("float32: %+v, %v; want %d parameters", c, err, want)
	}
	for _, q := range []Quantize{{Scheme: "fp16"}, {Scheme: "bf16"}, {Scheme: "int8"}, {Scheme: "uint8", Granularity: "per-tensor"}, {Scheme: "int4"}, {Scheme: "uint4"},
		{Scheme: "int8", Mode: "weight-only"}, {Scheme: "fp8"}, {Scheme: "int16", Mode: "weight-only"}} {
		st := q
		if err := st.check(); err != nil {
			t.Fatal(err)
		}
		g := g.Clone()
		if _, err := raise(g, &st); err != nil {
			t.Fatal(err)
		}
		out, _, err := st.Apply(context.Background(), g, &Env{Runtime: "native", Provider: "cpu", Seed: 1, Threads: 1})
		if err != nil {
			t.Errorf("%s %s: %v", q.Scheme, q.Mode, err)
			continue
		}
		if c, err := CountWeights(out); err != nil || c.Parameters != want || c.Nonzero > want {
			t.Errorf("%s %s: %+v, %v; want %d parameters", q.Scheme, q.Mode, c, err, want)
		}
	}
}
