package recipe

import (
	"context"

	"github.com/wattshed/wattshed/internal/task/baseline"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// Settings of the simple methods that are tried; the validation split chooses, the first one without it.
var (
	bayesAlphas = []float64{1, 0.3, 0.1, 0.03, 0.01}
	logisticL2s = []float64{1e-4, 1e-5}
)

// taskInfo says what was scored, with simple methods on the same examples where there is training data.
func (r *run) taskInfo(ctx context.Context) (*reports.Task, error) {
	if r.bound.task == nil {
		return nil, nil
	}
	t := &reports.Task{Kind: r.bound.task.Kind(), Metric: r.bound.task.Metric(), Data: r.bound.dataName, DataSHA256: r.bound.dataSHA, N: r.bound.task.Len()}
	if r.bound.random {
		t.Data = r.bound.describe
	}
	if r.training == nil || r.bound.classes == nil {
		return t, nil
	}
	var err error
	t.Baselines, err = remember(r.journal, kindTask, "", func() ([]reports.TaskBaseline, error) { return r.simpleMethods(ctx) })
	return t, err
}

// simpleMethods trains and scores the methods that a trained model has to beat.
func (r *run) simpleMethods(ctx context.Context) ([]reports.TaskBaseline, error) {
	r.progress("simple methods on the same examples", 0, 0)
	var out []reports.TaskBaseline
	train, test := r.bags(r.training.texts, r.training.classes), r.bags(r.bound.texts, r.bound.classes)
	validation := train
	if r.training.validTexts != nil {
		validation = r.bags(r.training.validTexts, r.training.Validation.Classes)
	}
	for _, m := range []struct {
		name     string
		settings []float64
		train    func(setting float64) (baseline.Classifier, error)
	}{
		{"majority class", []float64{0}, func(float64) (baseline.Classifier, error) { return baseline.TrainMajority(train) }},
		{"naive Bayes", bayesAlphas, func(a float64) (baseline.Classifier, error) { return baseline.TrainNaiveBayes(train, a) }},
		{"logistic regression", logisticL2s, func(l float64) (baseline.Classifier, error) { return baseline.TrainLogistic(train, l) }},
	} {
		if err := canceled(ctx, "simple methods"); err != nil {
			return nil, err
		}
		best, top := baseline.Classifier(nil), -1.0
		for _, setting := range m.settings {
			c, err := m.train(setting)
			if err != nil {
				return nil, err
			}
			if a := baseline.Accuracy(c, validation); a > top {
				best, top = c, a
			}
		}
		ok := baseline.Outcomes(best, test)
		out = append(out, reports.TaskBaseline{Name: m.name, N: len(ok),
			Value: float64(count(ok)) / float64(len(ok)), CI95: intervalOf(measure.Wilson(count(ok), len(ok)))})
	}
	return out, nil
}

// bags counts the tokens of texts, whole texts whatever the model's length.
func (r *run) bags(texts []string, classes []int) baseline.Set {
	b := r.bound
	s := baseline.Set{Labels: classes, Classes: len(b.labels), Features: b.encoder.VocabSize()}
	for _, text := range texts {
		ids, _, _ := b.encoder.Encode(text, -1)
		s.Bags = append(s.Bags, baseline.NewBag(ids, b.encoder.PadID(), b.encoder.UnknownID()))
	}
	return s
}
