package kernel

import "encoding/binary"

// padRows copies rows h0..h1 of image n to dst [h1-h0, wide, cp] between their padding; cp is at least the number of channels, and what
// lies beyond them is not defined.
func (j *convU8Job) padRows(dst []uint8, n, h0, h1, wide, cp int) {
	c, g := j.c, j.g
	ch := c.Cin
	left := min(g.Left, wide)
	mid := min(g.W, wide-left)
	for h := h0; h < h1; h++ {
		d := dst[(h-h0)*wide*cp:][:wide*cp]
		if h < 0 || h >= g.H {
			fill(d, c.ZeroX)
			continue
		}
		fill(d[:left*cp], c.ZeroX)
		fill(d[(left+mid)*cp:], c.ZeroX)
		src := j.x[(n*g.H+h)*g.W*ch:][:mid*ch]
		d = d[left*cp : (left+mid)*cp]
		switch {
		case cp == ch:
			copy(d, src)
		case ch == 3 && cp == 4:
			widenPixels(d, src)
		default:
			for i := range mid {
				copy(d[i*cp:], src[i*ch:(i+1)*ch])
			}
		}
	}
}

// widenPixels copies pixels of three bytes to places of four.
func widenPixels(dst, src []uint8) {
	n := len(src) / 3
	i := widen(dst, src)
	for ; i+4 <= n-1; i += 4 { // twelve bytes, read as eight and eight
		a, b := binary.LittleEndian.Uint64(src[3*i:]), binary.LittleEndian.Uint64(src[3*i+6:])
		binary.LittleEndian.PutUint64(dst[4*i:], a&0xffffff|a<<8&0xffffff00000000)
		binary.LittleEndian.PutUint64(dst[4*i+8:], b&0xffffff|b<<8&0xffffff00000000)
	}
	for ; i < n; i++ {
		dst[4*i], dst[4*i+1], dst[4*i+2] = src[3*i], src[3*i+1], src[3*i+2]
	}
}

func fill(d []uint8, v uint8) {
	n := min(len(d), 16)
	for i := range d[:n] {
		d[i] = v
	}
	for n > 0 && n < len(d) {
		n += copy(d[n:], d[:n])
	}
}
