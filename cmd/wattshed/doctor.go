package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// diagnosis is what doctor finds.
type diagnosis struct {
	Host      *reports.Host          `json:"host"`
	ISA       string                 `json:"isa"`
	ISANote   string                 `json:"isa_note,omitempty"`
	Sources   []measure.SourceStatus `json:"energy_sources"`
	Meter     string                 `json:"meter"`
	Runtimes  []runtimeStatus        `json:"runtimes"`
	Providers []string               `json:"providers,omitempty"`
}

type runtimeStatus struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Path    string `json:"path,omitempty"`
	Problem string `json:"problem,omitempty"`
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "what this machine can compute and measure, and what is missing", ArgsUsage: " ",
		Description: "Example: wattshed doctor",
		Flags:       []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("doctor: %q: takes no arguments", c.Args().First())
			}
			d := diagnose()
			if c.Bool("json") {
				return printJSON(c, d)
			}
			d.print(c)
			return nil
		},
	}
}

func diagnose() diagnosis {
	root := os.DirFS("/")
	d := diagnosis{Host: host(), ISA: kernel.Active().String(), Sources: measure.Sources(root, measure.OpenOptions{})}
	if err := kernel.ISAError(); err != nil {
		d.ISANote = err.Error()
	}
	if m, err := measure.Open(root, "auto", measure.OpenOptions{}); err == nil {
		if x, ok := m.(measure.Describer); ok {
			d.Meter = x.Describe()
		}
	}
	d.Runtimes = append(d.Runtimes, runtimeStatus{Name: "native", Version: version})
	rt := &ort.Runtime{}
	s := runtimeStatus{Name: "ort"}
	var err error
	if s.Version, err = rt.Version(); err != nil {
		s.Problem = err.Error()
	} else {
		s.Path, _ = rt.Path()
		d.Providers, _ = rt.Providers()
	}
	d.Runtimes = append(d.Runtimes, s)
	return d
}

func (d diagnosis) print(c *cli.Context) {
	w := c.App.Writer
	h := d.Host
	virtual := ""
	if h.Virtualized != nil && *h.Virtualized {
		virtual = ", virtual"
	}
	fmt.Fprintf(w, "machine  %s, %d logical CPUs, %s memory, %s%s\n", h.CPU, h.Cores, bytesText(h.Memory), h.OS, virtual)
	fmt.Fprintf(w, "kernels  %s in use; the CPU has %s\n", d.ISA, strings.Join(h.ISA, " "))
	if d.ISANote != "" {
		fmt.Fprintf(w, "         %s\n", d.ISANote)
	}
	fmt.Fprintf(w, "meter    %s\n\n", d.Meter)
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "ENERGY SOURCE\tKIND\tPRESENT\tREADABLE\tREMARK")
	for _, s := range d.Sources {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", s.Name, s.Kind, yes(s.Present), yes(s.Readable), s.Why)
	}
	tw.Flush()
	for _, s := range d.Sources {
		if s.Fix != "" {
			fmt.Fprintf(w, "to read %s: %s\n", s.Name, s.Fix)
		}
	}
	fmt.Fprintln(w)
	tw = tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "RUNTIME\tVERSION\tREMARK")
	for _, r := range d.Runtimes {
		remark := r.Problem
		if remark == "" {
			remark = r.Path
		}
		if r.Problem == "" && r.Name == "ort" {
			remark += " (" + strings.Join(d.Providers, ", ") + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", r.Name, r.Version, remark)
	}
	tw.Flush()
	if len(d.Runtimes) > 1 && d.Runtimes[1].Problem != "" {
		fmt.Fprintf(w, "to use ort: pip install onnxruntime, or set %s to the library\n", ort.EnvLibrary)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
