package metertest

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Conform reads m eight times, lets advance pass time (and use, where the test makes some) between the reads, and reports every
// breach of what a Meter promises; see Contract. It suits any meter, on real hardware too.
func Conform(t *testing.T, m measure.Meter, advance func()) {
	t.Helper()
	var readings []measure.Reading
	for i := range 8 {
		if i > 0 {
			advance()
		}
		r, err := m.Read()
		if err != nil && len(r.Domains) == 0 {
			t.Errorf("read %d: %v", i, err)
			continue
		}
		readings = append(readings, r)
	}
	for _, bad := range Contract(readings) {
		t.Error(bad)
	}
}

// Contract returns every breach in successive readings of one meter:
//
//	time and energy never run back; the set of zones stays the same, and each zone appears once
//	every domain has a name, a scope and a source with finite uncertainties; what is modelled says what it assumes
//	a gap lies inside the time read, has a reason, and the domain's status admits it
//	a platform and what lies in it are never both in the headline
//	energy is additive: [a,c] = [a,b] + [b,c] for all windows that begin where the domain was read, and coverage lies between 0 and 1
//	a reading that repeats an earlier one, since the counter failed or stood still, says so (Stale): what comes later may be older
func Contract(readings []measure.Reading) []string {
	var bad []string
	add := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	for i, r := range readings {
		if i > 0 && r.At < readings[i-1].At {
			add("reading %d: time runs back from %v to %v", i, readings[i-1].At, r.At)
		}
		if i > 0 && !slices.Equal(zonesOf(r), zonesOf(readings[0])) {
			add("reading %d: zones %q, at first %q", i, zonesOf(r), zonesOf(readings[0]))
		}
		for _, d := range r.Domains {
			for _, s := range checkDomain(d, readings[0].At, r.At) {
				add("reading %d: zone %q: %s", i, d.Domain.Zone, s)
			}
		}
		if s := checkHeadline(r); s != "" {
			add("reading %d: %s", i, s)
		}
	}
	return slices.Concat(bad, checkStale(readings), checkWindows(readings))
}

// checkStale looks for energy that is attributed to a time after a reading although it stems from before: a gap that lasted up to the
// reading and is gone in the next one, which claims it, while the reading does not say that it is stale.
func checkStale(readings []measure.Reading) []string {
	var bad []string
	for i := 1; i < len(readings); i++ {
		next := map[string]measure.DomainReading{}
		for _, d := range readings[i].Domains {
			next[d.Domain.Zone] = d
		}
		for _, d := range readings[i-1].Domains {
			n, ok := next[d.Domain.Zone]
			if !ok || d.Stale || n.Energy <= d.Energy || len(d.Gaps) == 0 {
				continue
			}
			g := d.Gaps[len(d.Gaps)-1]
			if lasts := g.Reason == measure.GapUnreadable || g.Reason == measure.GapStuck; lasts && g.To == readings[i-1].At && !slices.Contains(n.Gaps, g) {
				bad = append(bad, fmt.Sprintf("reading %d: zone %q: not stale although a gap (%s) lasts up to it and the next reading claims it", i-1, d.Domain.Zone, g.Reason))
			}
		}
	}
	return bad
}

// zonesOf lists the zones of a reading, sorted.
func zonesOf(r measure.Reading) []string {
	var out []string
	for _, d := range r.Domains {
		out = append(out, d.Domain.Zone)
	}
	slices.Sort(out)
	return out
}

var (
	scopes = []measure.Scope{measure.ScopePackage, measure.ScopeDRAM, measure.ScopeCore, measure.ScopeUncore, measure.ScopePlatform,
		measure.ScopeGPU, measure.ScopeOther}
	reasons = []string{measure.GapReset, measure.GapImplausible, measure.GapAmbiguousWrap, measure.GapNoRange, measure.GapUnreadable,
		measure.GapStuck, measure.GapSuspend}
)

// checkDomain checks one domain of a reading between the times first and now.
func checkDomain(d measure.DomainReading, first, now time.Duration) []string {
	var bad []string
	if d.Domain.Zone == "" || d.Domain.Name == "" || !slices.Contains(scopes, d.Domain.Scope) {
		bad = append(bad, fmt.Sprintf("domain %+v", d.Domain))
	}
	s := d.Source
	if s.Name == "" || s.Kind != measure.Measured && s.Kind != measure.Modelled {
		bad = append(bad, fmt.Sprintf("source %q of kind %q", s.Name, s.Kind))
	}
	if u := s.UAbs + s.URatio; !(s.UAbs >= 0 && s.URatio >= 0) || math.IsInf(u, 0) {
		bad = append(bad, fmt.Sprintf("uncertainties %v and %v", s.UAbs, s.URatio))
	}
	if s.Kind == measure.Modelled && (s.UAbs == 0 || s.Note == "") {
		bad = append(bad, "modelled without an uncertainty or an assumption")
	}
	for _, g := range d.Gaps {
		if g.From > g.To || g.To > now || !slices.Contains(reasons, g.Reason) {
			bad = append(bad, fmt.Sprintf("gap %+v between %v and %v", g, first, now))
		}
	}
	if (len(d.Gaps) > 0) == (d.Status == measure.StatusOK) && !(d.Status == measure.StatusUnreadable && len(d.Errors) > 0) {
		bad = append(bad, fmt.Sprintf("status %q with %d gaps", d.Status, len(d.Gaps)))
	}
	return bad
}

// checkHeadline looks for joules that are counted twice.
func checkHeadline(r measure.Reading) string {
	platform, parts := "", ""
	for _, d := range r.Domains {
		switch {
		case !d.Domain.Headline:
		case d.Domain.Scope == measure.ScopePlatform:
			platform = d.Domain.Zone
		case d.Domain.Scope == measure.ScopeCore || d.Domain.Scope == measure.ScopeUncore:
			return fmt.Sprintf("zone %q lies inside a package and is in the headline", d.Domain.Zone)
		default:
			parts = d.Domain.Zone
		}
	}
	if platform != "" && parts != "" {
		return fmt.Sprintf("platform %q and its part %q are both in the headline", platform, parts)
	}
	return ""
}

// checkWindows adds up all windows.
func checkWindows(readings []measure.Reading) []string {
	var bad []string
	energy := func(a, b int) map[string]measure.Microjoules {
		w, err := measure.Between(readings[a], readings[b])
		if err != nil {
			bad = append(bad, fmt.Sprintf("window %d to %d: %v", a, b, err))
			return nil
		}
		if c := w.Coverage(); !(c >= 0 && c <= 1) {
			bad = append(bad, fmt.Sprintf("window %d to %d: coverage %v", a, b, c))
		}
		m := map[string]measure.Microjoules{}
		for _, d := range w.Domains {
			m[d.Domain.Zone] = d.Energy
		}
		return m
	}
	stale := func(i int, zone string) bool {
		return slices.ContainsFunc(readings[i].Domains, func(d measure.DomainReading) bool { return d.Domain.Zone == zone && d.Stale })
	}
	for a := range readings {
		for b := a; b < len(readings); b++ {
			for c := b; c < len(readings); c++ {
				ab, bc := energy(a, b), energy(b, c)
				for zone, e := range energy(a, c) {
					if len(bad) < 20 && e != ab[zone]+bc[zone] && !stale(a, zone) && !stale(b, zone) {
						bad = append(bad, fmt.Sprintf("zone %q: %d µJ in readings %d to %d, %d + %d in its parts", zone, e, a, c, ab[zone], bc[zone]))
					}
				}
			}
		}
	}
	return bad
}
