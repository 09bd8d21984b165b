package quantize

import (
	"context"

	"github.com/wattshed/wattshed/engine"
)

// improve runs the helpers that change the float model before calibration.
func (p *staticPlan) improve(ctx context.Context, feeds engine.Feeds) error { return nil }

func (p *staticPlan) adaptRounding(ctx context.Context, feeds engine.Feeds) error { return nil }

func (p *staticPlan) correctBiases(ctx context.Context, feeds engine.Feeds) error { return nil }
