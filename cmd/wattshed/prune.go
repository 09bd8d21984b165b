package main

import (
	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
)

func pruneCommand() *cli.Command {
	return &cli.Command{
		Name: "prune", Usage: "set the least important weights to zero", ArgsUsage: "MODEL -o OUT",
		Description: "Example: wattshed prune model.onnx -o sparse.onnx --sparsity 0.5 --pattern unstructured\n\n" +
			"Patterns: unstructured (the same fraction of every weight), global (one threshold for all), 2:4 and other N:M\n" +
			"(N of every M inputs kept). Dense kernels compute zeros too: the zeros save time only on hardware or in runtimes\n" +
			"that use them.",
		Flags: stageFlags(
			&cli.Float64Flag{Name: "sparsity", Usage: "`FRACTION` of zeros, 0 to 1", DefaultText: "that of a pattern N:M"},
			&cli.StringFlag{Name: "pattern", Value: "unstructured", Usage: "unstructured, global or `N:M`"},
			&cli.StringFlag{Name: "criterion", Value: "magnitude", Usage: "what is least important: magnitude"},
			&cli.StringSliceFlag{Name: "ops", Usage: "operators whose weights are pruned (default MatMul,Gemm,Conv,LSTM,GRU)"},
		),
		Action: func(c *cli.Context) error {
			return applyStage(c, &recipe.Prune{Criterion: c.String("criterion"), Sparsity: c.Float64("sparsity"),
				Pattern: c.String("pattern"), Ops: c.StringSlice("ops")}, nil, nil)
		},
	}
}
