package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/reports"
	"github.com/wattshed/wattshed/testdata"
)

// stageFlags are the flags of every command that applies one stage to a model.
func stageFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "o", Aliases: []string{"output"}, Usage: "`FILE` to write"},
		jsonFlag(), quietFlag(),
	}, more...)
}

// applyStage runs one stage on the model named on the command line and prints what was done.
func applyStage(c *cli.Context, st recipe.Stage, inputs *recipe.Recipe, training func(modelPath string) (*recipe.Training, error)) error {
	in, err := modelFile(c)
	if err != nil {
		return err
	}
	out, err := output(c, filepath.Base(in))
	if err != nil {
		return err
	}
	s := recipe.Single{In: in, Out: out, Reads: reads(c), Stage: st, Runtimes: runtimes(), Builtin: testdata.FS, Threads: c.Int("threads"), Inputs: inputs, Stream: c.Bool("stream"), Digest: c.Bool("json")}
	if training != nil {
		if s.Training, err = training(in); err != nil {
			return err
		}
	}
	p := newProgress(c)
	s.Progress = p.set
	done, err := recipe.ApplyStage(c.Context, s)
	p.close()
	if done != nil && err != nil && len(done.Notes) > 0 {
		printNotes(c.App.ErrWriter, done.Notes)
	}
	if err != nil {
		return stageHint(c, err, in, out)
	}
	for _, remark := range done.Remarks {
		switch {
		case recipe.IsWarning(remark):
			fmt.Fprintln(c.App.ErrWriter, "wattshed: "+remark)
		case !c.Bool("json"):
			fmt.Fprintln(c.App.Writer, remark)
		}
	}
	if c.Bool("json") {
		return printJSON(c, done)
	}
	printNotes(c.App.Writer, done.Notes)
	fmt.Fprintf(c.App.Writer, "%s: %s, was %s (ratio %.3f)\n", out, bytesText(done.BytesAfter), bytesText(done.BytesBefore), float64(done.BytesAfter)/float64(done.BytesBefore))
	return nil
}

// stageHint adds what to type after an error of a stage that reads in and writes out.
func stageHint(c *cli.Context, err error, in, out string) error {
	switch {
	case errors.Is(err, recipe.ErrSameFile):
		return sameFile(c, "-o", out, "MODEL", err)
	case errors.Is(err, quantize.ErrQuantized):
		return withHint(err, "wattshed inspect "+in)
	}
	return runHint(err, c.Command.Name, "")
}

// reads are the files that the flags of a command name to read.
func reads(c *cli.Context) []string {
	var files []string
	for _, name := range readFlags {
		files = append(files, c.String(name))
	}
	return files
}

// sameFile says which flags name the same file, the one to write and one to read: a fault of the command line. positional is what is read
// where no flag names it.
func sameFile(c *cli.Context, flag, out, positional string, err error) error {
	reads := positional
	for _, name := range readFlags {
		if errors.Is(recipe.Apart(out, c.String(name)), recipe.ErrSameFile) {
			reads = "--" + name
		}
	}
	return withHint(usagef("%s and %s: %w", flag, reads, err), "choose another name for "+flag)
}

// readFlags are the flags that name files to read.
var readFlags = []string{"data", "validation", "student", "calibration", "tokenizer", "inputs", "replay"}

// output returns the file that -o names; its folder must be there. name is what the file may be called where -o is a folder.
func output(c *cli.Context, name string) (string, error) {
	out := c.String("o")
	if out == "" {
		return "", usagef("-o: missing: name the file to write")
	}
	if _, err := os.Stat(filepath.Dir(out)); err != nil {
		return "", withHint(err, "mkdir -p "+filepath.Dir(out))
	}
	if info, err := os.Stat(out); err == nil && info.IsDir() {
		return "", withHint(fmt.Errorf("-o: %s: is a directory", out), "-o "+filepath.Join(out, name))
	}
	return out, nil
}

// noteRow is a line of the table of what was done: weights with the same action and reason together.
type noteRow struct {
	action, reason, ops string
	weights             int
	before, after       int64
	example             string
}

// printNotes prints what a stage did, weights grouped by action, reason and operators, largest first.
func printNotes(w io.Writer, notes []model.Note) {
	rows := map[string]*noteRow{}
	var keys []string
	for _, n := range notes {
		ops := fmt.Sprint(n.Ops)
		key := n.Action + "\x00" + n.Reason + "\x00" + ops
		if rows[key] == nil {
			rows[key] = &noteRow{action: n.Action, reason: n.Reason, ops: ops, example: model.WithReader(n.Weight, n.Reader)}
			keys = append(keys, key)
		}
		r := rows[key]
		r.weights++
		r.before += n.BytesBefore
		r.after += n.BytesAfter
	}
	sort.SliceStable(keys, func(i, j int) bool { return rows[keys[i]].before > rows[keys[j]].before })
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "WEIGHTS\tREAD BY\tDONE\tBYTES\tREMARK")
	for _, k := range keys {
		r := rows[k]
		what := fmt.Sprint(r.weights)
		if r.weights == 1 {
			what = r.example
		}
		size := fmt.Sprintf("%d", r.before)
		if r.after != r.before {
			size = fmt.Sprintf("%d -> %d", r.before, r.after)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", clip(what, 40), clip(r.ops[1:len(r.ops)-1], 24), r.action, size, r.reason)
	}
	tw.Flush()
}

func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// bytesText is a size in the units of reports.
func bytesText(n int64) string { return reports.Size(n) }

func printJSON(c *cli.Context, v any) error {
	e := json.NewEncoder(c.App.Writer)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
