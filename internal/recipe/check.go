package recipe

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/measure/carbon"
	"github.com/wattshed/wattshed/reports"
)

var variantName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// check fills in the defaults and refuses values that make no sense. Its errors are faults.
func (r *Recipe) check() error {
	if r.Version != 1 {
		return faultf("version", "%d: want 1", r.Version)
	}
	if r.Model == "" {
		return faultf("model", "missing")
	}
	for _, f := range []func() error{r.checkTarget, r.checkMeasure, r.checkCarbon, r.checkTask, r.checkInputs, r.checkVariants, r.checkGates, r.checkSearch} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// maxVariants is the most variants of one run.
const maxVariants = 200

func (r *Recipe) checkVariants() error {
	if len(r.Variants) == 0 && r.Search == nil {
		return faultf("variants", "none")
	}
	if len(r.Variants) > maxVariants {
		return faultf("variants", "%d: at most %d", len(r.Variants), maxVariants)
	}
	seen := map[string]bool{"baseline": true}
	for i, v := range r.Variants {
		at := fmt.Sprintf("variants[%d]", i)
		if !variantName.MatchString(v.Name) {
			return faultf(at+".name", "%.80q: want letters, digits, . _ + - (64 at most), the first a letter or digit", v.Name)
		}
		if seen[strings.ToLower(v.Name)] {
			return faultf(at+".name", "%q is taken", v.Name)
		}
		seen[strings.ToLower(v.Name)] = true
		if len(v.Stages) == 0 {
			return faultf(at+".stages", "variant %q has none", v.Name)
		}
		for j, s := range v.Stages {
			st, err := s.stage()
			if err == nil {
				err = st.check()
			}
			if err == nil {
				err = r.fits(st)
			}
			if err != nil {
				return under(fmt.Sprintf("%s.stages[%d]", at, j), err)
			}
		}
	}
	return nil
}

// fits refuses stages that the recipe's target or task cannot carry, before any work is done.
func (r *Recipe) fits(st Stage) error {
	switch st := st.(type) {
	case *Quantize:
		if st.Scheme == "bf16" && st.Storage == "graph" && r.Target.Runtime == "ort" && r.Target.Provider == "cpu" {
			return faultf("quantize.storage", "%s", bf16OnCPU)
		}
	case *Distill:
		if r.Task == nil || r.Task.Kind != "classification" {
			return faultf("distill", "needs a classification task: there are no labels to train on")
		}
	}
	return nil
}

// providers are the execution providers that ONNX Runtime can be built with (onnxruntime_c_api.h and its get_execution_providers.cc), in lower case.
// Which of them a library has it says itself when a model is loaded.
const providers = "cpu cuda tensorrt webgpu acl armnn azure cann coreml dml dnnl js migraphx nnapi nvtensorrtrtx openvino qnn rknpu vitisai vsinpu webnn xnnpack"

func (r *Recipe) checkTarget() error {
	t := &r.Target
	if t.Runtime == "" {
		t.Runtime = "native"
	}
	if !slices.Contains([]string{"native", "ort"}, t.Runtime) {
		return faultf("target.runtime", "%q: want native or ort", t.Runtime)
	}
	if t.Provider == "" {
		t.Provider = "cpu"
	}
	if t.Runtime == "native" && t.Provider != "cpu" {
		return faultf("target.provider", "%q: the native runtime has cpu only", t.Provider)
	}
	if !slices.Contains(strings.Fields(providers), t.Provider) {
		return faultf("target.provider", "%q: want cpu, cuda, tensorrt, webgpu or another of ONNX Runtime's", t.Provider)
	}
	if !slices.Contains([]string{"", "on", "off"}, t.Spinning) {
		return faultf("target.spinning", "%q: want on or off", t.Spinning)
	}
	if !slices.Contains([]string{"", "none", "basic", "extended", "all"}, t.Optimization) {
		return faultf("target.optimization", "%q: want none, basic, extended or all", t.Optimization)
	}
	if t.Runtime == "native" && t.Optimization != "" {
		return faultf("target.optimization", "%q: of ort only", t.Optimization)
	}
	if t.Provider == "cpu" && len(t.ProviderOptions) > 0 {
		return faultf("target.provider_options", "the provider cpu has none")
	}
	if t.Runtime != "native" && t.Exact {
		return faultf("target.exact", "of the native runtime only")
	}
	if t.Batch == 0 {
		t.Batch = 1
	}
	for _, c := range []struct {
		name       string
		value, max int
	}{{"threads", t.Threads, 1024}, {"batch", t.Batch, 1 << 16}, {"sequence", t.Sequence, maxSequence}} {
		if c.value < 0 || c.value > c.max {
			return faultf("target."+c.name, "%d: want 0 to %d", c.value, c.max)
		}
	}
	return nil
}

func (r *Recipe) checkMeasure() error {
	m := &r.Measure
	for name, v := range map[string]float64{"precision": m.Precision, "max_seconds": m.MaxSeconds, "idle_seconds": m.IdleSeconds, "block_seconds": m.BlockSeconds} {
		if math.IsNaN(v) || v < 0 || v > 1e6 {
			return faultf("measure."+name, "%v: out of range", v)
		}
	}
	for name, v := range map[string]int{"pairs": m.Pairs, "max_pairs": m.MaxPairs, "inputs": m.Inputs} {
		if v < 0 || v > 100000 {
			return faultf("measure."+name, "%d: out of range", v)
		}
	}
	setDefault(&m.Pairs, 10)
	setDefault(&m.Precision, 0.02)
	setDefault(&m.MaxSeconds, 120)
	setDefault(&m.BlockSeconds, 1)
	setDefault(&m.Inputs, 16)
	setDefault(&m.Seed, new(seedOf(nil)))
	return nil
}

func (r *Recipe) checkCarbon() error {
	if r.Carbon.Zone == "" {
		r.Carbon.Zone, r.Carbon.assumed = "World", true
	}
	if len(r.Carbon.Zone) > 80 {
		return faultf("carbon.zone", "%.20q...: no zone has such a name", r.Carbon.Zone)
	}
	if _, err := carbon.Zone(r.Carbon.Zone, 0, true); err != nil {
		return faultf("carbon.zone", "%v", err)
	}
	if r.Carbon.Live != "" {
		if _, _, err := carbon.ParseLive(r.Carbon.Live); err != nil {
			return faultf("carbon.live", "%v", err)
		}
	}
	if p := r.Carbon.PUE; p != nil && !(*p >= 1 && *p <= 10) {
		return faultf("carbon.pue", "%v: want 1 or more", *p)
	}
	if p := r.Carbon.Provider; p != "" {
		if r.Carbon.PUE != nil {
			return faultf("carbon.provider", "%q: carbon.pue is given already", p)
		}
		if _, err := carbon.ProviderPUE(p, "", 0); err != nil {
			return faultf("carbon.provider", "%v", err)
		}
	}
	for _, w := range []struct {
		key string
		v   *float64
	}{{"carbon.wue", r.Carbon.WUE}, {"carbon.ewif", r.Carbon.EWIF}} {
		if w.v != nil && !(*w.v >= 0 && *w.v <= 1000) {
			return faultf(w.key, "%v: want litres per kWh", *w.v)
		}
	}
	if (r.Carbon.WUE == nil) != (r.Carbon.EWIF == nil) {
		return faultf("carbon.wue", "water needs both wue and ewif")
	}
	return nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (r *Recipe) checkTask() error {
	t := r.Task
	if t == nil {
		return nil
	}
	switch t.Kind {
	case "classification":
		if t.Data == "" && r.Inputs.NPZ == "" && r.Inputs.Images == "" {
			return faultf("task.data", "missing")
		}
	case "fidelity", "agreement":
	default:
		return faultf("task.kind", "%q: want classification, fidelity or agreement", t.Kind)
	}
	if t.Data != "" && r.Inputs.NPZ != "" {
		return faultf("task.data", "inputs.npz has the examples, and the labels in an array that task.label names")
	}
	if t.Labels != nil && t.Kind != "classification" {
		return faultf("task.labels", "only a classification has them")
	}
	for i, l := range t.Labels {
		if slices.Contains(t.Labels[:i], l) {
			return faultf("task.labels", "%.80q is there twice", l)
		}
	}
	if t.Threshold != 0 && t.Kind == "fidelity" {
		return faultf("task.threshold", "fidelity has none")
	}
	if in := r.Inputs.Text; in != "" && t.Data != "" {
		if t.Text != "" && t.Text != in {
			return faultf("inputs.text", "%q: task.text is %q", in, t.Text)
		}
		t.Text = in
	}
	if r.Inputs.Images != "" {
		setDefault(&t.Text, "image")
	}
	setDefault(&t.Text, "text")
	if t.Kind == "classification" {
		setDefault(&t.Label, "label")
	}
	if t.Limit < 0 {
		return faultf("task.limit", "%d: negative", t.Limit)
	}
	return nil
}

func (r *Recipe) checkInputs() error {
	in := &r.Inputs
	if in.Pooling != "" && in.Pooling != "mean" && in.Pooling != "none" {
		return faultf("inputs.pooling", "%q: want mean or none", in.Pooling)
	}
	if in.MaxLength < 0 || in.MaxLength > 1<<20 {
		return faultf("inputs.max_length", "%d: out of range", in.MaxLength)
	}
	if err := in.checkForm(); err != nil {
		return err
	}
	if in.Random != nil {
		if r.Task != nil && r.Task.Kind == "classification" {
			return faultf("inputs.random", "random inputs have no labels to classify")
		}
		setDefault(&in.Random.N, 64)
		setDefault(&in.Random.Seed, new(seedOf(nil)))
		if in.Random.N < 1 || in.Random.N > 1<<20 {
			return faultf("inputs.random.n", "%d: out of range", in.Random.N)
		}
	}
	if len(in.State) > 0 && in.Tokenizer != "" {
		return faultf("inputs.state", "goes with arrays and random inputs, not with texts")
	}
	if err := in.checkImages(); err != nil {
		return err
	}
	for name, shape := range in.Shapes {
		for _, d := range shape {
			if d < 0 || d > 1<<30 {
				return faultf("inputs.shapes."+name, "%v: out of range", shape)
			}
		}
	}
	return nil
}

// allowModelled lets modelled energy decide; it and gateVariants are the keys of gates that are no limits.
const allowModelled = "allow_modelled"

// gateVariants names the variants that must all pass.
const gateVariants = "variants"

func (r *Recipe) checkGates() error {
	exprs := map[string]string{}
	allow := false
	var named []string
	var err error
	for _, k := range slices.Sorted(maps.Keys(r.Gates)) {
		v := r.Gates[k]
		text, isText := v.(string)
		yes, isBool := v.(bool)
		switch {
		case k == allowModelled && isBool:
			allow = yes
			continue
		case k == allowModelled:
			return faultf("gates."+k, "%v: want true or false", v)
		case k == gateVariants:
			if named, err = r.namedVariants(v); err != nil {
				return err
			}
			continue
		case !slices.Contains(reports.GateKeys(), k):
			return &fault{path: "gates." + k, reason: "no such gate; known are " + reports.GateWords(", "), word: k, nearest: nearestGate(k)}
		case !isText:
			return faultf("gates."+k, "%v: want a limit such as \"<= 0.6\"", v)
		}
		if _, err := reports.ParseGate(k, text); err != nil {
			return faultf("gates."+k, "%s", strings.TrimPrefix(err.Error(), "gates: "+k+": "))
		}
		exprs[k] = text
	}
	g, err := reports.ParseGates(exprs, allow)
	if err != nil {
		return under("gates", err)
	}
	if g.Variants = named; named != nil && len(g.Rules) == 0 {
		return faultf("gates."+gateVariants, "%v: want a limit beside it, such as size_ratio: \"<= 0.5\"", named)
	}
	r.Judged = g
	return nil
}

// namedVariants reads the variants that gates name: each must be one of the recipe, or the baseline.
func (r *Recipe) namedVariants(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, faultf("gates."+gateVariants, "%v: want a list of variants, such as [int8]", v)
	}
	known := []string{"baseline"}
	for _, x := range r.Variants {
		known = append(known, x.Name)
	}
	var out []string
	for _, x := range list {
		name, _ := x.(string)
		if !slices.Contains(known, name) {
			return nil, &fault{path: "gates." + gateVariants, reason: fmt.Sprintf("%v: no such variant; there are %s", x, strings.Join(known, ", ")), word: gateVariants, nearest: nearest(name, known)}
		}
		out = append(out, name)
	}
	return out, nil
}

// nearestGate is the gate that k most likely stands for: of a figure alone the ratio of it.
func nearestGate(k string) string {
	if key := reports.GateFor(k); key != "" {
		return key
	}
	known := append(reports.GateKeys(), allowModelled, gateVariants)
	if ratio := k + "_ratio"; slices.Contains(known, ratio) {
		return ratio
	}
	return nearest(k, known)
}

// seedOf is a seed as it was given, 0 included, and 1 where none was.
func seedOf(given *uint64) uint64 {
	if given == nil {
		return 1
	}
	return *given
}
