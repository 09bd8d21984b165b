package quantize

import (
	"fmt"
	"strings"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// Target names the runtime that a statically quantized file is placed for.
type Target string

// Targets.
const (
	ONNXRuntimeCPU Target = "onnxruntime-cpu"
	TensorRT       Target = "tensorrt"
	OpenVINO       Target = "openvino"
)

// Targets are the targets in the order of the columns of placements.
var Targets = []Target{ONNXRuntimeCPU, TensorRT, OpenVINO}

// place says how static quantization treats an operator.
type place uint8

const (
	float     place = iota // computed in float32; its inputs are dequantized where needed
	anchor                 // a product with a constant weight: quantized whenever the weight can be
	anchorQ                // an anchor whose integer kernel needs a quantized output too
	follow                 // quantized where all its activations are there in 8 bits and an anchor needs its result
	moves                  // moves or selects values: as follow, with the parameters of its first input
	lookup                 // a table of which rows are gathered: 8-bit rows, dequantized after the look-up
	recurrent              // dynamic int8, as Dynamic does it
	clamp                  // a lower or upper bound: absorbed by the quantization after a lone producer, else as follow
)

// placement is the row of an operator: what each target does with it, in the order of Targets.
type placement struct {
	op string
	at [3]place
}

// placements is the one table of what is quantized where. An operator without a row stays in float: Softmax,
// LayerNormalization and the other normalizations on purpose (their outputs need more than 8 bits), recurrent operators
// since no runtime has a static int8 kernel for them. Sources: the kernels and selectors of ONNX Runtime 1.32
// (onnxruntime/core/optimizer/qdq_transformer, contrib_ops/cpu/quantization), TensorRT's "Q/DQ placement recommendations",
// OpenVINO's NNCF CPU operator list.
var placements = []placement{
	//                    onnxruntime-cpu tensorrt openvino
	{"Conv", [3]place{anchorQ, anchor, anchorQ}},
	{"ConvTranspose", [3]place{anchor, anchor, anchor}}, // ONNX Runtime has no integer kernel: 8-bit weights, float product
	{"Gemm", [3]place{anchor, anchor, anchor}},
	{"MatMul", [3]place{anchor, anchor, anchor}},
	{"Gather", [3]place{lookup, lookup, lookup}},
	{"LSTM", [3]place{recurrent, float, float}},
	{"Add", [3]place{follow, float, follow}}, // TensorRT adds residuals in the epilogue of the convolution, in float
	{"Mul", [3]place{follow, float, follow}},
	{"Concat", [3]place{follow, follow, follow}},
	{"GlobalAveragePool", [3]place{follow, follow, follow}},
	{"AveragePool", [3]place{follow, follow, follow}},
	{"Sigmoid", [3]place{follow, float, float}},
	{"HardSigmoid", [3]place{follow, float, float}},
	{"HardSwish", [3]place{follow, float, float}},
	{"LeakyRelu", [3]place{follow, float, float}},
	{"Tanh", [3]place{follow, float, float}},
	{"Elu", [3]place{follow, float, float}},
	{"Relu", [3]place{clamp, float, clamp}},
	{"Clip", [3]place{clamp, float, clamp}},
	{"MaxPool", [3]place{moves, moves, moves}},
	{"Reshape", [3]place{moves, moves, moves}},
	{"Flatten", [3]place{moves, moves, moves}},
	{"Squeeze", [3]place{moves, moves, moves}},
	{"Unsqueeze", [3]place{moves, moves, moves}},
	{"Transpose", [3]place{moves, moves, moves}},
	{"Slice", [3]place{moves, float, moves}},
	{"Split", [3]place{moves, float, moves}},
	{"Pad", [3]place{moves, float, moves}},
	{"Resize", [3]place{moves, float, moves}},
	{"DepthToSpace", [3]place{moves, float, moves}},
	{"SpaceToDepth", [3]place{moves, float, moves}},
}

// targetRules are the types that a target computes with.
type targetRules struct {
	column      int
	activations Range
	symmetric   bool // zero points of activations are 0
	bias        bool // biases are int32 with the product of the scales; else they stay float
	absorb      bool // a clamp that the quantization implies is left out
}

func (t Target) rules() (targetRules, error) {
	switch t {
	case "", ONNXRuntimeCPU:
		return targetRules{0, Uint8Range, false, true, true}, nil
	case TensorRT:
		return targetRules{1, Int8Range, true, false, false}, nil
	case OpenVINO:
		return targetRules{2, Uint8Range, false, false, false}, nil
	}
	return targetRules{}, fmt.Errorf("quantize: target %q: want onnxruntime-cpu, tensorrt or openvino", t)
}

// dtype returns the type of quantized activations.
func (r targetRules) dtype() model.DType {
	if r.activations == Int8Range {
		return model.Int8
	}
	return model.Uint8
}

// place returns how the target treats operators called op of the default domain.
func (r targetRules) place(op string) place {
	for _, p := range placements {
		if p.op == op {
			return p.at[r.column]
		}
	}
	return float
}

// Placed returns the operators that static quantization may touch on a target.
func (t Target) Placed() []string {
	r, err := t.rules()
	if err != nil {
		return nil
	}
	var ops []string
	for _, p := range placements {
		if p.at[r.column] != float {
			ops = append(ops, p.op)
		}
	}
	return ops
}

// ReduceRange decides whether weights keep to 7 bits (-64..64) on a target, and says why. x86 without VNNI multiplies
// u8 by s8 with VPMADDUBSW, which adds pairs in saturating int16: 2*255*127 overflows it, 2*255*64 does not. features are
// those of the CPU that the file is for, as kernel.Features lists them; arch is its GOARCH.
func (t Target) ReduceRange(arch string, features []string) (reduce bool, reason string) {
	switch {
	case t == TensorRT:
		return false, "TensorRT sums int8 products in int32"
	case arch != "amd64" && arch != "386":
		return false, arch + " sums int8 products in int32"
	}
	for _, f := range features {
		if strings.Contains(f, "vnni") || strings.Contains(f, "amx") {
			return false, "the CPU has " + f + ", which sums u8 x s8 products in int32"
		}
	}
	return true, "x86 without VNNI sums u8 x s8 products in saturating int16: 7-bit weights cannot overflow it"
}

// hostReduceRange is ReduceRange for this machine.
func (t Target) hostReduceRange(arch string) (bool, string) {
	return t.ReduceRange(arch, kernel.Features())
}
