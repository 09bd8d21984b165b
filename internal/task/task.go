// Package task scores models: it turns examples into the inputs of a model and the model's outputs into
// one outcome per example, from which everything statistical is computed.
package task

import (
	"context"
	"fmt"
	"iter"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Task scores a loaded model on a fixed list of examples.
type Task interface {
	// Kind is the recipe's word: "classification" or "fidelity".
	Kind() string
	// Metric names the mean of the outcomes: "accuracy", "cosine".
	Metric() string
	// Len is the number of examples.
	Len() int
	// Score returns one outcome per example, in order. progress, which may be nil, is called with the
	// number of examples done.
	Score(ctx context.Context, s engine.Session, progress func(done int)) ([]float64, error)
}

// Inputs makes the feeds of a model from examples.
type Inputs interface {
	// Len is the number of examples.
	Len() int
	// Feed returns the inputs of one run over the examples from to to-1 and, for every example, which
	// positions are real (nil when there is no padding): 1 for a token, 0 for padding, [to-from, length].
	Feed(from, to int) (engine.Feed, *model.Tensor, error)
	// Describe tells in words what the examples are, such as "500 texts of brown.txt".
	Describe() string
}

// Feeds returns the inputs as calibration or benchmark feeds of batch examples each; a last, smaller
// batch is left out unless it is the only one.
func Feeds(in Inputs, batch int) engine.Feeds {
	batch = max(batch, 1)
	n := in.Len() / batch
	if n == 0 && in.Len() > 0 {
		n = 1
	}
	return engine.Feeds{N: n, All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for i := range n {
				f, _, err := in.Feed(i*batch, min((i+1)*batch, in.Len()))
				if !yield(f, err) || err != nil {
					return
				}
			}
		}
	}}
}

// each runs s over the inputs in batches and calls use with the outputs of each.
func each(ctx context.Context, in Inputs, batch int, s engine.Session, outputs []string,
	progress func(int), use func(from, to int, out engine.Feed, mask *model.Tensor) error) error {
	if batch < 1 {
		batch = 1
	}
	for from := 0; from < in.Len(); from += batch {
		to := min(from+batch, in.Len())
		feed, mask, err := in.Feed(from, to)
		if err != nil {
			return fmt.Errorf("task: example %d: %w", from, err)
		}
		out, err := s.Run(ctx, feed, outputs...)
		if err != nil {
			return fmt.Errorf("task: example %d: %w", from, err)
		}
		if err := use(from, to, out, mask); err != nil {
			return fmt.Errorf("task: example %d: %w", from, err)
		}
		if progress != nil {
			progress(to)
		}
	}
	return nil
}
