package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// opQLinearWhere is QLinearWhere of com.microsoft: condition, X, its scale and zero point, Y, its scale and zero point, scale
// and zero point of Z. Z is X where the condition holds and Y elsewhere, broadcast together. Both are moved to the scale of Z by
// tables of 256 bytes, as ONNX Runtime does.
func opQLinearWhere(c *Call) error {
	ct, err := c.Need(0)
	if err != nil {
		return err
	}
	cond, err := model.Data[bool](ct)
	if err != nil {
		return err
	}
	a, x, va, err := c.operand(1)
	if err != nil {
		return err
	}
	b, y, vb, err := c.operand(4)
	if err != nil {
		return err
	}
	if a.DType() != b.DType() {
		return fmt.Errorf("inputs have types %s and %s: %w", a.DType(), b.DType(), model.ErrType)
	}
	out, err := c.quantized(7, a.DType())
	if err != nil {
		return err
	}
	shape, err := broadcastAll(ct.Shape(), a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	dst, done, err := c.bytesOut(a.DType(), shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	var tx, ty [256]uint8
	kernel.QuantizeLinearU8(dequantizeAll(va, nil), tx[:], out.scale, out.zero)
	kernel.QuantizeLinearU8(dequantizeAll(vb, nil), ty[:], out.scale, out.zero)
	eachBroadcast(shape, [][]int{ct.Shape(), a.Shape(), b.Shape()}, func(i int, off []int) {
		if cond[off[0]] {
			dst[i] = tx[x[off[1]]]
		} else {
			dst[i] = ty[y[off[2]]]
		}
	})
	done()
	return nil
}
