// Command bench times the native engine against ONNX Runtime on the same models and inputs, in one interleaved run, and
// prints a table in Markdown (or JSON). `make bench` runs it; see the README for what the columns mean.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/measure"
)

// settings are the flags.
type settings struct {
	rounds  int
	sample  time.Duration // the least time of one sample
	foreign float64       // CPUs that others may use during a round
	tries   int           // rounds run at most, in multiples of rounds
	threads []int
	profile bool
	seed    uint64
	python  string // with PyTorch, "" = none
}

// report is what -json prints.
type report struct {
	CPU         string    `json:"cpu"`
	ISA         string    `json:"isa"`
	Features    []string  `json:"features"`
	Processors  int       `json:"processors"`
	Virtualized bool      `json:"virtualized"`
	ORT         string    `json:"ort_version"`
	Date        string    `json:"date"`
	F32Flops    float64   `json:"peak_f32_flops_per_thread"`
	Int8Ops     float64   `json:"peak_int8_ops_per_thread"`
	BF16Flops   float64   `json:"peak_bf16_flops_per_thread,omitempty"`
	Rounds      int       `json:"rounds"`
	Restless    int       `json:"restless"` // samples that began although threads of the runtime before still ran, after 2 s
	Results     []*result `json:"results"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	var s settings
	fl := flag.NewFlagSet("bench", flag.ContinueOnError)
	fl.SetOutput(log)
	rows := fl.String("rows", "", "regular expression: only rows whose name it matches")
	threads := fl.String("threads", "1,2", "thread counts, for rows at which they differ")
	assets := fl.String("assets", os.Getenv("WATTSHED_ASSETS"), "folder of models and of the ONNX Runtime library")
	asJSON := fl.Bool("json", false, "print JSON instead of Markdown")
	list := fl.Bool("list", false, "print the names of the rows and end")
	fl.IntVar(&s.rounds, "rounds", 30, "paired rounds per row")
	fl.DurationVar(&s.sample, "sample", 30*time.Millisecond, "least time of one sample; a sample is one or more calls")
	fl.Float64Var(&s.foreign, "foreign", 0.25, "rounds during which other processes used more CPUs than this are discarded")
	fl.IntVar(&s.tries, "tries", 4, "rounds run at most, in multiples of -rounds; then discarded ones count")
	fl.BoolVar(&s.profile, "profile", false, "print the native engine's time per operator below the table")
	fl.StringVar(&s.python, "python", os.Getenv("WATTSHED_TORCH"), "Python with PyTorch, for the rows of training; without one they have the native figure alone")
	fl.Uint64Var(&s.seed, "seed", 1, "of inputs, order and bootstrap")
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if s.rounds < 2 || s.tries < 1 {
		return fmt.Errorf("-rounds %d, -tries %d: at least 2 rounds and 1 try are needed", s.rounds, s.tries)
	}
	only, err := regexp.Compile(*rows)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	for _, f := range strings.Split(*threads, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 1 {
			return fmt.Errorf("-threads: %q is no number of threads", f)
		}
		s.threads = append(s.threads, n)
	}
	chosen := selectRows(s.threads, only)
	if len(chosen) == 0 {
		return fmt.Errorf("-rows %q matches no row", *rows)
	}
	if *list {
		for _, r := range chosen {
			fmt.Fprintln(out, r.name)
		}
		return nil
	}
	rt := &ort.Runtime{}
	if found, _ := filepath.Glob(filepath.Join(*assets, "ort", "libonnxruntime.*")); *assets != "" && len(found) > 0 {
		rt.Library = found[0]
	}
	rep, err := host(rt)
	if err != nil {
		return err
	}
	rep.Rounds = s.rounds
	b := &bench{settings: s, ort: rt, assets: *assets, report: rep, log: log}
	defer b.close()
	for _, r := range chosen {
		if err := ctx.Err(); err != nil {
			return err
		}
		fmt.Fprintf(log, "bench: %s\n", r.name)
		res, err := b.row(ctx, r)
		if err != nil {
			res = &result{Row: r.name, Threads: r.threads, Goal: r.goal, Skipped: err.Error()}
			fmt.Fprintf(log, "bench: %s: %v\n", r.name, err)
		}
		res.Verdict = res.Goal.verdict(res)
		rep.Results = append(rep.Results, res)
	}
	if *asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", " ")
		return enc.Encode(rep)
	}
	return markdown(out, rep, s)
}

// host describes this machine and measures its peak.
func host(rt *ort.Runtime) (*report, error) {
	if err := kernel.ISAError(); err != nil {
		return nil, err
	}
	facts := measure.ReadHost(os.DirFS("/"))
	var peak kernel.Peak
	for range 8 { // on a busy machine most tries are disturbed
		p := kernel.MeasurePeak(50*time.Millisecond, 0)
		peak.F32Flops, peak.Int8Ops, peak.BF16Flops = max(peak.F32Flops, p.F32Flops), max(peak.Int8Ops, p.Int8Ops), max(peak.BF16Flops, p.BF16Flops)
	}
	r := &report{
		CPU: facts.CPU, ISA: kernel.Active().String(), Features: kernel.Features(), Processors: facts.Threads, Virtualized: facts.Virtualized,
		Date: time.Now().UTC().Format("2006-01-02"), F32Flops: peak.F32Flops, Int8Ops: peak.Int8Ops, BF16Flops: peak.BF16Flops,
	}
	var err error
	if r.ORT, err = rt.Version(); err != nil {
		return nil, err
	}
	return r, nil
}
