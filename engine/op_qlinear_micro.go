package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// qlinearTable is the table of QLinearSigmoid or QLinearLeakyRelu.
func qlinearTable(n *model.Node, x, out qvalue) (t [256]uint8) {
	f := dequantizeAll(x, nil)
	switch n.Op {
	case "QLinearSigmoid":
		kernel.Sigmoid(f, f)
	case "QLinearLeakyRelu":
		alpha := n.Float("alpha", 0.01)
		for i, v := range f {
			if v < 0 {
				f[i] = v * alpha
			}
		}
	}
	kernel.QuantizeLinearU8(f, t[:], out.scale, out.zero)
	return t
}
