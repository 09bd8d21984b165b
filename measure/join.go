package measure

import (
	"errors"
	"io"
	"time"
)

// Join reads several meters as one, such as the CPU's and a board's: their domains stand side by side. Zones must
// differ. A meter that fails leaves its domains out of that Reading, which windows show as unreadable. Nothing is added
// twice: a CPU that an earlier meter counts is shown of later ones but left out of the headline, and so is a platform
// (battery, server, wall) once any part of it is counted; where the platform comes first, its parts are.
func Join(meters ...Meter) Meter { return joined(meters) }

type joined []Meter

// Read reads all of them; the error is that of all when none answered.
func (j joined) Read() (Reading, error) {
	var out Reading
	var errs []error
	var first []int // domains of each meter that answered
	for _, m := range j {
		r, err := m.Read()
		if err != nil {
			errs = append(errs, err)
		}
		out.At = max(out.At, r.At)
		out.Domains = append(out.Domains, r.Domains...)
		first = append(first, len(r.Domains))
	}
	countOnce(out.Domains, first)
	if len(errs) == len(j) {
		return out, errors.Join(errs...)
	}
	return out, nil
}

// countOnce takes domains out of the headline that an earlier meter covers. n holds how many domains each meter has.
func countOnce(domains []DomainReading, n []int) {
	var cpu, gpu, platform bool // counted by earlier meters
	for _, k := range n {
		own := domains[:k]
		domains = domains[k:]
		var c, g, p bool
		for i := range own {
			d := &own[i]
			if !d.Domain.Headline {
				continue
			}
			covered := platform
			switch d.Domain.Scope {
			case ScopePlatform:
				covered = covered || cpu || gpu
				p = p || !covered
			case ScopePackage, ScopeDRAM:
				covered = covered || cpu
				c = c || !covered
			case ScopeGPU:
				g = g || !covered
			}
			if covered {
				d.Domain.Headline = false
				d.Source.Note = joinNote(d.Source.Note, "another meter of this run counts it already: shown, not added")
			}
		}
		cpu, gpu, platform = cpu || c, gpu || g, platform || p
	}
}

// leaveIdle passes it on to those that model.
func (j joined) leaveIdle() {
	for _, m := range j {
		if x, ok := m.(idleLeaver); ok {
			x.leaveIdle()
		}
	}
}

// takeIdle passes it on to those that model.
func (j joined) takeIdle() {
	for _, m := range j {
		if x, ok := m.(idleLeaver); ok {
			x.takeIdle()
		}
	}
}

// Period returns the longest of the meters' periods.
func (j joined) Period() time.Duration {
	var most time.Duration
	for _, m := range j {
		if p, ok := m.(Perioder); ok {
			most = max(most, p.Period())
		}
	}
	return most
}

// GuardPeriod returns the shortest of the meters' guard periods; 0 when none needs one.
func (j joined) GuardPeriod() time.Duration {
	var least time.Duration
	for _, m := range j {
		if g, ok := m.(Guarded); ok && g.GuardPeriod() > 0 && (least == 0 || g.GuardPeriod() < least) {
			least = g.GuardPeriod()
		}
	}
	return least
}

// Describe joins what the meters say of themselves.
func (j joined) Describe() string {
	s := ""
	for _, m := range j {
		if d, ok := m.(Describer); ok {
			if s != "" {
				s += "; "
			}
			s += d.Describe()
		}
	}
	return s
}

// Close closes those that can be closed.
func (j joined) Close() error {
	var errs []error
	for _, m := range j {
		if c, ok := m.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
