package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// packedMatrix is a constant matrix [K, N] on the right of a product, in the layout of the kernels: float32, or in half precision where it
// is stored so, which gives the same bits.
type packedMatrix struct {
	f32  *kernel.PackedF32
	half *kernel.PackedHalf
	// round allows the rounding of the left side to bfloat16 as well, where the machine multiplies bfloat16 faster.
	round bool
}

// packMatrix packs w[k,n] of float32 or half precision; with trans, w is [n,k].
func packMatrix(w *model.Tensor, k, n int, trans bool) (*packedMatrix, error) {
	ld := n
	if trans {
		ld = k
	}
	if isHalf(w) {
		b, err := model.Data[uint16](w)
		if err != nil {
			return nil, err
		}
		return packHalf(w.DType(), k, n, b, ld, trans), nil
	}
	b, err := model.Data[float32](w)
	if err != nil {
		return nil, err
	}
	return &packedMatrix{f32: kernel.PackF32(k, n, b, ld, trans)}, nil
}

func packHalf(d model.DType, k, n int, b []uint16, ld int, trans bool) *packedMatrix {
	return &packedMatrix{half: kernel.PackHalf(halfKind(d), k, n, b, ld, trans)}
}

func halfKind(d model.DType) kernel.HalfKind {
	if d == model.BFloat16 {
		return kernel.BF16
	}
	return kernel.F16
}

// bytes returns the size of the packed form.
func (w *packedMatrix) bytes() int64 {
	if w.half != nil {
		return w.half.Bytes()
	}
	return w.f32.Bytes()
}

// rounds reports whether mul rounds the left side to bfloat16.
func (w *packedMatrix) rounds() bool { return w.round && kernel.BF16Fast() }

// dims returns K and N.
func (w *packedMatrix) dims() (k, n int) {
	if w.half != nil {
		return w.half.K, w.half.N
	}
	return w.f32.K, w.f32.N
}

// kernel names what multiplies, for the profile.
func (w *packedMatrix) kernel() string {
	isa := kernel.Active().String()
	switch {
	case w.half != nil && !w.rounds() && (isa == "amx" || isa == "avx512bf16"): // their products of bfloat16 are not in use
		return "gemm-" + w.half.Kind.String() + "-avx512"
	case w.half != nil:
		return "gemm-" + w.half.Kind.String() + "-" + isa
	}
	return "gemm-" + kernel.Active().String()
}

// noteMatrix is Note of a product with w.
func (c *Call) noteMatrix(w *packedMatrix, macs int64) {
	if c.profiled() {
		c.Note(w.kernel(), macs, w.bytes())
	}
}

// mul computes z = epilogue(x w) for m rows.
func (w *packedMatrix) mul(p *kernel.Pool, m int, x []float32, ldx int, z []float32, ldz int, ep kernel.Epilogue) {
	switch {
	case w.half == nil:
		kernel.GemmF32(p, m, x, ldx, w.f32, z, ldz, ep)
	case w.rounds():
		kernel.GemmBF16(p, m, x, ldx, w.half, z, ldz, ep)
	default:
		kernel.GemmHalf(p, m, x, ldx, w.half, z, ldz, ep)
	}
}

// columns returns a view of columns from to from+n; see kernel.PackedF32.
func (w *packedMatrix) columns(from, n int) *packedMatrix {
	if w.half != nil {
		return &packedMatrix{half: w.half.Columns(from, n), round: w.round}
	}
	return &packedMatrix{f32: w.f32.Columns(from, n)}
}

// stored returns the half-precision tensor that t holds the values of, or t.
func (c *compiler) stored(t *model.Tensor) *model.Tensor {
	if h := c.halves[t]; h != nil {
		return h
	}
	return t
}

// widened returns the float32 tensor with the values of h, in half precision: it is widened when somebody reads it, and known to the
// kernels that take h itself.
func (c *compiler) widened(h *model.Tensor) (*model.Tensor, error) {
	t, err := model.NewLazy(model.Float32, h.Shape(), func() ([]byte, []string, error) {
		x, err := h.Float32()
		if err != nil {
			return nil, nil, err
		}
		b, err := model.FromSlice(h.Shape(), x).Bytes()
		return b, nil, err
	})
	if err != nil {
		return nil, err
	}
	if c.halves == nil {
		c.halves = map[*model.Tensor]*model.Tensor{}
	}
	c.halves[t] = h
	return t, nil
}

// scaledWeight is a weight as it is stored, and the factors of its first axis; nil for none.
type scaledWeight struct {
	of *model.Tensor
	by []float64
}

// source returns what a float32 constant is made of.
func (c *compiler) source(t *model.Tensor) scaledWeight {
	s, ok := c.scales[t]
	if !ok {
		s.of = t
	}
	s.of = c.stored(s.of)
	return s
}

// scaled returns the float32 tensor w with the elements of its first axis multiplied with factors. They are computed when somebody reads
// them, as kernels that take the weights as they are stored, and the factors, do not.
func (c *compiler) scaled(w *model.Tensor, factors []float64) (*model.Tensor, error) {
	s := c.source(w)
	by := append([]float64(nil), factors...)
	for i, x := range s.by {
		by[i] *= x
	}
	s.by = by
	t, err := model.NewLazy(model.Float32, w.Shape(), func() ([]byte, []string, error) {
		defer s.of.Forget()
		x, err := s.of.Float32()
		if err != nil {
			return nil, nil, err
		}
		out, each := make([]float32, len(x)), len(x)/len(by)
		for i, v := range x {
			out[i] = float32(float64(v) * by[i/each])
		}
		b, err := model.FromSlice(w.Shape(), out).Bytes()
		return b, nil, err
	})
	if err != nil {
		return nil, err
	}
	if c.scales == nil {
		c.scales = map[*model.Tensor]scaledWeight{}
	}
	c.scales[t] = s
	return t, nil
}

// foldHalf folds the conversion of a half-precision constant to float32, and what only moves the elements of such a constant; nil
// where n is neither.
func (c *compiler) foldHalf(n *model.Node, in []*model.Tensor) (*model.Tensor, error) {
	if len(in) == 0 || in[0] == nil || n.Domain != "" && n.Domain != "ai.onnx" || len(n.Outputs) != 1 {
		return nil, nil
	}
	if n.Op == "Cast" && isHalf(in[0]) && model.DType(n.Int("to", 0)) == model.Float32 {
		return c.widened(in[0])
	}
	h := c.halves[in[0]]
	if h == nil {
		return nil, nil
	}
	switch n.Op {
	case "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten":
	default:
		return nil, nil
	}
	def, err := c.lookup(n)
	if err != nil {
		return nil, err
	}
	call := &Call{Node: n, Opset: c.opset(n), arena: &arena{limit: max(maxFoldBytes, 2*h.ByteSize()), most: c.opts.Memory}}
	call.In = append([]*model.Tensor{h}, in[1:]...)
	for _, t := range call.In {
		call.in = append(call.in, slot{t: t})
	}
	if err := call.invoke(def); err != nil {
		return nil, err
	}
	if len(call.out) != 1 || !isHalf(call.out[0].t) {
		return nil, nil
	}
	return c.widened(call.out[0].t)
}
