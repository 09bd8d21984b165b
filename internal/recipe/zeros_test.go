package recipe

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestZeros: a zero that is given where there must be some of a thing is refused at its place, and is not taken for a key that was not given; where it
// says something it is taken. Between them the two lists have every number of the format that has a default.
func TestZeros(t *testing.T) {
	refused := map[string]string{
		"target.batch": "target: {batch: 0}", "inputs.max_length": "inputs: {max_length: 0}", "inputs.size": "inputs: {size: 0}", "inputs.resize": "inputs: {resize: 0}",
		"inputs.random.n": "inputs: {random: {n: 0}}", "measure.pairs": "measure: {pairs: 0}", "measure.precision": "measure: {precision: 0.0}", "measure.max_seconds": "measure: {max_seconds: 0}",
		"measure.block_seconds": "measure: {block_seconds: 0}", "measure.inputs": "measure: {inputs: 0}", "search.max_seconds": "search: {max_seconds: 0}", "search.max_trials": "search: {max_trials: 0}",
		"search.units": "search: {units: 0}", "search.samples": "search: {samples: 0}", "search.keep": "search: {keep: 0}",
		"quantize.percentile": "quantize: {scheme: int8, percentile: 0}", "quantize.samples": "quantize: {scheme: int8, samples: 0}", "quantize.group": "quantize: {scheme: int4, group: 0}",
		"distill.epochs": "distill: {epochs: 0}", "distill.temperature": "distill: {temperature: 0}", "distill.learning_rate": "distill: {learning_rate: 0.0}", "distill.batch": "distill: {batch: 0}",
		"distill.student.embedding": "distill: {student: {embedding: 0, hidden: 8}}", "distill.student.hidden": "distill: {student: {embedding: 8, hidden: 0}}",
	}
	taken := map[string]string{
		"target.threads": "target: {threads: 0}", "target.sequence": "target: {sequence: 0}", "measure.max_pairs": "measure: {max_pairs: 0}", "measure.idle_seconds": "measure: {idle_seconds: 0}",
		"task.limit": "task: {kind: classification, data: a.jsonl, limit: 0}", "task.threshold": "task: {kind: classification, data: a.jsonl, threshold: 0}",
		"inputs.random.seed": "inputs: {random: {seed: 0}}", "measure.seed": "measure: {seed: 0}", "carbon.wue": "carbon: {zone: DEU, wue: 0, ewif: 1}", "carbon.ewif": "carbon: {zone: DEU, wue: 1, ewif: 0}",
		"distill.alpha": "distill: {alpha: 0}", "distill.seed": "distill: {seed: 0}", "quantize.smooth": "quantize: {scheme: int8-static, calibration: random, smooth: 0}",
	}
	file := func(path, line string) string {
		if strings.HasPrefix(path, "quantize.") || strings.HasPrefix(path, "distill.") {
			return withStage(line)
		}
		return withLine(line)
	}
	for path, line := range refused {
		_, err := parse(file(path, line))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Reason, path+": 0: want more than 0") || e.Line < 6 {
			t.Errorf("%s: %v", line, err)
		}
		key := path[strings.LastIndexByte(path, '.')+1:]
		if !slices.Contains(counts, key) {
			t.Errorf("%s is refused and not in the list", path)
		}
	}
	for path, line := range taken {
		if _, err := parse(file(path, line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	var walk func(of reflect.Type, path string)
	walk = func(of reflect.Type, path string) {
		switch of.Kind() {
		case reflect.Pointer:
			walk(of.Elem(), path)
		case reflect.Slice:
			if of.Elem().Kind() == reflect.Struct {
				walk(of.Elem(), path)
			}
		case reflect.Struct:
			for i := range of.NumField() {
				f := of.Field(i)
				if key := f.Tag.Get("yaml"); key != "" && key != "-" {
					sub := strings.TrimPrefix(path+"."+key, ".")
					for _, stages := range []string{"variants.stages.", "search.schemes."} {
						sub = strings.Replace(sub, stages, map[string]string{"variants.stages.": "", "search.schemes.": "quantize."}[stages], 1)
					}
					of := f.Type
					if of.Kind() == reflect.Pointer {
						of = of.Elem()
					}
					if k := of.Kind(); k >= reflect.Int && k <= reflect.Float64 {
						if refused[sub] == "" && taken[sub] == "" && sub != "version" && sub != "prune.sparsity" && sub != "carbon.pue" { // which have no default, or a least value above 0
							t.Errorf("%s: what does a zero say?", sub)
						}
						continue
					}
					walk(f.Type, sub)
				}
			}
		}
	}
	walk(reflect.TypeFor[Recipe](), "")
}
