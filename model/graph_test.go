package model_test

import (
	"slices"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestKeepInitializers: those that are kept stay in their order with what the file says of them, the others leave nothing.
func TestKeepInitializers(t *testing.T) {
	var g model.Graph
	for _, name := range []string{"a", "b", "c", "d"} {
		g.SetInitializer(name, model.Scalar(float32(1)))
		g.SetInitializerExtra(name, model.TensorExtra{Doc: name})
	}
	g.KeepInitializers(func(name string) bool { return name == "d" || name == "b" })
	if got := g.Initializers(); !slices.Equal(got, []string{"b", "d"}) {
		t.Errorf("kept %q", got)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		kept := name == "b" || name == "d"
		if has := g.Initializer(name) != nil; has != kept {
			t.Errorf("%q: there is a tensor: %v, want %v", name, has, kept)
		}
		if has := g.InitializerExtra(name).Doc == name; has != kept {
			t.Errorf("%q: the file says something: %v, want %v", name, has, kept)
		}
	}
	g.SetInitializer("a", model.Scalar(float32(2)))
	if got := g.Initializers(); !slices.Equal(got, []string{"b", "d", "a"}) {
		t.Errorf("then %q", got)
	}
}
