package measure

import (
	"math"
	"slices"
	"time"
)

// pair is two neighbouring blocks of one round, one of each arm.
type pair struct{ a, b Block }

// pairs returns the complete pairs of a variant in order; a pair with a void block does not count.
func (r *runner) pairs(v *arm) []pair {
	open := map[[2]int]Block{} // (round, half) -> first block
	var out []pair
	for _, b := range r.blocks {
		if b.Variant != v.Name {
			continue
		}
		k := [2]int{b.Round, b.Position / 2}
		first, ok := open[k]
		if !ok {
			open[k] = b
			continue
		}
		if first.Void != "" || b.Void != "" || first.Baseline == b.Baseline {
			continue
		}
		if first.Baseline {
			out = append(out, pair{first, b})
		} else {
			out = append(out, pair{b, first})
		}
	}
	return out
}

// wallPairs returns seconds per inference of both arms.
func wallPairs(ps []pair) (a, b []float64) {
	for _, p := range ps {
		a = append(a, p.a.Wall.Seconds()/float64(p.a.Inferences))
		b = append(b, p.b.Wall.Seconds()/float64(p.b.Inferences))
	}
	return a, b
}

// cpuPairs returns CPU seconds per inference of both arms, for pairs that have them.
func cpuPairs(ps []pair) (a, b []float64) {
	for _, p := range ps {
		if p.a.CPU > 0 && p.b.CPU > 0 {
			a = append(a, p.a.CPU.Seconds()/float64(p.a.Inferences))
			b = append(b, p.b.CPU.Seconds()/float64(p.b.Inferences))
		}
	}
	return a, b
}

// energyPairs returns headline joules per inference of both arms from counters, of the pairs whose joules mean what those of the run do. Where that is
// modelled energy it returns the CPU times of all pairs instead, and says so: a modelled ratio is a CPU-time ratio and nothing more. So
// the ratios of a run have one basis.
func energyPairs(ps []pair, of meaning) (a, b []float64, basis Basis) {
	if of.kind == Modelled {
		a, b = cpuPairs(ps)
		return a, b, BasisCPUTime
	}
	for _, p := range ps {
		ja, oka := p.a.headline(Measured)
		jb, okb := p.b.headline(Measured)
		if oka && okb && ja > 0 && jb > 0 && p.a.is(of) && p.b.is(of) {
			a = append(a, float64(ja.Joules())/float64(p.a.Inferences))
			b = append(b, float64(jb.Joules())/float64(p.b.Inferences))
		}
	}
	return a, b, BasisCounter
}

func (b Block) is(of meaning) bool {
	a, ok := b.meaning()
	return ok && a == of
}

func (b Block) headline(k Kind) (Microjoules, bool) {
	return Window{Duration: b.Wall, Domains: b.Energy}.Headline(k)
}

// EnergyPerInference returns the headline joules of the block over its inferences; ok is false where there are none or they
// have a gap, and why says which.
func (b Block) EnergyPerInference() (j Joules, k Kind, why string, ok bool) {
	k = b.kind()
	if uj, ok := b.headline(k); ok && k != Mixed && b.Inferences > 0 {
		return uj.Joules() / Joules(b.Inferences), k, "", true
	}
	for _, d := range b.Energy {
		for _, g := range d.Gaps {
			if d.Domain.Headline {
				return 0, k, g.Reason, false
			}
		}
	}
	return 0, k, "", false
}

func (b Block) kind() Kind { return Window{Domains: b.Energy}.Kind() }

// finish computes the summaries of all arms and the warnings.
func (r *runner) finish() Comparison {
	c := Comparison{Blocks: r.blocks, Idle: r.idle, meaning: meaningOf(r.blocks)}
	var base []Block
	for _, b := range r.blocks {
		if b.Baseline && b.Void == "" {
			base = append(base, b)
		}
	}
	c.Baseline = r.summarise(r.base, base, c.meaning)
	for _, v := range r.vars {
		var own []Block
		for _, b := range r.blocks {
			if b.Variant == v.Name && !b.Baseline && b.Void == "" {
				own = append(own, b)
			}
		}
		s := r.summarise(v, own, c.meaning)
		r.ratios(v, &s, c.meaning)
		c.Variants = append(c.Variants, s)
	}
	adjust(c.Variants, func(s *Summary) *Ratio { return s.EnergyRatio })
	adjust(c.Variants, func(s *Summary) *Ratio { return s.LatencyRatio })
	adjust(c.Variants, func(s *Summary) *Ratio { return s.CPURatio })
	c.Overhead = r.overhead()
	r.check(&c)
	c.Warnings = r.warnings
	return c
}

// adjust sets PHolm of one figure over all variants.
func adjust(all []Summary, of func(*Summary) *Ratio) {
	ps := make([]float64, len(all))
	for i := range all {
		ps[i] = math.NaN()
		if r := of(&all[i]); r != nil {
			ps[i] = r.P
		}
	}
	for i, p := range Holm(ps) {
		if r := of(&all[i]); r != nil {
			r.PHolm = p
		}
	}
}

// ratios fills in the paired ratios of a variant and what follows from them.
func (r *runner) ratios(v *arm, s *Summary, of meaning) {
	ps := r.pairs(v)
	set := func(into **Ratio, a, b []float64, basis Basis) {
		if ratio, err := PairedRatio(a, b, basis, r.p.Seed); err == nil {
			*into = &ratio
		}
	}
	a, b := wallPairs(ps)
	set(&s.LatencyRatio, a, b, BasisWall)
	a, b = cpuPairs(ps)
	set(&s.CPURatio, a, b, BasisCPUTime)
	ea, eb, basis := energyPairs(ps, of)
	set(&s.EnergyRatio, ea, eb, basis)
	look := s.EnergyRatio
	if look == nil {
		look = s.LatencyRatio
	}
	if look != nil {
		s.NoRegression, s.Equivalent, s.Margin = look.NoRegression(r.p.Margin), look.Equivalent(r.p.Margin), r.p.Margin
		s.MorePairs = look.MorePairs(r.p.Precision)
	}
}

// summarise is what one arm says without its partner.
func (r *runner) summarise(a *arm, blocks []Block, of meaning) Summary {
	s := Summary{Name: a.Name, Stopped: a.stopped}
	var wall, cpu time.Duration
	var samples []float64
	for _, b := range blocks {
		s.Inferences += b.Inferences
		wall += b.Wall
		cpu += b.CPU
		for _, d := range b.Samples {
			samples = append(samples, d.Seconds())
		}
	}
	s.Latency = Summarise(samples)
	if s.Inferences == 0 || wall <= 0 {
		return s
	}
	s.ThroughputPerS = float64(s.Inferences) / wall.Seconds()
	s.CPUPerInference = cpu / time.Duration(s.Inferences)
	s.Energy = r.energy(blocks, of)
	s.Intervals = blockIntervals(blocks, r.p.Seed)
	return s
}

// energy sums the domains of blocks without gaps whose joules mean what those of the run do. It is nil when there is no headline figure.
func (r *runner) energy(blocks []Block, of meaning) *Energy {
	var e Energy
	var sum Microjoules
	var inferences int
	done := 0 // inferences in that time
	var time, covered, uAbs, uRatio float64
	index := map[string]int{}
	micro := []Microjoules{}
	for _, b := range blocks {
		a, figure := b.meaning()
		if a.attached != of.attached || a.kind != "" && a.kind != of.kind {
			continue // another meaning of the same figure: see checkAttached
		}
		w := Window{Duration: b.Wall, Domains: b.Energy}
		time += b.Wall.Seconds()
		done += b.Inferences
		if a.zones != of.zones && figure {
			continue // a part of the zones: time that the figure does not cover
		}
		covered += w.Coverage() * b.Wall.Seconds()
		k := w.Kind()
		uj, ok := w.Headline(Measured)
		if k == Modelled {
			uj, ok = w.Headline(Modelled)
		}
		if !ok {
			continue
		}
		e.Kind, e.CountedBy = k, b.CountedBy()
		sum += uj
		inferences += b.Inferences
		for _, d := range b.Energy {
			i, had := index[d.Domain.Zone]
			if !had {
				i = len(e.Domains)
				index[d.Domain.Zone] = i
				e.Domains = append(e.Domains, DomainJoules{Domain: d.Domain, Source: d.Source, Status: d.Status})
				micro = append(micro, 0)
			}
			micro[i] += d.Energy
			if d.Status != StatusOK {
				e.Domains[i].Status = d.Status
			}
		}
	}
	if inferences == 0 {
		return nil
	}
	n := Joules(inferences)
	e.PerInference = sum.Joules() / n
	for i := range e.Domains {
		e.Domains[i].Joules = micro[i].Joules() / n
		if d := e.Domains[i]; d.Domain.Headline && (d.Source.Kind == Modelled) == (e.Kind == Modelled) {
			uAbs += d.Source.UAbs * float64(d.Joules) // same kind of sensor: linear
			uRatio += d.Source.URatio * float64(d.Joules)
		}
	}
	if e.PerInference > 0 {
		e.UAbs, e.URatio = uAbs/float64(e.PerInference), uRatio/float64(e.PerInference)
	}
	if time > 0 {
		e.Coverage = covered / time
	}
	r.net(&e, time/float64(max(1, done)))
	return &e
}

// net subtracts idle power × time per inference: E_net = E − P_idle·T. Its uncertainty is the gain of the sensor on what is left, and
// what of both energies does not cancel; where it is not below a third of the difference there is nothing to show.
func (r *runner) net(e *Energy, seconds float64) {
	var watts []float64
	measured := 0
	for _, w := range []*IdleWindow{r.idle.Before, r.idle.After} {
		if w != nil && w.Watts > 0 {
			measured++
		}
		if w != nil && w.Kind == e.Kind && (w.CountedBy == "") == (e.CountedBy == "") && w.Watts > 0 {
			watts = append(watts, float64(w.Watts))
		}
	}
	switch {
	case measured == 0:
		e.NetAbsent = "idle power was not measured"
	case len(watts) == 0:
		e.NetAbsent = "idle power is of another kind of source, or another process counted it"
	}
	if len(watts) == 0 {
		return
	}
	mean, _ := meanSD(watts)
	idle := Watts(mean)
	net := e.PerInference - Joules(mean*seconds)
	u, spread := e.URatio*float64(e.PerInference), 0.0
	if e.Kind == Modelled {
		u = 0 // a model has no noise: its assumptions, which are in UAbs, are the same on both sides
	}
	if len(watts) == 2 {
		spread = (slices.Max(watts) - slices.Min(watts)) / 2
		u = math.Hypot(u, spread*seconds)
	}
	e.IdleWatts, e.IdleU, e.IdleN = &idle, Watts(math.Hypot(e.UAbs*mean, spread)), len(watts)
	e.Net, e.NetU, e.NetBelow = &net, Joules(math.Hypot(u, e.UAbs*math.Abs(float64(net)))), float64(net) < 3*u || net <= 0
	if e.NetBelow {
		e.NetAbsent = "below resolution: less than three times its uncertainty"
	}
}

// overhead is what the reads cost inside the windows: two per block, and those that a Guard makes in the background.
func (r *runner) overhead() Overhead {
	o := Overhead{Reads: len(r.reads)}
	if o.Reads == 0 {
		return o
	}
	s := slices.Sorted(slices.Values(r.reads))
	o.PerRead = s[len(s)/2]
	if r.measured > 0 {
		o.Fraction = float64(2*len(r.blocks)) * o.PerRead.Seconds() / r.measured.Seconds()
	}
	if r.meter != nil {
		o.Fraction += backgroundShare(r.meter)
	}
	return o
}
