package quantize

import (
	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TimeShares returns the share of the time of a run that goes into products with each weight of the list. The time of each kind
// of operator in the profile is spread over its nodes by their multiply-accumulates, those without weights included, at the
// shapes of the first of the feeds; look-ups count what they copy. Where a shape is not known, the elements of the weight stand
// for its node. A node that reads two of the weights, as a recurrence, is divided by the work with each.
func TimeShares(profile []engine.OpTime, g *model.Graph, list []*model.Weight, feeds engine.Feeds) ([]float64, error) {
	shapes, err := shapesOf(g, feeds)
	if err != nil {
		return nil, err
	}
	var total float64
	byKind := map[string]float64{}
	for _, t := range profile {
		total += t.Time.Seconds()
		byKind[kindOf(t.Op)] += t.Time.Seconds()
	}
	work := map[string]float64{} // of all nodes of a kind
	weights := map[string]*model.Tensor{}
	for _, w := range g.Weights() {
		weights[w.Value] = w.Tensor
	}
	eachGraph(g, func(g *model.Graph) {
		for _, n := range g.Nodes {
			for _, in := range sensedOps[n.Op] {
				t := weights[n.In(in)]
				if t == nil && (n.Op != "MatMul" && n.Op != "Gemm" || in == 0 || weights[n.In(0)] != nil) {
					continue // not a weight, and no product of two activations
				}
				work[kindOf(n.Op)] += workOf(n, in, t, shapes)
			}
		}
	})
	out := make([]float64, len(list))
	for i, w := range list {
		for _, u := range w.Uses {
			k := kindOf(u.Node.Op)
			if own := workOf(u.Node, u.Input, w.Tensor, shapes); total > 0 && work[k] > 0 {
				out[i] += byKind[k] / total * min(1, own/work[k])
			}
		}
	}
	return out, nil
}

// shapesOf returns the shapes of values with the inputs of the first feed; those that cannot be inferred are not there.
func shapesOf(g *model.Graph, feeds engine.Feeds) (map[string][]int, error) {
	c := g.Clone()
	if feeds.All != nil {
		for f, err := range feeds.All() {
			if err != nil {
				return nil, err
			}
			for _, v := range c.Inputs {
				if t := f[v.Name]; t != nil {
					v.Type = model.Type{DType: t.DType(), Shape: model.FixedShape(t.Shape()...)}
				}
			}
			break
		}
	}
	shapes := map[string][]int{}
	if err := model.InferShapes(c); err != nil {
		return shapes, nil //nolint:nilerr // of use without
	}
	eachGraph(c, func(g *model.Graph) {
		for _, name := range g.Initializers() {
			shapes[name] = g.Initializer(name).Shape()
		}
		for _, values := range [][]*model.Value{g.Inputs, g.Values, g.Outputs} {
			for _, v := range values {
				if v.Type.Shape == nil {
					continue
				}
				s := make([]int, len(v.Type.Shape))
				for i, d := range v.Type.Shape {
					if d.Size < 0 {
						s = nil
						break
					}
					s[i] = int(d.Size)
				}
				if s != nil {
					shapes[v.Name] = s
				}
			}
		}
	})
	return shapes, nil
}

// workOf returns the multiply-accumulates of n with its operand in, the weight t or nil for an activation.
func workOf(n *model.Node, in int, t *model.Tensor, shapes map[string][]int) float64 {
	elements := 0.0
	if t != nil {
		elements = float64(t.Len())
	}
	size := func(name string) (float64, []int) {
		s, ok := shapes[name]
		if !ok {
			return 0, nil
		}
		p := 1.0
		for _, d := range s {
			p *= float64(d)
		}
		return p, s
	}
	made, _ := size(n.Out(0))
	read, x := size(n.In(0))
	switch n.Op {
	case "MatMul", "Gemm":
		if len(x) == 0 || made == 0 {
			return elements
		}
		k := x[len(x)-1]
		if n.Op == "Gemm" && n.Int("transA", 0) != 0 {
			k = x[0]
		}
		return made * float64(k)
	case "Conv":
		if made > 0 && t != nil && t.Rank() > 0 && t.Shape()[0] > 0 {
			return made * elements / float64(t.Shape()[0])
		}
	case "ConvTranspose":
		if read > 0 && t != nil && t.Rank() > 0 && t.Shape()[0] > 0 {
			return read * elements / float64(t.Shape()[0])
		}
	case "LSTM", "GRU":
		if len(x) == 3 && t != nil { // X is [steps, batch, inputs], in either order of the first two
			return float64(x[0]) * float64(x[1]) * elements
		}
	case "Gather":
		if made > 0 {
			return made
		}
	}
	return elements
}

// kindOf joins the operators that optimisation makes of one kind: "wattshed.MatMul", MatMul and Gemm.
func kindOf(op string) string {
	for i := len(op) - 1; i >= 0; i-- {
		if op[i] == '.' {
			op = op[i+1:]
			break
		}
	}
	switch {
	case op == "Gemm":
		return "MatMul"
	case len(op) >= 4 && (op[:4] == "Conv" || op[len(op)-4:] == "Conv"):
		return "Conv"
	}
	return op
}
