package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/reports"
)

// islands: QuantizeLinear and DequantizeLinear that no integer operator absorbs run as passes of their own.
func islands(f *facts) *Cause {
	pairs, lone := 0, 0
	for _, n := range f.nodes {
		if n.Op != "DequantizeLinear" || f.consts[n.In(0)] != nil {
			continue
		}
		pairs++
		for _, m := range f.readers[n.Out(0)] {
			if !f.absorbed(m) {
				lone++
				break
			}
		}
	}
	if lone == 0 || pairs == 0 {
		return nil
	}
	part := float64(lone) / float64(pairs)
	if part < 0.25 {
		return nil
	}
	return &Cause{Slower, "Q/DQ islands", max(f.timeOf(0, "QuantizeLinear", "DequantizeLinear"), 0.75*part),
		fmt.Sprintf("%d of %d dequantized activations go into operators that compute in float, between integer ones", lone, pairs),
		"quantize the operators between them too, or leave whole blocks in float"}
}

// absorbed reports whether runtimes compute n as integers between DequantizeLinear and QuantizeLinear.
func (f *facts) absorbed(n *model.Node) bool {
	switch n.Op {
	case "MatMul", "Gemm": // their integer forms may write float
		w := f.made[n.In(1)]
		return w != nil && w.Op == "DequantizeLinear"
	case "Conv", "Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid", "LeakyRelu", "Softmax", "Relu", "Clip", "HardSwish", "HardSigmoid":
	case "MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Resize", "Slice", "Split", "Gather":
		return true
	default:
		return false
	}
	for _, m := range f.readers[n.Out(0)] {
		if m.Op != "QuantizeLinear" && m.Op != "Relu" && m.Op != "Clip" && m.Op != "HardSwish" && m.Op != "Sigmoid" && m.Op != "Mul" && m.Op != "HardSigmoid" {
			return false
		}
	}
	return true
}

func dynamicConv(f *facts) *Cause {
	n := f.count["ConvInteger"]
	if n == 0 {
		return nil
	}
	return &Cause{Slower, "dynamically quantized convolutions", max(0.85, f.timeOf(0, "ConvInteger")),
		fmt.Sprintf("%d ConvInteger: their inputs are quantized at every run, and most runtimes have no fast kernel for them", n),
		"quantize convolutions statically, with calibration data"}
}

func noVNNI(f *facts) *Cause {
	n := len(f.int8Products())
	has, known := f.vnni()
	if n == 0 || has || !known {
		return nil
	}
	return &Cause{Slower, "no VNNI", 0.8 * max(0.5, f.timeOf(1, products...)),
		fmt.Sprintf("%d products of bytes on a CPU without VNNI or AMX: they take about as many instructions as float ones", n),
		"measure on a CPU with VNNI, or take fp16 or bf16 weights for size alone"}
}

// tinyElements is the size of a weight below which quantizing its input costs about what its product saves.
const tinyElements = 128 * 128

func tinyProducts(f *facts) *Cause {
	all, tiny := 0, 0
	for n, t := range f.int8Products() {
		if n.Op == "Conv" || n.Op == "QLinearConv" || n.Op == "ConvInteger" {
			continue
		}
		all++
		if t.Len() < tinyElements {
			tiny++
		}
	}
	if all == 0 || 2*tiny < all {
		return nil
	}
	part := float64(tiny) / float64(all)
	return &Cause{Slower, "tiny products", 0.7 * part,
		fmt.Sprintf("%d of %d quantized products have fewer than %d weights", tiny, all, tinyElements),
		"leave them in float: quantizing their inputs costs more than their products save"}
}

func depthwise(f *facts) *Cause {
	all, deep := 0, 0
	for n, t := range f.int8Products() {
		if n.Op != "Conv" && n.Op != "QLinearConv" && n.Op != "ConvInteger" {
			continue
		}
		all++
		if n.Int("group", 1) > 1 && t.Rank() > 1 && t.Shape()[1] == 1 {
			deep++
		}
	}
	if all == 0 || 3*deep < all || f.count["ConvInteger"] > 0 {
		return nil
	}
	part := float64(deep) / float64(all)
	return &Cause{Slower, "depthwise convolutions", part * 0.9,
		fmt.Sprintf("%d of %d quantized convolutions are depthwise: they move as many bytes as they multiply", deep, all),
		"leave depthwise convolutions in float, or fuse them with their neighbours"}
}

// ragged: channels that do not fill vectors.
func ragged(f *facts) *Cause {
	all, bad := 0, 0
	example := 0
	for n, t := range f.int8Products() {
		c := outputs(n, t)
		all += t.Len()
		if c%16 != 0 {
			bad += t.Len()
			example = c
		}
	}
	if all == 0 || 2*bad < all {
		return nil
	}
	return &Cause{Slower, "channels not a multiple of 16", 0.5 * float64(bad) / float64(all),
		fmt.Sprintf("%.0f %% of the quantized weights have a number of channels that is not a multiple of 16, such as %d", 100*float64(bad)/float64(all), example),
		"choose widths that are multiples of 16"}
}

// Operator sets between which ONNX Runtime has all forms of QuantizeLinear and DequantizeLinear. Version 1.32 fuses products and
// convolutions, static and dynamic, in every one of them.
const (
	firstPerAxis = 13
	lastFused    = 27
)

// opsetBlocks: the model's operator set is one whose forms the runtime's optimiser does not match.
func opsetBlocks(f *facts) *Cause {
	if f.Graph == nil || f.runtime() != "ort" {
		return nil
	}
	left := f.leftInFloat()
	switch v := f.Graph.Opset(""); {
	case left == 0:
		return nil
	case v > lastFused:
		return &Cause{Slower, "operator set blocks fusion", 0.9,
			fmt.Sprintf("operator set %d: the optimiser left %d quantized patterns unfused; it has QuantizeLinear up to %d", v, left, lastFused),
			fmt.Sprintf("export at operator set %d or below", lastFused)}
	case v < firstPerAxis && f.count["DequantizeLinear"] > 0:
		return &Cause{Slower, "operator set blocks fusion", 0.9,
			fmt.Sprintf("operator set %d: the optimiser left %d quantized patterns unfused; scales per channel came with %d", v, left, firstPerAxis),
			fmt.Sprintf("raise the operator set to %d", firstPerAxis)}
	}
	return nil
}

func notFused(f *facts) *Cause {
	left := f.leftInFloat()
	if left == 0 || f.Graph != nil && f.Graph.Opset("") > lastFused {
		return nil
	}
	return &Cause{Slower, "patterns not fused", 0.7, fmt.Sprintf("%d quantized patterns are still spelled out in the optimised graph", left),
		"check the file with verify --runtime ort"}
}

// leftInFloat reads from the histogram of ONNX Runtime's optimised graph how many quantized patterns it did not fuse; results of older versions have it
// in a remark alone.
func (f *facts) leftInFloat() int {
	unfused := func(op string, k int) int {
		if op == "MatMulInteger" || op == "DequantizeLinear" && k > 4 {
			return k
		}
		return 0
	}
	if t := f.Result.Target; t != nil && t.Runtime == "ort" && f.Variant.Ops != nil {
		left := 0
		for op, k := range f.Variant.Ops {
			left += unfused(op, k)
		}
		return left
	}
	for _, n := range f.Variant.Notes {
		_, list, ok := strings.Cut(n.Why, "optimisation: ")
		if n.Stage != "target" || !ok {
			continue
		}
		left := 0
		for _, item := range strings.Split(list, ", ") {
			var op string
			var k int
			if _, err := fmt.Sscanf(item, "%s %d", &op, &k); err == nil {
				left += unfused(op, k)
			}
		}
		return left
	}
	return 0
}

// manyRows is the number of vectors from which unpacking weights costs more than reading them in full width.
const manyRows = 32

func weightOnlyRows(f *facts) *Cause {
	n, elements := f.count["MatMulNBits"], int64(0)
	for _, m := range f.nodes {
		if m.Op == "DequantizeLinear" && m.Int("block_size", 0) > 0 && f.consts[m.In(0)] != nil {
			n++
		}
		if m.Op == "MatMulNBits" {
			elements += m.Int("K", 0) * m.Int("N", 0)
		}
	}
	rows, of := f.rows(), ""
	if t := f.Result.Target; t != nil {
		of = fmt.Sprintf(" (batch %d)", max(1, t.Batch))
		if t.Sequence > 1 {
			of = fmt.Sprintf(" (batch %d, sequences of %d)", max(1, t.Batch), t.Sequence)
		}
	}
	// What the products multiplied tells how many vectors each of them had: not every product sees all of a sequence.
	if macs := f.macs["MatMulNBits"]; macs > 0 && elements > 0 {
		rows = int((macs + elements/2) / elements)
	}
	if n == 0 || rows < manyRows {
		return nil
	}
	return &Cause{Slower, "weight-only for many vectors a run", max(0.8, f.timeOf(0, "MatMulNBits")),
		fmt.Sprintf("%d products unpack their weights for %d vectors a run%s: arithmetic limits them, not reading weights", n, rows, of),
		"use int8 with quantized activations here; weight-only pays for one vector at a time"}
}

func castsAtLoad(f *facts) *Cause {
	if f.scheme != "fp16" && f.scheme != "bf16" || f.option("storage") == "graph" {
		return nil
	}
	if f.runtime() == "ort" {
		return &Cause{Slower, "Casts expanded at load", 0.95,
			"ONNX Runtime's CPU provider turns half-size weights into float32 when it loads the model: only the file shrinks",
			"use storage: graph on an accelerator, or int8 on this CPU"}
	}
	if f.scheme == "bf16" && slices.ContainsFunc(f.Variant.Profile, inBF16) {
		return nil // multiplied in bfloat16
	}
	return &Cause{Slower, "half-size weights are computed with in float32", 0.6,
		"the weights are kept in 16 bits and multiplied in 32: arithmetic stays what it was",
		"use int8 where time counts; half-size weights are for the file and for memory"}
}

// inBF16 tells whether an operator of the native runtime multiplied bfloat16 by bfloat16.
func inBF16(p reports.OpProfile) bool {
	return strings.HasPrefix(p.Kernel, "gemm-bf16-") && (strings.HasSuffix(p.Kernel, "amx") || strings.HasSuffix(p.Kernel, "avx512bf16"))
}

// widened: weights in a type that no CPU multiplies are turned back into float32, at load or in every run.
func widened(f *facts) *Cause {
	n, kind := 0, model.Invalid
	for _, m := range f.nodes {
		if t := f.consts[m.In(0)]; m.Op == "DequantizeLinear" && t != nil && (t.DType().IsFloat() && t.DType().Bits() == 8 || t.DType() == model.Int16 || t.DType() == model.Uint16) {
			n, kind = n+1, t.DType()
		}
	}
	if n == 0 {
		return nil
	}
	return &Cause{Slower, "a type that no CPU multiplies", max(0.8, f.timeOf(0, "DequantizeLinear")),
		fmt.Sprintf("%d weights of %s are turned back into float32 and multiplied as before", n, kind), "use int8 where time counts; this scheme is for the file"}
}

func quantizingCost(f *facts) *Cause {
	s := f.timeOf(0, "DynamicQuantizeLinear")
	if s < 0.1 {
		return nil
	}
	return &Cause{Slower, "quantizing the activations", s, fmt.Sprintf("DynamicQuantizeLinear takes %.0f %% of the time", 100*s),
		"quantize statically, with calibration data, or leave small products in float"}
}
