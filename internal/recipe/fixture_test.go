package recipe

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/distill"
	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/reports"
)

// writeMails writes n labelled texts that a tiny classifier can tell apart, but not all of them.
func writeMails(path string, n int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 7))
	ham := strings.Fields("meeting patch kernel list thanks report build river garden notes")
	spam := strings.Fields("winner cash offer free click prize credit cheap loan deal")
	var b strings.Builder
	for i := range n {
		label, own, other := "ham", ham, spam
		if i%2 == 1 {
			label, own, other = "spam", spam, ham
		}
		var words []string
		for range 3 + rng.IntN(6) {
			from := own
			if rng.IntN(5) == 0 {
				from = other
			}
			words = append(words, from[rng.IntN(len(from))])
		}
		line, err := json.Marshal(map[string]string{"text": strings.Join(words, " "), "label": label})
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// trainSpec are the arguments of a training of some hundred milliseconds on the data in dir.
func trainSpec(dir, out string) TrainSpec {
	return TrainSpec{Data: filepath.Join(dir, "train.jsonl"), Validation: filepath.Join(dir, "validation.jsonl"), Text: "text", Label: "label",
		Arch:      distill.Arch{Kind: "lstm", Vocabulary: 64, Embedding: 8, Hidden: 8, Pooling: "max", Classes: 2},
		MaxLength: 16, Epochs: 3, Batch: 16, LearningRate: 1e-2, Seed: 1, Threads: 1, Out: out, Native: engine.Native{}}
}

// fixture makes a folder with data, a trained model and the recipe of tinyRecipe, once for the whole test binary.
var fixture = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "recipe-test-")
	if err != nil {
		return "", err
	}
	for i, name := range []string{"train", "validation", "test"} {
		if err := writeMails(filepath.Join(dir, name+".jsonl"), []int{96, 32, 64}[i], uint64(i+1)); err != nil {
			return "", err
		}
	}
	if _, err := Train(context.Background(), trainSpec(dir, filepath.Join(dir, "model.onnx"))); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "recipe.yaml"), []byte(tinyRecipe), 0o644)
})

const tinyRecipe = `version: 1
model: model.onnx
task: {kind: classification, data: test.jsonl, train: train.jsonl, validation: validation.jsonl}
target: {threads: 1}
measure: {pairs: 2, max_pairs: 2, max_seconds: 5, block_seconds: 0.004, idle_seconds: 0.01, inputs: 2}
carbon: {zone: DEU, pue: 1.2, embodied: true}
variants:
  - name: half
    stages: [{quantize: {scheme: fp16}}]
  - name: int8
    stages: [{quantize: {scheme: int8}}]
  - name: sparse
    stages: [{prune: {sparsity: 0.5}}, {distill: {epochs: 2, batch: 16}}]
  - name: student
    stages: [{distill: {student: {embedding: 4, hidden: 4, pooling: max}, epochs: 3, batch: 16}}]
  - name: student-int8
    stages: [{distill: {student: {embedding: 4, hidden: 4, pooling: max}, epochs: 3, batch: 16}}, {quantize: {scheme: int8, granularity: per-tensor}}]
gates: {size_ratio: "<= 0.9"}
`

func fixtureDir(t testing.TB) string {
	t.Helper()
	dir, err := fixture()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// tiny returns the recipe of the fixture.
func tiny(t testing.TB) *Recipe {
	t.Helper()
	return parseIn(t, fixtureDir(t), tinyRecipe)
}

func parseIn(t testing.TB, dir, text string) *Recipe {
	t.Helper()
	r, err := Parse(strings.NewReader(text), "recipe.yaml", dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// options are those of a run on the native runtime with neither meter nor child process.
func options(out string) Options {
	return Options{Out: out, Runtimes: map[string]engine.Runtime{"native": engine.Native{}}, Tool: reports.Tool{Name: "wattshed", Version: "test"}, Plan: func(Plan) {},
		Ceilings: func(threads int) kernel.Peak { return kernel.Peak{F32Flops: 1e9 * float64(threads), ReadBps: 1e9} }} // measuring them takes a second
}

// unsteady are the keys of result.json that time, energy or the machine's load decide: everything else must not
// depend on where a run was interrupted. A key is dropped wherever it stands in the path given, [] standing for any index.
var unsteady = []string{
	"started", "finished", // times
	"roofline", "impact", "blocks", "idle", "method.statistic", // measured
	"warnings",                                 // the measurements' remarks on noise, and on pairs that an interruption parted
	"gates[].value", "gates[].ci95", "gates[]", // judged on what was measured
	"method.notes", "method.assumptions", // hold the meter's overhead
	"variants[].latency_s", "variants[].throughput_per_s", "variants[].throughput", "meter", "variants[].energy_j", "variants[].carbon_g",
	"variants[].cost",                                                           // of making the variant
	"variants[].memory_bytes.peak_rss", "variants[].memory_bytes.empty_process", // of another process
	"variants[].profile[].seconds", "variants[].profile[].ci95", "variants[].profile[].share",
}

// steady returns the result as JSON without what unsteady names, operators of a profile in order of their names.
func steady(t testing.TB, res *reports.Result) string {
	t.Helper()
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	drop := map[string]bool{}
	for _, k := range unsteady {
		drop[k] = true
	}
	out, err := json.MarshalIndent(strip(v, "", drop), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func strip(v any, path string, drop map[string]bool) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if sub := join(path, k); drop[sub] {
				delete(v, k)
			} else {
				v[k] = strip(x, sub, drop)
			}
		}
		return v
	case []any:
		if drop[path+"[]"] {
			return nil
		}
		for i, x := range v {
			v[i] = strip(x, path+"[]", drop)
		}
		if strings.HasSuffix(path, ".profile") { // in order of time
			sortJSON(v)
		}
	}
	return v
}

func sortJSON(v []any) {
	key := func(x any) string { b, _ := json.Marshal(x); return string(b) }
	for i := range v {
		for k := i; k > 0 && key(v[k]) < key(v[k-1]); k-- {
			v[k], v[k-1] = v[k-1], v[k]
		}
	}
}

// diff names the first line that differs.
func diff(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return fmt.Sprintf("line %d: %s\n  not: %s", i+1, lb[i], la[i])
		}
	}
	return fmt.Sprintf("%d lines, not %d", len(lb), len(la))
}
