package recipe

import (
	"context"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/prune"
	"github.com/wattshed/wattshed/quantize"
)

// Stage is one step of a variant.
type Stage interface {
	// Name is the recipe's word.
	Name() string
	// Options are the settings with every default explicit.
	Options() map[string]any
	// Apply returns the changed graph and a note per weight. The graph given may be changed in place.
	// When little or nothing could be done, the notes come with the error.
	Apply(ctx context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error)

	check() error
}

// Env is what stages need besides the graph.
type Env struct {
	Feeds       engine.Feeds                                  // calibration inputs
	Calibrating Calibrating                                   // makes the calibration inputs that a stage asks for
	State       map[string]string                             // output by input that it is fed back to
	Calibrated  map[string]*quantize.Calibration              // ranges of earlier stages by their settings, for stages that differ in what they leave; nil: none are kept
	Training    *Training                                     // nil when the task has no training data
	Teacher     func(context.Context) (engine.Session, error) // the baseline on the native runtime
	Dir         string                                        // that relative paths of settings start from
	Mask        model.Mask                                    // what earlier stages pruned; recovery training keeps it
	Runtime     string                                        // target runtime and provider
	Provider    string
	Seed        uint64
	Threads     int
	Checkpoints string                              // folder for the state of interrupted stages
	Progress    func(stage string, done, total int) // may be nil
	Epoch       func(epoch int) error               // called after each epoch of training, once its state is safe; may be nil
}

// Prune is the prune stage of a recipe.
type Prune struct {
	Criterion string   `yaml:"criterion"`
	Sparsity  float64  `yaml:"sparsity"`
	Pattern   string   `yaml:"pattern"`
	Ops       []string `yaml:"ops"`
}

// Name returns "prune".
func (*Prune) Name() string { return "prune" }

func (p *Prune) check() error {
	setDefault(&p.Criterion, "magnitude")
	setDefault(&p.Pattern, "unstructured")
	if p.Ops == nil {
		p.Ops = prune.DefaultOps
	}
	if _, ok := prune.Criteria[p.Criterion]; !ok {
		return faultf("prune.criterion", "%q: want magnitude", p.Criterion)
	}
	pattern, err := prune.ParsePattern(p.Pattern)
	if err != nil {
		return faultf("prune.pattern", "%s", strings.TrimPrefix(err.Error(), "prune: "))
	}
	if nm, ok := pattern.(prune.NM); ok {
		want := 1 - float64(nm.N)/float64(nm.M)
		if p.Sparsity != 0 && p.Sparsity != want {
			return faultf("prune.sparsity", "%v: pattern %s has %v", p.Sparsity, p.Pattern, want)
		}
		p.Sparsity = want
	}
	if p.Sparsity == 0 {
		return faultf("prune.sparsity", "missing: want a fraction above 0 and below 1")
	}
	if !(p.Sparsity > 0 && p.Sparsity < 1) {
		return faultf("prune.sparsity", "%v: want a fraction above 0 and below 1", p.Sparsity)
	}
	return nil
}

// Options returns criterion, sparsity, pattern and ops.
func (p *Prune) Options() map[string]any {
	return map[string]any{"criterion": p.Criterion, "sparsity": p.Sparsity, "pattern": p.Pattern, "ops": p.Ops}
}

// Apply prunes g and leaves the mask in env for the stages after it.
func (p *Prune) Apply(_ context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error) {
	pattern, err := prune.ParsePattern(p.Pattern)
	if err != nil {
		return nil, nil, err
	}
	mask, notes, err := prune.Select(g, prune.Options{Criterion: prune.Criteria[p.Criterion], Pattern: pattern, Sparsity: p.Sparsity, Ops: p.Ops})
	if err != nil {
		return nil, notes, err
	}
	if err := prune.Apply(g, mask); err != nil {
		return nil, notes, err
	}
	env.Mask = mask
	return g, notes, nil
}

// bf16OnCPU is why a graph that computes in bfloat16 is refused for ONNX Runtime on CPUs.
const bf16OnCPU = "a bf16 graph on ort/cpu: ONNX Runtime's CPU provider has no bf16 kernels (NOT_IMPLEMENTED); use storage: weights, or an accelerator"

// Quantize is the quantize stage of a recipe.
type Quantize struct {
	Scheme      string   `yaml:"scheme"`
	Storage     string   `yaml:"storage"`
	Mode        string   `yaml:"mode"`
	Granularity string   `yaml:"granularity"`
	Ops         []string `yaml:"ops"`
	Exclude     []string `yaml:"exclude"` // what is left as it is: nodes, operators, values or weights, with * and ?

	// Of int8 and uint8, dynamic and static.
	ReduceRange string `yaml:"reduce_range"` // auto, on or off
	TargetCPU   string `yaml:"target_cpu"`   // that the file is for: host, x86-vnni, x86-avx2 or arm64

	// Of mode static; of fp16 graphs calibration and samples.
	Method         string  `yaml:"method"`          // of choosing ranges
	Percentile     float64 `yaml:"percentile"`      // of the method percentile
	Calibration    string  `yaml:"calibration"`     // data, random, a file of texts, (static) data-free, (fp16 graphs) auto or none
	Samples        int     `yaml:"samples"`         // calibration runs, at most
	Cache          string  `yaml:"cache"`           // file of ranges: read where it is there, else written
	Format         string  `yaml:"format"`          // qdq or qoperator
	Target         string  `yaml:"target"`          // whose placement rules hold
	Activations    string  `yaml:"activations"`     // type of quantized activations
	Smooth         float64 `yaml:"smooth"`          // SmoothQuant's alpha; 0 = off
	Equalize       bool    `yaml:"equalize"`        // cross-layer equalization
	BiasCorrection bool    `yaml:"bias_correction"` // of the mean error of the weights
	Rounding       string  `yaml:"rounding"`        // nearest or adaptive

	// Of int4 and uint4, and of int8 and uint8 with mode weight-only; format, calibration and samples too.
	Algorithm string `yaml:"algorithm"` // rtn, gptq, awq or hqq
	Group     int    `yaml:"group"`     // inputs that share a scale; -1 = all
	Symmetric bool   `yaml:"symmetric"` // no zero points
}

// Name returns "quantize".
func (*Quantize) Name() string { return "quantize" }

func (q *Quantize) half() bool { return q.Scheme == "fp16" || q.Scheme == "bf16" }

func (q *Quantize) check() error {
	if q.Scheme == "" || !slices.Contains(Schemes, q.Scheme) && shortcuts[q.Scheme][0] == "" {
		return faultf("quantize.scheme", "%q: want one of %s", q.Scheme, strings.Join(SchemeWords(), ", "))
	}
	q.expand()
	if why := q.unsupported(); why != "" {
		return faultf("quantize.mode", "%q: %s", q.Mode, why)
	}
	switch {
	case q.weightOnly():
		return q.checkWeightOnly()
	case q.stored():
		return q.checkStored()
	}
	if err := q.noGroups(); err != nil {
		return err
	}
	switch {
	case q.half():
		return q.checkHalf()
	case q.static():
		return q.checkStatic()
	}
	return q.checkDynamic()
}

// Options returns scheme and the settings that the scheme has.
func (q *Quantize) Options() map[string]any {
	o := map[string]any{"scheme": q.Scheme, "mode": q.Mode, "granularity": q.Granularity, "ops": q.Ops}
	switch {
	case q.half():
		o = q.halfOptions()
	case q.static():
		o = q.staticOptions()
	case q.weightOnly():
		o = q.weightOptions()
	case !q.stored():
		o["reduce_range"], o["target_cpu"] = q.ReduceRange, q.TargetCPU
	}
	if q.Exclude != nil {
		o["exclude"] = q.Exclude
	}
	return o
}

// Apply quantizes g in place.
func (q *Quantize) Apply(ctx context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error) {
	switch {
	case q.half():
		return q.applyHalf(ctx, g, env)
	case q.static():
		return q.applyStatic(ctx, g, env)
	case q.weightOnly():
		return q.applyWeightOnly(ctx, g, env)
	case q.stored():
		notes, err := q.storedWeights().Apply(g)
		return g, notes, err
	}
	notes, err := q.dynamic().Apply(g)
	return g, notes, err
}
