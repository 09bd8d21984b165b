package main

import (
	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
)

// runtimeFlags are settings of the session that runs a model.
func runtimeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "exact", Usage: "native: no transformation that changes results beyond rounding order"},
		&cli.StringFlag{Name: "spinning", Value: "on", Usage: "on or off: do idle threads wait actively?"},
		&cli.StringFlag{Name: "optimization", Usage: "of ort: none, basic, extended or all", DefaultText: "all"},
	}
}

// onRuntime sets what runtimeFlags say.
func onRuntime(c *cli.Context, t recipe.TargetSpec) recipe.TargetSpec {
	t.Exact, t.Spinning, t.Optimization = c.Bool("exact"), c.String("spinning"), c.String("optimization")
	return t
}
