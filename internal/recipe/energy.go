package recipe

import (
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// energy restates the energy of an arm with all that its sources say of themselves; nil where there is none.
func (r *run) energy(s measure.Summary) *reports.Energy {
	e := s.Energy
	if e == nil {
		return nil
	}
	per := float64(e.PerInference)
	out := &reports.Energy{PerInference: &per, Source: string(e.Kind), N: s.Inferences, Coverage: &e.Coverage, CountedBy: e.CountedBy, NetAbsent: e.NetAbsent}
	if finite(e.UAbs) && e.UAbs > 0 {
		out.CI95 = &reports.Interval{per / (1 + e.UAbs), per * (1 + e.UAbs)}
	}
	for _, d := range e.Domains {
		u, q := d.Joules*measure.Joules(d.Source.UAbs), d.Joules*measure.Joules(d.Source.URatio)
		uAbs, uRatio := float64(u), float64(q)
		out.Domains = append(out.Domains, reports.Domain{Domain: d.Domain.Name, Source: d.Source.Name, Joules: float64(d.Joules), UAbs: &uAbs,
			Zone: d.Domain.Zone, Scope: string(d.Domain.Scope), Headline: d.Domain.Headline, Kind: string(d.Source.Kind), Status: d.Status, N: s.Inferences,
			URatio: &uRatio, PeriodS: d.Source.Period.Seconds(), Note: d.Source.Note, CountedBy: d.Source.CountedBy})
	}
	if e.IdleWatts != nil {
		w, u := float64(*e.IdleWatts), float64(e.IdleU)
		out.IdleW, out.IdleN = &w, e.IdleN
		out.IdleCI95 = intervalOf(measure.Interval{Lo: max(0, w-u), Hi: w + u})
	}
	if e.Net != nil && !e.NetBelow {
		n, u := float64(*e.Net), float64(e.NetU)
		out.NetPerInference, out.NetCI95 = &n, intervalOf(measure.Interval{Lo: n - u, Hi: n + u})
	}
	out.Ratio = energyRatioOf(s.EnergyRatio, s)
	return out
}

func energyRatioOf(x *measure.Ratio, s measure.Summary) *reports.EnergyRatio {
	if x == nil {
		return nil
	}
	return &reports.EnergyRatio{Value: x.Value, CI95: intervalOf(x.CI95), N: x.N, Basis: string(x.Basis), Pairing: pairing(x, s)}
}

// meter says what the energy was read with; nil without a meter.
func (r *run) meter(cmp measure.Comparison) *reports.Meter {
	if r.opt.Meter == nil {
		return nil
	}
	out := &reports.Meter{Reads: cmp.Overhead.Reads, PerRead: cmp.Overhead.PerRead.Seconds(), Overhead: cmp.Overhead.Fraction}
	if d, ok := r.opt.Meter.(measure.Describer); ok {
		out.Describe = d.Describe()
	}
	for _, b := range cmp.Blocks {
		if by := b.CountedBy(); by != "" {
			out.CountedBy = by
		}
	}
	return out
}

// timed restates latency and throughput of an arm with the intervals over its blocks.
func timed(v *reports.Variant, s measure.Summary) {
	l := s.Latency
	v.Latency = &reports.Latency{P50: l.P50, P95: l.P95, P99: l.P99, Mean: l.Mean, N: l.N, Samples: l.Samples, Ratio: ratioOf(s.LatencyRatio, s),
		Source: "monotonic clock around each run"}
	if s.ThroughputPerS > 0 {
		v.Throughput = &s.ThroughputPerS
		v.Rate = &reports.Rate{Source: "inferences over the time of all blocks"}
	}
	if x := s.Intervals; x != nil {
		v.Latency.P95CI, v.Latency.P99CI, v.Latency.MeanCI, v.Latency.Blocks = hold(x.P95, l.P95), hold(x.P99, l.P99), hold(x.Mean, l.Mean), x.Blocks
		if v.Rate != nil {
			v.Rate.CI95, v.Rate.N = hold(x.Throughput, s.ThroughputPerS), x.Blocks
		}
	}
}

// hold widens an interval of resampled figures until it holds the figure itself.
func hold(i measure.Interval, x float64) *reports.Interval {
	return intervalOf(measure.Interval{Lo: min(i.Lo, x), Hi: max(i.Hi, x)})
}
