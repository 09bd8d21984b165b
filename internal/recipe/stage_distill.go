package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"path/filepath"

	"github.com/wattshed/wattshed/distill"
	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
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
	Seed         uint64       `yaml:"seed"`
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
	setDefault(&d.Seed, 1)
	if d.Alpha == nil {
		half := 0.5
		d.Alpha = &half
	}
	if d.LearningRate == 0 {
		d.LearningRate = float64(distill.Recovery().LearningRate)
		if d.Student != nil {
			d.LearningRate = float64(distill.Student().LearningRate)
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
		if s.File == "" && (s.Embedding < 1 || s.Hidden < 1 || s.Embedding > 1<<14 || s.Hidden > 1<<14) {
			return faultf("distill.student", "embedding %d, hidden %d: out of range", s.Embedding, s.Hidden)
		}
	}
	return nil
}

// Options returns all settings.
func (d *Distill) Options() map[string]any {
	o := map[string]any{"teacher": d.Teacher, "epochs": d.Epochs, "temperature": d.Temperature, "alpha": *d.Alpha,
		"learning_rate": d.LearningRate, "batch": d.Batch, "seed": d.Seed}
	if s := d.Student; s != nil && s.File != "" {
		o["student"] = map[string]any{"file": s.File}
	} else if s != nil {
		o["student"] = map[string]any{"embedding": s.Embedding, "hidden": s.Hidden, "pooling": s.Pooling}
	}
	return o
}

// estimate is a rough guess of the training time in seconds.
func (d *Distill) estimate(t *Training) float64 {
	if t == nil {
		return 0
	}
	perExample := 2.5e-3
	if d.Student != nil {
		perExample = 1.2e-3
	}
	return float64(d.Epochs*t.N) * perExample
}

// Training is what stages that train need: labelled examples and a way to validate.
type Training struct {
	N          int
	Examples   engine.Feeds // inputs of the model, and "labels"
	Validation *task.Classification
	Inputs     []string // names of the model's inputs
	Unknown    int64    // id of unknown words
	Vocabulary int
	Classes    int
	texts      []string
	classes    []int
	validTexts []string
	Dir        string // folder that a student's file is relative to
	Native     engine.Runtime
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
	tr := d.trainer(env)
	if d.Student == nil && env.Mask != nil {
		tr.Mask = env.Mask
	}
	out, rep, err := tr.Train(ctx, start)
	if err != nil {
		return nil, nil, err
	}
	if d.Student != nil {
		out.Model.Meta = append([]model.KV(nil), g.Model.Meta...)
		env.Mask = nil
	}
	return out, d.notes(out, rep), nil
}

func (d *Distill) trainer(env *Env) distill.Trainer {
	t := env.Training
	tr := distill.Recovery()
	if d.Student != nil {
		tr = distill.Student()
	}
	tr.Runtime, tr.Threads, tr.Examples, tr.Epochs, tr.Batch, tr.Seed = t.Native, env.Threads, t.Examples, d.Epochs, d.Batch, d.Seed
	tr.LearningRate, tr.Temperature, tr.Alpha = float32(d.LearningRate), float32(d.Temperature), 0
	tr.Checkpoint = distill.Folder(env.Checkpoints)
	tr.WordDropout.ID = t.Unknown
	if in := t.Inputs; len(in) != 1 || in[0] != distill.InputIDs {
		tr.WordDropout = distill.WordDropout{}
	}
	if d.Teacher == "baseline" {
		tr.Teacher, tr.Alpha = env.Teacher, float32(*d.Alpha)
	}
	if t.Validation != nil {
		tr.Validate = t.validate(env.Threads)
	}
	tr.Progress = func(p distill.Progress) {
		if env.Progress != nil {
			env.Progress("training", p.Step, p.Steps)
		}
	}
	return tr
}

// validate scores a graph on the validation split.
func (t *Training) validate(threads int) func(context.Context, *model.Graph) (float64, error) {
	return func(ctx context.Context, g *model.Graph) (float64, error) {
		s, err := t.Native.Load(ctx, engine.Artifact{Graph: g}, engine.Options{Threads: threads})
		if err != nil {
			return 0, err
		}
		defer s.Close()
		out, err := t.Validation.Score(ctx, s, nil)
		if err != nil {
			return 0, err
		}
		sum := 0.0
		for _, v := range out {
			sum += v
		}
		return sum / float64(len(out)), nil
	}
}

func (d *Distill) student(g *model.Graph, env *Env) (*model.Graph, error) {
	if d.Student.File != "" {
		f, err := onnx.Open(resolve(env.Training.Dir, d.Student.File))
		if err != nil {
			return nil, err
		}
		return f.Graph(), nil // its mapping lives as long as the process
	}
	a := distill.Arch{Kind: "lstm", Vocabulary: env.Training.Vocabulary, Embedding: d.Student.Embedding, Hidden: d.Student.Hidden,
		Classes: env.Training.Classes, Pooling: d.Student.Pooling}
	if in := graphInputs(g); len(in) != 1 || in[0].Name != distill.InputIDs {
		return nil, fmt.Errorf("distill: a student of a given size takes the one input %q; the baseline has others: give student.file", distill.InputIDs)
	}
	return a.Graph(d.Seed)
}

func (d *Distill) notes(g *model.Graph, rep distill.Report) []model.Note {
	what := "trained"
	if *d.Alpha > 0 && d.Teacher == "baseline" {
		what = "distilled"
	}
	var notes []model.Note
	for _, w := range g.Weights() {
		if w.Node == nil && w.Tensor.DType().IsFloat() && w.Tensor.Rank() > 0 {
			n := int64(w.Tensor.ByteSize())
			notes = append(notes, model.Note{Weight: w.Name, Action: what, Reason: fmt.Sprintf("%d steps, best epoch %d of %d", rep.Steps, rep.Best, d.Epochs), BytesBefore: n, BytesAfter: n})
		}
	}
	return notes
}

// bindTraining opens the training and validation splits where a stage needs them.
func (r *Recipe) bindTraining(src *source, b *bound, builtin fs.FS, native engine.Runtime) (*Training, error) {
	needed := false
	for _, v := range r.Variants {
		for _, s := range v.Stages {
			needed = needed || s.Distill != nil
		}
	}
	if !needed {
		return nil, nil
	}
	if r.Task == nil || r.Task.Kind != "classification" || b.encoder == nil {
		return nil, errors.New("recipe: a distill stage needs a classification task with a tokenizer")
	}
	train, validation := r.Task.Train, r.Task.Validation
	if r.Task.Data == builtinData || r.Task.Data == builtinData+"/test" {
		setDefault(&train, builtinData+"/train")
		setDefault(&validation, builtinData+"/validation")
	}
	if train == "" {
		return nil, errors.New("recipe: task.train: missing, a distill stage needs training data")
	}
	t := &Training{Vocabulary: b.encoder.VocabSize(), Classes: len(b.labels), Dir: r.Dir, Native: native}
	t.Unknown = b.encoder.UnknownID()
	for _, v := range graphInputs(src.graph) {
		t.Inputs = append(t.Inputs, v.Name)
	}
	in, classes, err := b.split(r, train, src, builtin)
	if err != nil {
		return nil, err
	}
	t.N, t.Examples, t.texts, t.classes = in.Len(), labelled(in, classes), in.Texts, classes
	if validation != "" {
		in, classes, err := b.split(r, validation, src, builtin)
		if err != nil {
			return nil, err
		}
		t.validTexts, t.Validation = in.Texts, &task.Classification{Inputs: in, Classes: classes, Batch: 16}
	}
	return t, nil
}

// split opens one more data set with the tokenizer and labels of the scored one.
func (b *bound) split(r *Recipe, spec string, src *source, builtin fs.FS) (*task.Text, []int, error) {
	data, err := openData(spec, r.Dir, r.Task.Text, r.Task.Label, builtin)
	if err != nil {
		return nil, nil, err
	}
	classes, err := data.Classes(b.labels)
	if err != nil {
		return nil, nil, err
	}
	in := &task.Text{Name: data.Name, Texts: data.Texts(), Encoder: b.encoder, MaxLength: b.maxLength, Pad: b.encoder.PadID(), Empty: b.encoder.UnknownID()}
	return in, classes, in.Bind(graphInputs(src.graph))
}

// labelled gives the examples one by one with their class as "labels".
func labelled(in *task.Text, classes []int) engine.Feeds {
	return engine.Feeds{N: in.Len(), All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for i := range in.Len() {
				f, _, err := in.Feed(i, i+1)
				if err == nil {
					f["labels"] = model.FromSlice([]int{1}, []int64{int64(classes[i])})
				}
				if !yield(f, err) || err != nil {
					return
				}
			}
		}
	}}
}

// checkpointPath is the folder of the state of stage i of a variant.
func (r *run) checkpointPath(variant string, i int) string {
	return filepath.Join(r.out, checkpointsName, fmt.Sprintf("%s-%d", variant, i+1))
}

// finite reports whether x is a number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
