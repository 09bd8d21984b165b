package reports

import (
	"fmt"
	"strings"
)

// countedWords says what it means that another process counted the machine.
func countedWords(by string) string {
	return "counted by " + by + ", another measurement by wattshed that had this machine's counters first: joules that were measured meanwhile hold the work of both, " +
		"so none of them is in a total here, and modelled ones leave the machine's idle power to the other"
}

// pooledWords tell the two statistics of energy apart.
const pooledWords = "Joules of a run are pooled, means over all blocks of a variant, but for those beside a ratio that a counter measured, which are geometric means of the " +
	"same pairs. Ratios are paired, geometric means over neighbouring blocks (of modelled energy, of CPU times): where the machine drifted, quotients of pooled joules " +
	"differ from them, and the ratios are the comparison."

// pooledEnergy reports whether the result shows joules beside a ratio that is not their quotient.
func pooledEnergy(r *Result) bool {
	for i := range r.Variants {
		v := &r.Variants[i]
		if e := v.Energy; i > 0 && e != nil && e.PerInference != nil && e.Ratio != nil {
			return true
		}
	}
	return false
}

// domainSection lists every zone that the meter read, for every variant: what counts, what is a breakdown of it, and what its source says.
func domainSection(r *Result) section {
	s := section{Title: "Energy by zone, and where it comes from", Head: []string{"Variant", "Zone", "Scope", "Part of the total", "Energy per inference", "Source", "Kind", "Status", "n"}, Collapsed: true}
	notes := map[string]bool{}
	note := func(what, text string) {
		if line := plain(what) + ": " + plain(text) + "."; text != "" && !notes[line] {
			notes[line] = true
			s.Notes = append(s.Notes, line)
		}
	}
	if m := r.Meter; m != nil {
		note("The meter", m.Describe)
		if m.CountedBy != "" {
			note("This machine", countedWords(m.CountedBy)+", during the run or a part of it")
		}
	}
	for i := range r.Variants {
		e := r.Variants[i].Energy
		if e == nil {
			continue
		}
		for _, d := range e.Domains {
			u := siUnit(d.Joules, "J")
			row := []string{plain(r.Variants[i].Name), plain(d.Domain), plain(d.Scope), "no", u.in(d.Joules), plain(d.Source), plain(d.Kind), plain(d.Status), ""}
			if d.Headline {
				row[3] = "yes"
			}
			if d.Zone != "" && d.Zone != d.Domain {
				row[1] += " (" + plain(d.Zone) + ")"
			}
			if d.UAbs != nil {
				row[4] += " ± " + digits(*d.UAbs*u.mul, 2)
			}
			if d.N > 0 {
				row[8] = group(int64(d.N))
			}
			s.Rows = append(s.Rows, row)
			note(d.Domain, d.Note)
			if d.PeriodS > 0 {
				note(d.Domain, "update period "+seconds(d.PeriodS))
			}
			if d.CountedBy != "" {
				note(d.Domain, countedWords(d.CountedBy))
			}
		}
		if e.Coverage != nil && *e.Coverage < 1 {
			note(r.Variants[i].Name, fmt.Sprintf("the meter saw %s of the time", percent(*e.Coverage)))
		}
		if e.NetAbsent != "" {
			note("No energy without idle", e.NetAbsent)
		}
	}
	return s
}

// latencySection gives what one arm says without its partner, each figure with its interval over the blocks.
func latencySection(r *Result) section {
	s := section{Title: "Latency and throughput in detail", Head: []string{"Variant", latencyTitle(r, "geometric mean of blocks") + ", baseline → variant", "Their ratio", "Median of runs", "95th percentile", "99th percentile", "Mean of runs", "Throughput per s", "Runs", "Blocks"}, Collapsed: true}
	for i := range r.Variants {
		v := &r.Variants[i]
		l := v.Latency
		if l == nil || l.N == 0 {
			continue
		}
		u := siUnit(l.P50, "s")
		at := func(x float64, ci *Interval) string { return strings.TrimSpace(u.in(x) + " " + bracket(ci, u.mul)) }
		row := []string{plain(v.Name), "", "", at(l.P50, l.CI95), at(l.P95, l.P95CI), at(l.P99, l.P99CI), at(l.Mean, l.MeanCI), "", group(int64(l.N)), ""}
		if p, ok := timesOf(r, v); ok {
			row[1] = p.words("s")
		}
		if q := l.Ratio; q != nil {
			row[2] = strings.TrimSpace(times(q.Value) + " " + bracket(q.CI95, 1))
		}
		if v.Throughput != nil {
			row[7] = digits(*v.Throughput, 4)
			if v.Rate != nil {
				row[7] = strings.TrimSpace(row[7] + " " + bracket(v.Rate.CI95, 1))
			}
		}
		if l.Blocks > 0 {
			row[9] = group(int64(l.Blocks))
		}
		s.Rows = append(s.Rows, row)
	}
	if len(s.Rows) > 0 {
		s.Notes = []string{"The ratio is that of geometric means of blocks, in the pairs of this variant alone, so the baseline's differ a little from row to row; quotients of medians or of means over all blocks may differ from it.",
			"Intervals of 95 %: the median's by the medians of the blocks, the others by resampling whole blocks, since runs within a block are alike."}
	}
	return s
}
