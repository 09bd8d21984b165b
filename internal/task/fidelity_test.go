package task

import (
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// declared is a session whose file declares one output.
type declared struct {
	engine.Session
	shape model.Shape
}

func (d declared) Outputs() []*model.Value {
	return []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32, Shape: d.shape}}}
}

// The cosine of a few values shows hardly more than their signs, and FewValues says of how many.
func TestFewValues(t *testing.T) {
	open := model.Dim{Size: -1, Param: "n"}
	fixed := func(sizes ...int) model.Shape { return append(model.Shape{open}, model.FixedShape(sizes...)...) }
	for _, c := range []struct {
		shape   model.Shape
		pooling string
		want    int
	}{
		{fixed(1), "", 1}, {fixed(2), "", 2}, {fixed(2, 3), "", 6}, {fixed(8), "", 0}, {fixed(384), "", 0}, {fixed(4, 4), "", 0},
		{append(fixed(), open), "", 0}, {nil, "", 0}, {fixed(), "", 1}, {fixed(5, 384), "mean", 0},
	} {
		if got := (&Fidelity{Pooling: c.pooling}).FewValues(declared{shape: c.shape}); got != c.want {
			t.Errorf("%v, pooling %q: %d values, want %d", c.shape, c.pooling, got, c.want)
		}
	}
	if got := (&Fidelity{Output: "z"}).FewValues(declared{shape: fixed(1)}); got != 0 {
		t.Errorf("an output that there is not: %d values", got)
	}
}
