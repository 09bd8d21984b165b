package quantize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// chooseRange decides on 7-bit weights and says why.
func (p *staticPlan) chooseRange() {
	recurrent, note := chooseWeightRange(p.ReduceRange, p.CPU, p.Target, p.Weights)
	p.reduce, p.reduceRecurrent = recurrent, recurrent
	if p.reduce && p.ReduceRange == nil && p.rules.dtype.Bits() > 8 { // of recurrent operators activations have 8 bits
		p.reduce, note = false, model.Note{Weight: "(model)", Action: "reduce_range off", Reason: "around 16-bit activations products are of floats, which do not saturate; weights of recurrent operators keep to 7 bits: " + note.Reason}
	}
	p.remarks = append(p.remarks, note)
	switch {
	case p.rules.dtype.Bits() > 8:
		p.remark("activations "+p.rules.dtype.String(), "no CPU runtime multiplies 16-bit integers: values are rounded to 16 bits around float products; biases are added in float")
	case p.rules.dtype == model.Int8 && p.Target == ONNXRuntimeCPU && p.Format == QDQ:
		p.remark("activations int8", "on x86 ONNX Runtime leaves operators in float that share a signed activation; uint8 fuses everywhere")
	}
}

// remark adds a note about the whole model.
func (p *staticPlan) remark(action, reason string) {
	p.remarks = append(p.remarks, model.Note{Weight: "(model)", Action: action, Reason: reason})
}

// planTables plans the tables of Gather and the weights of LSTM as dynamic quantization does them.
func (p *staticPlan) planTables() error {
	var ops []string
	places := map[*model.Node]*planned{}
	for _, n := range p.nodes {
		if n.place == lookup || n.place == recurrent {
			places[n.Node] = n
			if !slices.Contains(ops, n.Op) {
				ops = append(ops, n.Op)
			}
		}
	}
	if len(ops) == 0 {
		return nil
	}
	d, err := Dynamic{DType: p.Weights, Granularity: p.Granularity, Ops: ops, Exclude: p.Exclude, ReduceRange: &p.reduceRecurrent}.plan(p.g)
	if err != nil {
		return err
	}
	for _, w := range d.weights {
		for _, u := range w.Uses {
			if places[u.Node] == nil && w.why == "" {
				w.why, w.forms = fmt.Sprintf("read by %s"+readerExcluded, u.Node), nil
			}
		}
	}
	d.pairs()
	d.names = p.names
	p.tables = d
	return nil
}

// outcome is what became of one input of one node.
type outcome struct {
	action, reason string
	bytes          int64
	form           any // forms that several nodes share count once
}

// outcomes returns them by reader.
func (p *staticPlan) outcomes() map[reader]outcome {
	out := map[reader]outcome{}
	granularity := func(w *staticWeight) string {
		bits := p.Weights.String() + " "
		if p.reduce {
			bits += "(7 bits) "
		}
		if w.axis < 0 {
			return bits + string(PerTensor)
		}
		return bits + string(PerChannel)
	}
	for _, n := range p.nodes {
		for i, in := range n.Inputs {
			at := reader{n.Op, n.origin, i}
			switch {
			case p.consts[in] == nil:
			case n.weight != nil && i == 1:
				out[at] = outcome{granularity(n.weight), n.weight.remark, n.weight.bytes(), n.weight}
			case n.bias != nil && i == 2 && n.bias.own:
				out[at] = outcome{"int32", "a scale of its own: in steps of the products, in which ONNX Runtime adds a float bias, it is beyond int32", int64(4*len(n.bias.q) + 8), n.bias}
			case n.bias != nil && i == 2 && n.bias.q != nil:
				out[at] = outcome{"int32", "scale of the input times scale of the weight", int64(4*len(n.bias.q) + 8*len(n.bias.scale)), n.bias}
			case n.bias != nil && i == 2:
				out[at] = outcome{action: model.Left, reason: "a bias, which " + string(p.Target) + " adds in float"}
			case n.on && n.place == follow && p.acts[in] == nil:
				out[at] = outcome{p.rules.dtype.String() + " per-tensor", "an operand of " + n.Op, int64(p.consts[in].Len()*p.rules.dtype.Bits()/8) + 5, in}
			case n.on && n.place == clamp:
				out[at] = outcome{action: model.Left, reason: "a bound of " + n.Op}
			case n.why != "":
				out[at] = outcome{action: model.Left, reason: n.why}
			case n.place == follow || n.place == moves:
				out[at] = outcome{action: model.Left, reason: n.Op + " stays in float: what it reads or what reads it is"}
			case n.place == float:
				out[at] = outcome{action: model.Left, reason: fmt.Sprintf("read by %s, which %s runs in float", n.Op, p.Target)}
			}
		}
	}
	if p.tables != nil {
		for _, w := range p.tables.weights {
			note := w.note()
			for _, u := range w.Uses {
				if slices.Contains([]string{"Gather", "LSTM", "GRU", "RNN"}, u.Node.Op) {
					out[reader{u.Node.Op, p.before.original(u.Node.Out(0)), u.Input}] = outcome{note.Action, note.Reason, note.BytesAfter, w}
				}
			}
		}
	}
	return out
}

// notes says what was done to every float weight of the model as it came, and to the model.
func (p *staticPlan) notes() []model.Note {
	notes := slices.Clone(p.remarks)
	if p.ranges != nil {
		notes = append(notes, model.Note{Weight: "(model)", Action: fmt.Sprintf("calibrated %d activations", len(p.observed())),
			Reason: fmt.Sprintf("%s over %s", p.ranges.Method, p.ranges.Source)})
	}
	done := p.outcomes()
	for _, w := range p.before.weights {
		notes = append(notes, p.noteOf(w, done))
	}
	return notes
}

func (p *staticPlan) noteOf(w *model.Weight, done map[reader]outcome) model.Note {
	n := newNote(w)
	var actions, reasons []string
	var bytes int64
	left := false
	forms := map[any]bool{}
	for _, r := range p.before.reads[w] {
		o, ok := done[r]
		switch {
		case ok && o.action == model.Left:
			left = true
		case ok:
			if !forms[o.form] {
				forms[o.form] = true
				bytes += o.bytes
			}
		case p.before.folded[r.out] != "":
			o = outcome{action: "folded", reason: fmt.Sprintf("%s is part of the convolution before it", r.op)}
		default:
			o = outcome{action: "folded", reason: "computed once, at preparation"}
		}
		if o.action != model.Left && !slices.Contains(actions, o.action) {
			actions = append(actions, o.action)
		}
		if o.reason != "" && !slices.Contains(reasons, o.reason) {
			reasons = append(reasons, o.reason)
		}
	}
	switch {
	case len(p.before.reads[w]) == 0:
		n.Reason = "no node reads it"
		return n
	case len(actions) == 0:
		n.Reason = strings.Join(reasons, "; ")
		return n
	}
	if left {
		bytes += n.BytesBefore
		actions = append(actions, "also kept in float")
	}
	n.Action, n.Reason, n.BytesAfter = strings.Join(actions, " and "), strings.Join(reasons, "; "), bytes
	return n
}
