package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// moved runs one operator over inputs x0, x1, ... and returns its only output.
func moved(t *testing.T, pool *kernel.Pool, op string, attrs []model.Attr, in ...*model.Tensor) *model.Tensor {
	t.Helper()
	n := &model.Node{Op: op, Attrs: attrs, Outputs: []string{"y"}}
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}, Nodes: []*model.Node{n}, Outputs: []*model.Value{{Name: "y"}}}
	feed := map[string]any{}
	for i, x := range in {
		name := fmt.Sprint("x", i)
		n.Inputs = append(n.Inputs, name)
		g.Inputs = append(g.Inputs, &model.Value{Name: name})
		feed[name] = x
	}
	p, err := Compile(g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Exec(t.Context(), pool, feed)
	if err != nil {
		t.Fatal(err)
	}
	return out["y"].(*model.Tensor)
}

// picked compares y with what at says: from which input and which position in it the element at a place comes.
func picked(t *testing.T, what string, y *model.Tensor, shape []int, in []*model.Tensor, at func(place []int) (input, position int)) {
	t.Helper()
	if !slices.Equal(y.Shape(), shape) {
		t.Fatalf("%s: shape %v, want %v", what, y.Shape(), shape)
	}
	got, err := y.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	w := y.DType().Bits() / 8
	place := make([]int, len(shape))
	var from [][]byte
	for _, x := range in {
		b, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		from = append(from, b)
	}
	step := 1
	if product(shape) > 1<<20 {
		step = 37 // in every dimension in turn
	}
	for e := 0; e < product(shape); e += step {
		for k, rest := len(shape)-1, e; k >= 0; k-- {
			place[k], rest = rest%shape[k], rest/shape[k]
		}
		if i, p := at(place); !bytes.Equal(got[e*w:(e+1)*w], from[i][p*w:(p+1)*w]) {
			t.Fatalf("%s: the element at %v is wrong", what, place)
		}
	}
}

// position of a place in a tensor.
func position(shape, place []int) int {
	p := 0
	for k, d := range shape {
		p = p*d + place[k]
	}
	return p
}

// TestMoves compares transpositions, slices, joined tensors and rows by their numbers with their definition: random shapes and types of one to eight
// bytes, with one thread and with three, and shapes whose outputs are stored past the caches.
func TestMoves(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	pool := kernel.NewPool(3, 0)
	defer pool.Close()
	tensor := func(d model.DType, shape ...int) *model.Tensor {
		b := make([]byte, d.Size(product(shape)))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		x, err := model.NewTensor(d, shape, b)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for n := range 1000 {
		d := []model.DType{model.Int8, model.Uint16, model.Float32, model.Float32, model.Float64}[r.IntN(5)]
		shape := make([]int, 1+r.IntN(5))
		for k := range shape {
			shape[k] = 1 + r.IntN(6)
			if r.IntN(8) == 0 {
				shape[k] = 1 + r.IntN(40)
			}
		}
		if n%60 == 0 { // enough for several threads
			shape = []int{2, 3 + r.IntN(100), 1 + r.IntN(9), 64 + r.IntN(100)}
		}
		if n%500 == 1 { // past the caches: rows of whole lines, and others
			shape, d = []int{2, 140, 63 + n/500, 256 + n/500*4}, model.Float32
		}
		x, ax := tensor(d, shape...), r.IntN(len(shape))
		var p *kernel.Pool
		if n%2 == 0 {
			p = pool
		}
		perm := r.Perm(len(shape))
		if r.IntN(2) == 0 || n%500 == 1 { // whole rows
			perm = append(r.Perm(len(shape)-1), len(shape)-1)
		}
		if n%500 == 1 {
			perm = []int{0, 2, 1, 3}
		}
		to, perm64 := make([]int, len(shape)), make([]int64, len(shape))
		for k, q := range perm {
			to[k], perm64[k] = shape[q], int64(q)
		}
		y := moved(t, p, "Transpose", []model.Attr{model.IntsAttr("perm", perm64...)}, x)
		from := make([]int, len(shape))
		picked(t, fmt.Sprintf("transposition %v of %v", perm, shape), y, to, []*model.Tensor{x}, func(place []int) (int, int) {
			for k, q := range perm {
				from[q] = place[k]
			}
			return 0, position(shape, from)
		})

		other := slices.Clone(shape)
		other[ax] = r.IntN(5)
		z := tensor(d, other...)
		to = slices.Clone(shape)
		to[ax] += other[ax]
		picked(t, fmt.Sprintf("%v and %v joined along %d", shape, other, ax), moved(t, p, "Concat", []model.Attr{model.IntAttr("axis", int64(ax))}, x, z), to, []*model.Tensor{x, z}, func(place []int) (int, int) {
			if place[ax] < shape[ax] {
				return 0, position(shape, place)
			}
			copy(from, place)
			from[ax] -= shape[ax]
			return 1, position(other, from)
		})

		lo, step := r.IntN(shape[ax]), 1+r.IntN(2)
		hi := lo + 1 + r.IntN(shape[ax]-lo)
		to[ax] = (hi - lo + step - 1) / step
		one := func(v int) *model.Tensor { return model.FromSlice([]int{1}, []int64{int64(v)}) }
		picked(t, fmt.Sprintf("%v from %d to %d by %d along %d", shape, lo, hi, step, ax), moved(t, p, "Slice", nil, x, one(lo), one(hi), one(ax), one(step)), to, []*model.Tensor{x}, func(place []int) (int, int) {
			copy(from, place)
			from[ax] = lo + step*from[ax]
			return 0, position(shape, from)
		})

		index := make([]int64, 1+r.IntN(9))
		for i := range index {
			index[i] = int64(r.IntN(2*shape[ax]) - shape[ax])
		}
		if n%500 == 1 {
			ax = 1
			index = make([]int64, 150)
			for i := range index {
				index[i] = r.Int64N(int64(shape[ax]))
			}
		}
		to = slices.Clone(shape)
		to[ax] = len(index)
		picked(t, fmt.Sprintf("rows %v of %v along %d", index, shape, ax), moved(t, p, "Gather", []model.Attr{model.IntAttr("axis", int64(ax))}, x, model.FromSlice([]int{len(index)}, index)), to, []*model.Tensor{x}, func(place []int) (int, int) {
			copy(from, place)
			if from[ax] = int(index[place[ax]]); from[ax] < 0 {
				from[ax] += shape[ax]
			}
			return 0, position(shape, from)
		})
	}
}
