package recipe

import (
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// TestPastCap: blocks went past the cap where rounds began after it was reached, not where the round in which it was reached was finished.
func TestPastCap(t *testing.T) {
	blocks := make([]measure.Block, 24) // three rounds of two variants
	for i := range blocks {
		blocks[i].Wall = time.Second
	}
	for _, c := range []struct {
		limit time.Duration
		want  time.Duration
	}{{0, 0}, {10 * time.Second, 24 * time.Second}, {16 * time.Second, 0}, {20 * time.Second, 0}, {time.Minute, 0}} {
		if got := pastCap(blocks, c.limit, 2); got != c.want {
			t.Errorf("limit %v: %v, want %v", c.limit, got, c.want)
		}
	}
}
