package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// NBits is a weight matrix B[K,N] quantized in blocks of Block rows of one column, in the form of the operator MatMulNBits:
// B[k,n] = (q - z) * s with the scale s and the zero point z of block k/Block of column n.
//
// Q holds the unsigned integers of Bits = 2, 4 or 8 bits as [N][ceil(K/Block)][Block*Bits/8] bytes, packed along K, the
// lowest bits first. Scale is [N][ceil(K/Block)]. The zero points are Zero, [N][ceil(ceil(K/Block)*Bits/8)] bytes packed
// like Q, every row for itself; or Floats, [N][ceil(K/Block)]; or, with both nil, all 1<<(Bits-1).
type NBits struct {
	K, N, Bits, Block int
	Q                 []byte
	Scale             []float32
	Zero              []byte
	Floats            []float32
	Distant           bool // the weights are read from memory, not from a cache: those of a larger model. It makes no difference to results
}

// Blocks returns the number of blocks of a column.
func (b *NBits) Blocks() int { return ceilDiv(b.K, b.Block) }

// Integer returns element [k,n] before the zero point is taken off.
func (b *NBits) Integer(k, n int) int {
	at := n*b.Blocks()*b.Block + k
	return int(b.Q[at*b.Bits/8]) >> (at * b.Bits % 8) & (1<<b.Bits - 1)
}

// ZeroAt returns the zero point of a block of column n.
func (b *NBits) ZeroAt(block, n int) float32 {
	kb := b.Blocks()
	switch {
	case b.Floats != nil:
		return b.Floats[n*kb+block]
	case b.Zero != nil:
		row := ceilDiv(kb*b.Bits, 8)
		at := block * b.Bits
		return float32(int(b.Zero[n*row+at/8]) >> (at % 8) & (1<<b.Bits - 1))
	}
	return float32(int(1) << (b.Bits - 1))
}

const (
	badNBits = "kernel: block-wise weights of a wrong size"
	// maxNBitsBlock bounds Block so that the sums of a block fit in 32 bits.
	maxNBitsBlock = 1 << 15
)

// check panics when the slices are shorter than the shape.
func (b *NBits) check() {
	if b.K < 0 || b.N < 0 || b.Block < 16 || b.Block%16 != 0 || b.Block > maxNBitsBlock || b.Bits != 2 && b.Bits != 4 && b.Bits != 8 {
		panic(badNBits)
	}
	kb := b.Blocks()
	if len(b.Q) < b.N*kb*b.Block*b.Bits/8 || len(b.Scale) < b.N*kb || b.Zero != nil && len(b.Zero) < b.N*ceilDiv(kb*b.Bits, 8) ||
		b.Floats != nil && len(b.Floats) < b.N*kb {
		panic(badNBits)
	}
}

// PackedNBits is an NBits matrix in the order that GemmNBits reads it: panels of 32 columns; in a panel block after block of
// K; in a block pairs of groups of four rows, the scales of the 32 columns as float32 and, where zero points are not all
// the middle, the terms (z - 1<<(Bits-1))*s. In a pair of 8 bits come the four bytes of each column of the first group
// and then those of the second; of 4 bits, the first group is in the low and the second in the high nibbles. Two bits are
// stored as four. Rows past K and columns past N are zeros.
type PackedNBits struct {
	K, N, Block int
	bits        int // as stored: 4 or 8
	centre      int
	zeros       bool
	distant     bool
	data        []byte // aligned to 64 bytes
}

// Bytes returns the size of the packed copy.
func (b *PackedNBits) Bytes() int64 { return int64(len(b.data)) }

func (b *PackedNBits) blocks() int { return ceilDiv(b.K, b.Block) }

// blockBytes is the distance between the blocks of a panel.
func (b *PackedNBits) blockBytes() int {
	n := PanelWidth*b.Block*b.bits/8 + 4*PanelWidth
	if b.zeros {
		n += 4 * PanelWidth
	}
	return n
}

// PackNBits packs b. Block must be a multiple of 16, at most 32768.
func PackNBits(b *NBits) *PackedNBits {
	b.check()
	p := &PackedNBits{K: b.K, N: b.N, Block: b.Block, bits: max(4, b.Bits), centre: 1 << (b.Bits - 1), distant: b.Distant}
	kb := b.Blocks()
	if kb == 1 { // rows are filled up to whole blocks, which are not to be many times K
		p.Block = min(b.Block, (b.K+15)&^15)
	}
	for n := 0; n < b.N && !p.zeros && (b.Zero != nil || b.Floats != nil); n++ {
		for i := range kb {
			p.zeros = p.zeros || b.ZeroAt(i, n) != float32(p.centre)
		}
	}
	size := panels(b.N) * kb * p.blockBytes()
	p.data = Memory(size)
	for j := range panels(b.N) {
		for i := range kb {
			p.packBlock(b, j, i)
		}
	}
	return p
}

// floatsOf views bytes, aligned to 4, as float32.
func floatsOf(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

// packBlock fills in block i of panel j.
func (p *PackedNBits) packBlock(b *NBits, j, i int) {
	kb := b.Blocks()
	dst := p.data[(j*kb+i)*p.blockBytes():][:p.blockBytes()]
	terms := dst[PanelWidth*p.Block*p.bits/8:]
	src := b.Block * b.Bits / 8
	rows := min(b.Block, b.K-i*b.Block)
	for c := range min(PanelWidth, b.N-j*PanelWidth) {
		n := j*PanelWidth + c
		q := b.Q[(n*kb+i)*src:][:src]
		for k := 0; k < rows; k += 8 {
			switch b.Bits {
			case 8:
				at := dst[k/8*8*PanelWidth+4*c:]
				copy(at[:4], q[k:])
				copy(at[4*PanelWidth:][:4], q[k+4:])
			case 4:
				w := binary.LittleEndian.Uint32(q[k/2:])
				binary.LittleEndian.PutUint32(dst[k/8*4*PanelWidth+4*c:], spread4(w&0xffff)|spread4(w>>16)<<4)
			case 2:
				w := uint32(binary.LittleEndian.Uint16(q[k/4:]))
				binary.LittleEndian.PutUint32(dst[k/8*4*PanelWidth+4*c:], spread2(w&0xff)|spread2(w>>8)<<4)
			}
		}
		if rows%8 != 0 { // what the file holds behind K is not trusted to be 0, but A is 0 there
			k := rows &^ 7
			for e := rows; e < k+8; e++ {
				p.clear(dst, e, c)
			}
		}
		s := b.Scale[n*kb+i]
		binary.LittleEndian.PutUint32(terms[4*c:], math.Float32bits(s))
		if p.zeros {
			z := b.ZeroAt(i, n) - float32(p.centre)
			binary.LittleEndian.PutUint32(terms[4*PanelWidth+4*c:], math.Float32bits(z*s))
		}
	}
}

// spread4 moves four nibbles to four bytes.
func spread4(w uint32) uint32 {
	w = (w | w<<8) & 0x00ff00ff
	return (w | w<<4) & 0x0f0f0f0f
}

// spread2 moves four pairs of bits to four bytes.
func spread2(w uint32) uint32 {
	w = (w | w<<12) & 0x000f000f
	return (w | w<<6) & 0x03030303
}

// place returns where element k of column c of a block is: the byte and the shift.
func (p *PackedNBits) place(k, c int) (at, shift int) {
	if p.bits == 8 {
		return k/4*4*PanelWidth + 4*c + k%4, 0
	}
	return k/8*4*PanelWidth + 4*c + k%4, k % 8 / 4 * 4
}

func (p *PackedNBits) clear(block []byte, k, c int) {
	at, shift := p.place(k, c)
	block[at] &^= byte((1<<p.bits - 1) << shift)
}

// integer returns element k of column c of a block.
func (p *PackedNBits) integer(block []byte, k, c int) int32 {
	at, shift := p.place(k, c)
	return int32(block[at]) >> shift & (1<<p.bits - 1)
}

// terms returns the scales of a block and, or nil, the terms of the zero points.
func (p *PackedNBits) terms(block []byte) (scale, zero []float32) {
	f := floatsOf(block[PanelWidth*p.Block*p.bits/8:])
	if p.zeros {
		zero = f[PanelWidth : 2*PanelWidth]
	}
	return f[:PanelWidth], zero
}
