package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// counter is a meter that draws constant power: what a RAPL counter says of an idle machine with a busy core.
type counter struct {
	watts   float64
	start   time.Time
	broken  bool // its counter has a gap from the start
	failing bool
}

func (c *counter) Read() (measure.Reading, error) {
	if c.failing {
		return measure.Reading{}, measure.ErrPermission
	}
	if c.start.IsZero() {
		c.start = time.Now()
	}
	at := time.Since(c.start)
	d := measure.DomainReading{Domain: measure.Domain{Scope: measure.ScopePackage, Name: "package-0", Zone: "p0", Headline: true},
		Source: measure.Source{Name: "powercap", Kind: measure.Measured, UAbs: 0.05, URatio: 0.01},
		Energy: measure.Microjoules(c.watts * at.Seconds() * 1e6), Status: measure.StatusOK}
	if c.broken {
		d.Status, d.Gaps = measure.StatusPartial, []measure.Gap{{From: 0, To: time.Hour, Reason: measure.GapReset}}
	}
	core := d
	core.Domain = measure.Domain{Scope: measure.ScopeCore, Name: "core", Zone: "p0/core"} // a breakdown, not part of the sum
	core.Energy /= 2
	return measure.Reading{At: at, Domains: []measure.DomainReading{d, core}}, nil
}

const energyRecipe = `version: 1
model: model.onnx
task: {kind: classification, data: test.jsonl, train: train.jsonl}
target: {threads: 1}
measure: {pairs: 4, max_pairs: 4, max_seconds: 5, block_seconds: 0.01, idle_seconds: 0.01, inputs: 2}
carbon: {zone: DEU, pue: 1.2, embodied: true}
variants:
  - name: half
    stages: [{quantize: {scheme: fp16}}]
  - name: student
    stages: [{distill: {student: {embedding: 4, hidden: 4, pooling: max}, epochs: 1}}]
gates: {energy_ratio: "<= 100"}
`

func energyRun(t *testing.T, m measure.Meter) *reports.Result {
	t.Helper()
	o := options(t.TempDir())
	o.Meter, o.Facts = m, measure.HostFacts{CPU: "test"}
	res, err := compute(context.Background(), parseIn(t, fixtureDir(t), energyRecipe), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Validate(); err != nil {
		t.Error(err)
	}
	return res
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) }

// consistent checks what must hold between the figures whatever their values: the formulas are those of the result's
// description, computed here in the open.
func consistent(t *testing.T, res *reports.Result, source, basis string) {
	t.Helper()
	for i, v := range res.Variants {
		e, c := v.Energy, v.Carbon
		if e == nil || e.PerInference == nil || c == nil || c.Intensity == nil {
			t.Fatalf("%s: energy %+v, carbon %+v", v.Name, e, c)
		}
		per := *e.PerInference
		if e.Source != source || per <= 0 || e.CI95 == nil || e.CI95[0] > per || e.CI95[1] < per {
			t.Errorf("%s: energy %v %v of source %q", v.Name, per, e.CI95, e.Source)
		}
		if (e.Ratio == nil) != (i == 0) || e.Ratio != nil && e.Ratio.Basis != basis {
			t.Errorf("%s: ratio %+v", v.Name, e.Ratio)
		}
		if e.PerCorrect == nil || !near(*e.PerCorrect, per/v.Accuracy.Value) {
			t.Errorf("%s: per correct %v", v.Name, e.PerCorrect)
		}
		if c.Intensity.Zone != "DEU" || *c.PUE != 1.2 || !near(*c.Operational, per/3.6e6*1.2*c.Intensity.GPerKWh) {
			t.Errorf("%s: operational %v g of %v J", v.Name, *c.Operational, per)
		}
		if c.Embodied == nil || !near(*c.Total, *c.Operational+*c.Embodied) || *c.Embodied <= 0 {
			t.Errorf("%s: total %v, embodied %v", v.Name, *c.Total, c.Embodied)
		}
		if i == 0 {
			continue
		}
		restated(t, v)
		k := v.Cost
		grams := 0.0
		if k != nil && k.Joules != nil {
			grams = *k.Joules / 3.6e6 * 1.2 * c.Intensity.GPerKWh
			if c.Embodied != nil { // grams per second of this machine
				grams += *c.Embodied * *v.Throughput * *k.Seconds
			}
		}
		if k == nil || k.Joules == nil || *k.Joules <= 0 || k.Source != source || math.Abs(*k.GCO2e/grams-1) > 1e-3 { // a µs per inference is rounded to 1 ns
			if k != nil && k.GCO2e != nil {
				t.Errorf("%s: %v g, want %v", v.Name, *k.GCO2e, grams)
			}
			t.Errorf("%s: cost %+v", v.Name, k)
			continue
		}
		saving := *res.Variants[0].Energy.PerInference * (1 - e.Ratio.Value)
		switch b := k.Breakeven; {
		case b == nil && !k.NoneDemonstrated, b != nil && k.NoneDemonstrated:
			t.Errorf("%s: break-even %v and none %v", v.Name, b, k.NoneDemonstrated)
		case b != nil && (!near(b.Value, *k.Joules/saving) || b.CI95[0] > b.Value || b.CI95[1] < b.Value):
			t.Errorf("%s: break-even %+v, want %v", v.Name, b, *k.Joules/saving)
		}
	}
	im := res.Impact
	if im == nil || im.EnergyIntensity == nil {
		t.Fatalf("impact %+v", im)
	}
	for _, v := range res.Variants {
		if *v.Energy.PerCorrect < perCorrectOf(res, im.Variant) {
			t.Errorf("impact is of %s, %s takes less", im.Variant, v.Name)
		}
		if v.Name == im.Variant && !near(*im.EnergyIntensity, *v.Energy.PerInference/float64(*v.Weights.MACs)) {
			t.Errorf("%v J/MAC", *im.EnergyIntensity)
		}
	}
}

// restated checks what is computed from the footprint of a variant: its ratio, the parts of its interval, SCI, and energy per
// correct answer.
func restated(t *testing.T, v reports.Variant) {
	t.Helper()
	e, c := v.Energy, v.Carbon
	if q := c.Ratio; q == nil || q.CI95 == nil || q.CI95[0] > q.Value || q.CI95[1] < q.Value || q.N != e.Ratio.N || q.Basis != e.Ratio.Basis {
		t.Errorf("%s: carbon ratio %+v", v.Name, q)
	}
	for i, b := range c.Tornado {
		if b.Lo > *c.Total*(1+1e-9) || b.Hi < *c.Total*(1-1e-9) || i > 0 && b.Hi-b.Lo > c.Tornado[i-1].Hi-c.Tornado[i-1].Lo {
			t.Errorf("%s: tornado %+v around %v", v.Name, c.Tornado, *c.Total)
		}
	}
	if len(c.Tornado) != 5 || c.N != 10_000 || c.Source != e.Source || c.EmbodiedSource == "" {
		t.Errorf("%s: carbon %+v", v.Name, c)
	}
	s := c.SCI
	if s == nil || !near(s.Per1000Inferences.Value, 1000**c.Total) || s.Per1000Inferences.CI95 == nil || s.PerCorrect == nil || !near(s.PerCorrect.Value, *c.Total/v.Accuracy.Value) {
		t.Errorf("%s: sci %+v", v.Name, s)
	}
	if e.PerCorrectCI95 == nil || e.PerCorrectCI95[0] > *e.PerCorrect || e.PerCorrectCI95[1] < *e.PerCorrect || e.PerCorrectN != v.Accuracy.N {
		t.Errorf("%s: %v J per correct answer in %v", v.Name, *e.PerCorrect, e.PerCorrectCI95)
	}
	if q := e.PerCorrectRatio; q == nil || q.Method != measure.MethodJoint || q.CI95 == nil || q.CI95[0] > q.Value || q.CI95[1] < q.Value {
		t.Errorf("%s: ratio of energy per correct answer %+v", v.Name, q)
	}
}

func perCorrectOf(res *reports.Result, name string) float64 {
	for _, v := range res.Variants {
		if v.Name == name {
			return *v.Energy.PerCorrect
		}
	}
	return math.NaN()
}

func TestEnergyMeasured(t *testing.T) {
	res := energyRun(t, &counter{watts: 20})
	consistent(t, res, reports.SourceMeasured, reports.BasisCounter)
	for _, v := range res.Variants {
		sum := 0.0
		for _, d := range v.Energy.Domains {
			if d.Domain == "package-0" {
				sum += d.Joules
				if !near(*d.UAbs, 0.05*d.Joules) {
					t.Errorf("%s: u_abs %v of %v J", v.Name, *d.UAbs, d.Joules)
				}
			}
		}
		if !near(sum, *v.Energy.PerInference) {
			t.Errorf("%s: domains sum to %v J, per inference %v", v.Name, sum, *v.Energy.PerInference)
		}
		// The meter draws 20 W whatever happens, and is read just outside of the timed block: the energy is that of at
		// least the block's time, and on a busy machine of much more.
		watts := *v.Energy.PerInference * *v.Throughput
		if watts < 19.99 || watts > 200 {
			t.Errorf("%s: %v W, the meter draws 20", v.Name, watts)
		}
		if w := v.Energy.IdleW; w == nil || math.Abs(*w-20) > 10 {
			t.Errorf("%s: idle %v W", v.Name, w)
		}
		if net := v.Energy.NetPerInference; net != nil && math.Abs(*net-(*v.Energy.PerInference - *v.Energy.IdleW / *v.Throughput)) > 1e-9**v.Energy.PerInference {
			t.Errorf("%s: net %v J", v.Name, *net)
		}
	}
	for _, g := range res.Gates { // measured, but four pairs decide nothing, whatever they show
		if g.Verdict != reports.Inconclusive || g.Reason != reports.ReasonTooFew || g.MorePairs != 26 {
			t.Errorf("gate %+v", g)
		}
	}
}

func TestEnergyModelled(t *testing.T) {
	m, err := measure.ModelOf(measure.ReadHost(emptyFS{}))
	if err != nil {
		t.Fatal(err)
	}
	res := energyRun(t, measure.NewModel(m, measure.ModelOptions{}))
	consistent(t, res, reports.SourceModelled, reports.BasisCPUTime)
	for _, g := range res.Gates {
		if g.Verdict != reports.Inconclusive || g.Reason != reports.ReasonNotMeasured {
			t.Errorf("a gate on modelled energy: %+v", g)
		}
	}
}

// TestEnergyAbsent checks that what was not measured is absent, and not 0.
func TestEnergyAbsent(t *testing.T) {
	for name, m := range map[string]measure.Meter{"gaps": &counter{watts: 20, broken: true}, "unreadable": &counter{failing: true}} {
		res := energyRun(t, m)
		for _, v := range res.Variants {
			if v.Energy != nil || v.Carbon != nil {
				t.Errorf("%s: %s: energy %+v, carbon %+v", name, v.Name, v.Energy, v.Carbon)
			}
			if c := v.Cost; c != nil && (c.Joules != nil || c.GCO2e != nil || c.Source != "" || c.Breakeven != nil || c.NoneDemonstrated || c.Seconds == nil) {
				t.Errorf("%s: %s: cost %+v", name, v.Name, c)
			}
		}
		if res.Impact != nil {
			t.Errorf("%s: impact %+v", name, res.Impact)
		}
		b, err := json.Marshal(res)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"energy_j\"", "carbon_g\"", "joules", "impact"} {
			if strings.Contains(string(b), key) {
				t.Errorf("%s: %q is in the result", name, key)
			}
		}
		for _, g := range res.Gates {
			if g.Verdict != reports.Inconclusive {
				t.Errorf("%s: gate %+v", name, g)
			}
		}
	}
}

func TestSpending(t *testing.T) {
	j, k := measure.Joules(2), measure.Joules(3)
	a, b := spending{Wall: 1, CPU: 2, Joules: &j, Kind: measure.Measured}, spending{Wall: 10, CPU: 20, Joules: &k, Kind: measure.Measured}
	if s := (spending{}).plus(a).plus(b); s.Wall != 11 || s.CPU != 22 || *s.Joules != 5 || s.Kind != measure.Measured {
		t.Errorf("%+v", s)
	}
	b.Kind = measure.Modelled
	if s := a.plus(b); s.Joules != nil || s.Kind != "" {
		t.Errorf("measured and modelled joules add to %v %s", *s.Joules, s.Kind)
	}
	if s := a.plus(spending{Wall: 1}); s.Joules != nil {
		t.Error("joules of a part stand for the whole")
	}
}

// TestMemory checks the way through the child process, played by this one.
func TestMemory(t *testing.T) {
	o := options(t.TempDir())
	// The peaks of processes, one after another: the empty one and the models in turns. The first model is known after three rounds, for the other
	// readings go on until there are memoryMost.
	calls := map[int]int{}
	o.Child = func(ctx context.Context, req []byte) ([]byte, error) {
		k := 0
		for i, what := range []string{`"path":""`, "model.onnx", "half.onnx", "student.onnx"} {
			if strings.Contains(string(req), what) {
				k = i
			}
		}
		n := calls[k]
		calls[k]++
		peak := []int64{1000, 50_000, 2000, 2000}[k] + []int64{0, 30, 300, 300}[k]*int64(n*7%memoryMost)
		return AnswerMemory(ctx, req, map[string]engine.Runtime{"native": engine.Native{}}, func() (int64, error) { return peak, nil })
	}
	rec := parseIn(t, fixtureDir(t), energyRecipe)
	res, err := compute(context.Background(), rec, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range res.Variants {
		m := v.Memory
		if m == nil || m.PeakRSS == nil || m.Range == nil || m.Weights == nil || m.Arena == nil {
			t.Fatalf("%s: %+v", v.Name, m)
		}
		// 0, 7 and 5 times 30 above the model's first reading: the median and the range of three; of nine, 0 to 8 times 300, ranks 2 to 8.
		rss, n, lo, hi := int64(49_000+5*30), 3, 5*30.0, 2*30.0
		if i > 0 {
			rss, n, lo, hi = 1000+4*300, memoryMost, 3*300.0, 3*300.0
		}
		if *m.EmptyProcess != 1000 || *m.PeakRSS != rss || m.N != n || *m.Range != (reports.Interval{float64(rss) - lo, float64(rss) + hi}) {
			t.Errorf("%s: %d beside %d, n %d, %v", v.Name, *m.PeakRSS, *m.EmptyProcess, m.N, *m.Range)
		}
	}
	o = options(t.TempDir())
	o.Child = func(context.Context, []byte) ([]byte, error) { return []byte("{}"), nil }
	if res, err = compute(context.Background(), rec, o); err != nil {
		t.Fatal(err)
	}
	if res.Variants[0].Memory.PeakRSS != nil || !strings.Contains(fmt.Sprint(res.Warnings), "peak memory was not measured") {
		t.Errorf("a child without an answer: %v", res.Warnings)
	}
	runtimes := map[string]engine.Runtime{"native": engine.Native{}}
	for _, req := range []string{"", "{", `{"path":"none.onnx","runtime":"native"}`, `{"path":"a.onnx","runtime":"tflite"}`} {
		if _, err := AnswerMemory(context.Background(), []byte(req), runtimes, func() (int64, error) { return 1, nil }); err == nil {
			t.Errorf("request %q is answered", req)
		}
	}
	if _, err := AnswerMemory(context.Background(), []byte("{}"), runtimes, func() (int64, error) { return 0, errors.New("no") }); err == nil {
		t.Error("no peak, and an answer")
	}
}

// emptyFS is a machine of which nothing is known.
type emptyFS struct{}

func (emptyFS) Open(name string) (fs.File, error) { return nil, fs.ErrNotExist }

// TestEveryFigureHasItsOrigin: what a measured run says of its figures: zone, scope and kind of every domain and whether it counts, coverage,
// the interval and number under idle, net, carbon and impact, the meter's own cost.
func TestEveryFigureHasItsOrigin(t *testing.T) {
	res := energyRun(t, &counter{watts: 20})
	if m := res.Meter; m == nil || m.Reads == 0 || m.CountedBy != "" {
		t.Errorf("meter %+v", res.Meter)
	}
	for _, v := range res.Variants {
		e := v.Energy
		counted := 0
		for _, d := range e.Domains {
			if d.Zone == "" || d.Scope == "" || d.Kind != reports.SourceMeasured || d.Status != measure.StatusOK || d.N != e.N || d.URatio == nil {
				t.Errorf("%s: domain %+v", v.Name, d)
			}
			if d.Headline {
				counted++
			}
			if d.Headline != (d.Scope == string(measure.ScopePackage)) {
				t.Errorf("%s: a breakdown counts: %+v", v.Name, d)
			}
		}
		if counted != 1 || e.Coverage == nil || *e.Coverage != 1 {
			t.Errorf("%s: %d domains count, coverage %v", v.Name, counted, e.Coverage)
		}
		if e.IdleW != nil && (e.IdleCI95 == nil || e.IdleN != 2) || (e.NetPerInference == nil) != (e.NetAbsent != "") || (e.NetPerInference == nil) != (e.NetCI95 == nil) {
			t.Errorf("%s: idle %v in %v of %d, net %v in %v: %q", v.Name, e.IdleW, e.IdleCI95, e.IdleN, e.NetPerInference, e.NetCI95, e.NetAbsent)
		}
		if c := v.Carbon; c.OperationalCI == nil || c.EmbodiedCI == nil || c.PUESource == "" || c.SCI.Per1000Inferences.N != c.N {
			t.Errorf("%s: carbon %+v", v.Name, c)
		}
		if d := v.Accuracy.Delta; d != nil && d.N != v.Accuracy.N {
			t.Errorf("%s: %d examples under the difference", v.Name, d.N)
		}
		if k := v.Cost; k != nil && k.N != 1 {
			t.Errorf("%s: cost %+v", v.Name, k)
		}
		if l := v.Latency; l.Source == "" || l.Blocks > 0 && (l.P95CI == nil || l.P99CI == nil || l.MeanCI == nil || v.Rate.CI95 == nil) {
			t.Errorf("%s: latency of %d blocks: %v %v %v", v.Name, l.Blocks, l.P95CI, l.P99CI, l.MeanCI)
		}
	}
	if im := res.Impact; im == nil || im.EnergyIntensity != nil && (im.IntensityCI == nil || im.N == 0) || im.CarbonCI == nil || im.Vectors[0].EnergyCI == nil || im.Vectors[0].CarbonCI == nil {
		t.Errorf("impact %+v", im)
	}
	if f := res.Roofline; f == nil || (f.N == 0 || f.Source == "" || f.Rounds < 6 || !holds(f.GFLOPSCI, f.GFLOPS) || !holds(f.GBytesSCI, f.GBytesS)) {
		t.Errorf("ceilings %+v", f)
	}
	if i := res.Idle; i == nil || i.N != 2 || !holds(i.BeforeCI, *i.BeforeW) || !holds(i.AfterCI, *i.AfterW) || i.BeforeS <= 0 || i.AfterS <= 0 {
		t.Errorf("idle %+v", i)
	}
	for _, v := range res.Variants {
		if c := v.Carbon; !holds(c.PUERange, *c.PUE) || !holds(c.CI95, *c.Total) || c.N == 0 {
			t.Errorf("%s: PUE %v in %v, %v g in %v", v.Name, *c.PUE, c.PUERange, *c.Total, c.CI95)
		}
		for _, p := range v.Profile {
			if p.N == 0 || !holds(p.CI95, p.Seconds) {
				t.Errorf("%s: %s takes %v s in %v, n %d", v.Name, p.Op, p.Seconds, p.CI95, p.N)
			}
		}
	}
}

// holds reports whether the interval is there and holds x.
func holds(ci *reports.Interval, x float64) bool {
	return ci != nil && ci[0] <= x && x <= ci[1]
}

// TestPercentileInterval: of 1 to 1,000 the 1st percentile is the 10th value; ranks 10 ± 1.96·√9.9 = 3.8 to 16.2, a rank wider at each end.
func TestPercentileInterval(t *testing.T) {
	x := make([]float64, 1000)
	for i := range x {
		x[i] = float64(i + 1)
	}
	p := measure.Percentile(x, 0.01)
	if ci := percentileInterval(x, 0.01, p); ci == nil || ci[0] != 3 || ci[1] != 18 || !holds(ci, p) {
		t.Errorf("%v in %v, want 3 to 18", p, ci)
	}
	if ci := percentileInterval(x[:1], 0.01, 1); ci != nil {
		t.Error(ci)
	}
}

// TestCeilings: the kernels' own loops say what one thread of this machine can, where they have such loops.
func TestCeilings(t *testing.T) {
	p := ceilings(1)
	if kernel.Active() != kernel.Generic && (p.F32Flops < 1e8 || p.ReadBps < 1e8) { // a hundredth of the slowest machine in use
		t.Errorf("%+v", p)
	}
}

// The ranks around the median hold it in 95 of 100 samples at least: 3 of 8 readings are the whole range, 15 lose three on either side. The
// numbers are those of the binomial distribution (Conover, Practical Nonparametric Statistics, table A3).
func TestMedianRank(t *testing.T) {
	for n, want := range map[int]int{1: 0, 3: 0, 5: 0, 6: 0, 8: 0, 9: 1, 12: 2, 15: 3} {
		if got := medianRank(n); got != want {
			t.Errorf("%d readings lose %d at either end, want %d", n, got, want)
		}
	}
}
