// Package metertest is a conformance suite for readers of energy counters. It expands recorded-shape sysfs
// trees, plays the successive values of every counter with its errors, resets and wraps, and compares what a
// reader claims with what the simulated hardware used (Run). The fixtures lie in testdata/energy of this module, and may be copied.
// Conform holds any meter, also one on real hardware, to what measure.Meter promises. METERS.md in the folder above shows both.
package metertest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
	"testing/fstest"
	"time"
)

// Tree expands a manifest (lines "file MODE PATH VALUE" and "link PATH TARGET") into a file system that looks
// like /sys, symbolic links included.
func Tree(manifest string) (fstest.MapFS, error) {
	m := fstest.MapFS{}
	sc := bufio.NewScanner(strings.NewReader(manifest))
	for n := 1; sc.Scan(); n++ {
		line := sc.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, " ", 4)
		switch {
		case f[0] == "link" && len(f) == 3 && fs.ValidPath(f[1]):
			m[f[1]] = &fstest.MapFile{Data: []byte(f[2]), Mode: fs.ModeSymlink | 0o777}
		case f[0] == "file" && len(f) == 4 && fs.ValidPath(f[2]):
			mode, err := strconv.ParseUint(f[1], 8, 16)
			if err != nil {
				return nil, fmt.Errorf("metertest: tree line %d: mode %q", n, f[1])
			}
			m[f[2]] = &fstest.MapFile{Data: []byte(f[3] + "\n"), Mode: fs.FileMode(mode) & fs.ModePerm}
		default:
			return nil, fmt.Errorf("metertest: tree line %d: %.60q", n, line)
		}
	}
	return m, sc.Err()
}

// value is what one read of a counter returns.
type value struct {
	text string
	err  error
}

func (v value) count() (uint64, error) {
	if v.err != nil {
		return 0, v.err
	}
	return strconv.ParseUint(v.text, 10, 64)
}

// step is one moment of a case: what each counter says from then on.
type step struct {
	at     time.Duration
	values map[string]value // by zone or event
}

// errnos are the errors that a script may name in place of a value: denied, a bad transfer, a zone or a device that is gone.
var errnos = map[string]error{"EACCES": syscall.EACCES, "EPERM": syscall.EPERM, "EIO": syscall.EIO, "ENOENT": syscall.ENOENT, "ENODEV": syscall.ENODEV}

// parseSamples reads a samples.csv: time, zone, event or file of sysfs, value or errno. Any other text is served as it stands.
func parseSamples(text string) ([]step, error) {
	var steps []step
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if n == 0 {
			continue
		}
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) != 3 {
			return nil, fmt.Errorf("metertest: samples line %d: %.60q", n+1, line)
		}
		s, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			return nil, fmt.Errorf("metertest: samples line %d: time %q", n+1, f[0])
		}
		at := time.Duration(s * float64(time.Second))
		if len(steps) == 0 || steps[len(steps)-1].at != at {
			steps = append(steps, step{at, map[string]value{}})
		}
		v := value{text: f[2]}
		if no, ok := errnos[f[2]]; ok {
			v.err = no
		}
		steps[len(steps)-1].values[f[1]] = v
	}
	if len(steps) == 0 {
		return nil, errors.New("metertest: no samples")
	}
	return steps, nil
}

// played is a sysfs whose files say what the script says now: the energy_uj of a zone, or any file by its path.
type played struct {
	fstest.MapFS
	at    time.Duration
	steps []step
	next  int
}

// powercapDevices is where the zones of the trees lie.
const powercapDevices = "devices/virtual/powercap/"

// newPlayed hides, where zones is set, the powercap zones of the tree that the script does not list: a counter that never moves would
// rightly be called stuck.
func newPlayed(tree fstest.MapFS, steps []step, zones bool) *played {
	listed := map[string]bool{}
	for _, s := range steps {
		for k := range s.values {
			listed[k] = true
		}
	}
	p := &played{MapFS: fstest.MapFS{}, steps: steps}
	for name, f := range tree {
		zone := ""
		switch {
		case strings.HasPrefix(name, powercapDevices):
			zone = strings.TrimPrefix(path.Dir(name), powercapDevices)
		case f.Mode&fs.ModeSymlink != 0:
			zone = strings.TrimPrefix(path.Join(path.Dir(name), string(f.Data)), powercapDevices)
		}
		if !zones || !strings.Contains(zone, ":") || listed[zone] {
			p.MapFS[name] = f
		}
	}
	p.advance(0)
	return p
}

// advance moves to step i.
func (p *played) advance(i int) { p.at, p.next = p.steps[i].at, i }

// now is the injected clock.
func (p *played) now() time.Duration { return p.at }

// Open serves scripted files and leaves the rest to the tree.
func (p *played) Open(name string) (fs.File, error) {
	real := p.resolve(name)
	v, ok := p.steps[p.next].values[real]
	if zone := strings.TrimPrefix(path.Dir(real), powercapDevices); !ok && path.Base(real) == "energy_uj" {
		v, ok = p.steps[p.next].values[zone]
	}
	switch {
	case !ok:
		return p.MapFS.Open(name)
	case v.err != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: v.err}
	}
	base := path.Base(name)
	return fstest.MapFS{base: {Data: []byte(v.text + "\n"), Mode: 0o444}}.Open(base)
}

// resolve follows the symbolic links among the folders of name, up to 8 of them.
func (p *played) resolve(name string) string {
	for range 8 {
		at, rest := "", name
		for rest != "" {
			var part string
			part, rest, _ = strings.Cut(rest, "/")
			at = path.Join(at, part)
			if target, err := p.MapFS.ReadLink(at); err == nil {
				at = path.Join(path.Dir(at), target, rest)
				break
			}
		}
		if at == name || !fs.ValidPath(at) {
			return name
		}
		name = at
	}
	return name
}

// event is an opened perf event of the script.
type event struct {
	p    *played
	name string
}

// Read returns the scripted count.
func (e event) Read() (uint64, error) {
	v, ok := e.p.steps[e.p.next].values[e.name]
	if !ok {
		return 0, syscall.ENODEV
	}
	return v.count()
}

// Close does nothing.
func (event) Close() error { return nil }
