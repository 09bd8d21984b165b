package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/measure/carbon"
	"github.com/wattshed/wattshed/reports"
)

func measureCommand() *cli.Command {
	return &cli.Command{
		Name: "measure", Usage: "latency, throughput, memory, energy and carbon of models, paired and interleaved", ArgsUsage: "MODEL...",
		Description: "Example: wattshed measure model.onnx model.int8.onnx --batch 1 --sequence 128\n\n" +
			"The first model is the baseline. Inputs are random (integers inside the table that they index, single ones that the\n" +
			"model compares with a constant equal to it, masks 1) unless --inputs names some; how closely the outputs of the\n" +
			"others follow the first is shown as fidelity. --json prints the whole result, which report, explain and compare\n" +
			"take. Every block is kept in the user's cache as it is taken: after an interruption the same command with --resume\n" +
			"goes on where it was.",
		Flags: measureFlags(),
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return usagef("MODEL: missing")
			}
			for _, path := range c.Args().Slice() {
				if err := recipe.FileOnly(path); err != nil {
					return usageError{err}
				}
			}
			rec, err := measureRecipe(c)
			if err != nil {
				return err
			}
			o, done, err := recipeOptions(c)
			if err != nil {
				return err
			}
			defer done()
			p := newProgress(c)
			o.Progress = p.set
			o.Out, o.Resume = measureFolder(rec, c.Args().Slice()), c.Bool("resume")
			res, err := recipe.Measure(c.Context, rec, c.Args().Slice()[1:], o)
			p.close()
			if err != nil {
				return runHint(err, c.Command.Name, "")
			}
			if c.Bool("json") {
				return reports.JSON(c.App.Writer, res)
			}
			return reports.Terminal(c.App.Writer, res, true)
		},
	}
}

// targetFlags say what models run on.
func targetFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "runtime", Value: "native", Usage: "native or ort"},
		&cli.StringFlag{Name: "provider", Value: "cpu", Usage: "of ort: cpu, cuda, tensorrt, webgpu or another that its library has"},
		&cli.IntFlag{Name: "batch", Value: 1, Usage: "examples per run"},
		&cli.IntFlag{Name: "sequence", Usage: "length of sequences", DefaultText: "the model's own"},
		&cli.StringSliceFlag{Name: "shape", Usage: "shape of an input, `NAME=1x3x48x192`; may be repeated"},
		&cli.IntFlag{Name: "threads", Usage: "threads, 0 for all processors", DefaultText: "all processors"},
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of random inputs and of the order of blocks"},
	}, runtimeFlags()...)
}

// measureFlags say how models are measured, and on what.
func measureFlags() []cli.Flag {
	return slices.Concat(targetFlags(), []cli.Flag{
		&cli.StringFlag{Name: "inputs", Usage: "`FILE`.npz of arrays by input name, or a folder of images", DefaultText: "random ones"},
		&cli.IntFlag{Name: "pairs", Value: 10, Usage: "least number of pairs of blocks"},
		&cli.Float64Flag{Name: "precision", Value: 0.02, Usage: "wanted half-width of the 95 % interval of a ratio"},
		&cli.Float64Flag{Name: "max-seconds", Value: 120, Usage: "of blocks, per model beside the first; the first pairs (--pairs) are taken whatever it says"},
		&cli.Float64Flag{Name: "idle-seconds", Usage: "idle power measured before and after"},
		&cli.Float64Flag{Name: "block-seconds", Value: 1, Usage: "length of a block"},
		&cli.StringFlag{Name: "zone", Usage: "country whose grid the energy comes from (ISO 3166 alpha-3)", DefaultText: "the world's mean, with a warning"},
		&cli.StringFlag{Name: "live", Usage: "ask a live `SERVICE` for the grid's intensity now: " + carbon.AverageServices, DefaultText: "the yearly table of --zone"},
		&cli.BoolFlag{Name: "resume", Usage: "go on with the same measurement that was interrupted"}, meterFlag(), jsonFlag(), quietFlag()}, sessionFlags(), imageFlags())
}

// measureFolder is where the blocks of a measurement of these models with these options are kept until it is done; "" without a cache.
func measureFolder(rec *recipe.Recipe, models []string) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	what, err := json.Marshal(rec)
	if err != nil {
		return ""
	}
	h := sha256.New()
	h.Write(what)
	for _, m := range models {
		if abs, err := filepath.Abs(m); err == nil {
			m = abs
		}
		fmt.Fprintf(h, "\n%s", m)
	}
	return filepath.Join(dir, "wattshed", "measure", hex.EncodeToString(h.Sum(nil)[:8]))
}

// measureRecipe turns the flags into a recipe without variants.
func measureRecipe(c *cli.Context) (*recipe.Recipe, error) {
	shapes, err := parseShapes(c.StringSlice("shape"))
	if err != nil {
		return nil, err
	}
	rec := &recipe.Recipe{Version: 1, Model: c.Args().First(), Dir: ".",
		Inputs: recipe.InputsSpec{Random: &recipe.RandomSpec{Seed: new(c.Uint64("seed")), N: 16}, Shapes: shapes},
		Target: onRuntime(c, recipe.TargetSpec{Runtime: c.String("runtime"), Provider: c.String("provider"), Threads: c.Int("threads"), Batch: c.Int("batch"), Sequence: c.Int("sequence")}),
		Measure: recipe.MeasureSpec{Pairs: c.Int("pairs"), Precision: c.Float64("precision"), MaxSeconds: c.Float64("max-seconds"),
			IdleSeconds: c.Float64("idle-seconds"), BlockSeconds: c.Float64("block-seconds"), Seed: new(c.Uint64("seed"))},
		Carbon: recipe.CarbonSpec{Zone: c.String("zone"), Live: c.String("live")},
	}
	if data := c.String("inputs"); data != "" {
		rec.Inputs.Random = nil
		if isArrays(data) {
			rec.Inputs.NPZ = data
		} else {
			rec.Inputs.Images = data
		}
	}
	return rec, onImages(c, &rec.Inputs, rec.Inputs.Images != "")
}

// parseShapes reads NAME=1x3x48x192.
func parseShapes(list []string) (map[string][]int, error) {
	out := map[string][]int{}
	for _, s := range list {
		i := strings.LastIndexByte(s, '=')
		if i <= 0 {
			return nil, usagef("--shape: %q: want NAME=1x3x48x192", s)
		}
		shape := []int{}
		if s[i+1:] != "" {
			for _, d := range strings.Split(s[i+1:], "x") {
				n, err := strconv.Atoi(d)
				if err != nil || n < 0 {
					return nil, usagef("--shape: %q: %q is no size", s, d)
				}
				shape = append(shape, n)
			}
		}
		if _, twice := out[s[:i]]; twice {
			return nil, usagef("--shape: %q is given twice", s[:i])
		}
		out[s[:i]] = shape
	}
	return out, nil
}
