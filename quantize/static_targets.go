package quantize

import (
	"fmt"

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
	{"GRU", [3]place{recurrent, float, float}},
	{"RNN", [3]place{recurrent, float, float}},
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
	dtype       model.DType // of activations
	symmetric   bool        // zero points of activations are 0
	bias        bool        // biases are int32 with the product of the scales; else they stay float
	absorb      bool        // a clamp that the quantization implies is left out
}

func (t Target) rules() (targetRules, error) {
	switch t {
	case "", ONNXRuntimeCPU:
		return targetRules{0, Uint8Range, model.Uint8, false, true, true}, nil
	case TensorRT:
		return targetRules{1, Int8Range, model.Int8, true, false, false}, nil
	case OpenVINO:
		return targetRules{2, Uint8Range, model.Uint8, false, false, false}, nil
	}
	return targetRules{}, fmt.Errorf("quantize: target %q: want onnxruntime-cpu, tensorrt or openvino", t)
}

// rules are those of the target with the types of the settings in the place of its own.
func (s *Static) rules() (targetRules, error) {
	r, err := s.Target.rules()
	if err != nil {
		return r, err
	}
	if s.Weights != model.Invalid && s.Weights != model.Int8 && (s.Weights != model.Uint8 || s.Target == TensorRT) {
		return r, fmt.Errorf("quantize: weights of %s for %s: want int8, or, but for %s, uint8: %w", s.Weights, s.Target, TensorRT, model.ErrUnsupported)
	}
	if s.Activations == model.Invalid || s.Activations == r.dtype {
		return r, nil
	}
	span, ok := rangeOf(s.Activations)
	switch {
	case !ok || s.Activations.Bits() < 8:
		return r, fmt.Errorf("quantize: activations of %s: want uint8, int8, uint16 or int16: %w", s.Activations, model.ErrUnsupported)
	case s.Target != "" && s.Target != ONNXRuntimeCPU:
		return r, fmt.Errorf("quantize: activations of %s for %s: it computes with %s: %w", s.Activations, s.Target, r.dtype, model.ErrUnsupported)
	case s.Activations.Bits() > 8 && s.Format == QOperator:
		return r, fmt.Errorf("quantize: activations of %s as %s: integer operators have 8 bits: %w", s.Activations, QOperator, model.ErrUnsupported)
	}
	r.activations, r.dtype = span, s.Activations
	if s.Activations.Bits() > 8 {
		r.bias = false // a step of the products is too small for the biases of many models in int32
	}
	return r, nil
}

// opset returns the lowest operator set that the written graph needs, and what for.
func (s *Static) opset() (int64, string) {
	if s.Activations.Bits() > 8 {
		return 21, "QuantizeLinear nodes of 16 bits"
	}
	return 13, "DequantizeLinear by axis"
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
