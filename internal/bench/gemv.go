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
// number of bytes with the same threads, in the same rounds: those of one matrix over and over, which a large cache holds, and
// those of several in turn, which come from memory, as the layers of a language model do.

// gemvSize is the number of rows and columns of a matrix.
const gemvSize = 4096

// gemvKind is a graph of products of one vector and count matrices: bits and accuracy_level.
type gemvKind struct {
	bits, level int64
	count       int
}

// gemvKinds are the graphs. The weights of several are 134 MB or more.
var gemvKinds = []gemvKind{{4, 4, 1}, {8, 4, 1}, {4, 0, 1}, {8, 0, 1}, {32, 0, 1}, {4, 4, 16}, {8, 4, 8}, {4, 0, 16}, {8, 0, 8}, {32, 0, 8}}

// whole tells whether the vector of weights in blocks is multiplied as exactly as float32, in digits. On a Zen 4 three digits take twice as long to
// multiply as weights of 4 bits in the cache take to read, on an Emerald Rapids a third.
func (k gemvKind) whole() bool { return k.bits < 32 && k.level == 0 }

// name is that of the row; integers tells whether the matrices are quantized dynamically.
func (k gemvKind) name(integers bool) string {
	s := fmt.Sprintf("GEMV int%d %dx%[2]d, block 32", k.bits, gemvSize)
	switch {
	case integers:
		s = fmt.Sprintf("GEMV int8 %dx%[1]d (MatMulInteger)", gemvSize)
	case k.bits == 32:
		s = fmt.Sprintf("GEMV fp32 %dx%[1]d", gemvSize)
	case k.level == 4:
		s += ", int8 activations"
	}
	if k.count > 1 {
		s += fmt.Sprintf(", %d matrices from memory", k.count)
	}
	return s
}

// gemvRows adds the rows for a number of threads.
func gemvRows(threads int, add func(string, row)) {
	feed := func(rng *rand.Rand) engine.Feed { return engine.Feed{"x": normal(rng, 1, 1, gemvSize)} }
	share := goal{0.9, 0.98, true, 0}
	for i, k := range gemvKinds {
		r := row{model: source{gemv: i + 1}, feed: feed, threads: threads, goal: share, times: 3} // two near times: the interval is to be a narrow one
		if k.bits == 32 {
			if k.count == 1 {
				whole := r
				whole.goal, whole.times = goal{}, 1
				add(k.name(false), whole)
			}
			r.int8 = true
		}
		add(k.name(r.int8), r)
	}
}

// gemvModel writes the model of gemvKinds[i] to dir.
func gemvModel(i int, dir string) (string, error) {
	k := gemvKinds[i]
	const n, block = gemvSize, 32
	rng := rand.New(rand.NewPCG(7, uint64(i)))
	g := &model.Graph{Name: "gemv", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}, {Domain: "com.microsoft", Version: 1}}},
		Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, n)}}}}
	for m := range k.count {
		name := func(s string) string { return fmt.Sprint(s, m) }
		g.Outputs = append(g.Outputs, &model.Value{Name: name("y"), Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, n)}})
		node := &model.Node{Name: name("product"), Op: "MatMul", Inputs: []string{"x", name("W")}, Outputs: []string{name("y")}}
		g.Nodes = append(g.Nodes, node)
		if k.bits == 32 {
			g.SetInitializer(name("W"), normal(rng, 0.02, n, n))
			continue
		}
		row := n * int(k.bits) / 8
		q := make([]byte, n*row)
		for j := range q {
			q[j] = byte(rng.Uint32())
		}
		g.SetInitializer(name("W"), model.FromSlice([]int{n, n / block, row * block / n}, q))
		g.SetInitializer(name("s"), normal(rng, 0.02, n, n/block))
		node.Op, node.Domain, node.Inputs = "MatMulNBits", "com.microsoft", append(node.Inputs, name("s"))
		node.Attrs = []model.Attr{model.IntAttr("K", n), model.IntAttr("N", n), model.IntAttr("bits", k.bits), model.IntAttr("block_size", block),
			model.IntAttr("accuracy_level", k.level)}
	}
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

// digits is how many bytes every element of the vector has in a product in digits, each multiplied with the weights; 0 where that is not known.
func digits() int {
	if kernel.Active() >= kernel.AVX512VNNI {
		return 3
	}
	return 0
}

// bandwidth sets the share of the read bandwidth: the paired ratio of the reader's time and the native runtime's; of a product in digits that of
// the peak of int8 too.
func (b *bench) bandwidth(r row, cs []*contender, res *result) error {
	q, err := measure.PairedRatio(cs[0].wall, cs[len(cs)-1].wall, measure.BasisWall, b.seed)
	if err != nil {
		return err
	}
	res.Roofline, res.Bandwidth = q.Value, true
	res.RoofLo, res.RoofHi = q.CI95.Lo, q.CI95.Hi
	least := slices.Min(cs[0].wall)
	res.RoofMin = slices.Min(cs[len(cs)-1].wall) / least
	if k := r.model.gemv - 1; k >= 0 && gemvKinds[k].whole() && b.report.Int8Ops > 0 {
		res.Multiplies = 2 * gemvSize * gemvSize * float64(gemvKinds[k].count*digits()) / b.report.Int8Ops / float64(r.threads) / least
	}
	return nil
}
