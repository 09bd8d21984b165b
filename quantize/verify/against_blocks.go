package verify

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// nbits handles the packed weight [N, blocks, bytes] of MatMulNBits, which stands for the transposed matrix [K, N].
func (a *against) nbits(s *scope, n *model.Node) {
	if !a.wants(n.In(1)) {
		return
	}
	k, rows, bits, block := int(n.Int("K", 0)), int(n.Int("N", 0)), int(n.Int("bits", 4)), int(n.Int("block_size", 0))
	t, scale := s.constant(n.In(1)), s.floats(n.In(2))
	if t == nil || k < 1 || rows < 1 || block < 1 || bits != 4 && bits != 8 {
		return
	}
	if _, err := model.NumElements([]int{rows, k, block, bits}); err != nil {
		return
	}
	blocks := (k + block - 1) / block
	raw, err := t.Bytes()
	if err != nil || len(raw) != rows*blocks*block*bits/8 || len(scale) != rows*blocks {
		return
	}
	zeros := s.constant(n.In(3))
	middle, plain := float32(int(1)<<(bits-1)), true
	x := make([]float32, 0, rows*k)
	for r := range rows {
		for i := range k {
			b := r*blocks + i/block
			z, ok := nbitsZero(zeros, r, i/block, blocks, bits)
			if !ok {
				return
			}
			plain = plain && z == middle
			at := b*block + i%block
			v := float32(raw[at*bits/8])
			if bits == 4 {
				v = float32(raw[at/2] >> (at % 2 * 4) & 15)
			}
			x = append(x, (v-z)*scale[b])
		}
	}
	a.unscaled(s, n.In(0), x, k, true)
	a.compare(n, n.In(1), t, x, []int{rows, k}, bound(model.Int4))
	a.coded(n.In(1), bits, plain)
}

// blockTable handles the table [rows, columns] of GatherBlockQuantized, quantized along its columns: uint8 with bits below 8 holds
// several values a byte, the first in the lowest bits.
func (a *against) blockTable(s *scope, n *model.Node) {
	if !a.wants(n.In(0)) {
		return
	}
	t, scale := s.constant(n.In(0)), s.floats(n.In(2))
	block, bits := int(n.Int("block_size", 128)), int(n.Int("bits", 4))
	axis := int(n.Int("quantize_axis", 1))
	if t == nil || t.Rank() != 2 || block < 1 || axis != 1 && axis != -1 {
		return
	}
	q, err := t.Float32()
	if err != nil {
		return
	}
	zero := s.floats(n.In(3))
	shape, zeroColumns := slices.Clone(t.Shape()), 0
	if t.DType() == model.Uint8 && bits == 4 {
		if q, shape[1] = nibbles(q), 2*shape[1]; len(zero) > 0 {
			zero, zeroColumns = nibbles(zero), 2*(len(zero)/max(shape[0], 1))
		}
	}
	across := (shape[1] + block - 1) / block
	if len(scale) != shape[0]*across {
		return
	}
	if zeroColumns == 0 {
		zeroColumns = across
	}
	middle := float32(0)
	if t.DType() == model.Uint8 {
		middle = float32(int(1) << (bits - 1))
	}
	plain := true
	x := make([]float32, len(q))
	for i, v := range q {
		r, b := i/shape[1], i%shape[1]/block
		z := middle
		if len(zero) > 0 {
			if at := r*zeroColumns + b; at < len(zero) {
				z = zero[at]
			}
		}
		plain = plain && z == middle
		x[i] = (v - z) * scale[r*across+b]
	}
	a.compare(n, n.In(0), t, x, shape, bound(model.Int4))
	if t.DType() == model.Uint8 {
		a.coded(n.In(0), bits, plain)
	}
}

// coded names the weight that was just compared by what its codes stand for, and by what they are: those of the operators of groups
// are unsigned, and where all zero points are the middle one they are signed numbers shifted by it.
func (a *against) coded(stored string, bits int, plain bool) {
	i := len(a.restored) - 1
	if i < 0 || a.restored[i].Stored != stored {
		return
	}
	r := &a.restored[i]
	if r.DType, r.Codes = fmt.Sprintf("int%d", bits), fmt.Sprintf("uint%d with zero points", bits); plain {
		r.Codes = fmt.Sprintf("symmetric: uint%d with zero point %d", bits, 1<<(bits-1))
	}
}

// nibbles returns the two halves of each byte, the lower first.
func nibbles(bytes []float32) []float32 {
	out := make([]float32, 0, 2*len(bytes))
	for _, v := range bytes {
		out = append(out, float32(uint8(v)&15), float32(uint8(v)>>4))
	}
	return out
}

// nbitsZero returns the zero point of block b of row r.
func nbitsZero(zeros *model.Tensor, r, b, blocks, bits int) (float32, bool) {
	if zeros == nil {
		return float32(int(1) << (bits - 1)), true
	}
	if zeros.DType() != model.Uint8 {
		x, err := zeros.Float32()
		if err != nil || r*blocks+b >= len(x) {
			return 0, false
		}
		return x[r*blocks+b], true
	}
	raw, err := zeros.Bytes()
	wide := (blocks*bits + 7) / 8
	if at := r*wide + b*bits/8; err == nil && at < len(raw) {
		if bits == 8 {
			return float32(raw[at]), true
		}
		return float32(raw[at] >> (b % 2 * 4) & 15), true
	}
	return 0, false
}
