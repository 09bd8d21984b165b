package recipe

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/wattshed/wattshed/distill"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Distill is the distill stage of a recipe: without a student it trains the variant's own weights
// (recovery training, the mask of an earlier prune stage kept), with one it trains the student.
type Distill struct {
	Teacher      string       `yaml:"teacher"`
	Student      *StudentSpec `yaml:"student"`
	Epochs       int          `yaml:"epochs"`
	Temperature  float64      `yaml:"temperature"`
	Alpha        *float64     `yaml:"alpha"`
	LearningRate float64      `yaml:"learning_rate"`
	Batch        int          `yaml:"batch"`
	Seed         *uint64      `yaml:"seed"`
}

// StudentSpec describes the student: sizes of the LSTM classifier, or a model file.
type StudentSpec struct {
	Embedding int    `yaml:"embedding"`
	Hidden    int    `yaml:"hidden"`
	Pooling   string `yaml:"pooling"`
	File      string `yaml:"file"`
}

// Name returns "distill".
func (*Distill) Name() string { return "distill" }

func (d *Distill) check() error {
	setDefault(&d.Teacher, "baseline")
	setDefault(&d.Epochs, 3)
	setDefault(&d.Temperature, 2)
	setDefault(&d.Batch, 32)
	setDefault(&d.Seed, new(seedOf(nil)))
	if d.Alpha == nil {
		half := 0.5
		d.Alpha = &half
	}
	if d.LearningRate == 0 {
		d.LearningRate = shortest(distill.Recovery().LearningRate)
		if d.Student != nil {
			d.LearningRate = shortest(distill.Student().LearningRate)
		}
	}
	switch {
	case d.Teacher != "baseline" && d.Teacher != "none":
		return faultf("distill.teacher", "%q: want baseline or none", d.Teacher)
	case d.Epochs < 1 || d.Epochs > 10000:
		return faultf("distill.epochs", "%d: out of range", d.Epochs)
	case !(d.Temperature > 0 && d.Temperature <= 1000):
		return faultf("distill.temperature", "%v: want more than 0", d.Temperature)
	case !(*d.Alpha >= 0 && *d.Alpha <= 1):
		return faultf("distill.alpha", "%v: want 0 to 1", *d.Alpha)
	case !(d.LearningRate > 0 && d.LearningRate < 10):
		return faultf("distill.learning_rate", "%v: out of range", d.LearningRate)
	case d.Batch < 1 || d.Batch > 1<<16:
		return faultf("distill.batch", "%d: out of range", d.Batch)
	}
	if d.Teacher == "none" {
		*d.Alpha = 0
	}
	if s := d.Student; s != nil {
		if (s.File == "") == (s.Embedding == 0 && s.Hidden == 0) {
			return faultf("distill.student", "want either embedding and hidden, or file")
		}
		if err := FileOnly(s.File); err != nil {
			return err
		}
		if s.File == "" && (s.Embedding < 1 || s.Hidden < 1 || s.Embedding > 1<<14 || s.Hidden > 1<<14) {
			return faultf("distill.student", "embedding %d, hidden %d: out of range", s.Embedding, s.Hidden)
		}
	}
	return nil
}

// shortest is the float64 with the fewest digits that is x as a float32: 0.0005, not 0.0005000000237487257.
func shortest(x float32) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', -1, 32), 64)
	if err != nil {
		return float64(x)
	}
	return v
}

// Options returns all settings.
func (d *Distill) Options() map[string]any {
	o := map[string]any{"teacher": d.Teacher, "epochs": d.Epochs, "temperature": d.Temperature, "alpha": *d.Alpha,
		"learning_rate": d.LearningRate, "batch": d.Batch, "seed": *d.Seed}
	if s := d.Student; s != nil && s.File != "" {
		o["student"] = map[string]any{"file": s.File}
	} else if s != nil {
		o["student"] = map[string]any{"embedding": s.Embedding, "hidden": s.Hidden, "pooling": s.Pooling}
	}
	return o
}

// Apply trains and returns the trained graph.
func (d *Distill) Apply(ctx context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error) {
	if env.Training == nil {
		return nil, nil, errors.New("distill: there are no training data: give task.train")
	}
	start := g
	if d.Student != nil {
		var err error
		if start, err = d.student(g, env); err != nil {
			return nil, nil, err
		}
	}
	tr, err := d.trainer(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	if d.Student == nil && env.Mask != nil {
		tr.Mask = env.Mask
	}
	failed := env.watch(&tr)
	out, rep, err := train(ctx, tr, start)
	if err = errors.Join(err, failed()); err != nil {
		return nil, nil, err
	}
	if d.Student != nil {
		out.Model.Meta = append([]model.KV(nil), g.Model.Meta...)
		env.Mask = nil
	}
	return out, d.notes(out, rep), nil
}

// train trains g, whose file may be the student's own.
func train(ctx context.Context, tr distill.Trainer, g *model.Graph) (out *model.Graph, rep distill.Report, err error) {
	err = model.Guard(g.Mappings, func() (err error) {
		if out, rep, err = tr.Train(ctx, g); err == nil {
			err = model.Whole(g.Mappings())
		}
		return err
	})
	return out, rep, err
}

// trainer returns the settings of the stage with data, teacher and checkpoints.
func (d *Distill) trainer(ctx context.Context, env *Env) (distill.Trainer, error) {
	tr, t := d.settings(env), env.Training
	if d.Teacher == "baseline" {
		var err error
		if tr.Teacher, err = env.Teacher(ctx); err != nil {
			return tr, err
		}
		tr.Alpha = float32(*d.Alpha)
	}
	tr.Checkpoint = distill.Folder(env.Checkpoints)
	if t.Validation != nil {
		tr.Validate = t.validate(env.Threads)
	}
	return tr, nil
}

// watch passes on how far training is, and each finished epoch to the journal; the function returned tells whether
// that failed.
func (env *Env) watch(tr *distill.Trainer) func() error {
	var failed error
	tr.Progress = func(p distill.Progress) {
		if env.Progress != nil {
			env.Progress("training", p.Step, p.Steps)
		}
		if p.EpochDone != nil && env.Epoch != nil && failed == nil {
			failed = env.Epoch(p.EpochDone.Epoch)
		}
	}
	return func() error { return failed }
}

// settings returns the settings of the stage on the training data, without teacher, validation and checkpoints.
func (d *Distill) settings(env *Env) distill.Trainer {
	t := env.Training
	tr := distill.Recovery()
	if d.Student != nil {
		tr = distill.Student()
	}
	tr.Runtime, tr.Threads, tr.Examples, tr.Epochs, tr.Batch, tr.Seed = t.Native, env.Threads, t.Examples, d.Epochs, d.Batch, *d.Seed
	tr.LearningRate, tr.Temperature, tr.Alpha = float32(d.LearningRate), float32(d.Temperature), 0
	tr.WordDropout.ID = t.Unknown
	if in := t.Inputs; len(in) != 1 || in[0] != distill.InputIDs {
		tr.WordDropout = distill.WordDropout{}
	}
	return tr
}

func (d *Distill) student(g *model.Graph, env *Env) (*model.Graph, error) {
	if d.Student.File != "" {
		f, err := onnx.Open(resolve(env.Training.Dir, d.Student.File))
		if err != nil {
			return nil, err
		}
		if err := model.CheckOperators(f.Graph()); err != nil {
			return nil, errors.Join(fmt.Errorf("distill: student %q: %w", d.Student.File, err), f.Close())
		}
		return f.Graph(), nil // its mapping lives as long as the process
	}
	a := distill.Arch{Kind: "lstm", Vocabulary: env.Training.Vocabulary, Embedding: d.Student.Embedding, Hidden: d.Student.Hidden,
		Classes: env.Training.Classes, Pooling: d.Student.Pooling}
	if in := graphInputs(g); len(in) != 1 || in[0].Name != distill.InputIDs {
		return nil, fmt.Errorf("distill: a student of a given size takes the one input %q; the baseline has others: give student.file", distill.InputIDs)
	}
	return a.Graph(*d.Seed)
}

func (d *Distill) notes(g *model.Graph, rep distill.Report) []model.Note {
	what := "trained"
	if *d.Alpha > 0 && d.Teacher == "baseline" {
		what = "distilled"
	}
	why := fmt.Sprintf("%d steps, best epoch %d of %d", rep.Steps, rep.Best, d.Epochs)
	if rep.Unused != "" {
		why += ", trained from the beginning: " + rep.Unused
	}
	var notes []model.Note
	for _, w := range g.Weights() {
		if w.Node == nil && w.Tensor.DType().IsFloat() && w.Tensor.Rank() > 0 {
			n := int64(w.Tensor.ByteSize())
			notes = append(notes, model.Note{Weight: w.Name, Action: what, Reason: why, BytesBefore: n, BytesAfter: n})
		}
	}
	return notes
}
