package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/prune"
	"github.com/wattshed/wattshed/quantize"
)

// made is a variant on disk, as the journal keeps it.
type made struct {
	Name    string       `json:"name"`
	Path    string       `json:"path"` // relative to the output folder; the model's own path for a baseline in place
	Bytes   int64        `json:"bytes"`
	SHA256  string       `json:"sha256"`
	Notes   []stageNotes `json:"notes,omitempty"`
	Remarks []string     `json:"remarks,omitempty"`
	Cost    *spending    `json:"cost,omitempty"` // nil where the file was not made here
}

type stageNotes struct {
	Stage string       `json:"stage"`
	Notes []model.Note `json:"notes"`
}

// makeAll writes the baseline, where it is built in, and every variant that the journal lacks.
func (r *run) makeAll(ctx context.Context) error {
	base := &made{Name: "baseline", Bytes: r.src.bytes, SHA256: r.src.sha256, Path: r.src.path}
	if base.Path == "" {
		base.Path = variantsName + "/baseline.onnx"
		if err := os.MkdirAll(filepath.Join(r.out, variantsName), 0o755); err != nil {
			return fmt.Errorf("recipe: %w", err)
		}
		if err := writeFile(filepath.Join(r.out, filepath.FromSlash(base.Path)), r.src.raw); err != nil {
			return err
		}
	}
	r.made = []*made{base}
	for i, v := range r.recipe.Variants {
		r.progress("making "+v.Name, i, len(r.recipe.Variants))
		m, ok := lookup[*made](r.journal, kindVariant, v.Name)
		if !ok || !r.intact(m) {
			var err error
			if m, err = r.makeVariant(ctx, v); err != nil {
				return err
			}
			if err := r.journal.put(kindVariant, v.Name, m); err != nil {
				return err
			}
		}
		r.made = append(r.made, m)
	}
	return nil
}

// intact reports whether the file of a variant is as the journal says.
func (r *run) intact(m *made) bool {
	if m == nil {
		return false
	}
	n, sum, err := modelDigest(r.path(m))
	return err == nil && n == m.Bytes && sum == m.SHA256
}

func (r *run) path(m *made) string {
	if filepath.IsAbs(m.Path) || r.src.path != "" && m.Path == r.src.path {
		return m.Path
	}
	return filepath.Join(r.out, filepath.FromSlash(m.Path))
}

// makeVariant applies the stages of v to a clone of the baseline and writes the file.
func (r *run) makeVariant(ctx context.Context, v VariantSpec) (*made, error) {
	meter := startSpending(r.opt.Meter)
	defer meter.stop()
	g := r.src.graph.Clone()
	m := &made{Name: v.Name, Path: variantsName + "/" + v.Name + ".onnx"}
	env := r.env()
	env.Progress = func(stage string, done, total int) { r.progress(v.Name+": "+stage, done, total) }
	var total spending
	for i, spec := range v.Stages {
		st, err := spec.stage()
		if err != nil {
			return nil, err
		}
		if i > 0 {
			env.Calibrated = nil // ranges are shared between variants of the model as it came
		}
		key := stagesKey(v.Stages[:i+1])
		env.Checkpoints = filepath.Join(r.out, checkpointsName, key)
		env.Epoch = func(e int) error { return r.journal.put(kindEpoch, epochKey(key, e), meter.lap()) }
		if g, err = r.applyStage(ctx, v, st, g, env, m); err != nil {
			return nil, fmt.Errorf("variant %q: %w", v.Name, err)
		}
		if d, ok := st.(*Distill); ok {
			for e := range d.Epochs { // those of an interrupted run, or of a variant that begins alike, were spent too
				if s, ok := lookup[spending](r.journal, kindEpoch, epochKey(key, e+1)); ok {
					total = total.plus(s)
				}
			}
		}
	}
	if err := r.whole(); err != nil {
		return nil, err
	}
	if err := r.write(m, g); err != nil {
		return nil, err
	}
	total = total.plus(meter.lap())
	m.Cost = &total
	return m, nil
}

// env is what the stages of a variant are given.
func (r *run) env() *Env {
	return &Env{Feeds: feedsOf(r.bound.timing), Calibrating: r.recipe.calibrating(r.src, r.opt.Builtin), State: r.bound.state, Dir: r.recipe.Dir,
		Training: r.training, Teacher: r.loadTeacher, Runtime: r.recipe.Target.Runtime,
		Provider: r.recipe.Target.Provider, Seed: seedOf(r.recipe.Measure.Seed), Threads: r.threads, Calibrated: r.calibrated}
}

// stagesKey names a list of stages by what they do: variants that begin with the same stages share their training.
func stagesKey(stages []StageSpec) string {
	var b []byte
	for _, spec := range stages {
		if st, err := spec.stage(); err == nil {
			o, _ := json.Marshal(st.Options())
			b = fmt.Appendf(b, "%s %s\n", st.Name(), o)
		}
	}
	return textDigest(string(b))[:16]
}

func epochKey(stages string, epoch int) string { return fmt.Sprintf("%s/%d", stages, epoch) }

// applyStage applies one stage to g and records its notes in m.
func (r *run) applyStage(ctx context.Context, v VariantSpec, st Stage, g *model.Graph, env *Env, m *made) (*model.Graph, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	remark, err := raise(g, st)
	if err != nil {
		return nil, err
	}
	m.Remarks = append(m.Remarks, said(remark, excludeRemark(st, r.src.graph, g))...)
	next, notes, err := st.Apply(ctx, g, env)
	if len(notes) > 0 {
		m.Notes = append(m.Notes, stageNotes{st.Name(), notes})
	}
	nothing := errors.Is(err, quantize.ErrNothing) || errors.Is(err, prune.ErrNothing)
	if changed, _ := model.Touched(notes); err == nil && changed == 0 {
		nothing, err = true, fmt.Errorf("stage %s touched nothing", st.Name())
	}
	switch {
	case nothing && v.AllowNoop:
		return g, ctx.Err()
	case nothing:
		return nil, fmt.Errorf("%w (allow_noop: true beside the name of the variant lets it stand)", err)
	case err != nil:
		return nil, err
	}
	return next, ctx.Err()
}

// write saves the graph and records size and digest of the file.
func (r *run) write(m *made, g *model.Graph) error {
	path := filepath.Join(r.out, filepath.FromSlash(m.Path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	if err := save(path, g); err != nil {
		return fmt.Errorf("variant %q: %w", m.Name, err)
	}
	var err error
	m.Bytes, m.SHA256, err = modelDigest(path)
	return err
}

// save writes the graph. A quantized one says in its metadata what was written, so that verify finds what changes later.
func save(path string, g *model.Graph) error {
	p, err := quantize.ReadPlan(g)
	if err == nil && (p != nil || quantize.Stored(g)) {
		err = quantize.Record(g)
	}
	if err != nil {
		return err
	}
	return onnx.Save(path, g, onnx.WriteOptions{})
}

// loadTeacher returns the baseline on the native runtime, for stages that distil from it.
func (r *run) loadTeacher(ctx context.Context) (engine.Session, error) {
	if r.teacher == nil {
		s, err := r.opt.Runtimes["native"].Load(ctx, engine.Artifact{Graph: r.src.graph}, engine.Options{Threads: r.threads, Packs: &r.packs})
		if err != nil {
			return nil, fmt.Errorf("teacher: %w", err)
		}
		r.teacher = s
	}
	return r.teacher, nil
}

// raise lifts the opset of g as far as the stage needs, and says so.
func raise(g *model.Graph, st Stage) (string, error) {
	q, ok := st.(*Quantize)
	if !ok {
		return "", nil
	}
	need := int64(0)
	switch q.Scheme {
	case "bf16":
		need = 13
	case "int8", "uint8":
		if need = 11; q.static() {
			need = 13
		} else if q.weightOnly() {
			need = 0 // raised there
		}
	}
	have := g.Opset("")
	if have >= need {
		return "", nil
	}
	if err := onnx.UpConvert(g, need); err != nil {
		return "", err
	}
	return fmt.Sprintf("opset raised from %d to %d: %s needs it", have, need, q.Scheme), nil
}
