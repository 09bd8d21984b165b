package recipe

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
)

// measureAll runs baseline and variants in interleaved blocks; finished blocks come from the journal.
func (r *run) measureAll(ctx context.Context) (measure.Comparison, error) {
	m := r.recipe.Measure
	p := measure.Protocol{Meter: r.opt.Meter, Seed: m.Seed, MinPairs: m.Pairs, Precision: m.Precision,
		Block:   time.Duration(m.BlockSeconds * float64(time.Second)),
		Idle:    time.Duration(m.IdleSeconds * float64(time.Second)),
		MaxTime: time.Duration(m.MaxSeconds * float64(len(r.made)-1) * float64(time.Second)),
		OnBlock: func(b measure.Block) error { return r.journal.put(kindBlock, "", b) },
		OnIdle:  func(i measure.Idle) error { return r.journal.put(kindIdle, "", i) },
		OnProgress: func(p measure.Progress) {
			r.progress("measuring "+p.Variant, p.Pairs, m.Pairs)
		},
	}
	if m.MaxPairs > 0 {
		p.MaxPairs = m.MaxPairs
	}
	var idle measure.Idle
	if r.journal.get(kindIdle, "", &idle) {
		p.DoneIdle = &idle
	}
	for _, raw := range r.journal.blocks {
		var b measure.Block
		if err := json.Unmarshal(raw, &b); err != nil {
			return measure.Comparison{}, fmt.Errorf("recipe: journal: block: %w", err)
		}
		p.Done = append(p.Done, b)
	}
	trials := make([]measure.Trial, len(r.made))
	for i, made := range r.made {
		trials[i] = r.trial(made.Name, r.sessions[i])
	}
	cmp, err := measure.Compare(ctx, trials[0], trials[1:], p)
	if err != nil {
		return cmp, fmt.Errorf("measuring: %w", err)
	}
	return cmp, nil
}

// trial runs the timing inputs on s; state outputs go back into the next run, from zero at every pass.
func (r *run) trial(name string, s engine.Session) measure.Trial {
	state := r.recipe.Inputs.State
	var carried engine.Feed
	return measure.Trial{Name: name, Items: len(r.bound.timing), PerItem: r.recipe.Target.Batch,
		Run: func(ctx context.Context, i int) error {
			in := r.bound.timing[i]
			if len(state) > 0 && i > 0 && carried != nil {
				next := engine.Feed{}
				for k, v := range in {
					next[k] = v
				}
				for input, output := range state {
					next[input] = carried[output]
				}
				in = next
			}
			out, err := s.Run(ctx, in)
			carried = out
			return err
		}}
}

// meterReading returns the meter's present state, nil without one.
func (r *run) meterReading() *measure.Reading {
	if r.opt.Meter == nil {
		return nil
	}
	got, err := r.opt.Meter.Read()
	if err != nil {
		return nil
	}
	return &got
}

// spent returns the headline joules since before, and their kind; nil where no complete figure exists.
func (r *run) spent(before *measure.Reading) (*float64, measure.Kind) {
	after := r.meterReading()
	if before == nil || after == nil {
		return nil, ""
	}
	w, err := measure.Between(*before, *after)
	if err != nil || w.Kind() == measure.Mixed {
		return nil, ""
	}
	sum, ok := w.Headline(w.Kind())
	if !ok {
		return nil, ""
	}
	j := float64(sum.Joules())
	return &j, w.Kind()
}
