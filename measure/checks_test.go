package measure

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// compareTwo compares a with b on the simulated machine.
func compareTwo(t *testing.T, a, b Trial, p Protocol) Comparison {
	t.Helper()
	c, err := Compare(context.Background(), a, []Trial{b}, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUnsteadyIsSaid: calls that get slower by 3 % each never fulfil the rule of the warm-up, and the cap that ends it is told.
func TestUnsteadyIsSaid(t *testing.T) {
	b := &bench{watts: 20}
	d := 10 * time.Millisecond
	drifting := Trial{Name: "drifts", Run: func(context.Context, int) error {
		b.work(d)
		d += d * 3 / 100
		return nil
	}}
	p := b.protocol()
	p.MinPairs, p.MaxPairs, p.Warmup = 2, 2, time.Second
	c := compareTwo(t, b.trial("steady", 10*time.Millisecond, 1, 0, rand.New(rand.NewPCG(1, 1))), drifting, p)
	said := strings.Join(c.Warnings, "\n")
	if !strings.Contains(said, `variant "drifts": not steady after a warm-up of`) || strings.Contains(said, `"steady": not`) {
		t.Errorf("%q", c.Warnings)
	}
}

// TestOutliersAreNamed: a pair that lies far out is named with the figure in which it does, also where that is latency alone, as when the machine was taken
// away for a while and neither CPU time nor energy shows it.
func TestOutliersAreNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	run := func(stall time.Duration, counted bool) Comparison {
		b := &bench{watts: 20}
		quiet := b.trial("b", 10*time.Millisecond, 1, 0.001, rng)
		calls := 0
		held := Trial{Name: "b", Items: 1, Run: func(ctx context.Context, i int) error {
			if calls++; calls == 60 {
				if b.now += stall; counted {
					b.cpu += stall
					b.uj += b.watts * stall.Seconds() * 1e6
				}
			}
			return quiet.Run(ctx, i)
		}}
		p := b.protocol()
		p.MinPairs, p.MaxPairs = 12, 12
		return compareTwo(t, b.trial("a", 10*time.Millisecond, 1, 0.001, rng), held, p)
	}
	for name, c := range map[string]struct {
		got  Comparison
		want []string
	}{
		"none":    {run(0, false), nil},
		"latency": {run(time.Second, false), []string{"latency"}},
		"both":    {run(time.Second, true), []string{"energy", "latency"}},
	} {
		var got []string
		for _, w := range c.got.Warnings {
			if _, figure, ok := strings.Cut(w, `variant "b": pair 5 of 12 lies more than 5 MAD from the median in `); ok {
				got = append(got, strings.TrimSuffix(figure, " (kept)"))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: outliers of %q in %q, want %q", name, c.got.Warnings, got, c.want)
		}
	}
}

// TestMAD: the scale of the page and of the code are one: 5 MAD of normal values are 5 of their standard deviations.
func TestMAD(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	x := make([]float64, 100_001)
	for i := range x {
		x[i] = 3 + 0.5*rng.NormFloat64()
	}
	if s := lying([]int{2, 6, 8}, 18); s != "pairs 3, 7 and 9 of 18 lie" {
		t.Error(s)
	}
	// 10 % about 5: the error of a MAD of so many values is 0.4 %.
	x[7], x[9], x[11] = 3+0.5*5.5, 3-0.5*5.5, 3+0.5*4.5
	if far := outliers(x, 5); !slices.Equal(far, []int{7, 9}) {
		t.Errorf("%v", far)
	}
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil || !strings.Contains(string(page), "MAD is the median absolute deviation of d times 1.4826") {
		t.Errorf("PROTOCOL.md does not say the scale: %v", err)
	}
}

// TestNet: gross less idle with its interval, or the reason why there is none.
func TestNet(t *testing.T) {
	run := func(watts, idle float64, seconds time.Duration) *Energy {
		b := &bench{watts: watts, idle: idle}
		rng := rand.New(rand.NewPCG(1, 1))
		p := b.protocol()
		p.Idle, p.MinPairs, p.MaxPairs = seconds, 4, 4
		return compareTwo(t, b.trial("a", 10*time.Millisecond, 1, 0, rng), b.trial("b", 10*time.Millisecond, 1, 0, rng), p).Baseline.Energy
	}
	e := run(20, 5, 10*time.Second)
	// (20-5) W for 10 ms; u = hypot(5 % gain of 0.15 J, 0.2 % of 0.2 J that does not cancel); whole µJ in a block.
	if e.Net == nil || math.Abs(float64(*e.Net)-0.15) > 1e-5 || math.Abs(float64(e.NetU)-math.Hypot(0.0075, 0.0004)) > 1e-5 || e.NetAbsent != "" || e.IdleN != 2 {
		t.Errorf("%+v", e)
	}
	if math.Abs(float64(e.IdleU)-0.25) > 1e-3 {
		t.Errorf("idle 5 W within %v W, want 5 %%", e.IdleU)
	}
	if e := run(20, 5, 0); e.Net != nil || e.NetAbsent != "idle power was not measured" {
		t.Errorf("without idle: %+v", e)
	}
	if e := run(20, 19.95, 10*time.Second); !e.NetBelow || !strings.HasPrefix(e.NetAbsent, "below resolution") {
		t.Errorf("0.05 of 20 W: %+v", e)
	}
}

// TestEquivalent: the same work is equivalent within 5 %, work of half the length is not although it is no regression.
func TestEquivalent(t *testing.T) {
	b := &bench{watts: 20}
	rng := rand.New(rand.NewPCG(1, 1))
	p := b.protocol()
	p.MinPairs = 30
	c, err := Compare(context.Background(), b.trial("a", 10*time.Millisecond, 1, 0.01, rng),
		[]Trial{b.trial("same", 10*time.Millisecond, 1, 0.01, rng), b.trial("half", 5*time.Millisecond, 1, 0.01, rng)}, p)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Verdict{Pass, Fail} {
		if v := c.Variants[i]; v.Equivalent != want || v.NoRegression != Pass || v.Margin != 0.05 {
			t.Errorf("%s: equivalent %s, no regression %s", v.Name, v.Equivalent, v.NoRegression)
		}
	}
}

// failing returns what it knows with an error, as a meter does whose counters all failed this time.
type failing struct{ n int }

func (f *failing) Read() (Reading, error) {
	f.n++
	r := Reading{At: time.Duration(f.n) * time.Second, Domains: []DomainReading{{Domain: Domain{Scope: ScopePackage, Name: "p", Zone: "z", Headline: true},
		Source: Source{Name: "s", Kind: Measured}, Status: StatusOK}}}
	if f.n == 2 {
		return r, errors.New("EIO")
	}
	return r, nil
}

// TestRecorderKeepsFailedReads: a reading that came with an error is in the session too.
func TestRecorderKeepsFailedReads(t *testing.T) {
	var buf bytes.Buffer
	rec, err := NewRecorder(&failing{}, &buf, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := rec.Read(); (err != nil) != (i == 1) {
			t.Fatal(i, err)
		}
	}
	p, err := NewReplay(&buf)
	if err != nil || p.Len() != 3 {
		t.Errorf("%d readings of 3, %v", p.Len(), err)
	}
}

// TestBlockIntervals: with independent calls the block bootstrap agrees with the textbook's intervals of a mean and of a median, within
// 35 % of their width: 40 blocks know their own spread to 11 %, and 1,000 draws add to that.
func TestBlockIntervals(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	var blocks []Block
	for range 40 {
		b := Block{Inferences: 100}
		for range 100 {
			d := time.Duration((1 + 0.1*rng.NormFloat64()) * 1e7)
			b.Samples = append(b.Samples, d)
			b.Wall += d
		}
		blocks = append(blocks, b)
	}
	got := blockIntervals(blocks, 1)
	se := 0.1 * 0.01 / math.Sqrt(4000)
	for name, c := range map[string]struct {
		ci   Interval
		want float64 // half-width
		at   float64
	}{"mean": {got.Mean, 1.96 * se, 0.01}, "median": {got.P50, 1.96 * se * math.Sqrt(math.Pi/2), 0.01}, "throughput": {got.Throughput, 1.96 * se * 1e4, 100}} {
		if half := (c.ci.Hi - c.ci.Lo) / 2; math.Abs(half/c.want-1) > 0.35 || math.Abs((c.ci.Lo+c.ci.Hi)/2-c.at) > 2*c.want {
			t.Errorf("%s: %+v, want %v ± %v", name, c.ci, c.at, c.want)
		}
	}
	if !(got.P95.Lo > got.P50.Hi && got.P99.Lo > got.P95.Lo && got.P99.Hi > got.P99.Lo) || got.Blocks != 40 {
		t.Errorf("%+v", got)
	}
	if blockIntervals(blocks[:5], 1) != nil {
		t.Error("an interval from five blocks")
	}
}

// TestBackgroundShare: the polls of an external meter count as overhead wherever it is wrapped.
func TestBackgroundShare(t *testing.T) {
	e := newExternal(externalSpec{name: "x", every: time.Second, most: 100}, ExternalOptions{}, func(context.Context) ([]probe, error) {
		time.Sleep(2 * time.Millisecond)
		return []probe{{zone: "z", name: "z", scope: ScopePlatform, value: 5}}, nil
	})
	if err := e.Poll(context.Background()); err != nil {
		t.Fatal(err)
	}
	h, err := ShareHost(Join(&bench{}, e), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	rec, err := NewRecorder(h, &bytes.Buffer{}, "")
	if err != nil {
		t.Fatal(err)
	}
	g := NewGuard(rec)
	defer g.Close()
	if share := backgroundShare(g); !(share > 0) {
		t.Errorf("a poll of 2 ms is a share of %v", share)
	}
}

// TestOverhead: reading a two-socket RAPL tree from real files, with guard, lock and ledger, takes less than 0.5 % of the time at the
// default settings (blocks of 1 s). It takes about 0.03 %, so the bound holds on a machine that is fifteen times slower or busier.
func TestOverhead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"intel-rapl:0/name": "package-0", "intel-rapl:1/name": "package-1", "intel-rapl:0/energy_uj": "1", "intel-rapl:1/energy_uj": "1",
		"intel-rapl:0/max_energy_range_uj": "262143328850", "intel-rapl:1/max_energy_range_uj": "262143328850"} {
		file := filepath.Join(dir, "class/powercap", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := NewPowercap(os.DirFS(dir), PowercapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := ShareHost(m, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if read, share := ReadOverhead(h); !(share > 0 && share < 0.005) {
		t.Errorf("a read takes %v: %.3f %% of the time", read, 100*share)
	}
}
