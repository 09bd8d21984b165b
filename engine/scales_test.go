package engine_test

import (
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestScalesRefused: QLinear operators whose scales have an infinite quotient or product are errors that name the scales, not bytes of NaN.
func TestScalesRefused(t *testing.T) {
	for op, at := range map[string][]float32{"QLinearAdd": {1, 1, 1e-42}, "QLinearMul": {1e20, 1e20, 1}, "QLinearAveragePool": {1, 1e-42}, "QLinearGlobalAveragePool": {1, 1e-42}} {
		for _, o := range []engine.Options{{Threads: 1}, {Threads: 1, NoFusion: true}} {
			b := newBuilder(1, 17)
			b.g.SetOpset("com.microsoft", 1)
			var in []string
			for i, s := range at {
				if i < len(at)-1 {
					in = append(in, b.input(string(rune('a'+i)), model.Uint8, model.FixedShape(1, 2, 4, 4)))
				}
				in = append(in, b.scalar(s), b.constant(model.Scalar(uint8(128))))
			}
			y := b.node(op, in)
			n := b.g.Nodes[0]
			if n.Domain = "com.microsoft"; op == "QLinearAveragePool" {
				n.SetAttr(model.IntsAttr("kernel_shape", 2, 2))
			}
			b.output(y)
			feed := engine.Feed{}
			for _, v := range b.g.Inputs {
				feed[v.Name] = model.FromSlice([]int{1, 2, 4, 4}, make([]uint8, 32))
			}
			out, err := load(t, b.g, o).Run(t.Context(), feed)
			if err == nil || !strings.Contains(err.Error(), "scales 1") || !strings.Contains(err.Error(), y) {
				t.Errorf("%s: %v, %v", op, out, err)
			}
		}
	}
}
