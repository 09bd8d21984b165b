package quantize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// Dynamic are the settings of dynamic int8 quantization: weights are stored as 8-bit integers,
// activations are quantized at run time.
type Dynamic struct {
	Granularity Granularity // "" means PerChannel
	Ops         []string    // operators to quantize; nil means DynamicOps
}

// DynamicOps are the operators that dynamic int8 quantization handles.
var DynamicOps = []string{"MatMul", "Gemm", "Gather", "LSTM"}

// Apply rewrites g in place. MatMul and Gemm with a constant right-hand side become
// DynamicQuantizeLinear, MatMulInteger, Cast and Mul, the pattern that ONNX Runtime fuses (int8
// symmetric weights); Gather from a constant table reads a uint8 table and dequantizes the rows;
// LSTM becomes com.microsoft.DynamicQuantizeLSTM. The notes say for every weight of two or more
// dimensions what was done or why it was left. It fails with ErrQuantized on a model that is
// quantized already and with ErrNothing (notes still given) when less than MinShare would change.
func (d Dynamic) Apply(g *model.Graph) ([]model.Note, error) {
	if err := refuseQuantized(g); err != nil {
		return nil, err
	}
	if d.Granularity == "" {
		d.Granularity = PerChannel
	}
	if d.Granularity != PerChannel && d.Granularity != PerTensor {
		return nil, fmt.Errorf("quantize: granularity %q: want %s or %s", d.Granularity, PerTensor, PerChannel)
	}
	if d.Ops == nil {
		d.Ops = DynamicOps
	}
	for _, op := range d.Ops {
		if !slices.Contains(DynamicOps, op) {
			return nil, fmt.Errorf("quantize: dynamic int8 of operator %q: want some of %s: %w", op, strings.Join(DynamicOps, ", "), model.ErrUnsupported)
		}
	}
	if v := g.Opset(""); v < 11 {
		return nil, fmt.Errorf("quantize: dynamic int8 needs opset 11, the model has %d: %w", v, model.ErrUnsupported)
	}
	rw := &dynamicRewrite{Dynamic: d, names: newNamer(g), quantized: map[*model.Graph]map[string][3]string{},
		weights: map[*model.Node][2]*model.Weight{}, lstm: map[*model.Node]string{}}
	var notes []model.Note
	weights := g.Weights()
	rw.collectLSTM(weights)
	for _, w := range weights {
		dt := w.Tensor.DType()
		if !dt.IsFloat() || len(w.Tensor.Shape()) < 1 {
			continue
		}
		n := newNote(w)
		action, why, bytes, err := rw.weight(w)
		if err != nil {
			return nil, fmt.Errorf("quantize: weight %q: %w", w.Name, err)
		}
		if why != "" {
			n.Reason = why
		} else {
			n.Action, n.BytesAfter = action, bytes
		}
		notes = append(notes, n)
	}
	if rw.microsoft {
		g.SetOpset("com.microsoft", max(1, g.Opset("com.microsoft")))
	}
	return notes, check("dynamic int8", notes)
}

type dynamicRewrite struct {
	Dynamic
	names *namer
	// quantized holds per graph and activation the names that DynamicQuantizeLinear made of it, so that
	// several products share one.
	quantized map[*model.Graph]map[string][3]string
	// weights holds W and R of every LSTM node whose both are constants read by it alone, lstm why a
	// node seen already is left ("" when it was quantized).
	weights   map[*model.Node][2]*model.Weight
	lstm      map[*model.Node]string
	microsoft bool
}

// weight quantizes w for all its readers, or says why it is left.
func (r *dynamicRewrite) weight(w *model.Weight) (action, why string, bytes int64, err error) {
	if len(w.Uses) == 0 {
		return "", "no node reads it", 0, nil
	}
	op := w.Uses[0].Node.Op
	if op == "DynamicQuantizeLSTM" {
		op = "LSTM" // its other matrix came first and took this one along
	}
	for _, u := range w.Uses {
		if u.Graph != w.Graph {
			return "", "read inside a body", 0, nil
		}
		if u.Node.Op != w.Uses[0].Node.Op {
			return "", "read by several operators", 0, nil
		}
	}
	switch {
	case w.Tensor.DType() != model.Float32:
		return "", fmt.Sprintf("stored as %s", w.Tensor.DType()), 0, nil
	case op == "Conv" || op == "ConvTranspose":
		return "", "Conv needs static quantization with calibration data", 0, nil
	case len(w.Tensor.Shape()) < 2:
		return "", "not a matrix", 0, nil
	case !slices.Contains(r.Ops, op):
		return "", fmt.Sprintf("read by %s, which dynamic int8 leaves in float", op), 0, nil
	}
	switch op {
	case "MatMul", "Gemm":
		return r.matmul(w)
	case "Gather":
		return r.gather(w)
	default:
		return r.lstmWeight(w)
	}
}

// replace puts nodes in the place of old in its graph.
func replace(g *model.Graph, old *model.Node, nodes ...*model.Node) {
	i := slices.Index(g.Nodes, old)
	g.Nodes = slices.Replace(g.Nodes, i, i+1, nodes...)
}

// drop removes the float weight when its last reader is gone.
func drop(w *model.Weight) {
	if w.Node != nil {
		w.Graph.Nodes = slices.DeleteFunc(w.Graph.Nodes, func(n *model.Node) bool { return n == w.Node })
		return
	}
	w.Graph.RemoveInitializer(w.Value)
	w.Graph.Inputs = slices.DeleteFunc(w.Graph.Inputs, func(v *model.Value) bool { return v.Name == w.Value })
}
