package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/quantize/verify"
)

// sensedSchemes are the grids that weights can be put on one by one where no stage stores them.
var sensedSchemes = map[string]quantize.Scheme{
	"int8":  {DType: model.Int8, Symmetric: true, Granularity: quantize.PerChannel},
	"uint8": {DType: model.Uint8, Granularity: quantize.PerChannel},
	"int4":  {DType: model.Uint4, Granularity: quantize.PerGroup, Group: 32},
	"uint4": {DType: model.Uint4, Granularity: quantize.PerGroup, Group: 32},
	"fp8":   {DType: model.Float8E4M3FN, Symmetric: true, Granularity: quantize.PerChannel},
	"int16": {DType: model.Int16, Symmetric: true, Granularity: quantize.PerChannel},
	"fp16":  {DType: model.Float16},
	"bf16":  {DType: model.BFloat16},
}

// sensedNames are the schemes in words.
const sensedNames = "int8, int8-static, uint8, uint8-static, int16, int4, uint4, fp8, fp16 or bf16"

// Sensitive are the settings of Sensitivity.
type Sensitive struct {
	Scheme      string // a word of sensedNames; the static ones have the weights of the others
	Granularity string // "" means that of the scheme
	Group       int    // of per-group, 0 means 32
	Symmetric   bool   // of int4: no zero points
	Samples     int    // runs that outputs are compared over
}

func (s Sensitive) scheme() (quantize.Scheme, error) {
	sc, ok := sensedSchemes[strings.TrimSuffix(s.Scheme, "-static")]
	if !ok || strings.HasSuffix(s.Scheme, "-static") && !strings.HasSuffix(s.Scheme, "int8-static") {
		return sc, faultf("scheme", "%q: want %s", s.Scheme, sensedNames)
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
	if s.Symmetric {
		if s.Scheme != "int4" {
			return sc, faultf("symmetric", "%s: only int4 has it", s.Scheme)
		}
		sc.DType, sc.Symmetric = model.Int4, true
	}
	return sc, nil
}

// stage returns the quantize stage that puts an operator into the scheme, activations included. Types that no runtime multiplies
// by have none: an error then.
func (s Sensitive) stage() (*Quantize, error) {
	q := &Quantize{Scheme: s.Scheme, Granularity: s.Granularity}
	switch {
	case strings.HasSuffix(s.Scheme, "int4"):
		q.Group, q.Symmetric, q.Granularity = s.Group, s.Symmetric, ""
		switch quantize.Granularity(s.Granularity) {
		case quantize.PerTensor:
			return nil, fmt.Errorf("groups of 4 bits are per-group or per-channel")
		case quantize.PerChannel:
			q.Group = quantize.WholeChannel
		}
	case strings.HasSuffix(s.Scheme, "-static"), s.Scheme == "int16":
		q.Samples = s.Samples
	}
	return q, q.check()
}

// OpSensitivity says what happens when the operators that read the same weights alone are put into a scheme as a quantize stage does
// it, with their activations.
type OpSensitivity struct {
	Name     string           `json:"name"` // of the first node
	Ops      []string         `json:"ops"`
	Weights  []string         `json:"weights"`
	Elements int              `json:"elements"`
	Output   *float64         `json:"output_sqnr_db,omitempty"` // of all float outputs over the feeds; nil where the scheme leaves the operator
	KL       *float64         `json:"kl,omitempty"`             // see quantize.Sensitivity
	Score    *quantize.Change `json:"score,omitempty"`
	Share    float64          `json:"time_share"`
}

// Sensed is what Sensitivity found.
type Sensed struct {
	About   string                 `json:"inputs"` // what the inputs were
	Weights []quantize.Sensitivity `json:"weights"`
	Ops     []OpSensitivity        `json:"ops"`
	Left    []string               `json:"left,omitempty"`    // weights that the scheme leaves in float: they are not in the list
	NoOps   string                 `json:"no_ops,omitempty"`  // why there are no operators, and no weight is stored
	NoFile  string                 `json:"no_file,omitempty"` // why quantize writes none of the whole model: weights are those of files of one operator each
}

// Sensitivity quantizes each weight of the recipe's model alone, and each operator alone with its activations, and says what that does
// to the outputs and, where the recipe has a task with labels, to the accuracy. Both lists begin with the most harmful.
func Sensitivity(ctx context.Context, rec *Recipe, s Sensitive, o Options) (out *Sensed, err error) {
	scheme, err := s.scheme()
	if err != nil {
		return nil, err
	}
	setDefault(&s.Samples, 16)
	r := newRun(rec, o)
	defer r.close()
	err = r.guarded(func() (err error) {
		if out, err = r.sensitivity(ctx, s, scheme); err == nil {
			err = r.whole()
		}
		return err
	})
	return out, err
}

func (r *run) sensitivity(ctx context.Context, s Sensitive, scheme quantize.Scheme) (_ *Sensed, err error) {
	r.calibrated = map[string]*quantize.Calibration{}
	if err := r.recipe.prepare(); err != nil {
		return nil, err
	}
	if err := r.openModel(ctx); err != nil {
		return nil, err
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
	feeds := task.Feeds(r.bound.inputs, 1)
	sense.Feeds = firstFeeds(feeds, min(s.Samples, feeds.N))
	sense.Progress = func(done, total int) { r.progress("quantizing one weight at a time", done, total) }
	if c, ok := r.bound.task.(*task.Classification); ok {
		sense.Score = func(ctx context.Context, session engine.Session) ([]float64, error) {
			return c.Score(ctx, session, nil)
		}
	}
	out := &Sensed{About: fmt.Sprintf("%d runs of %s", sense.Feeds.N, r.bound.describe), Ops: []OpSensitivity{}}
	q, noStage := s.stage()
	if noStage == nil {
		graphOf, nothing, err := r.storedBy(ctx, q, sense)
		if err != nil {
			return nil, err
		}
		if nothing != nil {
			out.NoFile = nothing.Error()
		}
		sense.Stored = func(w *model.Weight) ([]float32, float64) {
			g := graphOf(w.Name)
			if g == nil || w.Name != w.Value { // one of several of the name
				return nil, 0
			}
			one, _ := verify.Stored(g, r.src.graph, w.Value)
			return one.Values, one.SQNR
		}
	}
	if out.Weights, err = sense.Sensitivities(ctx, r.src.graph); err != nil {
		return nil, err
	}
	sense.Stored = nil // and the graphs with it
	if noStage != nil {
		out.NoOps = fmt.Sprintf("no stage puts operators into %s: %v", s.Scheme, noStage)
		return out, nil
	}
	if out.Ops, err = r.opSensitivities(ctx, q, sense); err != nil {
		return nil, err
	}
	if q.Mode != "dynamic" { // 8-bit weights of the operators that only the static form has keep their place
		out.leave()
	}
	return out, nil
}

// leave takes the weights of operators that the stage left as they are out of the list.
func (s *Sensed) leave() {
	for _, o := range s.Ops {
		if o.Output == nil {
			s.Left = append(s.Left, o.Weights...)
		}
	}
	s.Weights = slices.DeleteFunc(s.Weights, func(w quantize.Sensitivity) bool { return slices.Contains(s.Left, w.Weight) })
}

// storedBy returns the graph in which the stage stores the weight of a name, nil where there is none: that of the whole model, or where
// too little of it changes for a stage, that of each group of operators alone; nothing is then why.
func (r *run) storedBy(ctx context.Context, q *Quantize, sense quantize.Sensing) (graphOf func(weight string) *model.Graph, nothing, err error) {
	graph, env := r.src.graph.Clone(), r.env()
	if _, err := raise(graph, q); err != nil {
		return nil, nil, err
	}
	next, _, nothing := q.Apply(ctx, graph, env)
	if nothing == nil {
		return func(string) *model.Graph { return next }, nil, nil
	}
	if !errors.Is(nothing, quantize.ErrNothing) {
		return nil, nil, nothing
	}
	units, err := unitsOf(r.src.graph, nil, sense.Feeds, math.MaxInt)
	if err != nil {
		return nil, nil, err
	}
	stored := map[string]*model.Graph{}
	for u := range units {
		graph, err := r.graphOf(ctx, SearchSpec{Schemes: []Quantize{*q}}, units, u, 0)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range units[u].Weights {
			stored[name] = graph
		}
	}
	return func(weight string) *model.Graph { return stored[weight] }, nothing, nil
}

// opSensitivities applies the stage to one group of operators after another.
func (r *run) opSensitivities(ctx context.Context, q *Quantize, sense quantize.Sensing) ([]OpSensitivity, error) {
	base, err := sense.Load(ctx, r.src.graph)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	want, err := r.outputs(ctx, base, sense.Feeds)
	if err != nil {
		return nil, err
	}
	units, err := unitsOf(r.src.graph, base.Profile(), sense.Feeds, math.MaxInt)
	if err != nil {
		return nil, err
	}
	var score []float64
	if sense.Score != nil {
		if score, err = sense.Score(ctx, base); err != nil {
			return nil, err
		}
	}
	list := []OpSensitivity{}
	for u := range units {
		r.progress("quantizing one operator at a time", u, len(units))
		one := OpSensitivity{Name: nodeOf(r.src.graph, units[u].Weights[0]), Ops: units[u].Ops, Weights: units[u].Weights, Elements: units[u].Elements, Share: units[u].Share}
		if err := r.sense(ctx, q, units, u, sense, want, score, &one); err != nil {
			return nil, fmt.Errorf("operator %q: %w", one.Name, err)
		}
		list = append(list, one)
	}
	harm := func(s OpSensitivity) float64 {
		if s.Output == nil {
			return math.Inf(1)
		}
		return *s.Output
	}
	sort.SliceStable(list, func(i, j int) bool { return harm(list[i]) < harm(list[j]) })
	return list, nil
}

// sense fills in what the stage does when it is applied to unit u alone.
func (r *run) sense(ctx context.Context, q *Quantize, units []unit, u int, sense quantize.Sensing, want []engine.Feed, score []float64, one *OpSensitivity) error {
	session, err := r.alone(ctx, SearchSpec{Schemes: []Quantize{*q}}, units, u, 0)
	if session == nil || err != nil {
		return err
	}
	defer session.Close()
	got, err := r.outputs(ctx, session, sense.Feeds)
	if err != nil {
		return err
	}
	db, kl, err := quantize.OutputNoise(r.src.graph, want, got)
	if err != nil {
		return err
	}
	one.Output, one.KL = &db, &kl
	if sense.Score == nil {
		return nil
	}
	scored, _ := withState(session, r.bound.state)
	own, err := sense.Score(ctx, scored)
	if err != nil {
		return err
	}
	one.Score, err = quantize.ScoreChange(score, own)
	return err
}

// nodeOf names the first node that reads a weight, by its own name where it has one.
func nodeOf(g *model.Graph, weight string) string {
	for _, w := range g.Weights() {
		if w.Name == weight && len(w.Uses) > 0 && w.Uses[0].Node.Name != "" {
			return w.Uses[0].Node.Name
		}
	}
	return weight
}
