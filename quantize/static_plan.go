package quantize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// staticPlan says what becomes of every node, weight and activation.
type staticPlan struct {
	Static
	rules           targetRules
	g               *model.Graph
	before          *prepared
	names           *namer
	reduce          bool // weights of 7 bits
	reduceRecurrent bool // those of recurrent operators

	nodes   []*planned // of the graph and its bodies
	maker   map[string]*planned
	readers map[string][]*planned
	home    map[string]*model.Graph // of every value
	pinned  map[string]bool         // outputs of the graph or of a body
	consts  map[string]*model.Tensor
	acts    map[string]*activation
	order   []string // names of acts in the order of their makers
	weights []*staticWeight
	tables  *dynamicPlan // of tables and recurrent weights
	ranges  *Calibration
	remarks []model.Note
}

// planned is a node with what is done to it.
type planned struct {
	*model.Node
	graph  *model.Graph
	place  place
	on     bool          // quantized
	why    string        // an anchor that stays in float: why
	weight *staticWeight // of an anchor that is on
	bias   *staticBias
	origin string // its output before preparation
	gone   bool   // a clamp that the quantization of its output implies
}

// activation is a value that is quantized.
type activation struct {
	name   string
	born   bool   // made by a quantized node: every reader sees the quantized values
	same   string // its parameters are those of this one; "" for its own
	params Params
}

// plan decides on all nodes and activations; the graph is not changed.
func (s Static) plan(g *model.Graph, before *prepared) (*staticPlan, error) {
	rules, err := s.rules()
	if err != nil {
		return nil, err
	}
	p := &staticPlan{Static: s, rules: rules, g: g, before: before, maker: map[string]*planned{}, readers: map[string][]*planned{},
		home: map[string]*model.Graph{}, pinned: map[string]bool{}, consts: map[string]*model.Tensor{}, acts: map[string]*activation{}}
	p.remarks = append(p.remarks, before.remarks...)
	p.chooseRange()
	p.index()
	for _, n := range p.nodes {
		if n.place == anchor || n.place == anchorQ {
			n.why = p.whyFloat(n)
		}
	}
	if err := p.checkFinite(); err != nil {
		return nil, err
	}
	p.decide()
	return p, nil
}

// decide marks what is quantized: the anchors that can be, and what follows from them.
func (p *staticPlan) decide() {
	clear(p.acts)
	for _, n := range p.nodes {
		n.on = (n.place == anchor || n.place == anchorQ) && n.why == ""
	}
	p.spread()
	p.prune()
	p.absorb()
}

// withoutUnseen leaves the anchors in float that no calibration run reached, such as those of a branch never taken.
func (p *staticPlan) withoutUnseen() error {
	for {
		var unseen []string
		for _, name := range p.observed() {
			if _, ok := p.ranges.Ranges[name]; !ok {
				unseen = append(unseen, name)
			}
		}
		if len(unseen) == 0 {
			return nil
		}
		if len(unseen) == len(p.observed()) && len(p.ranges.Ranges) > 0 { // none at all: a body that no run entered holds all products
			return fmt.Errorf("quantize: the calibration has no range of %q nor of any other value: it is of another model", unseen[0])
		}
		off := false
		for _, n := range p.nodes {
			if n.on && (slices.Contains(unseen, n.In(0)) || slices.Contains(unseen, n.Out(0))) {
				n.place, n.why, off = float, "no calibration run reached it", true
			}
		}
		if !off { // an operand of an elementwise operator
			for _, name := range unseen {
				for _, r := range p.readers[name] {
					r.place, r.why = float, "no calibration run reached it"
				}
			}
		}
		p.decide()
	}
}

// index collects the nodes and values of the graph and its bodies, whose names are unique.
func (p *staticPlan) index() {
	p.names = newNamer(p.g)
	p.nodes, p.maker, p.readers = nil, map[string]*planned{}, map[string][]*planned{}
	eachGraph(p.g, func(g *model.Graph) {
		inputs := map[string]bool{}
		for _, v := range g.Inputs {
			inputs[v.Name], p.home[v.Name] = true, g
		}
		for _, v := range g.Outputs {
			p.pinned[v.Name] = true
		}
		for _, name := range g.Initializers() {
			p.home[name] = g
			if !inputs[name] {
				p.consts[name] = g.Initializer(name)
			}
		}
		for _, n := range g.Nodes {
			pl := &planned{Node: n, graph: g, origin: p.before.original(n.Out(0))}
			if n.Domain == "" || n.Domain == "ai.onnx" {
				pl.place = p.rules.place(n.Op)
			}
			if pl.place != float && (p.Ops != nil && !slices.Contains(p.Ops, n.Op)) {
				pl.place, pl.why = float, n.Op+" is not among the operators to quantize"
			}
			if by := excludes(p.Exclude, n); pl.place != float && by != "" {
				pl.place, pl.why = float, fmt.Sprintf(excludedBy+"%q", by)
			}
			p.nodes = append(p.nodes, pl)
			for _, o := range n.Outputs {
				p.maker[o], p.home[o] = pl, g
			}
			for i, in := range n.Inputs {
				if in != "" && !slices.Contains(n.Inputs[:i], in) {
					p.readers[in] = append(p.readers[in], pl)
				}
			}
		}
	})
}

// whyFloat returns why an anchor cannot be quantized, or "".
func (p *staticPlan) whyFloat(n *planned) string {
	w := p.consts[n.In(1)]
	switch {
	case w == nil && n.Op == "MatMul" && p.consts[n.In(0)] != nil:
		return "input 0 of MatMul, not its right-hand side"
	case w == nil:
		return "the right-hand side of " + n.Op + " is computed"
	case w.DType() != model.Float32:
		return "stored as " + w.DType().String()
	case w.Len() == 0:
		return "empty"
	case p.consts[n.In(0)] != nil:
		return "the left-hand side of " + n.Op + " is constant"
	case n.In(2) != "" && p.consts[n.In(2)] == nil:
		return "the bias of " + n.Op + " is computed"
	case n.In(2) != "" && p.consts[n.In(2)].DType() != model.Float32:
		return "the bias of " + n.Op + " is " + p.consts[n.In(2)].DType().String()
	}
	switch n.Op {
	case "Conv", "ConvTranspose":
		if w.Rank() < 3 {
			return fmt.Sprintf("%s with a weight of rank %d", n.Op, w.Rank())
		}
	case "MatMul":
		if w.Rank() < 2 {
			return "MatMul with a vector"
		}
	case "Gemm":
		columns := 1
		if n.Int("transB", 0) != 0 {
			columns = 0
		}
		switch b := p.consts[n.In(2)]; {
		case w.Rank() != 2:
			return fmt.Sprintf("Gemm with a weight of rank %d", w.Rank())
		case n.Int("transA", 0) != 0:
			return "Gemm with transA"
		case n.Float("alpha", 1) != 1:
			return fmt.Sprintf("Gemm with alpha %g", n.Float("alpha", 1))
		case b != nil && n.Float("beta", 1) != 1:
			return fmt.Sprintf("Gemm with beta %g", n.Float("beta", 1))
		case b != nil && (b.Rank() != 1 || b.Len() != w.Shape()[columns]):
			return fmt.Sprintf("Gemm with a bias of shape %v", b.Shape())
		}
	}
	return ""
}

// root returns the activation whose parameters a has.
func (p *staticPlan) root(a *activation) *activation {
	for a.same != "" && p.acts[a.same] != nil {
		a = p.acts[a.same]
	}
	return a
}

// observed returns the names of the values whose ranges are needed.
func (p *staticPlan) observed() []string {
	var out []string
	for _, name := range p.order {
		if a := p.acts[name]; p.root(a) == a {
			out = append(out, name)
		}
	}
	return out
}

// early fails when so few weights can be quantized that calibration is not worth its time.
func (p *staticPlan) early() error {
	for _, n := range p.nodes {
		if n.on || n.place == lookup || n.place == recurrent {
			return nil
		}
	}
	var why []string
	for _, n := range p.nodes {
		if n.why != "" && !slices.Contains(why, n.why) {
			why = append(why, n.why)
		}
	}
	return fmt.Errorf("quantize: %s: no operator can be quantized (%s): %w", p.scheme(), strings.Join(why[:min(3, len(why))], "; "), ErrNothing)
}
