package engine

import (
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestResizeOddSize: a scale of 1 may change a size that float32 does not hold (1<<24 + 1 becomes 1<<24), and the forms in integers, which take
// such axes for whole, leave that to the one in float64.
func TestResizeOddSize(t *testing.T) {
	x := model.FromSlice([]int{3, 1, 1, 1}, make([]uint8, 3))
	r := &resample{mode: "linear", coord: "half_pixel"}
	if done, err := r.integers(nil, x, []float64{1, 1, 1, 2}, []int{2, 1, 1, 2}, nil); done || err != nil {
		t.Fatalf("%t, %v", done, err)
	}
	if n := resized(1<<24+1, 1); n != 1<<24 {
		t.Fatalf("size %d", n)
	}
}
