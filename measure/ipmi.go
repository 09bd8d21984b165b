package measure

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// IPMIFix turns the controller's power measurement on.
const IPMIFix = "sudo ipmitool dcmi power activate   # and, to read as a user: sudo chgrp adm /dev/ipmi0 && sudo chmod g+rw /dev/ipmi0"

// IPMITool runs "ipmitool dcmi power reading" on this machine: the Fetcher of NewIPMI.
func IPMITool(ctx context.Context) ([]byte, error) {
	return runLimited(ctx, "ipmitool", "dcmi", "power", "reading")
}

// runLimited runs a command and returns its output, with the first line of what it complains about in the error.
func runLimited(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	var ex *exec.ExitError
	if errors.As(err, &ex) {
		line, _, _ := strings.Cut(strings.TrimSpace(string(ex.Stderr)), "\n")
		err = fmt.Errorf("%s: %w: %.200s", name, err, line)
	}
	if len(out) > maxAnswer {
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxAnswer)
	}
	return out, err
}

// NewIPMI reads the power of a server from the DCMI text of its management controller (ipmitool or FreeIPMI's ipmi-dcmi). It
// is the whole server, in steps of 1 W, averaged as the controller likes.
func NewIPMI(fetch Fetcher, o ExternalOptions) *External {
	spec := externalSpec{name: "ipmi", uAbs: 0.1, uRatio: 0.05, most: 100_000, every: 2 * time.Second,
		note: "whole server, steps of 1 W, the controller's own averaging"}
	return newExternal(spec, o, func(ctx context.Context) ([]probe, error) {
		b, err := fetch(ctx)
		if err != nil {
			return nil, err
		}
		w, err := ParseDCMI(b)
		return []probe{{zone: "server", name: "server", scope: ScopePlatform, value: float64(w)}}, err
	})
}

// ParseDCMI returns the present power of the text that "ipmitool dcmi power reading" or "ipmi-dcmi --get-system-power-statistics"
// print. A controller whose measurement is not active, a unit other than watts, and a server of 0 W are errors.
func ParseDCMI(text []byte) (Watts, error) {
	if len(text) > maxAnswer {
		return 0, fmt.Errorf("measure: ipmi: %d bytes", len(text))
	}
	found, watts := false, 0.0
	for line := range strings.Lines(string(text)) {
		key, val, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		val = strings.TrimSpace(val)
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "power reading state is", "power measurement":
			if s := strings.ToLower(val); s != "activated" && s != "active" {
				return 0, fmt.Errorf("measure: ipmi: power measurement is %.40q", val)
			}
		case "instantaneous power reading", "current power":
			f := strings.Fields(val)
			if len(f) != 2 || !strings.EqualFold(f[1], "watts") {
				return 0, fmt.Errorf("measure: ipmi: power %.40q, want a number of Watts: %w", val, errGarbage)
			}
			v, err := strconv.ParseUint(f[0], 10, 32)
			if err != nil || v == 0 {
				return 0, fmt.Errorf("measure: ipmi: power %.40q: %w", val, errGarbage)
			}
			found, watts = true, float64(v)
		}
	}
	if !found {
		return 0, fmt.Errorf("%w: ipmi: the answer has no power reading", ErrNoCounter)
	}
	return Watts(watts), nil
}
