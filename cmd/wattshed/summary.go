package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/wattshed/wattshed/reports"
)

// printSummary prints the table of a result and what each variant gained and lost; the rest is in the report. What fails is writing to
// the terminal, and nobody could be told.
func printSummary(w io.Writer, res *reports.Result) { _ = reports.Terminal(w, res, false) }

// withInterval writes a figure with its 95 % interval where it has one.
func withInterval(x float64, ci *reports.Interval) string {
	if ci == nil {
		return fmt.Sprintf("%.3f", x)
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", x, ci[0], ci[1])
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
	by := ""
	if ok := reports.Passing(res); len(ok) > 0 {
		by = "; every one is passed by " + strings.Join(ok, ", ")
	}
	fmt.Fprintf(w, "gates: %s%s\n", overall, by)
}
