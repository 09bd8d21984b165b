package main

import (
	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
)

func quantizeCommand() *cli.Command {
	return &cli.Command{
		Name: "quantize", Usage: "store weights in fewer bits", ArgsUsage: "MODEL -o OUT",
		Description: "Example: wattshed quantize model.onnx -o model.int8.onnx --scheme int8\n\n" +
			"fp16 and bf16 with --storage weights keep half-size weights behind a Cast: every runtime loads the file; ONNX\n" +
			"Runtime's CPU provider expands them at load, so there only the file shrinks. --storage graph computes in half\n" +
			"precision and is for accelerators. int8 is dynamic: 8-bit weights, activations quantized at run time.",
		Flags: stageFlags(
			&cli.StringFlag{Name: "scheme", Usage: "fp16, bf16 or int8"},
			&cli.StringFlag{Name: "storage", Usage: "of fp16 and bf16: weights or graph (default weights)"},
			&cli.StringFlag{Name: "mode", Usage: "of int8: dynamic"},
			&cli.StringFlag{Name: "granularity", Usage: "of int8: per-tensor or per-channel (default per-channel)"},
			&cli.StringSliceFlag{Name: "ops", Usage: "operators that int8 quantizes (default MatMul,Gemm,Gather,LSTM)"},
		),
		Action: func(c *cli.Context) error {
			if c.String("scheme") == "" {
				return usagef("--scheme: missing: fp16, bf16 or int8")
			}
			return applyStage(c, &recipe.Quantize{Scheme: c.String("scheme"), Storage: c.String("storage"), Mode: c.String("mode"),
				Granularity: c.String("granularity"), Ops: c.StringSlice("ops")}, nil)
		},
	}
}
