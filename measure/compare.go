package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// Compare measures the variants against the baseline in randomised interleaved blocks and returns every block
// with the paired ratios.
//
// Each round runs, for every variant that is not finished, four blocks ABBA or BAAB (by a coin) of the baseline
// and the variant: two pairs. The order is a pure function of Seed. Each arm is warmed up before its first block
// until the median of its last five calls is within 2 % of the five before, or Warmup is over; the time of its
// passes then sets how many of them make a block. A variant is finished when it has 30 pairs (MinPairs where that is more, or where the
// first 10 are unmistakable: see PairedRatio) and the half-width of the interval of ln(ratio) is at most Precision, or at
// MaxPairs, or after MinPairs once MaxTime is over. But for differences of more than 10 % that no plausible noise explains, the rule sees
// neither the size nor the sign of the difference.
//
// Blocks in Done are taken as they are and not run again. An error of a Trial, of the callbacks, or the
// context's ends the comparison and is returned with the Comparison so far. Without variants the baseline alone
// is measured for MinPairs blocks.
func Compare(ctx context.Context, baseline Trial, variants []Trial, p Protocol) (Comparison, error) {
	r, err := newRunner(baseline, variants, p)
	if err != nil {
		return Comparison{}, err
	}
	if r.meter != nil {
		defer r.meter.Close()
	}
	err = r.run(ctx)
	return r.finish(), err
}

// runner is the state of one Compare.
type runner struct {
	p        Protocol
	base     *arm
	vars     []*arm
	done     map[blockKey]Block
	blocks   []Block
	idle     Idle
	session  int
	measured time.Duration // wall time of all blocks
	warnings []string
	reads    []time.Duration // cost of meter reads
	meter    *Guard
}

type blockKey struct {
	round    int
	variant  string
	position int
}

// arm is a Trial with what is known of it.
type arm struct {
	Trial
	warm     bool
	unsteady time.Duration // of a warm-up that its cap ended
	perPass  time.Duration
	passes   int
	stopped  string
}

// newRunner checks the arguments and fills in the defaults.
func newRunner(baseline Trial, variants []Trial, p Protocol) (*runner, error) {
	r := &runner{p: p, base: &arm{Trial: baseline}, done: map[blockKey]Block{}, idle: Idle{}}
	names := map[string]bool{}
	for _, t := range append([]Trial{baseline}, variants...) {
		switch {
		case t.Run == nil:
			return nil, fmt.Errorf("measure: trial %q has nothing to run", t.Name)
		case t.Items < 0 || t.PerItem < 0:
			return nil, fmt.Errorf("measure: trial %q: %d items of %d inferences", t.Name, t.Items, t.PerItem)
		case names[t.Name]:
			return nil, fmt.Errorf("measure: two trials are called %q", t.Name)
		}
		names[t.Name] = true
	}
	for _, v := range variants {
		r.vars = append(r.vars, &arm{Trial: v})
	}
	r.defaults()
	for _, b := range p.Done {
		if !names[b.Variant] || b.Position < 0 || b.Position > 3 || b.Passes < 1 || b.Inferences < 1 || b.Wall <= 0 {
			return nil, fmt.Errorf("measure: finished block %d/%q/%d does not belong to this comparison", b.Round, b.Variant, b.Position)
		}
		r.done[blockKey{b.Round, b.Variant, b.Position}] = b
		r.session = max(r.session, b.Session+1)
		a := r.base
		if !b.Baseline {
			a = r.arm(b.Variant)
		}
		a.passes = b.Passes // the block length goes on as it was
	}
	if p.DoneIdle != nil {
		r.idle = *p.DoneIdle
	}
	if p.Meter != nil {
		r.meter = NewGuard(p.Meter)
	}
	return r, nil
}

func (r *runner) arm(name string) *arm {
	for _, v := range r.vars {
		if v.Name == name {
			return v
		}
	}
	return r.base
}

// defaults fills in the protocol.
func (r *runner) defaults() {
	p := &r.p
	or := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	or(&p.MinPairs, minPairsDefault)
	or(&p.MaxPairs, max(60, p.MinPairs))
	p.MaxPairs = max(p.MaxPairs, p.MinPairs)
	if p.Precision <= 0 {
		p.Precision = 0.02
	}
	if p.Margin <= 0 {
		p.Margin = 0.05
	}
	if p.Clock == nil {
		p.Clock = NewSystemClock()
	}
	if p.CPUTime == nil {
		p.CPUTime = ProcessCPU
	}
	if p.Block <= 0 {
		p.Block = DefaultBlock
		if n := 4 * len(r.vars) * ((p.MinPairs + 1) / 2); p.MaxTime > 0 && n > 0 {
			p.Block = min(p.Block, p.MaxTime/time.Duration(n))
		}
		p.Block = max(p.Block, blockPeriods*r.period(), 50*time.Millisecond)
	} else if r.period() > 0 && p.Block < blockPeriods*r.period() {
		r.warn("blocks of %v are shorter than %d periods (%v) of the counter: edges weigh", p.Block, blockPeriods, r.period())
	}
	if p.Warmup <= 0 {
		p.Warmup = 10 * p.Block
	}
}

func (r *runner) period() time.Duration {
	if s, ok := r.p.Meter.(Perioder); ok {
		return s.Period()
	}
	return 0
}

func (r *runner) warn(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !slices.Contains(r.warnings, s) {
		r.warnings = append(r.warnings, s)
	}
}

// run is the whole measurement.
func (r *runner) run(ctx context.Context) error {
	if err := r.runIdle(ctx, &r.idle.Before, "before"); err != nil {
		return err
	}
	rounds := r.rounds
	if len(r.vars) == 0 {
		rounds = r.alone
	}
	if err := rounds(ctx); err != nil {
		return err
	}
	return r.runIdle(ctx, &r.idle.After, "after")
}

// rounds runs quads until every variant is finished.
func (r *runner) rounds(ctx context.Context) error {
	for round := 0; ; round++ {
		active := false
		for _, q := range order(r.p.Seed, round, len(r.vars)) {
			v := r.vars[q.variant]
			if v.stopped != "" {
				continue
			}
			active = true
			for pos := range 4 {
				if err := r.block(ctx, round, v, pos, q.baselineAt(pos), q.pause[pos]); err != nil {
					return err
				}
			}
			r.judge(v, round)
		}
		if !active {
			return nil
		}
		r.reopen()
	}
}

// reopen goes on with variants that were finished by their run times alone, for want of a counter, when the others have joules by now: another
// process had counted the machine and ended.
func (r *runner) reopen() {
	of := meaningOf(r.blocks)
	if of.kind == Modelled || of.kind == "" {
		return
	}
	for _, v := range r.vars {
		if a, _, _ := energyPairs(r.pairs(v), of); v.stopped == "precision" && len(a) < 2 {
			v.stopped = ""
		}
	}
}

// alone measures the baseline without a partner.
func (r *runner) alone(ctx context.Context) error {
	for i := range r.p.MinPairs {
		if err := r.block(ctx, i, r.base, 0, true, 0); err != nil {
			return err
		}
	}
	r.base.stopped = "max_pairs"
	return nil
}

// judge applies the stopping rule to a variant after a round.
func (r *runner) judge(v *arm, round int) {
	ratio, err := r.stopRatio(v)
	switch {
	case err == nil && ratio.N >= max(r.p.MinPairs, ratio.Needed) && ratio.HalfWidth() <= r.p.Precision:
		v.stopped = "precision"
	case 2*(round+1) >= r.p.MaxPairs:
		v.stopped = "max_pairs"
	case r.p.MaxTime > 0 && r.measured >= r.p.MaxTime && err == nil && ratio.N >= r.p.MinPairs:
		v.stopped = "max_time"
	case r.p.MaxTime > 0 && r.measured >= r.p.MaxTime && 2*(round+1) >= 3*r.p.MinPairs:
		v.stopped = "max_time" // void blocks must not keep it going for ever
	}
}

// stopRatio is the ratio that the stopping rule looks at: energy from counters, CPU time where it is modelled,
// wall time without a meter.
func (r *runner) stopRatio(v *arm) (Ratio, error) {
	a, b, basis := energyPairs(r.pairs(v), meaningOf(r.blocks))
	if len(a) < 2 {
		a, b = wallPairs(r.pairs(v))
		basis = BasisWall
	}
	return PairedRatio(a, b, basis, r.p.Seed)
}

// runIdle measures idle power once, unless it was measured in an earlier session.
func (r *runner) runIdle(ctx context.Context, into **IdleWindow, phase string) error {
	if r.p.Idle <= 0 || *into != nil {
		return nil
	}
	r.progress("", "idle", 0)
	c0, cerr := r.p.CPUTime()
	a, err := r.read()
	start := r.p.Clock.Now()
	if serr := r.p.Clock.Sleep(ctx, r.p.Idle); serr != nil {
		return serr
	}
	w := IdleWindow{Duration: r.p.Clock.Now() - start}
	if c1, err := r.p.CPUTime(); err == nil && cerr == nil {
		w.CPU = c1 - c0
	}
	b, err2 := r.read()
	if r.meter != nil {
		if err = errors.Join(err, err2); err != nil {
			r.warn("idle %s: %v", phase, err)
		} else if win, err := Between(a, b); err == nil {
			w.Kind, w.CountedBy = win.Kind(), win.CountedBy()
			if uj, ok := win.Headline(w.Kind); ok {
				w.Watts = uj.Joules().Over(win.Duration)
			}
		}
	}
	*into = &w
	if r.p.OnIdle != nil {
		return r.p.OnIdle(r.idle)
	}
	return nil
}

// block runs one block, or takes it from the finished ones.
func (r *runner) block(ctx context.Context, round int, v *arm, pos int, isBase bool, pause float64) error {
	if b, ok := r.done[blockKey{round, v.Name, pos}]; ok {
		r.add(b)
		return nil
	}
	a := v
	if isBase {
		a = r.base
	}
	if err := r.warmup(ctx, a); err != nil {
		return err
	}
	r.progress(v.Name, "block", len(r.pairs(v)))
	if err := r.p.Clock.Sleep(ctx, time.Duration(pause*float64(r.period()))); err != nil {
		return err
	}
	if !r.p.NoGC {
		runtime.GC()
	}
	if err := a.call(ctx, 0); err != nil { // brings this arm's weights back into the caches
		return err
	}
	b := Block{Round: round, Variant: v.Name, Position: pos, Baseline: isBase, Passes: a.passes, Session: r.session, Unsteady: a.unsteady}
	var before Covariates
	if r.p.Covariates != nil {
		before = r.p.Covariates()
	}
	if err := r.measure(ctx, a, &b); err != nil {
		return err
	}
	if r.p.Covariates != nil {
		b.Covariates = r.p.Covariates().during(before)
	}
	r.add(b)
	if r.p.OnBlock != nil {
		return r.p.OnBlock(b)
	}
	return nil
}

func (r *runner) add(b Block) {
	r.blocks = append(r.blocks, b)
	r.measured += b.Wall
}

// measure fills in b: counters at the edges, every call timed.
func (r *runner) measure(ctx context.Context, a *arm, b *Block) error {
	items := max(1, a.Items)
	b.Inferences = items * max(1, a.PerItem) * b.Passes
	b.Samples = make([]time.Duration, 0, items*b.Passes)
	boot, suspends := r.p.Clock.(interface{ Boottime() time.Duration })
	var boot0 time.Duration
	if suspends {
		boot0 = boot.Boottime()
	}
	before, errBefore := r.read()
	busy0, busyErr := r.hostCPU()
	cpu0, cpuErr := r.p.CPUTime()
	start := r.p.Clock.Now()
	last := start
	for range b.Passes {
		for i := range items {
			if err := a.call(ctx, i); err != nil {
				return err
			}
			now := r.p.Clock.Now()
			b.Samples = append(b.Samples, now-last)
			last = now
		}
	}
	cpu1, err := r.p.CPUTime()
	busy1, busyErr1 := r.hostCPU()
	after, errAfter := r.read()
	b.Start, b.Wall = start, last-start
	if cpuErr = errors.Join(cpuErr, err); cpuErr == nil {
		b.CPU = cpu1 - cpu0
	}
	if busyErr == nil && busyErr1 == nil && b.Wall > 0 && busy1 >= busy0 {
		b.Foreign = max(0, float64(busy1-busy0-b.CPU)/float64(b.Wall))
	}
	if suspends {
		if slept := boot.Boottime() - boot0 - (r.p.Clock.Now() - start); slept > 500*time.Millisecond {
			b.Void = GapSuspend
		}
	}
	if b.Wall <= 0 {
		b.Void = "no time passed"
	}
	if r.meter == nil {
		return nil
	}
	if err := errors.Join(errBefore, errAfter); err != nil {
		r.warn("energy of a block was not read: %v", err)
		return nil
	}
	w, err := Between(before, after)
	if err != nil {
		r.warn("%v", err)
		return nil
	}
	b.Energy = w.Domains
	return nil
}

func (r *runner) hostCPU() (time.Duration, error) {
	if r.p.HostCPU == nil {
		return 0, errors.ErrUnsupported
	}
	return r.p.HostCPU()
}

// read reads the meter and notes what the read cost.
func (r *runner) read() (Reading, error) {
	if r.meter == nil {
		return Reading{}, nil
	}
	t := r.p.Clock.Now()
	reading, err := r.meter.Read()
	r.reads = append(r.reads, r.p.Clock.Now()-t)
	return reading, err
}

// progress tells the caller what comes next and about how long the rest takes.
func (r *runner) progress(variant, phase string, pairs int) {
	if r.p.OnProgress == nil {
		return
	}
	want := 4 * ((r.p.MinPairs + 1) / 2) * max(1, len(r.vars))
	left := time.Duration(max(0, want-len(r.blocks))) * r.p.Block
	r.p.OnProgress(Progress{Variant: variant, Phase: phase, Pairs: pairs, Blocks: len(r.blocks),
		Elapsed: r.p.Clock.Now(), Left: left})
}
