package quantize

import (
	"github.com/wattshed/wattshed/model"
)

// gather quantizes the constant table of Gather nodes along axis 0 as uint8, asymmetric: one scale and
// zero point for the table, or one scale and zero point for every row. Per tensor the rows are
// dequantized by DequantizeLinear, as onnxruntime.quantization writes it; per row the scales and zero
// points are gathered with the same indices.
func (r *dynamicRewrite) gather(w *model.Weight) (action, why string, bytes int64, err error) {
	shape := w.Tensor.Shape()
	if len(shape) != 2 {
		return "", "not a matrix", 0, nil
	}
	for _, u := range w.Uses {
		if u.Input != 0 {
			return "", "not the table", 0, nil
		}
		if u.Node.Int("axis", 0) != 0 {
			return "", "gathered along another axis than 0", 0, nil
		}
	}
	x, err := w.Tensor.Float32()
	if err != nil {
		return "", "", 0, err
	}
	rows, cols := shape[0], shape[1]
	if rows == 0 || cols == 0 {
		return "", "empty", 0, nil
	}
	group := len(x)
	if r.Granularity == PerChannel {
		group = cols
	}
	q := make([]uint8, len(x))
	scales := make([]float32, len(x)/group)
	zeros := make([]uint8, len(scales))
	for i := range scales {
		part := x[i*group : (i+1)*group]
		lo, hi, ok := extent(part)
		if !ok {
			return "", "holds a value that is not finite", 0, nil
		}
		p, err := ChooseParams(lo, hi, Uint8Range, false)
		if err != nil {
			return "", "", 0, err
		}
		Quantize(q[i*group:(i+1)*group], part, p, Uint8Range)
		scales[i], zeros[i] = p.Scale, uint8(p.ZeroPoint)
	}
	g := w.Graph
	qn, sn, zn := r.names.name(w.Value+"_quantized"), r.names.name(w.Value+"_scale"), r.names.name(w.Value+"_zero_point")
	g.SetInitializer(qn, model.FromSlice(shape, q))
	perRow := r.Granularity == PerChannel
	if perRow {
		g.SetInitializer(sn, model.FromSlice([]int{rows, 1}, scales))
		g.SetInitializer(zn, model.FromSlice([]int{rows, 1}, zeros))
	} else {
		g.SetInitializer(sn, model.FromSlice([]int{}, scales))
		g.SetInitializer(zn, model.FromSlice([]int{}, zeros))
	}
	for _, u := range w.Uses {
		r.gatherNode(g, u.Node, qn, sn, zn, perRow)
	}
	drop(w)
	return "uint8 " + rowWord(perRow), "", int64(len(q) + 5*len(scales)), nil
}

func rowWord(perRow bool) string {
	if perRow {
		return "per-row"
	}
	return string(PerTensor)
}

func (r *dynamicRewrite) gatherNode(g *model.Graph, n *model.Node, qn, sn, zn string, perRow bool) {
	out, label := n.Outputs[0], n.Name
	if label == "" {
		label = out
	}
	idx := n.Inputs[1]
	rows := r.names.name(out + "_quantized")
	nodes := []*model.Node{{Name: r.names.name(label + "_quant"), Op: "Gather", Inputs: []string{qn, idx}, Outputs: []string{rows}, Attrs: n.Attrs}}
	if !perRow {
		nodes = append(nodes, &model.Node{Name: r.names.name(label + "_DequantizeLinear"), Op: "DequantizeLinear",
			Inputs: []string{rows, sn, zn}, Outputs: []string{out}})
		replace(g, n, nodes...)
		return
	}
	cast := func(in, what string) string {
		o := r.names.name(out + "_" + what + "_float")
		nodes = append(nodes, &model.Node{Name: r.names.name(label + "_" + what + "_cast"), Op: "Cast", Inputs: []string{in},
			Outputs: []string{o}, Attrs: []model.Attr{model.IntAttr("to", int64(model.Float32))}})
		return o
	}
	gathered := func(table, what string) string {
		o := r.names.name(out + "_" + what)
		nodes = append(nodes, &model.Node{Name: r.names.name(label + "_" + what), Op: "Gather", Inputs: []string{table, idx}, Outputs: []string{o}, Attrs: n.Attrs})
		return o
	}
	scale, zero := gathered(sn, "row_scale"), gathered(zn, "row_zero_point")
	diff := r.names.name(out + "_centred")
	a, b := cast(rows, "rows"), cast(zero, "zero_point")
	nodes = append(nodes,
		&model.Node{Name: r.names.name(label + "_centre"), Op: "Sub", Inputs: []string{a, b}, Outputs: []string{diff}},
		&model.Node{Name: r.names.name(label + "_rescale"), Op: "Mul", Inputs: []string{diff, scale}, Outputs: []string{out}})
	replace(g, n, nodes...)
}
