package main

import (
	"bytes"
	"errors"
	"io/fs"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/testdata"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "the main job on the built-in model and data: no download, a few minutes", ArgsUsage: " ",
		Description: "Example: wattshed demo\n\n" +
			"Compresses the built-in spam classifier (embedding, LSTM, linear) in seven ways, scores each on the whole test\n" +
			"split, measures each against the original and writes the report. An interrupted demo goes on where it was.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Value: "wattshed-demo", Usage: "`DIR` of everything that is written"},
			meterFlag(), jsonFlag(), quietFlag(),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("demo: %q: takes no arguments", c.Args().First())
			}
			b, err := fs.ReadFile(testdata.FS, "spam/demo.yaml")
			if err != nil {
				return err
			}
			rec, err := recipe.Parse(bytes.NewReader(b), "demo.yaml", ".")
			if err != nil {
				return err
			}
			err = runRecipe(c, rec, c.String("out"), false)
			if errors.Is(err, recipe.ErrUnfinished) {
				err = runRecipe(c, rec, c.String("out"), true)
			}
			return err
		},
	}
}
