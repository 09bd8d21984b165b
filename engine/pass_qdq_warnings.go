package engine

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// warnings names the quantized operators among nodes that run in float all the same, by operator and reason.
func (p *qdq) warnings(nodes []*model.Node, live map[*model.Node]bool) []string {
	type kind struct{ op, why string }
	count := map[kind]int{}
	for _, n := range nodes {
		if p.e.gone[n] || !live[n] {
			continue
		}
		why := p.stays[n]
		if why == "" {
			why = p.silent(n)
		}
		if why != "" {
			count[kind{n.Op, why}]++
		}
	}
	var notes []string
	for k, c := range count {
		notes = append(notes, fmt.Sprintf("qdq: %d quantized %s run in float: %s", c, k.op, k.why))
	}
	slices.Sort(notes)
	return notes
}

// silent returns why a quantized product that no rule looked at runs in float, "" for other nodes.
func (p *qdq) silent(n *model.Node) string {
	switch {
	case n.Is("LSTM") || n.Is("GRU") || n.Is("RNN"):
		if p.e.from(n.In(1), "DequantizeLinear") != nil || p.stored[n] {
			return "its weights are dequantized once, at load"
		}
	case n.Is("Conv") || n.Is("ConvTranspose") || n.Is("Gemm") || n.Is("MatMul"):
		if !p.quantized(n) && !p.stored[n] {
			return ""
		}
		if _, ok := p.dequantized(n.In(0)); !ok {
			return "only its weights are quantized"
		}
		return "its result is not quantized"
	}
	return ""
}
