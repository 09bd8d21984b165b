package measure

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

func TestCompareFindsTheSaving(t *testing.T) {
	b := &bench{watts: 20, idle: 5}
	rng := rand.New(rand.NewPCG(1, 1))
	base := b.trial("baseline", 10*time.Millisecond, 3, 0.03, rng)
	half := b.trial("half", 5*time.Millisecond, 3, 0.03, rng)
	same := b.trial("same", 10*time.Millisecond, 3, 0.03, rng)
	p := b.protocol()
	p.Idle = 10 * time.Second
	c, err := Compare(context.Background(), base, []Trial{half, same}, p)
	if err != nil {
		t.Fatal(err)
	}
	h, s := c.Variants[0], c.Variants[1]
	if h.EnergyRatio == nil || h.EnergyRatio.Basis != BasisCounter || h.EnergyRatio.N < 10 {
		t.Fatalf("energy ratio of half: %+v", h.EnergyRatio)
	}
	// 10 pairs of blocks of at least 9 calls with 3 % noise: the standard error of the ratio is below 0.005.
	if math.Abs(h.EnergyRatio.Value-0.5) > 0.02 || h.EnergyRatio.AtMost(0.6) != Pass {
		t.Errorf("ratio of half is %v in %v", h.EnergyRatio.Value, h.EnergyRatio.CI95)
	}
	if s.NoRegression != Pass || math.Abs(s.LatencyRatio.Value-1) > 0.02 {
		t.Errorf("same: %v, latency ratio %v", s.NoRegression, s.LatencyRatio)
	}
	// 20 W for 10 ms an inference, 15 W of them above idle; 1 % covers the noise of hundreds of calls.
	if e := c.Baseline.Energy; math.Abs(float64(e.PerInference)-0.2) > 0.002 || math.Abs(float64(*e.Net)-0.15) > 0.002 || *e.IdleWatts != 5 {
		t.Errorf("baseline energy %+v, net %v", e, *e.Net)
	}
	if l := c.Baseline.Latency; l.N != c.Baseline.Inferences || math.Abs(l.P50-0.010) > 0.0002 || l.P99 < l.P95 || l.P95 < l.P50 {
		t.Errorf("latency %v %v %v of %d", l.P50, l.P95, l.P99, l.N)
	}
	if h.Stopped != "precision" || h.MorePairs != 0 {
		t.Errorf("stopped by %q, %d more pairs", h.Stopped, h.MorePairs)
	}
}

// TestCompareResume kills a comparison after every number of blocks and goes on: no block runs twice, and the order
// of the blocks equals the uninterrupted one.
func TestCompareResume(t *testing.T) {
	type id struct {
		Round, Position int
		Variant         string
		Baseline        bool
	}
	ids := func(bs []Block) (out []id) {
		for _, b := range bs {
			out = append(out, id{b.Round, b.Position, b.Variant, b.Baseline})
		}
		return out
	}
	start := func(stopAfter int, done []Block) ([]Block, Comparison, error) {
		b := &bench{watts: 20}
		rng := rand.New(rand.NewPCG(2, uint64(stopAfter)))
		p := b.protocol()
		p.MinPairs, p.MaxPairs = 4, 4
		var ran []Block
		killed := errors.New("killed")
		p.OnBlock = func(b Block) error {
			ran = append(ran, b)
			if len(ran) == stopAfter {
				return killed
			}
			return nil
		}
		js, err := json.Marshal(done) // as a journal stores them
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(js, &p.Done); err != nil {
			t.Fatal(err)
		}
		c, err := Compare(context.Background(), b.trial("baseline", 10*time.Millisecond, 1, 0, rng),
			[]Trial{b.trial("x", 7*time.Millisecond, 1, 0, rng), b.trial("y", 3*time.Millisecond, 1, 0, rng)}, p)
		if errors.Is(err, killed) {
			err = nil
		}
		return ran, c, err
	}
	whole, _, err := start(0, nil)
	if err != nil || len(whole) != 16 {
		t.Fatalf("%d blocks, %v", len(whole), err)
	}
	for k := 1; k < len(whole); k++ {
		first, _, err := start(k, nil)
		if err != nil {
			t.Fatal(err)
		}
		rest, c, err := start(0, first)
		if err != nil {
			t.Fatal(err)
		}
		if len(first) != k || len(first)+len(rest) != len(whole) {
			t.Errorf("killed after %d: %d + %d blocks, want %d", k, len(first), len(rest), len(whole))
		}
		if !reflect.DeepEqual(ids(c.Blocks), ids(whole)) {
			t.Errorf("killed after %d: another order", k)
		}
		if c.Variants[1].EnergyRatio == nil || math.Abs(c.Variants[1].EnergyRatio.Value-0.3) > 1e-3 { // µJ rounding
			t.Errorf("killed after %d: %+v", k, c.Variants[1].EnergyRatio)
		}
	}
}

func TestCompareModelledIsCPUTime(t *testing.T) {
	b := &bench{watts: 20, kind: Modelled}
	rng := rand.New(rand.NewPCG(3, 3))
	slow := Trial{Name: "waits", Run: func(context.Context, int) error {
		b.work(5 * time.Millisecond)
		b.now += 5 * time.Millisecond // sleeps: wall time without CPU time
		return nil
	}}
	c, err := Compare(context.Background(), b.trial("baseline", 10*time.Millisecond, 1, 0.01, rng), []Trial{slow}, b.protocol())
	if err != nil {
		t.Fatal(err)
	}
	v := c.Variants[0]
	if v.EnergyRatio.Basis != BasisCPUTime || math.Abs(v.EnergyRatio.Value-0.5) > 0.02 || math.Abs(v.LatencyRatio.Value-1) > 0.02 {
		t.Errorf("energy ratio %+v, latency ratio %+v", v.EnergyRatio, v.LatencyRatio)
	}
	if c.Baseline.Energy.Kind != Modelled {
		t.Errorf("kind %q", c.Baseline.Energy.Kind)
	}
}

func TestCompareErrors(t *testing.T) {
	b := &bench{}
	rng := rand.New(rand.NewPCG(4, 4))
	ok := b.trial("baseline", time.Millisecond, 1, 0, rng)
	boom := errors.New("boom")
	bad := Trial{Name: "bad", Run: func(context.Context, int) error { b.work(1); return boom }}
	if _, err := Compare(context.Background(), ok, []Trial{bad}, b.protocol()); !errors.Is(err, boom) {
		t.Errorf("error of the trial: %v", err)
	}
	if _, err := Compare(context.Background(), ok, []Trial{ok}, b.protocol()); err == nil {
		t.Error("two trials of one name were accepted")
	}
	if _, err := Compare(context.Background(), Trial{Name: "x"}, nil, b.protocol()); err == nil {
		t.Error("a trial without a function was accepted")
	}
	p := b.protocol()
	p.Done = []Block{{Variant: "gone", Passes: 1, Inferences: 1, Wall: 1}}
	if _, err := Compare(context.Background(), ok, nil, p); err == nil {
		t.Error("a block of another comparison was accepted")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Compare(ctx, ok, nil, b.protocol()); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestCompareWithoutEnergy: a meter that cannot be read leaves energy absent, and says so; it is never 0.
func TestCompareWithoutEnergy(t *testing.T) {
	b := &bench{fail: ErrPermission}
	rng := rand.New(rand.NewPCG(5, 5))
	c, err := Compare(context.Background(), b.trial("baseline", 10*time.Millisecond, 1, 0.01, rng),
		[]Trial{b.trial("v", 10*time.Millisecond, 1, 0.01, rng)}, b.protocol())
	if err != nil {
		t.Fatal(err)
	}
	if c.Baseline.Energy != nil || c.Variants[0].EnergyRatio != nil || c.Variants[0].LatencyRatio == nil || len(c.Warnings) == 0 {
		t.Errorf("energy %v, ratio %v, warnings %q", c.Baseline.Energy, c.Variants[0].EnergyRatio, c.Warnings)
	}
}

func TestCompareAlone(t *testing.T) {
	b := &bench{watts: 10}
	c, err := Compare(context.Background(), b.trial("only", 10*time.Millisecond, 2, 0, rand.New(rand.NewPCG(6, 6))), nil, b.protocol())
	if err != nil || len(c.Blocks) != 10 || c.Baseline.Inferences == 0 || math.Abs(float64(c.Baseline.Energy.PerInference)-0.1) > 1e-5 {
		t.Errorf("%d blocks, %+v, %v", len(c.Blocks), c.Baseline.Energy, err)
	}
}

func TestOrder(t *testing.T) {
	seen := [2]int{}
	for round := range 200 {
		qs := order(3, round, 4)
		if !reflect.DeepEqual(qs, order(3, round, 4)) {
			t.Fatal("order depends on more than its arguments")
		}
		variants := map[int]bool{}
		for _, q := range qs {
			variants[q.variant] = true
			n := 0
			for pos := range 4 {
				if q.baselineAt(pos) {
					n++
				}
			}
			if n != 2 || q.baselineAt(0) == q.baselineAt(1) || q.baselineAt(0) != q.baselineAt(3) {
				t.Fatalf("round %d: not ABBA: %+v", round, q)
			}
			if q.flip {
				seen[1]++
			} else {
				seen[0]++
			}
		}
		if len(variants) != 4 {
			t.Fatalf("round %d: variants %v", round, variants)
		}
	}
	if seen[0] < 330 || seen[0] > 470 { // 800 fair coins: 400 ± 5 standard deviations of 14
		t.Errorf("ABBA %d times, BAAB %d times", seen[0], seen[1])
	}
}
