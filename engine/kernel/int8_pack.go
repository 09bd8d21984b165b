package kernel

// PackedS8 is a matrix B[K,N] of signed bytes in the order that the int8 products read it: panels of 32 columns, in
// each panel groups of four rows, in each group the four bytes of one column side by side; filled up with zeros.
type PackedS8 struct {
	K, N   int
	ColSum []int32 // sum over k of the stored values, per column
	data   []int8  // [ceil(N/32)][ceil(K/4)][32][4]
	narrow bool    // 255 times the sum of two neighbouring weights fits 16 bits
}

// Bytes returns the size of the packed copy.
func (b *PackedS8) Bytes() int64 { return int64(len(b.data)) + 4*int64(len(b.ColSum)) }

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

// packBytes packs b with the bits of flip inverted, one row of four at a time.
func packBytes[T int8 | uint8](k, n int, b []T, ldb int, trans bool, flip uint8) *PackedS8 {
	k4 := ceilDiv(k, 4)
	out := &PackedS8{K: k, N: n, ColSum: make([]int32, n), data: make([]int8, panels(n)*k4*4*PanelWidth)}
	for j0 := 0; j0 < n; j0 += PanelWidth {
		w := min(PanelWidth, n-j0)
		panel := out.data[j0*k4*4:][:k4*4*PanelWidth]
		sum := out.ColSum[j0:][:w]
		for q := range k {
			dst := panel[q/4*4*PanelWidth+q%4:]
			if trans {
				for j := range w {
					v := int8(uint8(b[(j0+j)*ldb+q]) ^ flip)
					dst[4*j] = v
					sum[j] += int32(v)
				}
				continue
			}
			for j, x := range b[q*ldb+j0:][:w] {
				v := int8(uint8(x) ^ flip)
				dst[4*j] = v
				sum[j] += int32(v)
			}
		}
	}
	out.narrow = narrowPairs(out.data)
	return out
}

// narrowPairs reports whether 255 times the sum of two neighbouring weights always fits 16 bits.
func narrowPairs(w []int8) bool {
	for i := 0; i+1 < len(w); i += 2 {
		if s := int32(w[i]) + int32(w[i+1]); s > 128 || s < -128 {
			return false
		}
	}
	return true
}
