package recipe

import (
	"context"
	"fmt"
	"sync"

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

// simpleMethods trains and scores the methods that a trained model has to beat, all settings at once. It returns early
// when ctx is done: the training that is left behind touches nothing but memory.
func (r *run) simpleMethods(ctx context.Context) ([]reports.TaskBaseline, error) {
	r.progress("simple methods on the same examples", 0, 0)
	type outcome struct {
		out []reports.TaskBaseline
		err error
	}
	done := make(chan outcome, 1)
	train, test := r.bags(r.training.texts, r.training.classes), r.bags(r.bound.texts, r.bound.classes)
	validation := train
	if r.training.validTexts != nil {
		validation = r.bags(r.training.validTexts, r.training.Validation.Classes)
	}
	go func() {
		out, err := trainSimple(train, validation, test)
		done <- outcome{out, err}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("simple methods: %w", ctx.Err())
	case o := <-done:
		return o.out, o.err
	}
}

// trainSimple tries every setting of every method and scores the best by validation on test.
func trainSimple(train, validation, test baseline.Set) ([]reports.TaskBaseline, error) {
	type method struct {
		name     string
		settings []float64
		train    func(setting float64) (baseline.Classifier, error)
	}
	methods := []method{
		{"majority class", []float64{0}, func(float64) (baseline.Classifier, error) { return baseline.TrainMajority(train) }},
		{"naive Bayes", bayesAlphas, func(a float64) (baseline.Classifier, error) { return baseline.TrainNaiveBayes(train, a) }},
		{"logistic regression", logisticL2s, func(l float64) (baseline.Classifier, error) { return baseline.TrainLogistic(train, l) }},
	}
	type fitted struct {
		c     baseline.Classifier
		score float64
		err   error
	}
	fits := make([][]fitted, len(methods))
	var wg sync.WaitGroup
	for i, m := range methods {
		fits[i] = make([]fitted, len(m.settings))
		for k, setting := range m.settings {
			wg.Go(func() {
				f := &fits[i][k]
				if f.c, f.err = m.train(setting); f.err == nil {
					f.score = baseline.Accuracy(f.c, validation)
				}
			})
		}
	}
	wg.Wait()
	var out []reports.TaskBaseline
	for i, m := range methods {
		best := fits[i][0]
		for _, f := range fits[i] {
			if f.err != nil {
				return nil, f.err
			}
			if f.score > best.score {
				best = f
			}
		}
		ok := baseline.Outcomes(best.c, test)
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
