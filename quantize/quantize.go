package quantize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
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

// check returns ErrNothing when less than MinShare of the weight bytes was touched.
func check(scheme string, notes []model.Note) error {
	changed, all := model.Touched(notes)
	if all > 0 && float64(changed) >= MinShare*float64(all) {
		return nil
	}
	share := 0.0
	if all > 0 {
		share = 100 * float64(changed) / float64(all)
	}
	return fmt.Errorf("quantize: %s would change %.1f %% of the weight bytes, less than %.0f %%: %w",
		scheme, share, 100*MinShare, ErrNothing)
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
		switch {
		case n.Op == "MatMulInteger" || n.Op == "DynamicQuantizeMatMul" || n.Op == "MatMulIntegerToFloat":
			found["dynamic int8 (MatMulInteger)"] = true
		case n.Op == "ConvInteger":
			found["ConvInteger"] = true
		case n.Op == "DynamicQuantizeLSTM":
			found["DynamicQuantizeLSTM"] = true
		case n.Op == "QuantizeLinear" || n.Op == "DequantizeLinear":
			found["QDQ"] = true
		case strings.HasPrefix(n.Op, "QLinear") || n.Op == "QGemm" || n.Op == "QAttention":
			found["QOperator"] = true
		case n.Op == "MatMulNBits" || n.Op == "GatherBlockQuantized":
			found["block-wise weights"] = true
		}
		for _, sub := range n.Subgraphs() {
			styles(sub, found)
		}
	}
}

// newNote starts the note of a weight as left.
func newNote(w *model.Weight) model.Note {
	n := model.Note{Weight: w.Name, Action: model.Left, BytesBefore: int64(w.Tensor.ByteSize()), BytesAfter: int64(w.Tensor.ByteSize())}
	for _, u := range w.Uses {
		if !slices.Contains(n.Ops, u.Node.Op) {
			n.Ops = append(n.Ops, u.Node.Op)
		}
	}
	return n
}
