package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// Plan is a compiled graph: its nodes in order, with numbered slots for their values, what each may free, and the
// weights in the layout of their kernels. It is immutable; any number of runs may use it at once.
type Plan struct {
	graph    *model.Graph
	steps    []*step
	nslots   int
	consts   []constant
	inputs   []planInput
	outputs  []planOutput
	captures []capture // a body's values from the graph around it
	passes   []PassCount
	warnings []string
	packed   int64 // bytes of packed weights
	memory   int64 // bound of Options.Memory, resolved
	opts     Options
	trusted  []trusted
	batch    *batch // how its batch may be cut, nil for not
	fallback func() (*Plan, error)
	fell     fallbacks        // runs that took it
	files    []*model.Mapping // that weights of the graph lie in, as it came

	mu     sync.Mutex
	arenas []*arena
	placed map[string]*placed // by what Plan.signature returns
	runs   int                // that have looked for theirs
	slots  sync.Pool          // of *[]slot, of runs that are over
	peak   atomic.Int64
	side   atomic.Int32 // arenas that the last run had at a time
}

type constant struct {
	slot     int
	t        *model.Tensor
	released bool // only the shape is left
}

type planInput struct {
	value    *model.Value
	slot     int
	optional bool // an initializer supplies a default
}

type planOutput struct {
	value *model.Value
	slot  int
}

// capture is a value that a body reads from outside: its slot here and in the enclosing plan.
type capture struct{ inner, outer int }

// step is one node of a plan.
type step struct {
	node    *model.Node
	opset   int64
	def     opDef
	in, out []int  // slots; -1 for omitted
	last    []int  // slots that nobody reads after this step
	dying   []bool // inputs that are read for the last time by this step, and only once
	over    []bool // of them those that its output may be written over
	bodies  map[string]*Plan
	watch   map[string]bool            // outputs to show; nil for none
	state   any                        // what def.prep made
	window  atomic.Pointer[convWindow] // of the last call that looked at one
	stats   stepStats
}

type stepStats struct {
	calls, nanos atomic.Int64
	note         atomic.Pointer[note]
}

// Graph returns the graph after optimisation; it must not be changed.
func (p *Plan) Graph() *model.Graph { return p.graph }

// Compile prepares g for execution: it clones it, runs the optimisation passes, orders the nodes, folds constants and
// packs weights. Errors name the node, its operator and domain, and wrap model.ErrUnsupported where an operator is not
// known.
func Compile(g *model.Graph, o Options) (p *Plan, err error) { return compile(g, o, nil) }

// compile is Compile on the threads of pool.
func compile(g *model.Graph, o Options, pool *kernel.Pool) (p *Plan, err error) {
	if g == nil {
		return nil, errors.New("engine: no graph")
	}
	defer mistakes(g, debug.SetPanicOnFault(true), func(e error) { p, err = nil, e })
	c := &compiler{opts: o, table: opTable(), watch: o.watches()}
	if o.Memory <= 0 {
		o.Memory = freeMemory() / 4 * 3
	}
	c.opts = o
	source := g
	g = g.Clone()
	if err := c.prepare(g); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if p, err = c.plan(g, nil); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	values, own := c.inPlace(p, overwriting())
	if !o.skips(passInPlace) {
		c.passes = append(c.passes, PassCount{Pass: passInPlace, Before: values, After: own, Unit: "values"})
	}
	if p.batch = c.batchOf(g); p.batch != nil {
		c.passes = append(c.passes, PassCount{Pass: passBatch, Before: len(p.steps), After: 1, Unit: "chains"})
	}
	if err := c.prepareSteps(pool); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	p.release()
	p.files = source.Mappings()
	p.passes, p.warnings, p.packed, p.trusted = c.passes, c.warnings, c.packed.Load(), c.trusted
	p.allowTiles(p.weightBytes())
	p.fallback = sync.OnceValues(func() (*Plan, error) {
		o.NoFusion = true
		return Compile(source, o)
	})
	return p, nil
}

// compiler holds what is shared while one model is compiled.
type compiler struct {
	opts     Options
	table    map[string]opDef
	watch    map[string]bool // values that Options.Watch shows
	opsets   map[string]int64
	passes   []PassCount
	warnings []string
	weights  int64 // bytes of the initializers
	packed   atomic.Int64
	packMu   sync.Mutex
	packs    map[packKey]*packEntry
	preps    []func() error                  // what is left to do for the states of steps
	halves   map[*model.Tensor]*model.Tensor // by a float32 constant, the half-precision one that it was widened from
	scales   map[*model.Tensor]scaledWeight  // by a float32 constant, what it is made of
	shapes   map[string][]dim                // symbolic shapes of the graph that a pass works on
	trusted  []trusted

	shapeMaps map[*model.Graph]map[string][]dim
	valMaps   map[*model.Graph]map[string][]dim // the values of small tensors made from shapes
	likely    map[dim]dim                       // of the top graph: what symbols found
	outer     []*model.Graph                    // the graphs around it, from the outside in
	view      *editor                           // of the top graph as the last pass left it, nil for none
	fresh     int                               // constants made by passes
}

// scope maps the names of one graph to slots.
type scope struct {
	outer  *scope
	slots  map[string]int
	consts map[string]*model.Tensor
	plan   *Plan
}

func (s *scope) slot(name string) int {
	if name == "" {
		return -1
	}
	i, ok := s.slots[name]
	if !ok {
		i = s.plan.nslots
		s.plan.nslots++
		s.slots[name] = i
	}
	return i
}

// constOf returns the tensor of a constant name seen from this scope, or nil.
func (s *scope) constOf(name string) *model.Tensor {
	for ; s != nil; s = s.outer {
		if t, ok := s.consts[name]; ok {
			return t
		}
		if _, ok := s.slots[name]; ok {
			return nil
		}
	}
	return nil
}

// plan compiles one graph; outer is the scope around a body.
func (c *compiler) plan(g *model.Graph, outer *scope) (*Plan, error) {
	p := &Plan{graph: g, opts: c.opts, memory: c.opts.Memory}
	sc := &scope{outer: outer, slots: map[string]int{}, consts: map[string]*model.Tensor{}, plan: p}
	for _, name := range g.Initializers() {
		if name == "" {
			return nil, errors.New("an initializer has no name")
		}
		t := g.Initializer(name)
		p.consts = append(p.consts, constant{slot: sc.slot(name), t: t})
		sc.consts[name] = t
	}
	overridable := g.Model == nil || g.Model.IRVersion >= 4
	for i, v := range g.Inputs {
		if v.Name == "" {
			return nil, fmt.Errorf("input %d has no name", i)
		}
		opt := g.Initializer(v.Name) != nil
		p.inputs = append(p.inputs, planInput{v, sc.slot(v.Name), opt})
		if opt && overridable {
			delete(sc.consts, v.Name)
		}
	}
	if outer != nil {
		for _, name := range model.Captures(&model.Node{Attrs: []model.Attr{{G: g}}}) {
			if t := outer.constOf(name); t != nil {
				p.consts = append(p.consts, constant{slot: sc.slot(name), t: t})
				sc.consts[name] = t
				continue
			}
			p.captures = append(p.captures, capture{sc.slot(name), outer.slot(name)})
		}
	}
	made := make(map[string]bool, len(sc.slots))
	for name := range sc.slots {
		made[name] = true
	}
	for _, n := range g.Nodes {
		s, err := c.step(n, sc, made)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		p.steps = append(p.steps, s)
	}
	for i, v := range g.Outputs {
		if v.Name == "" {
			return nil, fmt.Errorf("output %d has no name", i)
		}
		if !made[v.Name] {
			return nil, fmt.Errorf("output %q is made by no node", v.Name)
		}
		p.outputs = append(p.outputs, planOutput{v, sc.slot(v.Name)})
	}
	p.liveness()
	return p, nil
}

// step compiles one node.
func (c *compiler) step(n *model.Node, sc *scope, made map[string]bool) (*step, error) {
	def, err := c.lookup(n)
	if err != nil {
		return nil, err
	}
	s := &step{node: n, def: def, opset: c.opset(n), watch: c.watched(n)}
	for i, name := range n.Inputs {
		if name != "" && !made[name] {
			return nil, fmt.Errorf("input %d, %q, is made by no node before it", i, name)
		}
		s.in = append(s.in, sc.slot(name))
	}
	for i := range n.Attrs {
		a := &n.Attrs[i]
		if a.G == nil {
			continue
		}
		if s.bodies == nil {
			s.bodies = map[string]*Plan{}
		}
		for _, name := range model.Captures(&model.Node{Attrs: []model.Attr{{G: a.G}}}) {
			if !made[name] {
				return nil, fmt.Errorf("%s reads %q, which is made by no node before it", a.Name, name)
			}
		}
		if s.bodies[a.Name], err = c.plan(a.G, sc); err != nil {
			return nil, fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	for _, name := range n.Outputs {
		s.out = append(s.out, sc.slot(name))
		if name != "" {
			made[name] = true
		}
	}
	if def.prep != nil {
		pc := &prep{c: c, node: n, opset: s.opset, sc: sc}
		c.preps = append(c.preps, func() (err error) {
			if s.state, err = def.prep(pc); err != nil {
				err = fmt.Errorf("%s: %w", n, err)
			}
			return err
		})
	}
	return s, nil
}

// prepareSteps packs weights and makes the other states of steps, several at a time. The error is that of the first step.
func (c *compiler) prepareSteps(pool *kernel.Pool) error {
	errs := make([]error, len(c.preps))
	pool.Run(len(errs), func(i int) { errs[i] = c.preps[i]() })
	c.preps = nil
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// release lets go of the values of constants that are read in packed form alone; their shapes stay.
func (p *Plan) release() {
	for _, s := range p.steps {
		for _, b := range s.bodies {
			b.release()
		}
	}
	reads := map[int]int{}
	for _, c := range p.outputs {
		reads[c.slot]++
	}
	for _, s := range p.steps {
		for i, slot := range s.in {
			if !holds(s.state, i) {
				reads[slot]++
			}
		}
		for _, b := range s.bodies {
			for _, c := range b.captures {
				reads[c.outer]++
			}
		}
	}
	shells := map[*model.Tensor]*model.Tensor{}
	for i, c := range p.consts {
		if reads[c.slot] > 0 {
			continue
		}
		shell, err := model.NewLazy(c.t.DType(), c.t.Shape(), func() ([]byte, []string, error) {
			return nil, nil, errors.New("the weight is kept in packed form only")
		})
		if err == nil {
			p.consts[i].t, p.consts[i].released = shell, true
			shells[c.t] = shell
		}
	}
	for _, name := range p.graph.Initializers() {
		if shell := shells[p.graph.Initializer(name)]; shell != nil {
			p.graph.SetInitializer(name, shell)
		}
	}
}

// packedState is implemented by states that hold input 1 of their node in packed form.
type packedState interface{ packedWeight() }

// liveness finds for every step the slots that are read there for the last time.
func (p *Plan) liveness() {
	keep := make([]bool, p.nslots)
	for _, o := range p.outputs {
		keep[o.slot] = true
	}
	for _, c := range p.consts {
		keep[c.slot] = true
	}
	for _, in := range p.inputs {
		keep[in.slot] = true
	}
	for _, c := range p.captures {
		keep[c.inner] = true
	}
	done := make([]bool, p.nslots)
	for i := len(p.steps) - 1; i >= 0; i-- {
		s := p.steps[i]
		s.dying = make([]bool, len(s.in))
		free := func(slot int) bool {
			if slot < 0 || keep[slot] || done[slot] {
				return false
			}
			done[slot] = true
			s.last = append(s.last, slot)
			return true
		}
		count := map[int]int{}
		for _, b := range s.bodies {
			for _, c := range b.captures {
				count[c.outer]++
				free(c.outer)
			}
		}
		for _, slot := range s.in {
			count[slot]++
		}
		for j, slot := range s.in {
			if free(slot) && count[slot] == 1 {
				s.dying[j] = true
			}
		}
		for _, slot := range s.out {
			free(slot) // an output that nobody reads
		}
	}
}

// lookup finds the implementation of a node.
func (c *compiler) lookup(n *model.Node) (opDef, error) {
	if f, ok := c.opts.Ops[operatorOf(n)]; ok {
		return opDef{run: f}, nil
	}
	if d, ok := c.table[operatorOf(n)]; ok {
		return d, nil
	}
	domain := n.Domain
	if domain == "" {
		domain = "ai.onnx"
	}
	return opDef{}, fmt.Errorf("operator %s of domain %q: %w", n.Op, domain, model.ErrUnsupported)
}

// operatorOf is "domain::Op", the default domain being "".
func operatorOf(n *model.Node) string {
	if n.Domain == "ai.onnx" {
		return "::" + n.Op
	}
	return n.Domain + "::" + n.Op
}

// custom reports whether Options.Ops has the operator of a node, about which nothing is known then.
func (c *compiler) custom(n *model.Node) bool { return c.opts.Ops[operatorOf(n)] != nil }

// opsetAttr is a private attribute that functions leave on inlined nodes whose opset is not the model's.
const opsetAttr = "wattshed.opset"

func (c *compiler) opset(n *model.Node) int64 {
	if v := n.Int(opsetAttr, 0); v != 0 {
		return v
	}
	d := n.Domain
	if d == "ai.onnx" {
		d = ""
	}
	return c.opsets[d]
}
