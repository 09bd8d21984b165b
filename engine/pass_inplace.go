package engine

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// The passes that work on a plan instead of on its graph.
const (
	passInPlace = "inplace"
	passMemory  = "memory"
)

// PassCount is what one optimisation pass did to the number of nodes, or of what Unit says: "values" that nodes make, and
// of those that need memory of their own beside the ones written over an input (pass inplace); "chains" of nodes that a slice of a batch
// passes through without the others, of single nodes at first, where it may be cut (pass batch); "bytes" of all values and
// scratch of a run, and of the blocks that they are placed in (pass memory), for the Inputs named with their shapes. The passes inline, which puts the
// nodes of functions in the place of their calls, and lower, which takes fused nodes of files apart, may add nodes.
type PassCount struct {
	Pass          string
	Before, After int
	Unit          string // "" for nodes
	Inputs        string
}

// Passes returns the optimisation passes in the order in which they ran; at the end pass memory for every set of input
// shapes that the plan has run with and whose values can be placed.
func (p *Plan) Passes() []PassCount {
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.placed))
	p.mu.Unlock()
	sort.Slice(all, func(i, j int) bool { return all[i].inputs < all[j].inputs })
	passes := slices.Clone(p.passes)
	for _, e := range all {
		if e.misses.Load() >= maxMisses {
			continue
		}
		m := e.get()
		passes = append(passes, PassCount{passMemory, int(m.sum), int(m.size), "bytes", e.inputs})
	}
	return passes
}

// overwriting returns, by "domain::Op", the inputs whose memory the output may take over, as bits: operators that write an
// element of the output after they have read the same element of that input and nothing of it later.
func overwriting() map[string]uint {
	m := map[string]uint{}
	for name := range unaryOps() {
		m[name] = 1
	}
	for _, op := range []string{"Max", "Min", "Sum", "Mean", "BitwiseNot", "Not", "Softmax", "LogSoftmax", "Hardmax", "LayerNormalization"} {
		m["::"+op] = 1
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Mod", "Pow"} {
		m["::"+op] = 3
	}
	m["com.microsoft::Gelu"], m["com.microsoft::QuickGelu"] = 1, 1
	m["com.microsoft::FastGelu"], m["com.microsoft::BiasGelu"] = 3, 3
	for _, op := range []string{"SiLU", "QuantLookup", "BlockedScale"} {
		m[fusedDomain+"::"+op] = 1
	}
	return m
}

// inPlace marks for every step of a plan, and of its bodies, the inputs that its output may be written over: values that
// are made by the plan and read there for the last time. It counts the values that the steps make, and those of them that
// are known to need memory of their own: where shapes are not known before a run, Call.AllocLike compares them.
func (c *compiler) inPlace(p *Plan, table map[string]uint) (values, own int) {
	shapes := c.shapeMaps[p.graph]
	for _, s := range p.steps {
		domain := s.node.Domain
		if domain == "ai.onnx" {
			domain = ""
		}
		key := domain + "::" + s.node.Op
		mask := table[key]
		if _, custom := c.opts.Ops[key]; custom {
			mask = ^uint(0) // its function asks for it
		}
		s.over = make([]bool, len(s.in))
		over := false
		for j := range s.in {
			s.over[j] = s.dying[j] && mask>>j&1 != 0 && !c.opts.skips(passInPlace)
			x, y := shapes[s.node.In(j)], shapes[s.node.Out(0)]
			over = over || s.over[j] && (mask == 1 && len(s.in) == 1 || x != nil && slices.Equal(x, y))
		}
		for _, o := range s.out {
			if o >= 0 {
				values++
				own++
			}
		}
		if over {
			own--
		}
		for _, b := range s.bodies {
			v, o := c.inPlace(b, table)
			values, own = values+v, own+o
		}
	}
	return values, own
}

// skips reports whether a pass is to be left out.
func (o *Options) skips(pass string) bool { return slices.Contains(o.Skip, pass) }

// checkSkips reports a name in Skip that no pass has.
func (o *Options) checkSkips() error {
	names := []string{passInPlace, passMemory, passBatch}
	for _, p := range passList(false) {
		names = append(names, p.name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, s := range o.Skip {
		if slices.ContainsFunc(required, func(p pass) bool { return p.name == s }) {
			return fmt.Errorf("pass %q cannot be skipped: what it replaces has no kernel", s)
		}
		if !slices.Contains(names, s) {
			return fmt.Errorf("no pass %q to skip (there are %s)", s, strings.Join(names, ", "))
		}
	}
	return nil
}
