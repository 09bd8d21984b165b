package kernel

import "math"

const (
	badColumns = "kernel: rows of another length than their columns"
	badGroup   = "kernel: a group of rows that does not fit"
)

// ColumnExtents widens lo and hi to the smallest and largest elements of n = len(lo) = len(hi) > 0 columns: rows of n elements, the first
// at x[0], ld elements apart. Of a zero and its negative the one that stands there stays, and a NaN is passed over. It reports
// whether all elements are finite.
func ColumnExtents(lo, hi, x []float32, rows, ld int) (finite bool) {
	n := len(lo)
	checkColumns(n, len(hi), len(x), rows, ld)
	k, finite := columnExtents(lo, hi, x, rows, ld)
	if k < n {
		finite = columnExtentsGo(lo, hi, x, rows, ld, k) && finite
	}
	return finite
}

// checkColumns panics unless n values, as many as there are columns, and rows of them are there.
func checkColumns(n, other, have, rows, ld int) {
	if n == 0 || other != n || rows < 0 || rows > 0 && (ld < n || have < (rows-1)*ld+n) {
		panic(badColumns)
	}
}

// columnExtentsGo does the columns from k on.
func columnExtentsGo(lo, hi, x []float32, rows, ld, k int) bool {
	n := len(lo)
	var check float32
	lo, hi = lo[k:], hi[k:n]
	for i := range rows {
		l, h := lo, hi[:len(lo)]
		for j, v := range x[i*ld+k : i*ld+n] {
			check += v - v
			if v < l[j] {
				l[j] = v
			}
			if v > h[j] {
				h[j] = v
			}
		}
	}
	return check == 0
}

// GroupCodes quantizes a group of rows of n = len(recip) = len(zero) columns, the first at x[0], ld elements apart, to codes of bits = 4
// or 8 bits: clamp(round(x[i,j]*recip[j] + zero[j]), 0, 2^bits-1), halves up, product and sum rounded to float32 each. Those of
// column j are rows*bits/8 bytes from q[j*step] on, the earlier of two codes of 4 bits low; rows is even then. Values more than
// one beyond the range of codes become any code.
func GroupCodes(q []uint8, step int, x []float32, rows, ld int, recip, zero []float32, bits int) {
	n := len(recip)
	checkColumns(n, len(zero), len(x), rows, ld)
	if bits != 4 && bits != 8 || rows*bits%8 != 0 || rows > 0 && (step < rows*bits/8 || len(q) < (n-1)*step+rows*bits/8) {
		panic(badGroup)
	}
	if rows == 0 {
		return
	}
	for j := groupCodes(q, step, x, rows, ld, recip, zero, bits); j < n; j += 64 { // so many columns of codes stay in the cache
		groupCodesGo(q, step, x, rows, ld, recip, zero, bits, j, min(j+64, n))
	}
}

// groupCodesGo does the columns from first to last.
func groupCodesGo(q []uint8, step int, x []float32, rows, ld int, recip, zero []float32, bits, first, last int) {
	top := int32(1)<<bits - 1
	r, z := recip[first:last], zero[first:last]
	z = z[:len(r)]
	if bits == 8 {
		for i := range rows {
			for j, v := range x[i*ld:][first:last] {
				q[(first+j)*step+i] = nearCode(float32(v*r[j])+z[j], top)
			}
		}
		return
	}
	for i := 0; i < rows; i += 2 {
		even, odd := x[i*ld:][first:last], x[(i+1)*ld:][first:last]
		odd = odd[:len(even)]
		out := q[first*step+i/2:]
		for j, v := range even {
			out[j*step] = nearCode(float32(v*r[j])+z[j], top) | nearCode(float32(odd[j]*r[j])+z[j], top)<<4
		}
	}
}

// nearCode rounds v, within one of 0..top, to the nearest of these, halves up; any other v gives any code.
func nearCode(v float32, top int32) uint8 {
	return uint8(min(max(int32(float64(v)+0.5), 0), top)) // the sum is exact, and what is cut off is at least 0 where it counts
}

// ColumnCodes sets q[j] to clamp(round(x[j]/scale[j]), lo, hi), halves to even, as the bits of an int8; lo for a NaN. The slices
// have equal length.
func ColumnCodes(q []uint8, x, scale []float32, lo, hi int8) {
	if len(q) != len(x) || len(q) != len(scale) {
		panic(badVecLen)
	}
	l, h := float32(lo), float32(hi)
	for j := columnCodes(q, x, scale, l, h); j < len(q); j++ {
		v := x[j] / scale[j]
		if !(v > l) {
			v = l
		}
		if v > h {
			v = h
		}
		const rounder = 3 << 22 // added to less than 2^22 it leaves the integer part, rounded to even, in the lowest bits
		q[j] = uint8(math.Float32bits(v + rounder))
	}
}
