package quantize

import (
	"sync/atomic"

	"github.com/wattshed/wattshed/model"
)

// blocks is a matrix in groups: w[i][j] of input i and output j is (q - z) * s, with q, z and s of output j and of the
// group that input i is in.
type blocks struct {
	nbits
	q  []byte    // [n][blocks][blob]
	s  []float32 // [n][blocks]
	z  []uint8   // [n][blocks], one zero point a byte
	zf []float32 // the zero points where they are no integers, else nil
}

// newBlocks makes room for the matrix.
func (f nbits) newBlocks() *blocks {
	c := f.n * f.blocks()
	return &blocks{nbits: f, q: make([]byte, c*f.blob()), s: make([]float32, c), z: make([]uint8, c)}
}

// all is the span of the whole matrix from group b of output j on.
func (m *blocks) all(j, b int) span {
	k := m.blocks()
	at := j*k + b
	return span{m.q[at*m.blob():], m.s[at:], m.z[at:], k * m.blob(), k}
}

// quantize rounds a matrix, [n][k] or, with columns, [k][n], to nearest. It fails with errNotFinite.
func (f nbits) quantize(x []float32, columns bool) (*blocks, error) {
	m := f.newBlocks()
	var bad atomic.Bool
	if columns {
		parallel(f.blocks(), grainElements/(f.group*f.n)+1, func(lo, hi int) {
			if lo < hi && !f.columns(x[lo*f.group*f.n:min(hi*f.group, f.k)*f.n], m.all(0, lo)) {
				bad.Store(true)
			}
		})
	} else {
		parallel(f.n, grainElements/f.k+1, func(lo, hi int) {
			if lo < hi && !f.rows(x[lo*f.k:hi*f.k], m.all(lo, 0)) {
				bad.Store(true)
			}
		})
	}
	if bad.Load() {
		return nil, errNotFinite
	}
	return m, nil
}

// codes returns the codes of output j.
func (m *blocks) codes(q []uint8, j int) {
	row := m.q[j*m.blocks()*m.blob():][:m.blocks()*m.blob()]
	if m.bits == 8 {
		copy(q[:m.k], row)
		return
	}
	unpackU4(q[:m.k], row)
}

// setCodes stores the codes of output j.
func (m *blocks) setCodes(j int, q []uint8) {
	for b := range m.blocks() {
		m.pack(m.q[(j*m.blocks()+b)*m.blob():][:m.blob()], q[b*m.group:min((b+1)*m.group, m.k)])
	}
}

// output sets w to what the weights of output j read as: (q - z) * s in float32.
func (m *blocks) output(w []float32, j int) {
	q := make([]uint8, m.k)
	m.codes(q, j)
	for i, c := range q {
		at := j*m.blocks() + i/m.group
		if m.zf != nil {
			w[i] = (float32(c) - m.zf[at]) * m.s[at]
		} else {
			w[i] = float32(int(c)-int(m.z[at])) * m.s[at]
		}
	}
}

// packedZeros returns the zero points as com.microsoft operators take them: [n][ceil(blocks*bits/8)], the even group
// low, each row padded on its own, with 8 as ONNX Runtime does.
func (f nbits) packedZeros(z []uint8) []byte {
	if f.bits == 8 {
		return z
	}
	k := f.blocks()
	out := make([]byte, f.n*((k+1)/2))
	for j := range f.n {
		pack4(out[j*((k+1)/2):], z[j*k:(j+1)*k])
		if k&1 != 0 {
			out[(j+1)*((k+1)/2)-1] |= 8 << 4
		}
	}
	return out
}

// product returns the inputs 1 to 3 of MatMulNBits; zero is nil for a symmetric matrix.
func (m *blocks) product() (q, scale, zero *model.Tensor) {
	k := m.blocks()
	q = model.FromSlice([]int{m.n, k, m.blob()}, m.q)
	scale = model.FromSlice([]int{m.n, k}, m.s)
	switch {
	case m.zf != nil:
		zero = model.FromSlice([]int{m.n, k}, m.zf)
	case !m.symmetric:
		zero = model.FromSlice([]int{m.n, (k*m.bits + 7) / 8}, m.packedZeros(m.z))
	}
	return q, scale, zero
}

// table returns the inputs 0, 2 and 3 of GatherBlockQuantized for a matrix whose outputs are the rows that are looked
// up.
func (m *blocks) table() (q, scale, zero *model.Tensor) {
	_, scale, zero = m.product()
	width, have := m.k*m.bits/8, m.blocks()*m.blob()
	raw := m.q
	if width != have {
		raw = make([]byte, 0, m.n*width)
		for j := range m.n {
			raw = append(raw, m.q[j*have:j*have+width]...)
		}
	}
	return model.FromSlice([]int{m.n, width}, raw), scale, zero
}

// linear returns the inputs of DequantizeLinear along axis 0 of the weight as a matrix [k][n]: signed codes with zero
// point 0, so without one, for a symmetric matrix, else unsigned ones.
func (m *blocks) linear() (q, scale, zero *model.Tensor, err error) {
	kb, shift := m.blocks(), uint8(0)
	if m.symmetric {
		shift = 1 << (m.bits - 1)
	}
	codes, row := make([]uint8, m.k*m.n), make([]uint8, m.k)
	for j := range m.n {
		m.codes(row, j)
		for i, c := range row {
			codes[i*m.n+j] = c - shift
		}
	}
	s, z := make([]float32, kb*m.n), make([]uint8, kb*m.n)
	for j := range m.n {
		for b := range kb {
			s[b*m.n+j], z[b*m.n+j] = m.s[j*kb+b], m.z[j*kb+b]
		}
	}
	if q, err = m.whole([]int{m.k, m.n}, codes); err != nil {
		return nil, nil, nil, err
	}
	if !m.symmetric {
		if zero, err = m.whole([]int{kb, m.n}, z); err != nil {
			return nil, nil, nil, err
		}
	}
	return q, model.FromSlice([]int{kb, m.n}, s), zero, nil
}

// linearType returns the element type of the codes of DequantizeLinear.
func (f nbits) linearType() model.DType {
	switch {
	case f.bits == 8 && f.symmetric:
		return model.Int8
	case f.bits == 8:
		return model.Uint8
	case f.symmetric:
		return model.Int4
	}
	return model.Uint4
}

// whole returns codes as a tensor of the type for DequantizeLinear.
func (f nbits) whole(shape []int, codes []uint8) (*model.Tensor, error) {
	if f.bits == 8 {
		return model.FromSlice(shape, codes).View(f.linearType())
	}
	raw := make([]byte, (len(codes)+1)/2)
	pack4(raw, codes)
	return model.NewTensor(f.linearType(), shape, raw)
}
