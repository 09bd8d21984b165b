//go:build !static

package conformance_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Operators on weights in blocks, against ONNX Runtime on the same file.

// oneNode is a graph of one input and nodes, the output of the last of which is its output.
func oneNode(opset int64, in *model.Value, weights map[string]*model.Tensor, nodes ...*model.Node) *model.Graph {
	g := &model.Graph{Name: "test", Nodes: nodes, Inputs: []*model.Value{in}, Outputs: []*model.Value{{Name: nodes[len(nodes)-1].Outputs[0], Type: model.Type{DType: in.Type.DType}}},
		Model: &model.Info{IRVersion: 10, Opsets: []model.Opset{{Version: opset}, {Domain: "com.microsoft", Version: 1}}}}
	if in.Type.DType == model.Int64 {
		g.Outputs[0].Type.DType = model.Float32
	}
	for name, t := range weights {
		g.SetInitializer(name, t)
	}
	return g
}

// both runs a file in both runtimes.
func both(t *testing.T, rt *ort.Runtime, g *model.Graph, in engine.Feed) (got, want []float32) {
	t.Helper()
	return answer(t, engine.Native{}, g, in), answer(t, rt, g, in)
}

// answer is the output of the graph on a runtime.
func answer(t *testing.T, r engine.Runtime, g *model.Graph, in engine.Feed) []float32 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := load2(r, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	y, err := out[g.Outputs[0].Name].Float32()
	if err != nil {
		t.Fatal(err)
	}
	if r == (engine.Native{}) && g.Nodes[0].Op == "DequantizeLinear" && s.Info().Ops["com.microsoft.MatMulNBits"] != 1 {
		t.Errorf("DequantizeLinear and %s were not fused: %v", g.Nodes[1].Op, s.Info().Ops)
	}
	return append([]float32(nil), y...) // it may be the session's
}

func load2(rt engine.Runtime, path string) (engine.Session, error) {
	return rt.Load(context.Background(), engine.Artifact{Path: path}, engine.Options{Threads: 1, Spin: -1})
}

// apart returns max|a-b| / max|b|.
func apart(t *testing.T, a, b []float32) float64 {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d and %d elements", len(a), len(b))
	}
	var d, top float64
	for i := range a {
		d, top = max(d, math.Abs(float64(a[i])-float64(b[i]))), max(top, math.Abs(float64(b[i])))
		if a[i] != a[i] {
			return math.Inf(1)
		}
	}
	return d / max(top, 1e-30)
}

func randomBytes(r *rand.Rand, shape ...int) *model.Tensor {
	n, _ := model.NumElements(shape)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return model.FromSlice(shape, b)
}

func randomFloats(r *rand.Rand, scale float64, shape ...int) *model.Tensor {
	n, _ := model.NumElements(shape)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(scale * r.NormFloat64())
	}
	return model.FromSlice(shape, x)
}

// Products in float32 agree to 1e-5 of the largest element: two sums of a few hundred terms in different orders. With 8-bit
// activations ONNX Runtime rounds the same blocks to the same integers, so the same holds; the kernels of AVX-512 without VPDPBUSD, which do not round
// (see kernel.GemmNBits), are compared with its products in float32 there.
func TestMatMulNBitsAgainstONNXRuntime(t *testing.T) {
	rt := reference(t)
	r := rand.New(rand.NewPCG(4, 4))
	for i := range 120 {
		bits, block := []int{4, 8}[i%2], 16<<r.IntN(5)
		level := []int64{0, 4}[i/2%2]
		k, n := block*(1+r.IntN(3)), 1+r.IntN(80)
		if r.IntN(3) == 0 {
			k = 1 + r.IntN(300)
		}
		kb := (k + block - 1) / block
		w := map[string]*model.Tensor{"B": randomBytes(r, n, kb, block*bits/8), "scales": randomFloats(r, 0.05, n, kb)}
		node := &model.Node{Op: "MatMulNBits", Domain: "com.microsoft", Inputs: []string{"x", "B", "scales", "", "", ""}, Outputs: []string{"y"},
			Attrs: []model.Attr{model.IntAttr("K", int64(k)), model.IntAttr("N", int64(n)), model.IntAttr("bits", int64(bits)), model.IntAttr("block_size", int64(block))}}
		if level != 0 {
			node.Attrs = append(node.Attrs, model.IntAttr("accuracy_level", level))
		}
		kind := r.IntN(4)
		switch kind {
		case 1:
			w["zeros"] = randomBytes(r, n, (kb*bits+7)/8)
		case 2:
			if level == 4 || bits == 8 { // ONNX Runtime wants integers there
				kind = 0
				break
			}
			z := make([]float32, n*kb)
			for q := range z {
				z[q] = float32(r.Float64() * float64(int(1)<<bits))
			}
			w["zeros"] = model.FromSlice([]int{n, kb}, z)
		case 3:
			if bits == 4 && level == 0 {
				g := make([]int32, k)
				for q := range g {
					g[q] = int32(q / block)
				}
				r.Shuffle(k, func(a, b int) { g[a], g[b] = g[b], g[a] })
				w["g_idx"] = model.FromSlice([]int{k}, g)
				node.Inputs[4] = "g_idx"
			}
		}
		if w["zeros"] != nil {
			node.Inputs[3] = "zeros"
		}
		if r.IntN(2) == 0 {
			w["bias"] = randomFloats(r, 1, n)
			node.Inputs[5] = "bias"
		}
		for len(node.Inputs) > 3 && node.Inputs[len(node.Inputs)-1] == "" {
			node.Inputs = node.Inputs[:len(node.Inputs)-1]
		}
		in := &model.Value{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1}, {Size: -1}, {Size: int64(k)}}}}
		what := fmt.Sprintf("case %d: %d bits, block %d, level %d, K %d, N %d, kind %d", i, bits, block, level, k, n, kind)
		g := oneNode(21, in, w, node)
		feed := engine.Feed{"x": randomFloats(r, 1, 1+r.IntN(2), 1+r.IntN(9), k)}
		got := answer(t, engine.Native{}, g, feed)
		if level == 4 && kernel.Active() == kernel.AVX512 {
			last := len(node.Attrs) - 1
			node.Attrs[last] = model.IntAttr("accuracy_level", 0)
		}
		if d := apart(t, got, answer(t, rt, g, feed)); !(d <= 1e-5) {
			t.Errorf("%s: apart by %.2g", what, d)
		}
	}
}

// DequantizeLinear of 4 or 8 bits and a product become one node, which keeps what the two give, to the rounding of float32.
// ONNX Runtime makes a MatMulNBits of them too, but at accuracy level 4: its activations have 8 bits, half a step of which is
// 0.4 % of the largest of a block.
func TestFusedNBitsAgainstONNXRuntime(t *testing.T) {
	rt := reference(t)
	r := rand.New(rand.NewPCG(4, 5))
	types := []model.DType{model.Int4, model.Uint4, model.Int8, model.Uint8}
	for i := range 48 {
		d, gemm, trans, whole := types[i%4], i/4%2 == 1, r.IntN(2) == 0, i/8%3 == 0
		trans = trans && gemm
		block := 16 << r.IntN(3)
		k, n := 1+r.IntN(200), 1+r.IntN(60)
		shape, blocks, ax := []int{k, n}, []int{(k + block - 1) / block, n}, int64(0)
		if trans {
			shape, blocks, ax = []int{n, k}, []int{n, (k + block - 1) / block}, 1
		}
		attrs := []model.Attr{model.IntAttr("axis", ax), model.IntAttr("block_size", int64(block))}
		if whole {
			blocks, attrs = []int{n}, []model.Attr{model.IntAttr("axis", 1-ax)}
		}
		ints := func(shape []int) *model.Tensor {
			size, _ := model.NumElements(shape)
			raw := make([]byte, d.Size(size))
			for q := range raw {
				raw[q] = byte(r.Uint32())
			}
			if d.Bits() == 4 && size%2 == 1 {
				raw[len(raw)-1] &= 15
			}
			x, err := model.NewTensor(d, shape, raw)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		w := map[string]*model.Tensor{"W": ints(shape), "s": randomFloats(r, 0.05, blocks...)}
		dq := &model.Node{Op: "DequantizeLinear", Inputs: []string{"W", "s"}, Outputs: []string{"w"}, Attrs: attrs}
		if r.IntN(2) == 0 {
			w["z"] = ints(blocks)
			dq.Inputs = append(dq.Inputs, "z")
		}
		node := &model.Node{Op: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"y"}}
		if gemm {
			node.Op = "Gemm"
			if trans {
				node.Attrs = []model.Attr{model.IntAttr("transB", 1)}
			}
			w["c"] = randomFloats(r, 1, n)
			node.Inputs = append(node.Inputs, "c")
		}
		x := &model.Value{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1}, {Size: int64(k)}}}}
		g, in := oneNode(21, x, w, dq, node), engine.Feed{"x": randomFloats(r, 1, 1+r.IntN(5), k)}
		got, want := both(t, rt, g, in)
		if a := apart(t, got, want); !(a <= 0.02) {
			t.Errorf("case %d: %s %s%v, block %d: apart by %.2g", i, node.Op, d, shape, block, a)
		}
		plain, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, NoFusion: true})
		if err != nil {
			t.Fatal(err)
		}
		out, err := plain.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		exact, err := out["y"].Float32()
		if a := apart(t, got, exact); err != nil || !(a <= 1e-5) {
			t.Errorf("case %d: %s %s%v, block %d: apart from the nodes as they stand by %.2g, %v", i, node.Op, d, shape, block, a, err)
		}
		plain.Close()
	}
}

// Rows of tables are exact in both.
func TestGatherBlockQuantizedAgainstONNXRuntime(t *testing.T) {
	rt := reference(t)
	r := rand.New(rand.NewPCG(4, 6))
	for i := range 40 {
		kind := i % 4 // UINT4, INT4, two to a byte, bytes
		block := 16 << r.IntN(3)
		rows, cols := 1+r.IntN(12), 2*(1+r.IntN(60))
		shape, stored := []int{rows, cols}, []int{rows, cols}
		bits, d := 4, []model.DType{model.Uint4, model.Int4, model.Uint8, model.Uint8}[kind]
		kb := (cols + block - 1) / block
		sshape, zshape := []int{rows, kb}, []int{rows, kb}
		switch kind {
		case 2:
			stored[1] /= 2
			zshape[1] = (kb + 1) / 2
		case 3:
			bits = 8
		}
		tensor := func(shape []int) *model.Tensor {
			size, _ := model.NumElements(shape)
			raw := make([]byte, d.Size(size))
			for q := range raw {
				raw[q] = byte(r.Uint32())
			}
			if d.Bits() == 4 && size%2 == 1 {
				raw[len(raw)-1] &= 15
			}
			x, err := model.NewTensor(d, shape, raw)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		w := map[string]*model.Tensor{"W": tensor(stored), "s": randomFloats(r, 1, sshape...)}
		node := &model.Node{Op: "GatherBlockQuantized", Domain: "com.microsoft", Inputs: []string{"W", "x", "s"}, Outputs: []string{"y"},
			Attrs: []model.Attr{model.IntAttr("block_size", int64(block)), model.IntAttr("gather_axis", 0), model.IntAttr("quantize_axis", 1), model.IntAttr("bits", int64(bits))}}
		if r.IntN(2) == 0 {
			w["z"] = tensor(zshape)
			node.Inputs = append(node.Inputs, "z")
		}
		idx := make([]int64, 1+r.IntN(6))
		for q := range idx {
			idx[q] = int64(r.IntN(shape[0]))
		}
		in := &model.Value{Name: "x", Type: model.Type{DType: model.Int64, Shape: model.Shape{{Size: -1}}}}
		got, want := both(t, rt, oneNode(21, in, w, node), engine.Feed{"x": model.FromSlice([]int{len(idx)}, idx)})
		if a := apart(t, got, want); a != 0 {
			t.Errorf("case %d, kind %d, block %d, %v: apart by %g", i, kind, block, shape, a)
		}
	}
}
