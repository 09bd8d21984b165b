package distill

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// Names of the input and the output of the classifiers that Arch makes.
const (
	InputIDs = "input_ids" // int64 [batch, sequence]; 0 is padding and stands only at the end of a row
	Logits   = "logits"    // float32 [batch, classes]
)

// Arch describes a text classifier over token ids.
type Arch struct {
	Kind          string // "lstm" or "logistic"
	Vocabulary    int    // number of token ids, padding (0) included
	Embedding     int    // width of the embedding
	Hidden        int    // hidden width of the LSTM, per direction
	Classes       int
	Bidirectional bool
	Pooling       string // of the LSTM's states: "last" (the default), "mean" or "max", over the tokens that are not padding
}

// Check reports the first setting that makes no model.
func (a Arch) Check() error {
	switch {
	case a.Kind != "lstm" && a.Kind != "logistic":
		return fmt.Errorf("distill: a classifier of kind %q: want lstm (an LSTM over the tokens) or logistic (a linear layer on the mean of their embeddings)", a.Kind)
	case a.Vocabulary < 2 || a.Embedding < 1 || a.Classes < 2 || a.Kind == "lstm" && a.Hidden < 1:
		return fmt.Errorf("distill: %s of vocabulary %d, embedding %d, hidden %d, classes %d: too small", a.Kind, a.Vocabulary, a.Embedding, a.Hidden, a.Classes)
	case a.Vocabulary > 1<<24 || a.Embedding > 1<<14 || a.Hidden > 1<<14 || a.Classes > 1<<20:
		return fmt.Errorf("distill: %s of vocabulary %d, embedding %d, hidden %d, classes %d: too large", a.Kind, a.Vocabulary, a.Embedding, a.Hidden, a.Classes)
	case a.Kind == "lstm" && a.Pooling != "" && a.Pooling != "last" && a.Pooling != "mean" && a.Pooling != "max":
		return fmt.Errorf("distill: pooling %q, want last, mean or max", a.Pooling)
	}
	return nil
}

// Parameters returns the number of trained numbers.
func (a Arch) Parameters() int {
	n, dirs := a.Vocabulary*a.Embedding, 1
	if a.Kind == "logistic" {
		return n + (a.Embedding+1)*a.Classes
	}
	if a.Bidirectional {
		dirs = 2
	}
	n += dirs * 4 * a.Hidden * (a.Embedding + a.Hidden + 2)
	return n + (dirs*a.Hidden+1)*a.Classes
}

// Graph returns the classifier with weights drawn from seed: input InputIDs, output Logits, opset 17. The lengths of the sequences
// are computed in the graph from the ids that are not 0.
//
// The embedding is uniform in [-0.1, 0.1) with a zero row for padding, recurrent and linear weights in [-1/sqrt(n), 1/sqrt(n))
// with n the hidden width, or the inputs of the linear layer; biases are 0, that of the forget gate 1 (Jozefowicz et al., ICML 2015).
func (a Arch) Graph(seed uint64) (*model.Graph, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	b := archBuilder{a: a, rng: newRandom(seed, streamInit), g: &model.Graph{
		Name: a.Kind + "-classifier",
		Inputs: []*model.Value{{Name: InputIDs, Type: model.Type{DType: model.Int64,
			Shape: model.Shape{{Size: -1, Param: "batch"}, {Size: -1, Param: "sequence"}}}}},
		Outputs: []*model.Value{{Name: Logits, Type: model.Type{DType: model.Float32,
			Shape: model.Shape{{Size: -1, Param: "batch"}, {Size: int64(a.Classes)}}}}},
		Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}, Producer: "wattshed"},
	}}
	b.build()
	return b.g, nil
}

type archBuilder struct {
	a   Arch
	g   *model.Graph
	rng random
}

// add adds a node of one or more outputs, named after the first.
func (b *archBuilder) add(op string, in, out []string, attrs ...model.Attr) {
	b.g.Nodes = append(b.g.Nodes, &model.Node{Name: "node/" + out[len(out)-1], Op: op, Inputs: in, Outputs: out, Attrs: attrs})
}

// weight adds a float32 initializer uniform in [-scale, scale).
func (b *archBuilder) weight(name string, shape []int, scale float32) []float32 {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	if scale > 0 {
		b.rng.uniform(x, scale)
	}
	b.g.SetInitializer(name, model.FromSlice(shape, x))
	return x
}

func (b *archBuilder) build() {
	a := b.a
	emb := b.weight("embedding.weight", []int{a.Vocabulary, a.Embedding}, 0.1)
	clear(emb[:a.Embedding])
	b.g.SetInitializer("zero", model.Scalar(int64(0)))
	b.add("Gather", []string{"embedding.weight", InputIDs}, []string{"embedded"})
	b.add("Equal", []string{InputIDs, "zero"}, []string{"padding"})
	b.add("Not", []string{"padding"}, []string{"present"})
	features, width := "", 0
	if a.Kind == "logistic" {
		features, width = b.bag(), a.Embedding
	} else {
		features, width = b.lstm()
	}
	b.weight("linear.weight", []int{a.Classes, width}, invSqrt(width))
	b.weight("linear.bias", []int{a.Classes}, 0)
	b.add("Gemm", []string{features, "linear.weight", "linear.bias"}, []string{Logits}, model.IntAttr("transB", 1))
}

// bag averages the embeddings of the tokens that are not padding.
func (b *archBuilder) bag() string {
	b.counts()
	b.add("Cast", []string{"present"}, []string{"present_f32"}, model.IntAttr("to", int64(model.Float32)))
	b.axes("last_axis", 2)
	b.add("Unsqueeze", []string{"present_f32", "last_axis"}, []string{"present_3d"})
	b.add("Mul", []string{"embedded", "present_3d"}, []string{"embedded_masked"})
	b.add("ReduceSum", []string{"embedded_masked", "sequence_axis"}, []string{"bag_sum"}, model.IntAttr("keepdims", 0))
	return b.divideByLength("bag_sum", "bag_mean")
}

func (b *archBuilder) axes(name string, axes ...int64) {
	b.g.SetInitializer(name, model.FromSlice([]int{len(axes)}, axes))
}

// counts computes the number of tokens of every row, "count" int64 [batch].
func (b *archBuilder) counts() {
	b.axes("sequence_axis", 1)
	b.add("Cast", []string{"present"}, []string{"present_int"}, model.IntAttr("to", int64(model.Int64)))
	b.add("ReduceSum", []string{"present_int", "sequence_axis"}, []string{"count"}, model.IntAttr("keepdims", 0))
}

// divideByLength divides [batch, n] by the number of tokens, at least 1.
func (b *archBuilder) divideByLength(in, out string) string {
	b.g.SetInitializer("one", model.Scalar(float32(1)))
	b.add("Cast", []string{"count"}, []string{"count_f32"}, model.IntAttr("to", int64(model.Float32)))
	b.add("Max", []string{"count_f32", "one"}, []string{"count_min1"})
	b.add("Unsqueeze", []string{"count_min1", "sequence_axis"}, []string{"count_column"})
	b.add("Div", []string{in, "count_column"}, []string{out})
	return out
}

// lstm adds the recurrent layer and its pooling and returns the name and the width of the features [batch, width].
func (b *archBuilder) lstm() (string, int) {
	a, h := b.a, b.a.Hidden
	dirs, direction := 1, "forward"
	if a.Bidirectional {
		dirs, direction = 2, "bidirectional"
	}
	b.counts()
	b.add("Cast", []string{"count"}, []string{"lengths"}, model.IntAttr("to", int64(model.Int32)))
	b.add("Transpose", []string{"embedded"}, []string{"embedded_steps"}, model.IntsAttr("perm", 1, 0, 2))
	b.weight("lstm.W", []int{dirs, 4 * h, a.Embedding}, invSqrt(h))
	b.weight("lstm.R", []int{dirs, 4 * h, h}, invSqrt(h))
	bias := b.weight("lstm.B", []int{dirs, 8 * h}, 0)
	for d := range dirs {
		for j := range h { // gates i, o, f, c
			bias[d*8*h+2*h+j] = 1
		}
	}
	b.add("LSTM", []string{"embedded_steps", "lstm.W", "lstm.R", "lstm.B", "lengths"}, []string{"states", "last_states"},
		model.IntAttr("hidden_size", int64(h)), model.StringAttr("direction", direction))
	width := dirs * h
	b.g.SetInitializer("flat", model.FromSlice([]int{2}, []int64{-1, int64(width)}))
	switch a.Pooling {
	case "mean":
		b.axes("step_axis", 0)
		b.add("ReduceSum", []string{"states", "step_axis"}, []string{"state_sum"}, model.IntAttr("keepdims", 0)) // [dirs, batch, h]
		b.rows("state_sum")
		return b.divideByLength("state_sum_flat", "features"), width
	case "max":
		// states are in (-1, 1), so adding -2 to the padding leaves it out
		b.add("Cast", []string{"padding"}, []string{"padding_f32"}, model.IntAttr("to", int64(model.Float32)))
		b.g.SetInitializer("minus_two", model.Scalar(float32(-2)))
		b.add("Mul", []string{"padding_f32", "minus_two"}, []string{"padding_penalty"})
		b.add("Transpose", []string{"padding_penalty"}, []string{"padding_steps"}, model.IntsAttr("perm", 1, 0))
		b.axes("state_axes", 1, 3)
		b.add("Unsqueeze", []string{"padding_steps", "state_axes"}, []string{"padding_states"})
		b.add("Add", []string{"states", "padding_states"}, []string{"states_masked"})
		b.add("ReduceMax", []string{"states_masked"}, []string{"state_max"}, model.IntsAttr("axes", 0), model.IntAttr("keepdims", 0))
		b.rows("state_max")
		return "state_max_flat", width
	}
	b.rows("last_states")
	return "last_states_flat", width
}

// rows turns [dirs, batch, h] into [batch, dirs*h], named with "_flat" at the end.
func (b *archBuilder) rows(name string) {
	b.add("Transpose", []string{name}, []string{name + "_rows"}, model.IntsAttr("perm", 1, 0, 2))
	b.add("Reshape", []string{name + "_rows", "flat"}, []string{name + "_flat"})
}

func invSqrt(n int) float32 { return float32(1 / math.Sqrt(float64(n))) }
