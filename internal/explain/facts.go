package explain

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/reports"
)

// facts are what the rules ask for, computed once.
type facts struct {
	Case
	scheme   string             // of the last quantize stage, "" for none
	count    map[string]int     // nodes of the variant's graph by operator
	share    map[string]float64 // of the variant's time by operator, without its domain and, of other domains, with it; empty without a profile
	macs     map[string]int64   // multiplied in one run of the profile, by operator without its domain; only what is known
	consts   map[string]*model.Tensor
	made     map[string]*model.Node
	readers  map[string][]*model.Node
	nodes    []*model.Node
	original map[string]*model.Tensor // float weights of the original by name
	reader   map[string]string        // of them, see model.Weight
}

func newFacts(c Case) *facts {
	f := &facts{Case: c, count: map[string]int{}, share: map[string]float64{}, macs: map[string]int64{}, consts: map[string]*model.Tensor{},
		made: map[string]*model.Node{}, readers: map[string][]*model.Node{}, original: map[string]*model.Tensor{}, reader: map[string]string{}}
	for _, s := range c.Variant.Stages {
		if scheme, ok := s.Options["scheme"].(string); ok && s.Name == "quantize" {
			f.scheme = strings.TrimSuffix(strings.TrimSuffix(scheme, "-static"), "-dynamic")
		}
	}
	for _, p := range c.Variant.Profile {
		op := p.Op[strings.LastIndexByte(p.Op, '.')+1:]
		f.share[op] += p.Share
		if p.MACs != nil {
			f.macs[op] += *p.MACs
		}
		if op != p.Op {
			f.share[p.Op] += p.Share
		}
	}
	if c.Graph != nil {
		f.walk(c.Graph)
	}
	if c.Original != nil {
		for _, w := range c.Original.Weights() {
			if w.Tensor.DType() == model.Float32 {
				f.original[w.Value], f.reader[w.Value] = w.Tensor, w.Reader()
			}
		}
	}
	return f
}

func (f *facts) walk(g *model.Graph) {
	for _, name := range g.Initializers() {
		f.consts[name] = g.Initializer(name)
	}
	for _, n := range g.Nodes {
		f.nodes = append(f.nodes, n)
		f.count[n.Op]++
		for _, o := range n.Outputs {
			f.made[o] = n
		}
		for _, in := range n.Inputs {
			f.readers[in] = append(f.readers[in], n)
		}
		if t := model.ConstantValue(n); t != nil {
			f.consts[n.Out(0)] = t
		}
		for _, sub := range n.Subgraphs() {
			f.walk(sub)
		}
	}
}

// quoted is the name of a weight of the original for people.
func (f *facts) quoted(weight string) string {
	return model.WithReader(fmt.Sprintf("%q", weight), f.reader[weight])
}

// stage returns the last stage of that name, or nil.
func (f *facts) stage(name string) *reports.Stage {
	for i := range slices.Backward(f.Variant.Stages) {
		if f.Variant.Stages[i].Name == name {
			return &f.Variant.Stages[i]
		}
	}
	return nil
}

// option returns a text option of the last quantize stage.
func (f *facts) option(key string) string {
	if s := f.stage("quantize"); s != nil {
		if v, ok := s.Options[key].(string); ok {
			return v
		}
	}
	return ""
}

func (f *facts) runtime() string {
	if f.Result.Target == nil {
		return ""
	}
	return f.Result.Target.Runtime
}

// rows is the number of vectors that one run multiplies with a weight.
func (f *facts) rows() int {
	if f.Result.Target == nil {
		return 1
	}
	return max(1, f.Result.Target.Batch) * max(1, f.Result.Target.Sequence)
}

// vnni reports whether the target multiplies bytes with 32-bit sums, and whether that is known.
func (f *facts) vnni() (has, known bool) {
	if t := f.Result.Target; t != nil && t.ISA != "" && t.Runtime == "native" {
		return slices.ContainsFunc([]string{"vnni", "bf16", "amx"}, func(s string) bool { return strings.Contains(t.ISA, s) }), true
	}
	h := f.Result.Host
	if h == nil || len(h.ISA) == 0 || !slices.ContainsFunc(h.ISA, func(s string) bool { return strings.HasPrefix(s, "avx") }) {
		return false, false
	}
	return slices.ContainsFunc(h.ISA, func(s string) bool { return strings.Contains(s, "vnni") || strings.Contains(s, "amx") }), true
}

// int8Products returns the nodes that multiply 8-bit weights, with the weights.
func (f *facts) int8Products() map[*model.Node]*model.Tensor {
	out := map[*model.Node]*model.Tensor{}
	for _, n := range f.nodes {
		at := 1
		switch n.Op {
		case "MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM":
		case "QLinearMatMul", "QLinearConv", "QGemm":
			at = 3
		case "MatMul", "Gemm", "Conv":
			if m := f.made[n.In(1)]; m != nil && m.Op == "DequantizeLinear" {
				if t := f.consts[m.In(0)]; t != nil && t.DType().Bits() == 8 {
					out[n] = t
				}
			}
			continue
		default:
			continue
		}
		if t := f.consts[n.In(at)]; t != nil && t.DType().Bits() == 8 {
			out[n] = t
		}
	}
	return out
}

// products are the operators that multiply by weights, those of models and those that the engine makes of them. Attention is that of
// com.microsoft: the engine's own has no weights.
var products = []string{"MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "BlockedConv", "FusedMatMul", "TransposeMatMul", "com.microsoft.Attention",
	"QuantMatMul", "QuantConv", "QuantConvFloat", "QuantTranspose", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul",
	"QLinearConv", "QGemm", "DynamicQuantizeLSTM", "ConvInteger", "MatMulNBits"}

// timeOf returns the share of the time of the operators, or guess without a profile.
func (f *facts) timeOf(guess float64, ops ...string) float64 {
	if len(f.share) == 0 {
		return guess
	}
	s := 0.0
	for _, op := range ops {
		s += f.share[op]
	}
	return s
}

// outputs returns the number of output channels of a weight [K, N] or [M, C/g, ...].
func outputs(n *model.Node, t *model.Tensor) int {
	s := t.Shape()
	switch {
	case len(s) == 0:
		return 0
	case n.Op == "Conv", n.Op == "ConvInteger", n.Op == "QLinearConv", n.Op == "Gemm" && n.Int("transB", 0) != 0, n.Op == "QGemm" && n.Int("transB", 0) != 0:
		return s[0]
	case n.Op == "DynamicQuantizeLSTM", n.Op == "LSTM":
		return int(n.Int("hidden_size", 0)) * 4
	}
	return s[len(s)-1]
}

// spread returns how much the largest magnitude of the channels along the axis differs: the largest over the median.
func spread(t *model.Tensor, axis int) float64 {
	x, err := t.Float32()
	if err != nil || t.Rank() < 2 || axis >= t.Rank() {
		return 1
	}
	n, inner := t.Shape()[axis], 1
	for _, d := range t.Shape()[axis+1:] {
		inner *= d
	}
	most := make([]float64, n)
	for i, v := range x {
		ch := i / inner % n
		most[ch] = max(most[ch], math.Abs(float64(v)))
	}
	slices.Sort(most)
	if n == 0 || most[n/2] == 0 {
		return 1
	}
	return most[n-1] / most[n/2]
}
