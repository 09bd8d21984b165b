package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize/verify"
)

// ruleOutputs is broken where a runtime computes something else than the native one.
const ruleOutputs verify.Rule = "outputs"

// outputs says on what verify compares the outputs of two runtimes, and how near they must be.
type outputs struct {
	asked     bool
	provider  string
	inputs    task.Random
	lengths   []int
	tolerance float64 // share of the largest magnitude
}

// compared is an Agreement that the command prints.
type compared struct{ recipe.Agreement }

// String tells how far the outputs are apart.
func (a compared) String() string {
	at := ""
	if a.Sequence > 0 {
		at = fmt.Sprintf(" at length %d", a.Sequence)
	}
	return fmt.Sprintf("output %q%s differs from the native runtime's by %.2g, its largest value is %.3g", a.Output, at, a.Difference, a.Largest)
}

// outputsFlags are those of comparing outputs.
func outputsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "provider", Value: "cpu", Usage: "of ort: cpu, cuda, tensorrt, webgpu or another that its library has"},
		&cli.BoolFlag{Name: "outputs", Usage: "with --runtime: compare outputs on random inputs with the native runtime's"},
		&cli.IntSliceFlag{Name: "sequence", Usage: "with --outputs: length of sequences; may be repeated", DefaultText: "the model's own"},
		&cli.IntFlag{Name: "batch", Value: 1, Usage: "with --outputs: examples per run"},
		&cli.StringSliceFlag{Name: "shape", Usage: "with --outputs: shape of an input, `NAME=1x3x48x192`; may be repeated"},
		&cli.Float64Flag{Name: "tolerance", Value: 1e-3, Usage: "with --outputs: largest difference, as a share of the largest output"},
	}
}

// verifyOutputs reads the flags.
func verifyOutputs(c *cli.Context) (o outputs, err error) {
	o = outputs{asked: c.Bool("outputs"), provider: c.String("provider"), lengths: c.IntSlice("sequence"), tolerance: c.Float64("tolerance")}
	switch {
	case c.String("runtime") == "" && (o.asked || c.IsSet("provider")):
		return o, usagef("--outputs and --provider: want --runtime ort too")
	case !o.asked && (len(o.lengths) > 0 || c.IsSet("shape") || c.IsSet("batch") || c.IsSet("tolerance")):
		return o, usagef("--sequence, --batch, --shape and --tolerance: want --outputs too")
	case !(o.tolerance >= 0):
		return o, usagef("--tolerance: %v: want 0 or more", o.tolerance)
	case c.Int("batch") < 1:
		return o, usagef("--batch: %d: want 1 or more", c.Int("batch"))
	}
	for _, n := range o.lengths {
		if n < 1 {
			return o, usagef("--sequence: %d: want 1 or more", n)
		}
	}
	o.inputs = task.Random{Seed: 1, Batch: int64(c.Int("batch"))}
	o.inputs.Shapes, err = parseShapes(c.StringSlice("shape"))
	return o, err
}

// compare runs the model in the session and natively, and finds outputs that differ by more than the tolerance.
func (v *verified) compare(ctx context.Context, s engine.Session, g *model.Graph, o outputs) error {
	native, err := engine.Native{}.Load(ctx, engine.Artifact{Path: v.Path}, engine.Options{Threads: 1})
	if err != nil {
		return err
	}
	defer native.Close()
	list, err := recipe.Agree(ctx, s, native, g, o.inputs, o.lengths)
	if err != nil {
		return fmt.Errorf("%s: %w", v.Path, err)
	}
	for _, a := range list {
		v.Outputs = append(v.Outputs, compared{a})
		if share := a.Share(); !(share <= o.tolerance) {
			v.Findings = append(v.Findings, verify.Finding{Rule: ruleOutputs, Value: a.Output,
				What: fmt.Sprintf("%s differs by %.2g of its largest magnitude from the native runtime's, want at most %g", v.Runtime, share, o.tolerance)})
		}
	}
	return nil
}
