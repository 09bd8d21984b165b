package measure

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// Fetcher asks an external meter: it returns the body of its answer. Bodies beyond maxAnswer bytes are an error of the caller
// who makes them.
type Fetcher func(ctx context.Context) ([]byte, error)

// ExternalOptions are the injected parts of meters that are asked over a transport. The zero value is usable.
type ExternalOptions struct {
	Now   func() time.Duration // clock that counts suspend; default Boottime
	Every time.Duration        // time between two polls of Start; default the meter's own
}

// External is a meter outside of this process: a management controller, an exporter, a meter at the wall. It is polled in the
// background (Start) and read without waiting: a Reading holds what the last answer said, so the edges of a window are as
// coarse as the polls. Powers are integrated between answers; counters are added up. What the device leaves out of an
// answer is a gap.
type External struct {
	mu      sync.Mutex
	now     func() time.Duration
	every   time.Duration
	poll    func(ctx context.Context) ([]probe, error)
	spec    externalSpec
	rows    []*externalRow
	index   map[string]*externalRow
	lastOK  time.Duration
	polled  bool
	lastErr error
	n       int
	cost    time.Duration
	born    time.Time
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// externalSpec is what is known of a kind of external meter.
type externalSpec struct {
	name   string
	uAbs   float64
	uRatio float64
	most   Watts         // powers above it are garbage: usually a wrong unit
	every  time.Duration // default time between polls
	note   string
}

// probe is one figure of an answer.
type probe struct {
	zone    string
	name    string
	scope   Scope
	counter bool    // value is joules since some start, else watts
	value   float64 // NaN: the device said something that is no figure
	stamp   int64   // the device's own time in ms; 0 when it gives none
	note    string
}

type externalRow struct {
	domain  Domain
	source  Source
	counter bool
	count   counter
	sensor  powerSensor
	stamp   int64
	seen    bool // in the present answer
}

const (
	maxAnswer   = 16 << 20
	maxProbes   = 4096
	pollTimeout = 10 * time.Second
)

// errStale is a reading whose own time did not move on; errGone one that is missing from the answer.
const (
	errStale = sensorError("stale")
	errGone  = sensorError("gone")
)

func newExternal(spec externalSpec, o ExternalOptions, poll func(ctx context.Context) ([]probe, error)) *External {
	e := &External{born: time.Now(), now: o.Now, every: o.Every, poll: poll, spec: spec, index: map[string]*externalRow{}}
	if e.now == nil {
		e.now = Boottime
	}
	if e.every <= 0 {
		e.every = spec.every
	}
	return e
}

// Poll asks once and takes the answer in. An answer that cannot be had or read is the error, and counts as a failed read of
// every domain known so far.
func (e *External) Poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	asked := e.now()
	probes, err := e.poll(ctx)
	answered := e.now()
	if err == nil && len(probes) == 0 {
		err = fmt.Errorf("%w: the answer holds no energy and no power", ErrNoCounter)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	e.cost += answered - asked
	e.polled = true
	if e.lastErr = err; err != nil {
		for _, r := range e.rows {
			r.take(answered, probe{value: math.NaN()}, err)
		}
		return fmt.Errorf("%s: %w", e.spec.name, err)
	}
	at := asked + (answered-asked)/2
	e.lastOK = at
	for _, r := range e.rows {
		r.seen = false
	}
	fresh := false
	for _, p := range probes[:min(len(probes), maxProbes)] {
		r := e.index[p.zone]
		if r == nil {
			r, fresh = e.row(p), true
		}
		if r.seen {
			continue // the same zone twice in one answer
		}
		r.seen = true
		err := error(nil)
		switch {
		case math.IsNaN(p.value) || math.IsInf(p.value, 0) || p.value < 0:
			err = errGarbage
		case p.stamp != 0 && p.stamp == r.stamp:
			err = errStale
		case p.counter != r.counter: // the counter is gone, its power is still there
			err = errGone
		}
		if err == nil {
			r.stamp = p.stamp
		}
		r.take(at, p, err)
	}
	for _, r := range e.rows {
		if !r.seen {
			r.take(at, probe{}, errGone)
		}
	}
	if fresh {
		settleHeadline(e.rows)
	}
	return nil
}

// row adds a domain.
func (e *External) row(p probe) *externalRow {
	r := &externalRow{counter: p.counter, domain: Domain{Scope: p.scope, Name: p.name, Zone: e.spec.name + "/" + p.zone},
		source: Source{Name: e.spec.name, Kind: Measured, UAbs: e.spec.uAbs, URatio: e.spec.uRatio, Period: e.every, Note: joinNote(e.spec.note, p.note)}}
	moves := p.scope == ScopePackage || p.scope == ScopeDRAM || p.scope == ScopePlatform || p.scope == ScopeGPU
	most := e.spec.most
	switch p.scope { // exporters may add up sockets, never boards
	case ScopeGPU:
		most = min(most, 3000)
	case ScopePackage, ScopeDRAM, ScopeCore, ScopeUncore:
		most = min(most, 5600)
	}
	r.count.spec = counterSpec{perJoule: MicroPerUnit, pmax: most, period: e.every, moves: moves, wide: true}
	r.sensor = powerSensor{hold: max(sensorHold, 3*e.every), limit: most}
	e.rows = append(e.rows, r)
	e.index[p.zone] = r
	return r
}

// take adds one figure, or the error instead of one.
func (r *externalRow) take(t time.Duration, p probe, err error) {
	if !r.counter {
		r.sensor.read(t, p.value, err)
		return
	}
	uj := p.value * MicroPerUnit
	if err == nil && !(uj < maxMicro) {
		err = errGarbage
	}
	if err != nil {
		uj = 0
	}
	r.count.read(t, uint64(uj), err)
}

// settleHeadline decides what counts: CPU packages with their memory and boards; a platform, which contains them, only where
// there is neither.
func settleHeadline(rows []*externalRow) {
	parts := false
	for _, r := range rows {
		switch r.domain.Scope {
		case ScopePackage, ScopeDRAM, ScopeGPU:
			r.domain.Headline, parts = true, true
		}
	}
	first := true
	for _, r := range rows {
		if r.domain.Scope == ScopePlatform {
			r.domain.Headline = !parts && first
			first = false
		}
	}
}

// Read returns what is known. It fails until a first answer came, and when the last one failed and nothing is known.
func (e *External) Read() (Reading, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := Reading{At: e.now(), Domains: make([]DomainReading, len(e.rows))}
	for i, x := range e.rows {
		c := &x.count
		if !x.counter {
			c = &x.sensor.counter
		}
		d := DomainReading{Domain: x.domain, Source: x.source, Energy: Microjoules(c.sum)}
		c.tell(&d)
		if r.At-e.lastOK > x.sensor.hold && c.last <= e.lastOK { // nobody answers any more
			d.Gaps, d.Status, d.Stale = append(d.Gaps, Gap{e.lastOK, r.At, GapUnreadable}), StatusPartial, true
		}
		r.Domains[i] = d
	}
	switch {
	case len(e.rows) > 0:
		return r, nil
	case e.lastErr != nil:
		return r, fmt.Errorf("%s: %w", e.spec.name, e.lastErr)
	}
	return r, fmt.Errorf("%w: %s was not asked yet", ErrNoCounter, e.spec.name)
}

// Start polls until Close, or until ctx ends.
func (e *External) Start(ctx context.Context) {
	ctx, e.stop = context.WithCancel(ctx)
	e.wg.Go(func() {
		tick := time.NewTicker(e.every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = e.Poll(ctx) // it is in the next Reading's Errors
			}
		}
	})
}

// Close stops the polls.
func (e *External) Close() error {
	if e.stop != nil {
		e.stop()
	}
	e.wg.Wait()
	return nil
}

// Period returns the time between two polls.
func (e *External) Period() time.Duration { return e.every }

// Cost returns how often the meter was asked and how long that took in all.
func (e *External) Cost() (polls int, total time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n, e.cost
}

// ownShare is the part of the time since the meter was made that its polls took, waiting for the answer included.
func (e *External) ownShare() float64 {
	_, cost := e.Cost()
	return cost.Seconds() / max(time.Since(e.born), 1).Seconds()
}

// Describe names the meter and its domains.
func (e *External) Describe() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var s []string
	for _, r := range e.rows {
		s = append(s, r.domain.Name)
	}
	return e.spec.name + ": " + strings.Join(s, ", ")
}

// begin asks once, so that a meter that cannot be had is an error now, and starts the polls.
func (e *External) begin(ctx context.Context) (Meter, error) {
	if err := e.Poll(ctx); err != nil {
		return nil, err
	}
	e.Start(ctx)
	return headlineReads(e)
}
