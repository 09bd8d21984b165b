package quantize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Errors that callers test for.
var (
	// ErrNothing is wrapped when so little of a model would change that the stage is of no use.
	ErrNothing = errors.New("too little to quantize")
	// ErrQuantized is wrapped when the model holds quantized weights or integer operators already.
	ErrQuantized = errors.New("the model is quantized already")
)

// Granularity says how many elements share one scale.
type Granularity string

// Granularities.
const (
	PerTensor  Granularity = "per-tensor"
	PerChannel Granularity = "per-channel"
)

// MinShare is the share of the weight bytes that a scheme must change to be of use.
const MinShare = 0.10

// check returns ErrNothing when less than MinShare of the weight bytes was touched, of those that are not excluded.
func check(scheme string, notes []model.Note) error {
	changed, all := model.Touched(included(notes))
	if all > 0 && float64(changed) >= MinShare*float64(all) {
		return nil
	}
	share := 0.0
	if all > 0 {
		share = 100 * float64(changed) / float64(all)
	}
	hint := ""
	if !strings.HasPrefix(scheme, "static") && convolutions(notes)*2 > all {
		hint = "; most of them belong to convolutions, which int8-static quantizes"
	}
	return fmt.Errorf("quantize: %s would change %.1f %% of the weight bytes, less than %.0f %%: %w%s",
		scheme, share, 100*MinShare, ErrNothing, hint)
}

// convolutions returns the bytes of the weights that convolutions alone read.
func convolutions(notes []model.Note) (size int64) {
	for _, n := range notes {
		if len(n.Ops) > 0 && !slices.ContainsFunc(n.Ops, func(op string) bool { return op != "Conv" && op != "ConvTranspose" }) {
			size += n.BytesBefore
		}
	}
	return size
}

// Styles returns how the model is quantized already, each style once in a fixed order: "dynamic int8
// (MatMulInteger)", "ConvInteger", "DynamicQuantizeLSTM", "QDQ", "QOperator", "block-wise weights". Empty
// for a float model.
func Styles(g *model.Graph) []string {
	found := map[string]bool{}
	styles(g, found)
	var out []string
	for _, s := range []string{"dynamic int8 (MatMulInteger)", "ConvInteger", "DynamicQuantizeLSTM",
		"QDQ", "QOperator", "block-wise weights"} {
		if found[s] {
			out = append(out, s)
		}
	}
	return out
}

func styles(g *model.Graph, found map[string]bool) {
	for _, n := range g.Nodes {
		if s := style(n); s != "" {
			found[s] = true
		}
		for _, sub := range n.Subgraphs() {
			styles(sub, found)
		}
	}
}

// style returns the style of quantization that an operator belongs to, "" for a float one.
func style(n *model.Node) string {
	switch n.Op {
	case "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "DynamicQuantizeLinear":
		return "dynamic int8 (MatMulInteger)"
	case "ConvInteger", "DynamicQuantizeLSTM":
		return n.Op
	case "QuantizeLinear", "DequantizeLinear":
		return "QDQ"
	case "QGemm", "QAttention", "QEmbedLayerNormalization":
		return "QOperator"
	case "MatMulNBits", "GatherBlockQuantized":
		return "block-wise weights"
	}
	if strings.HasPrefix(n.Op, "QLinear") {
		return "QOperator"
	}
	return ""
}

// withOpset runs stage on g, raised to opset need first where it is older; a note then says so. g is unchanged after
// an error.
func withOpset(g *model.Graph, need int64, what string, stage func(*model.Graph) ([]model.Note, error)) ([]model.Note, error) {
	have := g.Opset("")
	if have >= need {
		return stage(g)
	}
	need = max(need, 13) // the lowest that there are rules for
	c := g.Clone()
	if err := onnx.UpConvert(c, need); err != nil {
		return nil, fmt.Errorf("quantize: %s need opset %d, the model has %d: %w", what, need, have, err)
	}
	notes, err := stage(c)
	if err != nil {
		return notes, err
	}
	*g = *c
	return append([]model.Note{{Weight: "(model)", Action: fmt.Sprintf("opset %d to %d", have, need), Reason: what + " need it"}}, notes...), nil
}

// otherNotes returns the note of a weight that is no float32: none for one of a few elements, as most are shapes
// and indices.
func otherNotes(w *model.Weight) []model.Note {
	if w.Tensor.Len() < minHalf {
		return nil
	}
	n := newNote(w)
	n.Reason = "stored as " + w.Tensor.DType().String()
	return []model.Note{n}
}

// newNote starts the note of a weight as left.
func newNote(w *model.Weight) model.Note {
	n := model.Note{Weight: w.Name, Reader: w.Reader(), Action: model.Left, BytesBefore: int64(w.Tensor.ByteSize()), BytesAfter: int64(w.Tensor.ByteSize())}
	for _, u := range w.Uses {
		if !slices.Contains(n.Ops, u.Node.Op) {
			n.Ops = append(n.Ops, u.Node.Op)
		}
	}
	return n
}
