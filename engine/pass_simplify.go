package engine

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// passList returns the passes in their order, those that NoFusion leaves where it is bare.
func passList(bare bool) []pass {
	fold := pass{"fold", func(c *compiler, g *model.Graph) error { return c.fold(g) }}
	if bare {
		return []pass{fold}
	}
	return []pass{
		{"gathercast", rewrite(castAfterGather)},
		fold,
		{"identity", rewrite(removeIdentity)},
		{"cast", rewrite(removeCast)},
		{"common", rewrite2(commonNodes)},
		{"shapes", shapesPass},
		{"dead", deadNodes},
		fold,
		{"qdq", qdqPass},
		{"dead", deadNodes},
		{"qdqtable", rewrite(absorbTable)},
		{"layernorm", rewrite(fuseLayerNorm)},
		{"rmsnorm", rewrite(fuseRMSNorm)},
		{"gelu", rewrite(fuseGelu)},
		{"hardswish", rewrite(fuseHardSwish)},
		{"silu", rewrite(fuseSiLU)},
		{"quantmatmul", rewrite(fuseQuantMatMul)},
		{"quantconv", rewrite(fuseQuantConv)},
		{"quantgather", rewrite(fuseQuantGather)},
		{"nbits", rewrite(fuseNBits)},
		{"nbitsbias", rewrite(fuseNBitsBias)},
		{"convbn", rewrite(fuseConvBN)},
		{"attention", attentionPass},
		{"epilogue", epiloguePass},
		{"layout", layoutPass},
		{"dead", deadNodes},
	}
}

// castAfterGather turns Gather of a converted half-size table into the conversion of the rows that are gathered, so that
// the table stays as it is in the file.
func castAfterGather(e *editor, n *model.Node) {
	if !n.Is("Gather") || len(n.Inputs) != 2 {
		return
	}
	cast := e.from(n.In(0), "Cast")
	if cast == nil {
		return
	}
	table := e.constant(cast.In(0))
	if table == nil || !isHalf(table) || model.DType(cast.Int("to", 0)) != model.Float32 || e.pinned[cast.Out(0)] {
		return
	}
	rows := *n
	rows.Inputs = []string{cast.In(0), n.In(1)}
	rows.Outputs = []string{n.Out(0) + "/half"}
	wide := *cast
	wide.Name, wide.Inputs, wide.Outputs = n.Name+"/cast", rows.Outputs, n.Outputs
	e.replace(&wide, n)
	e.index(&rows)
	e.g.Nodes = append(e.g.Nodes, &rows)
	if len(e.users[cast.Out(0)]) == 0 {
		e.remove(cast)
	}
}

// removeIdentity bypasses nodes that change nothing.
func removeIdentity(e *editor, n *model.Node) {
	switch {
	case n.Is("Identity") && len(n.Inputs) == 1:
	case n.Is("Dropout") && n.In(2) == "" && (len(n.Outputs) == 1 || n.Outputs[1] == "" || len(e.users[n.Outputs[1]]) == 0 && !e.pinned[n.Outputs[1]]):
	case n.Is("Cast") && e.from(n.In(0), "Cast") != nil && e.from(n.In(0), "Cast").Int("to", 0) == n.Int("to", -1):
	default:
		return
	}
	if e.maker[n.In(0)] == nil && e.constant(n.In(0)) == nil && len(e.users[n.In(0)]) == 0 {
		return
	}
	if e.rewire(n.Out(0), n.In(0)) {
		e.remove(n)
	}
}

// rewrite2 runs a rewrite that keeps state between nodes.
func rewrite2(f func() func(e *editor, n *model.Node)) func(c *compiler, g *model.Graph) error {
	return func(c *compiler, g *model.Graph) error { return rewrite(f())(c, g) }
}

// commonNodes joins nodes that compute the same.
func commonNodes() func(e *editor, n *model.Node) {
	seen := map[string]*model.Node{}
	var key []byte // of one node: what it is made of, each behind its length
	return func(e *editor, n *model.Node) {
		if len(n.Outputs) != 1 || len(n.Subgraphs()) > 0 {
			return
		}
		def, err := e.c.lookup(n)
		if err != nil || def.random || e.c.custom(n) {
			return
		}
		key = appendStrings(key[:0], n.Domain, n.Op)
		key = appendStrings(binary.AppendUvarint(key, uint64(len(n.Inputs))), n.Inputs...)
		for i := range n.Attrs {
			a := &n.Attrs[i]
			if a.T != nil || len(a.Tensors) > 0 || len(a.Raw) > 0 {
				return
			}
			key = appendAttr(key, a)
		}
		first, ok := seen[string(key)]
		if !ok {
			seen[string(key)] = n
			return
		}
		if e.rewire(n.Out(0), first.Out(0)) {
			e.remove(n)
		}
	}
}

func appendStrings[S string | []byte](key []byte, list ...S) []byte {
	for _, s := range list {
		key = append(binary.AppendUvarint(key, uint64(len(s))), s...)
	}
	return key
}

// appendAttr appends an attribute without tensors and graphs.
func appendAttr(key []byte, a *model.Attr) []byte {
	key = append(appendStrings(key, a.Name), byte(a.Kind))
	key = binary.LittleEndian.AppendUint32(key, math.Float32bits(a.F))
	key = appendStrings(binary.AppendVarint(key, a.I), a.S)
	key = binary.AppendUvarint(key, uint64(len(a.Floats)))
	for _, v := range a.Floats {
		key = binary.LittleEndian.AppendUint32(key, math.Float32bits(v))
	}
	key = binary.AppendUvarint(key, uint64(len(a.Ints)))
	for _, v := range a.Ints {
		key = binary.AppendVarint(key, v)
	}
	return appendStrings(binary.AppendUvarint(key, uint64(len(a.Strings))), a.Strings...)
}

// deadNodes removes nodes and initializers that nobody reads.
func deadNodes(c *compiler, g *model.Graph) error {
	live := make(map[string]bool, 2*len(g.Nodes))
	for _, v := range g.Outputs {
		live[v.Name] = true
	}
	kept := make([]*model.Node, 0, len(g.Nodes))
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		used := len(n.Outputs) == 0
		for _, o := range n.Outputs {
			used = used || live[o] || c.watch[o]
		}
		if !used {
			continue
		}
		for _, in := range n.Inputs {
			live[in] = true
		}
		for _, in := range model.Captures(n) {
			live[in] = true
		}
		kept = append(kept, n)
	}
	if len(kept) < len(g.Nodes) {
		slices.Reverse(kept)
		g.Nodes, c.view = kept, nil
	}
	inputs := map[string]bool{}
	for _, v := range g.Inputs {
		inputs[v.Name] = true
	}
	g.KeepInitializers(func(name string) bool { return live[name] || inputs[name] })
	return nil
}
