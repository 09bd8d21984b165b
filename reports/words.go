package reports

import (
	"fmt"
	"slices"
	"strings"
)

// sentence says in one plain sentence what a variant gained and lost. What got slower, larger or
// worse is said with the same words and figures as what got better.
func sentence(r *Result, v *Variant) string {
	base := &r.Variants[0]
	if v == base {
		return baselineSentence(r, v)
	}
	var s []string
	if f, ok := sizeRatio(v, base); ok {
		s = append(s, sizeClause(f.value))
	}
	if c := Pruned(v); c != "" {
		s = append(s, c)
	}
	if f, ok := latencyRatio(v, base); ok {
		s = append(s, ratioClause(f, "runs take", "time", "run time"))
	}
	if c := accuracyClause(r, v); c != "" {
		s = append(s, c)
	}
	if f, ok := energyRatio(v, base); ok {
		c := ratioClause(f, "runs use", "energy", "energy")
		if f.modelled {
			c += ", " + modelledWords
		} else {
			c += ", measured"
		}
		s = append(s, c)
	}
	if f, ok := memoryRatio(v, base); ok {
		switch memoryChange(f) {
		case -1:
			s = append(s, "peak memory is "+percent(1-f.value)+" lower")
		case 1:
			s = append(s, "peak memory is "+percent(f.value-1)+" higher")
		}
	}
	if len(s) == 0 {
		return "Nothing was measured that could be compared with the baseline."
	}
	return upper(strings.Join(s, "; ")) + "."
}

func baselineSentence(r *Result, v *Variant) string {
	var s []string
	if v.File != nil {
		s = append(s, showBytes(v.File.Bytes))
	}
	if t, ok := timesOf(r, v); ok {
		s = append(s, show(t.Own, "s")+" per run on average")
	}
	if a := v.Accuracy; a != nil && !fidelity(r) {
		s = append(s, plain(a.Metric)+" "+score(a.Metric, a.Value)+" on "+plural(a.N, "example"))
	}
	if e := v.Energy; e != nil && e.PerInference != nil {
		s = append(s, show(*e.PerInference, "J")+" per inference, "+e.Source)
	}
	if len(s) == 0 {
		return "The model as it came; nothing was measured."
	}
	return "The model as it came: " + strings.Join(s, "; ") + "."
}

func sizeClause(q float64) string {
	switch {
	case q > 0.995 && q < 1.005:
		return "the file is as large as before"
	case q > 0 && q < 0.67:
		return "the file is " + digits(1/q, 2+b2i(1/q >= 10)) + " times smaller"
	case q < 1:
		return "the file is " + percent(1-q) + " smaller"
	}
	return "the file is " + percent(q-1) + " larger"
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ratioClause words a ratio: "a run takes 53 % less time [52, 54]".
func ratioClause(f figure, verb, thing, name string) string {
	word, _ := change(f, "less", "more")
	switch word {
	case undecided:
		return "whether " + name + " changes is undecided, " + times(f.value) + " " + bracket(f.ci, 1) + ", " + f.openWords()
	case noChange:
		return "no change of " + name + " shown, " + times(f.value) + " " + bracket(f.ci, 1)
	case tooFew:
		return strings.TrimSpace(name+" "+times(f.value)+" "+bracket(f.ci, 1)) + ", " + f.fewWords()
	}
	d, ci := 1-f.value, mulCI(f.ci, 1)
	dir := "less"
	if f.value > 1 {
		d, dir = f.value-1, "more"
		if ci != nil {
			ci = &Interval{ci[0] - 1, ci[1] - 1}
		}
	} else if ci != nil {
		ci = &Interval{1 - ci[1], 1 - ci[0]}
	}
	s := fmt.Sprintf("%s %s %s %s", verb, percent(d), dir, thing)
	if ci == nil {
		return s + ", without an interval"
	}
	return s + " " + bracket(ci, 100)
}

func accuracyClause(r *Result, v *Variant) string {
	a := v.Accuracy
	if a == nil {
		return ""
	}
	at := plain(a.Metric) + " is " + score(a.Metric, a.Value)
	if fidelity(r) {
		return agreement(r, a)
	}
	if a.Delta == nil {
		return at
	}
	d := scoreDelta(a.Metric, a.Delta.Value) + " " + scoreCI(a.Metric, a.Delta.CI95)
	switch word, _ := deltaWord(a); word {
	case "better":
		return at + ", better by " + strings.TrimLeft(d, "+−")
	case "worse":
		return at + ", worse: " + d
	case "no interval":
		return at + ", " + strings.TrimSpace(d) + " without an interval"
	}
	return at + ", " + d + ": no change shown by " + plural(a.N, "example")
}

// agreement says how closely a variant follows the baseline: "cosine to the baseline's outputs is 0.9932 [..] on 500 examples".
func agreement(r *Result, a *Accuracy) string {
	s := Score(a.Metric, a.Value, a.CI95)
	if r.Task.Kind == "agreement" {
		return strings.TrimSpace(s) + " of " + plural(a.N, "decision") + " are the baseline's"
	}
	return strings.TrimSpace(metricWord(r, a.Metric)+" to the baseline's outputs is "+s) + " on " + plural(a.N, "example")
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// headlines answers the questions of a reader: what was gained, what was lost, what is undecided, is it to be trusted.
func headlines(r *Result) []answer {
	if len(r.Variants) < 2 {
		return []answer{{"Gained", []string{"Nothing to compare: there is no variant beside the baseline."}}, {"Lost", []string{"Nothing to compare."}}, {"Trust", trustLines(r)}}
	}
	gained, lost := gainedAndLost(r)
	out := []answer{{"Gained", gained}, {"Lost", lost}}
	if s := undecidedLine(r); s != nil {
		out = append(out, answer{"Undecided", s})
	}
	return append(out, answer{"Trust", trustLines(r)})
}

// gainedAndLost names the best variants, and every one that is shown to be worse than the baseline.
func gainedAndLost(r *Result) (gained, lost []string) {
	base := &r.Variants[0]
	var safe, others, worse, slower, larger, hungrier, heavier []*Variant
	for i := 1; i < len(r.Variants); i++ {
		v := &r.Variants[i]
		tone := ""
		if v.Accuracy != nil && !fidelity(r) {
			_, tone = deltaWord(v.Accuracy)
		}
		if tone == "worse" {
			worse = append(worse, v)
			others = append(others, v)
		} else if tone != "" {
			safe = append(safe, v)
		} else {
			others = append(others, v)
		}
		if latencyCell(r, v).Tone == "worse" {
			slower = append(slower, v)
		}
		if sizeCell(v, base).Tone == "worse" {
			larger = append(larger, v)
		}
		if energyCell(r, v).Tone == "worse" {
			hungrier = append(hungrier, v)
		}
		if memoryCell(v, base).Tone == "worse" {
			heavier = append(heavier, v)
		}
	}
	if b := bestOf(r, safe); b != "" {
		gained = append(gained, "With no loss of accuracy shown, "+b+".")
	}
	if b := bestOf(r, others); b != "" {
		s := "With a loss of accuracy, "
		if len(worse) < len(others) {
			s = "Where a change of accuracy is not known, "
		}
		if fidelity(r) {
			s = ""
		}
		gained = append(gained, s+b+".")
	}
	if len(gained) == 0 {
		gained = []string{"Nothing is shown to be smaller, faster or less hungry than the baseline."}
	}
	list := func(title string, vs []*Variant, f func(v *Variant) string) {
		if len(vs) > 0 {
			var s []string
			for _, v := range vs {
				s = append(s, plain(v.Name)+" ("+f(v)+")")
			}
			lost = append(lost, title+": "+strings.Join(s, ", ")+".")
		}
	}
	if s := leastFaithful(r); s != "" {
		lost = append(lost, s)
	}
	list("Less accurate", worse, func(v *Variant) string { return scoreDelta(v.Accuracy.Metric, v.Accuracy.Delta.Value) })
	list("Slower", slower, func(v *Variant) string { return times(v.Latency.Ratio.Value) })
	list("Larger", larger, func(v *Variant) string { return sizeCell(v, base).Sub })
	list("More energy", hungrier, func(v *Variant) string { return times(v.Energy.Ratio.Value) })
	list("More memory", heavier, func(v *Variant) string { return memoryCell(v, base).Sub })
	if len(lost) == 0 {
		lost = []string{"Nothing is shown to be less accurate, slower, larger or hungrier for energy or memory."}
	}
	return gained, lost
}

// Passing names the variants that pass every gate that they were judged by.
func Passing(r *Result) []string {
	var out []string
	for i := range r.Variants {
		v := Verdict("")
		for _, g := range r.Gates {
			if g.Variant != r.Variants[i].Name {
				continue
			}
			if v == "" {
				v = Pass
			}
			v = worse(v, g.Verdict)
		}
		if v == Pass {
			out = append(out, plain(r.Variants[i].Name))
		}
	}
	return out
}

// leastFaithful names the variant that agrees least with the baseline, where that is what was scored.
func leastFaithful(r *Result) string {
	var low *Variant
	for i := 1; i < len(r.Variants); i++ {
		v := &r.Variants[i]
		if a := v.Accuracy; a != nil && (low == nil || (a.Value < low.Accuracy.Value) != a.LowerIsBetter) {
			low = v
		}
	}
	if low == nil || !fidelity(r) {
		return ""
	}
	return "Agreement with the baseline's outputs is lowest for " + plain(low.Name) + " (" + metricWord(r, low.Accuracy.Metric) + " " + score(low.Accuracy.Metric, low.Accuracy.Value) + ")."
}

// bestOf names the smallest, the fastest and the least hungry of vs, merged where it is one variant.
func bestOf(r *Result, vs []*Variant) string {
	base := &r.Variants[0]
	type claim struct{ name, what string }
	var claims []claim
	best := func(get func(v, base *Variant) (figure, bool), word func(f figure, v *Variant) string) {
		var top *Variant
		var f figure
		for _, v := range vs {
			if q, ok := get(v, base); ok && (top == nil || q.value < f.value) {
				top, f = v, q
			}
		}
		if top == nil {
			return
		}
		if _, tone := change(f, "", ""); tone == "better" {
			name := plain(top.Name)
			if a := top.Accuracy; a != nil && fidelity(r) {
				name += " (" + metricWord(r, a.Metric) + " " + score(a.Metric, a.Value) + ")"
			}
			claims = append(claims, claim{name, word(f, top)})
		}
	}
	best(sizeRatio, func(f figure, v *Variant) string { return "size " + times(f.value) })
	best(latencyRatio, func(f figure, v *Variant) string { return "latency " + times(f.value) })
	best(energyRatio, func(f figure, v *Variant) string {
		return "energy " + times(f.value) + " (" + energyKind(f) + ")"
	})
	var names []string
	for _, c := range claims {
		if !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	var out []string
	for _, n := range names {
		var whats []string
		for _, c := range claims {
			if c.name == n {
				whats = append(whats, c.what)
			}
		}
		out = append(out, n+": "+strings.Join(whats, ", "))
	}
	return strings.Join(out, "; ")
}

// trustLines says what the figures rest on, weaknesses first.
func trustLines(r *Result) []string {
	var out []string
	sub, kind := energyWords(r)
	switch {
	case kind == "":
		out = append(out, "Energy and carbon: not measured.")
	case sub == "":
		out = append(out, "Energy: measured by counters.")
	default:
		out = append(out, "Energy and carbon: "+kind+", "+modelledWords+".")
	}
	var ns, pairs []int
	for i := range r.Variants {
		v := &r.Variants[i]
		if v.Accuracy != nil {
			ns = append(ns, v.Accuracy.N)
		}
		if v.Latency != nil && v.Latency.Ratio != nil && v.Latency.Ratio.N > 0 {
			pairs = append(pairs, v.Latency.Ratio.N)
		}
	}
	s := ""
	if len(pairs) > 0 {
		s = "Latency: " + span(pairs) + " interleaved pairs per variant"
	} else {
		s = "Latency: not compared in pairs"
	}
	if len(ns) > 0 {
		s += "; " + strings.ToLower(scoreName(r)) + ": " + span(ns) + " examples, the same for all"
	} else {
		s += "; accuracy: not scored"
	}
	out = append(out, s+". Brackets are 95 % intervals.")
	if fidelity(r) && len(ns) > 0 {
		out = append(out, "Fidelity is agreement with the baseline's outputs, not accuracy.")
	}
	if r.Host != nil && r.Host.Virtualized != nil && *r.Host.Virtualized {
		out = append(out, "The host is a virtual machine; neighbours may disturb it.")
	}
	if n := len(r.Gates); n > 0 {
		pass, open := 0, 0
		for _, g := range r.Gates {
			switch g.Verdict {
			case Pass:
				pass++
			case Inconclusive:
				open++
			}
		}
		s := fmt.Sprintf("Gate checks: %d of %d pass, %d fail, %d inconclusive", pass, n, n-pass-open, open)
		if ok := Passing(r); len(ok) > 0 {
			s += "; every gate is passed by " + strings.Join(ok, ", ")
		} else {
			s += "; no variant passes every gate"
		}
		out = append(out, s+".")
	}
	if len(r.Warnings) > 0 {
		out = append(out, upper(plural(len(r.Warnings), "warning"))+" below.")
	}
	return out
}
