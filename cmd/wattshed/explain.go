package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/explain"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/reports"
)

// explained is what explain says of a variant.
type explained struct {
	Variant  string          `json:"variant"`
	Promised bool            `json:"promised"` // a size or a latency, see explain.Promised
	Effects  []explain.Shown `json:"effects"`
	Causes   []explain.Cause `json:"causes"`            // of the effects that are decided
	Missing  []string        `json:"missing,omitempty"` // files that were not there to look at
}

func explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "why a variant is slower, larger or less accurate than its scheme promises", ArgsUsage: "RESULT.json",
		Description: "Example: wattshed explain report/result.json\n\n" +
			"Looks at the result, the models beside it, the CPU, the batch and the time by operator. Causes are named for effects\n" +
			"whose interval excludes what the scheme promises, and are estimates: the larger the effect and the cause's share of\n" +
			"it, the earlier. Why a gate is inconclusive stands beside its verdict in the report; wattshed help run lists the\n" +
			"gates there are. The result is what run and search write, or what measure --json prints.",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			path, err := one(c, "RESULT")
			if err != nil {
				return err
			}
			res, err := loadResult(path)
			if err != nil {
				return err
			}
			list, err := explainResult(res, filepath.Dir(path))
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, list)
			}
			for _, e := range list {
				e.print(c.App.Writer)
			}
			return nil
		},
	}
}

func explainResult(res *reports.Result, dir string) (list []explained, err error) {
	var missing []string
	open := func(v *reports.Variant) *model.Graph {
		if v.File == nil {
			return nil
		}
		path := filepath.FromSlash(v.File.Path)
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		f, e := onnx.Open(path)
		if errors.Is(e, fs.ErrNotExist) { // the baseline's path starts from the recipe's folder, which is mostly this one
			f, e = onnx.Open(filepath.FromSlash(v.File.Path))
		}
		if e != nil {
			if !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
			missing = append(missing, v.File.Path)
			return nil
		}
		return f.Graph() // its mapping lives as long as the program
	}
	if len(res.Variants) == 0 {
		return nil, nil
	}
	base := &res.Variants[0]
	original := open(base)
	for i := range res.Variants[1:] {
		v := &res.Variants[1+i]
		c := explain.Case{Result: res, Variant: v, Baseline: base, Original: original}
		c.Graph = open(v)
		e := whole(original, func() error {
			return whole(c.Graph, func() error {
				list = append(list, explained{v.Name, explain.Promised(c), explain.Effects(c), explain.Explain(c), missing})
				return nil
			})
		})
		err = errors.Join(err, e)
		if missing = nil; original == nil && base.File != nil {
			missing = []string{base.File.Path}
		}
	}
	return list, err
}

func (e *explained) print(w io.Writer) {
	var decided []string
	for _, x := range e.Effects {
		if x.Decided {
			decided = append(decided, string(x.Effect))
		}
	}
	switch {
	case len(decided) > 0:
		fmt.Fprintf(w, "%s: %s\n", e.Variant, strings.Join(decided, ", "))
	case len(e.Effects) > 0:
		fmt.Fprintf(w, "%s: nothing is decided against what its scheme promises\n", e.Variant)
	case !e.Promised:
		fmt.Fprintf(w, "%s: promises nothing of size or time that could be checked\n", e.Variant)
	default:
		fmt.Fprintf(w, "%s: does what its scheme promises\n", e.Variant)
	}
	for _, x := range e.Effects {
		word := strings.TrimSuffix(string(x.Effect), " than expected")
		if !x.Decided {
			word = "undecided whether " + word
		}
		fmt.Fprintf(w, "  %s: %s\n", word, x.What)
	}
	for _, c := range e.Causes {
		fmt.Fprintf(w, "  %s: %s\n    %s\n    try: %s\n", strings.TrimSuffix(string(c.Effect), " than expected"), c.Name, c.What, c.Try)
	}
	if len(e.Causes) == 0 && len(decided) > 0 {
		fmt.Fprintln(w, "  no rule knows why")
	}
	for _, m := range e.Missing {
		fmt.Fprintf(w, "  not there to look at: %s\n", m)
	}
}
