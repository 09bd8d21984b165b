package recipe

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// weightOnlyMode is the mode of quantized weights with activations left in float; int4, uint4 and fp8 have no other.
const weightOnlyMode = "weight-only"

// weightOnly reports whether the stage quantizes weights alone, in groups.
func (q *Quantize) weightOnly() bool {
	return q.Mode == weightOnlyMode && !q.stored() && !q.half()
}

// checkWeightOnly fills in the defaults of weight-only quantization and refuses values that make no sense.
func (q *Quantize) checkWeightOnly() error {
	unsigned := q.Scheme == "uint4" || q.Scheme == "uint8"
	setDefault(&q.Algorithm, string(quantize.RTN))
	if unsigned {
		setDefault(&q.Format, string(quantize.QDQ)) // whose codes are of that type
	}
	setDefault(&q.Format, string(quantize.NBits))
	if unsigned && q.Symmetric {
		return faultf("quantize.symmetric", "%s has zero points; int4 and int8 go without", q.Scheme)
	}
	if !slices.Contains(quantize.Algorithms, quantize.Algorithm(q.Algorithm)) {
		return faultf("quantize.algorithm", "%q: want one of %v", q.Algorithm, quantize.Algorithms)
	}
	if q.Group == 0 {
		q.Group = 32
	}
	if q.Ops == nil {
		q.Ops = quantize.WeightOnlyOps
	}
	o := q.weights()
	if o.NeedsFeeds() {
		setDefault(&q.Calibration, calibrateData)
		if q.Samples == 0 {
			q.Samples = 128
		}
	}
	for key, set := range map[string]bool{"storage": q.Storage != "", "granularity": q.Granularity != "",
		"calibration": q.Calibration != "" && !o.NeedsFeeds(), "samples": q.Samples != 0 && !o.NeedsFeeds()} {
		if set {
			return faultf("quantize."+key, "%s with algorithm %s has none", q.Scheme, q.Algorithm)
		}
	}
	if q.Samples < 0 || q.Samples > 1<<20 {
		return faultf("quantize.samples", "%d: want 1 to %d", q.Samples, 1<<20)
	}
	if err := o.Check(); err != nil {
		return faultf("quantize", "%s", strings.TrimPrefix(err.Error(), "quantize: "))
	}
	rest := *q
	rest.Calibration, rest.Samples, rest.Format = "", 0, ""
	return rest.noStatic()
}

// noGroups refuses the keys of weight-only quantization where the scheme is another.
func (q *Quantize) noGroups() error {
	for key, set := range map[string]bool{"algorithm": q.Algorithm != "", "group": q.Group != 0, "symmetric": q.Symmetric} {
		if set {
			return faultf("quantize."+key, "only mode %s of int4, uint4, int8 and uint8 has it", weightOnlyMode)
		}
	}
	return nil
}

// weights are the settings of package quantize.
func (q *Quantize) weights() quantize.WeightOnly {
	o := quantize.WeightOnly{Bits: 4, Group: q.Group, Symmetric: q.Symmetric, Algorithm: quantize.Algorithm(q.Algorithm), Format: quantize.Format(q.Format), Ops: q.Ops, Exclude: q.Exclude}
	if q.dtype().Bits() == 8 {
		o.Bits = 8
	}
	return o
}

// weightOptions are the settings with every default explicit.
func (q *Quantize) weightOptions() map[string]any {
	o := map[string]any{"scheme": q.Scheme, "mode": q.Mode, "algorithm": q.Algorithm, "group": q.Group, "symmetric": q.Symmetric, "format": q.Format, "ops": q.Ops}
	if q.weights().NeedsFeeds() {
		o["calibration"], o["samples"] = q.Calibration, q.Samples
	}
	return o
}

// applyWeightOnly quantizes g in place.
func (q *Quantize) applyWeightOnly(ctx context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error) {
	o := q.weights()
	o.Threads, o.Checkpoints = env.Threads, env.Checkpoints
	if o.NeedsFeeds() {
		if env.Calibrating == nil {
			return nil, nil, fmt.Errorf("quantize: algorithm %s: %w", q.Algorithm, quantize.ErrNoFeeds)
		}
		var err error
		if o.Feeds, _, err = env.Calibrating(q.Calibration, q.Samples); err != nil {
			return nil, nil, fmt.Errorf("quantize: calibration %q: %w", q.Calibration, err)
		}
	}
	notes, err := o.Apply(ctx, g)
	return g, notes, err
}
