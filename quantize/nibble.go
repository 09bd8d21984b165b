package quantize

// pack4 stores the low four bits of each q two to a byte, the first in the low nibble; the last byte of an odd count
// is padded with 0. dst has (len(q)+1)/2 bytes.
func pack4[T int8 | uint8](dst []byte, q []T) {
	n := len(q) / 2
	dst = dst[:(len(q)+1)/2]
	for i := range n {
		dst[i] = byte(q[2*i])&15 | byte(q[2*i+1])<<4
	}
	if len(q)&1 != 0 {
		dst[n] = byte(q[len(q)-1]) & 15
	}
}

// unpackU4 is the reverse of pack4 for unsigned values.
func unpackU4(q []uint8, src []byte) {
	for i := range q {
		q[i] = src[i/2] >> (4 * (i & 1)) & 15
	}
}

// unpackS4 is the reverse of pack4 for signed values.
func unpackS4(q []int8, src []byte) {
	for i := range q {
		q[i] = int8(src[i/2]>>(4*(i&1))<<4) >> 4
	}
}
