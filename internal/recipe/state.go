package recipe

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// stateful is a session whose named outputs become inputs of the next run: a sequence of runs, as a recurrent model is
// used in deployment. The first run after restart takes the state that its feed holds.
type stateful struct {
	engine.Session
	state   map[string]string // output by input
	carried engine.Feed       // state by input; nil at the start of a sequence
}

// withState wraps s where there is state; without, it is s itself and restart does nothing.
func withState(s engine.Session, state map[string]string) (wrapped engine.Session, restart func()) {
	if len(state) == 0 {
		return s, func() {}
	}
	w := &stateful{Session: s, state: state}
	return w, func() { w.carried = nil }
}

// Run runs the session on in with the carried state in the place of the inputs that it feeds.
func (s *stateful) Run(ctx context.Context, in engine.Feed, outputs ...string) (engine.Feed, error) {
	if s.carried != nil {
		in = maps.Clone(in)
		maps.Copy(in, s.carried)
	}
	want := outputs
	if len(outputs) > 0 {
		want = slices.Clone(outputs)
		for _, out := range s.state {
			if !slices.Contains(want, out) {
				want = append(want, out)
			}
		}
	}
	got, err := s.Session.Run(ctx, in, want...)
	if err != nil {
		return nil, err
	}
	s.carried = engine.Feed{}
	for input, output := range s.state {
		s.carried[input] = got[output]
	}
	if len(outputs) > 0 {
		maps.DeleteFunc(got, func(name string, _ *model.Tensor) bool { return !slices.Contains(outputs, name) })
	}
	return got, nil
}

// checkState checks that state joins outputs of g to inputs of the same type.
func checkState(state map[string]string, g *model.Graph) error {
	find := func(list []*model.Value, name string) *model.Value {
		if i := slices.IndexFunc(list, func(v *model.Value) bool { return v.Name == name }); i >= 0 {
			return list[i]
		}
		return nil
	}
	for _, input := range slices.Sorted(maps.Keys(state)) {
		in, out := find(graphInputs(g), input), find(g.Outputs, state[input])
		switch {
		case in == nil:
			return fmt.Errorf("recipe: inputs.state: the model has no input %q", input)
		case out == nil:
			return fmt.Errorf("recipe: inputs.state.%s: the model has no output %q", input, state[input])
		case out.Type.DType != model.Invalid && out.Type.DType != in.Type.DType:
			return fmt.Errorf("recipe: inputs.state.%s: output %q is %s, the input is %s", input, out.Name, out.Type.DType, in.Type.DType)
		}
	}
	return nil
}
