package quantize

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// prepared is what preparation knew of the model before it changed it.
type prepared struct {
	weights []*model.Weight
	reads   map[*model.Weight][]reader // the readers, by what they make
	folded  map[string]string          // values of BatchNormalization and Add that are computed by a convolution now: its old output by the new
	norms   map[string]moment          // of what a folded BatchNormalization made, by the old output of its convolution
	remarks []model.Note
}

// reader is an input of the node that makes a value.
type reader struct {
	op, out string
	input   int
}

// prepare readies the clone g for planning: value names become unique over all bodies, constants are folded, and
// BatchNormalization and the addition of a constant per channel become part of the convolution before them.
func (s *Static) prepare(g *model.Graph) (*prepared, error) {
	uniqueNames(g)
	b := &prepared{reads: map[*model.Weight][]reader{}, folded: map[string]string{}, norms: map[string]moment{}}
	for _, w := range g.Weights() {
		if !w.Tensor.DType().IsFloat() || w.Tensor.Rank() == 0 {
			continue
		}
		b.weights = append(b.weights, w)
		for _, u := range w.Uses {
			b.reads[w] = append(b.reads[w], reader{u.Node.Op, u.Node.Out(0), u.Input})
		}
	}
	if err := engine.Fold(g); err != nil {
		return nil, fmt.Errorf("quantize: folding constants: %w", err)
	}
	norms, adds := 0, 0
	eachGraph(g, func(g *model.Graph) {
		dropIdentities(g)
		n, a := b.foldConvs(g)
		norms, adds = norms+n, adds+a
	})
	if norms+adds > 0 {
		b.remarks = append(b.remarks, model.Note{Weight: "(model)", Action: fmt.Sprintf("folded %d BatchNormalization and %d Add", norms, adds),
			Reason: "their factors and terms are part of the weights and biases of the convolutions before them"})
	}
	return b, nil
}

// eachGraph calls f for g and its bodies.
func eachGraph(g *model.Graph, f func(*model.Graph)) {
	f(g)
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			eachGraph(sub, f)
		}
	}
}

// uniqueNames renames the values of bodies that have the name of a value elsewhere.
func uniqueNames(g *model.Graph) {
	names := newNamer(g)
	seen := map[string]bool{}
	var walk func(g *model.Graph)
	walk = func(g *model.Graph) {
		renamed := map[string]string{}
		for name := range defined(g) {
			if name != "" && seen[name] {
				renamed[name] = ""
			}
			seen[name] = true
		}
		for _, name := range slices.Sorted(maps.Keys(renamed)) {
			renamed[name] = names.name(name)
			seen[renamed[name]] = true
		}
		if len(renamed) > 0 {
			renameValues(g, renamed)
		}
		for _, n := range g.Nodes {
			for _, sub := range n.Subgraphs() {
				walk(sub)
			}
		}
	}
	walk(g)
}

// renameValues renames values made in g where they are made and read, in g and its bodies.
func renameValues(g *model.Graph, to map[string]string) {
	for _, vs := range [][]*model.Value{g.Inputs, g.Outputs, g.Values} {
		for _, v := range vs {
			if n := to[v.Name]; n != "" {
				v.Name = n
			}
		}
	}
	for _, name := range slices.Clone(g.Initializers()) {
		if n := to[name]; n != "" {
			t := g.Initializer(name)
			g.RemoveInitializer(name)
			g.SetInitializer(n, t)
		}
	}
	renameReads(g, to, true)
}

// renameReads renames values in the nodes of g and of its bodies; outputs of nodes of g too where made is set.
func renameReads(g *model.Graph, to map[string]string, made bool) {
	for _, n := range g.Nodes {
		for i, name := range n.Inputs {
			if r := to[name]; r != "" {
				n.Inputs[i] = r
			}
		}
		if made {
			for i, name := range n.Outputs {
				if r := to[name]; r != "" {
					n.Outputs[i] = r
				}
			}
		}
		for _, sub := range n.Subgraphs() {
			local := defined(sub)
			inner := map[string]string{}
			for from, r := range to {
				if !local[from] {
					inner[from] = r
				}
			}
			if len(inner) > 0 {
				renameReads(sub, inner, false)
				for _, v := range sub.Outputs { // a body may pass a value of the graph around it on
					if r := inner[v.Name]; r != "" {
						v.Name = r
					}
				}
			}
		}
	}
}

// dropIdentities removes the Identity and Dropout nodes of a graph whose results stay in it: they would stand between
// operators that belong together. A Sum of two becomes the Add that it is.
func dropIdentities(g *model.Graph) {
	outputs := map[string]bool{}
	for _, v := range g.Outputs {
		outputs[v.Name] = true
	}
	read := map[string]bool{}
	for _, n := range g.Nodes {
		for _, in := range slices.Concat(n.Inputs, model.Captures(n)) {
			read[in] = true
		}
	}
	for _, n := range slices.Clone(g.Nodes) {
		if n.Is("Sum") && len(n.Inputs) == 2 {
			n.Op = "Add" // the residuals of older exporters
		}
		drop := n.Is("Identity") || n.Is("Dropout") && n.In(2) == "" && !read[n.Out(1)] && !outputs[n.Out(1)]
		if !drop || len(n.Inputs) == 0 || outputs[n.Out(0)] {
			continue
		}
		renameReads(g, map[string]string{n.Out(0): n.In(0)}, false)
		g.Nodes = slices.DeleteFunc(g.Nodes, func(m *model.Node) bool { return m == n })
	}
}

// foldConvs folds BatchNormalization and the addition of constants into the convolutions of one graph, until nothing changes.
func (b *prepared) foldConvs(g *model.Graph) (norms, adds int) {
	names := newNamer(g)
	for again := true; again; {
		again = false
		users := map[string][]*model.Node{}
		pinned := map[string]bool{}
		for _, n := range g.Nodes {
			for _, in := range n.Inputs {
				users[in] = append(users[in], n)
			}
			for _, name := range model.Captures(n) {
				pinned[name] = true
			}
		}
		for _, v := range g.Outputs {
			pinned[v.Name] = true
		}
		for _, conv := range g.Nodes {
			if !conv.Is("Conv") && !conv.Is("ConvTranspose") || pinned[conv.Out(0)] || len(users[conv.Out(0)]) != 1 {
				continue
			}
			next := users[conv.Out(0)][0]
			f := foldable(g, conv, next)
			if f == nil || !f.apply(g, conv, names) {
				continue
			}
			if next.Op == "Add" {
				adds++
			} else {
				norms++
			}
			b.folded[next.Out(0)] = b.original(conv.Out(0))
			if delete(b.norms, b.original(conv.Out(0))); f.norm != nil {
				b.norms[b.original(conv.Out(0))] = *f.norm
			}
			conv.Outputs = []string{next.Out(0)}
			g.Nodes = slices.DeleteFunc(g.Nodes, func(n *model.Node) bool { return n == next })
			again = true
			break
		}
	}
	return norms, adds
}

// original returns the name that the output of a convolution had before folding.
func (b *prepared) original(out string) string {
	if o := b.folded[out]; o != "" {
		return o
	}
	return out
}

// channelwise is y = x*factor + term by channel.
type channelwise struct {
	factor, term []float64
	norm         *moment // of the results of a BatchNormalization
}

// foldable returns what next does to the channels of conv when it is a BatchNormalization of constants or the addition of
// a constant by channel; nil for everything else.
func foldable(g *model.Graph, conv, next *model.Node) *channelwise {
	w, err := floats(g, conv.In(1))
	if err != nil || w == nil {
		return nil
	}
	shape := g.Initializer(conv.In(1)).Shape()
	channels := shape[0]
	if conv.Op == "ConvTranspose" {
		channels = shape[1] * int(conv.Int("group", 1))
	}
	f := &channelwise{factor: make([]float64, channels), term: make([]float64, channels)}
	switch {
	case next.Is("BatchNormalization") && next.In(0) == conv.Out(0) && next.Int("training_mode", 0) == 0:
		for _, o := range next.Outputs[1:] {
			if o != "" {
				return nil
			}
		}
		var p [4][]float32
		for i := range p {
			if p[i], err = floats(g, next.In(i+1)); err != nil || len(p[i]) != channels {
				return nil
			}
		}
		eps := float64(next.Float("epsilon", 1e-5))
		for c := range channels {
			f.factor[c] = float64(p[0][c]) / math.Sqrt(float64(p[3][c])+eps)
			f.term[c] = float64(p[1][c]) - float64(p[2][c])*f.factor[c]
		}
		f.norm = channelMoments(channels, func(c int) (mean, deviation float64) { return float64(p[1][c]), math.Abs(float64(p[0][c])) })
	case next.Is("Add") && len(next.Inputs) == 2 && next.In(0) != next.In(1):
		other := next.In(0)
		if other == conv.Out(0) {
			other = next.In(1)
		}
		x, err := floats(g, other)
		if err != nil || x == nil {
			return nil
		}
		s := g.Initializer(other).Shape()
		spatial := len(shape) - 2
		if len(x) != channels || len(s) != spatial+1 && (len(s) != spatial+2 || s[0] != 1) || s[len(s)-1-spatial] != channels {
			return nil
		}
		for c := range channels {
			f.factor[c], f.term[c] = 1, float64(x[c])
		}
	default:
		return nil
	}
	for c := range channels {
		if f.factor[c]-f.factor[c] != 0 || f.term[c]-f.term[c] != 0 {
			return nil
		}
	}
	return f
}

// floats returns the values of a float32 initializer of g, nil when there is none.
func floats(g *model.Graph, name string) ([]float32, error) {
	t := g.Initializer(name)
	if t == nil || t.DType() != model.Float32 || t.Len() == 0 || slices.ContainsFunc(g.Inputs, func(v *model.Value) bool { return v.Name == name }) {
		return nil, nil
	}
	return t.Float32()
}

// apply makes f part of the weights and bias of conv; false when the bias is not constant.
func (f *channelwise) apply(g *model.Graph, conv *model.Node, names *namer) bool {
	w, err := floats(g, conv.In(1))
	if err != nil {
		return false
	}
	bias := make([]float32, len(f.term))
	if conv.In(2) != "" {
		old, err := floats(g, conv.In(2))
		if err != nil || len(old) != len(bias) {
			return false
		}
		copy(bias, old)
	}
	t := g.Initializer(conv.In(1))
	out := make([]float32, len(w))
	chanOf := channelOf(conv, t.Shape())
	for i, v := range w {
		out[i] = float32(float64(v) * f.factor[chanOf(i)])
	}
	for c := range bias {
		bias[c] = float32(float64(bias[c])*f.factor[c] + f.term[c])
	}
	wName, bName := names.name(conv.In(1)+"_folded"), names.name(conv.Out(0)+"_bias")
	g.SetInitializer(wName, model.FromSlice(t.Shape(), out))
	g.SetInitializer(bName, model.FromSlice([]int{len(bias)}, bias))
	conv.Inputs = []string{conv.In(0), wName, bName}
	return true
}

// channelOf returns the output channel of element i of the weight of a convolution.
func channelOf(conv *model.Node, shape []int) func(i int) int {
	inner := 1
	for _, d := range shape[2:] {
		inner *= d
	}
	if conv.Op == "Conv" {
		return func(i int) int { return i / (inner * shape[1]) }
	}
	perGroup := shape[0] / max(int(conv.Int("group", 1)), 1)
	return func(i int) int { return i/(inner*shape[1])/max(perGroup, 1)*shape[1] + i/inner%shape[1] }
}
