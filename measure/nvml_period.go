package measure

import (
	"fmt"
	"slices"
	"time"
)

// inferPeriods watches every board by itself, before it is read for the first time: the raw count of its energy, or where its power is
// integrated the raw power, since an integral changes with every read.
func (m *NVIDIA) inferPeriods(d time.Duration, wait func(time.Duration)) {
	seen := map[string]*changes{}
	for start := m.now(); m.now()-start < d; wait(time.Millisecond) {
		for i := range m.boards {
			b := &m.boards[i]
			var v uint64
			var err error
			if b.byPower {
				var mw uint32
				mw, err = m.lib.Power(b.index)
				v = uint64(mw)
			} else {
				v, err = m.lib.TotalEnergy(b.index)
			}
			if err != nil {
				continue // the board's own Errors will tell
			}
			c := seen[b.domain.Zone]
			if c == nil {
				c = &changes{}
				seen[b.domain.Zone] = c
			}
			c.see(v, m.now())
		}
	}
	periods := medians(seen)
	for i := range m.boards {
		b := &m.boards[i]
		p, ok := periods[b.domain.Zone]
		if !ok || b.model != nil {
			b.source.Note = joinNote(b.source.Note, "update period not seen, taken to be 100 ms")
			continue
		}
		b.source.Period, b.count.spec.period = p, p
		b.source.Note = joinNote(b.source.Note, fmt.Sprintf("update period inferred: %v", p.Round(time.Millisecond)))
	}
}

// changes are the moments at which a figure that is polled was seen to change.
type changes struct {
	have bool
	last uint64
	at   []time.Duration
}

func (c *changes) see(v uint64, at time.Duration) {
	if c.have && v != c.last {
		c.at = append(c.at, at)
	}
	c.have, c.last = true, v
}

// medians are the median times between changes; what did not change twice is absent.
func medians(seen map[string]*changes) map[string]time.Duration {
	out := map[string]time.Duration{}
	for zone, c := range seen {
		var gaps []time.Duration
		for i := 1; i < len(c.at); i++ {
			gaps = append(gaps, c.at[i]-c.at[i-1])
		}
		if len(gaps) > 0 {
			slices.Sort(gaps)
			out[zone] = gaps[len(gaps)/2]
		}
	}
	return out
}
