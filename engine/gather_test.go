package engine_test

import (
	"context"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestQuantGather wants the bits of the nodes one by one from the fused lookup in tables of bytes with a scale per row:
// both subtract small integers exactly and round once.
func TestQuantGather(t *testing.T) {
	for seed := range uint64(40) {
		b := newBuilder(seed, 13)
		r := b.r
		rows, n, signed := 1+r.IntN(20), r.IntN(70), r.IntN(2) == 0
		table := func(n int) string {
			u, s := make([]uint8, rows*n), make([]int8, rows*n)
			for i := range u {
				u[i] = uint8(r.IntN(256))
				s[i] = int8(u[i])
			}
			if signed {
				return b.constant(model.FromSlice([]int{rows, n}, s))
			}
			return b.constant(model.FromSlice([]int{rows, n}, u))
		}
		idx := b.input("i", model.Int64, model.Shape{{Size: -1, Param: "b"}, {Size: -1, Param: "s"}})
		to := model.IntAttr("to", int64(model.Float32))
		w := b.node("Cast", []string{b.node("Gather", []string{table(n), idx})}, to)
		z := b.node("Cast", []string{b.node("Gather", []string{table(1), idx})}, to)
		s := b.node("Gather", []string{b.weight(1, rows, 1), idx})
		in := []string{b.node("Sub", []string{w, z}), s}
		if r.IntN(2) == 0 {
			in[0], in[1] = in[1], in[0]
		}
		y := b.node("Mul", in)
		b.output(y)
		i := make([]int64, 3*r.IntN(9))
		for k := range i {
			i[k] = int64(r.IntN(2*rows) - rows)
		}
		feed := engine.Feed{"i": model.FromSlice([]int{3, len(i) / 3}, i)}
		var got [2][]float32
		for k, o := range []engine.Options{{Threads: 1}, {Threads: 1, NoFusion: true}} {
			sess, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: b.g}, o)
			if err != nil {
				t.Fatal(err)
			}
			if fused := sess.Info().Ops["wattshed.QuantGather"]; fused != 1-k {
				t.Fatalf("seed %d: %d fused nodes with NoFusion %t", seed, fused, o.NoFusion)
			}
			out, err := sess.Run(context.Background(), feed)
			if err != nil {
				t.Fatal(err)
			}
			if got[k], err = out[y].Float32(); err != nil || len(got[k]) != len(i)*n {
				t.Fatalf("seed %d: %d elements, want %d: %v", seed, len(got[k]), len(i)*n, err)
			}
			sess.Close()
		}
		for k, v := range got[0] {
			if v != got[1][k] {
				t.Fatalf("seed %d: element %d: fused %g, node by node %g", seed, k, v, got[1][k])
			}
		}
	}
}
