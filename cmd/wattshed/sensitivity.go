package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/reports"
)

// sensitivityFlags are those of inspect --sensitivity.
func sensitivityFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "sensitivity", Usage: "quantize each weight and each operator alone, and see what that does"},
		&cli.StringFlag{Name: "scheme", Value: "int8", Usage: "of --sensitivity: int8, int8-static, uint8, uint8-static, int16, int4, uint4, fp8, fp16 or bf16"},
		&cli.StringFlag{Name: "granularity", Usage: "of --sensitivity: per-tensor, per-channel or per-group (default that of the scheme)"},
		&cli.IntFlag{Name: "group", Usage: "of --sensitivity: elements that share a scale (default 32)"},
		&cli.BoolFlag{Name: "symmetric", Usage: "of --sensitivity with int4: no zero points"},
		&cli.IntFlag{Name: "samples", Value: 16, Usage: "of --sensitivity: runs that outputs are compared over"},
		&cli.StringFlag{Name: "task", Usage: "of --sensitivity: labelled `DATA` to score on"},
		&cli.StringFlag{Name: "text", Usage: "of --sensitivity: `FILE` with a text a line, in place of random inputs"},
		&cli.StringFlag{Name: "tokenizer", Usage: "of --sensitivity: `FILE` tokenizer.json (default: the model's metadata)"},
		&cli.IntFlag{Name: "sequence", Usage: "of --sensitivity and --passes: length of random sequences", DefaultText: "the model's own"},
		&cli.StringSliceFlag{Name: "shape", Usage: "of --sensitivity and --passes: shape of a random input, `NAME=1x3x48x192`; may be repeated"},
		&cli.IntFlag{Name: "threads", Usage: "of --sensitivity: threads, 0 for all processors", DefaultText: "all processors"},
		&cli.StringFlag{Name: "plot", Usage: "of --sensitivity: `FILE.svg` or FILE.png to draw"},
	}
}

// sensed is what inspect --sensitivity says.
type sensed struct {
	Path   string `json:"path"`
	Scheme string `json:"scheme"`
	*recipe.Sensed
}

func sensitivity(c *cli.Context, path string) error {
	shapes, err := parseShapes(c.StringSlice("shape"))
	if err != nil {
		return err
	}
	picture := c.String("plot")
	if ext := filepath.Ext(picture); picture != "" && ext != ".svg" && ext != ".png" {
		return usagef("--plot: %q: want a .svg or .png file", picture)
	}
	rec := &recipe.Recipe{Version: 1, Model: path, Dir: ".", Inputs: recipe.InputsSpec{Tokenizer: c.String("tokenizer"), Text: c.String("text"), Shapes: shapes},
		Target: recipe.TargetSpec{Runtime: "native", Threads: c.Int("threads"), Batch: 1, Sequence: c.Int("sequence")}}
	switch {
	case c.String("task") != "":
		rec.Task = &recipe.TaskSpec{Kind: "classification", Data: c.String("task"), Text: "text", Label: "label"}
	case c.String("text") == "":
		rec.Inputs.Random = &recipe.RandomSpec{N: max(1, c.Int("samples"))}
	}
	o, done, err := recipeOptions(c)
	if err != nil {
		return err
	}
	defer done()
	p := newProgress(c)
	o.Progress = p.set
	found, err := recipe.Sensitivity(c.Context, rec, recipe.Sensitive{Scheme: c.String("scheme"), Granularity: c.String("granularity"),
		Group: c.Int("group"), Symmetric: c.Bool("symmetric"), Samples: c.Int("samples")}, o)
	p.close()
	if err != nil {
		return inFlags(c, runHint(err, c.Command.Name, ""))
	}
	if picture != "" {
		if err := drawSensitivity(picture, c.String("scheme"), found.Weights); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(c, sensed{path, c.String("scheme"), found})
	}
	printSensitivity(c.App.Writer, found.Weights)
	fmt.Fprintln(c.App.Writer)
	printOps(c.App.Writer, found)
	if len(found.Left) > 0 {
		fmt.Fprintf(c.App.Writer, "%s leaves %d weights in float: %s\n", c.String("scheme"), len(found.Left), clip(strings.Join(found.Left, ", "), 120))
	}
	fmt.Fprintln(c.App.Writer, sensedHow(found, c.String("scheme")))
	return nil
}

// gridMark stands beside the weights that no file of the scheme has.
const gridMark = "grid"

// sensedHow says how the figures came about, and which of them are those of a file.
func sensedHow(s *recipe.Sensed, scheme string) string {
	grids := 0
	for _, w := range s.Weights {
		if !w.Stored {
			grids++
		}
	}
	if grids == len(s.Weights) {
		what := "each weight alone"
		if s.NoOps == "" {
			what += ", and each operator alone with its activations"
		}
		return fmt.Sprintf("%s; %s, the one most harmful to the outputs first;\n"+
			"WEIGHT dB is the signal to noise ratio of a weight on a grid of %s: quantize stores none of them so", s.About, what, scheme)
	}
	how := "its default mode, granularity and CPU"
	if strings.HasSuffix(scheme, "int4") { // other ways of rounding lie a decibel or two away
		how = "its default algorithm (rtn) and CPU"
	}
	text := fmt.Sprintf("%s; each weight alone, and each operator alone with its activations, as quantize stores them as %s in "+how+", the one most harmful to the outputs first;\n"+
		"WEIGHT dB is the signal to noise ratio that verify --against says of the file", s.About, scheme)
	if s.NoFile != "" {
		text += fmt.Sprintf(" of the one operator; of the whole model there is none: %s", s.NoFile)
	}
	if grids > 0 {
		text += fmt.Sprintf(";\nnot so where it is marked %s (%d of %d): as %s, quantize leaves those weights in float, or no name in the file tells them: the ratio is that of a grid alone",
			gridMark, grids, len(s.Weights), scheme)
	}
	return text
}

// printOps prints what putting one operator into the scheme did.
func printOps(w io.Writer, s *recipe.Sensed) {
	if s.NoOps != "" {
		fmt.Fprintln(w, s.NoOps)
		return
	}
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	head := "OPERATOR\tKIND\tELEMENTS\tOUTPUT dB\tKL\tTIME"
	scored := slices.ContainsFunc(s.Ops, func(o recipe.OpSensitivity) bool { return o.Score != nil })
	if scored {
		head += "\tACCURACY"
	}
	fmt.Fprintln(tw, head)
	for _, o := range s.Ops {
		fmt.Fprintf(tw, "%s\t%s\t%d\t", clip(o.Name, 48), clip(strings.Join(o.Ops, " "), 24), o.Elements)
		if o.Output == nil {
			fmt.Fprintf(tw, "left\t\t%.1f %%", 100*o.Share)
		} else {
			fmt.Fprintf(tw, "%.1f\t%.2g\t%.1f %%", *o.Output, *o.KL, 100*o.Share)
		}
		if scored {
			fmt.Fprintf(tw, "\t%s", change(o.Score))
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

// change prints a difference of scores with its interval.
func change(c *quantize.Change) string {
	if c == nil {
		return ""
	}
	s := fmt.Sprintf("%+.4f", c.Value)
	if c.CI95 != nil {
		s += fmt.Sprintf(" [%+.4f, %+.4f]", c.CI95[0], c.CI95[1])
	}
	return s
}

func printSensitivity(w io.Writer, list []quantize.Sensitivity) {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	scored := len(list) > 0 && list[0].Score != nil
	head := "WEIGHT\tREAD BY\tELEMENTS\tWEIGHT dB\tOUTPUT dB\tKL\tTIME"
	if scored {
		head += "\tACCURACY"
	}
	fmt.Fprintln(tw, head)
	for _, s := range list {
		mark := ""
		if !s.Stored {
			mark = " " + gridMark
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%.1f%s\t%.1f\t%.2g\t%.1f %%", clip(model.WithReader(s.Weight, s.Reader), 48), clip(strings.Join(s.Ops, " "), 24), s.Elements, s.SQNR, mark, s.Output, s.KL, 100*s.Share)
		if scored {
			fmt.Fprintf(tw, "\t%s", change(s.Score))
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

func drawSensitivity(path, scheme string, list []quantize.Sensitivity) error {
	var rows []reports.SensitivityRow
	for _, s := range list {
		name := model.WithReader(s.Weight, s.Reader)
		if !s.Stored {
			name += " (" + gridMark + ")"
		}
		rows = append(rows, reports.SensitivityRow{Weight: name, SQNR: s.SQNR, Output: s.Output})
	}
	p := reports.SensitivityPlot(scheme, rows)
	var b bytes.Buffer
	draw := p.SVG
	if filepath.Ext(path) == ".png" {
		draw = p.PNG
	}
	if err := draw(&b); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
