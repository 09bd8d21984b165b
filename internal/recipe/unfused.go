package recipe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
)

// unfused counts runs that fell back to the operators of the model one by one, by variant and node.
type unfused map[string]map[string]int

func (u unfused) add(other unfused) {
	for name, nodes := range other {
		if u[name] == nil {
			u[name] = map[string]int{}
		}
		for node, n := range nodes {
			u[name][node] += n
		}
	}
}

// blockLine is a block in the journal, with the runs that fell back since the line before, so that those of an interrupted run are not lost.
type blockLine struct {
	measure.Block
	Unfused unfused `json:"unfused,omitempty"`
}

// sinceLast returns the runs of the sessions that fell back since it was called last or the sessions were loaded; nil where there were none.
func (r *run) sinceLast() unfused {
	var out unfused
	for i, s := range r.sessions {
		c, ok := s.(engine.FallbackCounter)
		if !ok || i >= len(r.made) {
			continue
		}
		name, now := r.made[i].Name, map[string]int{}
		for _, f := range c.Fallbacks() {
			now[f.Node] = f.Runs
			if n := f.Runs - r.counted[name][f.Node]; n > 0 {
				if out == nil {
					out = unfused{}
				}
				out.add(unfused{name: {f.Node: n}})
			}
		}
		if len(now) > 0 {
			if r.counted == nil {
				r.counted = unfused{}
			}
			r.counted[name] = now
		}
	}
	return out
}

// fallbacks says which variants ran without their fusions, in scores and in blocks of all processes of the run: such runs take longer than those that the
// fused plan was made for.
func (r *run) fallbacks() []string {
	all := unfused{}
	all.add(r.sinceLast())
	for _, m := range r.made {
		if s, ok := lookup[scores](r.journal, kindScore, m.Name); ok {
			all.add(s.Unfused)
		}
	}
	for _, raw := range r.journal.blocks {
		var l struct {
			Unfused unfused `json:"unfused"`
		}
		if json.Unmarshal(raw, &l) == nil {
			all.add(l.Unfused)
		}
	}
	var out []string
	for _, m := range r.made {
		var list []engine.Fallback
		for node, n := range all[m.Name] {
			list = append(list, engine.Fallback{Node: node, Runs: n})
		}
		slices.SortFunc(list, func(a, b engine.Fallback) int { return cmp.Or(b.Runs-a.Runs, strings.Compare(a.Node, b.Node)) })
		for _, f := range list {
			out = append(out, fmt.Sprintf("variant %q: %v", m.Name, f))
		}
	}
	return out
}
