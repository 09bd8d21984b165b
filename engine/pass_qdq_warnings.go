package engine

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// warnings names the quantized operators among nodes that run in float all the same, by operator and reason.
func (p *qdq) warnings(nodes []*model.Node) []string {
	type kind struct{ op, why string }
	count, alive := map[kind]int{}, map[*model.Node]bool{}
	for _, n := range slices.Backward(nodes) { // readers first: what only dead nodes read is dead
		if alive[n] = p.alive(n, alive); !alive[n] {
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

// alive reports whether a node is still there and anything reads it; nodes that the pass added are, and the old ones behind n are known.
func (p *qdq) alive(n *model.Node, known map[*model.Node]bool) bool {
	if p.e.gone[n] {
		return false
	}
	for _, o := range n.Outputs {
		if p.e.pinned[o] {
			return true
		}
		for _, u := range p.e.users[o] {
			if is, old := known[u]; is || !old {
				return true
			}
		}
	}
	return false
}
