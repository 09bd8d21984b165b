package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/reports"
)

func searchCommand() *cli.Command {
	return &cli.Command{
		Name: "search", Usage: "find the mix of schemes with the least energy within the gates of a recipe", ArgsUsage: "RECIPE.yaml",
		Description: "Example: wattshed search minilm.yaml --out search\n\n" +
			"Every weight may take one of the schemes of the recipe's key search (fp16, int8, static int8 and int4 by default) or stay\n" +
			"float; the gates are the budget. The folder holds search.json with every trial, the models of the Pareto front of energy,\n" +
			"accuracy and size, and the report of their last, longer measurement. Exit 3 when nothing meets the budget, 4 when that\n" +
			"is inconclusive. An interrupted search goes on with --resume.\n\n" + gatesHelp(),
		Flags:  recipeFlags("search", "-search"),
		Action: onRecipe("-search", runSearch),
	}
}

// won says what the winner has least of, with what is known of it against the original in brackets, and why where it is not shown to take
// less. A winner without a ratio of energies was picked by its latency.
func won(res *reports.Result, winner string) (least, known, why string) {
	word, shown := reports.Saving(res, winner)
	for _, v := range res.Variants {
		switch {
		case v.Name != winner:
		case v.Energy == nil || v.Energy.Ratio == nil:
			return "least latency", " (no energy known)", ""
		case word != "" && !shown:
			r := v.Energy.Ratio
			return "least energy", " (against the original: " + word + ")", "it is not shown to take less energy than the original, " + withInterval(r.Value, r.CI95)
		}
	}
	return "least energy", "", ""
}

func runSearch(c *cli.Context, rec *recipe.Recipe, out string) error {
	var res *reports.Result
	var state *recipe.SearchState
	err := withOptions(c, out, c.Bool("resume"), func(o recipe.Options) (err error) {
		res, state, err = recipe.Search(c.Context, rec, o)
		return err
	})
	if err != nil {
		return runHint(err, c.Command.Name, out)
	}
	return ended(c, res, state.Verdict, func() {
		printTrials(c.App.Writer, state)
		printSummary(c.App.Writer, res)
		printGates(c.App.Writer, res, state.Verdict)
		least, known, why := won(res, state.Winner)
		printWinner(c.App.Writer, state, out, least, known)
		if why != "" {
			fmt.Fprintf(c.App.Writer, "note: %s\n", why)
		}
	})
}

// printTrials prints what was tried; energies are those of short measurements.
func printTrials(w io.Writer, s *recipe.SearchState) {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	basis := "LATENCY"
	for _, t := range s.Trials {
		if b, ok := map[string]string{"counter": "ENERGY", "cpu_time": "CPU TIME"}[t.Basis]; ok {
			basis = b
		}
	}
	fmt.Fprintf(tw, "TRIAL\tSCHEMES BY NUMBER OF WEIGHT GROUPS\tSIZE\tSCORE\t%s\tBUDGET\n", basis)
	for _, t := range s.Trials {
		if t.Failed != "" {
			fmt.Fprintf(tw, "%s\t%s\t\t\t\tno model: %.80s\n", t.Name, t.Text, oneLine(t.Failed))
			continue
		}
		meets := "no"
		if t.Meets {
			meets = "yes"
		}
		fmt.Fprintf(tw, "%s\t%s\t%.3f\t%.4f\t%s\t%s\n", t.Name, t.Text, t.Size, t.Accuracy.Value, withInterval(t.Energy.Value, t.Energy.CI95), meets)
	}
	tw.Flush()
	fmt.Fprintf(w, "%d trials in %s: %s; ended: %s; ratios are of ten short pairs each\n\nmeasured again, from the Pareto front:\n", len(s.Trials), secondsText(s.Tried.Seconds), s.Tried, s.Stopped)
}

// printWinner names the model that won; least and known are from won.
func printWinner(w io.Writer, s *recipe.SearchState, out, least, known string) {
	switch s.Verdict {
	case reports.Pass:
		fmt.Fprintf(w, "\n%s within the budget%s: %s\n", least, known, filepath.Join(out, "variants", s.Winner+".onnx"))
	case reports.Inconclusive:
		fmt.Fprintf(w, "\n%s that the gates do not refuse%s: %s\n", least, known, filepath.Join(out, "variants", s.Winner+".onnx"))
	default:
		fmt.Fprintf(w, "\nnothing meets the budget (%s); the Pareto front is in %s\n", strings.Join(s.Budget, ", "), filepath.Join(out, "variants"))
	}
	fmt.Fprintf(w, "report: %s\n", filepath.Join(out, "report.html"))
}
