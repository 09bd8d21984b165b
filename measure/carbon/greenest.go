package carbon

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Advice is the greenest time for a piece of work, with what starting at once would mean.
type Advice struct {
	Start  time.Time
	Best   measure.Intensity // mean over the work when it starts at Start
	Now    measure.Intensity // mean over the work when it starts at once: the counterfactual
	Basis  string            // of the series: only a marginal one tells what the grid would emit less
	Saving float64           // 1 - Best/Now
}

// Marginal reports whether the series tells what one more or one less kWh emits.
func (a Advice) Marginal() bool { return strings.HasPrefix(a.Basis, "marginal") }

// Greenest finds the start in [from, until-work] with the lowest mean intensity over the length of the work, among from
// and the edges of the series' points. The series must cover every start that is considered without a hole; starts that
// it does not cover are left out, and an error says so when from itself is one of them.
func Greenest(s Series, work time.Duration, from, until time.Time) (Advice, error) {
	if work <= 0 || until.Sub(from) < work {
		return Advice{}, fmt.Errorf("carbon: work of %v between %s and %s", work, from.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	ps := slices.Clone(s.Points)
	sort.Slice(ps, func(i, j int) bool { return ps[i].From.Before(ps[j].From) })
	// A forecast begins with the next point: work that would begin before it, in a gap of less than a point, waits for it.
	if len(ps) > 0 && ps[0].From.After(from) && ps[0].From.Sub(from) < ps[0].To.Sub(ps[0].From) {
		from = ps[0].From
	}
	now, ok := meanOver(ps, from, work)
	if !ok {
		return Advice{}, fmt.Errorf("carbon: %s does not cover the work from %s on", s.Source, from.Format(time.RFC3339))
	}
	a := Advice{Start: from, Best: now, Now: now, Basis: s.Basis}
	var starts []time.Time
	for _, p := range ps {
		starts = append(starts, p.From, p.To.Add(-work)) // the best start lies where one edge of the work meets an edge
	}
	sort.Slice(starts, func(i, j int) bool { return starts[i].Before(starts[j]) })
	for _, t := range starts {
		if t.Before(from) || t.Add(work).After(until) {
			continue
		}
		if m, ok := meanOver(ps, t, work); ok && m < a.Best {
			a.Start, a.Best = t, m
		}
	}
	if a.Now > 0 {
		a.Saving = 1 - float64(a.Best)/float64(a.Now)
	}
	return a, nil
}

// meanOver is the time-weighted mean over [t, t+d]; ok is false where the points leave a hole.
func meanOver(ps []Point, t time.Time, d time.Duration) (measure.Intensity, bool) {
	end, at, sum := t.Add(d), t, 0.0
	for _, p := range ps {
		if !p.To.After(at) || !at.Before(end) {
			continue
		}
		if p.From.After(at) {
			return 0, false
		}
		stop := p.To
		if end.Before(stop) {
			stop = end
		}
		sum += float64(p.Intensity) * stop.Sub(at).Seconds()
		at = stop
	}
	return measure.Intensity(sum / d.Seconds()), !at.Before(end)
}
