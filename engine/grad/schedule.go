package grad

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
)

// Schedule says by what the base learning rate is multiplied at a step.
type Schedule interface {
	// Factor returns the multiplier of step (from 1) of total.
	Factor(step, total int) float32
	// String describes the schedule with its settings, for records.
	String() string
}

// Constant is the schedule that keeps the base rate.
type Constant struct{}

var _ Schedule = Constant{}

// Factor returns 1.
func (Constant) Factor(int, int) float32 { return 1 }

// String names the schedule; checkpoints are told apart by it.
func (Constant) String() string { return "constant" }

// Cosine rises linearly over the first Warmup fraction of the steps and then falls to Floor along half a cosine:
// Floor + (1-Floor) (1 + cos(pi x))/2 with x from 0 to 1 (Loshchilov and Hutter, "SGDR", ICLR 2017).
type Cosine struct{ Warmup, Floor float32 }

var _ Schedule = Cosine{}

// Factor returns the multiplier.
func (s Cosine) Factor(step, total int) float32 {
	warm := int(s.Warmup * float32(total))
	if step <= warm {
		return float32(step) / float32(warm)
	}
	x := [1]float32{math.Pi}
	if total > warm {
		x[0] = math.Pi * float32(min(step, total)-warm) / float32(total-warm)
	}
	kernel.Cos(x[:], x[:])
	return s.Floor + float32((1-s.Floor)*float32(0.5*(1+x[0])))
}

// String names the schedule with its settings; checkpoints are told apart by it.
func (s Cosine) String() string { return fmt.Sprintf("cosine(warmup=%g,floor=%g)", s.Warmup, s.Floor) }
