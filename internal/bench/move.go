package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Operators that only move elements are measured against copying the same number of bytes with the same threads, in the same
// rounds. One element of what each makes is the output, so that what is written is memory of inner values; a view between the two keeps ONNX Runtime
// from slicing first.

// moveKinds are those operators: name of the row, operator, shape of the input, attributes, and the elements that it makes.
var moveKinds = []struct {
	name, op string
	shape    []int
	attr     model.Attr
	elements int
}{
	{"Transpose fp32 2048x2048", "Transpose", []int{2048, 2048}, model.IntsAttr("perm", 1, 0), 1 << 22},
	{"Transpose fp32 of heads 8x512x16x64", "Transpose", []int{8, 512, 16, 64}, model.IntsAttr("perm", 0, 2, 1, 3), 1 << 22},
	{"Transpose fp32 to channels last 1x64x256x256", "Transpose", []int{1, 64, 256, 256}, model.IntsAttr("perm", 0, 2, 3, 1), 1 << 22},
	{"Gather fp32 of 8192 rows of 512", "Gather", []int{8192, 512}, model.IntAttr("axis", 0), 1 << 22},
	{"Concat fp32 of two 2048x1024, axis 1", "Concat", []int{2048, 1024}, model.IntAttr("axis", 1), 1 << 22},
}

// moveRows adds the rows for a number of threads.
func moveRows(threads int, add func(string, row)) {
	for i, k := range moveKinds {
		feed := func(rng *rand.Rand) engine.Feed { return engine.Feed{"x": normal(rng, 1, k.shape...)} }
		add(k.name, row{model: source{move: i + 1}, feed: feed, threads: threads, goal: goal{0, 0.9, true, 0}})
	}
}

// moveModel writes the model of moveKinds[i] to dir.
func moveModel(i int, dir string) (string, error) {
	k := moveKinds[i]
	g := &model.Graph{Name: "move", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(k.shape...)}}},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32}}}}
	move := &model.Node{Name: "move", Op: k.op, Inputs: []string{"x"}, Outputs: []string{"moved"}, Attrs: []model.Attr{k.attr}}
	switch k.op {
	case "Gather":
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		rows := make([]int64, k.shape[0])
		for j := range rows {
			rows[j] = rng.Int64N(int64(k.shape[0]))
		}
		g.SetInitializer("rows", model.FromSlice([]int{len(rows)}, rows))
		move.Inputs = append(move.Inputs, "rows")
	case "Concat":
		move.Inputs = append(move.Inputs, "x")
	}
	for name, v := range map[string]int64{"flat": -1, "from": 0, "to": 1} {
		g.SetInitializer(name, model.FromSlice([]int{1}, []int64{v}))
	}
	g.Nodes = []*model.Node{move, {Name: "flat", Op: "Reshape", Inputs: []string{"moved", "flat"}, Outputs: []string{"row"}},
		{Name: "first", Op: "Slice", Inputs: []string{"row", "from", "to"}, Outputs: []string{"y"}}}
	path := filepath.Join(dir, fmt.Sprintf("move-%d.onnx", i))
	return path, onnx.Save(path, g, onnx.WriteOptions{})
}

// copier is a runtime that copies bytes and computes nothing.
type copier struct{ bytes int }

func (c copier) Name() string { return "copy" }

func (c copier) Load(_ context.Context, _ engine.Artifact, o engine.Options) (engine.Session, error) {
	pool := kernel.NewPool(o.Threads, settle)
	return &copySession{pool: pool, from: make([]byte, c.bytes), to: make([]byte, c.bytes)}, nil
}

type copySession struct {
	engine.Session // nil: only what follows is called
	pool           *kernel.Pool
	from, to       []byte
}

func (s *copySession) Run(context.Context, engine.Feed, ...string) (engine.Feed, error) {
	parts := 4 * s.pool.Threads()
	n := len(s.from) / parts
	s.pool.Run(parts, func(i int) { copy(s.to[i*n:(i+1)*n], s.from[i*n:(i+1)*n]) })
	return nil, nil
}

func (s *copySession) Close() error {
	s.pool.Close()
	return nil
}

// addCopier appends the contender that copies as many bytes as the operator moves.
func (b *bench) addCopier(ctx context.Context, r row, cs []*contender) ([]*contender, error) {
	c := &contender{name: "copy", runtime: copier{4 * moveKinds[r.model.move-1].elements}, options: cs[0].options}
	var err error
	if c.session, err = c.runtime.Load(ctx, engine.Artifact{}, c.options); err != nil {
		return nil, err
	}
	for i := range c.session.(*copySession).from { // pages that nobody wrote are all the same zero page
		c.session.(*copySession).from[i] = 1
	}
	return append(cs, c), nil
}
