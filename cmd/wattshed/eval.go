package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/reports"
	"github.com/wattshed/wattshed/testdata"
)

func evalCommand() *cli.Command {
	return &cli.Command{
		Name: "eval", Usage: "accuracy of a model", ArgsUsage: "MODEL --task DATA",
		Description: "Example: wattshed eval model.onnx --task test.jsonl\n\n" +
			"DATA is a .jsonl file with a text and a label a line, or builtin:spam. Tokenizer and labels come from the model's\n" +
			"metadata, or from --tokenizer and the data. It may also be a .npz file with an array per input and one of labels (whole\n" +
			"numbers from 0), or a folder with a folder of images per label. MODEL may be builtin:spam-lstm.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "task", Usage: "`DATA` to score on"},
			&cli.StringFlag{Name: "tokenizer", Usage: "`FILE` tokenizer.json (default: the model's metadata)"},
			&cli.StringFlag{Name: "text", Value: "text", Usage: "field of the text"},
			&cli.StringFlag{Name: "label", Value: "label", Usage: "field of the label, or array of labels"},
			&cli.StringSliceFlag{Name: "labels", Usage: "the labels in the order of the model's outputs", DefaultText: "the model's metadata, else sorted"},
			&cli.Float64Flag{Name: "threshold", Usage: "between two classes, where the output is one value"},
			&cli.IntFlag{Name: "max-length", Usage: "tokens a text is cut to", DefaultText: "the model's metadata, else 128"},
			&cli.StringFlag{Name: "runtime", Value: "native", Usage: "native or ort"},
			&cli.StringFlag{Name: "provider", Value: "cpu", Usage: "of ort: cpu, cuda, tensorrt, webgpu or another that its library has"},
			&cli.IntFlag{Name: "batch", Value: 1, Usage: "examples per run"},
			&cli.IntFlag{Name: "threads", Usage: "threads, 0 for all processors", DefaultText: "all processors"},
			jsonFlag(), quietFlag(),
		}, runtimeFlags(), imageFlags()),
		Action: func(c *cli.Context) error {
			path, err := one(c, "MODEL")
			if err != nil {
				return err
			}
			if c.String("task") == "" {
				return usagef("--task: missing: name the data to score on")
			}
			rec := &recipe.Recipe{Version: 1, Model: path, Dir: ".",
				Task:   &recipe.TaskSpec{Kind: "classification", Label: c.String("label"), Labels: c.StringSlice("labels"), Threshold: c.Float64("threshold")},
				Inputs: recipe.InputsSpec{Tokenizer: c.String("tokenizer"), MaxLength: c.Int("max-length")},
				Target: onRuntime(c, recipe.TargetSpec{Runtime: c.String("runtime"), Provider: c.String("provider"), Threads: c.Int("threads"), Batch: c.Int("batch")})}
			switch data := c.String("task"); {
			case isArrays(data):
				rec.Inputs.NPZ = data
			case isFolder(data):
				rec.Inputs.Images = data
			default:
				rec.Task.Data, rec.Task.Text = data, c.String("text")
			}
			if err := onImages(c, &rec.Inputs, rec.Inputs.Images != ""); err != nil {
				return err
			}
			p := newProgress(c)
			a, err := recipe.Evaluate(c.Context, rec, recipe.Options{Builtin: testdata.FS, Runtimes: runtimes(), Progress: p.set})
			p.close()
			if err != nil {
				return runHint(err, c.Command.Name, "")
			}
			if c.Bool("json") {
				return printJSON(c, a)
			}
			fmt.Fprintf(c.App.Writer, "%s %s of %s examples\n", a.Metric, reports.Score(a.Metric, a.Value, a.CI95), reports.Number(int64(a.N)))
			return nil
		},
	}
}
