package engine

import (
	"math"
	"slices"
)

// softmaxTable is exp(-k*scale), k the distance of a byte from the largest of n, times a constant that uses the range of float32.
func softmaxTable(scale float32, n int) (f [256]float32) {
	shift := max(0, math.Log(float64(math.MaxFloat32/float32(n)))-5) / float64(scale)
	for k := range f {
		f[k] = float32(math.Exp((shift - float64(k)) * float64(scale)))
	}
	return f
}

// opQLinearSoftmax is the softmax of the values that the bytes stand for, along an axis (opset 13) or over all from it on: as in ONNX Runtime
// a quotient of float32 sums of a table, in 1/scale steps of the output, a whole number of them. Signed results saturate, where those of ONNX
// Runtime wrap around.
func opQLinearSoftmax(c *Call) error {
	t, x, v, err := c.operand(0)
	if err != nil {
		return err
	}
	out, err := c.quantized(3, t.DType())
	if err != nil {
		return err
	}
	dst, done, err := c.bytesOut(t.DType(), t.Shape())
	if err != nil || len(dst) == 0 {
		return err
	}
	old := c.Node.Int("opset", 13) < 13
	ax, err := axis(int(c.Node.Int("axis", -1)), t.Rank()) // the default is that of opset 13 in both
	if err != nil {
		return err
	}
	n, inner := t.Shape()[ax], product(t.Shape()[ax+1:])
	if old {
		n, inner = product(t.Shape()[ax:]), 1
	}
	f, row := softmaxTable(v.scale, n), make([]uint8, n)
	steps := float32(math.Floor(float64(1 / out.scale)))
	for i := range len(x) / n {
		at := i/inner*n*inner + i%inner
		if inner == 1 {
			softmaxBytes(dst[at:at+n], x[at:at+n], &f, steps, out.zero)
			continue
		}
		for k := range row {
			row[k] = x[at+k*inner]
		}
		softmaxBytes(row, row, &f, steps, out.zero)
		for k, b := range row {
			dst[at+k*inner] = b
		}
	}
	done()
	return nil
}

// softmaxBytes is the softmax of one row; dst may be src. Every byte is divided once.
func softmaxBytes(dst, src []uint8, f *[256]float32, steps float32, zero uint8) {
	top, sum := slices.Max(src), float32(0)
	for _, b := range src {
		sum += f[top-b]
	}
	var q [256]uint8
	var known [256]bool
	for k, b := range src {
		d := top - b
		if !known[d] {
			p := math.RoundToEven(float64(float32(f[d]*steps) / sum))
			if !(p > 0) { // or NaN
				p = 0
			}
			q[d], known[d] = uint8(min(p+float64(zero), 255)), true
		}
		dst[k] = q[d]
	}
}
