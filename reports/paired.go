package reports

import (
	"math"

	"github.com/wattshed/wattshed/measure"
)

// perRun is the time of a run as the ratio of latencies sees it, in seconds: the geometric mean of the means of blocks, with its 95 %
// interval. Own is the variant's and Base the baseline's in the same pairs, so that Own/Base is the ratio; Base is 0 for the baseline
// itself, and where the result has no blocks that give its ratio.
type perRun struct {
	Own, Base float64
	CI        *Interval // of Own
	Mean      bool      // Own is the arithmetic mean of runs: there are no blocks for another
}

// timesOf gives the run time of a variant: that of its pairs, or the mean of its samples where the result has no blocks. ok is false
// where nothing was timed.
func timesOf(r *Result, v *Variant) (t perRun, ok bool) {
	if v.Latency == nil {
		return t, false
	}
	if v == &r.Variants[0] {
		if logs := baselineLogs(r.Blocks); len(logs) > 0 {
			return blockMean(logs), true
		}
	} else if q := v.Latency.Ratio; q != nil {
		if t, ok := paired(r, v.Name, q.Value, q.N, func(b Block) float64 { return b.Seconds }); ok {
			return t, true
		}
	}
	return perRun{Own: v.Latency.Mean, CI: v.Latency.MeanCI, Mean: true}, v.Latency.Mean > 0
}

// statistics reports of which kinds the times of the result are, see timesOf.
func statistics(r *Result) (geometric, arithmetic bool) {
	for i := range r.Variants {
		if t, ok := timesOf(r, &r.Variants[i]); ok {
			geometric, arithmetic = geometric || !t.Mean, arithmetic || t.Mean
		}
	}
	return geometric, arithmetic
}

// latencyTitle is that of a column of times: the statistic of all of them, of which perRun.words marks the exceptions.
func latencyTitle(r *Result, geometric string) string {
	if _, arithmetic := statistics(r); arithmetic {
		return "Latency"
	}
	return "Latency, " + geometric
}

// latencyWords says what the times of the result are; "" where it has none.
func latencyWords(r *Result) string {
	const paired = "geometric means over blocks, baseline → variant in the same pairs: their quotient is the ratio"
	switch geometric, arithmetic := statistics(r); {
	case geometric && arithmetic:
		return paired + "; those marked (mean) are arithmetic means of runs: the result lacks the blocks for others"
	case geometric:
		return paired
	case arithmetic:
		return "arithmetic means of runs, marked (mean): the result lacks the blocks for others"
	}
	return ""
}

// joulesOf is timesOf for energy per inference in joules. Base is there only where a counter was read in every pair: the ratio of modelled
// energies is one of CPU times.
func joulesOf(r *Result, v *Variant) (j perRun, ok bool) {
	if v.Energy == nil || v.Energy.PerInference == nil {
		return j, false
	}
	if q := v.Energy.Ratio; q != nil && q.Basis == BasisCounter {
		joules := func(b Block) float64 {
			if b.Joules == nil {
				return 0
			}
			return *b.Joules
		}
		if j, ok := paired(r, v.Name, q.Value, q.N, joules); ok {
			return j, true
		}
	}
	return perRun{Own: *v.Energy.PerInference, CI: v.Energy.CI95}, true
}

// paired gives the means of a variant and of the baseline over the n pairs that its ratio was made of; ok is false where the blocks of the
// result are not those pairs.
func paired(r *Result, name string, ratio float64, n int, figure func(Block) float64) (perRun, bool) {
	own, base := pairLogs(r.Blocks, name, figure)
	if len(own) != n || n == 0 {
		return perRun{}, false
	}
	p := blockMean(own)
	p.Base = blockMean(base).Own
	return p, math.Abs(p.Own/p.Base-ratio) <= 1e-9*ratio // the same but for rounding in the sums
}

// blockMean is exp of the mean of logs, with Student's t interval over the blocks.
func blockMean(logs []float64) perRun {
	e, err := measure.EstimateOf(logs)
	if err != nil { // a single block
		return perRun{Own: math.Exp(logs[0])}
	}
	half := measure.TQuantile(len(logs)) * math.Sqrt(e.Var)
	p := perRun{Own: math.Exp(e.Value)}
	if lo, hi := math.Exp(e.Value-half), math.Exp(e.Value+half); finite(lo) && finite(hi) {
		p.CI = &Interval{lo, hi}
	}
	return p
}

// pairLogs are the logarithms of a figure per inference in the blocks of a variant and of the baseline, by its complete pairs and the rule
// of measure.Compare: neighbours of one round, one block of each arm, none void. A pair that lacks the figure does not count.
func pairLogs(blocks []Block, name string, figure func(Block) float64) (own, base []float64) {
	type half struct{ round, half int }
	open := map[half]Block{}
	for _, x := range blocks {
		if x.Variant != name {
			continue
		}
		k := half{x.Round, x.Position / 2}
		first, ok := open[k]
		if !ok {
			open[k] = x
			continue
		}
		if first.Void != "" || x.Void != "" || first.Baseline == x.Baseline {
			continue
		}
		if !first.Baseline {
			first, x = x, first
		}
		p, q := math.Log(figure(first)/float64(first.Inferences)), math.Log(figure(x)/float64(x.Inferences))
		if finite(p) && finite(q) {
			own, base = append(own, q), append(base, p)
		}
	}
	return own, base
}

// baselineLogs are the logarithms of the seconds per inference in all blocks of the baseline.
func baselineLogs(blocks []Block) []float64 {
	var out []float64
	for _, b := range blocks {
		if x := math.Log(b.Seconds / float64(b.Inferences)); b.Baseline && b.Void == "" && finite(x) {
			out = append(out, x)
		}
	}
	return out
}

// words shows the time or energy: "341 → 357 µs" from the baseline to the variant where both are known, else "357 µs", and with
// "(mean)" what is an arithmetic mean.
func (p perRun) words(base string) string {
	if p.Mean {
		return show(p.Own, base) + " (mean)"
	}
	if p.Base == 0 {
		return show(p.Own, base)
	}
	u := siUnit(p.Base, base)
	if v := siUnit(p.Own, base); v != u {
		return u.in(p.Base) + " → " + v.in(p.Own)
	}
	return digits(p.Base*u.mul, 3) + " → " + u.in(p.Own)
}
