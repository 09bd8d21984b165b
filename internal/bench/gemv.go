package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Products of a vector and a matrix wait for the weights: beside ONNX Runtime they are measured against reading the same
// number of bytes with the same threads, in the same rounds.

// gemvSize is the number of rows and columns of the matrix.
const gemvSize = 4096

// gemvKinds are the matrices: name of the row, bits, accuracy_level.
var gemvKinds = []struct {
	name        string
	bits, level int64
}{
	{"GEMV int4 4096x4096, block 32, int8 activations", 4, 4},
	{"GEMV int8 4096x4096, block 32, int8 activations", 8, 4},
	{"GEMV int4 4096x4096, block 32", 4, 0},
	{"GEMV int8 4096x4096, block 32", 8, 0},
	{"GEMV fp32 4096x4096", 32, 0},
}

// gemvRows adds the rows for a number of threads.
func gemvRows(threads int, add func(string, row)) {
	feed := func(rng *rand.Rand) engine.Feed { return engine.Feed{"x": normal(rng, 1, 1, gemvSize)} }
	share := goal{0.9, 0.98, true, 0}
	for i, k := range gemvKinds {
		r := row{model: source{gemv: i + 1}, feed: feed, threads: threads, goal: share}
		if k.bits == 32 {
			r.goal = goal{}
			add(k.name, r)
			k.name, r.int8, r.goal = "GEMV int8 4096x4096 (MatMulInteger)", true, share
		}
		add(k.name, r)
	}
}

// gemvModel writes the model of gemvKinds[i] to dir.
func gemvModel(i int, dir string) (string, error) {
	k := gemvKinds[i]
	const n, block = gemvSize, 32
	rng := rand.New(rand.NewPCG(7, uint64(i)))
	g := &model.Graph{Name: "gemv", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}, {Domain: "com.microsoft", Version: 1}}},
		Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, n)}}},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, n)}}}}
	node := &model.Node{Name: "product", Op: "MatMul", Inputs: []string{"x", "W"}, Outputs: []string{"y"}}
	if k.bits == 32 {
		g.SetInitializer("W", normal(rng, 0.02, n, n))
	} else {
		row := n * int(k.bits) / 8
		q := make([]byte, n*row)
		for j := range q {
			q[j] = byte(rng.Uint32())
		}
		g.SetInitializer("W", model.FromSlice([]int{n, n / block, row * block / n}, q))
		g.SetInitializer("s", normal(rng, 0.02, n, n/block))
		node.Op, node.Domain, node.Inputs = "MatMulNBits", "com.microsoft", append(node.Inputs, "s")
		node.Attrs = []model.Attr{model.IntAttr("K", n), model.IntAttr("N", n), model.IntAttr("bits", k.bits), model.IntAttr("block_size", block),
			model.IntAttr("accuracy_level", k.level)}
	}
	g.Nodes = []*model.Node{node}
	path := filepath.Join(dir, fmt.Sprintf("gemv-%d.onnx", i))
	return path, onnx.Save(path, g, onnx.WriteOptions{})
}

// reader is a runtime that reads bytes and computes nothing.
type reader struct{ bytes int }

func (r reader) Name() string { return "read" }

func (r reader) Load(_ context.Context, _ engine.Artifact, o engine.Options) (engine.Session, error) {
	buf := kernel.Memory(r.bytes) // in pages as the weights have them
	for i := 0; i < len(buf); i += 64 {
		buf[i] = 1 // pages that nobody wrote are all the same zero page
	}
	pool := kernel.NewPool(o.Threads, o.Spin)
	if o.Spin == 0 {
		pool.Close()
		pool = kernel.NewPool(o.Threads, settle)
	}
	return &readSession{pool: pool, buf: buf}, nil
}

type readSession struct {
	engine.Session // nil: only what follows is called
	pool           *kernel.Pool
	buf            []byte
}

func (s *readSession) Run(context.Context, engine.Feed, ...string) (engine.Feed, error) {
	kernel.Read(s.pool, s.buf)
	return nil, nil
}

func (s *readSession) Close() error {
	s.pool.Close()
	return nil
}

// addReader appends the contender that reads as many bytes as the native runtime's weights have.
func (b *bench) addReader(ctx context.Context, art engine.Artifact, feed engine.Feed, cs []*contender) ([]*contender, error) {
	o := cs[0].options
	o.Profile = true
	s, err := engine.Native{}.Load(ctx, art, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if _, err := s.Run(ctx, feed); err != nil {
		return nil, err
	}
	size := int64(0)
	for _, p := range s.Profile() {
		size += p.Bytes
	}
	if size <= 0 {
		return nil, fmt.Errorf("the size of the weights is not known")
	}
	c := &contender{name: "read", runtime: reader{int(size)}, options: cs[0].options}
	c.session, err = c.runtime.Load(ctx, engine.Artifact{}, c.options)
	return append(cs, c), err
}

// bandwidth sets the share of the read bandwidth: the paired ratio of the reader's time and the native runtime's.
func (b *bench) bandwidth(cs []*contender, res *result) error {
	q, err := measure.PairedRatio(cs[0].wall, cs[len(cs)-1].wall, measure.BasisWall, b.seed)
	if err != nil {
		return err
	}
	res.Roofline, res.Bandwidth = q.Value, true
	res.RoofLo, res.RoofHi = q.CI95.Lo, q.CI95.Hi
	res.RoofMin = slices.Min(cs[len(cs)-1].wall) / slices.Min(cs[0].wall)
	return nil
}
