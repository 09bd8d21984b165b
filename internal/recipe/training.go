package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
)

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
	digest     string // of all that training reads
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

// bindTraining opens the training and validation splits where a stage needs them.
func (r *Recipe) bindTraining(src *source, b *bound, builtin fs.FS, native engine.Runtime) (*Training, error) {
	needed, digest := false, ""
	for _, v := range r.Variants {
		for _, s := range v.Stages {
			needed = needed || s.Distill != nil
			if d := s.Distill; d != nil && d.Student != nil && d.Student.File != "" {
				_, sum, err := fileDigest(resolve(r.Dir, d.Student.File))
				if err != nil {
					return nil, fmt.Errorf("recipe: distill.student.file: %w", err)
				}
				digest += " " + sum
			}
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
	t := &Training{Vocabulary: b.encoder.VocabSize(), Classes: len(b.labels), Dir: r.Dir, Native: native, Unknown: b.encoder.UnknownID()}
	for _, v := range graphInputs(src.graph) {
		t.Inputs = append(t.Inputs, v.Name)
	}
	in, classes, sum, err := b.split(r, train, src, builtin)
	if err != nil {
		return nil, err
	}
	t.digest = digest + " " + sum
	t.N, t.Examples, t.texts, t.classes = in.Len(), labelled(in, classes), in.Texts, classes
	if validation != "" {
		in, classes, sum, err := b.split(r, validation, src, builtin)
		if err != nil {
			return nil, err
		}
		t.digest += " " + sum
		t.validTexts, t.Validation = in.Texts, &task.Classification{Inputs: in, Classes: classes, Batch: 16}
	}
	return t, nil
}

// split opens one more data set with the tokenizer and labels of the scored one, and returns its digest too.
func (b *bound) split(r *Recipe, spec string, src *source, builtin fs.FS) (*task.Text, []int, string, error) {
	if err := notTheTest(spec); err != nil {
		return nil, nil, "", err
	}
	data, err := openData(spec, r.Dir, r.Task.Text, r.Task.Label, builtin)
	if err != nil {
		return nil, nil, "", err
	}
	classes, err := data.Classes(b.labels)
	if err != nil {
		return nil, nil, "", err
	}
	in := &task.Text{Name: data.Name, Texts: data.Texts(), Encoder: b.encoder, MaxLength: b.maxLength, Pad: b.encoder.PadID(), Empty: b.encoder.UnknownID()}
	return in, classes, data.SHA256, in.Bind(graphInputs(src.graph))
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

// notTheTest refuses to train on what models are scored on.
func notTheTest(data string) error {
	if data == builtinData || data == builtinData+"/test" {
		return fmt.Errorf("recipe: data %q are the mails that models are scored on: want %s/train", data, builtinData)
	}
	return nil
}
