package reports

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// sections gives the tables after the first screen; one that would be empty is left out.
func sections(r *Result) []section {
	var out []section
	for _, f := range []func(*Result) section{
		warningSection, gateSection, taskSection, costSection, carbonSection, impactSection, domainSection, latencySection, variantSection, pairingSection, profileSection, noteSection, methodSection, machineSection,
	} {
		if s := f(r); len(s.Rows) > 0 || len(s.Notes) > 0 {
			out = append(out, s.trim())
		}
	}
	return out
}

func warningSection(r *Result) section {
	s := section{Title: "Warnings"}
	for _, w := range r.Warnings {
		s.Notes = append(s.Notes, plain(w))
	}
	return s
}

// gateSection is a matrix, one row per variant and one column per gate, with the explanation of what does not pass below it.
func gateSection(r *Result) section {
	s := section{Title: "Gates", Head: []string{"Variant"}}
	row, col := map[string]int{}, map[string]int{}
	for _, g := range r.Gates {
		if _, ok := col[g.Expr]; !ok {
			col[g.Expr] = len(s.Head)
			s.Head = append(s.Head, plain(g.Expr))
		}
		if _, ok := row[g.Variant]; !ok {
			row[g.Variant] = len(s.Rows)
			s.Rows = append(s.Rows, []string{plain(g.Variant)})
		}
	}
	for i := range s.Rows {
		s.Rows[i] = append(s.Rows[i], make([]string, len(s.Head)-1)...)
	}
	for _, g := range r.Gates {
		c := string(g.Verdict)
		if g.Value != nil {
			ci := cmp.Or(g.Decides, g.CI95)
			c += ": " + within(*g.Value, digitsStyle(*g.Value, 4), ci, 1, 0) + " " + bracket(ci, 1)
		}
		if g.Reason == ReasonNotMeasured {
			c = strings.TrimSpace(c) + " (not measured)"
		}
		s.Rows[row[g.Variant]][col[g.Expr]] = strings.TrimSpace(c)
	}
	for _, g := range r.Gates {
		if g.Verdict != Pass && g.Message != "" {
			s.Notes = append(s.Notes, fmt.Sprintf("%s, %s, %s: %s.", plain(g.Variant), plain(g.Expr), g.Verdict, plain(g.Message)))
		}
	}
	return s
}

// beats words that a simple method scores better than the model; a difference within the intervals of both shows none.
func beats(a *Accuracy, b *TaskBaseline) string {
	if a.CI95 != nil && b.CI95 != nil && a.CI95[0] <= b.CI95[1] && b.CI95[0] <= a.CI95[1] {
		return " scores better than the model on this task; by their intervals the two may be equal."
	}
	return " beats the model on this task."
}

func taskSection(r *Result) section {
	s := section{Title: "Task", Head: []string{"Method", "Score", "95 % interval", "n"}}
	t := r.Task
	if t == nil || len(t.Baselines) == 0 || len(r.Variants) == 0 {
		return s
	}
	s.Intro = "Simple methods on the same examples, to tell a good score from an easy task."
	add := func(name string, x float64, ci *Interval, n int) {
		row := []string{plain(name), score(t.Metric, x), scoreCI(t.Metric, ci), ""}
		if n > 0 {
			row[3] = group(int64(n))
		}
		s.Rows = append(s.Rows, row)
	}
	if a := r.Variants[0].Accuracy; a != nil {
		add(r.Variants[0].Name+" (the model itself)", a.Value, a.CI95, a.N)
		for _, b := range t.Baselines {
			if (b.Value > a.Value) != a.LowerIsBetter && b.Value != a.Value {
				s.Notes = append(s.Notes, plain(b.Name)+beats(a, &b))
			}
		}
	}
	for _, b := range t.Baselines {
		add(b.Name, b.Value, b.CI95, b.N)
	}
	return s
}

func costSection(r *Result) section {
	s := section{Title: "Cost and break-even", Head: []string{"Variant", "Time to make", "Energy", "Carbon", "Joules paid back after", "Grams paid back after"}}
	for i := range r.Variants {
		v := &r.Variants[i]
		c := v.Cost
		if c == nil {
			continue
		}
		row := []string{plain(v.Name), absent, absent, absent, payback(c.Breakeven, c.NoneDemonstrated), payback(c.BreakevenCarbon, c.NoneDemonstratedCarbon)}
		if c.Seconds != nil {
			row[1] = seconds(*c.Seconds)
		}
		if c.Joules != nil {
			u := siUnit(*c.Joules, "J")
			row[2] = strings.TrimSpace(u.in(*c.Joules) + " " + bracket(c.JoulesCI95, u.mul))
			if c.Source != "" {
				row[2] += ", " + plain(c.Source)
			}
		}
		if c.GCO2e != nil {
			row[3] = grams(*c.GCO2e, c.GCO2eCI95) + " CO₂e"
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

// payback words a break-even with its Fieller interval.
func payback(b *Breakeven, none bool) string {
	switch {
	case b != nil:
		s := count(b.Value) + " inferences"
		if b.CI95 != nil {
			s += " [" + count(b.CI95[0]) + ", " + count(b.CI95[1]) + "]"
		}
		return s
	case none:
		return "never, as far as shown: no saving was demonstrated"
	}
	return ""
}

func variantSection(r *Result) section {
	s := section{Title: "Variants in detail", Head: []string{"Variant", "Stages", "Parameters", "Zero weights", "Throughput", "Energy without idle", "Energy per correct answer", "File, SHA-256"}, Collapsed: true}
	for i := range r.Variants {
		v := &r.Variants[i]
		row := []string{plain(v.Name), "none", "", "", "", "", "", ""}
		var st []string
		for _, x := range v.Stages {
			st = append(st, stageWords(x))
		}
		if len(st) > 0 {
			row[1] = strings.Join(st, "; ")
		}
		if w := v.Weights; w != nil {
			row[2] = group(w.Parameters)
			if w.Sparsity != nil {
				row[3] = percent(*w.Sparsity)
			}
		}
		if v.Throughput != nil {
			row[4] = digits(*v.Throughput, 4) + " per s"
			if v.Rate != nil && v.Rate.CI95 != nil {
				row[4] += " " + bracket(v.Rate.CI95, 1)
			}
		}
		if e := v.Energy; e != nil {
			if e.NetPerInference != nil {
				u := siUnit(*e.NetPerInference, "J")
				row[5] = strings.TrimSpace(u.in(*e.NetPerInference) + " " + bracket(e.NetCI95, u.mul))
			}
			if e.PerCorrect != nil {
				u := siUnit(*e.PerCorrect, "J")
				row[6] = strings.TrimSpace(u.in(*e.PerCorrect) + " " + bracket(e.PerCorrectCI95, u.mul))
				if q := e.PerCorrectRatio; q != nil {
					row[6] += ", " + strings.TrimSpace(times(q.Value)+" "+bracket(q.CI95, 1))
				}
			}
		}
		if f := v.File; f != nil {
			row[7] = strings.TrimSpace(plain(f.Path) + " " + plain(clip(f.SHA256, 16)))
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

func stageWords(x Stage) string {
	var opts []string
	for _, k := range slices.Sorted(maps.Keys(x.Options)) {
		b, err := json.Marshal(tidyFloats(x.Options[k]))
		if err != nil {
			continue
		}
		opts = append(opts, plain(k)+" "+strings.Trim(plain(string(b)), `"`))
	}
	if len(opts) == 0 {
		return plain(x.Name)
	}
	return plain(x.Name) + " (" + strings.Join(opts, ", ") + ")"
}

// tidyFloats gives a float that is no more than a float32 its shortest digits: 0.0005, not 0.0005000000237487257.
func tidyFloats(v any) any {
	switch v := v.(type) {
	case float64:
		if float64(float32(v)) == v {
			return json.Number(strconv.FormatFloat(v, 'g', -1, 32))
		}
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = tidyFloats(x)
		}
		return out
	}
	return v
}

// noteRows caps the table of notes of one variant; result.json holds all.
const noteRows = 200

func noteSection(r *Result) section {
	s := section{Title: "What was done to each weight", Head: []string{"Variant", "Stage", "Weight", "Operator", "Done", "How, or why not", "Bytes before", "Bytes after"}, Collapsed: true}
	for i := range r.Variants {
		notes := r.Variants[i].Notes
		if len(notes) > noteRows {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: %d more weights are in result.json.", plain(r.Variants[i].Name), len(notes)-noteRows))
			notes = notes[:noteRows]
		}
		for _, n := range notes {
			row := []string{plain(r.Variants[i].Name), plain(n.Stage), plain(n.named()), plain(n.Op), string(n.Action), plain(n.How), "", ""}
			if n.Why != "" {
				row[5] = strings.TrimPrefix(row[5]+"; "+plain(n.Why), "; ")
			}
			if n.Action != Remark && (n.BytesBefore > 0 || n.BytesAfter > 0) {
				row[6], row[7] = group(n.BytesBefore), group(n.BytesAfter)
			}
			s.Rows = append(s.Rows, row)
		}
	}
	return s
}

func methodSection(r *Result) section {
	s := section{Title: "Method"}
	if m := r.Method; m != nil {
		var p []string
		if m.Pairs > 0 {
			p = append(p, fmt.Sprintf("at least %d pairs per variant", m.Pairs))
		}
		if m.Warmup > 0 {
			p = append(p, fmt.Sprintf("%d warm-up runs", m.Warmup))
		}
		if m.Order != "" {
			p = append(p, "order: "+plain(m.Order))
		}
		if m.Statistic != "" {
			p = append(p, "ratio: "+plain(m.Statistic))
		}
		if m.IdleSeconds != nil {
			p = append(p, "idle power over "+seconds(*m.IdleSeconds))
		}
		if len(p) > 0 {
			s.Notes = append(s.Notes, upper(strings.Join(p, "; "))+".")
		}
		for _, n := range m.Notes {
			s.Notes = append(s.Notes, plain(n))
		}
	}
	for i := range r.Variants {
		if l := r.Variants[i].Latency; l != nil && l.N > 0 {
			if w := latencyWords(r); w != "" {
				s.Notes = append(s.Notes, "Latencies in the first table are "+w+".")
			}
			s.Notes = append(s.Notes, "The median, 95th and 99th percentile are of all single runs, none removed.")
			break
		}
	}
	if pooledEnergy(r) {
		s.Notes = append(s.Notes, pooledWords)
	}
	if sub, _ := energyWords(r); sub != "" {
		s.Notes = append(s.Notes, "Energy and carbon marked modelled are "+modelledWords+": a ratio of them is a ratio of CPU times, and their joules rest on the assumptions here.")
	}
	if m := r.Method; m != nil {
		for _, a := range m.Assumptions {
			s.Notes = append(s.Notes, "Assumed: "+plain(a))
		}
	}
	for i := range r.Variants {
		if c := r.Variants[i].Carbon; c != nil && c.Intensity != nil {
			n := "Carbon: grid " + intensityWords(c.Intensity)
			if c.PUE != nil {
				n += ", PUE " + num(*c.PUE)
				if c.PUESource != "" {
					n += " (" + plain(c.PUESource) + ")"
				}
			}
			if c.Intensity.Licence != "" {
				n += "; factor licensed " + plain(c.Intensity.Licence)
			}
			s.Notes = append(s.Notes, n+".")
			break
		}
	}
	return s
}

func machineSection(r *Result) section {
	s := section{Title: "Machine, target and inputs", Head: []string{"", ""}}
	add := func(k, v string) {
		if v = strings.TrimSpace(plain(v)); v != "" {
			s.Rows = append(s.Rows, []string{k, v})
		}
	}
	if h := r.Host; h != nil {
		cpu := h.CPU
		if h.Cores > 0 {
			cpu += fmt.Sprintf(", %d cores", h.Cores)
		}
		add("CPU", cpu)
		add("Instruction sets", strings.Join(h.ISA, ", "))
		if h.Memory > 0 {
			add("Memory", showBytes(h.Memory))
		}
		add("System", h.OS)
		if h.Virtualized != nil {
			add("Virtual machine", map[bool]string{true: "yes", false: "no"}[*h.Virtualized])
		}
	}
	if t := r.Target; t != nil {
		add("Runtime", strings.Join(nonEmpty(t.Runtime, t.Provider, t.Version, t.ISA), ", "))
	}
	if f := r.Roofline; f != nil {
		ceilings := num(f.GFLOPS) + " GFLOP/s, " + num(f.GBytesS) + " GB/s"
		if f.N > 0 {
			ceilings += ", " + plural(f.N, "thread")
		}
		add("Measured ceilings", ceilings)
	}
	if m := r.Model; m != nil {
		add("Model", strings.Join(nonEmpty(m.Name, m.Path, m.Format), ", "))
		add("Model SHA-256", m.SHA256)
	}
	if t := r.Task; t != nil {
		add("Task", strings.Join(nonEmpty(t.Kind, t.Metric, t.Data, t.Split), ", "))
	}
	add("Recipe SHA-256", r.RecipeSHA256)
	if im := r.Impact; im != nil {
		if im.EnergyIntensity != nil {
			u := siUnit(*im.EnergyIntensity, "J")
			add("Energy intensity", strings.TrimSpace(u.in(*im.EnergyIntensity)+"/MAC "+bracket(im.IntensityCI, u.mul))+" ("+im.Variant+")")
		}
	}
	add("Made by", strings.Join(nonEmpty(cmp.Or(r.Tool.Name, "wattshed"), r.Tool.Version, shortCommit(r.Tool.Commit), r.Tool.Go), " "))
	if !r.Started.IsZero() && !r.Finished.IsZero() {
		add("Duration", seconds(r.Finished.Sub(r.Started).Seconds()))
	}
	return s
}

// shortCommit cuts a hash to 12 digits and keeps the mark of changed files.
func shortCommit(c string) string {
	hash, mark, found := strings.Cut(c, "+")
	if hash = plain(clip(hash, 12)); found {
		return hash + "+" + plain(mark)
	}
	return hash
}

func nonEmpty(ss ...string) []string {
	return slices.DeleteFunc(ss, func(s string) bool { return s == "" })
}
