package model

import (
	"fmt"
	"math/bits"
)

// Mask says which elements of each weight are kept: bits by weight name, true = keep.
type Mask map[string]Bits

// Bits is a fixed-length set of element indices, least significant bit first.
type Bits struct {
	N     int
	Words []uint64
}

// NewBits returns n bits, all clear.
func NewBits(n int) Bits { return Bits{N: n, Words: make([]uint64, (n+63)/64)} }

// Get reports bit i.
func (b Bits) Get(i int) bool { return b.Words[i>>6]>>(i&63)&1 != 0 }

// Set sets bit i.
func (b Bits) Set(i int) { b.Words[i>>6] |= 1 << (i & 63) }

// Clear clears bit i.
func (b Bits) Clear(i int) { b.Words[i>>6] &^= 1 << (i & 63) }

// Count returns the number of set bits.
func (b Bits) Count() int {
	n := 0
	for _, w := range b.Words {
		n += bits.OnesCount64(w)
	}
	return n
}

// Apply sets the elements of x whose bit is clear to zero. It fails when the lengths differ.
func (b Bits) Apply(x []float32) error {
	if len(x) != b.N {
		return fmt.Errorf("model: mask of %d elements does not fit a weight of %d", b.N, len(x))
	}
	for i := range x {
		if !b.Get(i) {
			x[i] = 0
		}
	}
	return nil
}

// Sparsity returns the fraction of clear bits over all weights of the mask, 0 for an empty mask.
func (m Mask) Sparsity() float64 {
	n, kept := 0, 0
	for _, b := range m {
		n += b.N
		kept += b.Count()
	}
	if n == 0 {
		return 0
	}
	return 1 - float64(kept)/float64(n)
}
