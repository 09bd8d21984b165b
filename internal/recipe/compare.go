package recipe

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// Difference is what changed in a variant from result A to result B, in words and as figures.
type Difference struct {
	Variant       string               `json:"variant"`
	Size          string               `json:"size"`
	Accuracy      string               `json:"accuracy"`
	Latency       string               `json:"latency"`
	Energy        string               `json:"energy"`
	SizeRatio     *float64             `json:"size_ratio,omitempty"`
	AccuracyDelta *reports.Delta       `json:"accuracy_delta,omitempty"` // B minus A, taken as independent
	Ratio         *reports.Ratio       `json:"latency_ratio,omitempty"`  // of the medians, B over A
	EnergyRatio   *reports.EnergyRatio `json:"energy_ratio,omitempty"`   // of joules per inference, B over A
	OnlyIn        string               `json:"only_in,omitempty"`        // A or B, where the other has no such variant
	AccountA      string               `json:"account_a,omitempty"`      // whose account of the machine the joules are from
	AccountB      string               `json:"account_b,omitempty"`
	Notes         []string             `json:"notes,omitempty"`
}

// accountOwn is the account of a process that counted the machine itself.
const accountOwn = "own"

// accountOf tells whose account of the machine a variant's joules are from: "own", or the process to which the measuring one was attached.
// A modelled energy is then without the machine's idle power.
func accountOf(e *reports.Energy) string {
	if e.CountedBy == "" {
		return accountOwn
	}
	return "attached to " + e.CountedBy
}

// CompareResults compares the variants that both results have, in the order of a, and names those that only one of them has after
// them. The latency ratio is one of medians with an interval over the samples of both, or over their blocks where that is wider; it fails when no variant is in both.
func CompareResults(a, b *reports.Result) ([]Difference, error) {
	var out, alone []Difference
	inB := map[string]*reports.Variant{}
	for j := range b.Variants {
		inB[b.Variants[j].Name] = &b.Variants[j]
	}
	for i := range a.Variants {
		va := &a.Variants[i]
		vb := inB[va.Name]
		if vb == nil {
			alone = append(alone, missing(va.Name, "A"))
			continue
		}
		delete(inB, va.Name)
		d := differ(va, vb)
		d.energy(a, b, va, vb)
		out = append(out, d)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("recipe: the results have no variant in common")
	}
	if a.Model != nil && b.Model != nil && a.Model.SHA256 != "" && b.Model.SHA256 != "" && a.Model.SHA256 != b.Model.SHA256 {
		out[0].Notes = append(out[0].Notes, fmt.Sprintf("the results start from different models: A from %s, B from %s", a.Model.Name, b.Model.Name))
	}
	if n := targetsApart(a.Target, b.Target); n != "" {
		out[0].Notes = append(out[0].Notes, n)
	}
	for j := range b.Variants {
		if name := b.Variants[j].Name; inB[name] != nil {
			alone = append(alone, missing(name, "B"))
		}
	}
	return append(out, alone...), nil
}

// targetsApart names in what the targets of two results differ; "" where they do not, or one is not known.
func targetsApart(a, b *reports.Target) string {
	if a == nil || b == nil {
		return ""
	}
	var apart []string
	for _, t := range []struct {
		what string
		a, b any
	}{{"runtime", a.Runtime, b.Runtime}, {"provider", a.Provider, b.Provider}, {"threads", a.Threads, b.Threads}, {"batch", a.Batch, b.Batch}, {"sequence", a.Sequence, b.Sequence}} {
		if t.a != t.b {
			apart = append(apart, fmt.Sprintf("%s: A %s, B %s", t.what, orNone(t.a), orNone(t.b)))
		}
	}
	if apart == nil {
		return ""
	}
	return "the results were measured on different targets, which the ratios hold too: " + strings.Join(apart, "; ")
}

// orNone is a setting in words, "none" where it is the zero value.
func orNone(v any) string {
	if v == "" || v == 0 {
		return "none"
	}
	return fmt.Sprint(v)
}

// missing is the row of a variant that one result has.
func missing(name, in string) Difference {
	return Difference{Variant: name, Size: "-", Accuracy: "-", Latency: "-", Energy: "-", OnlyIn: in,
		Notes: []string{fmt.Sprintf("variant %q is in %s only: nothing is compared", name, in)}}
}

func differ(a, b *reports.Variant) Difference {
	d := Difference{Variant: a.Name, Size: "-", Accuracy: "-", Latency: "-", Energy: "-"}
	if a.File != nil && b.File != nil && a.File.Bytes > 0 {
		q := float64(b.File.Bytes) / float64(a.File.Bytes)
		d.SizeRatio, d.Size = &q, fmt.Sprintf("%.4f", q)
	}
	if a.Accuracy != nil && b.Accuracy != nil {
		d.Accuracy = fmt.Sprintf("%.4f -> %.4f", a.Accuracy.Value, b.Accuracy.Value)
		if a.Accuracy.Metric != b.Accuracy.Metric {
			d.Accuracy = fmt.Sprintf("%s %.4f, %s %.4f", a.Accuracy.Metric, a.Accuracy.Value, b.Accuracy.Metric, b.Accuracy.Value)
			d.Notes = append(d.Notes, "accuracy: the two results have different metrics")
		}
		if d.AccuracyDelta = accuracyBetween(a.Accuracy, b.Accuracy); d.AccuracyDelta != nil {
			d.Accuracy += ", " + signed(d.AccuracyDelta.Value)
			if ci := d.AccuracyDelta.CI95; ci != nil {
				d.Accuracy += " [" + signed(ci[0]) + ", " + signed(ci[1]) + "]"
			}
		}
	}
	if a.Latency != nil && b.Latency != nil && len(a.Latency.Samples) > 1 && len(b.Latency.Samples) > 1 {
		if d.Ratio = medianRatio(a.Latency.Samples, b.Latency.Samples); d.Ratio != nil {
			d.Latency = fmt.Sprintf("%.3f", d.Ratio.Value)
		}
		if d.Ratio != nil && d.Ratio.CI95 != nil && a.Latency.CI95 != nil && b.Latency.CI95 != nil {
			// Single runs of a block are alike, so an interval over them is too narrow; those of the medians are over blocks.
			if w := math.Hypot(logHalf(*a.Latency.CI95), logHalf(*b.Latency.CI95)); finite(w) {
				*d.Ratio.CI95 = reports.Interval{min(d.Ratio.CI95[0], d.Ratio.Value*math.Exp(-w)), max(d.Ratio.CI95[1], d.Ratio.Value*math.Exp(w))}
			}
		}
		if d.Ratio != nil && d.Ratio.CI95 != nil {
			d.Latency += fmt.Sprintf(" [%.3f, %.3f]", d.Ratio.CI95[0], d.Ratio.CI95[1])
		}
	}
	return d
}

// signed writes a difference with its sign; what rounds to nothing has none to speak of.
func signed(x float64) string {
	if s := fmt.Sprintf("%+.4f", x); s != "-0.0000" {
		return s
	}
	return "+0.0000"
}

// accuracyBetween is the difference of two scores of one metric. The examples' outcomes are not in a result, so the scores are
// taken as independent: the interval adds the distances of both to the ends of their own intervals as squares (Newcombe 1998,
// method 10 for independent proportions). Where both scored the same examples it is too wide.
func accuracyBetween(a, b *reports.Accuracy) *reports.Delta {
	if a.Metric != b.Metric {
		return nil
	}
	d := &reports.Delta{Value: b.Value - a.Value, Test: "newcombe_independent"}
	if a.CI95 != nil && b.CI95 != nil {
		d.CI95 = &reports.Interval{d.Value - math.Hypot(b.Value-b.CI95[0], a.CI95[1]-a.Value), d.Value + math.Hypot(b.CI95[1]-b.Value, a.Value-a.CI95[0])}
	}
	return d
}

// energy compares joules per inference: measured with measured, modelled with modelled, and only where both results counted the
// machine themselves or both left its idle power to another process: see accountOf.
func (d *Difference) energy(ra, rb *reports.Result, a, b *reports.Variant) {
	ea, eb := a.Energy, b.Energy
	if ea == nil || eb == nil || ea.PerInference == nil || eb.PerInference == nil || !(*ea.PerInference > 0) || !(*eb.PerInference > 0) {
		return
	}
	d.Energy = fmt.Sprintf("%.3g J -> %.3g J (%s, %s)", *ea.PerInference, *eb.PerInference, ea.Source, eb.Source)
	d.AccountA, d.AccountB = accountOf(ea), accountOf(eb)
	if ea.Source != eb.Source {
		d.Notes = append(d.Notes, "energy: what was measured and what was modelled have no ratio")
		return
	}
	if (d.AccountA == accountOwn) != (d.AccountB == accountOwn) {
		d.Notes = append(d.Notes, fmt.Sprintf("energy: no ratio of two accounts: A %s, B %s, so that the same work has fewer joules there; ratios within one result stand. "+
			"Measure both together, or with nothing else measuring", describeAccount(d.AccountA), describeAccount(d.AccountB)))
		return
	}
	if d.AccountA != accountOwn {
		d.Notes = append(d.Notes, fmt.Sprintf("energy: both results are without the machine's idle power: A was %s, B %s", d.AccountA, d.AccountB))
	}
	q := &reports.EnergyRatio{Value: *eb.PerInference / *ea.PerInference, N: min(ea.N, eb.N), Basis: reports.BasisCounter}
	if ea.Source != reports.SourceMeasured {
		q.Basis = reports.BasisCPUTime
	}
	noise, n := blockNoise(ra, rb, d.Variant, a == &ra.Variants[0], b == &rb.Variants[0])
	if n > 0 {
		q.N = n
	}
	gain := 0.0
	if !sameGain(ra, rb) {
		if ea.CI95 == nil || eb.CI95 == nil {
			noise = math.Inf(1)
		} else {
			gain = math.Hypot(logHalf(*ea.CI95), logHalf(*eb.CI95))
			d.Notes = append(d.Notes, "energy: another machine or other assumptions, so the full uncertainty of both counts")
		}
	}
	if w := math.Hypot(noise, gain); finite(w) {
		q.CI95 = &reports.Interval{q.Value * math.Exp(-w), q.Value * math.Exp(w)}
	}
	d.EnergyRatio = q
	d.Energy += fmt.Sprintf(", %.3f", q.Value)
	if q.CI95 != nil {
		d.Energy += fmt.Sprintf(" [%.3f, %.3f]", q.CI95[0], q.CI95[1])
	}
}

// describeAccount words an account for a sentence.
func describeAccount(a string) string {
	if a == accountOwn {
		return "counted the machine itself"
	}
	return "was " + a + ", which has the machine's idle power"
}

func logHalf(ci reports.Interval) float64 { return math.Log(ci[1]/ci[0]) / 2 }

// sameGain reports whether both results have their joules from the same machine and the same assumptions: then what the
// source is wrong by is the same on both sides.
func sameGain(a, b *reports.Result) bool {
	if a.Host == nil || b.Host == nil || a.Host.CPU == "" || a.Host.CPU != b.Host.CPU || a.Host.Cores != b.Host.Cores || a.Method == nil || b.Method == nil {
		return false
	}
	return slices.Equal(a.Method.Assumptions, b.Method.Assumptions)
}

// blockNoise is half the width of the 95 % interval of ln(B/A) from the scatter of the blocks of both, which are taken as
// independent (Welch), and the smaller number of blocks; infinite without blocks. The two runs were not interleaved: what
// changed on the machine between them is not in it.
func blockNoise(a, b *reports.Result, variant string, baseA, baseB bool) (half float64, n int) {
	logs := func(r *reports.Result, base bool) []float64 {
		var out []float64
		for _, x := range r.Blocks {
			if x.Baseline == base && (base || x.Variant == variant) && x.Void == "" && x.Joules != nil && *x.Joules > 0 && x.Inferences > 0 {
				out = append(out, math.Log(*x.Joules/float64(x.Inferences)))
			}
		}
		return out
	}
	xa, xb := logs(a, baseA), logs(b, baseB)
	ea, errA := measure.EstimateOf(xa)
	eb, errB := measure.EstimateOf(xb)
	if errA != nil || errB != nil {
		return math.Inf(1), 0
	}
	n = min(len(xa), len(xb))
	return measure.TQuantile(n) * math.Sqrt(ea.Var+eb.Var), n
}

// medianRatio is median(b)/median(a). The interval takes the logarithms of the two medians as independent and normal,
// with the widths of their distribution-free intervals: order statistics n/2 ± 0.98·√n (Hahn and Meeker, Statistical
// Intervals, 5.2). It is nil where a median is not above 0. Samples that follow each other are alike, so it is narrow.
func medianRatio(a, b []float64) *reports.Ratio {
	ma, wa := logMedian(a)
	mb, wb := logMedian(b)
	if !finite(ma) || !finite(mb) {
		return nil
	}
	r := &reports.Ratio{Value: math.Exp(mb - ma), N: min(len(a), len(b))}
	if w := math.Hypot(wa, wb); finite(w) {
		r.CI95 = &reports.Interval{math.Exp(mb - ma - w), math.Exp(mb - ma + w)}
	}
	return r
}

// logMedian returns the logarithm of the median and half the width of its 95 % interval on that scale.
func logMedian(x []float64) (mid, half float64) {
	s := slices.Sorted(slices.Values(x))
	n := float64(len(s))
	at := func(rank float64) float64 { return math.Log(s[int(min(max(rank, 0), n-1))]) }
	d := 0.98 * math.Sqrt(n)
	return math.Log(measure.Percentile(s, 0.5)), (at(math.Ceil(n/2+d)) - at(math.Floor(n/2-d-1))) / 2
}
