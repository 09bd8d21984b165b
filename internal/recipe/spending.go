package recipe

import (
	"time"

	"github.com/wattshed/wattshed/measure"
)

// spending is what some work took. Joules are absent where no complete figure of one kind exists. CountedBy is the process that counted the
// machine meanwhile, so that modelled joules are without its idle power.
type spending struct {
	Wall   time.Duration   `json:"wall_ns"`
	CPU    time.Duration   `json:"cpu_ns"`
	Joules *measure.Joules `json:"joules,omitempty"`
	Kind   measure.Kind    `json:"kind,omitempty"`

	CountedBy string `json:"counted_by,omitempty"`
}

func (a spending) plus(b spending) spending {
	out := spending{Wall: a.Wall + b.Wall, CPU: a.CPU + b.CPU}
	switch {
	case a == (spending{}):
		return b
	case a.Joules != nil && b.Joules != nil && a.Kind == b.Kind && (a.CountedBy == "") == (b.CountedBy == ""):
		j := *a.Joules + *b.Joules
		out.Joules, out.Kind, out.CountedBy = &j, a.Kind, b.CountedBy
	}
	return out
}

// spender measures what a piece of work takes.
type spender struct {
	meter *measure.Guard // nil: no energy
	start time.Time
	cpu   time.Duration
	read  *measure.Reading
}

// startSpending begins to count. The meter, which may be nil, must not be read by others until stop.
func startSpending(m measure.Meter) *spender {
	s := &spender{}
	if m != nil {
		s.meter = measure.NewGuard(m)
	}
	s.lap()
	return s
}

func (s *spender) stop() {
	if s.meter != nil {
		s.meter.Close()
	}
}

// lap returns what was spent since the last lap.
func (s *spender) lap() spending {
	var out spending
	now := time.Now()
	out.Wall = now.Sub(s.start)
	s.start = now
	if cpu, err := measure.ProcessCPU(); err == nil {
		out.CPU = cpu - s.cpu
		s.cpu = cpu
	}
	var read *measure.Reading
	if s.meter != nil {
		if got, err := s.meter.Read(); err == nil {
			read = &got
		}
	}
	if read != nil && s.read != nil {
		if w, err := measure.Between(*s.read, *read); err == nil && w.Kind() != measure.Mixed {
			if sum, ok := w.Headline(w.Kind()); ok {
				j := sum.Joules()
				out.Joules, out.Kind, out.CountedBy = &j, w.Kind(), w.CountedBy()
			}
		}
	}
	s.read = read
	return out
}
