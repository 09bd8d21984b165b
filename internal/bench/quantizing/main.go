// Command quantizing times whole processes that quantize a model: `wattshed quantize` beside onnxruntime.quantization in Python, and above
// a gigabyte beside cp. The two alternate in random order; ratios have 95 % intervals over the pairs.
//
//	go run ./internal/bench/quantizing -assets assets -python venv/bin/python -wattshed bin/wattshed
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/wattshed/wattshed/internal/bench/program"
	"github.com/wattshed/wattshed/measure"
)

func main() { program.Main("quantizing", run) }

// settings are the flags.
type settings struct {
	assets, work, python, wattshed, script string
	rounds                                 int
	seed                                   uint64
}

// contest is a pair of commands that do the same work; each writes file, which is removed before it is timed.
type contest struct {
	name, other  string
	target       float64 // of the time of theirs over ours
	ours, theirs []string
	ourFile      string
	theirFile    string
	prepare      func(context.Context) error
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	var s settings
	fl := flag.NewFlagSet("quantizing", flag.ContinueOnError)
	fl.SetOutput(log)
	fl.StringVar(&s.assets, "assets", os.Getenv("WATTSHED_ASSETS"), "folder of models and data")
	fl.StringVar(&s.work, "work", "out/quantizing", "folder that is written to; several gigabytes")
	fl.StringVar(&s.python, "python", "", "interpreter with onnxruntime.quantization")
	fl.StringVar(&s.wattshed, "wattshed", "bin/wattshed", "the program")
	fl.StringVar(&s.script, "script", "testdata/quantize/ort_models.py", "what the interpreter runs")
	fl.IntVar(&s.rounds, "rounds", 5, "pairs per row")
	fl.Uint64Var(&s.seed, "seed", 1, "of the order")
	only := fl.String("rows", "", "regular expression: only rows whose name it matches")
	re, err := program.Parse(fl, args, "rows", only)
	if err != nil {
		return err
	}
	if s.rounds < 2 {
		return fmt.Errorf("-rounds %d: at least 2 are needed", s.rounds)
	}
	if err := os.MkdirAll(s.work, 0o777); err != nil {
		return err
	}
	if err := program.Heading(out); err != nil {
		return err
	}
	fmt.Fprintln(out, "| work | wattshed s | other s | other/wattshed [95 %] | pairs | wanted |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|")
	for _, c := range s.contests() {
		if !re.MatchString(c.name) {
			continue
		}
		if c.theirs[0] == "" {
			fmt.Fprintf(log, "quantizing: %s: left out, -python is not given\n", c.name)
			continue
		}
		fmt.Fprintf(log, "quantizing: %s\n", c.name)
		line, err := c.time(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintln(out, line)
	}
	return nil
}

// contests lists the rows.
func (s settings) contests() []contest {
	minilm, tokenizer := filepath.Join(s.assets, "M1/all-minilm-l6-v2.onnx"), filepath.Join(s.assets, "M1/all-minilm-l6-v2-tokenizer.json")
	at := func(name string) string { return filepath.Join(s.work, name) }
	ours, theirs := at("ours.onnx"), at("theirs.onnx")
	quantize := func(in string, more ...string) []string {
		return append([]string{s.wattshed, "quantize", in, "-o", ours, "--quiet"}, more...)
	}
	python := func(scheme string, more ...string) []string {
		return append([]string{s.python, s.script, minilm, theirs, scheme}, more...)
	}
	list := []contest{
		{name: "MiniLM, dynamic int8", other: "quantize_dynamic", target: 10, ours: quantize(minilm, "--scheme", "int8"), theirs: python("dynamic")},
		{name: "MiniLM, static int8, 16 samples", other: "quant_pre_process, quantize_static", target: 5,
			ours:   quantize(minilm, "--scheme", "int8-static", "--calibration", at("calibration.txt"), "--tokenizer", tokenizer, "--samples", "16"),
			theirs: []string{s.python, s.script, at("raised.onnx"), theirs, "static", at("calibration.npz")},
			prepare: func(ctx context.Context) error {
				if err := s.calibration(ctx); err != nil {
					return err
				}
				_, err := one(ctx, []string{s.python, s.script, minilm, at("raised.onnx"), "raise"}, at("raised.onnx")) // it wants opset 13 or more
				return err
			}},
		{name: "MiniLM, int4 rounded to nearest", other: "MatMulNBitsQuantizer", target: 5, ours: quantize(minilm, "--scheme", "int4", "--ops", "MatMul"), theirs: python("int4-matmul")},
	}
	for _, scheme := range []string{"fp16", "int8", "int4"} {
		big := at("big.onnx")
		list = append(list, contest{name: "1.7 GB of products, " + scheme, other: "cp and sync", target: 0.6, ours: quantize(big, "--scheme", scheme),
			theirs:    []string{"sh", "-c", `cp "$1" "$1.data" "$2" && sync "$2/big.onnx.data"`, "cp", big, at("copy")}, // ours is on the disk too when it ends
			theirFile: at("copy/big.onnx.data"), prepare: s.big})
	}
	for i := range list {
		list[i].ourFile = ours
		if list[i].theirFile == "" {
			list[i].theirFile = theirs
		}
	}
	return list
}

// time runs the pairs, after one of each that is not counted: files are then in the page cache for both.
func (c *contest) time(ctx context.Context, s settings) (string, error) {
	if c.prepare != nil {
		if err := c.prepare(ctx); err != nil {
			return "", err
		}
	}
	rng := rand.New(rand.NewPCG(s.seed, 10))
	var ours, theirs, logs []float64
	for round := range s.rounds + 1 {
		var t [2]float64
		first := rng.IntN(2)
		for i := range 2 {
			if err := exec.CommandContext(ctx, "sync").Run(); err != nil { // nothing that was written before is still on its way to the disk
				return "", err
			}
			var err error
			if which := (first + i) % 2; which == 0 {
				t[0], err = one(ctx, c.ours, c.ourFile)
			} else {
				t[1], err = one(ctx, c.theirs, c.theirFile)
			}
			if err != nil {
				return "", err
			}
		}
		if round > 0 {
			ours, theirs, logs = append(ours, t[0]), append(theirs, t[1]), append(logs, math.Log(t[1]/t[0]))
		}
	}
	e, err := measure.EstimateOf(logs)
	if err != nil {
		return "", err
	}
	half := measure.TQuantile(len(logs)) * math.Sqrt(e.Var)
	ratio, lo, hi := math.Exp(e.Value), math.Exp(e.Value-half), math.Exp(e.Value+half)
	word := "yes"
	if ratio < c.target {
		word = "NO"
	}
	return fmt.Sprintf("| %s, against %s | %.2f | %.2f | %.2f [%.2f, %.2f] | %d | %g: %s |", c.name, c.other, median(ours), median(theirs), ratio, lo, hi, len(logs), c.target, word), nil
}

// one returns the seconds of one process, which must leave file.
func one(ctx context.Context, command []string, file string) (float64, error) {
	for _, old := range []string{file, file + ".data"} {
		if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	begin := time.Now()
	err := cmd.Run()
	took := time.Since(begin).Seconds()
	if err != nil {
		tail := bytes.TrimSpace(b.Bytes())
		return 0, fmt.Errorf("%s: %w: %s", command[0], err, tail[max(0, len(tail)-600):])
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		return 0, fmt.Errorf("%s left no %s", command[0], file)
	}
	return took, nil
}

func median(x []float64) float64 { return measure.Percentile(slices.Sorted(slices.Values(x)), 0.5) }
