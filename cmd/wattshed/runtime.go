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
		Name: "runtime", Usage: "list the runtimes that are found, or fetch ONNX Runtime", ArgsUsage: "list|install",
		Description: "Example: wattshed runtime list\n\n" +
			"list shows the native runtime and every ONNX Runtime library of this system in the order of preference. install\n" +
			"fetches one with the package client that is present, checks its digest and puts it into the cache: for --provider cpu\n" +
			"that of the Python package onnxruntime (pip), or without pip, and for webgpu, of the Node package onnxruntime-node (npm).\n" +
			"WATTSHED_ORT, a library or its folder, comes before all others.",
		Flags: []cli.Flag{&cli.StringFlag{Name: "provider", Value: "cpu", Usage: "install: cpu or webgpu"}, jsonFlag(), quietFlag()},
		Action: func(c *cli.Context) error {
			what, err := one(c, "list or install")
			if err != nil {
				return err
			}
			switch what {
			case "list":
				return listRuntimes(c)
			case "install":
				return installRuntime(c)
			}
			return usagef("%s: want list or install", what)
		},
	}
}

func listRuntimes(c *cli.Context) error {
	list := []runtimeInfo{{Name: "native", Version: version, Providers: []string{"cpu " + kernel.Active().String()}, Used: true}}
	found, err := ort.Candidates()
	if err != nil {
		list = append(list, runtimeInfo{Name: "ort", Problem: err.Error() + "; " + hintRuntime()})
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
	if _, ok := ort.Packages()[c.String("provider")]; !ok {
		return usagef("--provider: %q: want cpu or webgpu", c.String("provider"))
	}
	p, err := ort.Choose(c.String("provider"))
	if err != nil {
		return err
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
