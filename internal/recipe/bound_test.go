package recipe

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// binding is a session that counts what is done with it.
type binding struct {
	engine.Session
	output *model.Tensor
	refuse bool

	plain, bound, open int
}

func (s *binding) Run(context.Context, engine.Feed, ...string) (engine.Feed, error) {
	s.plain++
	return engine.Feed{"y": s.output}, nil
}

func (s *binding) Bind(engine.Feed) (engine.Bound, error) {
	if s.refuse && s.open > 0 {
		return nil, errors.New("refused")
	}
	s.open++
	return boundOne{s}, nil
}

type boundOne struct{ s *binding }

func (b boundOne) Run(context.Context) error     { b.s.bound++; return nil }
func (b boundOne) Outputs() (engine.Feed, error) { return nil, nil }
func (b boundOne) Close() error                  { b.s.open--; return nil }

// TestTrialsBind: the inputs of baseline and variant are bound while they are measured, and closed afterwards; not where outputs are fed back, where
// all of them take too much memory, which a warning says, or where the session cannot bind one of them.
func TestTrialsBind(t *testing.T) {
	of := func(n int) *model.Tensor {
		x, err := model.NewLazy(model.Float32, []int{n}, func() ([]byte, []string, error) { return nil, nil, errors.New("it is not read") })
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		name           string
		output         *model.Tensor
		state          map[string]string
		refuse, binds  bool
		warnings, runs int // of them plain runs of the baseline before
	}{
		{"bound", of(10), nil, false, true, 0, 1},
		{"state", of(10), map[string]string{"x": "y"}, false, false, 0, 0},
		{"large", of(maxBoundBytes/4/3/2 + 1), nil, false, false, 1, 1},
		{"large enough", of(maxBoundBytes / 4 / 3 / 2), nil, false, true, 0, 1},
		{"refused", of(10), nil, true, false, 0, 1},
	} {
		base, other := &binding{output: c.output, refuse: c.refuse}, &binding{output: c.output, refuse: c.refuse}
		r := &run{recipe: &Recipe{}, bound: &bound{timing: []engine.Feed{{}, {}, {}}, state: c.state},
			made: []*made{{Name: "baseline"}, {Name: "other"}}, sessions: []engine.Session{base, other}}
		trials, release := r.trials(t.Context())
		for k, s := range []*binding{base, other} {
			for i := range trials[k].Items {
				if err := trials[k].Run(t.Context(), i); err != nil {
					t.Fatal(err)
				}
			}
			before := c.runs * (1 - k)
			if want := (map[bool][2]int{true: {before, 3}, false: {before + 3, 0}})[c.binds]; s.plain != want[0] || s.bound != want[1] {
				t.Errorf("%s, model %d: %d runs and %d of bound inputs, want %v", c.name, k, s.plain, s.bound, want)
			}
		}
		release()
		if base.open != 0 || other.open != 0 {
			t.Errorf("%s: %d and %d stay bound", c.name, base.open, other.open)
		}
		if len(r.warnings) != c.warnings || slices.ContainsFunc(r.warnings, func(w string) bool { return !strings.Contains(w, "outputs of 3 inputs on 2 models") }) {
			t.Errorf("%s: warnings %q", c.name, r.warnings)
		}
	}
}
