package reports

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// carbonSection gives every part of the footprint and restates it per functional unit.
func carbonSection(r *Result) section {
	s := section{Title: "Carbon in detail", Head: []string{"Variant", "Operational", "Embodied", "Total", "Ratio to baseline", "Per 1,000 inferences", "Per 1,000 tokens", "Per correct answer", "Water", "Kind"}}
	boundary, embodied := "", ""
	for i := range r.Variants {
		v := &r.Variants[i]
		c := v.Carbon
		if c == nil || c.Total == nil {
			continue
		}
		row := []string{plain(v.Name), "", "", grams(*c.Total, c.CI95), "", "", "", "", "", plain(c.Source)}
		if c.Operational != nil {
			row[1] = grams(*c.Operational, c.OperationalCI)
		}
		if c.Embodied != nil {
			row[2] = grams(*c.Embodied, c.EmbodiedCI)
		}
		if q := c.Ratio; q != nil {
			row[4] = strings.TrimSpace(times(q.Value) + " " + bracket(q.CI95, 1))
		}
		if u := c.SCI; u != nil {
			for k, f := range []*Figure{u.Per1000Inferences, u.Per1000Tokens, u.PerCorrect} {
				if f != nil {
					row[5+k] = grams(f.Value, f.CI95)
				}
			}
			boundary = u.Boundary
		}
		if c.WaterL != nil {
			u := siUnit(*c.WaterL, "L")
			row[8] = strings.TrimSpace(u.in(*c.WaterL) + " " + bracket(c.WaterCI, u.mul))
		}
		if c.EmbodiedSource != "" {
			embodied = c.EmbodiedSource
		}
		s.Rows = append(s.Rows, row)
	}
	if len(s.Rows) == 0 {
		return s
	}
	if boundary != "" {
		s.Notes = append(s.Notes, "Software carbon intensity (ISO/IEC 21031:2024), boundary: "+plain(boundary)+".")
	}
	if embodied != "" {
		s.Notes = append(s.Notes, "Embodied: "+plain(embodied)+", ±50 %, a life of 4 years (3 to 6).")
	}
	s.Notes = append(s.Notes, "Average intensity, for reporting. What another moment would emit less is a question of marginal intensity, which is never mixed in here.")
	return s
}

func grams(x float64, ci *Interval) string {
	u := siUnit(x, "g")
	return strings.TrimSpace(u.in(x) + " " + bracket(ci, u.mul))
}

// impactSection shows the raw vector of every variant beside the composite index.
func impactSection(r *Result) section {
	s := section{Title: "Environmental impact of one inference", Head: []string{"Variant", "Energy", "Carbon", "Machine time", "Water", "Composite index", "n"}}
	im := r.Impact
	if im == nil {
		return s
	}
	for _, v := range im.Vectors {
		row := []string{plain(v.Variant), "", "", "", "", "", ""}
		for k, f := range []struct {
			x    *float64
			ci   *Interval
			unit string
		}{{v.EnergyJ, v.EnergyCI, "J"}, {v.CarbonG, v.CarbonCI, "g"}, {v.MachineS, v.MachineCI, "s"}, {v.WaterL, v.WaterCI, "L"}} {
			if f.x != nil {
				u := siUnit(*f.x, f.unit)
				row[1+k] = strings.TrimSpace(u.in(*f.x) + " " + bracket(f.ci, u.mul))
			}
		}
		if v.Index != nil {
			row[5] = strings.TrimSpace(num(*v.Index) + " " + bracket(v.CI95, 1))
		}
		if v.N > 0 {
			row[6] = plural(v.N, "pair")
		}
		s.Rows = append(s.Rows, row)
	}
	if len(s.Rows) == 0 {
		return s
	}
	var w []string
	for _, k := range slices.Sorted(maps.Keys(im.Weights)) {
		part := k + " weight " + num(im.Weights[k])
		if ref, ok := im.References[k]; ok {
			part += ", reference " + num(ref)
		}
		w = append(w, plain(part))
	}
	if len(w) > 0 {
		s.Notes = append(s.Notes, "Index: the sum of weight × figure / reference, 1 for the baseline: "+strings.Join(w, "; ")+". The vector beside it is what counts.")
	}
	if im.Source != "" && im.Source != SourceMeasured {
		s.Notes = append(s.Notes, "Energy and what follows from it: "+im.Source+", "+modelledWords+".")
	}
	if im.Ranking != nil {
		s.Notes = append(s.Notes, plain(im.Ranking.Statement))
	}
	for _, m := range im.Missing {
		s.Notes = append(s.Notes, "Not in the index: "+plain(m)+".")
	}
	return s
}

// pairingSection says of every paired ratio how it was judged.
func pairingSection(r *Result) section {
	s := section{Title: "How the ratios were judged", Head: []string{"Variant", "Figure", "Ratio, 95 %", "Pairs", "Interval by", "Decides below 30 pairs", "p", "p, Holm", "SD of logs", "Lag-1", "Stopped by", "More pairs for the precision", "No regression", "Equivalent"}, Collapsed: true}
	for i := range r.Variants {
		v := &r.Variants[i]
		add := func(what string, x float64, ci *Interval, n int, p Pairing) {
			if p.Method == "" {
				return
			}
			opt := func(x *float64) string {
				if x == nil {
					return ""
				}
				return num(*x)
			}
			row := []string{plain(v.Name), what, strings.TrimSpace(times(x) + " " + bracket(ci, 1)), group(int64(n)), methodWord(p.Method), "", opt(p.P), opt(p.PHolm), opt(p.SD), opt(p.Lag1), strings.ReplaceAll(plain(p.Stopped), "_", " "), "", string(p.NoRegression), string(p.Equivalent)}
			if p.NeededPairs > 0 && n < sure {
				row[5] = "nothing yet"
				if p.Decides != nil {
					row[5] = bracket(p.Decides, 1)
				}
			}
			if p.MorePairs > 0 {
				row[11] = fmt.Sprintf("about %s", group(int64(p.MorePairs)))
			}
			s.Rows = append(s.Rows, row)
		}
		if l := v.Latency; l != nil && l.Ratio != nil {
			add("latency", l.Ratio.Value, l.Ratio.CI95, l.Ratio.N, l.Ratio.Pairing)
		}
		if e := v.Energy; e != nil {
			if q := e.Ratio; q != nil {
				add("energy", q.Value, q.CI95, q.N, q.Pairing)
			}
			if q := e.PerCorrectRatio; q != nil {
				add("energy per correct answer", q.Value, q.CI95, q.N, q.Pairing)
			}
		}
		if c := v.Carbon; c != nil && c.Ratio != nil {
			add("carbon", c.Ratio.Value, c.Ratio.CI95, c.Ratio.N, c.Ratio.Pairing)
		}
	}
	if len(s.Rows) > 0 {
		s.Notes = []string{"Below 30 pairs a wider interval decides, since so few pairs do not show whether they are correlated; p values are two-sided, those of Holm adjusted over all variants."}
		for i := range r.Variants {
			if e := r.Variants[i].Energy; e != nil && e.Ratio != nil && e.Ratio.Margin > 0 {
				s.Notes = append(s.Notes, "No regression and equivalence: within "+percent(e.Ratio.Margin)+", by two one-sided tests.")
				break
			}
		}
	}
	return s
}

func methodWord(m string) string {
	switch m {
	case "t":
		return "Student's t"
	case "bootstrap_t":
		return "studentised bootstrap"
	case "t_effective_n":
		return "t, effective n"
	case "bootstrap_joint":
		return "joint bootstrap"
	}
	return plain(m)
}
