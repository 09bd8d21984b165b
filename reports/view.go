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
	Answers  []answer
	Columns  []string
	Rows     []viewRow
	Sections []section
	Missing  []string // plots that were not drawn, with the reason
	Times    string   // see latencyWords
}

// answer is one of the questions of a reader with what the figures say to it.
type answer struct {
	Name  string // Gained, Lost, Undecided or Trust
	Lines []string
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

// Parts are the parts of the detail: none of them is broken across lines on a wide screen.
func (c viewCell) Parts() []string { return strings.Split(c.Sub, partMark) }

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
	aboutSame = "about same"      // memory: the readings do not tell the two apart
	undecided = "undecided"       // the 95 % interval does not hold 1, the one that decides does, or Holm takes the claim back
)

// partMark stands between the parts of a detail.
const partMark = " · "

func join(parts ...string) string { return strings.Join(nonEmpty(parts...), partMark) }

func newView(r *Result) view {
	energy, carbon := "Energy", "Carbon"
	if allModelled(r) { // then no cell needs to say it
		energy, carbon = energy+", modelled", carbon+", modelled"
	}
	v := view{Columns: []string{"Variant", "Size", scoreName(r), latencyTitle(r, "geometric mean"), energy, carbon, "Memory", "Verdict"}}
	v.Title, v.Subtitle = titles(r)
	v.Times = latencyWords(r)
	for i := range r.Variants {
		row := newRow(r, i)
		for k := range row.Cells {
			row.Cells[k].Label = v.Columns[k+1]
		}
		v.Rows = append(v.Rows, row)
	}
	v.Answers = headlines(r)
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
			s += ", " + plural(t.Threads, "thread")
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
	row.Cells = []viewCell{sizeCell(v, base), accuracyCell(r, v), latencyCell(r, v), energyCell(r, v), carbonCell(r, v), memoryCell(v, base), {}}
	row.Cells[6] = verdictCell(r, v, row.Cells[:6], i == 0)
	row.Sentence = sentence(r, v)
	return row
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
