package prune_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/prune"
)

// scores makes n scores with many ties.
func scores(rng *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		switch rng.IntN(4) {
		case 0:
			s[i] = float32(rng.NormFloat64())
		case 1:
			s[i] = float32(rng.IntN(5)) - 2
		case 2:
			s[i] = 0
			if rng.IntN(2) == 0 {
				s[i] = float32(math.Copysign(0, -1))
			}
		default:
			s[i] = float32(rng.NormFloat64()) * 0x1p-140
		}
	}
	return s
}

// sortedOut drops the n lowest of all scores by sorting them, the later ones first where they are equal.
func sortedOut(all []float32, n int) []bool {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool {
		if all[order[a]] != all[order[b]] {
			return all[order[a]] < all[order[b]]
		}
		return order[a] > order[b]
	})
	keep := make([]bool, len(all))
	for _, i := range order[n:] {
		keep[i] = true
	}
	return keep
}

func TestUnstructuredBySorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		n, sparsity := rng.IntN(500), rng.Float64()
		s := prune.Scored{Name: "w", Shape: []int{n}, Scores: scores(rng, n)}
		mask, left, err := prune.Unstructured{}.Select([]prune.Scored{s}, sparsity)
		if err != nil || len(left) > 0 {
			t.Fatal(err, left)
		}
		want := sortedOut(s.Scores, int(math.Round(float64(n)*sparsity)))
		for i := range want {
			if mask["w"].Get(i) != want[i] {
				t.Fatalf("%d of %d scores at sparsity %v: element %d of %v", i, n, sparsity, i, s.Scores)
			}
		}
	}
}

func TestGlobalBySorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var w []prune.Scored
		var all []float32
		for i := range 1 + rng.IntN(6) {
			s := scores(rng, rng.IntN(120))
			w = append(w, prune.Scored{Name: fmt.Sprint(i), Shape: []int{len(s)}, Scores: s})
			all = append(all, s...)
		}
		sparsity := rng.Float64()
		mask, _, err := prune.Global{}.Select(w, sparsity)
		if err != nil {
			t.Fatal(err)
		}
		want := sortedOut(all, int(math.Round(float64(len(all))*sparsity)))
		at := 0
		for _, s := range w {
			for i := range s.Scores {
				if mask[s.Name].Get(i) != want[at] {
					t.Fatalf("sparsity %v: element %d of weight %s", sparsity, i, s.Name)
				}
				at++
			}
		}
	}
}

// TestNMAlongInput checks every group along the input axis against sorting, for tensors of rank 2 to 4 and every axis.
func TestNMAlongInput(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	for range 300 {
		m := 2 + rng.IntN(9)
		p := prune.NM{N: 1 + rng.IntN(m-1), M: m}
		shape := make([]int, 2+rng.IntN(3))
		for i := range shape {
			shape[i] = 1 + rng.IntN(5)
		}
		in := rng.IntN(len(shape))
		shape[in] = m * (1 + rng.IntN(3))
		n, stride := 1, 1
		for i, d := range shape {
			n *= d
			if i > in {
				stride *= d
			}
		}
		s := prune.Scored{Name: "w", Shape: shape, In: in, Scores: scores(rng, n)}
		mask, left, err := p.Select([]prune.Scored{s}, 0)
		if err != nil || len(left) > 0 {
			t.Fatal(err, left)
		}
		groups := map[[2]int][]int{} // by what is left of the index without the input axis, and by group
		for i := range n {
			k := i / stride % shape[in]
			rest := i - k*stride
			groups[[2]int{rest, k / m}] = append(groups[[2]int{rest, k / m}], i)
		}
		for _, g := range groups {
			slices.Sort(g)
			var v []float32
			for _, i := range g {
				v = append(v, s.Scores[i])
			}
			want := sortedOut(v, m-p.N)
			for k, i := range g {
				if len(g) != m || mask["w"].Get(i) != want[k] {
					t.Fatalf("%s of shape %v along %d: element %d of group %v", p.Name(), shape, in, i, v)
				}
			}
		}
	}
}

func TestPatternErrors(t *testing.T) {
	bad := []prune.Scored{{Name: "w", Shape: []int{4, 2}, Scores: []float32{1, 2, float32(math.NaN()), 4, 5, 6, 7, 8}}}
	for _, p := range []prune.Pattern{prune.Unstructured{}, prune.Global{}, prune.NM{N: 2, M: 4}} {
		if _, _, err := p.Select(bad, 0.5); err == nil || !strings.Contains(err.Error(), `score 2 of weight "w"`) {
			t.Errorf("%s: %v", p.Name(), err)
		}
	}
	for _, p := range []prune.NM{{0, 4}, {4, 4}, {5, 4}, {-1, 2}, {2, 65}} {
		if _, _, err := p.Select(nil, 0); err == nil {
			t.Errorf("pattern %s is accepted", p.Name())
		}
	}
	for word, want := range map[string]prune.Pattern{"": prune.Unstructured{}, "unstructured": prune.Unstructured{}, "global": prune.Global{},
		"2:4": prune.NM{N: 2, M: 4}, "1:64": prune.NM{N: 1, M: 64}, "4:2": nil, "2:4:8": nil, "a:b": nil, "0:4": nil, "1:65": nil, "random": nil} {
		got, err := prune.ParsePattern(word)
		if got != want || (err != nil) != (want == nil) {
			t.Errorf("pattern %q: %v, %v", word, got, err)
		}
	}
	_, left, err := prune.NM{N: 2, M: 4}.Select([]prune.Scored{{Name: "w", Shape: []int{2, 6}, In: 1, Scores: make([]float32, 12)}}, 0)
	if err != nil || left["w"] != "input axis of 6 is not a multiple of 4" {
		t.Errorf("%v, %v", left, err)
	}
}

func normal(seed uint64, shape ...int) *model.Tensor {
	rng := rand.New(rand.NewPCG(seed, 2))
	n, err := model.NumElements(shape)
	if err != nil {
		panic(err)
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return model.FromSlice(shape, x)
}

func node(op string, inputs []string, attrs ...model.Attr) *model.Node {
	return &model.Node{Op: op, Inputs: inputs, Outputs: []string{"out of " + strings.Join(inputs, ",")}, Attrs: attrs}
}

// zoo has a weight of every kind that is pruned, and of kinds that are not.
func zoo() *model.Graph {
	g := &model.Graph{Name: "zoo", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
	for _, w := range []struct {
		name  string
		shape []int
		node  *model.Node
	}{
		{"matmul", []int{8, 6}, node("MatMul", []string{"x", "matmul"})},
		{"left", []int{6, 8}, node("MatMul", []string{"left", "x"})},
		{"gemm", []int{8, 6}, node("Gemm", []string{"x", "gemm"})},
		{"gemmT", []int{6, 8}, node("Gemm", []string{"x", "gemmT"}, model.IntAttr("transB", 1))},
		{"conv", []int{6, 8, 3, 3}, node("Conv", []string{"x", "conv"})},
		{"lstm.w", []int{2, 24, 8}, node("LSTM", []string{"x", "lstm.w", "lstm.r"})},
		{"lstm.r", []int{2, 24, 8}, nil},
		{"table", []int{9, 8}, node("Gather", []string{"table", "i"})},
		{"bias", []int{1, 8}, node("Add", []string{"x", "bias"})},
		{"unread", []int{8, 8}, nil},
		{"both", []int{8, 8}, node("MatMul", []string{"x", "both"})},
		{"foreign", []int{8, 8}, &model.Node{Op: "MatMul", Domain: "com.example", Inputs: []string{"x", "foreign"}, Outputs: []string{"f"}}},
	} {
		g.SetInitializer(w.name, normal(7, w.shape...))
		if w.node != nil {
			g.Nodes = append(g.Nodes, w.node)
		}
	}
	g.Nodes = append(g.Nodes, node("Gemm", []string{"x", "both", "bias"}, model.IntAttr("transB", 1)))
	return g
}

func TestSelectAxes(t *testing.T) {
	axes := map[string]int{"matmul": 0, "left": 1, "gemm": 0, "gemmT": 1, "conv": 1, "lstm.w": 2, "lstm.r": 2}
	reasons := map[string]string{"table": "read by Gather", "bias": "read by Add", "unread": "no node reads it",
		"both": "read along two different axes", "foreign": "read by com.example.MatMul"}
	g := zoo()
	mask, notes, err := prune.Select(g, prune.Options{Pattern: prune.NM{N: 2, M: 4}})
	if err != nil {
		t.Fatal(err)
	}
	if len(mask) != len(axes) || len(notes) != len(axes)+len(reasons) {
		t.Errorf("%d weights, %d notes", len(mask), len(notes))
	}
	for _, n := range notes {
		axis, pruned := axes[n.Weight]
		if why := reasons[n.Weight]; !pruned && (n.Action != model.Left || n.Reason != why) {
			t.Errorf("%+v, want %q", n, why)
		}
		if !pruned {
			continue
		}
		if n.Action != "pruned 2:4" || n.Reason != "50.0 % zeros" {
			t.Errorf("%+v", n)
		}
		tensor := g.Initializer(n.Weight)
		x, _ := tensor.Float32()
		abs := make([]float32, len(x))
		for i, v := range x {
			abs[i] = float32(math.Abs(float64(v)))
		}
		want, _, err := prune.NM{N: 2, M: 4}.Select([]prune.Scored{{Name: "w", Shape: tensor.Shape(), In: axis, Scores: abs}}, 0)
		if err != nil || !slices.Equal(want["w"].Words, mask[n.Weight].Words) {
			t.Errorf("%s is not pruned along axis %d", n.Weight, axis)
		}
	}
	again, _, err := prune.Select(zoo(), prune.Options{Pattern: prune.NM{N: 2, M: 4}})
	if err != nil {
		t.Fatal(err)
	}
	for name := range mask {
		if !slices.Equal(mask[name].Words, again[name].Words) {
			t.Errorf("%s: two runs differ", name)
		}
	}
}

func TestSelectErrors(t *testing.T) {
	for _, s := range []float64{0, 1, -0.1, 1.5, math.NaN()} {
		if _, _, err := prune.Select(zoo(), prune.Options{Sparsity: s}); err == nil || errors.Is(err, prune.ErrNothing) {
			t.Errorf("sparsity %v: %v", s, err)
		}
	}
	if _, notes, err := prune.Select(zoo(), prune.Options{Sparsity: 0.5, Ops: []string{"GRU"}}); !errors.Is(err, prune.ErrNothing) || len(notes) == 0 {
		t.Errorf("no such operator: %v, %d notes", err, len(notes))
	}
	if _, _, err := prune.Select(zoo(), prune.Options{Sparsity: 1e-9}); !errors.Is(err, prune.ErrNothing) {
		t.Errorf("less than one element: %v", err)
	}
	g := zoo()
	x, _ := g.Initializer("matmul").Float32()
	x = slices.Clone(x)
	x[3] = float32(math.Inf(1))
	g.SetInitializer("matmul", model.FromSlice([]int{8, 6}, x))
	g.SetInitializer("gemm", model.FromSlice([]int{0, 6}, []float32{}))
	mask, notes, err := prune.Select(g, prune.Options{Sparsity: 0.5})
	if err != nil || mask["matmul"].N != 0 || mask["gemm"].N != 0 {
		t.Errorf("%v, %v", err, mask["matmul"])
	}
	for _, n := range notes {
		if n.Weight == "matmul" && n.Reason != "holds a value that is not finite" || n.Weight == "gemm" && n.Reason != "empty" {
			t.Errorf("%+v", n)
		}
	}
}

// TestApplyKeepsBits: dropped elements become +0, all others keep their bits, in every type.
func TestApplyKeepsBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, dtype := range []model.DType{model.Float32, model.Float64, model.Float16, model.BFloat16} {
		raw := make([]byte, dtype.Size(40*32))
		for i := range raw {
			raw[i] = byte(rng.Uint32())
			if i%2 == 1 {
				raw[i] &= 0xbf // no infinities and NaNs
			}
		}
		w, err := model.NewTensor(dtype, []int{40, 32}, raw)
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(raw)
		g := &model.Graph{Nodes: []*model.Node{node("MatMul", []string{"x", "w"})}, Model: &model.Info{}}
		g.SetInitializer("w", w)
		mask, _, err := prune.Select(g, prune.Options{Sparsity: 0.3})
		if err != nil {
			t.Fatal(dtype, err)
		}
		clone := g.Clone()
		if err := prune.Apply(clone, mask); err != nil {
			t.Fatal(dtype, err)
		}
		got, err := clone.Initializer("w").Bytes()
		if err != nil || clone.Initializer("w").DType() != dtype || !slices.Equal(raw, before) {
			t.Fatalf("%s: %v, %s, or the original was changed", dtype, err, clone.Initializer("w").DType())
		}
		size, dropped := dtype.Bits()/8, 0
		for i := range mask["w"].N {
			want := raw[i*size : (i+1)*size]
			if !mask["w"].Get(i) {
				want = make([]byte, size)
				dropped++
			}
			if !slices.Equal(got[i*size:(i+1)*size], want) {
				t.Fatalf("%s: element %d is %x, want %x", dtype, i, got[i*size:(i+1)*size], want)
			}
		}
		if dropped != 384 {
			t.Errorf("%s: %d elements dropped, want 384", dtype, dropped)
		}
	}
}

func TestApplyErrors(t *testing.T) {
	g := zoo()
	before, _ := g.Initializer("matmul").Bytes()
	for want, mask := range map[string]model.Mask{
		"names 2 weights": {"matmul": model.NewBits(48), "nobody": model.NewBits(3)},
		`weight "gemm"`:   {"matmul": model.NewBits(48), "gemm": model.NewBits(47)},
	} {
		if err := prune.Apply(g, mask); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if after, _ := g.Initializer("matmul").Bytes(); &after[0] != &before[0] {
		t.Error("the graph was changed")
	}
}

// TestBranchesOfOneName: weights of sibling bodies that share a name are masked each by itself.
func TestBranchesOfOneName(t *testing.T) {
	body := func(seed uint64) *model.Graph {
		b := &model.Graph{Nodes: []*model.Node{node("MatMul", []string{"x", "w"})}}
		b.SetInitializer("w", normal(seed, 4, 4))
		return b
	}
	g := &model.Graph{Model: &model.Info{}, Nodes: []*model.Node{{Name: "if", Op: "If", Outputs: []string{"y"}, Attrs: []model.Attr{
		{Name: "then_branch", Kind: model.AttrGraph, G: body(1)}, {Name: "else_branch", Kind: model.AttrGraph, G: body(2)}}}}}
	mask, _, err := prune.Select(g, prune.Options{Sparsity: 0.5})
	if err != nil || len(mask) != 2 {
		t.Fatalf("%v, %d weights", err, len(mask))
	}
	if err := prune.Apply(g, mask); err != nil {
		t.Fatal(err)
	}
	for _, w := range g.Weights() {
		x, _ := w.Tensor.Float32()
		zeros := 0
		for _, v := range x {
			if v == 0 {
				zeros++
			}
		}
		if zeros != 8 {
			t.Errorf("%s has %d zeros, want 8", w.Name, zeros)
		}
	}
	// two nodes of one name, which a file may have, would make one name for two weights
	twin := g.Clone().Nodes[0]
	twin.Outputs = []string{"z"}
	g.Nodes = append(g.Nodes, twin)
	if _, notes, err := prune.Select(g, prune.Options{Sparsity: 0.5}); !errors.Is(err, prune.ErrNothing) || notes[0].Reason != "another weight has the same name" {
		t.Errorf("%v, %+v", err, notes)
	}
}
