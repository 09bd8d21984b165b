package recipe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// SearchSpec are the settings of a search. The budget is the recipe's gates.
type SearchSpec struct {
	Schemes    []Quantize `yaml:"schemes"`     // what a weight may become, as in a quantize stage; default fp16, int8, static int8, int4
	MaxSeconds float64    `yaml:"max_seconds"` // of trials; the last measurement of the Pareto set comes after
	MaxTrials  int        `yaml:"max_trials"`
	Units      int        `yaml:"units"`   // groups of weights that are decided on together, at most
	Samples    int        `yaml:"samples"` // runs over which the outputs of a unit's schemes are compared
	Keep       int        `yaml:"keep"`    // variants of the Pareto set that are measured at the end, at most
}

func (r *Recipe) checkSearch() error {
	s := r.Search
	if s == nil {
		return nil
	}
	setDefault(&s.MaxSeconds, 600)
	setDefault(&s.MaxTrials, 60)
	setDefault(&s.Units, 48)
	setDefault(&s.Samples, 8)
	setDefault(&s.Keep, 6)
	for name, v := range map[string]int{"max_trials": s.MaxTrials, "units": s.Units, "samples": s.Samples, "keep": s.Keep} {
		if v < 1 || v > 10000 {
			return faultf("search."+name, "%d: want 1 to 10000", v)
		}
	}
	if !(s.MaxSeconds > 0 && s.MaxSeconds <= 1e6) {
		return faultf("search.max_seconds", "%v: out of range", s.MaxSeconds)
	}
	if s.Schemes == nil {
		s.Schemes = []Quantize{{Scheme: "fp16"}, {Scheme: "int8"}, {Scheme: "int8", Mode: "static", Samples: 16}, {Scheme: "int4"}}
	}
	if len(s.Schemes) > 16 {
		return faultf("search.schemes", "%d: at most 16", len(s.Schemes))
	}
	for i := range s.Schemes {
		q := &s.Schemes[i]
		at := fmt.Sprintf("search.schemes[%d]", i)
		if q.Exclude != nil {
			return faultf(at+".exclude", "a search decides itself what to leave")
		}
		err := q.check()
		if err == nil && q.half() && q.Storage != "weights" {
			err = faultf("quantize.storage", "%s: in a search weights alone are stored in half precision", q.Storage)
		}
		if err == nil {
			err = r.fits(q)
		}
		if err != nil {
			return under(at, err)
		}
	}
	return nil
}

// schemeNames are short and different.
func (s *SearchSpec) schemeNames() []string {
	var names []string
	for i := range s.Schemes {
		q := &s.Schemes[i]
		name := q.Scheme
		switch {
		case q.static():
			name += "-static"
		case q.weightOnly():
			name += "-" + q.Algorithm
		}
		for base, n := name, 2; slices.Contains(names, name); n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		names = append(names, name)
	}
	return names
}

// unit is a group of weights that are decided on together, with the nodes that read them.
type unit struct {
	Name     string   `json:"name"`
	Weights  []string `json:"weights"`
	Ops      []string `json:"ops"`
	Elements int      `json:"elements"`
	Share    float64  `json:"time_share"` // of the baseline's time

	patterns []string // of exclude, that leave the unit
}

// unitsOf groups the weights of g: those that one node reads go together, and beyond most units the smallest join the next one of the
// same operator in the order of the graph. profile is that of the float model over the feeds.
func unitsOf(g *model.Graph, profile []engine.OpTime, feeds engine.Feeds, most int) ([]unit, error) {
	list := (quantize.Sensing{}).Weights(g)
	shares, err := quantize.TimeShares(profile, g, list, feeds)
	if err != nil {
		return nil, err
	}
	var units []unit
	at := map[*model.Node]int{}
	for i, w := range list {
		u := unit{Name: w.Name}
		k := -1
		for _, use := range w.Uses {
			if j, ok := at[use.Node]; ok {
				k = j
			}
		}
		if k < 0 {
			k = len(units)
			units = append(units, u)
		}
		units[k].add(w, shares[i])
		for _, use := range w.Uses {
			at[use.Node] = k
		}
	}
	for len(units) > most {
		k := 0
		for i := range units {
			if units[i].Elements < units[k].Elements {
				k = i
			}
		}
		units = joinUnit(units, k)
	}
	return units, nil
}

func (u *unit) add(w *model.Weight, share float64) {
	u.Weights = append(u.Weights, w.Name)
	u.Elements += w.Tensor.Len()
	u.Share += share
	u.patterns = append(u.patterns, quantize.Literal(w.Name))
	if w.Value != w.Name {
		u.patterns = append(u.patterns, quantize.Literal(w.Value))
	}
	for _, use := range w.Uses {
		if n := use.Node; n.Name != "" && !slices.Contains(u.patterns, quantize.Literal(n.Name)) {
			u.patterns = append(u.patterns, quantize.Literal(n.Name))
		}
		if !slices.Contains(u.Ops, use.Node.Op) {
			u.Ops = append(u.Ops, use.Node.Op)
		}
	}
}

// joinUnit joins unit k with the nearest one of the same operators, or the nearest at all.
func joinUnit(units []unit, k int) []unit {
	best := -1
	far := func(i int) int {
		d := max(i-k, k-i)
		if !slices.Equal(units[i].Ops, units[k].Ops) {
			d += len(units)
		}
		return d
	}
	for i := range units {
		if i != k && (best < 0 || far(i) < far(best)) {
			best = i
		}
	}
	a, b := &units[min(k, best)], units[max(k, best)]
	a.Weights, a.patterns = append(a.Weights, b.Weights...), append(a.patterns, b.patterns...)
	a.Elements, a.Share = a.Elements+b.Elements, a.Share+b.Share
	for _, op := range b.Ops {
		if !slices.Contains(a.Ops, op) {
			a.Ops = append(a.Ops, op)
		}
	}
	a.Name = fmt.Sprintf("%s and %d more", a.Weights[0], len(a.Weights)-1)
	return slices.Delete(units, max(k, best), max(k, best)+1)
}

// stages are those that make the mix: one per scheme that occurs, each with all that other units hold left out. Static int8, which
// prepares the graph, comes first, and half precision, which takes every weight that is left, last.
func (s *SearchSpec) stages(units []unit, m mix) []StageSpec {
	order := make([]int, len(s.Schemes))
	for i := range order {
		order[i] = i
	}
	rank := func(q *Quantize) int {
		switch {
		case q.static():
			return 0
		case q.half():
			return 3
		case q.weightOnly():
			return 2
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(rank(&s.Schemes[a]), rank(&s.Schemes[b])) })
	var out []StageSpec
	for _, k := range order {
		if !slices.Contains(m, k) {
			continue
		}
		q := s.Schemes[k]
		for u := range units {
			if m[u] != k {
				q.Exclude = append(q.Exclude, units[u].patterns...)
			}
		}
		if len(out) > 0 && q.Exclude == nil {
			q.Exclude = []string{}
		}
		out = append(out, StageSpec{Quantize: &q})
	}
	return out
}

// mixText describes a mix by the number of units of each scheme.
func mixText(names []string, m mix) string {
	var parts []string
	for k := range names {
		if n := countOf(m, k); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, names[k]))
		}
	}
	if n := countOf(m, keepFloat); n > 0 {
		parts = append(parts, fmt.Sprintf("%d float", n))
	}
	return strings.Join(parts, ", ")
}

func countOf(m mix, k int) int {
	n := 0
	for _, s := range m {
		if s == k {
			n++
		}
	}
	return n
}
