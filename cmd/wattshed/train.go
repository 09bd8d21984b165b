package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/distill"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/reports"
	"github.com/wattshed/wattshed/testdata"
)

func trainCommand() *cli.Command {
	return &cli.Command{
		Name: "train", Usage: "train a text classifier from labelled texts", ArgsUsage: "DATA -o OUT",
		Description: "Example: wattshed train builtin:spam/train -o spam.onnx --validation builtin:spam/validation\n\n" +
			"DATA is a .jsonl file with a text and a label a line, or a split of the built-in data. Tokenizer and labels are kept in\n" +
			"the model's metadata. The same data, settings and seed give the same bytes on every amd64 machine, with any\n" +
			"number of threads. An interrupted training goes on with the same command.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "o", Aliases: []string{"output"}, Usage: "`FILE` to write"},
			&cli.StringFlag{Name: "validation", Usage: "`DATA` that choose the best epoch"},
			&cli.StringFlag{Name: "text", Value: "text", Usage: "field of the text"},
			&cli.StringFlag{Name: "label", Value: "label", Usage: "field of the label"},
			&cli.StringFlag{Name: "arch", Value: "lstm", Usage: "lstm or logistic"},
			&cli.IntFlag{Name: "embedding", Value: 64, Usage: "width of the embedding"},
			&cli.IntFlag{Name: "hidden", Value: 128, Usage: "width of the LSTM"},
			&cli.StringFlag{Name: "pooling", Value: "max", Usage: "of the LSTM's states: last, mean or max"},
			&cli.IntFlag{Name: "vocabulary", Value: 10000, Usage: "most words that are kept"},
			&cli.IntFlag{Name: "max-length", Value: 128, Usage: "tokens a text is cut to"},
			&cli.IntFlag{Name: "epochs", Value: 6, Usage: "passes over the data"},
			&cli.IntFlag{Name: "batch", Value: 32, Usage: "examples per step"},
			&cli.Float64Flag{Name: "learning-rate", Value: 1e-3, Usage: "of AdamW, after warm-up"},
			&cli.Float64Flag{Name: "weight-decay", Value: 0.01, Usage: "of AdamW"},
			&cli.Float64Flag{Name: "word-dropout", Value: 0.3, Usage: "share of the words hidden in training"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of the first weights and the order"},
			&cli.IntFlag{Name: "threads", Usage: "threads, 0 for all processors", DefaultText: "all processors"},
			jsonFlag(), quietFlag(),
		},
		Action: func(c *cli.Context) error {
			data, err := one(c, "DATA")
			if err != nil {
				return err
			}
			out, err := output(c, "model.onnx")
			if err != nil {
				return err
			}
			arch := distill.Arch{Kind: c.String("arch"), Vocabulary: c.Int("vocabulary"), Embedding: c.Int("embedding"), Hidden: c.Int("hidden"), Pooling: c.String("pooling"), Classes: 2}
			if err := checkArch(arch); err != nil {
				return err
			}
			p := newProgress(c)
			res, err := recipe.Train(c.Context, recipe.TrainSpec{Data: data, Validation: c.String("validation"), Text: c.String("text"), Label: c.String("label"),
				Arch: arch, MaxLength: c.Int("max-length"), Epochs: c.Int("epochs"), Batch: c.Int("batch"), LearningRate: c.Float64("learning-rate"),
				WeightDecay: c.Float64("weight-decay"), WordDropout: c.Float64("word-dropout"), Seed: c.Uint64("seed"), Threads: c.Int("threads"), Out: out, Builtin: testdata.FS, Native: runtimes()["native"], Progress: p.set})
			p.close()
			switch {
			case errors.Is(err, recipe.ErrSameFile):
				return sameFile(c, "-o", out, "DATA", err)
			case err != nil:
				return err
			}
			if c.Bool("json") {
				return printJSON(c, res)
			}
			for _, e := range res.Report.Epochs {
				line := fmt.Sprintf("epoch %d: loss %.4f", e.Epoch, e.Loss)
				if e.Validation != nil {
					line += ", validation accuracy " + reports.Score("accuracy", *e.Validation, nil)
				}
				fmt.Fprintln(c.App.Writer, line)
			}
			if res.Report.Unused != "" {
				fmt.Fprintf(c.App.Writer, "trained from the beginning: %s\n", res.Report.Unused)
			}
			fmt.Fprintf(c.App.Writer, "%s: %s, %s parameters, epoch %d, sha256 %s\n", out, bytesText(res.Bytes), reports.Number(int64(res.Report.Parameters)), res.Report.Best, res.SHA256)
			return nil
		},
	}
}

// checkArch words what is wrong with an architecture by the flags.
func checkArch(a distill.Arch) error {
	err := a.Check()
	switch {
	case err == nil:
		return nil
	case a.Kind == "gru" || a.Kind == "rnn":
		return withHint(usagef("--arch: %q: train makes lstm (an LSTM over the tokens) or logistic (a linear layer on the mean of their embeddings), no %s",
			a.Kind, strings.ToUpper(a.Kind)), "--arch lstm; a GRU or RNN that was trained elsewhere can be pruned, quantized and measured")
	case a.Kind != "lstm" && a.Kind != "logistic":
		return usagef("--arch: %q: want lstm (an LSTM over the tokens) or logistic (a linear layer on the mean of their embeddings)", a.Kind)
	}
	return usageError{err}
}

func distillCommand() *cli.Command {
	return &cli.Command{
		Name: "distill", Usage: "train a smaller student from a model, or a model further", ArgsUsage: "MODEL -o OUT --data DATA",
		Description: "Example: wattshed distill spam.onnx -o small.onnx --data builtin:spam/train --embedding 16 --hidden 48\n\n" +
			"With --embedding and --hidden a student of that size learns from the labels and from what MODEL, the teacher, says of\n" +
			"the same texts. Without them MODEL itself is trained further.",
		Flags: stageFlags(
			&cli.StringFlag{Name: "data", Usage: "`DATA` to train on: .jsonl or builtin:spam/train"},
			&cli.StringFlag{Name: "validation", Usage: "`DATA` that choose the best epoch"},
			&cli.StringFlag{Name: "text", Value: "text", Usage: "field of the text"},
			&cli.StringFlag{Name: "label", Value: "label", Usage: "field of the label"},
			&cli.StringFlag{Name: "teacher", Value: "baseline", Usage: "baseline (MODEL) or none (labels alone)"},
			&cli.StringFlag{Name: "student", Usage: "`FILE` of the student's model"},
			&cli.IntFlag{Name: "embedding", Usage: "width of the student's embedding"},
			&cli.IntFlag{Name: "hidden", Usage: "width of the student's LSTM"},
			&cli.StringFlag{Name: "pooling", Usage: "of the student's LSTM: last, mean or max"},
			&cli.IntFlag{Name: "epochs", Value: 3, Usage: "passes over the data"},
			&cli.IntFlag{Name: "batch", Value: 32, Usage: "examples per step"},
			&cli.Float64Flag{Name: "learning-rate", Usage: "of AdamW", DefaultText: "0.004 for a student of a given size, else 0.001"},
			&cli.Float64Flag{Name: "temperature", Value: 2, Usage: "in which teacher and student are compared"},
			&cli.Float64Flag{Name: "alpha", Value: 0.5, Usage: "weight of the teacher against the labels, 0 to 1"},
			&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "of the first weights and the order"},
			&cli.IntFlag{Name: "threads", Usage: "threads, 0 for all processors", DefaultText: "all processors"},
		),
		Action: func(c *cli.Context) error {
			if c.String("data") == "" {
				return usagef("--data: missing: name the texts to train on")
			}
			alpha := c.Float64("alpha")
			d := &recipe.Distill{Teacher: c.String("teacher"), Epochs: c.Int("epochs"), Temperature: c.Float64("temperature"), Alpha: &alpha,
				LearningRate: c.Float64("learning-rate"), Batch: c.Int("batch"), Seed: new(c.Uint64("seed"))}
			if c.String("student") != "" || c.Int("embedding") != 0 || c.Int("hidden") != 0 {
				d.Student = &recipe.StudentSpec{File: c.String("student"), Embedding: c.Int("embedding"), Hidden: c.Int("hidden"), Pooling: c.String("pooling")}
			}
			return applyStage(c, d, nil, func(path string) (*recipe.Training, error) {
				return recipe.TrainingFor(path, c.String("data"), c.String("validation"), c.String("text"), c.String("label"), testdata.FS, runtimes()["native"])
			})
		},
	}
}
