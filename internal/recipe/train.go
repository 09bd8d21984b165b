package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/wattshed/wattshed/distill"
	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/grad"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/internal/tokenize"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/reports"
)

// trainingSuffix ends the name of the folder that keeps the epochs of a training beside its output.
const trainingSuffix = ".training"

// TrainSpec are the arguments of Train.
type TrainSpec struct {
	Data, Validation string // .jsonl files or builtin:spam/SPLIT
	Text, Label      string
	Arch             distill.Arch // Vocabulary is the most that is kept, Classes follows from the data
	MaxLength        int
	Epochs, Batch    int
	LearningRate     float64
	WeightDecay      float64
	WordDropout      float64
	Seed             uint64
	Threads          int
	Out              string
	Builtin          fs.FS
	Native           engine.Runtime
	Progress         func(what string, done, total int)
}

// Trained says how training went.
type Trained struct {
	Report     distill.Report `json:"report"`
	Labels     []string       `json:"labels"`
	Vocabulary int            `json:"vocabulary"`
	Bytes      int64          `json:"bytes"`
	SHA256     string         `json:"sha256"`
}

// Train fits a text classifier to labelled texts and writes it with its tokenizer and labels. Epoch states
// are kept beside the output until it is written, so that a second call goes on where the first was
// interrupted.
func Train(ctx context.Context, s TrainSpec) (*Trained, error) {
	if err := Apart(s.Out, s.Data, s.Validation); err != nil {
		return nil, err
	}
	data, err := openData(s.Data, ".", s.Text, s.Label, s.Builtin)
	if err != nil {
		return nil, err
	}
	labels := data.Labels()
	if len(labels) < 2 {
		return nil, fmt.Errorf("recipe: data %q: one label only: %q", s.Data, labels)
	}
	tok, err := tokenize.BuildWordLevel(slices.Values(data.Texts()), s.Arch.Vocabulary)
	if err != nil {
		return nil, err
	}
	s.Arch.Vocabulary, s.Arch.Classes = tok.VocabSize(), len(labels)
	g, err := s.Arch.Graph(s.Seed)
	if err != nil {
		return nil, err
	}
	if err := describe(g, tok, labels, s.MaxLength); err != nil {
		return nil, err
	}
	b := &bound{labels: labels, encoder: tok, maxLength: s.MaxLength}
	r := &Recipe{Dir: ".", Task: &TaskSpec{Text: s.Text, Label: s.Label}}
	in, classes, _, err := b.split(r, s.Data, &source{graph: g}, s.Builtin)
	if err != nil {
		return nil, err
	}
	tr := distill.Scratch()
	tr.Runtime, tr.Threads, tr.Examples, tr.Seed = s.Native, s.Threads, labelled(in, classes), s.Seed
	tr.Epochs, tr.Batch, tr.LearningRate = s.Epochs, s.Batch, float32(s.LearningRate)
	tr.Optimizer = grad.AdamW{WeightDecay: float32(s.WeightDecay)}
	tr.WordDropout = distill.WordDropout{Rate: float32(s.WordDropout), ID: tok.UnknownID()}
	tr.Checkpoint = distill.Folder(s.Out + trainingSuffix)
	if s.Validation != "" {
		vin, vclasses, _, err := b.split(r, s.Validation, &source{graph: g}, s.Builtin)
		if err != nil {
			return nil, err
		}
		t := &Training{Native: s.Native, Validation: &task.Classification{Inputs: vin, Classes: vclasses, Batch: 16}}
		tr.Validate = t.validate(s.Threads)
	}
	tr.Progress = func(p distill.Progress) {
		if s.Progress != nil {
			what := fmt.Sprintf("epoch %d of %d, loss %.4f", p.Epoch, p.Epochs, p.Loss)
			if p.EpochDone != nil && p.EpochDone.Validation != nil {
				what = fmt.Sprintf("epoch %d of %d done, loss %.4f, validation accuracy %s", p.Epoch, p.Epochs, p.EpochDone.Loss, reports.Score("accuracy", *p.EpochDone.Validation, nil))
			}
			s.Progress(what, p.Step, p.Steps)
		}
	}
	out, rep, err := tr.Train(ctx, g)
	if err != nil {
		return nil, err
	}
	if err := onnx.Save(s.Out, out, onnx.WriteOptions{}); err != nil {
		return nil, err
	}
	res := &Trained{Report: rep, Labels: labels, Vocabulary: s.Arch.Vocabulary}
	res.Bytes, res.SHA256, err = fileDigest(s.Out)
	return res, errors.Join(err, os.RemoveAll(s.Out+trainingSuffix))
}

// describe puts into the metadata what a classifier needs to be scored on its own.
func describe(g *model.Graph, tok *tokenize.Tokenizer, labels []string, maxLength int) error {
	b, err := tok.MarshalJSON()
	if err != nil {
		return err
	}
	g.Model.Meta = append(g.Model.Meta, model.KV{Key: MetaTokenizer, Value: string(b)},
		model.KV{Key: MetaLabels, Value: labelsJSON(labels)},
		model.KV{Key: MetaMaxLength, Value: strconv.Itoa(maxLength)})
	return nil
}

// TrainingFor opens the training data for distilling the classifier at modelPath.
func TrainingFor(modelPath, data, validation, text, label string, builtin fs.FS, native engine.Runtime) (*Training, error) {
	src, err := openModel(modelPath, ".", builtin)
	if err != nil {
		return nil, err
	}
	defer src.close()
	tok, err := openTokenizer("", ".", src.graph)
	if err != nil {
		return nil, err
	}
	if tok == nil {
		for _, spec := range []string{data, validation} { // what is not there comes first
			if spec == "" {
				continue
			}
			if _, err := openData(spec, ".", text, label, builtin); err != nil {
				return nil, err
			}
		}
		return nil, withCustom(fmt.Errorf("recipe: model %q has no tokenizer in its metadata", filepath.Base(modelPath)), src.graph)
	}
	rec := &Recipe{Dir: ".", Task: &TaskSpec{Kind: "classification", Data: data, Train: data, Validation: validation, Text: text, Label: label},
		Variants: []VariantSpec{{Stages: []StageSpec{{Distill: &Distill{}}}}}}
	b := &bound{encoder: tok}
	if b.maxLength, err = ModelLength(src.graph); err != nil {
		return nil, err
	}
	setDefault(&b.maxLength, 128)
	if b.labels, err = labelsOf(src.graph); err != nil {
		return nil, err
	}
	if b.labels == nil {
		d, err := openData(data, ".", text, label, builtin)
		if err != nil {
			return nil, err
		}
		b.labels = d.Labels()
	}
	return rec.bindTraining(src, b, builtin, native)
}
