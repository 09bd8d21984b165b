package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Terminal writes what a terminal needs: one table, and one line per variant of what it gained and lost. With detail, for where no
// report is written, a second table has the percentiles of single runs, the throughput and the peak memory. Units and rounding are
// those of the other formats.
func Terminal(w io.Writer, r *Result, detail bool) error {
	if err := r.Validate(); err != nil {
		return err
	}
	var b strings.Builder
	r.table(&b)
	if detail {
		r.details(&b)
	}
	if s := r.counts(); s != "" {
		fmt.Fprintln(&b, s)
	}
	for i := range r.Variants {
		if s := Outcome(r, i); s != "" {
			fmt.Fprintln(&b, s)
		}
	}
	for i := range r.Variants {
		if s := Pruned(&r.Variants[i]); s != "" {
			fmt.Fprintf(&b, "note: %s: %s\n", plain(r.Variants[i].Name), s)
		}
	}
	if detail && pooledEnergy(r) {
		fmt.Fprintf(&b, "note: %s\n", pooledWords)
	}
	if _, kind := energyWords(r); kind == "modelled" || kind == "partly modelled" {
		fmt.Fprintf(&b, "note: energy and carbon are %s, %s\n", kind, modelledWords)
	}
	for _, x := range r.Warnings {
		fmt.Fprintf(&b, "note: %s\n", plain(x))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table has one row per variant; the time of a run stands beside the baseline's in the same pairs, so that their quotient is the ratio.
func (r *Result) table(w io.Writer) {
	energy, carbon := "ENERGY RATIO", "CARBON"
	if _, kind := energyWords(r); kind != "" && kind != "measured by counters" {
		energy, carbon = energy+" ("+kind+")", carbon+" ("+kind+")"
	}
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "VARIANT\tSIZE\t%s\t%s\tLATENCY RATIO\t%s\t%s\n", strings.ToUpper(scoreName(r)), strings.ToUpper(latencyTitle(r, "geomean")), energy, carbon)
	for i := range r.Variants {
		v, base := &r.Variants[i], &r.Variants[0]
		cells := []string{plain(v.Name), "-", "-", "-", "-", "-", "-"}
		if v.File != nil {
			cells[1] = showBytes(v.File.Bytes)
		}
		if a := v.Accuracy; a != nil {
			cells[2] = score(a.Metric, a.Value)
			switch {
			case fidelity(r):
				cells[2] = Score(a.Metric, a.Value, a.CI95)
			case a.Delta != nil:
				cells[2] += " " + strings.TrimSuffix(scoreDelta(a.Metric, a.Delta.Value), " points") + " " + scoreCI(a.Metric, a.Delta.CI95)
			}
		}
		if t, ok := timesOf(r, v); ok {
			cells[3] = t.words("s")
		}
		if f, ok := latencyRatio(v, base); ok && i > 0 {
			cells[4] = strings.TrimSpace(times(f.value)+" "+bracket(f.ci, 1)) + aside(f.openWords())
		}
		if f, ok := energyRatio(v, base); ok && i > 0 {
			cells[5] = strings.TrimSpace(times(f.value)+" "+bracket(f.ci, 1)) + aside(f.openWords())
		}
		if c := v.Carbon; c != nil && c.Total != nil {
			cells[6] = show(*c.Total, "g")
		}
		for k := range cells {
			cells[k] = strings.TrimSpace(cells[k])
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	tw.Flush()
}

// aside puts words that are not empty in brackets behind others.
func aside(words string) string {
	if words == "" {
		return ""
	}
	return " (" + words + ")"
}

// details has what the first table leaves out: it is all that a measurement without a report shows of it.
func (r *Result) details(w io.Writer) {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\nSINGLE RUNS\tMEDIAN\tp95\tp99\tRUNS PER SECOND\tPEAK MEMORY\tENERGY PER RUN")
	for i := range r.Variants {
		v := &r.Variants[i]
		cells := []string{plain(v.Name), "-", "-", "-", "-", "-", "-"}
		if l := v.Latency; l != nil {
			cells[1], cells[2], cells[3] = show(l.P50, "s"), show(l.P95, "s"), show(l.P99, "s")
		}
		if v.Throughput != nil {
			cells[4] = digits(*v.Throughput, 4)
		}
		if m := v.Memory; m != nil && m.PeakRSS != nil {
			cells[5] = showBytes(*m.PeakRSS)
			if m.Range != nil {
				cells[5] += " [" + showBytes(int64(m.Range[0])) + ", " + showBytes(int64(m.Range[1])) + "]"
			}
		}
		if e := v.Energy; e != nil && e.PerInference != nil {
			cells[6] = show(*e.PerInference, "J")
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	tw.Flush()
	fmt.Fprintln(w)
}

// counts says how many examples, runs and pairs the table rests on.
func (r *Result) counts() string {
	var examples, runs, pairs []int
	for i := range r.Variants {
		v := &r.Variants[i]
		if v.Accuracy != nil {
			examples = append(examples, v.Accuracy.N)
		}
		if v.Latency != nil {
			runs = append(runs, v.Latency.N)
			if v.Latency.Ratio != nil {
				pairs = append(pairs, v.Latency.Ratio.N)
			}
		}
	}
	var parts []string
	for _, c := range []struct {
		ns   []int
		what string
	}{{examples, "examples"}, {runs, "timed runs"}, {pairs, "pairs of blocks"}} {
		if len(c.ns) > 0 {
			parts = append(parts, span(c.ns)+" "+c.what)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	s := "n per variant: " + strings.Join(parts, ", ")
	if len(pairs) == 0 {
		return s
	}
	if slices.Min(pairs) < sure {
		s += "; below 30 pairs a wider interval than the one shown decides, which stands beside what it leaves undecided"
	}
	s += "\nbrackets are 95 % intervals"
	if w := latencyWords(r); w != "" {
		s += "; latencies are " + w
	}
	return s
}
