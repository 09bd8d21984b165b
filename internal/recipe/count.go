package recipe

import (
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/reports"
)

// weights counts the parameters of the written file.
func (r *run) weights(m *made) (*reports.Weights, error) {
	f, err := onnx.Open(r.path(m))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var c WeightCount
	err = model.Guard(f.Graph().Mappings, func() (err error) { c, err = CountWeights(f.Graph()); return err })
	if err != nil {
		return nil, err
	}
	w := &reports.Weights{Parameters: c.Parameters, Nonzero: c.Nonzero, Bytes: c.Bytes}
	if c.Parameters > 0 {
		s := 1 - float64(c.Nonzero)/float64(c.Parameters)
		w.Sparsity = &s
	}
	return w, nil
}

// WeightCount is the size of a model's weights. Parameters are the numbers that were trained, in whatever type they are stored, Nonzero
// those of them that are not zero, as stored; Bytes are those of all constants.
type WeightCount struct {
	Parameters, Nonzero, Bytes int64
}

// CountWeights counts the parameters of g and the bytes of all its constants. Constants of int64 and bool (shapes, axes, indices) and the
// scales and zero points of quantized weights are bytes but no parameters, nor are single numbers, so a model has as many before as after
// it is quantized. Of codes that are packed into bytes all count as not zero.
func CountWeights(g *model.Graph) (WeightCount, error) {
	var c WeightCount
	all := g.Weights()
	names := make(map[string]bool, len(all))
	for _, w := range all {
		names[w.Name] = true
	}
	for _, w := range all {
		c.Bytes += int64(w.Tensor.ByteSize())
		switch t := w.Tensor.DType(); {
		case t == model.String || t == model.Int64 || t == model.Bool || w.Tensor.Rank() == 0 || restores(w, names):
			continue
		}
		if n := packed(w); n > 0 {
			c.Parameters += n
			c.Nonzero += n
			continue
		}
		x, err := w.Tensor.Float32()
		if err != nil {
			continue // an 8-bit float or the like: bytes only
		}
		c.Parameters += int64(len(x))
		for _, v := range x {
			if v != 0 {
				c.Nonzero++
			}
		}
	}
	return c, nil
}

// carriers are the inputs of quantized operators that hold weights or biases; the others hold scales, zero points and group indices.
var carriers = map[string][]int{
	"QuantizeLinear": {0}, "DequantizeLinear": {0}, "QLinearConv": {0, 3, 8}, "QLinearMatMul": {0, 3}, "QGemm": {0, 3, 6},
	"QLinearAdd": {0, 3}, "QLinearMul": {0, 3}, "QLinearSigmoid": {0}, "QLinearLeakyRelu": {0}, "QLinearGlobalAveragePool": {0}, "QLinearAveragePool": {0},
	"MatMulInteger": {0, 1}, "ConvInteger": {0, 1}, "DynamicQuantizeMatMul": {0, 1, 4}, "MatMulIntegerToFloat": {0, 1, 6},
	"DynamicQuantizeLSTM": {0, 1, 2, 3, 4, 5, 6, 7}, "MatMulNBits": {0, 1, 5}, "GatherBlockQuantized": {0, 1},
}

// restores reports whether w is there to restore quantized values: by the operators that read it, or by its name beside the codes'. names
// are those of all constants.
func restores(w *model.Weight, names map[string]bool) bool {
	for _, suffix := range []string{"_scale", "_zero_point", "_inverse"} {
		if base, ok := strings.CutSuffix(w.Name, suffix); ok && names[base+"_quantized"] {
			return true
		}
	}
	for _, u := range w.Uses {
		carrying, quantized := carriers[u.Node.Op]
		if !quantized || slices.Contains(carrying, u.Input) {
			return false
		}
	}
	return len(w.Uses) > 0
}

// packed is the number of weights in codes that MatMulNBits and GatherBlockQuantized read, several in a byte; 0 where w is no such tensor.
func packed(w *model.Weight) int64 {
	bytes := int64(w.Tensor.Len())
	for _, u := range w.Uses {
		switch {
		case u.Node.Op == "MatMulNBits" && u.Input == 1:
			if k, n := u.Node.Int("K", 0), u.Node.Int("N", 0); k > 0 && n > 0 && k <= 8*bytes && n <= 8*bytes/k {
				return k * n
			}
		case u.Node.Op == "GatherBlockQuantized" && u.Input == 0 && w.Tensor.DType() == model.Uint8:
			if bits := u.Node.Int("bits", 4); bits > 0 && bits <= 8 {
				return bytes * 8 / bits
			}
		}
	}
	return 0
}
