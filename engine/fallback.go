package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Fallback says how many runs of a session computed the operators of the model one by one, without any fusion, because of one node.
type Fallback struct {
	Node string // that had no kernel for a type or for shapes that it met, as errors name it; "" where inputs had other sizes than those that fusions rely on
	Runs int
}

// String words it for people.
func (f Fallback) String() string {
	runs := fmt.Sprintf("%d runs", f.Runs)
	if f.Runs == 1 {
		runs = "1 run"
	}
	why := "the sizes of inputs are not those that the model declares"
	if f.Node != "" {
		why = f.Node + " has no kernel for the type or the shapes that it met"
	}
	return runs + " fell back to the operators one by one, without any fusion: " + why
}

// fallbacks counts the runs of a plan that fell back, by node. It costs nothing in runs that do not.
type fallbacks struct {
	mu   sync.Mutex
	runs map[string]int
}

// add counts a run that ended with err, which wraps errUnfused behind the node's name; nil where the inputs were not to be trusted.
func (f *fallbacks) add(err error) {
	node := ""
	if err != nil {
		node = strings.TrimSuffix(err.Error(), ": "+errUnfused.Error())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.runs == nil {
		f.runs = map[string]int{}
	}
	f.runs[node]++
}

// list returns them by node, those with the most runs first.
func (f *fallbacks) list() []Fallback {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Fallback
	for node, n := range f.runs {
		out = append(out, Fallback{node, n})
	}
	slices.SortFunc(out, func(a, b Fallback) int { return cmp.Or(b.Runs-a.Runs, strings.Compare(a.Node, b.Node)) })
	return out
}
