package main

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/testdata"
)

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name: "quantize", Usage: "store weights in fewer bits", ArgsUsage: "MODEL -o OUT",
		Description: "Example: wattshed quantize model.onnx -o model.int8.onnx --scheme int8\n\n" +
			"fp16 and bf16 with --storage weights keep half-size weights behind a Cast: every runtime loads the file; ONNX\n" +
			"Runtime's CPU provider expands them at load, so there only the file shrinks; the native engine keeps matrices and\n" +
			"convolutions half-size too. --storage graph computes in half precision and is for accelerators; calibration inputs\n" +
			"show which fp16 activations would overflow, and these stay in float32.\n" +
			"int8 and uint8 are dynamic: 8-bit weights, activations quantized at run time. int8-static (int8 with --mode static)\n" +
			"quantizes activations with ranges read from calibration inputs: texts, arrays or images (--calibration FILE or DIR),\n" +
			"or random ones, which show what fits and how fast it is, not how accurate.\n" +
			"int4 (and int8 with --mode weight-only) stores weights in groups that share a scale and leaves activations in float;\n" +
			"algorithms gptq and awq read calibration inputs. int16 and uint16 quantize activations to 16 bits; fp8-e4m3 and\n" +
			"fp8-e5m2 store weights only: no CPU multiplies these types. --plan says what a scheme takes, and writes nothing.",
		Flags: append(stageFlags(
			&cli.StringFlag{Name: "scheme", Usage: "fp16, bf16, fp8 (fp8-e4m3), fp8-e5m2, int16, uint16, int8, int8-static, uint8, uint8-static, int4 or uint4"},
			&cli.StringFlag{Name: "storage", Usage: "of fp16 and bf16: weights or graph (default weights)"},
			&cli.StringFlag{Name: "mode", Usage: "of int8 and uint8: dynamic, static or weight-only (default dynamic); of int16 and uint16: static or weight-only (default static)"},
			&cli.StringFlag{Name: "granularity", Usage: "of int8: per-tensor or per-channel (default per-channel)"},
			&cli.StringSliceFlag{Name: "ops", Usage: "operators that int8 quantizes (default MatMul,Gemm,Gather,LSTM,GRU,RNN; static: all that the target has)"},
			&cli.StringFlag{Name: "algorithm", Usage: "of int4: rtn, gptq, awq or hqq (default rtn)"},
			&cli.IntFlag{Name: "group", Usage: "of int4: inputs that share a scale, 16, 32, 64, 128 ..., -1 for all (default 32)"},
			&cli.BoolFlag{Name: "symmetric", Usage: "of int4: no zero points"},
			&cli.BoolFlag{Name: "plan", Usage: "say what memory, disk and time it takes, and write nothing"},
			&cli.BoolFlag{Name: "stream", Usage: "work block by block, as is done from 1 GiB on; fp16, bf16, dynamic int8 and int4 by rtn can"},
			&cli.StringFlag{Name: "calibration", Usage: "of int8-static, fp16 graphs, gptq and awq: random, or a `FILE` of texts, one of arrays (.npz) or a folder of images (default random); int8-static: data-free too; fp16 graphs: none too"},
			&cli.StringFlag{Name: "method", Usage: "of int8-static: min-max, moving-average, percentile, entropy or mse (default min-max)"},
			&cli.Float64Flag{Name: "percentile", Usage: "of the method percentile (default 99.99)"},
			&cli.IntFlag{Name: "samples", Usage: "calibration runs (default 64; gptq and awq: 128)"},
			&cli.StringFlag{Name: "cache", Usage: "`FILE` of ranges: read where it is there, else written"},
			&cli.StringFlag{Name: "format", Usage: "of int8-static: qdq or qoperator (default qdq); of int4: matmulnbits or qdq (default matmulnbits)"},
			&cli.StringFlag{Name: "target", Usage: "of int8-static: onnxruntime-cpu, tensorrt or openvino (default onnxruntime-cpu)"},
			&cli.StringSliceFlag{Name: "exclude", Usage: "leave nodes as they are, by `NAME`, weight, value or operator; patterns with *"},
			&cli.StringFlag{Name: "activations", Usage: "of int8-static: uint8, int8, uint16 or int16 (default what the target computes with)"},
			&cli.StringFlag{Name: "reduce-range", Usage: "of int8: 7-bit weights: auto, on or off (default auto: what the target CPU needs)"},
			&cli.StringFlag{Name: "target-cpu", Usage: "that the file is for: host, x86-vnni, x86-avx2 or arm64 (default host)"},
			&cli.Float64Flag{Name: "smooth", Usage: "SmoothQuant's alpha, 0.5 for a start (default off)"},
			&cli.BoolFlag{Name: "equalize", Usage: "cross-layer equalization of convolutions"},
			&cli.BoolFlag{Name: "bias-correction", Usage: "correct biases by the mean error of the weights"},
			&cli.StringFlag{Name: "rounding", Usage: "of weights: nearest or adaptive (default nearest)"},
			&cli.StringFlag{Name: "tokenizer", Usage: "`FILE` tokenizer.json of texts to calibrate with (default: the model's metadata)"},
			&cli.IntFlag{Name: "batch", Value: 1, Usage: "of random calibration inputs"},
			&cli.IntFlag{Name: "sequence", Usage: "of random calibration inputs: length of sequences", DefaultText: "the model's own"},
			&cli.StringSliceFlag{Name: "shape", Usage: "of a random calibration input, `NAME=1x3x48x192`; may be repeated"},
			&cli.StringSliceFlag{Name: "state", Usage: "`INPUT=OUTPUT`: an output that the next calibration run takes as input; may be repeated"},
		), imageFlags()...),
		Action: func(c *cli.Context) error { return inFlags(c, quantizeAction(c)) },
	}
}

// quantizeAction carries out the command.
func quantizeAction(c *cli.Context) error {
	if c.String("scheme") == "" {
		return usagef("--scheme: missing: one of %s", strings.Join(recipe.SchemeWords(), ", "))
	}
	q := &recipe.Quantize{Scheme: c.String("scheme"), Storage: c.String("storage"), Mode: c.String("mode"),
		Granularity: c.String("granularity"), Ops: c.StringSlice("ops"), Method: c.String("method"), Percentile: c.Float64("percentile"),
		Calibration: c.String("calibration"), Samples: c.Int("samples"), Cache: c.String("cache"), Format: c.String("format"), Target: c.String("target"),
		Exclude: c.StringSlice("exclude"), ReduceRange: c.String("reduce-range"), Smooth: c.Float64("smooth"), Equalize: c.Bool("equalize"),
		BiasCorrection: c.Bool("bias-correction"), Rounding: c.String("rounding"), Algorithm: c.String("algorithm"), Group: c.Int("group"),
		Symmetric: c.Bool("symmetric"), Activations: c.String("activations"), TargetCPU: c.String("target-cpu")}
	inputs, err := calibrationInputs(c, q)
	if err != nil {
		return err
	}
	if c.Bool("plan") {
		return printStreamPlan(c, q, inputs)
	}
	return applyStage(c, q, inputs, nil)
}

// keyWords are words of recipes in messages: the path of a key at the beginning, and keys of two words.
var keyWords = regexp.MustCompile(`^(quantize\.)?[a-z_]+: |\b[a-z]+(_[a-z]+)+\b`)

// inFlags puts the names of flags in the place of the recipe's keys in what is wrong with a value: here they were given as flags.
func inFlags(c *cli.Context, err error) error {
	if !errors.Is(err, recipe.ErrValue) {
		return err
	}
	text := keyWords.ReplaceAllStringFunc(err.Error(), func(s string) string {
		key, colon := strings.CutSuffix(s, ": ")
		flag := strings.ReplaceAll(strings.TrimPrefix(key, "quantize."), "_", "-")
		switch {
		case !known(c.Command, flag):
			return s
		case colon:
			return "--" + flag + ": "
		}
		return "--" + flag
	})
	return withHint(usagef("%s", text), hintOf(err))
}

// calibrationInputs says what the inputs of calibration are like: random ones unless a file is named.
func calibrationInputs(c *cli.Context, q *recipe.Quantize) (*recipe.Recipe, error) {
	wide := (q.Scheme == "int16" || q.Scheme == "uint16") && q.Mode == ""
	if strings.HasSuffix(q.Scheme, "-static") || q.Mode == "static" || wide || q.Algorithm == string(quantize.GPTQ) || q.Algorithm == string(quantize.AWQ) {
		if q.Calibration == "" || q.Calibration == "data" {
			q.Calibration = "random"
		}
	}
	shapes, err := parseShapes(c.StringSlice("shape"))
	if err != nil {
		return nil, err
	}
	state := map[string]string{}
	for _, s := range c.StringSlice("state") {
		in, out, ok := strings.Cut(s, "=")
		if !ok || in == "" || out == "" {
			return nil, usagef("--state: %q: want INPUT=OUTPUT", s)
		}
		state[in] = out
	}
	rec := &recipe.Recipe{Dir: ".", Inputs: recipe.InputsSpec{Tokenizer: c.String("tokenizer"), Shapes: shapes, State: state},
		Target: recipe.TargetSpec{Batch: c.Int("batch"), Sequence: c.Int("sequence")}}
	return rec, onImages(c, &rec.Inputs, isFolder(q.Calibration))
}

// printStreamPlan prints what the stage would need. It refuses what cannot fit.
func printStreamPlan(c *cli.Context, q *recipe.Quantize, inputs *recipe.Recipe) error {
	in, err := modelFile(c)
	if err != nil {
		return err
	}
	out, err := output(c, filepath.Base(in))
	if err != nil {
		return err
	}
	p, err := recipe.PlanStage(c.Context, recipe.Single{In: in, Out: out, Reads: reads(c), Stage: q, Threads: c.Int("threads"), Inputs: inputs, Builtin: testdata.FS})
	if p != nil && c.Bool("json") {
		if e := printJSON(c, p); e != nil {
			return e
		}
		return err
	}
	if p == nil {
		return stageHint(c, err, in, out)
	}
	w := c.App.Writer
	printNotes(w, p.Notes)
	fmt.Fprintf(w, "output: %s, and %s of external data\n", bytesText(p.ModelBytes), bytesText(p.DataBytes))
	if p.FreeDisk >= 0 {
		fmt.Fprintf(w, "disk: %s are free there\n", bytesText(p.FreeDisk))
	}
	if p.Workers > 0 {
		fmt.Fprintf(w, "memory: %s at most: %d blocks of up to %s, and the program", bytesText(p.MemoryBytes), p.Workers, bytesText(p.BlockBytes))
	} else {
		fmt.Fprintf(w, "memory: about %s, besides the weights, which are mapped from the file", bytesText(p.MemoryBytes))
	}
	if p.FreeMemory > 0 {
		fmt.Fprintf(w, "; %s are free", bytesText(p.FreeMemory))
	}
	if err == nil {
		fmt.Fprintf(w, "\ntime: about %s, if %s", spanText(p.Seconds+p.CalibrationSeconds, p.SecondsMost+p.CalibrationSeconds), busyText(p.OtherCPUs))
		if p.DiskSpeed > 0 {
			fmt.Fprintf(w, " and the disk goes on to write %s a second", bytesText(int64(p.DiskSpeed)))
		}
		switch {
		case p.CalibrationSeconds > 0:
			fmt.Fprintf(w, "; %s of it for %d runs of the model to calibrate", secondsText(p.CalibrationSeconds), p.CalibrationRuns)
		case p.CalibrationRuns > 0:
			fmt.Fprintf(w, ", and %d runs of the model to calibrate", p.CalibrationRuns)
		}
	}
	fmt.Fprintln(w)
	return err
}

// spanText is a guessed time between two bounds, both in tenths or, where one is above ten seconds or both are whole, in seconds.
func spanText(least, most float64) string {
	format := "%.1f"
	if most >= 9.95 || least == math.Trunc(least) && most == math.Trunc(most) {
		format = "%.0f"
	}
	lo, hi := fmt.Sprintf(format, least), fmt.Sprintf(format, most)
	if lo == hi {
		return lo + " s"
	}
	return lo + " to " + hi + " s"
}

// busyText is what a guess of the time assumes of other processes; others are the CPUs that they used while it was made, nil where that is not known.
func busyText(others *float64) string {
	if others == nil {
		return "the machine stays as busy as it is"
	}
	return fmt.Sprintf("other processes take no more of the %d CPUs than now (%.1f)", runtime.NumCPU(), *others)
}

// secondsText is a guessed time: tenths below ten seconds.
func secondsText(s float64) string {
	if s < 9.95 {
		return fmt.Sprintf("%.1f s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}
