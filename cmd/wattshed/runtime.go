package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/engine/ort"
)

// runtimeInfo is a runtime that was found.
type runtimeInfo struct {
	Name      string   `json:"name"`
	Version   string   `json:"version,omitempty"`
	Path      string   `json:"path,omitempty"`
	Source    string   `json:"source,omitempty"`
	Providers []string `json:"providers,omitempty"`
	Used      bool     `json:"used"`
	Problem   string   `json:"problem,omitempty"`
}

func runtimeCommand() *cli.Command {
	return &cli.Command{
		Name: "runtime", Usage: "the runtimes that are found; fetch ONNX Runtime",
		Description: "Example: wattshed runtime list",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "native, and every ONNX Runtime library of this system in the order of preference",
				Description: "Example: wattshed runtime list --json",
				Flags:       []cli.Flag{jsonFlag()},
				Action:      listRuntimes,
			},
			{
				Name: "install", Usage: "fetch the ONNX Runtime library with pip or npm, checked by its digest, into the cache",
				Description: "Example: wattshed runtime install\n\n" +
					"The library for --provider cpu is of the Python package onnxruntime, fetched with pip; that for webgpu is of the\n" +
					"Node package onnxruntime-node, fetched with npm. It is used when no other is found; WATTSHED_ORT chooses one.",
				Flags:  []cli.Flag{&cli.StringFlag{Name: "provider", Value: "cpu", Usage: "cpu or webgpu"}, jsonFlag(), quietFlag()},
				Action: installRuntime,
			},
		},
	}
}

func listRuntimes(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("%s: unexpected argument", c.Args().First())
	}
	list := []runtimeInfo{{Name: "native", Version: version, Providers: []string{"cpu " + kernel.Active().String()}, Used: true}}
	found, err := ort.Candidates()
	if err != nil {
		list = append(list, runtimeInfo{Name: "ort", Problem: err.Error()})
	}
	for i, f := range found {
		rt := &ort.Runtime{Library: f.Path}
		info := runtimeInfo{Name: "ort", Path: f.Path, Source: f.Source, Used: i == 0}
		if info.Version, err = rt.Version(); err != nil {
			info.Problem = err.Error()
		} else if info.Providers, err = rt.Providers(); err != nil {
			info.Problem = err.Error()
		}
		list = append(list, info)
	}
	if c.Bool("json") {
		return printJSON(c, list)
	}
	tw := tabwriter.NewWriter(c.App.Writer, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "RUNTIME\tVERSION\tUSED\tFOUND BY\tLIBRARY")
	for _, r := range list {
		used := ""
		if r.Used {
			used = "yes"
		}
		where := r.Path
		if r.Problem != "" {
			where = r.Problem
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", r.Name, r.Version, used, r.Source, where)
	}
	return tw.Flush()
}

func installRuntime(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("%s: unexpected argument", c.Args().First())
	}
	p, ok := ort.Packages()[c.String("provider")]
	if !ok {
		return usagef("--provider: %q: want cpu or webgpu", c.String("provider"))
	}
	if !c.Bool("quiet") {
		fmt.Fprintf(c.App.ErrWriter, "fetching %s %s with %s (%s)\n", p.Name, p.Version, p.Client, p.Note)
	}
	path, err := ort.Install(c.Context, p)
	if err != nil {
		return err
	}
	rt := &ort.Runtime{Library: path}
	info := runtimeInfo{Name: "ort", Path: path, Source: "cache"}
	if info.Version, err = rt.Version(); err != nil && !errors.Is(err, ort.ErrNotFound) {
		return err
	}
	if info.Providers, err = rt.Providers(); err != nil && !errors.Is(err, ort.ErrNotFound) {
		return err
	}
	if first, err := ort.Find(); err == nil {
		info.Used = first == path
	}
	if c.Bool("json") {
		return printJSON(c, info)
	}
	fmt.Fprintf(c.App.Writer, "ONNX Runtime %s: %s\n", info.Version, path)
	if !info.Used {
		fmt.Fprintf(c.App.Writer, "another library comes first; to use this one: export %s=%s\n", ort.EnvLibrary, path)
	}
	return nil
}
