package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/reports"
)

// inspection is what inspect says of a model.
type inspection struct {
	Path       string         `json:"path"`
	IRVersion  int64          `json:"ir_version"`
	Opsets     []opsetInfo    `json:"opsets"`
	Producer   string         `json:"producer,omitempty"`
	Inputs     []valueInfo    `json:"inputs"`
	Outputs    []valueInfo    `json:"outputs"`
	Nodes      int            `json:"nodes"`
	Ops        map[string]int `json:"ops"`
	Parameters int64          `json:"parameters"`
	Nonzero    int64          `json:"nonzero"`
	Sparsity   float64        `json:"sparsity"`
	Bytes      int64          `json:"weight_bytes"`
	ByOp       []opSize       `json:"bytes_by_op"`
	Quantized  []string       `json:"quantized,omitempty"`
	Unknown    []string       `json:"unknown_operators,omitempty"`
	Weights    []weightInfo   `json:"weights,omitempty"`
	Passes     []passInfo     `json:"passes,omitempty"`
	Unplanned  string         `json:"memory_not_planned,omitempty"` // why
}

// passInfo is what one optimisation pass of the native runtime does to the number of nodes, or to what Unit says.
type passInfo struct {
	Pass   string `json:"pass"`
	Before int    `json:"nodes_before"`
	After  int    `json:"nodes_after"`
	Unit   string `json:"unit,omitempty"`   // values or bytes: what both numbers count in the place of nodes
	Inputs string `json:"inputs,omitempty"` // of which shapes the bytes are
}

type opsetInfo struct {
	Domain  string `json:"domain"`
	Version int64  `json:"version"`
}

type valueInfo struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape string `json:"shape"`
}

type opSize struct {
	Op      string `json:"op"`
	Weights int    `json:"weights"`
	Bytes   int64  `json:"bytes"`
}

type weightInfo struct {
	Name     string  `json:"name"`
	Reader   string  `json:"reader,omitempty"` // see model.Weight
	DType    string  `json:"dtype"`
	Shape    []int   `json:"shape"`
	Bytes    int64   `json:"bytes"`
	Sparsity float64 `json:"sparsity"`
	Ops      string  `json:"ops"`
}

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "inputs, outputs, operators, weights, sparsity, what is quantized", ArgsUsage: "MODEL",
		Description: "Example: wattshed inspect model.onnx --weights\n\n" +
			"--sensitivity quantizes each weight alone and says what that does to the outputs, and with --task to the accuracy:\n" +
			"the most harmful weight comes first.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "ops", Usage: "list the operators"},
			&cli.BoolFlag{Name: "weights", Usage: "list the weights"},
			&cli.BoolFlag{Name: "passes", Usage: "list the optimisation passes of the native runtime with the nodes before and after, and the memory of a run of --sequence or --shape"},
			jsonFlag(), quietFlag(),
		}, sensitivityFlags()...),
		Action: func(c *cli.Context) (err error) {
			path, err := modelFile(c)
			if err != nil {
				return err
			}
			if c.Bool("sensitivity") {
				return sensitivity(c, path)
			}
			f, err := onnx.Open(path)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			var in *inspection
			err = whole(f.Graph(), func() (err error) {
				if in, err = inspect(path, f.Graph(), c.Bool("weights")); err != nil || !c.Bool("passes") {
					return err
				}
				if err := in.addPasses(c, f.Graph()); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, in)
			}
			in.print(c.App.Writer, c.Bool("ops"))
			return nil
		},
	}
}

// whole runs fn, which reads g. A file of g that has lost its end meanwhile is an error.
func whole(g *model.Graph, fn func() error) error {
	err := model.Guard(g.Mappings, fn)
	if err == nil {
		err = model.Whole(g.Mappings())
	}
	return err
}

func inspect(path string, g *model.Graph, weights bool) (*inspection, error) {
	in := &inspection{Path: path, IRVersion: g.Model.IRVersion,
		Producer: strings.TrimSpace(g.Model.Producer + " " + g.Model.ProducerVersion), Ops: map[string]int{}, Quantized: quantize.Styles(g)}
	for _, o := range g.Model.Opsets {
		in.Opsets = append(in.Opsets, opsetInfo{o.Domain, o.Version})
	}
	for _, v := range g.Inputs {
		if g.Initializer(v.Name) == nil {
			in.Inputs = append(in.Inputs, valueInfo{v.Name, v.Type.DType.String(), v.Type.Shape.String()})
		}
	}
	for _, v := range g.Outputs {
		in.Outputs = append(in.Outputs, valueInfo{v.Name, v.Type.DType.String(), v.Type.Shape.String()})
	}
	in.countOps(g)
	if err := model.CheckOperators(g); err != nil {
		in.Unknown = append(in.Unknown, strings.TrimPrefix(err.Error(), "model: "))
	}
	for _, n := range model.CustomOperators(g, "com.microsoft") {
		in.Unknown = append(in.Unknown, fmt.Sprintf("%s: the operator domain %q is not known here", n, n.Domain))
	}
	c, err := recipe.CountWeights(g)
	if err != nil {
		return nil, err
	}
	in.Parameters, in.Nonzero, in.Bytes = c.Parameters, c.Nonzero, c.Bytes
	if c.Parameters > 0 {
		in.Sparsity = 1 - float64(c.Nonzero)/float64(c.Parameters)
	}
	return in, in.addWeights(g, weights)
}

// addPasses compiles the model for the native runtime, and runs it once on random inputs where these are possible, so that
// there is a memory plan.
func (in *inspection) addPasses(c *cli.Context, g *model.Graph) error {
	shapes, err := parseShapes(c.StringSlice("shape"))
	if err != nil {
		return err
	}
	p, err := engine.Compile(g, engine.Options{Threads: 1})
	if err != nil {
		return err
	}
	random := task.Random{N: 1, Seed: 1, Batch: 1, Sequence: int64(c.Int("sequence")), Shapes: shapes}
	if random.Sequence == 0 { // as for --sensitivity, and as measure has it
		n, err := recipe.ModelLength(g)
		if err != nil {
			return err
		}
		random.Known = int64(n)
	}
	if err := placeRandom(c.Context, p, &random, g); err != nil {
		in.Unplanned = err.Error()
		if open := (*task.OpenShape)(nil); errors.As(err, &open) {
			in.Unplanned += ": " + shapeHint(open, c.Command.Name)
		}
		if long := (*task.TooLong)(nil); errors.As(err, &long) {
			in.Unplanned += ": " + lengthHint(long, c.Command.Name)
		}
	}
	for _, c := range p.Passes() {
		in.Passes = append(in.Passes, passInfo{c.Pass, c.Before, c.After, c.Unit, c.Inputs})
	}
	return nil
}

// placeRandom runs a plan once on random inputs.
func placeRandom(ctx context.Context, p *engine.Plan, random *task.Random, g *model.Graph) error {
	if err := random.Bind(g); err != nil {
		return err
	}
	feed, _, err := random.Feed(0, 1)
	if err != nil {
		return err
	}
	values := map[string]any{}
	for name, t := range feed {
		values[name] = t
	}
	_, err = p.Exec(ctx, nil, values)
	return err
}

func (in *inspection) countOps(g *model.Graph) {
	for _, n := range g.Nodes {
		op := n.Op
		if n.Domain != "" && n.Domain != "ai.onnx" {
			op = n.Domain + "." + op
		}
		in.Ops[op]++
		in.Nodes++
		for _, sub := range n.Subgraphs() {
			in.countOps(sub)
		}
	}
}

func (in *inspection) addWeights(g *model.Graph, list bool) error {
	by := map[string]*opSize{}
	for _, w := range g.Weights() {
		var ops []string
		for _, u := range w.Uses {
			if !strings.Contains(strings.Join(ops, " ")+" ", u.Node.Op+" ") {
				ops = append(ops, u.Node.Op)
			}
		}
		key := strings.Join(ops, " ")
		if key == "" {
			key = "(not read)"
		}
		if by[key] == nil {
			by[key] = &opSize{Op: key}
		}
		by[key].Weights++
		by[key].Bytes += int64(w.Tensor.ByteSize())
		if !list {
			continue
		}
		info := weightInfo{Name: w.Name, Reader: w.Reader(), DType: w.Tensor.DType().String(), Shape: w.Tensor.Shape(), Bytes: int64(w.Tensor.ByteSize()), Ops: key}
		if x, err := w.Tensor.Float32(); err == nil && len(x) > 0 {
			zero := 0
			for _, v := range x {
				if v == 0 {
					zero++
				}
			}
			info.Sparsity = float64(zero) / float64(len(x))
		} else if err != nil && !errors.Is(err, model.ErrType) {
			return err
		}
		in.Weights = append(in.Weights, info)
	}
	for _, o := range by {
		in.ByOp = append(in.ByOp, *o)
	}
	sort.Slice(in.ByOp, func(i, j int) bool {
		a, b := in.ByOp[i], in.ByOp[j]
		return a.Bytes > b.Bytes || a.Bytes == b.Bytes && a.Op < b.Op
	})
	return nil
}

func (in *inspection) print(w io.Writer, ops bool) {
	var sets []string
	for _, o := range in.Opsets {
		d := o.Domain
		if d == "" {
			d = "ai.onnx"
		}
		sets = append(sets, fmt.Sprintf("%s %d", d, o.Version))
	}
	fmt.Fprintf(w, "%s: ONNX ir %d, opset %s", in.Path, in.IRVersion, strings.Join(sets, ", "))
	if in.Producer != "" {
		fmt.Fprintf(w, ", %s", in.Producer)
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	for _, v := range in.Inputs {
		fmt.Fprintf(tw, "input\t%s\t%s\t%s\n", v.Name, v.DType, v.Shape)
	}
	for _, v := range in.Outputs {
		fmt.Fprintf(tw, "output\t%s\t%s\t%s\n", v.Name, v.DType, v.Shape)
	}
	tw.Flush()
	fmt.Fprintf(w, "nodes %d, parameters %s (%.1f %% zero), weights %s\n", in.Nodes, reports.Number(in.Parameters), 100*in.Sparsity, bytesText(in.Bytes))
	if len(in.Quantized) > 0 {
		fmt.Fprintf(w, "quantized already: %s\n", strings.Join(in.Quantized, ", "))
	}
	for _, u := range in.Unknown {
		fmt.Fprintf(w, "no runtime here can run it: %s\n", u)
	}
	tw = tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "WEIGHTS READ BY\tNUMBER\tBYTES")
	for _, o := range in.ByOp {
		fmt.Fprintf(tw, "%s\t%d\t%d\n", clip(o.Op, 48), o.Weights, o.Bytes)
	}
	tw.Flush()
	if ops {
		in.printOps(w)
	}
	if in.Passes != nil {
		tw = tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "PASS\tNODES BEFORE\tNODES AFTER")
		for _, p := range in.Passes {
			unit := strings.TrimSuffix(" "+p.Unit, " ")
			fmt.Fprintf(tw, "%s\t%d%s\t%d%s\t%s\n", p.Pass, p.Before, unit, p.After, unit, p.Inputs)
		}
		tw.Flush()
		if in.Unplanned != "" {
			fmt.Fprintf(w, "no memory plan: %s\n", in.Unplanned)
		}
	}
	if in.Weights != nil {
		tw = tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "WEIGHT\tTYPE\tSHAPE\tBYTES\tZEROS\tREAD BY")
		for _, x := range in.Weights {
			fmt.Fprintf(tw, "%s\t%s\t%v\t%d\t%.1f %%\t%s\n", clip(model.WithReader(x.Name, x.Reader), 48), x.DType, x.Shape, x.Bytes, 100*x.Sparsity, x.Ops)
		}
		tw.Flush()
	}
}

func (in *inspection) printOps(w io.Writer) {
	var names []string
	for op := range in.Ops {
		names = append(names, op)
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := names[i], names[j]
		return in.Ops[a] > in.Ops[b] || in.Ops[a] == in.Ops[b] && a < b
	})
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "OPERATOR\tNODES")
	for _, op := range names {
		fmt.Fprintf(tw, "%s\t%d\n", op, in.Ops[op])
	}
	tw.Flush()
}
