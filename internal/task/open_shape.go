package task

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// OpenShape is the error of inputs with dimensions that nothing fixes: the first such input, and Others after it.
type OpenShape struct {
	Input  string
	Type   model.Type
	Axis   int            // the first open one
	Sizes  []int          // by dimension, -1 for those that are open
	Batch  int            // the dimension that counts examples: 0, or 1 of a recurrent state
	Inputs []*model.Value // all that the model has
	Others []*OpenShape
}

// Error names the inputs and their dimensions.
func (e *OpenShape) Error() string {
	s := fmt.Sprintf("task: input %q: dimension %d (%s) is not fixed by batch, sequence or shapes", e.Input, e.Axis, e.Type.Shape[e.Axis])
	for _, o := range e.Others {
		s += fmt.Sprintf("; nor is dimension %d (%s) of input %q", o.Axis, o.Type.Shape[o.Axis], o.Input)
	}
	return s
}

// fixes tells whether the sizes of e and Others fix those of o too: its open dimensions have names that open ones of theirs have.
func (e *OpenShape) fixes(o *OpenShape) bool {
	names := map[string]bool{}
	for _, x := range slices.Concat(e.Others, []*OpenShape{e}) {
		for i, n := range x.Sizes {
			names[x.Type.Shape[i].Param] = names[x.Type.Shape[i].Param] || n < 0
		}
	}
	for i, n := range o.Sizes {
		if p := o.Type.Shape[i].Param; n < 0 && (p == "" || !names[p]) {
			return false
		}
	}
	return true
}

// batchAxis is the dimension of an input that counts the examples of a run: the second of a recurrent state [layers, batch, units], which is
// one of Zero, or which the model returns under a name that begins with the input's and takes beside an input whose batch is open, the first of
// all others.
func (r *Random) batchAxis(g *model.Graph, v *model.Value) int {
	s := v.Type.Shape
	if !v.Type.DType.IsFloat() || len(s) != 3 || !s[0].Known() || s[1].Known() || !s[2].Known() {
		return 0
	}
	returned := slices.ContainsFunc(g.Outputs, func(o *model.Value) bool {
		return strings.HasPrefix(o.Name, v.Name) && (len(o.Type.Shape) == 3 || o.Type.Shape == nil)
	})
	beside := slices.ContainsFunc(g.Inputs, func(o *model.Value) bool {
		return o != v && g.Initializer(o.Name) == nil && len(o.Type.Shape) > 0 && !o.Type.Shape[0].Known()
	})
	if slices.Contains(r.Zero, v.Name) || returned && beside {
		return 1
	}
	return 0
}

// comparedWith lists the integers that nodes of g compare an input with, in the order of the nodes; nil where there are none.
func comparedWith(g *model.Graph, name string) []int64 {
	same := map[string]bool{name: true}
	constants := map[string]*model.Tensor{}
	for _, w := range g.Weights() {
		if w.Graph == g {
			constants[w.Value] = w.Tensor
		}
	}
	var out []int64
	for _, n := range g.Nodes {
		switch {
		case n.Domain != "" && n.Domain != "ai.onnx":
		case slices.Contains(passThrough, n.Op) && same[n.In(0)]:
			same[n.Out(0)] = true
		case n.Op == "Equal":
			for i := range 2 {
				t := constants[n.In(1-i)]
				if !same[n.In(i)] || t == nil || t.Len() != 1 || t.DType().IsFloat() {
					continue
				}
				if x, ok := integer(t); ok && !slices.Contains(out, x) {
					out = append(out, x)
				}
			}
		}
	}
	return out
}

// integer is the value of a tensor of one element.
func integer(t *model.Tensor) (int64, bool) {
	if x, err := model.Data[int64](t); err == nil {
		return x[0], true
	}
	if x, err := model.Data[int32](t); err == nil {
		return int64(x[0]), true
	}
	return 0, false
}
