package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/measure"
)

// envLockDir names another folder for the machine's lock and ledger, such as one that containers of a machine share.
const envLockDir = "WATTSHED_LOCKDIR"

// meterFlag chooses the energy source.
func meterFlag() cli.Flag {
	return &cli.StringFlag{Name: "meter", Value: "auto", Usage: "energy source, or several joined with +: " + measure.SourceNames()}
}

// sessionFlags record readings and play them back.
func sessionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "record", Usage: "write every reading of the meter to `FILE` as it is taken"},
		&cli.StringFlag{Name: "replay", Usage: "take the readings of a recorded `FILE` for the meter's, in its time"},
		&cli.BoolFlag{Name: "require-measured", Usage: "fail where energy would be modelled"},
	}
}

// openOptions are those of meters that are asked over a network; passwords come from the environment only.
func openOptions(ctx context.Context) measure.OpenOptions {
	return measure.OpenOptions{Context: ctx, RedfishUser: os.Getenv("WATTSHED_REDFISH_USER"), RedfishPassword: os.Getenv("WATTSHED_REDFISH_PASSWORD")}
}

// openMeter opens the meter that the flags ask for, guarded against counters that wrap. It takes the machine's lock, or attaches
// to the process that has it and says so; a replayed session belongs to no machine. done releases everything.
func openMeter(c *cli.Context) (meter *measure.Guard, done func(), err error) {
	if c.String("replay") != "" {
		if c.IsSet("meter") {
			return nil, nil, usagef("--replay: %q: not together with --meter", c.String("replay"))
		}
		m, err := openReplay(c.String("replay"))
		if err != nil {
			return nil, nil, err
		}
		return recorded(c, m)
	}
	m, err := measure.Open(os.DirFS("/"), c.String("meter"), openOptions(c.Context))
	if errors.Is(err, measure.ErrNoSource) {
		return nil, nil, withHint(usageError{err}, "wattshed doctor lists what this machine has")
	}
	if err != nil {
		return nil, nil, withHint(err, "wattshed doctor")
	}
	shared, err := measure.ShareHost(m, os.Getenv(envLockDir))
	switch {
	case err != nil:
		remark(c, "this machine's energy is counted without its lock: %v", err)
		return recorded(c, m)
	case shared.Attached() != "":
		remark(c, "this machine's energy is counted by %s, another measurement by wattshed: what counters measure meanwhile holds the work of both and is in no total here, and modelled energy leaves the machine's idle power to the other", shared.Attached())
	}
	return recorded(c, shared)
}

// openReplay reads a recorded session and plays it from now on.
func openReplay(name string) (measure.Meter, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := measure.NewReplay(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m.InTime(measure.Boottime), nil
}

// recorded puts the recorder, where one is asked for, and the guard around m.
func recorded(c *cli.Context, m measure.Meter) (*measure.Guard, func(), error) {
	var file *os.File
	if name := c.String("record"); name != "" {
		if err := recipe.Apart(name, append(c.Args().Slice(), reads(c)...)...); err != nil {
			return nil, nil, sameFile(c, "--record", name, "MODEL", err)
		}
		f, err := os.Create(name)
		if err == nil {
			file = f
			m, err = measure.NewRecorder(m, f, c.Command.Name+" on "+host().CPU)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("--record: %w", err)
		}
	}
	g := measure.NewGuard(m)
	done := func() {
		errs := []error{g.Close()}
		if x, ok := m.(io.Closer); ok {
			errs = append(errs, x.Close())
		}
		if file != nil {
			errs = append(errs, file.Close())
		}
		if err := errors.Join(errs...); err != nil {
			remark(c, "the meter: %v", err)
		}
	}
	if c.Bool("require-measured") && !measured(g) {
		done()
		return nil, nil, withHint(errors.New("--require-measured: no counter is read here, energy would be modelled"), "wattshed doctor")
	}
	return g, done, nil
}

// measured reports whether all that a meter counts is measured.
func measured(m measure.Meter) bool {
	r, err := m.Read()
	n := 0
	for _, d := range r.Domains {
		if d.Domain.Headline && d.Source.Kind != measure.Measured {
			return false
		}
		if d.Domain.Headline {
			n++
		}
	}
	return err == nil && n > 0
}

// remark says something on standard error that is no failure.
func remark(c *cli.Context, format string, args ...any) {
	if !c.Bool("quiet") {
		fmt.Fprintf(c.App.ErrWriter, "note: "+format+"\n", args...)
	}
}
