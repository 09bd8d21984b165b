package recipe

import (
	"context"
	"fmt"
	"iter"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
)

// scores are the outcomes of a variant, one per example.
type scores struct {
	Outcomes []float64 `json:"outcomes"`
	Unfused  unfused   `json:"unfused,omitempty"` // runs that fell back since the line before
}

// scoreAll scores every variant on the same examples; finished ones come from the journal.
func (r *run) scoreAll(ctx context.Context) error {
	if r.bound.task == nil {
		return nil
	}
	rel, relative := r.bound.task.(task.Relative)
	for i, m := range r.made {
		if relative && i == 0 {
			continue // the baseline agrees with itself
		}
		if s, ok := lookup[scores](r.journal, kindScore, m.Name); ok && len(s.Outcomes) == r.bound.task.Len() {
			continue
		}
		if relative && !r.referenced {
			s, _ := withState(r.sessions[0], r.bound.state)
			if err := rel.SetBaseline(ctx, s, func(done int) { r.progress("scoring baseline", done, rel.Len()) }); err != nil {
				return fmt.Errorf("baseline: %w", err)
			}
			r.referenced = true
		}
		s, _ := withState(r.sessions[i], r.bound.state)
		out, err := r.bound.task.Score(ctx, s, func(done int) { r.progress("scoring "+m.Name, done, r.bound.task.Len()) })
		if err == nil {
			err = r.whole(r.sessions[0], r.sessions[i])
		}
		if err != nil {
			return fmt.Errorf("variant %q: %w", m.Name, err)
		}
		if err := r.journal.put(kindScore, m.Name, scores{out, r.sinceLast()}); err != nil {
			return err
		}
	}
	return nil
}

// feedsOf makes Feeds of a list.
func feedsOf(list []engine.Feed) engine.Feeds {
	return engine.Feeds{N: len(list), All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for _, f := range list {
				if !yield(f, nil) {
					return
				}
			}
		}
	}}
}

// firstFeeds are the first n of feeds.
func firstFeeds(feeds engine.Feeds, n int) engine.Feeds {
	return engine.Feeds{N: n, All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			left := n
			for f, err := range feeds.All() {
				if left == 0 || !yield(f, err) {
					return
				}
				left--
			}
		}
	}}
}
