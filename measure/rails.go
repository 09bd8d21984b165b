package measure

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// rail is one power that is read and integrated.
type rail struct {
	domain Domain
	source Source
	watts  func() (float64, error)
	sensor powerSensor
}

// rails is the part that meters of several integrated powers share.
type rails struct {
	what string // names the meter in errors
	now  func() time.Duration
	list []rail
}

// Read reads every rail once and integrates it since the last Read.
func (m *rails) Read() (Reading, error) {
	r := Reading{At: m.now(), Domains: make([]DomainReading, len(m.list))}
	ok := 0
	var errs []error
	for i := range m.list {
		x := &m.list[i]
		w, err := x.watts()
		x.sensor.read(r.At, w, err)
		if err == nil {
			ok++
		} else {
			errs = append(errs, fmt.Errorf("%s: %s: %w", m.what, x.domain.Zone, err))
		}
		d := DomainReading{Domain: x.domain, Source: x.source, Energy: Microjoules(x.sensor.sum)}
		x.sensor.tell(&d)
		r.Domains[i] = d
	}
	if ok == 0 {
		return r, errors.Join(errs...)
	}
	return r, nil
}

// Period returns the longest update period of the rails.
func (m *rails) Period() time.Duration {
	var most time.Duration
	for _, x := range m.list {
		most = max(most, x.source.Period)
	}
	return most
}

// GuardPeriod is how often power is read to be integrated: at most 10 times in a second.
func (m *rails) GuardPeriod() time.Duration { return max(sensorGuard, m.Period()/2) }

// Describe names the rails.
func (m *rails) Describe() string {
	var s []string
	for _, x := range m.list {
		s = append(s, x.domain.Name)
	}
	slices.Sort(s)
	return m.what + ": " + strings.Join(s, ", ")
}
