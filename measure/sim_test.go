package measure

import (
	"context"
	"math/rand/v2"
	"time"
)

// bench is a simulated machine: work advances its clock, its CPU time and its energy counter.
type bench struct {
	now, cpu time.Duration
	uj       float64
	watts    float64 // while working
	idle     float64
	kind     Kind
	reads    int
	fail     error // of the next reads
}

func (b *bench) Now() time.Duration { return b.now }

func (b *bench) Sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		b.now += d
		b.uj += b.idle * d.Seconds() * 1e6
	}
	return ctx.Err()
}

func (b *bench) CPUTime() (time.Duration, error) { return b.cpu, nil }

func (b *bench) work(d time.Duration) {
	b.now += d
	b.cpu += d
	b.uj += b.watts * d.Seconds() * 1e6
}

func (b *bench) Read() (Reading, error) {
	b.reads++
	if b.fail != nil {
		return Reading{At: b.now}, b.fail
	}
	kind := b.kind
	if kind == "" {
		kind = Measured
	}
	return Reading{At: b.now, Domains: []DomainReading{{
		Domain: Domain{Scope: ScopePackage, Name: "package-0", Zone: "sim/0", Headline: true},
		Source: Source{Name: "sim", Kind: kind, UAbs: 0.05, URatio: 0.002},
		Energy: Microjoules(b.uj), Status: StatusOK}}}, nil
}

// trial works for d per item, with relative noise.
func (b *bench) trial(name string, d time.Duration, items int, noise float64, rng *rand.Rand) Trial {
	return Trial{Name: name, Items: items, Run: func(context.Context, int) error {
		b.work(time.Duration(float64(d) * (1 + noise*rng.NormFloat64())))
		return nil
	}}
}

func (b *bench) protocol() Protocol {
	return Protocol{Meter: b, Clock: b, CPUTime: b.CPUTime, Seed: 7, Block: 100 * time.Millisecond, NoGC: true}
}
