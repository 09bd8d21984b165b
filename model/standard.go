package model

import (
	"fmt"
	"slices"
	"strings"
)

// standardOps are the operators of ONNX 1.23.2 (opset 28) in the default domain, those that a later opset dropped among them, as
// onnx.defs.get_all_schemas_with_history lists them; then the experimental ones of opset 1 to 8 that its change log names.
const standardOps = `
	Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization
	Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike CausalConvWithState
	Ceil Celu CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Conv ConvInteger
	ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div Dropout
	DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu
	Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow
	HannWindow HardSigmoid HardSwish Hardmax Identity If ImageDecoder InstanceNormalization IsInf IsNaN LRN LSTM
	LayerNormalization LeakyRelu Less LessOrEqual LinearAttention Log LogSoftmax Loop LpNormalization LpPool MatMul
	MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul
	Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement
	OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormal
	RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
	ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence
	RoiAlign RotaryEmbedding Round STFT Scan Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct
	SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap Shape Shrink Sigmoid Sign Sin Sinh Size Slice
	Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat
	StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu Tile TopK
	Transpose Trilu Unique Unsqueeze Upsample Where Xor

	ATen Affine ConstantFill Crop DynamicSlice GRUUnit GivenTensorFill ImageScaler ParametricSoftplus Scale ScaledTanh
`

// standardMLOps are those of the domain ai.onnx.ml (version 5).
const standardMLOps = `
	ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
	LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble
	TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
`

// CheckOperators reports the first node, in a body or a function too, that names an operator of the ONNX standard which that does not
// have: no runtime can run it. The error names node, operator and domain and wraps ErrUnsupported.
func CheckOperators(g *Graph) error {
	known := map[string]map[string]bool{"": set(standardOps), "ai.onnx.ml": set(standardMLOps)}
	local := functionNames(g)
	var found error
	eachNode(g, func(n *Node) bool {
		domain := short(n.Domain)
		ops, standard := known[domain]
		if standard && !ops[n.Op] && !local[domain+"\x00"+n.Op] {
			if domain == "" {
				domain = "ai.onnx"
			}
			found = fmt.Errorf("model: %s: the operator domain %q has no operator %s: %w", n, domain, n.Op, ErrUnsupported)
		}
		return found == nil
	})
	return found
}

// CustomOperators returns one node for each operator that is neither of the ONNX standard, nor of the domains given, nor a function of
// the model: only a runtime that was extended with it can run it.
func CustomOperators(g *Graph, domains ...string) []*Node {
	domains = append(domains, "", "ai.onnx", "ai.onnx.ml")
	local := functionNames(g)
	seen := map[string]bool{}
	var out []*Node
	eachNode(g, func(n *Node) bool {
		if key := short(n.Domain) + "\x00" + n.Op; !slices.Contains(domains, n.Domain) && !local[key] && !seen[key] {
			seen[key] = true
			out = append(out, n)
		}
		return true
	})
	return out
}

// short is the domain as nodes mostly write it: the default one has two names.
func short(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func set(names string) map[string]bool {
	out := map[string]bool{}
	for _, n := range strings.Fields(names) {
		out[n] = true
	}
	return out
}

// functionNames are the operators that the model defines itself, by domain and name.
func functionNames(g *Graph) map[string]bool {
	out := map[string]bool{}
	if g.Model != nil {
		for _, f := range g.Model.Functions {
			out[short(f.Domain)+"\x00"+f.Name] = true
		}
	}
	return out
}

// eachNode calls f for every node of g, of its bodies and of its functions until f returns false.
func eachNode(g *Graph, f func(*Node) bool) {
	var walk func(nodes []*Node) bool
	walk = func(nodes []*Node) bool {
		for _, n := range nodes {
			if !f(n) {
				return false
			}
			for _, s := range n.Subgraphs() {
				if !walk(s.Nodes) {
					return false
				}
			}
		}
		return true
	}
	if !walk(g.Nodes) || g.Model == nil {
		return
	}
	for _, fn := range g.Model.Functions {
		if !walk(fn.Nodes) {
			return
		}
	}
}
