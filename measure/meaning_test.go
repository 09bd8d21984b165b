package measure

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// mixed compares "fast", which is finished after 10 pairs, and "noisy", which asks for 30, with the baseline; while is called after each block.
func mixed(t *testing.T, b *bench, m Meter, done []Block, while func(Block) error) (Comparison, error) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	p := b.protocol()
	p.Meter, p.MinPairs, p.MaxPairs, p.OnBlock, p.Done = m, 10, 40, while, done
	return Compare(context.Background(), b.trial("base", time.Millisecond, 1, 0.001, rng),
		[]Trial{b.trial("fast", time.Millisecond/2, 1, 0.001, rng), b.trial("noisy", time.Millisecond, 1, 0.05, rng)}, p)
}

// alike fails where the joules of the arms mean different things.
func alike(t *testing.T, c Comparison, kind Kind, basis Basis) {
	t.Helper()
	for _, s := range append([]Summary{c.Baseline}, c.Variants...) {
		switch e := s.Energy; {
		case e == nil:
			t.Errorf("%s has no energy", s.Name)
		case e.Kind != kind || (e.CountedBy == "") != (c.Baseline.Energy.CountedBy == ""):
			t.Errorf("%s: %s, counted by %q; the baseline by %q", s.Name, e.Kind, e.CountedBy, c.Baseline.Energy.CountedBy)
		}
		if q := s.EnergyRatio; s.Name != "base" && (q == nil || q.Basis != basis) {
			t.Errorf("%s: ratio %+v, want one of %s", s.Name, q, basis)
		}
	}
}

// TestOneMeaning: another process holds the machine's lock until one variant is finished. The joules of all variants are of one meaning.
func TestOneMeaning(t *testing.T) {
	for _, kind := range []Kind{Measured, Modelled} {
		dir := t.TempDir()
		lock, err := LockHost(dir)
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{watts: 20}
		var meter Meter = b
		if kind == Modelled {
			pm := PowerModel{Threads: 1}
			pm.linear(10, 30)
			meter = NewModel(pm, ModelOptions{Now: b.Now, CPUTime: b.CPUTime})
		}
		m, err := ShareHost(meter, dir)
		if err != nil {
			t.Fatal(err)
		}
		after := 0 // pairs of fast once the lock was free
		c, err := mixed(t, b, m, nil, func(x Block) error {
			if x.Round == 8 && lock != nil {
				lock, err = nil, lock.Release()
			} else if x.Round > 8 && x.Variant == "fast" {
				after++
			}
			m.tried = time.Time{}
			return err
		})
		if err != nil || lock != nil {
			t.Fatal(err)
		}
		said := strings.Join(c.Warnings, "\n")
		switch kind {
		case Measured: // it goes on until it has joules
			alike(t, c, Measured, BasisCounter)
			if after == 0 || !strings.Contains(said, "of all variants, are those of the blocks after it") {
				t.Errorf("%d blocks of fast, %s", after, said)
			}
		case Modelled: // the time in which all have blocks is that of the other's lock
			alike(t, c, Modelled, BasisCPUTime)
			if after != 0 || !strings.Contains(said, "the joules per inference of all variants are those of the blocks while it counted") {
				t.Errorf("%d blocks of fast, %s", after, said)
			}
			if e := c.Baseline.Energy; e != nil && math.Abs(float64(e.PerInference)-0.02) > 2e-4 { // 30 W less 10 W idle, 1 ms
				t.Errorf("%v J per inference, want 0.02 without idle power", e.PerInference)
			}
		}
		if e, f := c.Baseline.Energy, c.Variants[0].Energy; e != nil && f != nil && math.Abs(float64(f.PerInference/e.PerInference)-0.5) > 0.01 {
			t.Errorf("%s: half the time takes %v of %v J", kind, f.PerInference, e.PerInference)
		}
		own := 0
		for _, x := range c.Blocks {
			if c.Counts(x) {
				own++
			}
		}
		if own == 0 || own == len(c.Blocks) {
			t.Errorf("%s: %d of %d blocks count", kind, own, len(c.Blocks))
		}
		m.Close()
	}
}

// TestOneMeaningOfMeters: a run that goes on with a counter after blocks of a model keeps to what all variants have.
func TestOneMeaningOfMeters(t *testing.T) {
	stop := errors.New("stop")
	var done []Block
	b := &bench{watts: 20, kind: Modelled}
	_, err := mixed(t, b, b, nil, func(x Block) error {
		if done = append(done, x); x.Round == 8 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	b.kind = ""
	c, err := mixed(t, b, b, done, nil)
	if err != nil {
		t.Fatal(err)
	}
	alike(t, c, Modelled, BasisCPUTime)
	if n := c.Variants[1].EnergyRatio.N; n < 20 {
		t.Errorf("the CPU times of %d pairs are compared, all of them have one", n)
	}
	// The other way about: what the model adds is not set beside the counter's.
	done, b.kind = nil, ""
	if _, err = mixed(t, b, b, nil, func(x Block) error {
		if done = append(done, x); x.Round == 8 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	b.kind = Modelled
	if c, err = mixed(t, b, b, done, nil); err != nil {
		t.Fatal(err)
	}
	alike(t, c, Measured, BasisCounter)
	if n := c.Variants[1].EnergyRatio.N; n > 20 {
		t.Errorf("%d pairs of a counter that was there for 9 rounds", n)
	}
}
