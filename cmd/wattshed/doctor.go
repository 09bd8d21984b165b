package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

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
	ReadCost  time.Duration          `json:"read_cost_ns"` // of the meter in use
	Overhead  float64                `json:"overhead"`     // share of time that reading it takes at the default settings
	Block     time.Duration          `json:"block_ns"`     // length of a window at the default settings, at least 50 periods of the counters
	Cross     []measure.CrossCheck   `json:"cross_checks,omitempty"`
	Advice    []string               `json:"advice,omitempty"`
	Holder    string                 `json:"holder,omitempty"` // the process that counts this machine now
	Ledger    string                 `json:"ledger"`
	Account   *measure.Account       `json:"account,omitempty"`
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
		Description: "Example: wattshed doctor\n\n" +
			"Lists the processor and its instruction sets, every energy counter (can it be read? if not, why, and the command that\n" +
			"mends it), the runtimes that are found and the accelerators. It changes nothing.",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("doctor: %q: takes no arguments", c.Args().First())
			}
			d, err := diagnose(c.Context)
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c, d)
			}
			d.print(c)
			return nil
		},
	}
}

// diagnose looks at the machine; it stops between two looks when ctx is canceled.
func diagnose(ctx context.Context) (diagnosis, error) {
	root := os.DirFS("/")
	d := diagnosis{Host: host(), ISA: kernel.Active().String(), Sources: measure.Sources(root, measure.OpenOptions{})}
	if err := kernel.ISAError(); err != nil {
		d.ISANote = err.Error()
	}
	if err := ctx.Err(); err != nil {
		return d, err
	}
	d.energy(root)
	if err := ctx.Err(); err != nil {
		return d, err
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
	return d, ctx.Err()
}

// energy fills in what the meter in use is and costs, what its counters say of each other, and what is missing.
func (d *diagnosis) energy(root fs.FS) {
	if m, err := measure.Open(root, "auto", measure.OpenOptions{}); err == nil {
		if x, ok := m.(measure.Describer); ok {
			d.Meter = x.Describe()
		}
		d.ReadCost, d.Overhead = measure.ReadOverhead(m)
		d.Block = measure.BlockLength(measure.DefaultBlock, m)
		if x, ok := m.(io.Closer); ok {
			x.Close()
		}
	}
	d.Cross, _ = measure.CrossCheckHost(root, measure.OpenOptions{}, time.Second)
	measure.CrossChecked(d.Sources, d.Cross)
	d.Advice = measure.Advice(measure.ReadHost(root), d.Sources)
	dir := os.Getenv(envLockDir)
	if pid := measure.HostHolder(dir); pid > 0 { // the lock itself is left alone: taking it would put others off
		d.Holder = fmt.Sprintf("process %d", pid)
	}
	d.Ledger = measure.LedgerPath(dir)
	if f, err := os.Open(d.Ledger); err == nil {
		defer f.Close()
		if a, err := measure.ReadLedger(f); err == nil {
			d.Account = &a
		}
	}
}

// printEnergy lists the sources, how to mend them, what they say of each other, and the machine's account.
func (d diagnosis) printEnergy(w io.Writer) {
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "ENERGY SOURCE\tKIND\tPRESENT\tREADABLE\tPERIOD\tSTEP\tCROSS-CHECK\tREMARK")
	for _, s := range d.Sources {
		period, step := "-", "-"
		if s.Period > 0 {
			period = s.Period.String()
		}
		if s.Resolution > 0 {
			step = fmt.Sprintf("%g mJ", float64(s.Resolution)/1000)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.Kind, yes(s.Present), yes(s.Readable), period, step, s.Cross, s.Why)
	}
	tw.Flush()
	for _, s := range d.Sources {
		if s.Fix != "" {
			fmt.Fprintf(w, "to read %s: %s\n", s.Name, s.Fix)
		}
	}
	for _, x := range d.Cross {
		word := "agree"
		if !x.Agree {
			word = "DISAGREE"
		}
		fmt.Fprintf(w, "%s: %s %.3f J, %s %.3f J in %v: %s within %.1f %%", x.Scope, x.A, float64(x.JoulesA), x.B, float64(x.JoulesB),
			x.Duration.Round(time.Millisecond), word, 100*x.Difference)
		if x.Note != "" {
			fmt.Fprintf(w, " (%s)", x.Note)
		}
		fmt.Fprintln(w)
	}
	if len(d.Cross) == 0 {
		fmt.Fprintln(w, "cross-check: no two counters of the same thing can be read here")
	}
	for _, s := range d.Advice {
		fmt.Fprintln(w, s)
	}
	fmt.Fprintf(w, "reading the meter takes %v: %.4f %% of the time at the default settings (at most 0.5 %% is wanted), windows of %v\n", d.ReadCost, 100*d.Overhead, d.Block)
	if d.Holder != "" {
		fmt.Fprintf(w, "lock     %s counts this machine now\n", d.Holder)
	}
	if a := d.Account; a != nil {
		fmt.Fprintf(w, "ledger   %s: since %s %.1f J measured, %.1f J modelled, gaps of %v\n", d.Ledger, a.First.Local().Format(time.DateTime),
			float64(a.Measured.Joules()), float64(a.Modelled.Joules()), a.Gaps.Round(time.Millisecond))
	} else {
		fmt.Fprintf(w, "ledger   %s: nothing counted yet\n", d.Ledger)
	}
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
	d.printEnergy(w)
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 2, 4, 2, ' ', 0)
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
		fmt.Fprintf(w, "to use ort: wattshed runtime install, or set %s to the library\n", ort.EnvLibrary)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
