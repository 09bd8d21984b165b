package quantize

import (
	"context"
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Half are the settings of a graph that computes in half precision.
type Half struct {
	DType   model.DType // Float16 or BFloat16
	Exclude []string    // nodes that stay in float32: by name, by operator, by a weight or by another value; path.Match patterns

	// Feeds are inputs that show which activations leave the range of float16: the native engine computes with them in
	// float32. Without them no activation is looked at, and a note says so. bfloat16 has the range of float32 and needs none.
	Feeds   engine.Feeds
	Unseen  string            // why there are no Feeds, for the note; may be empty
	Source  string            // what Feeds are, for the note; "" for their number alone
	State   map[string]string // as in Static
	Threads int               // of those runs; 0 = all processors
}

// extent is the value of largest magnitude that an activation took.
type extent struct{ value float32 }

// Apply is HalfGraph with the settings h. A node that makes, or reads, a value seen beyond the range of float16 stays in
// float32, and its note names the value and how large it became; so do the nodes that Exclude names. Values that come from a
// constant beyond the range, such as a mask of -1e9, are clipped as HalfGraph does.
func (h Half) Apply(ctx context.Context, g *model.Graph) ([]model.Note, error) {
	if err := h.Check(); err != nil {
		return nil, err
	}
	need := int64(7)
	if h.DType == model.BFloat16 {
		need = 13
	}
	return withOpset(g, need, shortName(h.DType)+" graphs", func(g *model.Graph) ([]model.Note, error) { return h.apply(ctx, g) })
}

// Check refuses settings that make no sense.
func (h Half) Check() error {
	if h.DType != model.Float16 && h.DType != model.BFloat16 {
		return fmt.Errorf("quantize: %s is no half precision type", h.DType)
	}
	return checkExclude(h.Exclude)
}

// apply works on a graph of a sufficient opset.
func (h Half) apply(ctx context.Context, g *model.Graph) ([]model.Note, error) {
	c := g.Clone()
	seen := model.Note{Weight: "(model)", Action: "activations not observed",
		Reason: "there are no calibration inputs: one beyond 65504 would become infinite"}
	if h.Unseen != "" {
		seen.Reason += " (" + h.Unseen + ")"
	}
	var beyond map[string]extent
	if h.DType == model.Float16 && h.Feeds.All != nil {
		uniqueNames(c)
		runs, looked, over, err := h.observe(ctx, c)
		if err != nil {
			return nil, err
		}
		beyond = over
		source := h.Source
		if source == "" {
			source = "calibration inputs"
		}
		seen.Action = fmt.Sprintf("observed %d activations", looked)
		seen.Reason = fmt.Sprintf("%d of them leave the range of fp16 in %d runs of %s", len(over), runs, source)
	}
	notes, err := halfGraph(c, h, beyond)
	if h.DType == model.Float16 {
		notes = append([]model.Note{seen}, notes...)
	}
	if err == nil {
		*g = *c
	}
	return notes, err
}

// observe runs g in float32 with every feed and returns the values that float16 would turn into infinities.
func (h Half) observe(ctx context.Context, g *model.Graph) (runs, looked int, beyond map[string]extent, err error) {
	types, err := valueTypes(g)
	if err != nil {
		return 0, 0, nil, err
	}
	var names []string
	eachGraph(g, func(sub *model.Graph) {
		for _, v := range sub.Inputs {
			if types[sub][v.Name] == model.Float32 && sub.Initializer(v.Name) == nil {
				names = append(names, v.Name)
			}
		}
		for _, n := range sub.Nodes {
			for _, o := range n.Outputs {
				if o != "" && types[sub][o] == model.Float32 && model.ConstantValue(n) == nil {
					names = append(names, o)
				}
			}
		}
	})
	beyond, seen := map[string]extent{}, map[string]bool{}
	_, limit := halfLimit(model.Float16)
	s := Static{State: h.State, Threads: h.Threads}
	runs, err = s.run(ctx, g, names, h.Feeds, true, func(name string, _ []int, x []float32) error {
		seen[name] = true
		largest := beyond[name].value
		for _, v := range x {
			if a := max(v, -v); a >= limit && v-v == 0 && a > max(largest, -largest) {
				largest = v
			}
		}
		if largest != 0 {
			beyond[name] = extent{largest}
		}
		return nil
	})
	return runs, len(seen), beyond, err
}

// overflow returns why n must compute in float32 for the values that were seen, or "". Readers of what is clipped are not kept.
func (r *halfRewrite) overflow(s *halfScope, n *model.Node) string {
	for _, o := range n.Outputs {
		if e, ok := r.beyond[o]; ok {
			return fmt.Sprintf("%q reaches %g, beyond the range of fp16", o, e.value)
		}
	}
	for _, in := range n.Inputs {
		if e, ok := r.beyond[in]; ok && !s.find(in).wide && r.weightOf(s, in) == nil {
			return fmt.Sprintf("%q, which it reads, reaches %g, beyond the range of fp16", in, e.value)
		}
	}
	return ""
}
