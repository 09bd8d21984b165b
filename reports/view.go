package reports

import (
	"fmt"
	"slices"
	"strings"
)

// view is a result in words, made once and laid out by the page and by Markdown. Its strings are
// plain text: each renderer escapes them.
type view struct {
	Title    string
	Subtitle string
	Gained   []string
	Lost     []string
	Trust    []string
	Columns  []string
	Rows     []viewRow
	Sections []section
	Missing  []string // plots that were not drawn, with the reason
}

// viewRow is one variant in the first table.
type viewRow struct {
	Name     string
	Short    string // Name, cut in its middle where it is long
	Baseline bool
	Cells    []viewCell // as Columns without the first
	Sentence string
}

// viewCell is one figure: the value, its detail, and what it means against the baseline in a word.
// Tone is better, worse, same or empty and only repeats Word in colour.
type viewCell struct {
	Main, Sub, Word, Tone string
	Label                 string // of the column
}

// Absent tells whether the figure is missing.
func (c viewCell) Absent() bool { return c.Main == absent }

// Verdict tells whether this is the cell of the verdict.
func (c viewCell) Verdict() bool { return c.Label == "Verdict" }

// section is one table further down, collapsed where it is long.
type section struct {
	Title     string
	Intro     string
	Head      []string
	Rows      [][]string
	Notes     []string
	Collapsed bool
}

// Wide tables keep a width of their own and scroll on a narrow screen.
func (s section) Wide() bool { return len(s.Head) > 4 }

// Pairs is a table of names and values without a head.
func (s section) Pairs() bool { return len(s.Head) == 2 && s.Head[0] == "" }

// trim leaves out the columns that are empty in every row.
func (s section) trim() section {
	if s.Pairs() {
		return s
	}
	var keep []int
	for k := range s.Head {
		if slices.ContainsFunc(s.Rows, func(row []string) bool { return row[k] != "" }) {
			keep = append(keep, k)
		}
	}
	pick := func(row []string) []string {
		var out []string
		for _, k := range keep {
			out = append(out, row[k])
		}
		return out
	}
	for i := range s.Rows {
		s.Rows[i] = pick(s.Rows[i])
	}
	s.Head = pick(s.Head)
	return s
}

const (
	absent    = "not measured"
	noChange  = "no change shown" // the interval holds no change
	tooFew    = "too few pairs"   // to decide anything
	undecided = "undecided"       // the 95 % interval does not hold 1, the one that decides does, or Holm takes the claim back
)

func join(parts ...string) string { return strings.Join(nonEmpty(parts...), " · ") }

func newView(r *Result) view {
	v := view{Columns: []string{"Variant", "Size", scoreName(r), "Latency", "Energy", "Carbon", "Memory", "Verdict"}}
	v.Title, v.Subtitle = titles(r)
	for i := range r.Variants {
		row := newRow(r, i)
		for k := range row.Cells {
			row.Cells[k].Label = v.Columns[k+1]
		}
		v.Rows = append(v.Rows, row)
	}
	v.Gained, v.Lost, v.Trust = headlines(r)
	v.Sections = sections(r)
	for _, p := range Plots(r) {
		if p.Missing != "" && p.Name != "energy-by-op" {
			v.Missing = append(v.Missing, p.Title+": "+p.Missing+".")
		}
	}
	return v
}

func titles(r *Result) (title, sub string) {
	name := "model"
	switch {
	case r.Model != nil && r.Model.Name != "":
		name = plain(r.Model.Name)
	case r.Model != nil && r.Model.Path != "":
		name = plain(r.Model.Path)
	}
	title = name + ": before and after"
	var parts []string
	switch n := len(r.Variants) - 1; {
	case n == 1:
		parts = append(parts, "1 variant against the baseline")
	case n > 1:
		parts = append(parts, fmt.Sprintf("%d variants against the baseline", n))
	case n == 0:
		parts = append(parts, "the baseline alone")
	default:
		parts = append(parts, "no variants")
	}
	if t := r.Target; t != nil {
		s := "runtime " + plain(t.Runtime)
		if t.Provider != "" {
			s += "/" + plain(t.Provider)
		}
		if t.Threads > 0 {
			s += fmt.Sprintf(", %d threads", t.Threads)
		}
		if t.Batch > 0 {
			s += fmt.Sprintf(", batch %d", t.Batch)
		}
		if t.Sequence > 0 {
			s += fmt.Sprintf(", sequence %d", t.Sequence)
		}
		parts = append(parts, s)
	}
	if r.Host != nil && r.Host.CPU != "" {
		parts = append(parts, plain(r.Host.CPU))
	}
	if !r.Finished.IsZero() {
		parts = append(parts, r.Finished.UTC().Format("2 January 2006 15:04 UTC"))
	}
	return title, strings.Join(parts, " · ")
}

func newRow(r *Result, i int) viewRow {
	v, base := &r.Variants[i], &r.Variants[0]
	row := viewRow{Name: plain(v.Name), Baseline: i == 0}
	row.Short = middle(row.Name, 40)
	row.Cells = []viewCell{sizeCell(v, base), accuracyCell(r, v), latencyCell(v, base), energyCell(v, base), carbonCell(v, base), memoryCell(v, base), {}}
	row.Cells[6] = verdictCell(r, v, row.Cells[:6], i == 0)
	row.Sentence = sentence(r, v)
	return row
}

// change tells what a ratio shows: less or more words, by its interval, or by the value when exact. Of several variants some
// differ by chance: a difference that Holm's adjustment over them takes back is not claimed.
func change(f figure, less, more string) (word, tone string) {
	lo, hi := f.value, f.value
	switch ci := f.deciding(); {
	case ci != nil:
		lo, hi = ci[0], ci[1]
	case f.few:
		return tooFew, ""
	case !f.exact:
		return "no interval", ""
	}
	switch {
	case f.exact && f.value > 0.995 && f.value < 1.005:
		return "same", "same"
	case f.holm != nil && *f.holm > 0.05:
	case hi < 1:
		return less, "better"
	case lo > 1:
		return more, "worse"
	}
	if f.ci != nil && (f.ci[0] > 1 || f.ci[1] < 1) {
		return undecided, "same"
	}
	return noChange, "same"
}

func sizeCell(v, base *Variant) viewCell {
	if v.File == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{Main: showBytes(v.File.Bytes)}
	if f, ok := sizeRatio(v, base); ok && v != base {
		c.Sub = times(f.value)
		c.Word, c.Tone = change(f, "smaller", "larger")
	}
	if _, ok := prunedShare(v); ok && v.Weights != nil && v.Weights.Sparsity != nil {
		c.Sub = join(c.Sub, percent(*v.Weights.Sparsity)+" zeros")
	}
	return c
}

// fidelity tells whether the scores are agreement with the baseline's own outputs, not accuracy.
// The baseline agrees with itself by definition, so there a difference to it is not a loss to be tested.
func fidelity(r *Result) bool {
	return r.Task != nil && (r.Task.Kind == "fidelity" || r.Task.Kind == "agreement")
}

// metricWord is the metric without what the column already says.
func metricWord(r *Result, metric string) string {
	if fidelity(r) {
		metric = strings.TrimSuffix(strings.TrimSuffix(metric, " to the baseline"), " as the baseline")
	}
	return plain(metric)
}

func scoreName(r *Result) string {
	if fidelity(r) {
		return "Fidelity"
	}
	return "Accuracy"
}

func accuracyCell(r *Result, v *Variant) viewCell {
	a, base := v.Accuracy, &r.Variants[0]
	if a == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{Main: score(a.Metric, a.Value), Sub: scoreCI(a.Metric, a.CI95)}
	if fidelity(r) {
		c.Sub = metricWord(r, a.Metric)
		if a.P01 != nil {
			c.Sub = join(c.Sub, "1 % below "+score(a.Metric, *a.P01))
		} else if ci := scoreCI(a.Metric, a.CI95); ci != "" {
			c.Sub = join(c.Sub, ci)
		}
		if v == base {
			c.Sub = "by definition"
		}
		return c
	}
	if v == base || a.Delta == nil {
		return c
	}
	c.Sub = strings.TrimSpace(scoreDelta(a.Metric, a.Delta.Value) + " " + scoreCI(a.Metric, a.Delta.CI95))
	c.Word, c.Tone = deltaWord(a)
	return c
}

// deltaWord tells whether the change of accuracy is shown, by its interval.
func deltaWord(a *Accuracy) (word, tone string) {
	if a.Delta == nil || a.Delta.CI95 == nil {
		return "no interval", ""
	}
	up, down := a.Delta.CI95[0] > 0, a.Delta.CI95[1] < 0
	if a.LowerIsBetter {
		up, down = down, up
	}
	switch {
	case up:
		return "better", "better"
	case down:
		return "worse", "worse"
	}
	return noChange, "same"
}

func latencyCell(v, base *Variant) viewCell {
	if v.Latency == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{Main: show(v.Latency.P50, "s"), Sub: "p95 " + show(v.Latency.P95, "s")}
	if f, ok := latencyRatio(v, base); ok && v != base {
		c.Main, c.Sub = times(f.value), join(bracket(f.ci, 1), show(v.Latency.P50, "s"))
		c.Word, c.Tone = change(f, "faster", "slower")
	}
	return c
}

func energyCell(v, base *Variant) viewCell {
	e := v.Energy
	if e == nil || e.PerInference == nil && e.Ratio == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{}
	if e.PerInference != nil {
		c.Main, c.Sub = show(*e.PerInference, "J"), e.Source
	}
	if f, ok := energyRatio(v, base); ok && v != base {
		c.Main, c.Sub = times(f.value), bracket(f.ci, 1)
		if e.PerInference != nil {
			c.Sub = join(c.Sub, show(*e.PerInference, "J"))
		}
		c.Sub = join(c.Sub, energyKind(f))
		c.Word, c.Tone = change(f, "less", "more")
	}
	return c
}

func energyKind(f figure) string {
	if f.modelled {
		return "modelled"
	}
	return "measured"
}

func carbonCell(v, base *Variant) viewCell {
	if v.Carbon == nil || v.Carbon.Total == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{Main: show(*v.Carbon.Total, "g")}
	if v.Energy != nil {
		c.Sub = v.Energy.Source
	}
	if f, ok := carbonRatio(v, base); ok && v != base {
		c.Sub = strings.TrimSpace(times(f.value) + " " + bracket(f.ci, 1))
		if v.Energy != nil {
			c.Sub = join(c.Sub, v.Energy.Source)
		}
	}
	return c
}

// memoryNoise is how much the peaks of two processes that do the same may differ; where several were read, their ranges must not
// overlap either.
const memoryNoise = 0.10

// memoryChange is -1 for less memory, 1 for more, 0 where the readings do not tell them apart.
func memoryChange(f figure) int {
	switch {
	case f.value < 1-memoryNoise && (f.ci == nil || f.ci[1] < 1):
		return -1
	case f.value > 1+memoryNoise && (f.ci == nil || f.ci[0] > 1):
		return 1
	}
	return 0
}

func memoryCell(v, base *Variant) viewCell {
	if v.Memory == nil || v.Memory.PeakRSS == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{Main: showBytes(*v.Memory.PeakRSS)}
	if f, ok := memoryRatio(v, base); ok && v != base {
		c.Sub = times(f.value)
		switch memoryChange(f) {
		case -1:
			c.Word, c.Tone = "less", "better"
		case 1:
			c.Word, c.Tone = "more", "worse"
		default:
			c.Word, c.Tone = "about same", "same"
		}
	}
	return c
}

// verdictCell gives the gates' verdict where there are gates, else what the figures amount to.
func verdictCell(r *Result, v *Variant, figures []viewCell, baseline bool) viewCell {
	if baseline {
		return viewCell{Main: "baseline"}
	}
	var fails, open, passed []string
	for _, g := range r.Gates {
		if g.Variant != v.Name {
			continue
		}
		switch g.Verdict {
		case Fail:
			fails = append(fails, gateWord(g.Gate))
		case Inconclusive:
			open = append(open, gateWord(g.Gate))
		default:
			passed = append(passed, plain(g.Gate))
		}
	}
	switch {
	case len(fails) > 0:
		return viewCell{Main: "fail", Sub: strings.Join(fails, ", "), Tone: "worse"}
	case len(open) > 0:
		return viewCell{Main: "inconclusive", Sub: strings.Join(open, ", "), Tone: "same"}
	case len(passed) > 0:
		return viewCell{Main: "pass", Sub: plural(len(passed), "gate"), Tone: "better"}
	}
	better, worse, known := 0, 0, 0
	for _, c := range figures {
		if c.Tone != "" {
			known++
		}
		switch c.Tone {
		case "better":
			better++
		case "worse":
			worse++
		}
	}
	switch {
	case known == 0:
		return viewCell{Main: absent, Sub: "no gates set"}
	case better > 0 && worse == 0 && (fidelity(r) || figures[1].Tone == ""):
		return viewCell{Main: "gain", Sub: "accuracy not known", Tone: "same"}
	case better > 0 && worse == 0:
		return viewCell{Main: "gain", Sub: "no gates set", Tone: "better"}
	case better > 0:
		return viewCell{Main: "trade-off", Sub: "no gates set", Tone: "same"}
	case worse > 0:
		return viewCell{Main: "loss", Sub: "no gates set", Tone: "worse"}
	}
	return viewCell{Main: "no change", Sub: "no gates set", Tone: "same"}
}

// middle cuts s to n runes, in its middle, so that both ends stay readable.
func middle(s string, n int) string {
	rs := []rune(s)
	if len(rs) <= n {
		return s
	}
	return string(rs[:n-n/2]) + "…" + string(rs[len(rs)-n/2+1:])
}

// gateWord is the figure that a gate limits, short enough for the first table.
func gateWord(key string) string {
	return strings.TrimSuffix(strings.TrimSuffix(plain(key), "_ratio"), "_drop")
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return group(int64(n)) + " " + thing + "s"
}
