package quantize

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Interval is the range of values that the quantized form of an activation covers.
type Interval struct{ Lo, Hi float32 }

// Calibration holds the ranges of activations by value name, and where they come from.
type Calibration struct {
	Method Method
	Source string // such as "64 runs of the data set" or "random inputs"
	Runs   int
	Made   map[string]string // what they were made from, as Static.Origin says; nil when not known
	Ranges map[string]Interval
}

// ErrNoFeeds is wrapped when calibration has no inputs to run.
var ErrNoFeeds = errors.New("no calibration inputs")

// Calibrate runs g on the native engine with every feed, once, and returns the ranges of the named values that the
// settings' method chooses. Memory does not grow with the number of feeds. A value that is no float32 tensor or holds a
// number that is not finite is an error that names it; one that no run makes has no range, and one of no elements 0..0.
func (s Static) Calibrate(ctx context.Context, g *model.Graph, names []string, feeds engine.Feeds) (*Calibration, error) {
	all := make(map[string]Observer, len(names))
	for _, name := range names {
		o, err := s.newObserver()
		if err != nil {
			return nil, err
		}
		all[name] = o
	}
	seen := map[string]bool{}
	runs, err := s.run(ctx, g, names, feeds, false, func(name string, _ []int, x []float32) error {
		seen[name] = true
		all[name].Observe(x)
		return nil
	})
	if err != nil {
		return nil, err
	}
	method := s.Method
	if method == "" {
		method = MinMax
	}
	c := &Calibration{Method: method, Source: fmt.Sprintf("%d runs", runs), Runs: runs, Ranges: make(map[string]Interval, len(names))}
	for _, name := range names {
		if !seen[name] {
			continue
		}
		lo, hi := all[name].Range()
		c.Ranges[name] = Interval{lo, hi}
	}
	return c, nil
}

// badWeight names the first weight or bias of a product that holds a value that is not finite, which is what makes those of activations; "" where
// there is none.
func badWeight(g *model.Graph) string {
	for _, n := range g.Nodes {
		switch n.Op {
		case "Conv", "ConvTranspose", "Gemm", "MatMul":
			for i, name := range n.Inputs {
				t := g.Initializer(name)
				if t == nil || t.DType() != model.Float32 {
					continue
				}
				if x, err := t.Float32(); err == nil && !finite(x) {
					return fmt.Sprintf("; so does input %d, %q, of %s %q", i, name, n.Op, n.Name)
				}
			}
		}
		for _, body := range n.Subgraphs() {
			if why := badWeight(body); why != "" {
				return why
			}
		}
	}
	return ""
}

// run runs g with every feed and shows f the values of the named tensors: inputs of the graph before the run, others when
// they are made, inputs of a body when it starts. Values that are not finite are an error unless they are allowed.
func (s *Static) run(ctx context.Context, g *model.Graph, names []string, feeds engine.Feeds, infinite bool, f func(name string, shape []int, x []float32) error) (runs int, err error) {
	if feeds.All == nil {
		return 0, fmt.Errorf("quantize: calibration: %w", ErrNoFeeds)
	}
	see := func(name string, t *model.Tensor) error {
		if t.DType() != model.Float32 {
			return fmt.Errorf("quantize: calibration: value %q is %s, not float32", name, t.DType())
		}
		x, err := t.Float32()
		if err != nil {
			return fmt.Errorf("quantize: calibration: value %q: %w", name, err)
		}
		var check float32
		for _, v := range x {
			check += v - v
		}
		if check != 0 && !infinite {
			return fmt.Errorf("quantize: calibration: value %q %w%s", name, errNotFinite, badWeight(g))
		}
		return f(name, t.Shape(), x)
	}
	var inner, outer []string
	for _, name := range names {
		if slices.ContainsFunc(g.Inputs, func(v *model.Value) bool { return v.Name == name }) {
			outer = append(outer, name)
		} else {
			inner = append(inner, name)
		}
	}
	g, inner, passed := watchBodyInputs(g, inner)
	show := func(name string, t *model.Tensor) error {
		if original, ok := passed[name]; ok {
			name = original
		}
		return see(name, t)
	}
	session, err := engine.Native{}.Load(ctx, engine.Artifact{Graph: g}, engine.Options{Threads: s.Threads, Watch: &engine.Watch{Names: inner, See: show}})
	if err != nil {
		return 0, fmt.Errorf("quantize: calibration: %w", err)
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	carried := engine.Feed{}
	for feed, err := range feeds.All() {
		if err != nil {
			return runs, fmt.Errorf("quantize: calibration: run %d: %w", runs, err)
		}
		if len(carried) > 0 {
			feed = maps.Clone(feed)
			maps.Copy(feed, carried)
		}
		for _, name := range outer {
			if t := feed[name]; t != nil {
				if err := see(name, t); err != nil {
					return runs, err
				}
			}
		}
		out, err := session.Run(ctx, feed)
		if err != nil {
			return runs, fmt.Errorf("quantize: calibration: run %d: %w", runs, err)
		}
		for input, output := range s.State {
			if out[output] == nil {
				return runs, fmt.Errorf("quantize: calibration: the model has no output %q to feed back to %q", output, input)
			}
			carried[input] = out[output]
		}
		runs++
	}
	if runs == 0 {
		return 0, fmt.Errorf("quantize: calibration: %w", ErrNoFeeds)
	}
	return runs, nil
}

// watchBodyInputs returns g with an Identity behind every input of a body among names, and names with the outputs of these
// instead: no node makes what enters a body. passed are the inputs by the new names.
func watchBodyInputs(g *model.Graph, names []string) (_ *model.Graph, watched []string, passed map[string]string) {
	passed = map[string]string{}
	var add []string
	eachGraph(g, func(sub *model.Graph) {
		for _, v := range sub.Inputs {
			if sub != g && slices.Contains(names, v.Name) {
				add = append(add, v.Name)
			}
		}
	})
	if len(add) == 0 {
		return g, names, passed
	}
	g = g.Clone()
	unique := newNamer(g)
	watched = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(add, name) })
	eachGraph(g, func(sub *model.Graph) {
		for _, v := range sub.Inputs {
			if sub == g || !slices.Contains(add, v.Name) {
				continue
			}
			out := unique.name(v.Name + "_entering")
			passed[out], watched = v.Name, append(watched, out)
			sub.Nodes = append([]*model.Node{{Name: out, Op: "Identity", Inputs: []string{v.Name}, Outputs: []string{out}}}, sub.Nodes...)
		}
	})
	return g, watched, passed
}
