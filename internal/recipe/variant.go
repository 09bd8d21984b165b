package recipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// made is a variant on disk, as the journal keeps it.
type made struct {
	Name    string       `json:"name"`
	Path    string       `json:"path"` // relative to the output folder; the model's own path for a baseline in place
	Bytes   int64        `json:"bytes"`
	SHA256  string       `json:"sha256"`
	Notes   []stageNotes `json:"notes,omitempty"`
	Seconds float64      `json:"seconds"`
	CPU     float64      `json:"cpu_seconds"`
	Joules  *float64     `json:"joules,omitempty"`
	Kind    measure.Kind `json:"kind,omitempty"`
	Remarks []string     `json:"remarks,omitempty"`
}

type stageNotes struct {
	Stage string       `json:"stage"`
	Notes []model.Note `json:"notes"`
}

const variantsName = "variants"

// makeVariant applies the stages of v to a clone of the baseline and writes the file.
func (r *run) makeVariant(ctx context.Context, v VariantSpec) (*made, error) {
	start, before := time.Now(), r.meterReading()
	cpu0, _ := measure.ProcessCPU()
	g := r.src.graph.Clone()
	m := &made{Name: v.Name}
	env := &Env{Feeds: r.calibration(), Training: r.training, Teacher: r.teacher, Runtime: r.recipe.Target.Runtime, Provider: r.recipe.Target.Provider,
		Seed: r.recipe.Measure.Seed, Threads: r.threads}
	for i, spec := range v.Stages {
		st, err := spec.stage()
		if err != nil {
			return nil, err
		}
		if err := canceled(ctx, "variant "+v.Name); err != nil {
			return nil, err
		}
		env.Checkpoints = r.checkpointPath(v.Name, i)
		env.Progress = func(stage string, done, total int) { r.progress(v.Name+": "+stage, done, total) }
		if remark, err := raise(g, st); err != nil {
			return nil, fmt.Errorf("variant %q: %w", v.Name, err)
		} else if remark != "" {
			m.Remarks = append(m.Remarks, remark)
		}
		next, notes, err := st.Apply(ctx, g, env)
		if notes != nil {
			m.Notes = append(m.Notes, stageNotes{st.Name(), notes})
		}
		if err != nil && !(v.AllowNoop && errors.Is(err, quantize.ErrNothing)) {
			return m, fmt.Errorf("variant %q: %w", v.Name, err)
		}
		if changed, _ := model.Touched(notes); changed == 0 && notes != nil && !v.AllowNoop {
			return m, fmt.Errorf("variant %q: stage %s touched nothing (allow_noop: true lets it stand)", v.Name, st.Name())
		}
		if next != nil {
			g = next
		}
	}
	m.Path = filepath.ToSlash(filepath.Join(variantsName, v.Name+".onnx"))
	if err := r.write(m, g); err != nil {
		return nil, err
	}
	m.Seconds = time.Since(start).Seconds()
	if cpu1, err := measure.ProcessCPU(); err == nil {
		m.CPU = (cpu1 - cpu0).Seconds()
	}
	m.Joules, m.Kind = r.spent(before)
	return m, nil
}

// write saves the graph and records size and digest of the file.
func (r *run) write(m *made, g *model.Graph) error {
	path := filepath.Join(r.out, filepath.FromSlash(m.Path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		return fmt.Errorf("variant %q: %w", m.Name, err)
	}
	var err error
	m.Bytes, m.SHA256, err = fileDigest(path)
	return err
}

// raise lifts the opset of g as far as the stage needs, and says so.
func raise(g *model.Graph, st Stage) (string, error) {
	q, ok := st.(*Quantize)
	if !ok {
		return "", nil
	}
	need := int64(0)
	switch {
	case q.Scheme == "bf16":
		need = 13
	case q.Scheme == "int8":
		need = 11
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
