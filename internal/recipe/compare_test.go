package recipe

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/reports"
)

// resultOf is a result of one variant with blocks of the given joules per inference, 3 % apart from each other.
func resultOf(cpu string, joules float64, right, n int, seed uint64) *reports.Result {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := float64(right) / float64(n)
	half := 1.96 * math.Sqrt(p*(1-p)/float64(n))
	r := &reports.Result{Host: &reports.Host{CPU: cpu, Cores: 2}, Method: &reports.Method{}, Variants: []reports.Variant{{Name: "baseline"}, {Name: "v"}}}
	r.Variants[1].Accuracy = &reports.Accuracy{Metric: "accuracy", Value: p, N: n, CI95: &reports.Interval{p - half, p + half}}
	sum := 0.0
	for k := range 20 {
		j := 100 * joules * math.Exp(0.03*rng.NormFloat64())
		sum += j / 100 / 20
		r.Blocks = append(r.Blocks, reports.Block{Variant: "v", Position: k % 4, Seconds: 1, Inferences: 100, Joules: &j, Source: reports.SourceMeasured})
	}
	r.Variants[1].Energy = &reports.Energy{PerInference: &sum, CI95: &reports.Interval{sum / 1.05, sum * 1.05}, N: 2000, Source: reports.SourceMeasured}
	return r
}

// TestCompareTargets: a note names in what the targets of two results differ.
func TestCompareTargets(t *testing.T) {
	at := func(x reports.Target) *reports.Result {
		r := resultOf("x", 2, 900, 1000, 1)
		r.Target = &x
		return r
	}
	base := reports.Target{Runtime: "native", Provider: "cpu", Threads: 2, Batch: 1}
	for _, c := range []struct {
		b    reports.Target
		want string
	}{
		{base, ""},
		{reports.Target{Runtime: "ort", Provider: "cpu", Threads: 1, Batch: 1}, "runtime: A native, B ort; threads: A 2, B 1"},
		{reports.Target{Runtime: "native", Provider: "cuda", Threads: 2, Batch: 8, Sequence: 128}, "provider: A cpu, B cuda; batch: A 1, B 8; sequence: A none, B 128"},
	} {
		diffs, err := CompareResults(at(base), at(c.b))
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(diffs[0].Notes, "\n")
		if c.want == "" && notes != "" || !strings.HasSuffix(notes, c.want) {
			t.Errorf("%+v: %q, want %q", c.b, notes, c.want)
		}
	}
}

// TestCompareFigures: energy and accuracy of two results come with intervals.
func TestCompareFigures(t *testing.T) {
	a, b := resultOf("x", 2, 900, 1000, 1), resultOf("x", 1, 850, 1000, 2)
	diffs, err := CompareResults(a, b)
	if err != nil || len(diffs) != 2 {
		t.Fatalf("%v, %v", diffs, err)
	}
	d := diffs[1]
	// 20 blocks of 3 % each: the standard error of the ratio is 3 %·√(2/20) = 0.95 %, its half-width 2.09 times that.
	q := d.EnergyRatio
	if q == nil || q.N != 20 || q.Basis != reports.BasisCounter || math.Abs(q.Value-0.5) > 0.02 || q.CI95 == nil {
		t.Fatalf("energy %+v", q)
	}
	if w := logHalf(*q.CI95); w < 0.012 || w > 0.03 { // 0.0199 expected; the spread of 20 blocks is known to 16 %
		t.Errorf("half-width %v", w)
	}
	// Two independent proportions of 1,000: √(0.9·0.1/1000 + 0.85·0.15/1000) = 0.0147, times 1.96.
	if x := d.AccuracyDelta; x == nil || math.Abs(x.Value+0.05) > 1e-9 || math.Abs((x.CI95[1]-x.CI95[0])/2-0.0289) > 0.0005 {
		t.Errorf("accuracy %+v", x)
	}
	// Another machine: the gain of both counters counts, √2·ln 1.05 = 0.069.
	b.Host.CPU = "y"
	diffs, err = CompareResults(a, b)
	if err != nil || logHalf(*diffs[1].EnergyRatio.CI95) < 0.069 || len(diffs[1].Notes) != 1 {
		t.Errorf("%+v, %v", diffs[1], err)
	}
	b.Variants[1].Energy.Source = reports.SourceModelled
	if diffs, _ = CompareResults(a, b); diffs[1].EnergyRatio != nil {
		t.Errorf("a measured and a modelled figure have the ratio %+v", diffs[1].EnergyRatio)
	}
}

// TestCompareAccounts: joules of a process that was attached to another's account have no ratio to those of one that counted the machine
// itself, and what only one result has is named.
func TestCompareAccounts(t *testing.T) {
	modelled := func(by string, joules float64, seed uint64) *reports.Result {
		r := resultOf("x", joules, 900, 1000, seed)
		r.Variants[1].Energy.Source, r.Variants[1].Energy.CountedBy = reports.SourceModelled, by
		return r
	}
	one := func(a, b *reports.Result) Difference {
		diffs, err := CompareResults(a, b)
		if err != nil {
			t.Fatal(err)
		}
		return diffs[1]
	}
	if d := one(modelled("", 2, 1), modelled("process 7", 1, 2)); d.EnergyRatio != nil || d.AccountA != "own" || d.AccountB != "attached to process 7" ||
		len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "no ratio") || !strings.Contains(d.Notes[0], "process 7") {
		t.Errorf("own against attached: %+v", d)
	}
	if d := one(modelled("process 3", 2, 1), modelled("process 7", 2, 2)); d.EnergyRatio == nil || len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "without the machine's idle power") {
		t.Errorf("both attached: %+v", d)
	}
	if d := one(modelled("", 2, 1), modelled("", 2, 2)); d.EnergyRatio == nil || len(d.Notes) != 0 || d.AccountA != "own" || d.AccountB != "own" {
		t.Errorf("own accounts: %+v", d)
	}
	a, b := resultOf("x", 2, 900, 1000, 1), resultOf("x", 2, 900, 1000, 2)
	a.Variants[1].Name = "int8"
	b.Variants = append(b.Variants, reports.Variant{Name: "w"})
	a.Model, b.Model = &reports.Model{Name: "m", SHA256: "1"}, &reports.Model{Name: "n", SHA256: "2"}
	diffs, err := CompareResults(a, b)
	if err != nil || len(diffs) != 4 {
		t.Fatalf("%+v, %v", diffs, err)
	}
	for i, want := range []string{"baseline/", "int8/A", "v/B", "w/B"} {
		if got := diffs[i].Variant + "/" + diffs[i].OnlyIn; got != want {
			t.Errorf("row %d is %s, want %s", i, got, want)
		}
	}
	if n := diffs[0].Notes; len(n) != 1 || !strings.Contains(n[0], "different models") {
		t.Errorf("notes %q", n)
	}
}
