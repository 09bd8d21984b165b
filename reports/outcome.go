package reports

import (
	"fmt"
	"strings"
)

// outcome sorts what is known of a variant by what it means: Gained and Lost are shown, Open is undecided, Same shows no change.
// Each entry is a figure with its value, "run time 0.67×", and of an undecided one what decides.
type outcome struct{ Gained, Lost, Open, Same []string }

// add puts a figure where its tone and word say.
func (o *outcome) add(c viewCell, what string) {
	switch {
	case c.Tone == "better":
		o.Gained = append(o.Gained, what)
	case c.Tone == "worse":
		o.Lost = append(o.Lost, what)
	case c.Word == noChange || c.Word == "same" || c.Word == aboutSame:
		o.Same = append(o.Same, what)
	case c.Word != "":
		o.Open = append(o.Open, what)
	}
}

// outcomeOf says what variant v gained and lost against the baseline.
func outcomeOf(r *Result, v *Variant) outcome {
	var o outcome
	base := &r.Variants[0]
	if f, ok := sizeRatio(v, base); ok {
		o.add(sizeCell(v, base), "size "+times(f.value))
	}
	if a := v.Accuracy; a != nil && a.Delta != nil && !fidelity(r) {
		o.add(accuracyCell(r, v), plain(a.Metric)+" "+scoreDelta(a.Metric, a.Delta.Value))
	}
	if a := v.Accuracy; a != nil && fidelity(r) {
		things, what := "outputs", metricWord(r, a.Metric)+" "+score(a.Metric, a.Value)+" to the original"
		if r.Task.Kind == "agreement" {
			things, what = "decisions", score(a.Metric, a.Value)+" as the original's"
		}
		if a.FewValues > 0 {
			what += fmt.Sprintf(", of %s only", plural(a.FewValues, "value"))
		}
		if digits(a.Value, 5) == "1" || a.CI95 != nil && a.CI95[1] >= 1 {
			o.Same = append(o.Same, things+" ("+what+")")
		} else { // not all outputs are the baseline's any more: the figure is how close they are, not what was lost
			o.Lost = append(o.Lost, "identical "+things+" ("+what+")")
		}
	}
	if f, ok := latencyRatio(v, base); ok {
		o.add(latencyCell(r, v), "latency "+f.opened())
	}
	if f, ok := energyRatio(v, base); ok {
		what := "energy " + f.opened()
		if f.modelled {
			what += " (modelled)"
		}
		o.add(energyCell(r, v), what)
	}
	if f, ok := memoryRatio(v, base); ok {
		o.add(memoryCell(v, base), "memory "+times(f.value))
	}
	return o
}

// opened shows a ratio, where it is undecided with what decides.
func (f figure) opened() string {
	if word, _ := change(f, "", ""); word == tooFew {
		return times(f.value) + aside(f.fewWords())
	}
	return times(f.value) + aside(f.openWords())
}

// Outcome says in one line what variant i gained and lost against the baseline, what is undecided, and of what no change is shown. It is
// empty for the baseline and where nothing was compared.
func Outcome(r *Result, i int) string {
	if i <= 0 || i >= len(r.Variants) {
		return ""
	}
	v := &r.Variants[i]
	o := outcomeOf(r, v)
	if len(o.Gained)+len(o.Lost)+len(o.Open)+len(o.Same) == 0 {
		return ""
	}
	list := func(s []string) string {
		if len(s) == 0 {
			return "nothing shown"
		}
		return strings.Join(s, ", ")
	}
	s := []string{"gained " + list(o.Gained), "lost " + list(o.Lost)}
	if len(o.Open) > 0 {
		s = append(s, "undecided: "+list(o.Open))
	}
	if len(o.Same) > 0 {
		s = append(s, "no change shown: "+list(o.Same))
	}
	return plain(v.Name) + ": " + strings.Join(s, "; ")
}

// undecidedLine names what is undecided, variant by variant; it is empty where everything is decided.
func undecidedLine(r *Result) []string {
	var s []string
	for i := 1; i < len(r.Variants); i++ {
		if o := outcomeOf(r, &r.Variants[i]); len(o.Open) > 0 {
			s = append(s, plain(r.Variants[i].Name)+": "+strings.ReplaceAll(strings.Join(o.Open, ", "), " (modelled)", ""))
		}
	}
	if len(s) == 0 {
		return nil
	}
	return []string{strings.Join(s, "; ") + "."}
}
