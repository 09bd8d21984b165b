package measure

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
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

// TestRealAA compares the same work with itself 20 times on this machine, by its time and by its energy: at most 4 differences of
// each. It takes about five minutes of an otherwise idle machine and runs with WATTSHED_CALIBRATE only. The meter is the best that there is:
// without a counter it is the model, whose ratio is one of CPU times.
func TestRealAA(t *testing.T) {
	if os.Getenv("WATTSHED_CALIBRATE") == "" {
		t.Skip("takes minutes of an otherwise idle machine: set WATTSHED_CALIBRATE (make calibrate-real)")
	}
	const runs, most = 20, 4 // 20 draws at 5 %: more than 4 has a probability of 0.3 %
	m, err := Open(os.DirFS("/"), "auto", OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := m.(io.Closer); ok {
		defer c.Close()
	}
	wrong := map[string]int{}
	var table strings.Builder
	fmt.Fprintf(&table, "the same work as both arms, %d runs on this machine\n%s\n\n%4s  %-10s %7s  %-18s %5s  %-13s %5s  %-9s\n", runs, m.(Describer).Describe(),
		"run", "figure", "ratio", "95 %", "pairs", "interval by", "lag-1", "")
	row := func(i int, what string, r *Ratio) {
		if r == nil {
			t.Fatalf("run %d has no ratio of %s", i, what)
		}
		said := "same"
		if r.Different() {
			said = "DIFFERENT"
			wrong[what]++
		}
		if r.N < r.Needed {
			t.Errorf("run %d, %s: decided on %d pairs of %d", i, what, r.N, r.Needed)
		}
		fmt.Fprintf(&table, "%4d  %-10s %7.4f  [%.4f, %.4f]   %5d  %-13s %5.2f  %-9s\n", i+1, what, r.Value, r.CI95.Lo, r.CI95.Hi, r.N, r.Method, r.Lag1, said)
	}
	basis := BasisCounter
	for i := range runs {
		c, err := Compare(context.Background(), spin("a", 20_000), []Trial{spin("b", 20_000)}, Protocol{
			Meter: m, HostCPU: HostCPUTime, Seed: uint64(i), Block: 100 * time.Millisecond, MinPairs: 10, MaxPairs: 60})
		if err != nil {
			t.Fatal(err)
		}
		v := c.Variants[0]
		row(i, "latency", v.LatencyRatio)
		row(i, "energy", v.EnergyRatio)
		basis = v.EnergyRatio.Basis
		for _, w := range c.Warnings {
			if strings.HasPrefix(w, "other processes") {
				fmt.Fprintf(&table, "      note: %s\n", w)
			}
		}
	}
	fmt.Fprintf(&table, "\ndifferences: latency %d of %d, energy %d of %d (basis %s); at most %d each\n", wrong["latency"], runs, wrong["energy"], runs, basis, most)
	t.Log("\n" + table.String())
	for what, n := range wrong {
		if n > most {
			t.Errorf("%s: %d of %d comparisons of the same work found a difference", what, n, runs)
		}
	}
}
