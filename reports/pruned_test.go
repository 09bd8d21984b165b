package reports

import (
	"strings"
	"testing"
)

// A pruned variant tells which weights the pruned share is of, and what share of the whole model that is; a variant that was not
// pruned, or whose pruned model a student replaced, tells nothing.
func TestPruned(t *testing.T) {
	note := func(weight, op string, a Action, bytes int64) Note {
		return Note{Stage: "prune", Weight: weight, Op: op, Action: a, How: "pruned", Why: "read by " + op, BytesBefore: bytes, BytesAfter: bytes}
	}
	notes := []Note{note("table", "Gather", Left, 2_560_000), note("fc", "Gemm", Touched, 1024), note("lstm.W", "LSTM", Touched, 131_072), note("lstm.R", "LSTM", Touched, 262_144)}
	prune := Stage{Name: "prune", Options: map[string]any{"sparsity": 0.5, "pattern": "2:4"}}
	recover := Stage{Name: "distill", Options: map[string]any{"teacher": "baseline"}}
	student := Stage{Name: "distill", Options: map[string]any{"student": map[string]any{"hidden": 8}}}
	for name, c := range map[string]struct {
		v    Variant
		want string
	}{
		"pruned":    {Variant{Stages: []Stage{prune}, Notes: notes, Weights: &Weights{Sparsity: ptr(0.0667)}}, "pruning set 50 % of the weights of LSTM and Gemm to zero, 6.7 % of all weights"},
		"recovered": {Variant{Stages: []Stage{prune, recover}, Notes: notes}, "pruning set 50 % of the weights of LSTM and Gemm to zero"},
		"student":   {Variant{Stages: []Stage{prune, student}, Notes: notes, Weights: &Weights{Sparsity: ptr(0.0001)}}, ""},
		"int8":      {Variant{Stages: []Stage{{Name: "quantize"}}, Weights: &Weights{Sparsity: ptr(0.01)}}, ""},
	} {
		if got := Pruned(&c.v); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	r := demoResult()
	v := &r.Variants[4]
	v.Stages, v.Notes, v.Weights.Sparsity = []Stage{prune}, notes, ptr(0.0667)
	if s := sentence(r, v); !strings.Contains(s, "of the weights of LSTM and Gemm to zero, 6.7 % of all weights") {
		t.Errorf("sentence: %s", s)
	}
	if c := sizeCell(v, &r.Variants[0]); !strings.Contains(c.Sub, "6.7 % zeros") {
		t.Errorf("cell: %+v", c)
	}
}
