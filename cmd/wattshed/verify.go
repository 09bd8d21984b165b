package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/quantize/verify"
)

// verified is what verify says of a model.
type verified struct {
	Path     string            `json:"path"`
	Styles   []string          `json:"quantized"`
	Against  string            `json:"against,omitempty"`
	Restored []verify.Restored `json:"restored,omitempty"`
	Runtime  string            `json:"runtime,omitempty"`   // that optimised the graph
	Ops      map[string]int    `json:"operators,omitempty"` // after that
	Outputs  []compared        `json:"outputs,omitempty"`   // beside the native runtime's
	Findings []verify.Finding  `json:"findings"`
}

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check a written model against the rules of its format", ArgsUsage: "MODEL",
		Description: "Example: wattshed verify model.int8.onnx --against model.onnx\n\n" +
			"Checks types, shapes and values of scales and zero points, axes, blocks, packing, operator sets, and the patterns that\n" +
			"runtimes fuse. A file that this program quantized holds digests of its weights, by which a single flipped code is found.\n" +
			"--against restores every stored weight and compares it with the original's, and lists float weights that were pruned\n" +
			"or trained; --runtime ort loads the model in ONNX Runtime and checks that it fused what was meant to be. --outputs\n" +
			"also runs it there on random inputs, one of each --sequence, and compares the outputs with the native runtime's. Exit\n" +
			"code 1 when something does not hold.",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "against", Usage: "`ORIGINAL` that the model was made from"},
			&cli.StringFlag{Name: "runtime", Usage: "ort: what ONNX Runtime makes of the graph"},
		}, outputsFlags(), []cli.Flag{jsonFlag()}),
		Action: func(c *cli.Context) error {
			path, err := modelFile(c)
			if err != nil {
				return err
			}
			if r := c.String("runtime"); r != "" && r != "ort" {
				return usagef("--runtime: %q: want ort", r)
			}
			o, err := verifyOutputs(c)
			if err != nil {
				return err
			}
			if err := recipe.FileOnly(c.String("against")); err != nil {
				return usageError{fmt.Errorf("--against: %w", err)}
			}
			v, err := verifyModel(c.Context, path, c.String("against"), c.String("runtime"), o)
			if err != nil {
				return runHint(err, c.Command.Name, "")
			}
			if c.Bool("json") {
				err = printJSON(c, v)
			} else {
				v.print(c)
			}
			if err == nil && len(v.Findings) > 0 {
				return v.broken()
			}
			return err
		},
	}
}

// broken is the error of a model that breaks rules.
func (v *verified) broken() error {
	switch n := len(v.Findings); {
	case n == 1 && v.Findings[0].Rule == verify.RuleOrigin:
		return withHint(fmt.Errorf("%s: not a quantization of %s", v.Path, v.Against), "--against takes the model that this one was made from; a model that was trained anew is compared by wattshed compare")
	case n == 1:
		return fmt.Errorf("%s: 1 rule is broken", v.Path)
	default:
		return fmt.Errorf("%s: %d rules are broken", v.Path, n)
	}
}

func verifyModel(ctx context.Context, path, original, runtime string, o outputs) (v *verified, err error) {
	f, err := onnx.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	v = &verified{Path: path, Styles: quantize.Styles(f.Graph()), Against: original}
	if err := whole(f.Graph(), func() error { v.Findings = verify.Graph(f.Graph()); return nil }); err != nil {
		return nil, err
	}
	if original != "" {
		o, err := onnx.Open(original)
		if err != nil {
			return nil, err
		}
		defer o.Close()
		if styles := quantize.Styles(o.Graph()); len(styles) > 0 {
			return nil, withHint(usagef("--against: %s: is quantized itself: %s", original, strings.Join(styles, ", ")), "--against takes the float model that MODEL was made from")
		}
		var found []verify.Finding
		err = whole(f.Graph(), func() error {
			return whole(o.Graph(), func() error { v.Restored, found = verify.Against(f.Graph(), o.Graph()); return nil })
		})
		if err != nil {
			return nil, err
		}
		v.Findings = append(v.Findings, found...)
	}
	if runtime != "" {
		if err := v.optimise(ctx, runtime, f.Graph(), o); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// optimise loads the model and judges the operators that the runtime made of it and, where that is asked for, the outputs.
func (v *verified) optimise(ctx context.Context, runtime string, g *model.Graph, o outputs) error {
	s, err := runtimes()[runtime].Load(ctx, engine.Artifact{Path: v.Path}, engine.Options{Threads: 1, Provider: o.provider})
	if err != nil {
		return err
	}
	defer s.Close()
	info := s.Info()
	if v.Ops = info.Ops; v.Ops == nil {
		return fmt.Errorf("%s: the optimised graph could not be read", info.Runtime)
	}
	v.Runtime = info.Runtime + " " + info.Version
	if info.Provider != "cpu" {
		v.Runtime += " (" + info.Provider + ")"
	}
	v.Findings = append(v.Findings, verify.Fused(g, v.Ops)...)
	if !o.asked {
		return nil
	}
	return v.compare(ctx, s, g, o)
}

func (v *verified) print(c *cli.Context) {
	w := c.App.Writer
	if len(v.Styles) == 0 {
		fmt.Fprintf(w, "%s: no quantized operators\n", v.Path)
	} else {
		fmt.Fprintf(w, "%s: %s\n", v.Path, strings.Join(v.Styles, ", "))
	}
	switch {
	case len(v.Restored) > 0:
		v.printRestored(w)
	case v.Against != "" && len(v.Findings) == 0:
		fmt.Fprintf(w, "the weights are those of %s\n", v.Against)
	}
	if v.Runtime != "" {
		fmt.Fprintf(w, "%s runs: %s\n", v.Runtime, recipe.Histogram(v.Ops))
	}
	for _, a := range v.Outputs {
		fmt.Fprintln(w, a)
	}
	for _, f := range v.Findings {
		fmt.Fprintln(w, "broken:", f)
	}
	if len(v.Findings) == 0 {
		fmt.Fprintln(w, "every rule holds")
	}
}

// printRestored prints the weights that are not stored as the original's are.
func (v *verified) printRestored(w io.Writer) {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	float := slices.ContainsFunc(v.Restored, func(r verify.Restored) bool { return r.Zeros != nil })
	fmt.Fprint(tw, "WEIGHT\tSTORED AS\tSIGNAL TO NOISE\tLARGEST ERROR")
	if float {
		fmt.Fprint(tw, "\tZEROS")
	}
	fmt.Fprintln(tw)
	for _, r := range v.Restored {
		stored := r.DType
		if r.Codes != "" {
			stored += " (" + r.Codes + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%.1f dB\t%.3g", clip(model.WithReader(r.Weight, r.Reader), 48), stored, r.SQNR, r.Max)
		switch {
		case r.Zeros != nil:
			fmt.Fprintf(tw, "\t%.1f %%", 100**r.Zeros)
		case float:
			fmt.Fprint(tw, "\t")
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}
