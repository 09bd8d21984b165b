package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/reports"
)

func reportCommand() *cli.Command {
	var names []string
	for _, f := range reports.Formats() {
		names = append(names, f.Name)
	}
	return &cli.Command{
		Name: "report", Usage: "render a result again", ArgsUsage: "RESULT.json",
		Description: "Example: wattshed report out/result.json --format html,md --out again\n\n" +
			"The result is what run and search write, or what measure --json prints: nothing is measured again. html is the whole\n" +
			"report in one file; junit and modelcard are for release checklists, cyclonedx is a bill of materials.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Value: strings.Join(names, ","), Usage: "comma-separated list of " + strings.Join(names, ", ")},
			&cli.StringFlag{Name: "out", Value: "report", Usage: "`DIR` to write to"},
			quietFlag(),
		},
		Action: func(c *cli.Context) error {
			path, err := one(c, "RESULT")
			if err != nil {
				return err
			}
			formats := strings.Split(c.String("format"), ",")
			for _, f := range formats {
				if _, err := reports.FormatByName(f); err != nil {
					return usageError{err}
				}
			}
			res, err := loadResult(path)
			if err != nil {
				return err
			}
			if err := c.Context.Err(); err != nil {
				return err
			}
			if err := os.MkdirAll(c.String("out"), 0o755); err != nil {
				return err
			}
			paths, missing, err := reports.WriteDir(c.Context, c.String("out"), res, formats...)
			if err != nil {
				return err
			}
			for _, p := range paths {
				fmt.Fprintln(c.App.Writer, p)
			}
			if !c.Bool("quiet") {
				for _, m := range missing {
					fmt.Fprintf(c.App.ErrWriter, "left out: %s\n", m)
				}
			}
			return nil
		},
	}
}

// loadResult reads a result, or the one in the folder of a report.
func loadResult(path string) (*reports.Result, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "result.json")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	res, err := reports.Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return res, nil
}
