package explain

import (
	"fmt"
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

// TestPrunedPart: pruning promises the time of what it touched, not that of all products, and counts the zeros that the baseline had not.
func TestPrunedPart(t *testing.T) {
	const none = 0
	touched, left := reports.Touched, reports.Left
	note := func(weight, op string, bytes int64, action reports.Action) reports.Note {
		return reports.Note{Stage: "prune", Weight: weight, Op: op, BytesBefore: bytes, Action: action}
	}
	for _, c := range []struct {
		name       string
		notes      []reports.Note
		had, zeros float64 // the baseline's and the variant's, of all weights
		profile    []any
		size, time float64 // what pruning made of them: 0 for no promise
	}{
		{"one operator of two", []reports.Note{note("a", "LSTM", 600, touched), note("b", "MatMul", 400, left)}, 0, 0.3, []any{"LSTM", 0.2, "MatMul", 0.8}, 0.3, 0.1},
		{"too little time", []reports.Note{note("a", "LSTM", 600, touched), note("b", "MatMul", 400, left)}, 0, 0.3, []any{"LSTM", 0.1, "MatMul", 0.9}, 0.3, none},
		{"half of the weights left", []reports.Note{note("a", "Conv", 500, touched), note("b", "Conv", 500, left)}, 0, 0.25, []any{"wattshed.BlockedConv", 0.6, "Conv", 0.2}, 0.25, 0.2},
		{"no profile", []reports.Note{note("a", "LSTM", 300, touched), note("b", "MatMul", 500, left), note("c", "Gather", 200, left)}, 0, 0.15, nil, 0.15, 0.1875},
		{"zeros of the baseline", []reports.Note{note("a", "MatMul", 1000, touched)}, 0.3, 0.5, []any{"MatMul", 1.0}, 0.2, 0.2},
		{"zeros of the baseline elsewhere", []reports.Note{note("a", "MatMul", 500, touched), note("b", "Gather", 500, left)}, 0.3, 0.55, []any{"MatMul", 1.0}, 0.25, 0.5},
		{"zeros of the baseline alone", []reports.Note{note("a", "MatMul", 1000, touched)}, 0.5, 0.5, []any{"MatMul", 1.0}, none, none},
		{"few zeros in the file", []reports.Note{note("a", "MatMul", 100, touched), note("b", "Gather", 900, left)}, 0, 0.05, []any{"MatMul", 1.0}, none, 0.5},
	} {
		b := newBuild("", nil).latency(1.2)
		b.v.Stages = []reports.Stage{{Name: "prune", Options: map[string]any{"sparsity": 0.5}}}
		b.base.Weights, b.v.Weights = &reports.Weights{Parameters: 250, Bytes: 1000, Sparsity: &c.had}, &reports.Weights{Parameters: 250, Bytes: 1000, Sparsity: &c.zeros}
		b.v.Notes, b.v.File.Bytes = c.notes, b.base.File.Bytes
		b.time(c.profile...)
		k := Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig}
		want, _ := newFacts(k).promised()
		for _, x := range []struct{ got, made float64 }{{want.size, c.size}, {want.latency, c.time}} {
			if x.made == none && !math.IsInf(x.got, 1) || x.made != none && math.Abs(x.got-(1-x.made/2)) > 1e-12 {
				t.Errorf("%s: promise %v, want that of %v", c.name, x.got, x.made)
			}
		}
		said := map[Effect]string{} // a promise that is not kept has its cause, by the same figure
		for _, cause := range Explain(k) {
			said[cause.Effect] += cause.What
		}
		for e, made := range map[Effect]float64{Larger: c.size, Slower: c.time} {
			if s := said[e]; (s == "") != (made == none) || made != none && !strings.Contains(s, fmt.Sprintf("%.0f %% of", 100*made)) {
				t.Errorf("%s: %s: %q, want %v", c.name, e, s, made)
			}
		}
	}
}
