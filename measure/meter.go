package measure

import (
	"errors"
	"fmt"
	"time"
)

// Kind tells how a figure came about. Totals never sum over kinds.
type Kind string

// The kinds of a figure.
const (
	Measured Kind = "measured" // read from an energy counter or a power sensor
	Modelled Kind = "modelled" // computed from a load and coefficients
	Mixed    Kind = "mixed"    // some domains measured, some modelled: shown side by side
)

// Scope tells what a domain covers, and so which domains may be added.
type Scope string

// The scopes. Package and DRAM add up to the headline "cpu+dram"; Core and Uncore lie inside Package;
// Platform contains Package; a discrete GPU stands beside them.
const (
	ScopePackage  Scope = "package"
	ScopeDRAM     Scope = "dram"
	ScopeCore     Scope = "core"
	ScopeUncore   Scope = "uncore"
	ScopePlatform Scope = "platform"
	ScopeGPU      Scope = "gpu"
	ScopeOther    Scope = "other"
)

// Domain is one counted thing: a socket, its memory, a board.
type Domain struct {
	Scope    Scope  `json:"scope"`
	Name     string `json:"name"`     // what the source calls it: package-0, dram, energy-pkg
	Zone     string `json:"zone"`     // unique within a meter: canonical device path, or cpuN/event
	Headline bool   `json:"headline"` // true: part of the total; false: breakdown, other scope or duplicate
}

// Source tells where the joules of a domain come from. UAbs and URatio are relative half-widths of a 95 %
// interval: UAbs of the energy itself, URatio of what is left of it in the ratio of two interleaved blocks on
// the same device (gain cancels; edges do not).
type Source struct {
	Name       string        `json:"name"` // powercap, perf, replay, model ...
	Kind       Kind          `json:"kind"`
	UAbs       float64       `json:"u_abs"`
	URatio     float64       `json:"u_ratio"`
	Resolution Microjoules   `json:"resolution_uj,omitempty"`
	Period     time.Duration `json:"period_ns,omitempty"` // update period τ of the counter
	Note       string        `json:"note,omitempty"`      // assumptions and restrictions, in words
	// CountedBy is the process that counts this machine, where it is not this one: a measured source is then in no headline, a
	// modelled one is without the machine's idle power. See HostMeter.
	CountedBy string `json:"counted_by,omitempty"`
}

// Gap reasons.
const (
	GapReset         = "reset"                  // the counter fell further than a wrap explains
	GapImplausible   = "implausible"            // more energy than the domain can draw
	GapAmbiguousWrap = "ambiguous_wrap"         // it may have wrapped more than once between reads
	GapNoRange       = "decrease_without_range" // it fell and its range is unknown
	GapUnreadable    = "unreadable"             // no read succeeded
	GapStuck         = "stuck"                  // it did not move although its domain draws power
	GapSuspend       = "suspend"                // the machine slept inside the window
)

// Gap is a time in which a domain's energy is unknown. Its joules are never filled in.
type Gap struct {
	From   time.Duration `json:"from_ns"`
	To     time.Duration `json:"to_ns"`
	Reason string        `json:"reason"`
}

// Status of a domain: ok, partial (a gap somewhere) or unreadable (never read).
const (
	StatusOK         = "ok"
	StatusPartial    = "partial"
	StatusUnreadable = "unreadable"
)

// DomainReading is the state of one domain since the meter's first Read.
type DomainReading struct {
	Domain Domain      `json:"domain"`
	Source Source      `json:"source"`
	Energy Microjoules `json:"energy_uj"` // cumulative and never falling; what an honest reader may claim
	Status string      `json:"status"`
	Gaps   []Gap       `json:"gaps,omitempty"`   // times on the meter's clock
	Errors []string    `json:"errors,omitempty"` // distinct read errors so far, such as EACCES
	// Stale: Energy is that of an earlier moment, since this read failed or the counter is stuck. What a later Reading claims may
	// stem from before this one, so no window may begin here: see Between.
	Stale bool `json:"stale,omitempty"`
}

// Reading is what a Meter says at one moment.
type Reading struct {
	At      time.Duration   `json:"at_ns"` // on a clock that counts suspend
	Domains []DomainReading `json:"domains"`
}

// Meter reads cumulative energy per domain. The first Read sets the zero. An error means that nothing could
// be read at all; a domain that fails alone is reported in its Status, Gaps and Errors. Read must not be called
// from two goroutines at once unless the type says so. Optional abilities are found by assertion:
// io.Closer, Perioder, Describer, Guarded.
type Meter interface {
	Read() (Reading, error)
}

// Perioder is a Meter that knows the update period of its slowest counter.
type Perioder interface{ Period() time.Duration }

// Describer is a Meter that can say in one line what it reads and what it leaves out.
type Describer interface{ Describe() string }

// Guarded is a Meter whose counters wrap: it must be read at least every GuardPeriod.
type Guarded interface{ GuardPeriod() time.Duration }

// Sentinel errors of meters.
var (
	ErrNoCounter  = errors.New("measure: no energy counter")
	ErrPermission = errors.New("measure: energy counter not readable")
)

// DomainEnergy is the energy of one domain in a window.
type DomainEnergy struct {
	Domain Domain      `json:"domain"`
	Source Source      `json:"source"`
	Energy Microjoules `json:"energy_uj"`
	Status string      `json:"status"`
	Gaps   []Gap       `json:"gaps,omitempty"`
	Errors []string    `json:"errors,omitempty"`
}

// Window is the energy between two Readings of one Meter.
type Window struct {
	Duration time.Duration  `json:"duration_ns"`
	Domains  []DomainEnergy `json:"domains,omitempty"`
}

// Between returns the energy from reading a to the later reading b. A domain that a lacks is unreadable in
// the window; one that b lacks has a gap over all of it. Where a itself could not read a domain, or found its counter stuck,
// what b then claims stems in part from before the window, and nobody knows in which part: the window claims nothing of it
// and is a gap over all of its length. So energies of windows add up, except that windows with such an edge add up to less.
func Between(a, b Reading) (Window, error) {
	if b.At < a.At {
		return Window{}, fmt.Errorf("measure: window ends at %v before it starts at %v", b.At, a.At)
	}
	w := Window{Duration: b.At - a.At}
	old := make(map[string]DomainReading, len(a.Domains))
	for _, d := range a.Domains {
		old[d.Domain.Zone] = d
	}
	for _, d := range b.Domains {
		e := DomainEnergy{Domain: d.Domain, Source: d.Source, Status: StatusOK}
		p, had := old[d.Domain.Zone]
		delete(old, d.Domain.Zone)
		// What began to count within the window counts from its end on.
		e.Domain.Headline = d.Domain.Headline && !(had && (!p.Domain.Headline || p.Source.CountedBy != d.Source.CountedBy))
		switch {
		case !had:
			e.Status, e.Gaps = StatusUnreadable, []Gap{{a.At, b.At, GapUnreadable}}
		case d.Energy < p.Energy:
			return Window{}, fmt.Errorf("measure: domain %q: energy falls from %d to %d µJ", d.Domain.Zone, p.Energy, d.Energy)
		case p.Stale && d.Energy > p.Energy:
			e.Status, e.Gaps, e.Errors = StatusPartial, []Gap{{a.At, b.At, p.lag()}}, d.Errors
		default:
			e.Energy = d.Energy - p.Energy
			e.window(d, a.At, b.At)
		}
		w.Domains = append(w.Domains, e)
	}
	for _, d := range a.Domains {
		if _, lost := old[d.Domain.Zone]; lost {
			w.Domains = append(w.Domains, DomainEnergy{Domain: d.Domain, Source: d.Source,
				Status: StatusUnreadable, Gaps: []Gap{{a.At, b.At, GapUnreadable}}})
		}
	}
	return w, nil
}

// lag says why a stale reading is one: its last gap is that which lasts up to now.
func (d DomainReading) lag() string {
	if n := len(d.Gaps); n > 0 && d.Gaps[n-1].Reason == GapStuck {
		return GapStuck
	}
	return GapUnreadable
}

// window keeps the gaps of d that overlap [from, to] and sets the status they imply.
func (e *DomainEnergy) window(d DomainReading, from, to time.Duration) {
	for _, g := range d.Gaps {
		if g.From >= to || g.To <= from {
			continue
		}
		e.Gaps = append(e.Gaps, Gap{max(g.From, from), min(g.To, to), g.Reason})
		e.Status = StatusPartial
		if g.Reason == GapUnreadable && g.From <= from && g.To >= to {
			e.Status = StatusUnreadable
		}
	}
	e.Errors = d.Errors
}

// Headline sums the headline domains of one kind ("cpu+dram" for RAPL, the boards for GPUs). ok is false when
// there is none of that kind or one of them has a gap: then the sum is a lower bound.
func (w Window) Headline(k Kind) (sum Microjoules, ok bool) {
	n := 0
	ok = true
	for _, d := range w.Domains {
		if !d.Domain.Headline || d.Source.Kind != k {
			continue
		}
		n++
		sum += d.Energy
		ok = ok && d.Status == StatusOK
	}
	return sum, ok && n > 0
}

// Kind returns what the headline domains are: Measured, Modelled, Mixed, or "" when there are none.
func (w Window) Kind() Kind {
	var k Kind
	for _, d := range w.Domains {
		switch {
		case !d.Domain.Headline:
		case k == "":
			k = d.Source.Kind
		case k != d.Source.Kind:
			return Mixed
		}
	}
	return k
}

// Coverage is the share of (headline domains × time) that has no gap; 0 without headline domains.
func (w Window) Coverage() float64 {
	var n, lost float64
	for _, d := range w.Domains {
		if !d.Domain.Headline || w.Duration <= 0 {
			continue
		}
		n++
		for _, g := range d.Gaps {
			lost += (g.To - g.From).Seconds() / w.Duration.Seconds()
		}
	}
	if n == 0 {
		return 0
	}
	return max(0, 1-lost/n)
}
