package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// nbitsOps are ONNX Runtime's operators on weights quantized in blocks.
func nbitsOps() map[string]opDef {
	return qualify("com.microsoft", map[string]opDef{
		"MatMulNBits":          {run: opMatMulNBits, prep: prepMatMulNBits},
		"GatherBlockQuantized": plain(opGatherBlockQuantized),
	})
}

// nbitsState holds the weights [k, n] of a MatMulNBits: packed, or as float32 where g_idx mixes the groups.
type nbitsState struct {
	k, n  int
	w     *kernel.PackedNBits
	dense *kernel.PackedF32
}

func (s *nbitsState) packedInput(i int) bool { return s != nil && i >= 1 && i <= 4 }

// nbitsInputs are the inputs of MatMulNBits that make its matrix: B, scales, zero_points, g_idx.
type nbitsInputs [4]*model.Tensor

// matrix checks the attributes and inputs and returns the matrix, with the group of every row when they are not blocks.
func (in *nbitsInputs) matrix(n *model.Node) (b *kernel.NBits, group []int, err error) {
	k, cols, bits, block := n.Int("K", 0), n.Int("N", 0), n.Int("bits", 4), n.Int("block_size", 0)
	const most = 1 << 31
	switch {
	case k <= 0 || cols <= 0 || k > most || cols > most:
		return nil, nil, fmt.Errorf("attributes K %d and N %d are not the sizes of a matrix", k, cols)
	case bits != 2 && bits != 4 && bits != 8:
		return nil, nil, fmt.Errorf("bits %d, want 2, 4 or 8: %w", bits, model.ErrUnsupported)
	case block < 16 || block > 1<<15 || block%16 != 0:
		return nil, nil, fmt.Errorf("block_size %d, want a multiple of 16 up to 32768: %w", block, model.ErrUnsupported)
	case n.Int("weight_prepacked", 0) != 0:
		return nil, nil, fmt.Errorf("weight_prepacked %d: %w", n.Int("weight_prepacked", 0), model.ErrUnsupported)
	}
	b = &kernel.NBits{K: int(k), N: int(cols), Bits: int(bits), Block: int(block)}
	kb := b.Blocks()
	if in[0] == nil || in[0].DType() != model.Uint8 {
		return nil, nil, fmt.Errorf("matrix B is not of type uint8: %w", model.ErrType)
	}
	row := kb * b.Block * b.Bits / 8
	if in[0].Len()/b.N != row || in[0].Len()%b.N != 0 {
		return nil, nil, errShape("B", in[0], fmt.Sprintf("[%d %d %d]", b.N, kb, b.Block*b.Bits/8))
	}
	if b.Q, err = in[0].Bytes(); err != nil {
		return nil, nil, err
	}
	if in[1] == nil || in[1].Len() != b.N*kb {
		return nil, nil, fmt.Errorf("scales: want %d of %d blocks each", b.N, kb)
	}
	if b.Scale, err = in[1].Float32(); err != nil {
		return nil, nil, fmt.Errorf("scales: %w", err)
	}
	if z := in[2]; z != nil {
		if z.DType() == model.Uint8 {
			if z.Len() != b.N*((kb*b.Bits+7)/8) {
				return nil, nil, errShape("zero_points", z, fmt.Sprintf("[%d %d]", b.N, (kb*b.Bits+7)/8))
			}
			b.Zero, err = z.Bytes()
		} else {
			if z.Len() != b.N*kb {
				return nil, nil, errShape("zero_points", z, fmt.Sprintf("[%d %d]", b.N, kb))
			}
			b.Floats, err = z.Float32()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("zero_points: %w", err)
		}
	}
	group, err = in.groups(b)
	return b, group, err
}

// groups reads g_idx: the group of every row; nil when it is that of the row's block.
func (in *nbitsInputs) groups(b *kernel.NBits) ([]int, error) {
	if in[3] == nil {
		return nil, nil
	}
	g, err := ints(in[3])
	if err != nil {
		return nil, fmt.Errorf("g_idx: %w", err)
	}
	if len(g) != b.K && len(g) != b.Blocks()*b.Block {
		return nil, errShape("g_idx", in[3], fmt.Sprintf("[%d]", b.K))
	}
	plain := true
	for k, v := range g[:b.K] {
		if v < 0 || v >= b.Blocks() {
			return nil, fmt.Errorf("g_idx holds %d of %d groups", v, b.Blocks())
		}
		plain = plain && v == k/b.Block
	}
	if plain {
		return nil, nil
	}
	return g[:b.K], nil
}

// distantWeights is the size of all weights from which on those of one product are no longer in the cache when it comes again: products of 10 and 19 MB
// alone are, those of 150 MB in turn are not (Emerald Rapids with 260 MB of cache for many machines).
const distantWeights = 64 << 20

// packNBits packs the matrix.
func packNBits(b *kernel.NBits, group []int) *nbitsState {
	if group == nil && (b.N >= kernel.PanelWidth/4 || b.K < 1<<20) {
		return &nbitsState{k: b.K, n: b.N, w: kernel.PackNBits(b)}
	}
	kb := b.Blocks()
	if group == nil { // a few long columns: whole panels of them would be many times the weights
		group = make([]int, b.K)
		for k := range group {
			group[k] = k / b.Block
		}
	}
	w := make([]float32, b.N*b.K)
	for n := range b.N {
		for k, t := range group {
			w[n*b.K+k] = (float32(b.Integer(k, n)) - b.ZeroAt(t, n)) * b.Scale[n*kb+t]
		}
	}
	return &nbitsState{k: b.K, n: b.N, dense: kernel.PackF32(b.K, b.N, w, b.K, true)}
}

func prepMatMulNBits(p *prep) (any, error) {
	var in nbitsInputs
	for i := range in {
		if in[i] = p.constant(1 + i); in[i] == nil && p.node.In(1+i) != "" {
			return nil, nil // packed at every run
		}
	}
	if in[0] == nil || in[0].Len() == 0 {
		return nil, nil
	}
	kind := fmt.Sprint("nbits ", p.node.Int("K", 0), p.node.Int("N", 0), p.node.Int("bits", 4), p.node.Int("block_size", 0), p.node.Inputs[2:min(5, len(p.node.Inputs))])
	return pack(p, in[0], kind, func() (*nbitsState, int64, error) {
		b, group, err := in.matrix(p.node)
		if err != nil {
			return nil, 0, err
		}
		b.Distant = p.c.weights >= distantWeights
		st := packNBits(b, group)
		if st.dense != nil {
			return st, st.dense.Bytes(), nil
		}
		return st, st.w.Bytes(), nil
	}, in[1:]...)
}

// opMatMulNBits is Y = A dequantize(B)^T + bias: A [..., K], B, scales, zero_points, g_idx, bias [N]. An accuracy_level of 4
// lets the blocks of A be rounded to 8 bits; every other level is computed as exactly as float32. Passes add a residual as
// input 6 and an activation.
func opMatMulNBits(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	if a.DType() != model.Float32 && !isHalf(a) {
		return typeError(a)
	}
	var st *nbitsState
	if c.st != nil {
		st, _ = c.st.state.(*nbitsState)
	}
	if st == nil {
		in := nbitsInputs{c.Arg(1), c.Arg(2), c.Arg(3), c.Arg(4)}
		b, group, err := in.matrix(c.Node)
		if err != nil {
			return err
		}
		st = packNBits(b, group)
	}
	k, n := st.k, st.n
	if a.Rank() == 0 || a.Shape()[a.Rank()-1] != k {
		return errShape("A", a, fmt.Sprintf("[... %d]", k))
	}
	ep := kernel.Epilogue{Act: c.act()}
	if t := c.Arg(5); t != nil {
		if t.Len() != n {
			return errShape("bias", t, fmt.Sprintf("[%d]", n))
		}
		if ep.Bias, err = t.Float32(); err != nil {
			return err
		}
	}
	x, err := a.Float32()
	if err != nil {
		return err
	}
	shape := c.intsLike(a.Shape())
	shape[len(shape)-1] = n
	if t := c.Arg(6); t != nil {
		if !sameShape(t.Shape(), shape) {
			return errShape("residual", t, fmt.Sprint(shape))
		}
		if ep.Residual, err = t.Float32(); err != nil {
			return err
		}
		ep.LdR = n
	}
	var z []float32
	if isHalf(a) {
		z = Scratch[float32](c, product(shape))
	} else if z, err = Out[float32](c, 0, shape); err != nil {
		return err
	}
	macs := int64(len(x)) * int64(n)
	switch {
	case len(z) == 0:
	case st.dense != nil:
		c.NoteISA("gemm", macs, st.dense.Bytes())
		kernel.GemmF32(c.pool, len(z)/n, x, k, st.dense, z, n, ep)
	default:
		c.NoteISA("nbits", macs, st.w.Bytes())
		kernel.GemmNBits(c.pool, len(z)/n, x, k, st.w, z, n, c.Node.Int("accuracy_level", 0) == 4, ep)
	}
	if !isHalf(a) {
		return nil
	}
	y, err := model.FromFloat32(a.DType(), shape, z)
	if err != nil {
		return err
	}
	c.Set(0, y)
	return nil
}
