package kernel

import "encoding/binary"

const (
	// wideBand is about the number of bytes of input that a band of a depthwise convolution reads.
	wideBand = 64 << 10
	// largeBand is the number of bytes of padded input that a band of more than one row reads at most, whatever strides and pads are.
	largeBand = 4 << 20
)

// paddedRow returns the bytes of a row of the padded image.
func (c *ConvU8) paddedRow(g *Window) float64 {
	return (float64(g.OW-1)*float64(g.SW) + float64(g.KW-1)*float64(g.DW) + 1) * float64((c.Cin+15)&^15)
}

// bandRows returns how many of high rows of the output a band has that reads about most bytes of the padded image; one at least.
func (c *ConvU8) bandRows(g *Window, high int, most float64) int {
	return max(1, int(min(float64(high), most/max(1, float64(g.SH)*c.paddedRow(g)))))
}

// Scratch returns a bound of the bytes of padded image that each thread of Run holds for one row of the output. A band of more rows holds
// largeBand bytes more.
func (c *ConvU8) Scratch(g *Window) int {
	const far = 1 << 60
	return int(min(far, (float64(g.KH-1)*float64(g.DH)+1)*c.paddedRow(g)))
}

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
