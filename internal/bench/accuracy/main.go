// Command accuracy scores quantized models on real data in both runtimes, beside those that onnxruntime.quantization makes from the
// same models and calibration inputs, and prints one table in Markdown.
//
//	go run ./internal/bench/accuracy -assets assets -sts sts-dev.csv -python venv/bin/python
//
// Models, data and scores are kept in -work: what is there is not made again, so that an interrupted run goes on. The STS Benchmark is
// not part of this project: -sts names its file, and without it that task is left out. -python names an interpreter with the packages
// that testdata/quantize/ort_models.py asks for; without it there is nothing to compare with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/internal/bench/program"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/testdata"
)

func main() { program.Main("accuracy", run) }

// lab is where models are made and scored.
type lab struct {
	assets, work, sts, python, script string
	options                           recipe.Options
	deadline                          time.Time // no work is begun after it; zero = none
	log                               io.Writer
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	l := &lab{log: log}
	fl := flag.NewFlagSet("accuracy", flag.ContinueOnError)
	fl.SetOutput(log)
	fl.StringVar(&l.assets, "assets", os.Getenv("WATTSHED_ASSETS"), "folder of models, data and the ONNX Runtime library")
	fl.StringVar(&l.work, "work", "out/accuracy", "folder that models, data and scores are kept in")
	fl.StringVar(&l.sts, "sts", "", "STS Benchmark file; none: that task is left out")
	fl.StringVar(&l.python, "python", "", "interpreter with onnxruntime.quantization; none: no models of it")
	fl.StringVar(&l.script, "script", "testdata/quantize/ort_models.py", "what it runs")
	only := fl.String("tasks", "", "regular expression: only tasks whose name it matches")
	seconds := fl.Float64("seconds", 0, "begin no work after so long; 0 = go on to the end")
	dataOnly := fl.Bool("data", false, "write the data of the tasks and end")
	re, err := program.Parse(fl, args, "tasks", only)
	if err != nil {
		return err
	}
	if *seconds > 0 {
		l.deadline = time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	}
	rt := &ort.Runtime{Library: os.Getenv("WATTSHED_ORT")}
	if found, _ := filepath.Glob(filepath.Join(l.assets, "ort", "libonnxruntime.*")); l.assets != "" && len(found) > 0 {
		rt.Library = found[0]
	}
	l.options = recipe.Options{Builtin: testdata.FS, Runtimes: map[string]engine.Runtime{"native": engine.Native{}, "ort": rt}}
	var rows []row
	missing := 0
	for _, t := range l.tasks() {
		if !re.MatchString(t.name) {
			continue
		}
		fmt.Fprintf(log, "accuracy: %s: data\n", t.name)
		if err := t.model.prepare(); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if *dataOnly {
			continue
		}
		some, err := l.rows(ctx, t)
		if errors.Is(err, errDeadline) {
			missing++
		} else if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		rows = append(rows, some...)
	}
	if *dataOnly {
		return nil
	}
	if missing > 0 {
		fmt.Fprintf(log, "accuracy: %d tasks are not finished: run again\n", missing)
	}
	if err := program.Heading(out); err != nil {
		return err
	}
	return table(out, rows)
}

var errDeadline = errors.New("out of time")

func (l *lab) late() bool { return !l.deadline.IsZero() && time.Now().After(l.deadline) }
