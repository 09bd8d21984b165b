package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// blockLinear is MatMul with int8 weights in blocks of 16, dequantized, and Add.
func (b *builder) blockLinear(x string, k, n int) string {
	w, s := make([]int8, k*n), make([]float32, (k+15)/16*n)
	for i := range w {
		w[i] = int8(b.r.IntN(255) - 127)
	}
	for i := range s {
		s[i] = 0.002 + 0.002*b.r.Float32()
	}
	dq := b.node("DequantizeLinear", []string{b.constant(model.FromSlice([]int{k, n}, w)), b.constant(model.FromSlice([]int{(k + 15) / 16, n}, s))},
		model.IntAttr("axis", 0), model.IntAttr("block_size", 16))
	return b.node("Add", []string{b.node("MatMul", []string{x, dq}), b.weight(0.1, n)})
}

// blockNet is two products with a GELU between them and a residual, and an LSTM over the result.
func blockNet(seed uint64) *model.Graph {
	b := newBuilder(seed, 21)
	b.g.Model.IRVersion = 10
	const n = 40
	x := b.input("x", model.Float32, model.Shape{{Size: -1, Param: "steps"}, {Size: 1}, {Size: n}})
	y := b.blockLinear(b.node("Gelu", []string{b.blockLinear(x, n, 3*n)}), 3*n, n)
	y = b.node("Add", []string{y, x})
	h := 64
	b.g.Nodes = append(b.g.Nodes, &model.Node{Name: "rnn", Op: "LSTM", Outputs: []string{"Y"}, Attrs: []model.Attr{model.IntAttr("hidden_size", int64(h))},
		Inputs: []string{y, b.weight(0.2, 1, 4*h, n), b.weight(0.2, 1, 4*h, h), b.weight(0.2, 1, 8*h)}})
	b.output("Y")
	return b.g
}

// Weights in blocks take bias, residual and activation in and give what the nodes give as they stand, to the rounding of
// float32; eight goroutines that share a session, each with a length of its own, get the bits that they get alone.
func TestBlockWeights(t *testing.T) {
	g := blockNet(3)
	fused, plain := load(t, g, engine.Options{Threads: 2}), load(t, g, engine.Options{Threads: 1, NoFusion: true})
	if ops := fused.Info().Ops; ops["com.microsoft.MatMulNBits"] != 2 || ops["Add"]+ops["Gelu"]+ops["DequantizeLinear"] != 0 {
		t.Errorf("not fused: %v", ops)
	}
	r := rand.New(rand.NewPCG(3, 4))
	var ins []engine.Feed
	var want [][]float32
	for i := range 8 {
		in := engine.Feed{"x": randomTensor(r, 1, 5+7*i, 1, 40)}
		a, b := run(t, fused, in), run(t, plain, in)
		top := 0.0
		for _, v := range b {
			top = max(top, math.Abs(float64(v)))
		}
		for k := range b {
			if !(math.Abs(float64(a[k]-b[k])) <= 1e-5*top) {
				t.Fatalf("element %d is %v, as the nodes stand %v", k, a[k], b[k])
			}
		}
		ins, want = append(ins, in), append(want, a)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 20 {
				out, err := fused.Run(t.Context(), ins[i])
				if err != nil {
					t.Error(err)
					return
				}
				y, _ := out["Y"].Float32()
				for k := range y {
					if math.Float32bits(y[k]) != math.Float32bits(want[i][k]) {
						t.Errorf("goroutine %d: element %d is %v, alone %v", i, k, y[k], want[i][k])
						return
					}
				}
			}
		}()
	}
	wg.Wait()
}

// Products of different depth that share one tensor of blocks, the last of which is partly padding, do not share a packing.
func TestBlockDepths(t *testing.T) {
	const n, block = 48, 32
	graph := func(depths ...int) *model.Graph {
		b := newBuilder(5, 21)
		b.g.Model.Opsets = append(b.g.Model.Opsets, model.Opset{Domain: "com.microsoft", Version: 1})
		q := make([]uint8, n*2*block/2)
		for i := range q {
			q[i] = uint8(b.r.UintN(256))
		}
		w, s := b.constant(model.FromSlice([]int{n, 2, block / 2}, q)), b.weight(0.1, n*2)
		for _, k := range depths {
			x := b.input(fmt.Sprint("x", k), model.Float32, model.FixedShape(3, k))
			y := fmt.Sprint("y", k)
			b.g.Nodes = append(b.g.Nodes, &model.Node{Op: "MatMulNBits", Domain: "com.microsoft", Inputs: []string{x, w, s}, Outputs: []string{y},
				Attrs: []model.Attr{model.IntAttr("K", int64(k)), model.IntAttr("N", n), model.IntAttr("bits", 4), model.IntAttr("block_size", block)}})
			b.output(y)
		}
		return b.g
	}
	r := rand.New(rand.NewPCG(8, 9))
	feed := engine.Feed{"x60": randomTensor(r, 1, 3, 60), "x64": randomTensor(r, 1, 3, 64)}
	both, err := load(t, graph(64, 60), engine.Options{Threads: 1}).Run(t.Context(), feed)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []int{60, 64} {
		x := fmt.Sprint("x", k)
		alone, err := load(t, graph(k), engine.Options{Threads: 1}).Run(t.Context(), engine.Feed{x: feed[x]})
		if err != nil {
			t.Fatal(err)
		}
		y := fmt.Sprint("y", k)
		if !sameBits(floatsOf(t, both[y]), floatsOf(t, alone[y])) {
			t.Errorf("depth %d beside another gives other bits than alone", k)
		}
	}
}
