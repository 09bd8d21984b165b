package explain

import (
	"math"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/reports"
)

// TestPruningPromise: pruning promises what leaving out half of its zeros would save, where that is something, in the file by the share of all
// weights and in time by that of the products; a scheme promises for itself, and a student of another size is not the pruned model.
func TestPruningPromise(t *testing.T) {
	prune := reports.Stage{Name: "prune", Options: map[string]any{"sparsity": 0.5}}
	student := reports.Stage{Name: "distill", Options: map[string]any{"student": map[string]any{"hidden": 8}}}
	int8 := reports.Stage{Name: "quantize", Options: map[string]any{"scheme": "int8"}}
	for _, c := range []struct {
		name          string
		stages        []reports.Stage
		zeros, time   float64 // of all weights; of the products
		size, latency float64
	}{
		{"half of all", []reports.Stage{prune}, 0.5, 1, 0.75, 0.75},
		{"an embedding is most of the weights", []reports.Stage{prune}, 0.05, 0.8, math.Inf(1), 0.8},
		{"products take no time", []reports.Stage{prune}, 0.4, 0.1, 0.8, math.Inf(1)},
		{"trained after it", []reports.Stage{prune, {Name: "distill"}}, 0.5, 1, 0.75, 0.75},
		{"another model", []reports.Stage{prune, student}, 0.5, 1, math.Inf(1), math.Inf(1)},
		{"quantized too", []reports.Stage{prune, int8}, 0.5, 1, 0.3, 0.8},
		{"not pruned", []reports.Stage{{Name: "distill"}}, 0.5, 1, math.Inf(1), math.Inf(1)},
	} {
		b := newBuild("", nil).latency(1.2)
		b.v.Stages, b.v.Weights = c.stages, &reports.Weights{Sparsity: &c.zeros}
		b.v.Notes = []reports.Note{{Stage: "prune", Action: reports.Touched, Weight: "w", Op: "MatMul", How: "pruned"}}
		b.v.File.Bytes = b.base.File.Bytes
		b.time("MatMul", c.time, "Erf", 1-c.time)
		f := newFacts(Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig})
		if got, _ := f.promised(); got.size != c.size || math.Abs(got.latency-c.latency) > 1e-12 && got.latency != c.latency {
			t.Errorf("%s: %+v, want %v and %v", c.name, got, c.size, c.latency)
		}
		said := map[Effect]string{}
		for _, e := range f.effects() {
			said[e.Effect] = e.What
		}
		if said[Slower] == "" || (said[Larger] != "") != !math.IsInf(c.size, 1) {
			t.Errorf("%s: effects %v", c.name, said)
		}
		if none := strings.Contains(said[Slower], "promise nothing of time"); none != math.IsInf(c.latency, 1) {
			t.Errorf("%s: %s", c.name, said[Slower])
		} else if none {
			delete(said, Slower)
		}
		if got := Promised(f.Case); got == (math.IsInf(c.size, 1) && math.IsInf(c.latency, 1)) {
			t.Errorf("%s: promised %v", c.name, got)
		}
		for e, s := range said {
			if own := strings.Contains(s, "half of the zeros that pruning made"); own == (len(c.stages) > 1 && c.stages[1].Name == "quantize") {
				t.Errorf("%s: %s: %s", c.name, e, s)
			}
		}
	}
}
