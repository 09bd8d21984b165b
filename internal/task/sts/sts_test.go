package sts

import (
	"math"
	"slices"
	"testing"
)

// TestSpearman has the textbook example of ten pairs with a rank correlation of -29/165, and one of ties.
func TestSpearman(t *testing.T) {
	iq := []float64{106, 100, 86, 101, 99, 103, 97, 113, 112, 110}
	tv := []float64{7, 27, 2, 50, 28, 29, 20, 12, 6, 17}
	if r := Spearman(iq, tv); math.Abs(r+29.0/165) > 1e-12 {
		t.Errorf("got %v, want %v", r, -29.0/165)
	}
	if r := Ranks([]float64{3, 1, 3, 2}); !slices.Equal(r, []float64{3.5, 1, 3.5, 2}) {
		t.Errorf("ties: %v", r)
	}
	ci := Difference(iq, tv, iq)
	if d := 1 + 29.0/165; ci.Lo > d || ci.Hi < d {
		t.Errorf("interval %v to %v lacks the difference %v", ci.Lo, ci.Hi, d)
	}
}
