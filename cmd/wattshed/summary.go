package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// printSummary prints the one table that a terminal needs; the rest is in the report.
func printSummary(w io.Writer, res *reports.Result) {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "VARIANT\tSIZE\t%s\tLATENCY p50\tLATENCY RATIO\tENERGY RATIO\tCARBON/INF\n", scoreTitle(res))
	for i := range res.Variants {
		v := &res.Variants[i]
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, bytesText(v.File.Bytes), accuracyText(v), latencyText(v), ratioText(v), energyText(v), carbonText(v))
	}
	tw.Flush()
	printCounts(w, res)
	for i := 1; i < len(res.Variants); i++ {
		if said := reports.Worse(res, i); said != "" {
			fmt.Fprintf(w, "worse: %s\n", said)
		}
	}
	for i := range res.Variants {
		if said := reports.Pruned(&res.Variants[i]); said != "" {
			fmt.Fprintf(w, "note: %s: %s\n", res.Variants[i].Name, said)
		}
	}
	if anyModelled(res) {
		fmt.Fprintln(w, "note: energy and carbon are estimated from CPU time, no counter on this host")
	}
	for _, warning := range res.Warnings {
		fmt.Fprintf(w, "note: %s\n", warning)
	}
}

// printCounts says how many examples, runs and pairs the table rests on.
func printCounts(w io.Writer, res *reports.Result) {
	var examples, pairs, runs []int
	for i := range res.Variants {
		v := &res.Variants[i]
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
		if len(c.ns) == 0 {
			continue
		}
		lo, hi := slices.Min(c.ns), slices.Max(c.ns)
		if lo == hi {
			parts = append(parts, fmt.Sprintf("%d %s", lo, c.what))
		} else {
			parts = append(parts, fmt.Sprintf("%d to %d %s", lo, hi, c.what))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "n per variant: %s; brackets are 95 %% intervals; below 30 pairs a wider one decides\n", strings.Join(parts, ", "))
	}
}

// scoreTitle names what the score is: agreement with the baseline is no accuracy.
func scoreTitle(res *reports.Result) string {
	if res.Task != nil && (res.Task.Kind == "fidelity" || res.Task.Kind == "agreement") {
		return "FIDELITY"
	}
	return "ACCURACY"
}

func anyModelled(res *reports.Result) bool {
	return slices.ContainsFunc(res.Variants, func(v reports.Variant) bool {
		return v.Energy != nil && v.Energy.Source == string(measure.Modelled)
	})
}

func accuracyText(v *reports.Variant) string {
	a := v.Accuracy
	if a == nil {
		return "-"
	}
	s := fmt.Sprintf("%.4f", a.Value)
	if a.Delta != nil {
		s += fmt.Sprintf(" (%+.4f", a.Delta.Value)
		if ci := a.Delta.CI95; ci != nil {
			s += fmt.Sprintf(" [%+.4f, %+.4f]", ci[0], ci[1])
		}
		s += ")"
	}
	return s
}

func latencyText(v *reports.Variant) string {
	if v.Latency == nil {
		return "-"
	}
	return fmt.Sprintf("%.3g ms", 1e3*v.Latency.P50)
}

func ratioText(v *reports.Variant) string {
	if v.Latency == nil || v.Latency.Ratio == nil {
		return "-"
	}
	s := withInterval(v.Latency.Ratio.Value, v.Latency.Ratio.CI95)
	if r := v.Latency.Ratio; r.Undecided(r.CI95, r.N) {
		s += " undecided"
	}
	return s
}

func withInterval(x float64, ci *reports.Interval) string {
	if ci == nil {
		return fmt.Sprintf("%.3f", x)
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", x, ci[0], ci[1])
}

func energyText(v *reports.Variant) string {
	if v.Energy == nil || v.Energy.Ratio == nil {
		return "-"
	}
	s := withInterval(v.Energy.Ratio.Value, v.Energy.Ratio.CI95)
	if v.Energy.Ratio.Basis == reports.BasisCPUTime {
		s += " modelled"
	}
	if r := v.Energy.Ratio; r.Undecided(r.CI95, r.N) {
		s += " undecided"
	}
	return s
}

func carbonText(v *reports.Variant) string {
	if v.Carbon == nil || v.Carbon.Total == nil {
		return "-"
	}
	s := fmt.Sprintf("%.3g µg", 1e6**v.Carbon.Total)
	if v.Energy != nil && v.Energy.Source != string(measure.Measured) {
		s += " " + v.Energy.Source
	}
	return s
}

func printGates(w io.Writer, res *reports.Result, overall reports.Verdict) {
	if len(res.Gates) == 0 {
		return
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	for _, g := range res.Gates {
		fmt.Fprintf(tw, "gate\t%s\t%s\t%s\t%s\n", g.Variant, g.Expr, g.Verdict, g.Message)
	}
	tw.Flush()
	fmt.Fprintf(w, "gates: %s\n", overall)
}
