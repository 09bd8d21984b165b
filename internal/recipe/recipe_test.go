package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/testdata"
)

const small = `version: 1
model: m.onnx
variants:
  - name: half
    stages: [{quantize: {scheme: fp16}}]
`

func parse(text string) (*Recipe, error) { return Parse(strings.NewReader(text), "r.yaml", "dir") }

func TestParseDefaults(t *testing.T) {
	r, err := parse(small)
	if err != nil {
		t.Fatal(err)
	}
	if r.Target.Runtime != "native" || r.Target.Provider != "cpu" || r.Target.Batch != 1 || r.Measure.Pairs != 10 ||
		r.Measure.Precision != 0.02 || r.Carbon.Zone != "World" || r.Dir != "dir" || len(r.SHA256) != 64 {
		t.Errorf("defaults: %+v", r)
	}
	q := r.Variants[0].Stages[0].Quantize
	if q.Storage != "weights" || q.Options()["storage"] != "weights" {
		t.Errorf("storage %q, want weights", q.Storage)
	}
}

// TestParseDocumented reads the recipe of the format's description, apart from its file names.
func TestParseDocumented(t *testing.T) {
	r, err := parse(`version: 1
model: minilm/model.onnx
task: {kind: classification, data: spam.jsonl, train: t.jsonl, text: text, label: label}
inputs: {tokenizer: tokenizer.json, text: text, max_length: 128, pooling: mean}
target: {runtime: native, threads: 2, batch: 1, sequence: 128}
measure: {pairs: 10, precision: 0.02, max_seconds: 120, idle_seconds: 5}
carbon: {zone: DEU, pue: 1.15, embodied: true}
variants:
  - name: bf16
    stages: [{quantize: {scheme: bf16}}]
  - name: int8
    stages: [{quantize: {scheme: int8, mode: dynamic, granularity: per-channel, ops: [MatMul, Gemm, Gather, LSTM]}}]
  - name: half-sparse
    stages:
      - prune: {criterion: magnitude, sparsity: 0.5, pattern: unstructured}
      - distill: {teacher: baseline, epochs: 2, temperature: 2, alpha: 0.5}
  - name: student
    stages: [{distill: {teacher: baseline, student: {embedding: 32, hidden: 48}, epochs: 3, seed: 1}}]
gates:
  accuracy_drop: "<= 0.01"
  energy_ratio: "<= 0.6"
  size_ratio: "<= 0.3"
`)
	if err != nil {
		t.Fatal(err)
	}
	if *r.Carbon.PUE != 1.15 || !r.Carbon.Embodied || r.Variants[2].Stages[0].Prune.Sparsity != 0.5 || r.Variants[3].Stages[0].Distill.Student.Hidden != 48 {
		t.Errorf("%+v", r)
	}
	if len(r.Judged.Rules) != 3 || r.Judged.AllowModelled {
		t.Errorf("gates %+v", r.Judged)
	}
}

func TestParseDemo(t *testing.T) {
	b, err := fs.ReadFile(testdata.FS, "spam/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(string(b)); err != nil {
		t.Error(err)
	}
}

// faultCase is a recipe that is refused: where, and which unknown word it has and the nearest known one.
type faultCase struct {
	name, text   string
	line, column int
	key, nearest string
	want         string
}

// withLine gives small with one more line, which is line 6.
func withLine(line string) string { return small + line + "\n" }

// withStage gives a recipe with one stage, on line 7.
func withStage(s string) string {
	return "version: 1\nmodel: m.onnx\ntask: {kind: classification, data: a.jsonl}\nvariants:\n  - name: v\n    stages:\n      - " + s + "\n"
}

// unknownKeys are keys that no recipe has, with the nearest that there is.
var unknownKeys = []faultCase{
	{"top", withLine("varients: []"), 6, 1, "varients", "variants", `unknown key "varients"`},
	{"task", withLine("task: {kinds: fidelity}"), 6, 8, "kinds", "kind", `task: unknown key "kinds"`},
	{"inputs", withLine("inputs: {tokeniser: t.json}"), 6, 10, "tokeniser", "tokenizer", "inputs: unknown key"},
	{"random", withLine("inputs:\n  random: {sede: 1}"), 7, 12, "sede", "seed", "inputs.random: unknown key"},
	{"target", withLine("target: {thread: 2}"), 6, 10, "thread", "threads", "target: unknown key"},
	{"measure", withLine("measure: {pairz: 2}"), 6, 11, "pairz", "pairs", "measure: unknown key"},
	{"carbon", withLine("carbon: {zones: DEU}"), 6, 10, "zones", "zone", "carbon: unknown key"},
	{"variant", strings.Replace(small, "name:", "nam:", 1), 4, 5, "nam", "name", "variants[0]: unknown key"},
	{"stage", strings.Replace(small, "quantize", "quantise", 1), 5, 15, "quantise", "quantize", "variants[0].stages[0]: unknown key"},
	{"prune", withStage("prune: {sparsty: 0.5}"), 7, 17, "sparsty", "sparsity", "prune: unknown key"},
	{"quantize", withStage("quantize: {schema: int8}"), 7, 20, "schema", "scheme", "quantize: unknown key"},
	{"distill", withStage("distill: {epoch: 1}"), 7, 19, "epoch", "epochs", "distill: unknown key"},
	{"student", withStage("distill: {student: {embeding: 1}}"), 7, 29, "embeding", "embedding", "distill.student: unknown key"},
	{"far from all", withLine("xylophone: 1"), 6, 1, "xylophone", "", "unknown key"},
}

// wrongInputs are inputs, tasks and schemes that do not go together.
var wrongInputs = []faultCase{
	{"npz and images", withLine("inputs: {npz: a.npz, images: dir}"), 6, 1, "", "", "npz and images exclude each other"},
	{"npz with text", withLine("inputs: {npz: a.npz, text: t}"), 6, 1, "", "", "npz has neither text"},
	{"npz and data", withLine("task: {kind: classification, data: a.jsonl}\ninputs: {npz: a.npz}"), 6, 30, "", "", "inputs.npz has the examples"},
	{"size without images", withLine("inputs: {npz: a.npz, size: 224}"), 6, 22, "", "", "only images"},
	{"size", withLine("inputs: {images: d, size: 100000}"), 6, 21, "", "", "8192 pixels"},
	{"std", withLine("inputs: {images: d, std: [0.2, 0, 0.2]}"), 6, 21, "", "", "makes no sense"},
	{"mean", withLine("inputs: {images: d, mean: [0.2, 0]}"), 6, 21, "", "", "want 1 or 3"},
	{"layout", withLine("inputs: {images: d, layout: hwc}"), 6, 21, "", "", "nchw or nhwc"},
	{"channels", withLine("inputs: {images: d, channels: rgba}"), 6, 21, "", "", "rgb, bgr or gray"},
	{"fit", withLine("inputs: {images: d, fit: pad}"), 6, 21, "", "", "crop or stretch"},
	{"resize", withLine("inputs: {images: d, fit: stretch, resize: 256}"), 6, 35, "", "", "stretch has none"},
	{"state of images", withLine("inputs: {images: d, state: {h: hn}}"), 6, 21, "", "", "not with images"},
	{"labels", withLine("task: {kind: classification, labels: [a, a]}\ninputs: {images: d}"), 6, 30, "", "", "is there twice"},
	{"labels of fidelity", withLine("task: {kind: fidelity, labels: [a]}\ninputs: {images: d}"), 6, 24, "", "", "only a classification"},
	{"threshold", withLine("task: {kind: fidelity, threshold: 0.5}\ninputs: {npz: d.npz}"), 6, 24, "", "", "fidelity has none"},
	{"unknown scheme", withStage("quantize: {scheme: fp4}"), 7, 20, "", "", "want one of fp16, bf16"},
	{"fp8 activations", withStage("quantize: {scheme: fp8-e5m2, mode: static}"), 7, 38, "", "", "no CPU runtime multiplies 8-bit floats"},
	{"dynamic int16", withStage("quantize: {scheme: uint16, mode: dynamic}"), 7, 36, "", "", "no operator that quantizes to 16 bits at run time"},
	{"dynamic uint4", withStage("quantize: {scheme: uint4, mode: dynamic}"), 7, 35, "", "", "weight-only only"},
	{"symmetric uint4", withStage("quantize: {scheme: uint4, symmetric: true}"), 7, 35, "", "", "has zero points"},
	{"target CPU", withStage("quantize: {scheme: int8, target_cpu: z80}"), 7, 34, "", "", "want one of [host x86-vnni x86-avx2 arm64]"},
	{"activations", withStage("quantize: {scheme: int8-static, activations: int4}"), 7, 41, "", "", "want uint8, int8, uint16 or int16"},
	{"activations of 16", withStage("quantize: {scheme: int16, activations: uint8}"), 7, 35, "", "", "has its own"},
	{"16-bit operators", withStage("quantize: {scheme: int16, format: qoperator}"), 7, 9, "", "", "integer operators have 8 bits"},
	{"exclude pattern", withStage("quantize: {scheme: bf16, storage: graph, exclude: ['[']}"), 7, 50, "", "", "syntax error in pattern"},
	{"calibration of bf16", withStage("quantize: {scheme: bf16, storage: graph, calibration: random}"), 7, 50, "", "", "only schemes with mode static have it"},
	{"mode", withStage("quantize: {scheme: int8, mode: weekly}"), 7, 34, "", "", "want dynamic, static or weight-only"},
	{"method", withStage("quantize: {scheme: int8-static, method: guess}"), 7, 41, "", "", "want one of"},
	{"static key", withStage("quantize: {scheme: int8, method: mse}"), 7, 34, "", "", "only schemes with mode static have it"},
}

// wrongTypes are values of another type.
var wrongTypes = []faultCase{
	{"text for number", withLine("target: {threads: many}"), 6, 19, "", "", `target.threads: want a whole number, not "many"`},
	{"float for int", withLine("target: {threads: 1.5}"), 6, 19, "", "", "want a whole number"},
	{"huge int", withLine("target: {threads: 99999999999}"), 6, 19, "", "", "want a whole number"},
	{"list for map", withLine("target: [1]"), 6, 9, "", "", "want keys with values, not a list"},
	{"map for list", "version: 1\nmodel: m\nvariants: {a: 1}\n", 3, 11, "", "", "want a list, not keys with values"},
	{"number for bool", withLine("carbon: {embodied: 1}"), 6, 20, "", "", "want true or false"},
	{"list for text", strings.Replace(small, "m.onnx", "[a]", 1), 2, 8, "", "", "model: want a text, not a list"},
	{"negative seed", withLine("measure: {seed: -1}"), 6, 17, "", "", "0 or more"},
	{"no value", withLine("target:"), 6, 9, "", "", "target: has no value"},
	{"twice", withLine("model: other"), 6, 1, "", "", "already defined"},
}

// wrongValues are values that make no sense.
var wrongValues = []faultCase{
	{"version", strings.Replace(small, "version: 1", "version: 2", 1), 1, 1, "", "", "version: 2: want 1"},
	{"no version", strings.Replace(small, "version: 1\n", "", 1), 0, 0, "", "", "version: 0: want 1"},
	{"no variants", "version: 1\nmodel: m\n", 0, 0, "", "", "variants: none"},
	{"name taken", small + "  - name: HALF\n    stages: [{quantize: {scheme: bf16}}]\n", 6, 5, "", "", "is taken"},
	{"name baseline", strings.Replace(small, "half", "baseline", 1), 4, 5, "", "", "is taken"},
	{"name with slash", strings.Replace(small, "half", "a/b", 1), 4, 5, "", "", "want letters"},
	{"no stages", "version: 1\nmodel: m\nvariants: [{name: a, stages: []}]\n", 3, 22, "", "", "has none"},
	{"two in a stage", withStage("{prune: {sparsity: 0.5}, quantize: {scheme: fp16}}"), 7, 0, "", "", "holds 2"},
	{"runtime", withLine("target: {runtime: tflite}"), 6, 10, "", "", "want native or ort"},
	{"native provider", withLine("target: {provider: cuda}"), 6, 10, "", "", "native runtime has cpu only"},
	{"threads", withLine("target: {threads: -1}"), 6, 10, "", "", "target.threads: -1: want 0 to 1024"},
	{"precision", withLine("measure: {precision: -0.1}"), 6, 11, "", "", "measure.precision: -0.1: out of range"},
	{"pue", withLine("carbon: {pue: 0.5}"), 6, 10, "", "", "carbon.pue"},
	{"zone", withLine("carbon: {zone: XYZ}"), 6, 10, "", "", "carbon.zone"},
	{"sparsity", withStage("prune: {sparsity: 50}"), 7, 17, "", "", "a fraction above 0 and below 1"},
	{"sparsity of pattern", withStage(`prune: {sparsity: 0.6, pattern: "2:4"}`), 7, 17, "", "", "pattern 2:4 has 0.5"},
	{"pattern", withStage(`prune: {sparsity: 0.5, pattern: blocks}`), 7, 32, "", "", "want unstructured"},
	{"op", withStage("quantize: {scheme: int8, ops: [Matmul]}"), 7, 34, "", "", "want some of MatMul"},
	{"granularity", withStage("quantize: {scheme: int8, granularity: tensor}"), 7, 34, "", "", "want per-channel"},
	{"fp16 with mode", withStage("quantize: {scheme: fp16, mode: dynamic}"), 7, 9, "", "", "takes storage and exclude only"},
	{"alpha", withStage("distill: {alpha: 1.5}"), 7, 19, "", "", "distill.alpha: 1.5: want 0 to 1"},
	{"student of nothing", withStage("distill: {student: {pooling: max}}"), 7, 19, "", "", "want either"},
	{"distill without labels", strings.Replace(small, "quantize: {scheme: fp16}", "distill: {epochs: 1}", 1), 5, 15, "", "", "needs a classification task"},
	{"gate", withLine("gates: {energy: \"<= 1\"}"), 6, 9, "energy", "energy_ratio", "no such gate"},
	{"gate typo", withLine("gates: {acuracy_drop: \"<= 1\"}"), 6, 9, "acuracy_drop", "accuracy_drop", "no such gate"},
	{"gate without limit", withLine("gates: {energy_ratio: 0.6}"), 6, 9, "", "", "does not start with"},
	{"gate of fidelity", withLine("gates: {fidelity: \">= 1\"}"), 6, 9, "fidelity", "accuracy", "no such gate; known are accuracy (the score; without labels the fidelity"},
	{"gate variants", withLine("gates: {variants: [hal]}"), 6, 9, "variants", "half", "no such variant; there are baseline, half"},
	{"gate variants alone", withLine("gates: {variants: [half]}"), 6, 9, "", "", "want a limit beside it"},
	{"gate variants as text", withLine("gates: {variants: v}"), 6, 9, "", "", "want a list of variants"},
	{"gate variants of lists", withLine("gates: {variants: [[v]]}"), 6, 19, "", "", "want a list of names"},
	{"gate as a list", withLine("gates: {size_ratio: [v]}"), 6, 9, "", "", "want a limit such as"},
	{"modelled", withLine("gates: {allow_modelled: \"yes\"}"), 6, 9, "", "", "want true or false"},
	{"state with texts", withLine("inputs: {tokenizer: t.json, state: {h: hn}}"), 6, 29, "", "", "arrays and random inputs"},
	{"random and tokenizer", withLine("inputs: {tokenizer: t.json, random: {n: 1}}"), 6, 1, "", "", "exclude each other"},
	{"inputs.text", withLine("task: {kind: fidelity, data: a.txt, text: a}\ninputs: {text: b}"), 7, 10, "", "", `task.text is "a"`},
}

// notRecipes are no recipes at all.
var notRecipes = []faultCase{
	{"anchor", withLine("target: &t {threads: 1}"), 6, 9, "", "", "anchors"},
	{"alias", withLine("target: &t {threads: 1}\ncarbon: *t"), 6, 9, "", "", "anchors"},
	{"merge", withLine("target: {<<: {threads: 1}}"), 6, 10, "", "", ""},
	{"tag", withLine("target: !!map {threads: 1}"), 6, 9, "", "", "tags"},
	{"two documents", small + "---\n" + small, 0, 0, "", "", "one document"},
	{"empty", "", 0, 0, "", "", "is empty"},
	{"comment", "# nothing\n", 0, 0, "", "", "is empty"},
	{"scalar", "hello", 1, 1, "", "", "want keys with values"},
	{"broken", "version: [1\n", 0, 0, "", "", "not YAML"},
	{"tabs", "version:\t1\n\tmodel: m\n", 0, 0, "", "", ""},
}

func TestParseFaults(t *testing.T) {
	for _, c := range slices.Concat(unknownKeys, wrongInputs, wrongTypes, wrongValues, notRecipes) {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.text)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(e.Error(), c.want) || !strings.HasPrefix(e.Error(), "r.yaml") {
				t.Errorf("error %q, want %q in it", e, c.want)
			}
			if c.line > 0 && (e.Line != c.line || c.column > 0 && e.Column != c.column) {
				t.Errorf("at %d:%d, want %d:%d (%v)", e.Line, e.Column, c.line, c.column, e)
			}
			if e.Key != c.key || e.Nearest != c.nearest {
				t.Errorf("key %q, nearest %q; want %q, %q", e.Key, e.Nearest, c.key, c.nearest)
			}
		})
	}
}

// TestParseBF16Graph checks that a stage that the target cannot run is refused before any work.
func TestParseBF16Graph(t *testing.T) {
	text := strings.Replace(small, "fp16", "bf16, storage: graph", 1)
	if _, err := parse(text); err != nil {
		t.Errorf("native: %v", err)
	}
	if _, err := parse(text + "target: {runtime: ort, provider: openvino}\n"); err != nil {
		t.Errorf("a provider by its name: %v", err)
	}
	if _, err := parse(text + "target: {runtime: ort, provider: cuda}\n"); err != nil {
		t.Errorf("cuda: %v", err)
	}
	if _, err := parse(text + "target: {runtime: ort}\n"); err == nil || !strings.Contains(err.Error(), "no bf16 kernels") {
		t.Errorf("ort/cpu: %v", err)
	}
}

// TestEveryKeyIsDecoded fills each key of the format and checks that no field stays zero.
func TestEveryKeyIsDecoded(t *testing.T) {
	const text = `version: 1
model: m
task: {kind: k, data: d, train: t, validation: v, text: x, label: l, limit: 1, labels: [a], threshold: 1}
inputs: {tokenizer: t, text: x, max_length: 1, pooling: p, output: o, random: {seed: 1, n: 1}, shapes: {x: [1, 2]}, state: {h: hn},
  npz: n, images: i, size: 1, resize: 1, fit: f, mean: [1], std: [1], layout: l, channels: c}
target: {runtime: r, provider: p, threads: 1, batch: 1, sequence: 1, exact: true, spinning: s, optimization: o, provider_options: {a: b}}
measure: {pairs: 1, precision: 1, max_seconds: 1, idle_seconds: 0.5, block_seconds: 1, max_pairs: 1, inputs: 1, seed: 1}
carbon: {zone: z, pue: 1, provider: p, embodied: true, wue: 1, ewif: 1, live: s}
variants:
  - name: n
    allow_noop: true
    stages:
      - prune: {criterion: c, sparsity: 1, pattern: p, ops: [a]}
        quantize: {scheme: s, storage: s, mode: m, granularity: g, ops: [a], method: m, percentile: 1, calibration: c, samples: 1, cache: c, format: f, target: t, exclude: [e], reduce_range: r, target_cpu: c, activations: a,
          smooth: 1, equalize: true, bias_correction: true, rounding: r, algorithm: a, group: 1, symmetric: true}
        distill: {teacher: t, student: {embedding: 1, hidden: 1, pooling: p, file: f}, epochs: 1, temperature: 1, alpha: 1, learning_rate: 1, batch: 1, seed: 1}
gates: {a: b, c: true}
search: {schemes: [{scheme: s, storage: s, mode: m, granularity: g, ops: [a], method: m, percentile: 1, calibration: c, samples: 1, cache: c, format: f, target: t, exclude: [e], reduce_range: r, target_cpu: c, activations: a, smooth: 1, equalize: true, bias_correction: true, rounding: r, algorithm: a, group: 1, symmetric: true}], max_seconds: 1, max_trials: 1, units: 1, samples: 1, keep: 1}
`
	r := &Recipe{}
	if _, err := decode([]byte(text), r); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch {
		case v.IsZero():
			t.Errorf("%s is not decoded", path)
		case v.Kind() == reflect.Pointer:
			walk(path, v.Elem())
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
			}
		case v.Kind() == reflect.Struct:
			for key, i := range keysOf(v.Type()) {
				walk(join(path, key), v.Field(i))
			}
		}
	}
	walk("", reflect.ValueOf(r).Elem())
}

// TestParseHostile gives the parser the worst that 64 KiB can hold; each answer must come, and soon: a bound of seconds
// only tells work that grows with a power of the size.
func TestParseHostile(t *testing.T) {
	const n = maxRecipe
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 20 {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", 'b'+i, 'b'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i)
	}
	inputs := map[string]string{"aliases": bomb, "too large": strings.Repeat("#", n+1), "indents": ""}
	for i := range 360 {
		inputs["indents"] += strings.Repeat(" ", i) + "a:\n"
	}
	for _, unit := range []string{"[", "{", "]", "}", "- ", "? ", ": ", "&a ", "*a ", "!!a ", "\"", "'", "#", "|", ">", "%", "@", "`", "\n", "\t", "\r", "a\n", "a: \n",
		"a: [\n", "- a\n", "-\n", "---\n", "...\n", "a, ", "\"a\" ", "\\", "\x00", "\xff", "a: b: ", "? a\n: ", "<<: ", "# c\n", " #", "a: |\n ", "\"\\", "1", "0x", "- - ", "{a: ", "[[]", "{}", "\u2028"} {
		inputs["repeated "+unit] = strings.Repeat(unit, n/len(unit))
		inputs["after a key: "+unit] = "variants: " + strings.Repeat(unit, (n-16)/len(unit))
	}
	for name, text := range inputs {
		start := time.Now()
		if _, err := parse(text); err == nil {
			t.Errorf("%q: no error", name)
		}
		if d := time.Since(start); d > time.Second {
			t.Logf("%q takes %v", name, d)
			if d > 60*time.Second {
				t.Errorf("%q takes %v", name, d)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"epochs", "seed", "student", "teacher"}
	for in, want := range map[string]string{"epoch": "epochs", "EPOCHS": "epochs", "sed": "seed", "studnet": "student", "wholly-other": "", "": ""} {
		if got := nearest(in, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"", "abc", 3}, {"run", "rnu", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func FuzzRecipe(f *testing.F) {
	f.Add(small)
	if b, err := fs.ReadFile(testdata.FS, "spam/demo.yaml"); err == nil {
		f.Add(string(b))
	}
	f.Add("version: 1\nmodel: m\ninputs: {random: {seed: 1}, shapes: {x: [1, 3]}, state: {h: hn}}\ngates: {size_ratio: \"<= 1%\"}\n")
	f.Add("a: &a [*a, *a]\n? {b: c}\n: !!x |\n  t\n<<: *a\n")
	f.Add("--- \n'a': \"\\u263a\"\n...\n---\n- - - 1e999\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxRecipe {
			return
		}
		r, err := parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason == "" {
				t.Errorf("error %#v", err)
			}
			return
		}
		if len(r.Variants) == 0 || r.Version != 1 {
			t.Errorf("accepted %+v", r)
		}
		for _, v := range r.Variants {
			for _, s := range v.Stages {
				st, err := s.stage()
				if err != nil {
					t.Fatal(err)
				}
				if len(st.Options()) == 0 {
					t.Errorf("stage %s has no options", st.Name())
				}
			}
		}
	})
}

// TestRecipesOfTheRepository parses every recipe that is committed.
func TestRecipesOfTheRepository(t *testing.T) {
	files, err := filepath.Glob("../../testdata/*/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(f, path, filepath.Dir(path)); err != nil {
			t.Error(err)
		}
		f.Close()
	}
}

// TestSeeds: a seed of 0 is 0, wherever a recipe has one; 1 where none is given.
func TestSeeds(t *testing.T) {
	const random = "version: 1\nmodel: m.onnx\ninputs: {random: {SEEDn: 4}}\nmeasure: {SEEDpairs: 3}\nvariants: [{name: a, stages: [{quantize: {scheme: fp16}}]}]\n"
	const trained = "version: 1\nmodel: m.onnx\ntask: {kind: classification, data: a.jsonl, train: b.jsonl}\nvariants: [{name: a, stages: [{distill: {SEEDepochs: 1}}]}]\n"
	for given, want := range map[string]uint64{"": 1, "seed: 0, ": 0, "seed: 7, ": 7} {
		r, err := parse(strings.ReplaceAll(random, "SEED", given))
		if err != nil {
			t.Fatal(err)
		}
		if a, b := seedOf(r.Inputs.Random.Seed), seedOf(r.Measure.Seed); a != want || b != want {
			t.Errorf("%q: seeds %d of inputs and %d of measurements, want %d", given, a, b, want)
		}
		if r, err = parse(strings.ReplaceAll(trained, "SEED", given)); err != nil {
			t.Fatal(err)
		}
		if got := r.Variants[0].Stages[0].Distill.Options()["seed"]; got != want {
			t.Errorf("%q: seed %v of the training, want %d", given, got, want)
		}
	}
}
