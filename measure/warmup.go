package measure

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// steadyWindow is the number of calls that the warm-up rule compares.
const steadyWindow = 5

// steady is the stated warm-up rule: the median of the last five call times lies within 2 % of the median of the five before
// them.
func steady(calls []time.Duration) bool {
	n := len(calls)
	if n < 2*steadyWindow {
		return false
	}
	m := func(x []time.Duration) float64 {
		return float64(slices.Sorted(slices.Values(x))[steadyWindow/2])
	}
	a, b := m(calls[n-2*steadyWindow:n-steadyWindow]), m(calls[n-steadyWindow:])
	return b >= 0.98*a && b <= 1.02*a
}

// warmup runs an arm until it is steady and sets how many passes make a block.
func (r *runner) warmup(ctx context.Context, a *arm) error {
	if a.warm {
		return nil
	}
	r.progress(a.Name, "warmup", 0)
	start := r.p.Clock.Now()
	var calls []time.Duration
	items := max(1, a.Items)
	for len(calls) == 0 || (!steady(calls) && r.p.Clock.Now()-start < r.p.Warmup) {
		for i := range items {
			t := r.p.Clock.Now()
			if err := a.call(ctx, i); err != nil {
				return err
			}
			calls = append(calls, r.p.Clock.Now()-t)
			if i >= 2*steadyWindow && r.p.Clock.Now()-start >= r.p.Warmup {
				break
			}
		}
	}
	if a.unsteady = 0; !steady(calls) {
		a.unsteady = r.p.Clock.Now() - start
	}
	var sum time.Duration
	for _, c := range calls[len(calls)/2:] {
		sum += c
	}
	a.perPass = sum / time.Duration(len(calls)-len(calls)/2) * time.Duration(items)
	if a.passes == 0 {
		a.passes = passes(r.p.Block, a.perPass)
	}
	a.warm = true
	return nil
}

// passes is how many passes of the given time fill a block: at least one, at most a million.
func passes(block, perPass time.Duration) int {
	if perPass <= 0 {
		return 1
	}
	return int(min(max((block+perPass-1)/perPass, 1), 1_000_000))
}

// call does one work item and names the variant in its error.
func (a *arm) call(ctx context.Context, i int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.Run(ctx, i); err != nil {
		return fmt.Errorf("measure: variant %q, item %d: %w", a.Name, i, err)
	}
	return nil
}
