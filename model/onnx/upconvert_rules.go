package onnx

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// upRule returns what takes the place of n when its graph is raised to u.version. It may change n.
type upRule func(u *upConverter, n *model.Node) ([]*model.Node, error)

// upRules has an entry for every operator of the default domain up to opset 21: the rule of those whose signature,
// default or meaning changes between 7 and 21, and nil for those that stay as they are, or only take more types or
// optional attributes whose default is the old meaning.
var upRules = map[string]upRule{
	"BatchNormalization": upBatchNormalization,
	"Clip":               upClip,
	"DFT":                upDFT,
	"Dropout":            upDropout,
	"GridSample":         upGridSample,
	"GroupNormalization": upGroupNormalization,
	"Hardmax":            upSoftmax,
	"LogSoftmax":         upSoftmax,
	"Pad":                upPad,
	"ReduceL1":           upReduce,
	"ReduceL2":           upReduce,
	"ReduceLogSum":       upReduce,
	"ReduceLogSumExp":    upReduce,
	"ReduceMax":          upReduce,
	"ReduceMean":         upReduce,
	"ReduceMin":          upReduce,
	"ReduceProd":         upReduce,
	"ReduceSum":          upReduceSum,
	"ReduceSumSquare":    upReduce,
	"Resize":             upResize,
	"RoiAlign":           upRoiAlign,
	"Scan":               upScan,
	"Scatter":            upScatter,
	"Slice":              upSlice,
	"Softmax":            upSoftmax,
	"Split":              upSplit,
	"Squeeze":            upAxes13,
	"TopK":               upTopK,
	"Unsqueeze":          upAxes13,
	"Upsample":           upUpsample,

	"Abs": nil, "Acos": nil, "Acosh": nil, "Add": nil, "AffineGrid": nil, "And": nil, "ArgMax": nil, "ArgMin": nil, "Asin": nil,
	"Asinh": nil, "Atan": nil, "Atanh": nil, "AveragePool": nil, "Bernoulli": nil, "BitShift": nil, "BitwiseAnd": nil,
	"BitwiseNot": nil, "BitwiseOr": nil, "BitwiseXor": nil, "BlackmanWindow": nil, "Cast": nil, "CastLike": nil, "Ceil": nil,
	"Celu": nil, "CenterCropPad": nil, "Col2Im": nil, "Compress": nil, "Concat": nil, "ConcatFromSequence": nil, "Constant": nil,
	"ConstantOfShape": nil, "Conv": nil, "ConvInteger": nil, "ConvTranspose": nil, "Cos": nil, "Cosh": nil, "CumSum": nil,
	"DeformConv": nil, "DepthToSpace": nil, "DequantizeLinear": nil, "Det": nil, "Div": nil, "DynamicQuantizeLinear": nil,
	"Einsum": nil, "Elu": nil, "Equal": nil, "Erf": nil, "Exp": nil, "Expand": nil, "EyeLike": nil, "Flatten": nil, "Floor": nil,
	"GRU": nil, "Gather": nil, "GatherElements": nil, "GatherND": nil, "Gelu": nil, "Gemm": nil, "GlobalAveragePool": nil,
	"GlobalLpPool": nil, "GlobalMaxPool": nil, "Greater": nil, "GreaterOrEqual": nil, "HammingWindow": nil, "HannWindow": nil,
	"HardSigmoid": nil, "HardSwish": nil, "Identity": nil, "If": nil, "ImageDecoder": nil, "InstanceNormalization": nil,
	"IsInf": nil, "IsNaN": nil, "LRN": nil, "LSTM": nil, "LayerNormalization": nil, "LeakyRelu": nil, "Less": nil,
	"LessOrEqual": nil, "Log": nil, "Loop": nil, "LpNormalization": nil, "LpPool": nil, "MatMul": nil, "MatMulInteger": nil,
	"Max": nil, "MaxPool": nil, "MaxRoiPool": nil, "MaxUnpool": nil, "Mean": nil, "MeanVarianceNormalization": nil,
	"MelWeightMatrix": nil, "Min": nil, "Mish": nil, "Mod": nil, "Mul": nil, "Multinomial": nil, "Neg": nil,
	"NegativeLogLikelihoodLoss": nil, "NonMaxSuppression": nil, "NonZero": nil, "Not": nil, "OneHot": nil, "Optional": nil,
	"OptionalGetElement": nil, "OptionalHasElement": nil, "Or": nil, "PRelu": nil, "Pow": nil, "QLinearConv": nil,
	"QLinearMatMul": nil, "QuantizeLinear": nil, "RNN": nil, "RandomNormal": nil, "RandomNormalLike": nil, "RandomUniform": nil,
	"RandomUniformLike": nil, "Range": nil, "Reciprocal": nil, "RegexFullMatch": nil, "Relu": nil, "Reshape": nil,
	"ReverseSequence": nil, "Round": nil, "STFT": nil, "ScatterElements": nil, "ScatterND": nil, "Selu": nil, "SequenceAt": nil,
	"SequenceConstruct": nil, "SequenceEmpty": nil, "SequenceErase": nil, "SequenceInsert": nil, "SequenceLength": nil,
	"SequenceMap": nil, "Shape": nil, "Shrink": nil, "Sigmoid": nil, "Sign": nil, "Sin": nil, "Sinh": nil, "Size": nil,
	"SoftmaxCrossEntropyLoss": nil, "Softplus": nil, "Softsign": nil, "SpaceToDepth": nil, "SplitToSequence": nil, "Sqrt": nil,
	"StringConcat": nil, "StringNormalizer": nil, "StringSplit": nil, "Sub": nil, "Sum": nil, "Tan": nil, "Tanh": nil,
	"TfIdfVectorizer": nil, "ThresholdedRelu": nil, "Tile": nil, "Transpose": nil, "Trilu": nil, "Unique": nil, "Where": nil,
	"Xor": nil,
}

func keep(n *model.Node) ([]*model.Node, error) { return []*model.Node{n}, nil }

// intsToInput makes an attribute of integers input i, as a tensor of int64.
func (u *upConverter) intsToInput(n *model.Node, attr string, i int) error {
	a, err := take(n, attr)
	if err != nil || a == nil {
		return err
	}
	setInput(n, i, u.constant(label(n)+"_"+attr, model.FromSlice([]int{len(a.Ints)}, a.Ints)))
	return nil
}

// upAxes13: axes of Squeeze and Unsqueeze became an input at 13.
func upAxes13(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 13 {
		return []*model.Node{n}, u.intsToInput(n, "axes", 1)
	}
	return keep(n)
}

// upReduceSum: axes became an input at 13, where an empty list means all axes, as before.
func upReduceSum(u *upConverter, n *model.Node) ([]*model.Node, error) { return upAxes13(u, n) }

// upReduce: as ReduceSum, at 18.
func upReduce(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 18 {
		return []*model.Node{n}, u.intsToInput(n, "axes", 1)
	}
	return keep(n)
}

// upSplit: split became an input at 13; from 18 on equal parts must be counted.
func upSplit(u *upConverter, n *model.Node) ([]*model.Node, error) {
	switch {
	case u.version == 13:
		return []*model.Node{n}, u.intsToInput(n, "split", 1)
	case u.version == 18 && n.In(1) == "":
		n.SetAttr(model.IntAttr("num_outputs", int64(len(n.Outputs))))
	}
	return keep(n)
}

// upSlice: starts, ends and axes became inputs at 10.
func upSlice(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 10 {
		for i, attr := range []string{"starts", "ends", "axes"} {
			if err := u.intsToInput(n, attr, i+1); err != nil {
				return nil, err
			}
		}
	}
	return keep(n)
}

// upTopK: k became an input at 10.
func upTopK(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version == 10 {
		a, err := take(n, "k")
		if err != nil {
			return nil, err
		}
		if a == nil {
			return nil, fmt.Errorf("attribute %q is missing", "k")
		}
		setInput(n, 1, u.constant(label(n)+"_k", model.FromSlice([]int{1}, []int64{a.I})))
	}
	return keep(n)
}

// upDropout: the mask became bool at 10; ratio became an input at 12. Without training_mode the operator stays
// the identity that it is in inference.
func upDropout(u *upConverter, n *model.Node) ([]*model.Node, error) {
	switch u.version {
	case 10:
		if n.Out(1) != "" && u.read[n.Out(1)] {
			return nil, fmt.Errorf("%w: its mask %q changes its type at opset 10", model.ErrUnsupported, n.Out(1))
		}
		n.Outputs = n.Outputs[:min(len(n.Outputs), 1)]
	case 12:
		a, err := take(n, "ratio")
		if err != nil {
			return nil, err
		}
		if a != nil {
			setInput(n, 1, u.constant(label(n)+"_ratio", model.Scalar(a.F)))
		}
	}
	return keep(n)
}

// floatToInput makes a float attribute input i, as a scalar of the type of input 0.
func (u *upConverter) floatToInput(n *model.Node, a *model.Attr, i int) error {
	dt := u.typeOf(n.In(0)).DType
	t, err := model.FromFloat32(dt, []int{}, []float32{a.F})
	if err != nil {
		return fmt.Errorf("%w: attribute %q becomes an input, of the type of value %q, which is %s", model.ErrUnsupported, a.Name, n.In(0), dt)
	}
	setInput(n, i, u.constant(label(n)+"_"+a.Name, t))
	return nil
}

// upClip: min and max became inputs at 11, of the type of the data. A missing bound stays missing.
func upClip(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version != 11 {
		return keep(n)
	}
	for i, name := range []string{"min", "max"} {
		a, err := take(n, name)
		if err != nil {
			return nil, err
		}
		if a != nil {
			if err := u.floatToInput(n, a, i+1); err != nil {
				return nil, err
			}
		}
	}
	return keep(n)
}

// upPad: pads and value became inputs at 11, value of the type of the data.
func upPad(u *upConverter, n *model.Node) ([]*model.Node, error) {
	if u.version != 11 {
		return keep(n)
	}
	if err := u.intsToInput(n, "pads", 1); err != nil {
		return nil, err
	}
	a, err := take(n, "value")
	if err != nil {
		return nil, err
	}
	if a != nil && a.F != 0 && n.Str("mode", "constant") == "constant" {
		return []*model.Node{n}, u.floatToInput(n, a, 2)
	}
	return keep(n)
}

// upBatchNormalization: spatial went at 9; the outputs of training changed at 14.
func upBatchNormalization(u *upConverter, n *model.Node) ([]*model.Node, error) {
	switch u.version {
	case 9:
		a, err := take(n, "spatial")
		if err != nil {
			return nil, err
		}
		if a != nil && a.I != 1 {
			return nil, fmt.Errorf("%w: spatial = %d went at opset 9", model.ErrUnsupported, a.I)
		}
	case 14:
		for i := 1; i < len(n.Outputs); i++ {
			if n.Out(i) != "" && u.read[n.Out(i)] {
				return nil, fmt.Errorf("%w: output %d, %q, of training went at opset 14", model.ErrUnsupported, i, n.Out(i))
			}
		}
		if len(n.Outputs) > 1 {
			n.Outputs = n.Outputs[:1]
		}
	}
	return keep(n)
}
