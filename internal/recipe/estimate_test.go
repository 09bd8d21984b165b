package recipe

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/wattshed/wattshed/engine"
)

// TestEstimateBlocks: the least is that of the least number of pairs; the most that of rounds which begin before max_seconds are over and are finished, in
// blocks that hold a pass more than they need, with twice the time between them. The figures are worked out by hand.
func TestEstimateBlocks(t *testing.T) {
	for name, c := range map[string]struct {
		m          MeasureSpec
		inputs     int
		once, want span
		done       int
	}{
		"quick":        {MeasureSpec{Pairs: 10, MaxSeconds: 12, BlockSeconds: 0.4}, 16, span{0.001, 0.004}, span{140*0.415 + 8*0.4, 238*0.494 + 8*0.464}, 0},
		"slow passes":  {MeasureSpec{Pairs: 10, MaxSeconds: 12, BlockSeconds: 0.4}, 16, span{0.1, 0.1}, span{140*1.615 + 8*1.6, 140*2.03 + 8*2}, 0},
		"most pairs":   {MeasureSpec{Pairs: 10, MaxSeconds: 120, MaxPairs: 20, BlockSeconds: 1}, 1, span{0, 0}, span{140*1.015 + 8, 280*1.03 + 8}, 0},
		"some is done": {MeasureSpec{Pairs: 10, MaxSeconds: 12, BlockSeconds: 0.4}, 16, span{0.001, 0.004}, span{8 * 0.4, 38*0.494 + 8*0.464}, 200},
	} {
		r := &run{recipe: &Recipe{Measure: c.m}, bound: &bound{timing: make([]engine.Feed, c.inputs)}, journal: memoryJournal()}
		r.journal.blocks = append(r.journal.blocks, make([]json.RawMessage, c.done)...)
		if got := r.estimateBlocks(c.once, 7, 2); math.Abs(got.least-c.want.least) > 1e-9 || math.Abs(got.most-c.want.most) > 1e-9 {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
