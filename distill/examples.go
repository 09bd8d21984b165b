package distill

import (
	"fmt"
	"iter"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Examples returns one Feed per text: InputIDs int64 [1, n] from encode, cut to maxLength (0 = not cut), and "labels" int64 [1]. Trailing
// zeros, which are padding, are left out; a text without tokens becomes one token of id unknown, since some runtimes refuse empty
// sequences. Nothing is filled up: the Trainer does that by batch.
func Examples(texts []string, labels []int64, encode func(text string) ([]int64, error), maxLength int, unknown int64) (engine.Feeds, error) {
	if len(texts) != len(labels) {
		return engine.Feeds{}, fmt.Errorf("distill: %d texts with %d labels", len(texts), len(labels))
	}
	feeds := make([]engine.Feed, len(texts))
	for i, text := range texts {
		ids, err := encode(text)
		if err != nil {
			return engine.Feeds{}, fmt.Errorf("distill: text %d: %w", i, err)
		}
		if maxLength > 0 && len(ids) > maxLength {
			ids = ids[:maxLength]
		}
		for len(ids) > 0 && ids[len(ids)-1] == 0 {
			ids = ids[:len(ids)-1]
		}
		if len(ids) == 0 {
			ids = []int64{unknown}
		}
		feeds[i] = engine.Feed{
			InputIDs:      model.FromSlice([]int{1, len(ids)}, append([]int64(nil), ids...)),
			defaultLabels: model.FromSlice([]int{1}, []int64{labels[i]}),
		}
	}
	return engine.Feeds{N: len(feeds), All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for _, f := range feeds {
				if !yield(f, nil) {
					return
				}
			}
		}
	}}, nil
}
