package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/wattshed/wattshed/engine/kernel"
)

// TestProfileOfBusySlices: slices of a batch that run one after another, since the threads are busy, take the time that they take, not that divided by
// the threads that they might have had. Of the time of such a run its steps take far more than the eighth that would be left.
func TestProfileOfBusySlices(t *testing.T) {
	e := newEncoder(7)
	p, err := Compile(e.result(e.layer(e.layer("x"))), Options{Profile: true})
	if err != nil {
		t.Fatal(err)
	}
	p.batch.least = sliceLimits{1, 1}
	in := map[string]any{"x": normalTensor(e.r, 32, 60, 16)}
	pool := kernel.NewPool(8, 0)
	defer pool.Close()
	var took time.Duration
	pool.Run(2, func(i int) { // which has the threads meanwhile
		if i == 0 {
			start := time.Now()
			if _, err := p.Exec(t.Context(), pool, in); err != nil {
				t.Error(err)
			}
			took = time.Since(start)
		}
	})
	if p.side.Load() != 8 {
		t.Error("the batch was not cut")
	}
	var sum time.Duration
	for _, o := range (&session{plan: p}).Profile() {
		sum += o.Time
	}
	if sum <= 0 || sum > took { // side by side or one after the other, they are parts of the run
		t.Errorf("steps of %v in a run of %v", sum, took)
	}
}

// TestProfileShares: the steps of slices share the time of all of them in proportion to their own.
func TestProfileShares(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ all, a, b time.Duration }{{20 * ms, 6 * ms, 12 * ms}, {10 * ms, 3 * ms, 6 * ms}, {30 * ms, 6 * ms, 12 * ms}} {
		a, b := new(step), new(step)
		of := func(entries int, macs int64) sliceProfile {
			return sliceProfile{entries: entries, of: 6, took: 10 * ms, steps: []stepTime{{a, 3 * ms, note{"k", macs, 100}}, {b, 6 * ms, note{}}}}
		}
		slices := []sliceProfile{of(2, 20), of(4, 40)}
		addProfiles(slices, c.all)
		slices[0].addCalls()
		if x, y := time.Duration(a.stats.nanos.Load()), time.Duration(b.stats.nanos.Load()); x != c.a || y != c.b {
			t.Errorf("two slices of 10 ms in %v: %v and %v, want %v and %v", c.all, x, y, c.a, c.b)
		}
		if n := *a.stats.note.Load(); n != (note{"k", 60, 100}) || a.stats.calls.Load() != 1 {
			t.Errorf("%+v, %d calls", n, a.stats.calls.Load())
		}
	}
}

// TestProfileWithoutSlices: a batch that runs in one piece after slices found no memory is one call of every step.
func TestProfileWithoutSlices(t *testing.T) {
	e := newEncoder(5, "B", "S")
	p, err := Compile(e.result(e.layer("x")), Options{Memory: 128 << 10, Profile: true})
	if err != nil {
		t.Fatal(err)
	}
	p.batch.least = sliceLimits{1, 1}
	in := map[string]any{"x": normalTensor(e.r, 8, 30, 16), "m": normalTensor(e.r, 8, 30)} // the outputs take 15 kB, of 14 for them
	k := p.cut(in, 8)
	pool := kernel.NewPool(8, 0)
	defer pool.Close()
	if _, err := p.runSliced(t.Context(), pool, in, k, nil); !errors.Is(err, errWhole) {
		t.Fatalf("%v, want %v", err, errWhole)
	}
	if _, err := p.Exec(t.Context(), pool, in); err != nil {
		t.Fatal(err)
	}
	for _, o := range (&session{plan: p}).Profile() {
		if o.Calls != o.Count {
			t.Errorf("%s: %d calls of %d nodes in one run", o.Op, o.Calls, o.Count)
		}
	}
}
