package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"
)

// PerfCounter is one opened perf event.
type PerfCounter interface {
	Read() (uint64, error)
	Close() error
}

// PerfOpener opens event config of PMU typ on one CPU, system-wide. OpenPerf is the real one.
type PerfOpener func(typ uint32, config uint64, cpu int) (PerfCounter, error)

// PerfOptions are the injected parts of the perf meter. The zero value is usable.
type PerfOptions struct {
	Now  func() time.Duration // clock that counts suspend; default Boottime
	Open PerfOpener           // default OpenPerf
	TDP  Watts                // of one package, for the plausibility bound
	AMD  bool                 // as in PowercapOptions
	VM   bool                 // as in PowercapOptions
	SGX  bool                 // as in PowercapOptions
}

// Perf is the RAPL meter of the kernel's perf "power" PMU. Its counts are 64 bits wide: the kernel follows the
// 32-bit register, so they do not wrap.
type Perf struct {
	now    func() time.Duration
	events []perfEvent
}

type perfEvent struct {
	domain Domain
	source Source
	scale  float64 // joules per count
	open   PerfCounter
	err    error // of opening
	count  counter
}

// PerfFix is the command that allows system-wide counting until the next boot.
const PerfFix = "sudo sysctl kernel.perf_event_paranoid=0   # or: sudo setcap cap_perfmon=ep $(which wattshed)"

const perfDir = "bus/event_source/devices/power"

// perfScopes tells what each event of the PMU covers.
var perfScopes = map[string]Scope{
	"energy-pkg": ScopePackage, "energy-ram": ScopeDRAM, "energy-cores": ScopeCore,
	"energy-gpu": ScopeUncore, "energy-psys": ScopePlatform,
}

// NewPerf reads the layout of the PMU below fsys, the root of sysfs, and opens each event on each CPU of its
// cpumask. It returns ErrNoCounter when there is no such PMU, and ErrPermission when no event could be opened;
// events that fail alone are reported by Read. Close closes the descriptors.
func NewPerf(fsys fs.FS, o PerfOptions) (*Perf, error) {
	layout, err := readPerfLayout(fsys)
	if err != nil {
		return nil, err
	}
	p := &Perf{now: o.Now}
	if p.now == nil {
		p.now = Boottime
	}
	if o.Open == nil {
		o.Open = OpenPerf
	}
	ok := 0
	var firstErr error
	for _, cpu := range layout.cpus {
		for _, ev := range layout.events {
			e := perfEvent{scale: ev.scale, domain: Domain{Scope: ev.scope, Name: ev.name,
				Zone:     fmt.Sprintf("cpu%d/%s", cpu, ev.name),
				Headline: ev.scope == ScopePackage || ev.scope == ScopeDRAM}}
			e.source = Source{Name: "perf", Kind: Measured, URatio: 0.002, Resolution: 61, Period: powercapPeriod, Note: raplNote(PowercapOptions{VM: o.VM, SGX: o.SGX}),
				UAbs: raplUncertainty(ev.scope, PowercapOptions{AMD: o.AMD, VM: o.VM})}
			e.count.spec = counterSpec{perJoule: 1 / ev.scale, pmax: defaultPower(ev.scope, o.TDP), period: powercapPeriod,
				moves: e.domain.Headline || ev.scope == ScopePlatform, wide: true}
			if e.open, e.err = o.Open(layout.typ, ev.config, cpu); e.err == nil {
				ok++
			} else if firstErr == nil {
				firstErr = fmt.Errorf("perf: event %s on CPU %d: %w", ev.name, cpu, e.err)
			}
			p.events = append(p.events, e)
		}
	}
	if ok == 0 {
		return nil, fmt.Errorf("%w: %w", ErrPermission, firstErr)
	}
	return p, nil
}

// Read reads every event once.
func (p *Perf) Read() (Reading, error) {
	r := Reading{At: p.now(), Domains: make([]DomainReading, len(p.events))}
	ok := 0
	var firstErr error
	for i := range p.events {
		e := &p.events[i]
		err := e.err
		var v uint64
		if err == nil {
			v, err = e.open.Read()
		}
		if err == nil {
			ok++
		} else if firstErr == nil {
			firstErr = fmt.Errorf("perf: event %s: %w", e.domain.Zone, err)
		}
		e.count.read(r.At, v, err)
		r.Domains[i] = DomainReading{Domain: e.domain, Source: e.source, Energy: scaled(e.count.sum, e.scale)}
		e.count.tell(&r.Domains[i])
	}
	if ok == 0 {
		return r, firstErr
	}
	return r, nil
}

// scaled returns ⌊n · scale · 1e6⌋ µJ, saturating.
func scaled(n uint64, scale float64) Microjoules {
	f := math.Floor(float64(n) * scale * MicroPerUnit)
	if f >= maxMicro {
		return maxMicro
	}
	return Microjoules(f)
}

// Close closes every descriptor.
func (p *Perf) Close() error {
	var errs []error
	for i := range p.events {
		if c := p.events[i].open; c != nil {
			errs = append(errs, c.Close())
			p.events[i].open, p.events[i].err = nil, fs.ErrClosed
		}
	}
	return errors.Join(errs...)
}

// Period returns the update period of the counters.
func (p *Perf) Period() time.Duration { return powercapPeriod }

// Describe says what is read.
func (p *Perf) Describe() string {
	return fmt.Sprintf("RAPL by perf events: %d event counters, headline cpu+dram", len(p.events))
}

type perfLayout struct {
	typ    uint32
	cpus   []int
	events []perfEventLayout
}

type perfEventLayout struct {
	name   string
	scope  Scope
	config uint64
	scale  float64
}

// readPerfLayout parses type, cpumask, format/event and events/*.
func readPerfLayout(fsys fs.FS) (perfLayout, error) {
	var l perfLayout
	s, err := readAttribute(fsys, perfDir+"/type")
	if err != nil {
		return l, fmt.Errorf("%w: no perf power PMU: %w", ErrNoCounter, err)
	}
	typ, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return l, fmt.Errorf("measure: %s/type: %.40q is not a number", perfDir, s)
	}
	l.typ = uint32(typ)
	if s, err = readAttribute(fsys, perfDir+"/cpumask"); err != nil {
		return l, fmt.Errorf("measure: perf power PMU: %w", err)
	}
	if l.cpus, err = parseCPUList(s); err != nil {
		return l, err
	}
	shift := 0
	if s, err = readAttribute(fsys, perfDir+"/format/event"); err == nil {
		if shift, err = parseFormat(s); err != nil {
			return l, err
		}
	}
	entries, err := fs.ReadDir(fsys, perfDir+"/events")
	if err != nil {
		return l, fmt.Errorf("%w: perf power PMU has no events: %w", ErrNoCounter, err)
	}
	for _, e := range entries {
		scope, known := perfScopes[e.Name()]
		if !known {
			continue
		}
		ev, err := readPerfEvent(fsys, e.Name(), shift)
		if err != nil {
			return l, err
		}
		ev.scope = scope
		l.events = append(l.events, ev)
	}
	if len(l.events) == 0 {
		return l, fmt.Errorf("%w: perf power PMU has no energy event", ErrNoCounter)
	}
	sort.Slice(l.events, func(i, j int) bool { return l.events[i].name < l.events[j].name })
	return l, nil
}

// readPerfEvent reads one event's config, unit and scale; none of them is assumed.
func readPerfEvent(fsys fs.FS, name string, shift int) (perfEventLayout, error) {
	ev := perfEventLayout{name: name}
	file := path.Join(perfDir, "events", name)
	s, err := readAttribute(fsys, file)
	if err != nil {
		return ev, fmt.Errorf("measure: %w", err)
	}
	hex, ok := strings.CutPrefix(s, "event=")
	v, err := strconv.ParseUint(hex, 0, 32)
	if !ok || err != nil {
		return ev, fmt.Errorf("measure: %s: %.40q is not event=NUMBER", file, s)
	}
	ev.config = v << shift
	if s, err = readAttribute(fsys, file+".unit"); err != nil || s != "Joules" {
		return ev, fmt.Errorf("measure: %s.unit: %.40q, want Joules", file, s)
	}
	s, err = readAttribute(fsys, file+".scale")
	if err == nil {
		ev.scale, err = strconv.ParseFloat(s, 64)
	}
	if err != nil || !(ev.scale > 1e-15) || ev.scale > 1 {
		return ev, fmt.Errorf("measure: %s.scale: %.40q is no usable scale", file, s)
	}
	return ev, nil
}

// parseFormat returns the lowest bit of a field such as "config:0-7".
func parseFormat(s string) (int, error) {
	bits, ok := strings.CutPrefix(s, "config:")
	lo, _, _ := strings.Cut(bits, "-")
	n, err := strconv.ParseUint(lo, 10, 6)
	if !ok || err != nil || n > 31 {
		return 0, fmt.Errorf("measure: perf format %.40q, want config:LO-HI", s)
	}
	return int(n), nil
}
