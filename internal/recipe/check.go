package recipe

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/reports"
)

var variantName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// check fills in the defaults and refuses values that make no sense.
func (r *Recipe) check() error {
	if r.Version != 1 {
		return fmt.Errorf("version: %d: want 1", r.Version)
	}
	if r.Model == "" {
		return fmt.Errorf("model: missing")
	}
	if len(r.Variants) == 0 {
		return fmt.Errorf("variants: none")
	}
	seen := map[string]bool{"baseline": true}
	for i, v := range r.Variants {
		if !variantName.MatchString(v.Name) {
			return fmt.Errorf("variants[%d].name: %q: want letters, digits, . _ + - (64 at most), the first a letter or digit", i, v.Name)
		}
		if seen[strings.ToLower(v.Name)] {
			return fmt.Errorf("variants[%d].name: %q is taken", i, v.Name)
		}
		seen[strings.ToLower(v.Name)] = true
		if len(v.Stages) == 0 {
			return fmt.Errorf("variant %q: no stages", v.Name)
		}
		for j, s := range v.Stages {
			st, err := s.stage()
			if err == nil {
				err = st.check()
			}
			if err != nil {
				return fmt.Errorf("variant %q, stage %d: %w", v.Name, j+1, err)
			}
		}
	}
	for _, f := range []func() error{r.checkTarget, r.checkMeasure, r.checkTask, r.checkInputs, r.checkGates} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recipe) checkTarget() error {
	t := &r.Target
	if t.Runtime == "" {
		t.Runtime = "native"
	}
	if !slices.Contains([]string{"native", "ort"}, t.Runtime) {
		return fmt.Errorf("target.runtime: %q: want native or ort", t.Runtime)
	}
	if t.Provider == "" {
		t.Provider = "cpu"
	}
	if t.Runtime == "native" && t.Provider != "cpu" {
		return fmt.Errorf("target.provider: %q: the native runtime has cpu only", t.Provider)
	}
	if t.Batch == 0 {
		t.Batch = 1
	}
	if t.Threads < 0 || t.Threads > 1024 || t.Batch < 0 || t.Batch > 1<<16 || t.Sequence < 0 || t.Sequence > 1<<20 {
		return fmt.Errorf("target: threads %d, batch %d, sequence %d: out of range", t.Threads, t.Batch, t.Sequence)
	}
	return nil
}

func (r *Recipe) checkMeasure() error {
	m := &r.Measure
	for name, v := range map[string]float64{"precision": m.Precision, "max_seconds": m.MaxSeconds, "idle_seconds": m.IdleSeconds, "block_seconds": m.BlockSeconds} {
		if math.IsNaN(v) || v < 0 || v > 1e6 {
			return fmt.Errorf("measure.%s: %v: out of range", name, v)
		}
	}
	if m.Pairs < 0 || m.Pairs > 100000 || m.Inputs < 0 {
		return fmt.Errorf("measure.pairs: %d: out of range", m.Pairs)
	}
	setDefault(&m.Pairs, 10)
	setDefault(&m.Precision, 0.02)
	setDefault(&m.MaxSeconds, 120)
	setDefault(&m.BlockSeconds, 1)
	setDefault(&m.Inputs, 16)
	setDefault(&m.Seed, 1)
	if r.Carbon.Zone == "" {
		r.Carbon.Zone = "World"
	}
	if p := r.Carbon.PUE; p != nil && !(*p >= 1 && *p <= 10) {
		return fmt.Errorf("carbon.pue: %v: want 1 or more", *p)
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
		if t.Data == "" {
			return fmt.Errorf("task.data: missing")
		}
	case "fidelity":
	default:
		return fmt.Errorf("task.kind: %q: want classification or fidelity", t.Kind)
	}
	setDefault(&t.Text, "text")
	if t.Kind == "classification" {
		setDefault(&t.Label, "label")
	}
	if t.Limit < 0 {
		return fmt.Errorf("task.limit: %d: negative", t.Limit)
	}
	return nil
}

func (r *Recipe) checkInputs() error {
	in := &r.Inputs
	if in.Pooling != "" && in.Pooling != "mean" && in.Pooling != "none" {
		return fmt.Errorf("inputs.pooling: %q: want mean or none", in.Pooling)
	}
	if in.MaxLength < 0 || in.MaxLength > 1<<20 {
		return fmt.Errorf("inputs.max_length: %d: out of range", in.MaxLength)
	}
	if in.Random != nil {
		if in.Tokenizer != "" {
			return fmt.Errorf("inputs: tokenizer and random exclude each other")
		}
		if r.Task != nil && r.Task.Kind == "classification" {
			return fmt.Errorf("inputs.random: random inputs have no labels to classify")
		}
		setDefault(&in.Random.N, 64)
		setDefault(&in.Random.Seed, 1)
		if in.Random.N < 1 || in.Random.N > 1<<20 {
			return fmt.Errorf("inputs.random.n: %d: out of range", in.Random.N)
		}
	}
	for name, shape := range in.Shapes {
		for _, d := range shape {
			if d < 0 || d > 1<<30 {
				return fmt.Errorf("inputs.shapes.%s: %v: out of range", name, shape)
			}
		}
	}
	return nil
}

func (r *Recipe) checkGates() error {
	exprs := map[string]string{}
	allow := false
	for k, v := range r.Gates {
		switch x := v.(type) {
		case string:
			exprs[k] = x
		case bool:
			if k != "allow_modelled" {
				return fmt.Errorf("gates.%s: %v: want a limit such as \"<= 0.6\"", k, v)
			}
			allow = x
		default:
			return fmt.Errorf("gates.%s: %v: want a limit such as \"<= 0.6\"", k, v)
		}
	}
	g, err := reports.ParseGates(exprs, allow)
	if err != nil {
		return err
	}
	r.Judged = g
	return nil
}
