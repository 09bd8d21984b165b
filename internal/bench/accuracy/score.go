package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/wattshed/wattshed/measure"
)

// scored is a way to score the models of a source.
type scored struct {
	name, metric string
	model        *source
	about        string             // of the data: scores of other data are not reused
	limit        float64            // that a variant may lose
	limits       map[string]float64 // of single variants, by name
	only         *regexp.Regexp     // variants that are scored; nil = all
	outcomes     func(ctx context.Context, runtime, path string) ([]float64, error)
	value        func(x []float64) (float64, measure.Interval)
	less         func(base, x []float64) (float64, measure.Interval, error)
}

// row is a line of the table.
type row struct {
	task, metric, variant, by, runtime string
	bytes, first                       int64
	value, less, limit                 float64
	ci, lessCI                         measure.Interval
	n                                  int
	base                               bool
	failed                             string // why there is no score
}

// kept are the outcomes of a model as they are kept in a file.
type kept struct {
	Model, About string
	Outcomes     []float64
	Failed       string `json:",omitempty"`
}

// rows makes and scores everything of a task in both runtimes.
func (l *lab) rows(ctx context.Context, t *scored) ([]row, error) {
	var out []row
	first, _, err := sizeOf(t.model.path)
	if err != nil {
		return nil, err
	}
	for _, runtime := range []string{"native", "ort"} {
		base, err := l.score(ctx, t, runtime, t.model.path, "fp32")
		if err != nil {
			return out, err
		}
		if base.Failed != "" {
			return out, errors.New(base.Failed)
		}
		v, ci := t.value(base.Outcomes)
		out = append(out, row{task: t.name, metric: t.metric, variant: "fp32", by: "-", runtime: runtime, bytes: first, first: first, value: v, ci: ci, n: len(base.Outcomes), base: true})
		for _, w := range t.model.variants {
			if w.stage == nil && l.python == "" || t.only != nil && !t.only.MatchString(w.name) {
				continue
			}
			path, err := l.make(ctx, t.model, w)
			if errors.Is(err, errDeadline) || ctx.Err() != nil {
				return out, err
			}
			r := row{task: t.name, metric: t.metric, variant: w.name, by: w.by(), runtime: runtime, first: first, limit: t.limit, n: len(base.Outcomes)}
			if limit, ok := t.limits[w.name]; ok {
				r.limit = limit
			}
			if err != nil {
				if w.stage != nil {
					return out, err // ours must be there
				}
				r.failed = err.Error()
				out = append(out, r)
				continue
			}
			if r.bytes, _, err = sizeOf(path); err != nil {
				return out, err
			}
			got, err := l.score(ctx, t, runtime, path, w.name+"-"+w.by())
			if err != nil {
				return out, err
			}
			if r.failed = got.Failed; r.failed == "" {
				r.value, r.ci = t.value(got.Outcomes)
				if r.less, r.lessCI, err = t.less(base.Outcomes, got.Outcomes); err != nil {
					return out, err
				}
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// score scores one model, or takes the outcomes that an earlier run kept. What a runtime cannot run is a score that failed.
func (l *lab) score(ctx context.Context, t *scored, runtime, path, name string) (kept, error) {
	_, sum, err := sizeOf(path)
	if err != nil {
		return kept{}, err
	}
	file := filepath.Join(l.work, "scores", fmt.Sprintf("%s.%s.%s.json", t.name, name, runtime))
	var k kept
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &k) == nil && k.Model == sum && k.About == t.about {
		return k, nil
	}
	if l.late() {
		return k, errDeadline
	}
	fmt.Fprintf(l.log, "accuracy: %s: scoring %s in %s\n", t.name, name, runtime)
	k = kept{Model: sum, About: t.about}
	if k.Outcomes, err = t.outcomes(ctx, runtime, path); ctx.Err() != nil {
		return k, ctx.Err()
	} else if err != nil {
		k.Failed = err.Error()
	}
	b, err := json.Marshal(k)
	if err != nil {
		return k, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return k, err
	}
	return k, os.WriteFile(file, b, 0o666)
}

func mean(x []float64) (sum float64) {
	for _, v := range x {
		sum += v / float64(len(x))
	}
	return sum
}

func rights(x []float64) ([]bool, int) {
	out, n := make([]bool, len(x)), 0
	for i, v := range x {
		if out[i] = v > 0.5; out[i] {
			n++
		}
	}
	return out, n
}

// proportion is the share of right answers with Wilson's interval.
func proportion(x []float64) (float64, measure.Interval) {
	_, n := rights(x)
	return float64(n) / float64(len(x)), measure.Wilson(n, len(x))
}

// paired is the difference of two shares of right answers on the same examples.
func paired(base, x []float64) (float64, measure.Interval, error) {
	a, _ := rights(base)
	b, _ := rights(x)
	d, err := measure.AccuracyDelta(a, b)
	return d.Value, d.CI95, err
}

// agreed is the share of decisions that are the baseline's, less 1.
func agreed(_, x []float64) (float64, measure.Interval, error) {
	v, ci := proportion(x)
	return v - 1, measure.Interval{Lo: ci.Lo - 1, Hi: ci.Hi - 1}, nil
}

// table prints the rows, then what failed and what the numbers of GPTQ and AWQ close of the loss of rounding to nearest.
func table(w io.Writer, rows []row) error {
	fmt.Fprintln(w, "| task | n | model | made by | runtime | size | score [95 %] | minus fp32 [95 %] | within |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	var notes []string
	for _, r := range rows {
		size := fmt.Sprintf("%.3f", float64(r.bytes)/float64(r.first))
		if r.failed != "" {
			fmt.Fprintf(w, "| %s | %d | %s | %s | %s | | fails | | |\n", r.task, r.n, r.variant, r.by, r.runtime)
			notes = append(notes, fmt.Sprintf("%s, %s of %s in %s: %.300s", r.task, r.variant, r.by, r.runtime, strings.Join(strings.Fields(r.failed), " ")))
			continue
		}
		line := fmt.Sprintf("| %s | %d | %s | %s | %s | %s | %s %.4f [%.4f, %.4f] |", r.task, r.n, r.variant, r.by, r.runtime, size, r.metric, r.value, r.ci.Lo, r.ci.Hi)
		switch {
		case r.base:
			line += " | |"
		case math.IsInf(r.limit, 1) || r.limit == 0:
			line += fmt.Sprintf(" %+.4f [%+.4f, %+.4f] | |", r.less, r.lessCI.Lo, r.lessCI.Hi)
		default:
			word := "yes"
			if r.less < -r.limit {
				word = "NO"
			}
			line += fmt.Sprintf(" %+.4f [%+.4f, %+.4f] | %.3f: %s |", r.less, r.lessCI.Lo, r.lessCI.Hi, r.limit, word)
		}
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	for _, n := range notes {
		fmt.Fprintf(w, "- %s\n", n)
	}
	for _, n := range closed(rows) {
		fmt.Fprintf(w, "- %s\n", n)
	}
	return nil
}

// closed says, once for a task and a runtime, what of the loss of rounding to nearest the other algorithms win back: of the cosine
// distance, or of the score, where rounding loses any that can be told from 0.
func closed(rows []row) (notes []string) {
	type place struct{ task, runtime string }
	lost := map[place]map[string]row{}
	var order []place
	for _, r := range rows {
		if at := (place{r.task, r.runtime}); r.by == "wattshed" && r.failed == "" && strings.HasPrefix(r.variant, "int4-") && (r.task == "cosine" || r.task == "sts") {
			if lost[at] == nil {
				lost[at] = map[string]row{}
				order = append(order, at)
			}
			lost[at][r.variant] = r
		}
	}
	for _, at := range order {
		of := map[string]string{"cosine": "the cosine distance", "sts": "Spearman's correlation"}[at.task]
		rtn, ok := lost[at]["int4-rtn"]
		switch {
		case !ok:
			continue
		case at.task == "sts" && rtn.lessCI.Hi >= 0:
			notes = append(notes, fmt.Sprintf("int4-rtn loses nothing of %s that could be told from 0 (%s), so that there is nothing to close", of, at.runtime))
			continue
		}
		loss := func(r row) float64 {
			if at.task == "cosine" {
				return 1 - r.value
			}
			return -r.less
		}
		for _, v := range []string{"int4-gptq", "int4-awq", "int4-hqq"} {
			if r, ok := lost[at][v]; ok && loss(rtn) > 0 {
				notes = append(notes, fmt.Sprintf("%s closes %.0f %% of what int4-rtn loses of %s (%s)", v, 100*(1-loss(r)/loss(rtn)), of, at.runtime))
			}
		}
	}
	return notes
}
