package measure

import (
	"context"
	"math"
	"os"
	"testing"
	"time"
)

// spin is work that a compiler cannot drop.
func spin(name string, n int) Trial {
	sink := 0.0
	return Trial{Name: name, Items: 4, PerItem: 2, Run: func(context.Context, int) error {
		x := 1.0
		for range n {
			x = math.Sqrt(x + 1)
		}
		sink += x
		return nil
	}}
}

// TestCompareOnThisMachine runs the whole protocol with the real clock, CPU time and the model. It looks at the shape of the
// answer, not at times: other work may run beside it.
func TestCompareOnThisMachine(t *testing.T) {
	m, err := Open(os.DirFS("/"), "model", OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	c, err := Compare(context.Background(), spin("baseline", 20_000), []Trial{spin("half", 10_000)}, Protocol{
		Meter: m, Block: 5 * time.Millisecond, MinPairs: 4, MaxPairs: 4, Idle: 5 * time.Millisecond, Warmup: 20 * time.Millisecond,
		HostCPU: HostCPUTime, OnBlock: func(Block) error { blocks++; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if blocks != 8 || len(c.Blocks) != 8 || c.Idle.Before == nil || c.Idle.After == nil {
		t.Errorf("%d blocks, idle %+v", blocks, c.Idle)
	}
	for _, b := range c.Blocks {
		if len(b.Samples) != 4*b.Passes || b.Inferences != 8*b.Passes || b.Wall <= 0 {
			t.Errorf("block %+v", b)
		}
	}
	v := c.Variants[0]
	if v.EnergyRatio == nil || v.EnergyRatio.Basis != BasisCPUTime || c.Baseline.Energy == nil || c.Baseline.Energy.Kind != Modelled || v.LatencyRatio.N != 4 {
		t.Errorf("%+v", v)
	}
	if v.NoRegression != Inconclusive { // 4 pairs decide nothing, however clear they look
		t.Errorf("verdict %q on 4 pairs", v.NoRegression)
	}
}

// TestRealAA compares the same work with itself 20 times on this machine: at most 4 differences. It takes two minutes and
// runs with WATTSHED_CALIBRATE only.
func TestRealAA(t *testing.T) {
	if os.Getenv("WATTSHED_CALIBRATE") == "" {
		t.Skip("takes minutes of an otherwise idle machine: set WATTSHED_CALIBRATE (make calibrate-real)")
	}
	wrong := 0
	for i := range 20 {
		c, err := Compare(context.Background(), spin("a", 20_000), []Trial{spin("b", 20_000)}, Protocol{
			Seed: uint64(i), Block: 50 * time.Millisecond, MinPairs: 10, MaxPairs: 40})
		if err != nil {
			t.Fatal(err)
		}
		r := c.Variants[0].LatencyRatio
		if r.Different() {
			wrong++
		}
		t.Logf("run %2d: ratio %.4f [%.4f, %.4f], %d pairs, %s", i, r.Value, r.CI95.Lo, r.CI95.Hi, r.N, r.Method)
	}
	if wrong > 4 { // 20 draws at 5 %: more than 4 has a probability of 0.3 %
		t.Errorf("%d of 20 comparisons of the same work found a difference", wrong)
	}
}
