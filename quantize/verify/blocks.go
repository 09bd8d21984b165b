package verify

import (
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// matMulNBits checks com.microsoft.MatMulNBits: B uint8 [N, ceil(K/block), block*bits/8], scales N*ceil(K/block), zero
// points packed per row of blocks or of the type of the scales (ONNX Runtime, contrib operators).
func (c *checker) matMulNBits(s *scope, n *model.Node) {
	if n.Domain != microsoft {
		c.add(RuleOpset, n, "", "domain %q, want %s", n.Domain, microsoft)
	}
	k, rows, bits, block := int(n.Int("K", 0)), int(n.Int("N", 0)), int(n.Int("bits", 4)), int(n.Int("block_size", 0))
	if k < 1 || rows < 1 || k > math.MaxInt32 || rows > math.MaxInt32 {
		c.add(RuleBlock, n, "", "K %d and N %d", k, rows)
		return
	}
	if !slices.Contains([]int{2, 4, 8}, bits) {
		c.add(RuleBlock, n, "", "%d bits, want 2, 4 or 8", bits)
		return
	}
	if block < 16 || block&(block-1) != 0 || block > 1<<20 {
		c.add(RuleBlock, n, "", "block_size %d, want a power of two from 16 on", block)
		return
	}
	if level := n.Int("accuracy_level", 0); level < 0 || level > 4 {
		c.add(RuleBlock, n, "", "accuracy_level %d, want 0 to 4", level)
	}
	blocks := (k + block - 1) / block
	if d := s.dtype(n.In(1)); d != model.Invalid && d != model.Uint8 && d != model.Int32 {
		c.add(RuleType, n, n.In(1), "packed weights of type %s, want uint8", d)
	}
	if shape, ok := s.shape(n.In(1)); ok && !slices.Equal(shape, []int{rows, blocks, block * bits / 8}) {
		c.add(RuleBlock, n, n.In(1), "packed shape %v, want [%d %d %d]: K %d, N %d, %d bits, blocks of %d", shape, rows, blocks, block*bits/8, k, rows, bits, block)
	}
	if shape, ok := s.shape(n.In(2)); ok && count(shape) != rows*blocks {
		c.add(RuleShape, n, n.In(2), "shape %v, want %d scales: %d rows of %d blocks", shape, rows*blocks, rows, blocks)
	}
	c.finite(s, n, n.In(2))
	if z := n.In(3); z != "" {
		want := rows * blocks
		if s.dtype(z) == model.Uint8 {
			want = rows * ((blocks*bits + 7) / 8)
		} else if d := s.dtype(z); d != model.Invalid && d != s.dtype(n.In(2)) {
			c.add(RuleZeroType, n, z, "is %s, want uint8 or the scales' %s", d, s.dtype(n.In(2)))
		}
		if shape, ok := s.shape(z); ok && count(shape) != want {
			c.add(RuleZeroShape, n, z, "shape %v, want %d elements", shape, want)
		}
	}
	if shape, ok := s.shape(n.In(5)); n.In(5) != "" && ok && count(shape) != rows {
		c.add(RuleShape, n, n.In(5), "bias of shape %v for N %d", shape, rows)
	}
	if shape, ok := s.shape(n.In(0)); ok && len(shape) > 0 && shape[len(shape)-1] >= 0 && shape[len(shape)-1] != k {
		c.add(RuleBlock, n, n.In(0), "input of shape %v for K %d", shape, k)
	}
	if s.dtype(n.In(1)) == model.Uint8 && n.In(3) == "" {
		c.nbitsReach(s, n, rows, blocks, bits)
	}
}

// nbitsReach checks that blocks use their range: their scale is made for the value of the largest magnitude, which then
// lies at an end of it.
func (c *checker) nbitsReach(s *scope, n *model.Node, rows, blocks, bits int) {
	t := s.constant(n.In(1))
	if t == nil || bits == 2 {
		return
	}
	raw, err := t.Bytes()
	if err != nil || len(raw) == 0 || len(raw)%(rows*blocks) != 0 {
		return
	}
	each := len(raw) / (rows * blocks)
	weak, zero := 0, 0
	for b := range rows * blocks {
		most := 0
		for _, v := range raw[b*each : (b+1)*each] {
			if bits == 8 {
				most = max(most, abs(int(v)-128))
			} else {
				most = max(most, abs(int(v&15)-8), abs(int(v>>4)-8))
			}
		}
		switch {
		case most == 0:
			zero++
		case most < 1<<(bits-1)/4:
			weak++
		}
	}
	if weak*2 > rows*blocks-zero { // compensated blocks may stay below, most do not
		c.add(RuleRange, n, n.In(1), "%d of %d blocks use less than a quarter of the range: their scales are too large", weak, rows*blocks)
	}
}

func abs(x int) int { return max(x, -x) }

// finite checks scales that may be negative.
func (c *checker) finite(s *scope, n *model.Node, name string) {
	t := s.constant(name)
	if t == nil {
		return
	}
	if !t.DType().IsFloat() {
		c.add(RuleType, n, name, "a scale of type %s", t.DType())
		return
	}
	x, err := t.Float32()
	if err != nil {
		c.add(RuleGraph, n, name, "%v", err)
		return
	}
	for i, v := range x {
		if v != v || math.IsInf(float64(v), 0) {
			c.add(RuleScale, n, name, "scale %d is %v", i, v)
			return
		}
	}
}

// gatherBlock checks com.microsoft.GatherBlockQuantized: a table of 4- or 8-bit values with scales per block along
// quantize_axis.
func (c *checker) gatherBlock(s *scope, n *model.Node) {
	if n.Domain != microsoft {
		c.add(RuleOpset, n, "", "domain %q, want %s", n.Domain, microsoft)
	}
	block := int(n.Int("block_size", 128))
	if block < 16 || block&(block-1) != 0 {
		c.add(RuleBlock, n, "", "block_size %d, want a power of two from 16 on", block)
		return
	}
	d := s.dtype(n.In(0))
	if d != model.Invalid && d != model.Uint8 && d != model.Uint4 && d != model.Int4 {
		c.add(RuleType, n, n.In(0), "table of type %s, want uint4, int4 or uint8", d)
	}
	c.finite(s, n, n.In(2))
	shape, ok := s.shape(n.In(0))
	scale, ok2 := s.shape(n.In(2))
	if !ok || !ok2 {
		return
	}
	axis := int(n.Int("quantize_axis", 1))
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) || n.Int("gather_axis", 0) == n.Int("quantize_axis", 1) {
		c.add(RuleAxis, n, n.In(0), "quantize_axis %d and gather_axis %d of shape %v", n.Int("quantize_axis", 1), n.Int("gather_axis", 0), shape)
		return
	}
	values := slices.Clone(shape)
	if bits := int(n.Int("bits", 4)); d == model.Uint8 && bits < 8 && axis == len(shape)-1 && bits > 0 {
		values[axis] *= 8 / bits
	}
	c.blockScales(n, values, scale, axis, block)
	if z := n.In(3); z != "" {
		if zd := s.dtype(z); zd != model.Invalid && d != model.Invalid && zd != d {
			c.add(RuleZeroType, n, z, "is %s, the table is %s", zd, d)
		}
	}
}
