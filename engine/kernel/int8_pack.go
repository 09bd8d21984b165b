package kernel

import (
	"encoding/binary"
	"unsafe"
)

// PackedS8 is a matrix B[K,N] of signed bytes in the order that the int8 products read it: panels of 32 columns, in
// each panel groups of four rows, in each group the four bytes of one column side by side; filled up with zeros.
type PackedS8 struct {
	K, N   int
	ColSum []int32 // sum over k of the stored values, per column
	data   []int8  // [ceil(N/32)][ceil(K/4)][32][4]
	narrow bool    // 255 times the sum of two neighbouring weights fits 16 bits
	wide   []uint8 // [ceil(N/32)][ceil(K/8)], of narrow weights for AVX2: see markWide
}

// Bytes returns the size of the packed copy.
func (b *PackedS8) Bytes() int64 {
	return int64(len(b.data)) + 4*int64(len(b.ColSum)) + int64(len(b.wide))
}

// PackS8 packs B[k,n], row-major with leading dimension ldb; with trans, b holds the transpose, [n,k].
func PackS8(k, n int, b []int8, ldb int, trans bool) *PackedS8 {
	checkB(len(b), k, n, ldb, trans)
	return packBytes(k, n, b, ldb, trans, 0)
}

// PackU8 packs unsigned weights as the signed values b-128: a zero point z of the weights becomes z-128 for the packed
// matrix (see ShiftZero), and ColSum is that of the shifted values.
func PackU8(k, n int, b []uint8, ldb int, trans bool) *PackedS8 {
	checkB(len(b), k, n, ldb, trans)
	return packBytes(k, n, b, ldb, trans, 0x80)
}

// ShiftZero turns zero points of unsigned weights into those of the matrix that PackU8 stores: z-128.
func ShiftZero(z []uint8) []int8 {
	out := make([]int8, len(z))
	for i, v := range z {
		out[i] = int8(v ^ 0x80)
	}
	return out
}

// packBytes packs b with the bits of flip inverted, four rows of a panel at a time.
func packBytes[T int8 | uint8](k, n int, b []T, ldb int, trans bool, flip uint8) *PackedS8 {
	k4 := ceilDiv(k, 4)
	out := &PackedS8{K: k, N: n, ColSum: make([]int32, n), data: signedMemory(panels(n) * k4 * 4 * PanelWidth), narrow: true}
	raw, flips := unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(b))), len(b)), uint32(flip)*0x01010101
	for j0 := 0; j0 < n; j0 += PanelWidth {
		w := min(PanelWidth, n-j0)
		panel := unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(out.data[j0*k4*4:]))), k4*4*PanelWidth)
		sum := out.ColSum[j0:][:w]
		done := 0
		if !trans && w == PanelWidth && k >= 4 {
			var most int32
			done, most = packFours(k/4, raw[j0:], ldb, flips, panel, sum)
			out.narrow = out.narrow && most <= 128
		}
		for q := 4 * done; q < k; q += 4 {
			dst := panel[q*PanelWidth:][:4*w]
			g := min(4, k-q)
			var four [PanelWidth]uint32 // four rows of each column
			switch {
			case trans && g == 4:
				for j := range w {
					four[j] = binary.LittleEndian.Uint32(raw[(j0+j)*ldb+q:]) ^ flips
				}
			case !trans && g == 4:
				r0, r1, r2, r3 := raw[q*ldb+j0:][:w], raw[(q+1)*ldb+j0:][:w], raw[(q+2)*ldb+j0:][:w], raw[(q+3)*ldb+j0:][:w]
				for j := range w {
					four[j] = (uint32(r0[j]) | uint32(r1[j])<<8 | uint32(r2[j])<<16 | uint32(r3[j])<<24) ^ flips
				}
			default:
				for j := range w {
					for i := range g {
						at := (q+i)*ldb + j0 + j
						if trans {
							at = (j0+j)*ldb + q + i
						}
						four[j] |= uint32(raw[at]^flip) << (8 * i)
					}
				}
			}
			for j, v := range four[:w] {
				binary.LittleEndian.PutUint32(dst[4*j:], v)
				lo, hi := int32(int8(v))+int32(int8(v>>8)), int32(int8(v>>16))+int32(int8(v>>24))
				sum[j] += lo + hi
				if uint32(lo+128) > 256 || uint32(hi+128) > 256 {
					out.narrow = false
				}
			}
		}
	}
	if out.narrow && marksWide {
		pairs := ceilDiv(k4, 2)
		out.wide = make([]uint8, max(1, panels(n)*pairs))
		for j := range panels(n) {
			markWide(out.data[j*k4*4*PanelWidth:][:k4*4*PanelWidth], out.wide[j*pairs:])
		}
	}
	return out
}

// markWideGo is the Go twin of markWide.
func markWideGo(panel []int8, wide []uint8) {
	for i := range len(panel) / (8 * PanelWidth) {
		two := panel[i*8*PanelWidth:][:8*PanelWidth]
		for at := 0; at < 4*PanelWidth; at += 2 {
			pos, neg := 0, 0
			for _, w := range [4]int8{two[at], two[at+1], two[at+4*PanelWidth], two[at+1+4*PanelWidth]} {
				pos, neg = pos+max(0, int(w)), neg+min(0, int(w))
			}
			if pos > 128 || neg < -128 {
				wide[i] = 1
			}
		}
	}
}
