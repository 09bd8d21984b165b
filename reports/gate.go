package reports

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/measure"
)

// Verdict is the outcome of a gate.
type Verdict = measure.Verdict

// The verdicts. Inconclusive means that the data neither show that the gate holds nor that it fails.
const (
	Pass         = measure.Pass
	Fail         = measure.Fail
	Inconclusive = measure.Inconclusive
)

// The reasons of an inconclusive verdict.
const (
	ReasonNotMeasured = "not_measured" // the figure is absent, or modelled where only measured ones count
	ReasonSpansLimit  = "spans_limit"  // the 95 % interval holds the limit
	ReasonNoInterval  = "no_interval"  // a point estimate without an interval
	ReasonTooFew      = "too_few"      // so few pairs decide nothing, whatever they show
	ReasonCoverage    = "coverage"     // the meter saw less than 95 % of the time
	ReasonSeveral     = "several"      // by itself it would pass, among all variants that were tried it does not
	ReasonFewValues   = "few_values"   // a cosine of outputs with so few values shows little but their signs
)

// Gate is one limit on one figure of a variant: Key Op Limit, such as energy_ratio <= 0.6.
type Gate struct {
	Key   string
	Op    string // "<=", "<", ">=" or ">"
	Limit float64
}

// String gives the gate as it stands in a recipe: energy_ratio <= 0.6.
func (g Gate) String() string {
	return g.Key + " " + g.Op + " " + strconv.FormatFloat(g.Limit, 'g', -1, 64)
}

// Gates is what a result is judged by. AllowModelled lets modelled energy and carbon decide.
// With Variants every named variant must pass; without, a run passes when any variant passes all gates: the more are tried the
// likelier one passes by chance, so a pass must then hold adjusted over all of them (Holm).
type Gates struct {
	Rules         []Gate
	AllowModelled bool
	Variants      []string
}

// GateResult is the verdict of one gate on one variant. Value and CI95 are those of the gated figure;
// Reason is one of the Reason constants when inconclusive. Message explains the verdict to people, in the terminal and in every report: the value, the interval
// that decides, what it rests on, the limit, and where it does not pass why, and what would decide it.
type GateResult struct {
	Gate    string    `json:"gate"`
	Expr    string    `json:"expr"`
	Variant string    `json:"variant"`
	Verdict Verdict   `json:"verdict"`
	Value   *float64  `json:"value,omitempty"`
	CI95    *Interval `json:"ci95,omitempty"`
	Decides *Interval `json:"decides,omitempty"` // the wider interval that is judged by, where it is not CI95
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message"`
	// MorePairs is about how many more pairs would decide, where the figure is a paired ratio and inconclusive.
	MorePairs int `json:"more_pairs,omitempty"`
}

// figure is what a gate looks at: a value, its 95 % interval and the one that decides (exact: none needed), modelled or not.
type figure struct {
	value    float64
	ci       *Interval
	decides  *Interval // nil: ci
	few      bool      // too few pairs to decide anything
	coverage *float64  // share of domains × time that the meter saw, the least of both sides; nil: not known, or no meter
	pairs    bool      // a ratio from n pairs
	holm     *float64  // p of no difference, adjusted over all variants
	n        int       // 0: not known
	counted  string    // what n counts: pair, example, run, inference, reading
	exact    bool
	modelled bool
	values   int // of a cosine of so few values that it passes nothing: how many; 0 elsewhere
}

// deciding is the interval that claims look at; nil where there is none.
func (f figure) deciding() *Interval {
	if f.decides != nil || f.few {
		return f.decides
	}
	return f.ci
}

// more is about how many more pairs or examples would bring the limit out of the interval, if the figure is what it seems; 0 where that
// cannot be said.
func (f figure) more(limit float64) int {
	if !f.pairs && f.counted != "example" || f.ci == nil || f.n == 0 || f.pairs && !(f.ci[0] > 0 && limit > 0 && f.value > 0) {
		return 0
	}
	to, end := f.scale(limit), f.ci[0]
	if limit > f.value {
		end = f.ci[1]
	}
	q := (to(end) - to(f.value)) / (to(limit) - to(f.value))
	m := math.Ceil(float64(f.n) * (q*q - 1))
	if math.IsNaN(m) || m > 100_000 {
		return 0
	}
	least := 1
	if f.pairs {
		least = max(least, sure-f.n)
	}
	return max(int(m), least)
}

// scale is what makes the figure and a limit about normal: the logarithm of ratios.
func (f figure) scale(limit float64) func(float64) float64 {
	if ci := f.deciding(); f.pairs && f.value > 0 && limit > 0 && (ci == nil || ci[0] > 0) {
		return math.Log
	}
	return func(x float64) float64 { return x }
}

// ParseGate reads a limit such as "<= 0.6" or "<= 1%" for a key of GateKeys. A bare number is an
// error: the direction is part of the gate. So is a limit that no value of the figure keeps, or every one.
func ParseGate(key, expr string) (Gate, error) {
	if gateFigure(key) == nil {
		return Gate{}, fmt.Errorf("gates: %q: no such gate; known are %s", key, GateWords(", "))
	}
	s := strings.TrimSpace(expr)
	for _, op := range []string{"<=", ">=", "<", ">"} {
		rest, ok := strings.CutPrefix(s, op)
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		num, percent := strings.CutSuffix(rest, "%")
		x, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || !finite(x) {
			return Gate{}, fmt.Errorf("gates: %s: %q is not a number", key, rest)
		}
		if percent {
			x /= 100
		}
		g := Gate{Key: key, Op: op, Limit: x}
		if err := g.possible(); err != nil {
			return Gate{}, fmt.Errorf("gates: %s: %q: %w", key, expr, err)
		}
		return g, nil
	}
	return Gate{}, fmt.Errorf("gates: %s: %q does not start with <=, <, >= or >", key, expr)
}

// ParseGates reads key -> expression, in sorted key order.
func ParseGates(exprs map[string]string, allowModelled bool) (Gates, error) {
	g := Gates{AllowModelled: allowModelled}
	for _, k := range slices.Sorted(maps.Keys(exprs)) {
		rule, err := ParseGate(k, exprs[k])
		if err != nil {
			return Gates{}, err
		}
		g.Rules = append(g.Rules, rule)
	}
	return g, nil
}

// Judge applies every gate to every variant but the baseline (or to those named in g.Variants), in
// the order of the result, then of the rules. A gate passes when the whole 95 % interval keeps the limit, fails
// when the whole interval breaks it, and is inconclusive otherwise; below 30 pairs the wider interval of Pairing takes its
// place. Exact figures need no interval. Energy of which the meter saw less than 95 %, and the cosine of outputs with too few values, pass nothing. Where one passing variant is enough
// (no g.Variants) a pass that does not hold over all of them (Holm) is inconclusive.
// A name in g.Variants that the result lacks gives an inconclusive entry.
func Judge(r *Result, g Gates) []GateResult {
	var out []GateResult
	judged := map[string]bool{}
	chance := map[int]float64{} // index in out -> probability of such a pass by chance
	for i := range r.Variants {
		v := &r.Variants[i]
		if len(g.Variants) == 0 && i == 0 || len(g.Variants) > 0 && !slices.Contains(g.Variants, v.Name) {
			continue
		}
		judged[v.Name] = true
		for _, rule := range g.Rules {
			res, p := judgeOne(rule, v, &r.Variants[0], g.AllowModelled)
			if len(g.Variants) == 0 {
				chance[len(out)] = p
			}
			out = append(out, res)
		}
	}
	adjust(out, g.Rules, chance)
	for _, name := range g.Variants {
		if judged[name] {
			continue
		}
		for _, rule := range g.Rules {
			out = append(out, GateResult{Gate: rule.Key, Expr: rule.String(), Variant: name, Verdict: Inconclusive,
				Reason: ReasonNotMeasured, Message: fmt.Sprintf("the result has no variant %q", name)})
		}
	}
	return out
}

// adjust takes back passes that do not hold over all variants of a rule. chance is by index in out, NaN where there is none.
func adjust(out []GateResult, rules []Gate, chance map[int]float64) {
	for _, rule := range rules {
		var at []int
		var ps []float64
		for i := range out {
			if p, ok := chance[i]; ok && out[i].Expr == rule.String() {
				at, ps = append(at, i), append(ps, p)
			}
		}
		for k, p := range measure.Holm(ps) {
			if o := &out[at[k]]; o.Verdict == Pass && p > oneSidedAlpha*(1+1e-9) {
				o.Verdict, o.Reason = Inconclusive, ReasonSeveral
				o.Message += fmt.Sprintf(": by itself it passes, among %d variants it does not (Holm): more pairs or examples would decide, or gates that name the variants which must all pass", len(ps))
			}
		}
	}
}

// oneSidedAlpha is the chance at which a limit at the very end of a 95 % interval would be kept or broken.
const oneSidedAlpha = 0.025

// chance is the one-sided probability that a figure keeps the limit as clearly as f does although it lies on it, by the normal distribution
// on the scale of its deciding interval; NaN for figures without one.
func (f figure) chance(g Gate) float64 {
	ci := f.deciding()
	if ci == nil || f.exact {
		return math.NaN()
	}
	to := f.scale(g.Limit)
	half, d := to(ci[1])-to(f.value), to(g.Limit)-to(f.value)
	if d < 0 {
		half, d = to(f.value)-to(ci[0]), -d
	}
	p := 0.5
	if d > 0 {
		p = math.Erfc(1.959963984540054*d/half/math.Sqrt2) / 2 // half = 0: no chance
	}
	if !holds(g, f.value) {
		p = 1 - p
	}
	return p
}

// fullCoverage is the share of domains × time that a meter must have seen for an energy to pass a gate.
const fullCoverage = 0.95

// judgeOne judges one gate on one variant; chance is that of figure.chance.
func judgeOne(g Gate, v, base *Variant, allowModelled bool) (res GateResult, chance float64) {
	res, chance = GateResult{Gate: g.Key, Expr: g.String(), Variant: v.Name, Verdict: Inconclusive}, math.NaN()
	get := gateFigure(g.Key)
	if get == nil {
		res.Reason, res.Message = ReasonNotMeasured, "no such gate in this version"
		return res, chance
	}
	f, ok := get(v, base)
	if !ok || !finite(f.value) {
		res.Reason, res.Message = ReasonNotMeasured, "not measured"
		return res, chance
	}
	res.Value, res.CI95 = &f.value, f.ci
	if d := f.deciding(); d != nil && f.ci != nil && *d != *f.ci {
		res.Decides = d
	}
	shown := f.shown()
	need := ", need " + g.Op + " " + num(g.Limit)
	if f.modelled && !allowModelled {
		res.Reason = ReasonNotMeasured
		res.Message = shown + need + ": estimated from CPU time, no counter on this host, and the gates do not say allow_modelled"
		return res, chance
	}
	lo, hi := f.value, f.value
	kind := "the 95 % interval"
	switch {
	case res.Decides != nil:
		kind = "the wider interval, which decides below 30 pairs,"
	case f.counted == "reading":
		kind = "the interval" // of few readings their range
	}
	switch ci := f.deciding(); {
	case ci != nil:
		lo, hi = ci[0], ci[1]
	case f.few:
		res.Reason, res.MorePairs = ReasonTooFew, f.more(g.Limit)
		res.Message = shown + need + ": " + f.fewWords() + f.moreWords(g.Limit, "")
		return res, chance
	case !f.exact:
		res.Reason, res.Message = ReasonNoInterval, shown+need+": no interval to judge by, and a single estimate decides nothing"
		return res, chance
	}
	low, high := holds(g, lo), holds(g, hi)
	switch {
	case low && high:
		res.Verdict, res.Message = Pass, shown+need
	case !low && !high && f.exact:
		res.Verdict, res.Message = Fail, shown+need
	case !low && !high:
		res.Verdict, res.Message = Fail, shown+need+": all of "+kind+" breaks the limit"
	default:
		res.Reason = ReasonSpansLimit
		if f.pairs {
			res.MorePairs = f.more(g.Limit)
		}
		res.Message = shown + need + ": " + kind + " holds the limit" + f.moreWords(g.Limit, ", more "+cmp.Or(f.counted, "pairs or example")+"s are needed")
	}
	if f.coverage != nil && *f.coverage < fullCoverage && res.Verdict == Pass {
		res.Verdict, res.Reason = Inconclusive, ReasonCoverage
		res.Message += fmt.Sprintf(": the meter saw %.0f %% of the time, at least %.0f %% are needed", 100**f.coverage, 100*fullCoverage)
	}
	if f.values > 0 && res.Verdict == Pass {
		res.Verdict, res.Reason = Inconclusive, ReasonFewValues
		res.Message += ": " + fewValuesWords(f.values) + ", and passes nothing"
	}
	if f.modelled {
		res.Message += " (modelled)"
	}
	return res, f.chance(g)
}

// shown is the figure with the interval that decides and what it rests on: "0.64 [0.59, 0.7] from 12 pairs".
func (f figure) shown() string {
	s := num(f.value)
	if ci := cmp.Or(f.deciding(), f.ci); ci != nil {
		s = numIn(f.value, *ci)
	}
	if f.n > 0 && f.counted != "" && !f.exact {
		s += " from " + plural(f.n, f.counted)
	}
	return s
}

// moreWords says how many more pairs or examples would decide, or what is given where that is not known.
func (f figure) moreWords(limit float64, otherwise string) string {
	if m := f.more(limit); m > 0 {
		things := "s"
		if m == 1 {
			things = ""
		}
		return ", about " + count(float64(m)) + " more " + f.counted + things + " would decide"
	}
	return otherwise
}

// Holds reports whether x keeps the limit.
func (g Gate) Holds(x float64) bool { return holds(g, x) }

func holds(g Gate, x float64) bool {
	switch g.Op {
	case "<=":
		return x <= g.Limit
	case "<":
		return x < g.Limit
	case ">=":
		return x >= g.Limit
	case ">":
		return x > g.Limit
	}
	return false
}

// Overall condenses the verdicts of Judge. With g.Variants all of them must pass; without, one
// variant that passes every gate is enough. No gates at all is a pass.
func Overall(g Gates, results []GateResult) Verdict {
	worst := map[string]Verdict{}
	var order []string
	for _, r := range results {
		w, ok := worst[r.Variant]
		if !ok {
			order = append(order, r.Variant)
			w = Pass
		}
		worst[r.Variant] = worse(w, r.Verdict)
	}
	if len(order) == 0 {
		if len(g.Rules) == 0 {
			return Pass
		}
		return Inconclusive
	}
	all, best := Pass, Fail
	for _, name := range order {
		all = worse(all, worst[name])
		if worse(best, worst[name]) == best {
			best = worst[name]
		}
	}
	if len(g.Variants) > 0 {
		return all
	}
	return best
}

func worse(a, b Verdict) Verdict {
	if a == Fail || b == Fail {
		return Fail
	}
	if a == Inconclusive || b == Inconclusive {
		return Inconclusive
	}
	return Pass
}

// ExitCode is the exit status of a command that judged gates: 0 pass, 3 fail, 4 inconclusive.
func ExitCode(v Verdict) int {
	switch v {
	case Pass:
		return 0
	case Fail:
		return 3
	}
	return 4
}
