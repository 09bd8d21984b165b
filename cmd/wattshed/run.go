package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
	"github.com/wattshed/wattshed/testdata"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "make every variant of a recipe, measure them, and report", ArgsUsage: "RECIPE.yaml",
		Description: "Example: wattshed run minilm.yaml --out report\n\n" +
			"The output folder holds the variants, result.json, report.html, report.md, result.csv and plots. A run that was\n" +
			"interrupted goes on with --resume. Gates of the recipe are judged at the end: exit 0 when a variant passes every one,\n" +
			"3 when all fail one, 4 when that is inconclusive; where the key variants of the gates names some, 0 when each of them\n" +
			"passes every one, 3 when any fails one.\n\n" + gatesHelp() + "\n" +
			"  variants              [int8, ...]: those that must all pass; without it one is enough\n\n" +
			"A variant whose stage finds nothing to do ends the run, unless allow_noop: true stands beside its name. measure: pairs\n" +
			"(10) are always taken; max_seconds per variant ends only what comes after them.",
		Flags: recipeFlags("run", "-report"),
		Action: onRecipe("-report", func(c *cli.Context, rec *recipe.Recipe, out string) error {
			return runRecipe(c, rec, out, c.Bool("resume"))
		}),
	}
}

// gatesHelp lists what gates a recipe may have.
func gatesHelp() string {
	return "Gates, such as gates: {accuracy_drop: \"<= 0.01\", size_ratio: \"<= 0.5\"}, limit\n" + reports.GateTable() + "\n" +
		"  allow_modelled        true: energy that is modelled decides too"
}

// recipeFlags are those of commands that carry out a recipe in a folder of its name and suffix.
func recipeFlags(what, suffix string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "out", Usage: "`DIR` of everything that is written (default: the recipe's name and " + suffix + ")"},
		&cli.BoolFlag{Name: "resume", Usage: "go on with the interrupted " + what + " in the output folder"},
		meterFlag(), jsonFlag(), quietFlag(),
	}
}

// onRecipe reads the recipe that the command names and carries it out with the output folder.
func onRecipe(suffix string, carryOut func(c *cli.Context, rec *recipe.Recipe, out string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		path, err := one(c, "RECIPE")
		if err != nil {
			return err
		}
		rec, err := readRecipe(path)
		if err != nil {
			return err
		}
		out := c.String("out")
		if out == "" {
			out = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) + suffix
		}
		return carryOut(c, rec, out)
	}
}

func readRecipe(path string) (*recipe.Recipe, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rec, err := recipe.Parse(f, path, filepath.Dir(path))
	var re *recipe.Error
	if errors.As(err, &re) && re.Nearest != "" {
		return nil, withHint(err, fmt.Sprintf("did you mean %q?", re.Nearest))
	}
	return rec, err
}

// runRecipe carries out rec and ends with the verdict of its gates.
func runRecipe(c *cli.Context, rec *recipe.Recipe, out string, resume bool) error {
	var res *reports.Result
	err := withOptions(c, out, resume, func(o recipe.Options) (err error) {
		o.Plan = func(pl recipe.Plan) { printPlan(c, pl) }
		res, err = recipe.Run(c.Context, rec, o)
		return err
	})
	if err != nil {
		return runHint(err, c.Command.Name, out)
	}
	verdict := reports.Overall(rec.Judged, res.Gates)
	return ended(c, res, verdict, func() {
		printSummary(c.App.Writer, res)
		printGates(c.App.Writer, res, verdict)
		fmt.Fprintf(c.App.Writer, "\nreport: %s\n", filepath.Join(out, "report.html"))
	})
}

// withOptions calls f with what this machine and this program have, an output folder, and progress on the terminal.
func withOptions(c *cli.Context, out string, resume bool, f func(recipe.Options) error) error {
	o, done, err := recipeOptions(c)
	if err != nil {
		return err
	}
	defer done()
	o.Out, o.Resume = out, resume
	p := newProgress(c)
	defer p.close()
	o.Progress = p.set
	if !c.Bool("quiet") {
		o.Note = func(s string) { fmt.Fprintf(c.App.ErrWriter, "note: %s\n", s) }
	}
	return f(o)
}

// ended prints a result, as JSON or in words, and makes the exit code of the verdict.
func ended(c *cli.Context, res *reports.Result, verdict reports.Verdict, words func()) error {
	if !c.Bool("json") {
		words()
	} else if err := reports.JSON(c.App.Writer, res); err != nil {
		return err
	}
	if code := reports.ExitCode(verdict); code != exitOK {
		return codeError(code)
	}
	return nil
}

// runHint adds what to type after an error of the command called name.
func runHint(err error, name, out string) error {
	switch {
	case errors.Is(err, recipe.ErrUnfinished):
		hint := "--resume goes on with it; another --out leaves it alone"
		if kept := recipe.Replaced(out); kept != "" {
			hint += "; the last finished run is in " + kept
		}
		return withHint(err, hint)
	case errors.Is(err, recipe.ErrOtherRun) && out == "":
		return withHint(err, "leave --resume out to begin anew")
	case errors.Is(err, recipe.ErrOtherRun):
		hint := "choose another --out, or remove " + out
		if kept := recipe.Replaced(out); kept != "" {
			hint += "; move " + kept + " away first: the report and the variants of the last finished run are there, and nowhere else"
		}
		return withHint(err, hint)
	case errors.Is(err, context.Canceled) && name == "demo":
		return withHint(err, "the same command goes on where it was")
	case errors.Is(err, context.Canceled) && (name == "run" || name == "search" || name == "measure" || name == "compare"):
		return withHint(err, "the same command with --resume goes on where it was")
	}
	if tok := (*recipe.TokenizerError)(nil); errors.As(err, &tok) {
		if name == "run" || name == "search" || name == "demo" {
			return withHint(err, "inputs: {tokenizer: tokenizer.json} names the file that comes with the model; without texts, target: {sequence: 128} measures on random inputs")
		}
		return withHint(err, "--tokenizer tokenizer.json names the file that comes with the model")
	}
	if open := (*task.OpenShape)(nil); errors.As(err, &open) {
		return withHint(err, shapeHint(open, name))
	}
	if long := (*task.TooLong)(nil); errors.As(err, &long) {
		return withHint(err, lengthHint(long, name))
	}
	return err
}

func printPlan(c *cli.Context, p recipe.Plan) {
	if c.Bool("quiet") {
		return
	}
	w := c.App.ErrWriter
	fmt.Fprintf(w, "plan: %s against its variants %s\n", p.Model, strings.Join(p.Variants, ", "))
	fmt.Fprintf(w, "      scored on %s; at least %d pairs of blocks for each variant\n", p.Data, p.Pairs)
	if p.Resumed > 0 {
		fmt.Fprintf(w, "      %d pieces of work are done already\n", p.Resumed)
	}
	fmt.Fprintf(w, "      about %s in all; the report will be %s\n", spanText(math.Round(p.Seconds), math.Round(p.Most)), p.Report)
	fmt.Fprintf(w, "      the least where the first %d pairs decide, and if %s", p.Pairs, busyText(p.Others))
	if p.Uncounted {
		fmt.Fprint(w, "; pruning and quantizing are not counted")
	}
	fmt.Fprintln(w)
}

// recipeOptions gathers what runs need of this machine and this program. done releases it.
func recipeOptions(c *cli.Context) (recipe.Options, func(), error) {
	meter, done, err := openMeter(c)
	if err != nil {
		return recipe.Options{}, nil, err
	}
	o := recipe.Options{Builtin: testdata.FS, Runtimes: runtimes(), Meter: meter, Tool: tool(), Host: host(), Facts: measure.ReadHost(os.DirFS("/")), Child: memoryChild}
	if d := meter.Describe(); d != "" {
		o.Assumptions = []string{d}
	}
	o.Live = liveIntensity
	return o, done, nil
}

// modified marks a commit whose files were changed; the Makefile writes the same.
const modified = "+changes"

func tool() reports.Tool {
	t := reports.Tool{Name: "wattshed", Version: version, Commit: commit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok && t.Commit == "" {
		t.Commit = revision(info.Settings)
	}
	return t
}

// revision is the commit that the go command noted, marked where files differed from it; "" where it noted none.
func revision(settings []debug.BuildSetting) string {
	rev, dirty := "", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = modified
		}
	}
	if rev == "" {
		return ""
	}
	return rev + dirty
}

func host() *reports.Host {
	f := measure.ReadHost(os.DirFS("/"))
	h := &reports.Host{CPU: f.CPU, ISA: kernel.Features(), Cores: runtime.NumCPU(), Memory: int64(f.MemoryBytes), OS: runtime.GOOS + "/" + runtime.GOARCH}
	if f.CPU != "" {
		h.Virtualized = &f.Virtualized
	}
	return h
}

// memoryChild starts this program anew to measure peak memory in a process of its own.
func memoryChild(ctx context.Context, request []byte) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, memoryName)
	cmd.Stdin = bytes.NewReader(request)
	var out, errw bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errw
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("memory process: %w: %.200s", err, strings.TrimSpace(errw.String()))
	}
	return out.Bytes(), nil
}

// memoryName is the hidden command of memoryChild.
const memoryName = "internal-memory"

func memoryCommand() *cli.Command {
	return &cli.Command{Name: memoryName, Hidden: true, Action: func(c *cli.Context) error {
		req, err := io.ReadAll(io.LimitReader(c.App.Reader, 1<<30))
		if err != nil {
			return err
		}
		answer, err := recipe.AnswerMemory(c.Context, req, runtimes(), func() (int64, error) {
			n, err := measure.PeakRSS()
			return int64(n), err
		})
		if err != nil {
			return err
		}
		_, err = c.App.Writer.Write(answer)
		return err
	}}
}
