package quantize

import (
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
)

// ChooseBlock returns the parameters of a group of weights with the extremes lo and hi, widened to contain 0, for the
// unsigned codes of com.microsoft.MatMulNBits: w = (q - ZeroPoint) * Scale, q in 0..2^bits-1. All in float32.
//
// Symmetric: ZeroPoint = 2^(bits-1) and Scale = m / -2^(bits-1) for the extreme m of larger magnitude (lo of equals), so
// that m has the code 0 and Scale has the sign opposite to m. Asymmetric: Scale = (hi-lo) / (2^bits-1), ZeroPoint =
// round(-lo/Scale), halves away from zero. A group without range, or whose Scale would be below the smallest normal
// number, has Scale 0. (ONNX Runtime 1.32, mlas q4_dq.cpp, range2scale and range2scalezp; there subnormal scales are
// undefined.)
func ChooseBlock(lo, hi float32, bits int, symmetric bool) Params {
	lo, hi = min(lo, 0), max(hi, 0)
	mid := int32(1) << (bits - 1)
	if symmetric {
		m := lo
		if hi > -lo {
			m = hi
		}
		s := m / float32(-mid)
		if s < smallestScale && s > -smallestScale {
			s *= 0 // with its sign, as there
		}
		return Params{s, mid}
	}
	top := float32(2*mid - 1)
	s := (hi - lo) / top
	if s > math.MaxFloat32 { // hi - lo is none
		s = float32((float64(hi) - float64(lo)) / float64(top))
	}
	if s < smallestScale {
		return Params{0, 0}
	}
	z := min(max(-lo/s, 0), top)
	return Params{s, int32(math.Floor(float64(z) + 0.5))}
}

// reciprocal returns what QuantizeBlock multiplies by: 1/Scale, 0 for a Scale of 0.
func (p Params) reciprocal() float32 {
	if p.Scale == 0 {
		return 0
	}
	return 1 / p.Scale
}

// QuantizeBlock sets q[i] = clamp(round(x[i] * (1/Scale) + ZeroPoint), 0, 2^bits-1), halves away from zero, every
// operation in float32 (ONNX Runtime 1.32, MlasQuantizeBlockwise). The slices have equal length.
func QuantizeBlock(q []uint8, x []float32, p Params, bits int) {
	r, z, top := p.reciprocal(), float32(p.ZeroPoint), float32(int32(1)<<bits-1)
	q = q[:len(x)]
	for i, v := range x {
		q[i] = roundCode(float32(v*r)+z, top)
	}
}

// roundCode rounds v to the nearest of 0..top, halves up; 0 for a NaN.
func roundCode(v, top float32) uint8 {
	if !(v > 0) {
		return 0
	}
	if v > top {
		v = top
	}
	t := int32(v)
	if v-float32(t) >= 0.5 {
		t++
	}
	return uint8(t)
}

// nbits is the form of a matrix of k inputs and n outputs in groups of consecutive inputs, as
// com.microsoft.MatMulNBits stores it: codes [n][blocks][group*bits/8], two of 4 bits to a byte with the even input low,
// unused ones 0; scales [n][blocks]; zero points [n][blocks].
type nbits struct {
	k, n, group, bits int
	symmetric         bool
}

func (f nbits) blocks() int { return (f.k + f.group - 1) / f.group }

// blob returns the bytes of the codes of a group.
func (f nbits) blob() int { return f.group * f.bits / 8 }

// choose is ChooseBlock with the settings of f.
func (f nbits) choose(lo, hi float32) Params { return ChooseBlock(lo, hi, f.bits, f.symmetric) }

// span is where a stretch of groups goes: the codes of output i begin at q[i*qStep], its scales and zero points (one a
// byte) at s[i*sStep] and z[i*sStep].
type span struct {
	q            []byte
	s            []float32
	z            []uint8
	qStep, sStep int
}

// pack stores the codes of a group in dst, which has blob() bytes.
func (f nbits) pack(dst []byte, codes []uint8) {
	clear(dst)
	if f.bits == 8 {
		copy(dst, codes)
		return
	}
	pack4(dst, codes)
}

// rows quantizes consecutive outputs of a matrix [n][k]. It reports whether all values are finite; where they are
// not, what was written is of no use.
func (f nbits) rows(x []float32, to span) bool {
	codes := make([]uint8, f.group)
	var check float32
	for i := range len(x) / max(f.k, 1) {
		row := x[i*f.k : (i+1)*f.k]
		for b := range f.blocks() {
			part := row[b*f.group : min((b+1)*f.group, f.k)]
			var lo, hi float32
			for _, v := range part {
				check += v - v
				lo, hi = min(lo, v), max(hi, v)
			}
			p := f.choose(lo, hi)
			QuantizeBlock(codes[:len(part)], part, p, f.bits)
			f.pack(to.q[i*to.qStep+b*f.blob():][:f.blob()], codes[:len(part)])
			to.s[i*to.sStep+b], to.z[i*to.sStep+b] = p.Scale, uint8(p.ZeroPoint)
		}
	}
	return check == 0
}

// columns quantizes consecutive inputs, whole groups, of a matrix [k][n]; see rows. It does as many outputs of a group at a time as stay
// in the cache between their extremes and their codes.
func (f nbits) columns(x []float32, to span) bool {
	wide := min(f.n, max(1<<15/f.group, 64))
	lo, hi := make([]float32, wide), make([]float32, wide)
	recip, zero := make([]float32, wide), make([]float32, wide)
	finite := true
	for b := 0; b*f.group*f.n < len(x); b++ {
		part := x[b*f.group*f.n : min((b+1)*f.group*f.n, len(x))]
		for j := 0; j < f.n; j += wide {
			w := min(wide, f.n-j)
			out := span{to.q[j*to.qStep+b*f.blob():], to.s[j*to.sStep+b:], to.z[j*to.sStep+b:], to.qStep, to.sStep}
			finite = f.strip(part[j:], len(part)/f.n, lo[:w], hi[:w], recip[:w], zero[:w], out) && finite
		}
	}
	return finite
}

// strip quantizes a group of as many outputs as lo, hi, recip and zero are long, which it uses: rows of f.n values.
func (f nbits) strip(x []float32, rows int, lo, hi, recip, zero []float32, to span) bool {
	clear(lo)
	clear(hi)
	finite := kernel.ColumnExtents(lo, hi, x, rows, f.n)
	for j := range lo {
		p := f.choose(lo[j], hi[j])
		recip[j], zero[j] = p.reciprocal(), float32(p.ZeroPoint)
		to.s[j*to.sStep], to.z[j*to.sStep] = p.Scale, uint8(p.ZeroPoint)
	}
	if rows < f.group { // unused codes are 0
		for j := range lo {
			clear(to.q[j*to.qStep:][:f.blob()])
		}
	}
	even := rows
	if f.bits == 4 {
		even &^= 1
	}
	kernel.GroupCodes(to.q, to.qStep, x, even, f.n, recip, zero, f.bits)
	if even < rows {
		for j, v := range x[even*f.n:][:len(lo)] {
			QuantizeBlock(to.q[j*to.qStep+even/2:][:1], []float32{v}, Params{to.s[j*to.sStep], int32(to.z[j*to.sStep])}, f.bits)
		}
	}
	return finite
}
