package engine

import "time"

// ran adds a step to the profile, that of the slice where there is one.
func (e *eval) ran(s *step, took time.Duration, n note) {
	if e.slice != nil {
		e.slice.steps = append(e.slice.steps, stepTime{s, took, n})
		return
	}
	s.stats.calls.Add(1)
	s.stats.nanos.Add(int64(took))
	s.stats.note.Store(&n)
}

// sliceProfile is the profile of a run on a slice of a batch, kept until all slices have run: those of a batch that runs in one piece after all
// do not count.
type sliceProfile struct {
	entries, of int // of the slice and of the batch
	took        time.Duration
	steps       []stepTime
}

// stepTime is one run of one step.
type stepTime struct {
	step *step
	took time.Duration
	seen note
}

// addProfiles adds slices that took so long all together to the profile of their plan: their steps share that time. The slices may have run side by
// side on all threads, on some of them, or one by one, where another run had the threads: the sum of what each took tells.
func addProfiles(slices []sliceProfile, all time.Duration) {
	sum := time.Duration(0)
	for i := range slices {
		sum += slices[i].took
	}
	share := 1.0
	if all < sum {
		share = float64(all) / float64(sum)
	}
	for i := range slices {
		p := &slices[i]
		for _, t := range p.steps {
			t.step.stats.nanos.Add(int64(float64(t.took) * share))
			t.seen.macs = t.seen.macs * int64(p.of) / int64(p.entries) // of the batch; every slice reads the same weights
			t.step.stats.note.Store(&t.seen)
		}
	}
}

// addCalls counts a run of the steps.
func (p *sliceProfile) addCalls() {
	for _, t := range p.steps {
		t.step.stats.calls.Add(1)
	}
}
