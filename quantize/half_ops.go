package quantize

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// since are the opsets from which an operator takes and gives float16 and bfloat16.
type since struct{ f16, bf16 int64 }

// halfOps are the operators of the default domain that HalfGraph computes in half precision, with the opsets
// that allow it (the type constraints of the ONNX operator schemas, opsets 1 to 28).
var halfOps = map[string]since{
	"Abs": {1, 13}, "Add": {1, 13}, "AveragePool": {1, 22}, "BatchNormalization": {1, 14}, "Ceil": {1, 13},
	"Clip": {1, 13}, "Conv": {1, 22}, "ConvTranspose": {1, 22}, "Div": {1, 13}, "Dropout": {1, 13},
	"Einsum": {12, 28}, "Elu": {1, 22}, "Erf": {9, 13}, "Floor": {1, 13}, "GRU": {1, 22}, "Gelu": {20, 20},
	"Gemm": {1, 13}, "GlobalAveragePool": {1, 22}, "GlobalMaxPool": {1, 22}, "HardSigmoid": {1, 22},
	"HardSwish": {14, 22}, "LSTM": {1, 22}, "LayerNormalization": {17, 17}, "LeakyRelu": {1, 16},
	"MatMul": {1, 13}, "Max": {1, 13}, "MaxPool": {1, 22}, "Min": {1, 13}, "Mul": {1, 13}, "Neg": {1, 13},
	"PRelu": {1, 16}, "RMSNormalization": {23, 23}, "RNN": {1, 22}, "ReduceMax": {1, 13}, "ReduceMin": {1, 13},
	"Relu": {1, 13}, "Resize": {10, 13}, "Selu": {1, 22}, "Sigmoid": {1, 13}, "Sign": {9, 13},
	"Softmax": {1, 13}, "Sqrt": {1, 13}, "Reciprocal": {1, 13}, "Sub": {1, 13}, "Sum": {1, 13},
	"Swish": {24, 24}, "Tanh": {1, 13}, "Round": {11, 22}, "Softplus": {1, 22}, "Softsign": {1, 22},
	"LogSoftmax": {1, 13}, "Mish": {18, 22}, "Upsample": {1, 1 << 30},
}

// moveOps copy elements: they work on float16 or float32, whichever their input is in.
var moveOps = map[string]since{
	"Concat": {1, 13}, "DepthToSpace": {1, 13}, "Expand": {8, 13}, "Flatten": {1, 13}, "Gather": {1, 13},
	"GatherElements": {11, 13}, "GatherND": {11, 13}, "Identity": {1, 13}, "Pad": {1, 13}, "Reshape": {1, 13},
	"ScatterElements": {11, 13}, "ScatterND": {11, 13}, "Slice": {1, 13}, "SpaceToDepth": {1, 13},
	"Split": {1, 13}, "Squeeze": {1, 13}, "Tile": {1, 13}, "Transpose": {1, 13}, "Trilu": {14, 14},
	"Unsqueeze": {1, 13}, "Where": {9, 16}, "ReverseSequence": {10, 28},
}

// pointwise are the operators that stay in float32 between nodes that are kept there: casting down for one of
// them and up again would lose what the others were kept for.
var pointwise = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Sqrt": true,
	"Reciprocal": true, "Neg": true, "Abs": true, "Clip": true, "Max": true, "Min": true, "Sum": true}

// wideOps are kept in float32 although half precision types are allowed, with the reason.
var wideOps = map[string]string{
	"Pow": "powers leave the range of half precision", "Exp": "exponentials leave the range of half precision",
	"Log": "logarithms of small values need float32", "CumSum": sums, "ReduceSum": sums, "ReduceMean": sums,
	"ReduceL1": sums, "ReduceL2": sums, "ReduceSumSquare": sums, "ReduceLogSum": sums, "ReduceLogSumExp": sums,
	"ReduceProd": "products leave the range of half precision", "InstanceNormalization": sums, "LRN": sums,
	"GroupNormalization": sums, "MeanVarianceNormalization": sums, "LpNormalization": sums, "LpPool": sums,
	"Equal": compare, "Less": compare, "Greater": compare, "LessOrEqual": compare, "GreaterOrEqual": compare,
	"ArgMax": compare, "ArgMin": compare, "TopK": compare,
	"If": bodies, "Loop": bodies, "Scan": bodies,
}

const (
	sums    = "sums of many elements need float32"
	compare = "comparisons decide on the last bits"
	bodies  = "bodies exchange values in float32"
)

// anyFloat are the operators that read a value of any float type and whose output type does not depend on it.
var anyFloat = map[string]bool{"Cast": true, "Shape": true, "Size": true, "NonZero": true}

// floatInput reports whether input i of operator op must be or is best float32 in a half precision node.
func floatInput(op string, i int) bool {
	return op == "Resize" && (i == 1 || i == 2) || op == "Upsample" && i == 1 || op == "Dropout" && i == 1
}

// floatOutput reports whether output i of a half precision node stays float32.
func floatOutput(op string, i int) bool { return op == "LayerNormalization" && i > 0 }

// missing returns why op cannot compute in dtype at the opset of the model, or "".
func (v since) missing(op string, dtype model.DType, opset int64) string {
	need := v.f16
	if dtype == model.BFloat16 {
		need = v.bf16
	}
	if opset < need {
		return fmt.Sprintf("%s has no %s form at opset %d", op, shortName(dtype), opset)
	}
	return ""
}
