package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// blockTable is a table of integers quantized in blocks along one axis.
type blockTable struct {
	raw       []byte
	bits      int
	signed    bool
	shape     []int // logical: bytes that hold two integers count twice
	axis      int   // of the blocks
	block     int
	blocks    int // along the axis
	inner     int // elements of the axes behind it
	scale     []float32
	zero      []byte
	zeroRow   int // integers from one row of packed zero points to the next, 0 where they are not packed by rows
	zeroConst int
}

// nibble returns integer i of raw.
func (b *blockTable) integer(raw []byte, i int) int {
	if b.bits == 8 {
		if b.signed {
			return int(int8(raw[i]))
		}
		return int(raw[i])
	}
	v := int(raw[i/2]) >> (i % 2 * 4) & 15
	if b.signed && v > 7 {
		v -= 16
	}
	return v
}

// newBlockTable reads data, scales and zero_points of GatherBlockQuantized.
func newBlockTable(c *Call, data, scales, zeros *model.Tensor) (*blockTable, error) {
	b := &blockTable{block: int(c.Node.Int("block_size", 128)), bits: int(c.Node.Int("bits", 4)), shape: append([]int{}, data.Shape()...)}
	if b.block < 16 || b.block&(b.block-1) != 0 {
		return nil, fmt.Errorf("block_size %d, want a power of 2 from 16 on", b.block)
	}
	var err error
	if b.axis, err = axis(int(c.Node.Int("quantize_axis", 1)), data.Rank()); err != nil {
		return nil, fmt.Errorf("quantize_axis: %w", err)
	}
	packed := false
	switch data.DType() {
	case model.Uint4, model.Int4:
		b.bits, b.signed = 4, data.DType() == model.Int4
	case model.Uint8:
		if b.bits != 4 && b.bits != 8 {
			return nil, fmt.Errorf("bits %d, want 4 or 8: %w", b.bits, model.ErrUnsupported)
		}
		b.zeroConst = 1 << (b.bits - 1)
		if packed = b.bits == 4; packed {
			if b.axis != data.Rank()-1 {
				return nil, fmt.Errorf("quantize_axis %d of packed bytes of rank %d: %w", b.axis, data.Rank(), model.ErrUnsupported)
			}
			b.shape[b.axis] *= 2
		}
	default:
		return nil, typeError(data)
	}
	if b.raw, err = data.Bytes(); err != nil {
		return nil, err
	}
	b.blocks = (b.shape[b.axis] + b.block - 1) / b.block
	b.inner = product(b.shape[b.axis+1:])
	want := append([]int{}, b.shape...)
	want[b.axis] = b.blocks
	if !sameShape(scales.Shape(), want) {
		return nil, errShape("scales", scales, fmt.Sprint(want))
	}
	if b.scale, err = scales.Float32(); err != nil {
		return nil, err
	}
	if zeros == nil {
		return b, nil
	}
	if zeros.DType() != data.DType() {
		return nil, fmt.Errorf("zero_points of type %s, data of type %s: %w", zeros.DType(), data.DType(), model.ErrType)
	}
	if packed {
		want[b.axis] = (b.blocks + 1) / 2
		b.zeroRow = 2 * want[b.axis]
	}
	if !sameShape(zeros.Shape(), want) {
		return nil, errShape("zero_points", zeros, fmt.Sprint(want))
	}
	b.zero, err = zeros.Bytes()
	return b, err
}

// read writes n elements from the logical position at on.
func (b *blockTable) read(dst []float32, at int) {
	for i := 0; i < len(dst); {
		p := at + i
		k := p / b.inner % b.shape[b.axis]
		s := (p/(b.inner*b.shape[b.axis])*b.blocks+k/b.block)*b.inner + p%b.inner
		z := b.zeroConst
		switch {
		case b.zeroRow > 0:
			z = b.integer(b.zero, s/b.blocks*b.zeroRow+s%b.blocks)
		case b.zero != nil:
			z = b.integer(b.zero, s)
		}
		run := 1
		if b.inner == 1 { // the rest of a block
			run = min(len(dst)-i, b.block-k%b.block, b.shape[b.axis]-k)
		}
		for e := range run {
			dst[i+e] = float32(b.integer(b.raw, p+e)-z) * b.scale[s]
		}
		i += run
	}
}

// opGatherBlockQuantized is Gather of the dequantized data: data, indices, scales, zero_points; attributes gather_axis,
// quantize_axis, block_size and bits. Absent zero points are 0, of bytes the middle of their integers.
func opGatherBlockQuantized(c *Call) error {
	var in [3]*model.Tensor
	for i := range in {
		var err error
		if in[i], err = c.Need(i); err != nil {
			return err
		}
	}
	data, scales := in[0], in[2]
	if scales.DType() != model.Float32 && !isHalf(scales) {
		return typeError(scales)
	}
	b, err := newBlockTable(c, data, scales, c.Arg(3))
	if err != nil {
		return err
	}
	ga, err := axis(int(c.Node.Int("gather_axis", 0)), data.Rank())
	if err != nil {
		return fmt.Errorf("gather_axis: %w", err)
	}
	if data.DType() == model.Uint8 && ga != 0 {
		return fmt.Errorf("gather_axis %d of bytes: %w", ga, model.ErrUnsupported)
	}
	idx, err := ints(in[1])
	if err != nil {
		return err
	}
	outer, n, inner := product(b.shape[:ga]), b.shape[ga], product(b.shape[ga+1:])
	for i, v := range idx {
		if idx[i], err = index(v, n); err != nil {
			return err
		}
	}
	shape := append(append(append([]int{}, b.shape[:ga]...), in[1].Shape()...), b.shape[ga+1:]...)
	size, err := model.NumElements(shape)
	if err != nil {
		return err
	}
	var y []float32
	if isHalf(scales) {
		y = Scratch[float32](c, size)
	} else if y, err = Out[float32](c, 0, shape); err != nil {
		return err
	}
	if size > 0 {
		for o := range outer {
			for i, v := range idx {
				b.read(y[(o*len(idx)+i)*inner:][:inner], (o*n+v)*inner)
			}
		}
	}
	if !isHalf(scales) {
		return nil
	}
	t, err := model.FromFloat32(scales.DType(), shape, y)
	if err != nil {
		return err
	}
	c.Set(0, t)
	return nil
}
