package recipe

import (
	"context"
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// sensedSchemes are the grids that weights can be put on one by one.
var sensedSchemes = map[string]quantize.Scheme{
	"int8":  {DType: model.Int8, Symmetric: true, Granularity: quantize.PerChannel},
	"uint8": {DType: model.Uint8, Granularity: quantize.PerChannel},
	"int4":  {DType: model.Int4, Symmetric: true, Granularity: quantize.PerGroup, Group: 32},
	"uint4": {DType: model.Uint4, Granularity: quantize.PerGroup, Group: 32},
	"fp8":   {DType: model.Float8E4M3FN, Symmetric: true, Granularity: quantize.PerChannel},
	"bf16":  {DType: model.BFloat16},
}

// Sensitive are the settings of Sensitivity.
type Sensitive struct {
	Scheme      string // int8, uint8, int4, uint4, fp8 or bf16
	Granularity string // "" means that of the scheme
	Group       int    // of per-group, 0 means 32
	Samples     int    // runs that outputs are compared over
}

func (s Sensitive) scheme() (quantize.Scheme, error) {
	sc, ok := sensedSchemes[s.Scheme]
	if !ok {
		return sc, faultf("scheme", "%q: want int8, uint8, int4, uint4, fp8 or bf16", s.Scheme)
	}
	if s.Granularity != "" {
		sc.Granularity = quantize.Granularity(s.Granularity)
	}
	switch sc.Granularity {
	case quantize.PerTensor, quantize.PerChannel, quantize.PerGroup, "":
	default:
		return sc, faultf("granularity", "%q: want per-tensor, per-channel or per-group", s.Granularity)
	}
	if s.Group < 0 {
		return sc, faultf("group", "%d: want at least 1", s.Group)
	}
	if s.Group > 0 {
		sc.Group = s.Group
	}
	setDefault(&sc.Group, 32)
	return sc, nil
}

// Sensitivity quantizes each weight of the recipe's model alone and says what that does to the outputs and, where
// the recipe has a task with labels, to the accuracy. about says what the inputs were.
func Sensitivity(ctx context.Context, rec *Recipe, s Sensitive, o Options) (list []quantize.Sensitivity, about string, err error) {
	scheme, err := s.scheme()
	if err != nil {
		return nil, "", err
	}
	r := newRun(rec, o)
	defer r.close()
	if err := r.recipe.prepare(); err != nil {
		return nil, "", err
	}
	if err := r.openModel(ctx); err != nil {
		return nil, "", err
	}
	sense := quantize.Sensing{Scheme: scheme, Load: func(ctx context.Context, g *model.Graph) (engine.Session, error) {
		opt := r.options()
		opt.Profile = true
		session, err := r.runtime.Load(ctx, engine.Artifact{Graph: g}, opt)
		if err != nil {
			return nil, err
		}
		session, _ = withState(session, r.bound.state)
		return session, nil
	}}
	setDefault(&s.Samples, 16)
	feeds := task.Feeds(r.bound.inputs, 1)
	sense.Feeds = firstFeeds(feeds, min(s.Samples, feeds.N))
	sense.Progress = func(done, total int) { r.progress("quantizing one weight at a time", done, total) }
	if c, ok := r.bound.task.(*task.Classification); ok {
		sense.Score = func(ctx context.Context, session engine.Session) (float64, error) {
			out, err := c.Score(ctx, session, nil)
			if err != nil || len(out) == 0 {
				return 0, err
			}
			sum := 0.0
			for _, v := range out {
				sum += v
			}
			return sum / float64(len(out)), nil
		}
	}
	about = fmt.Sprintf("%d runs of %s", sense.Feeds.N, r.bound.describe)
	list, err = sense.Sensitivities(ctx, r.src.graph)
	return list, about, err
}
