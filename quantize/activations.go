package quantize

import (
	"context"

	"github.com/wattshed/wattshed/model"
)

// activations are what the inputs of products look like.
type activations struct{}

func (p *weightOnlyPlan) observe(ctx context.Context, g *model.Graph) (*activations, error) {
	return nil, nil
}

// solve quantizes the values of w for one form with the algorithm of the plan.
func (p *weightOnlyPlan) solve(w *weightPlan, s *stored, x []float32, seen *activations) (*blocks, error) {
	return s.quantize(x, s.form == columns)
}
