package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
)

func compareCommand() *cli.Command {
	return &cli.Command{
		Name: "compare", Usage: "two models or two results: differences with confidence intervals", ArgsUsage: "A B",
		Description: "Example: wattshed compare model.onnx model.int8.onnx\n\n" +
			"Two models are measured against each other now, paired and interleaved. Two result.json are compared variant by\n" +
			"variant from their samples, blocks and scores: they were not measured together, so those intervals do not know what changed\n" +
			"between the runs. Joules have a ratio only where both runs counted this machine themselves, or both were attached to another\n" +
			"process's account; variants that only one result has are named.",
		Flags: measureFlags(),
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 2 {
				return usagef("compare: %d arguments: want A and B", c.Args().Len())
			}
			a, b := c.Args().Get(0), c.Args().Get(1)
			aj, bj := strings.HasSuffix(a, ".json"), strings.HasSuffix(b, ".json")
			switch {
			case aj && bj:
				return compareResults(c, a, b)
			case aj != bj:
				return usagef("compare: %q and %q: want two models or two results", a, b)
			}
			return measureCommand().Action(c)
		},
	}
}

func compareResults(c *cli.Context, a, b string) error {
	ra, err := loadResult(a)
	if err != nil {
		return err
	}
	rb, err := loadResult(b)
	if err != nil {
		return err
	}
	diffs, err := recipe.CompareResults(ra, rb)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, diffs)
	}
	tw := tabwriter.NewWriter(c.App.Writer, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "VARIANT\tSIZE RATIO\tACCURACY A -> B, DIFFERENCE\tMEDIANS B/A\tENERGY A -> B, RATIO")
	for _, d := range diffs {
		name := d.Variant
		if d.OnlyIn != "" {
			name += " (only in " + d.OnlyIn + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", name, d.Size, d.Accuracy, d.Latency, d.Energy)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, "ratios are of medians of single runs, taken at different times: the intervals hold the spread within each result, not what changed on the machine in between")
	said := map[string]bool{}
	for _, d := range diffs {
		if line := fmt.Sprintf("account of the joules: A %s, B %s", d.AccountA, d.AccountB); d.AccountA != "" && !said[line] {
			said[line] = true
			fmt.Fprintln(c.App.Writer, line)
		}
	}
	for _, d := range diffs {
		for _, n := range d.Notes {
			if !said[n] {
				said[n] = true
				fmt.Fprintf(c.App.Writer, "note: %s\n", n)
			}
		}
	}
	return nil
}
