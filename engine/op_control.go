package engine

import (
	"fmt"
	"slices"
	"sort"

	"github.com/wattshed/wattshed/model"
)

// controlOps run bodies.
func controlOps() map[string]opDef {
	return qualify("", map[string]opDef{"If": plain(opIf), "Loop": plain(opLoop), "Scan": plain(opScan)})
}

// give makes results of a body the outputs from i on.
func (c *Call) give(i int, outs []slot) {
	for k, o := range outs {
		if o.is != isTensor {
			o.buf = nil
		}
		c.put(i+k, o)
	}
}

// drop releases slots that are not needed.
func (c *Call) drop(s ...slot) {
	for _, v := range s {
		if v.buf != nil {
			c.arena.release(v.buf)
		}
	}
}

func truth(t *model.Tensor) (bool, error) {
	if t == nil {
		return false, fmt.Errorf("a condition is missing")
	}
	v, err := model.Data[bool](t)
	if err != nil {
		return false, err
	}
	if len(v) != 1 {
		return false, errShape("the condition", t, "one element")
	}
	return v[0], nil
}

func opIf(c *Call) error {
	cond, err := truth(c.Arg(0))
	if err != nil {
		return err
	}
	name := "else_branch"
	if cond {
		name = "then_branch"
	}
	outs, err := c.runBody(name, nil)
	if err != nil {
		return err
	}
	if len(outs) != len(c.Node.Outputs) {
		return fmt.Errorf("%s gives %d outputs, want %d", name, len(outs), len(c.Node.Outputs))
	}
	c.give(0, outs)
	return nil
}

// collected are the values that one scan output takes over the iterations.
type collected struct {
	parts []slot
}

// stack makes the parts one tensor, along a new axis.
func (l *collected) stack(c *Call, i, ax int, declared *model.Value) error {
	var first *model.Tensor
	if len(l.parts) > 0 {
		first = l.parts[0].t
	} else { // no iteration: the declaration of the body says what would have come
		d, shape := model.Float32, []int{}
		if declared != nil && declared.Type.DType.Valid() {
			d = declared.Type.DType
		}
		if declared != nil {
			for _, s := range declared.Type.Shape {
				shape = append(shape, int(max(s.Size, 0)))
			}
		}
		at, err := axis(ax, len(shape)+1)
		if err != nil && declared != nil && declared.Type.Shape != nil {
			return err
		}
		_, err = c.Alloc(i, d, slices.Insert(shape, at, 0))
		return err
	}
	if first == nil {
		return fmt.Errorf("output %d of the body is no tensor", i)
	}
	ax, err := axis(ax, first.Rank()+1)
	if err != nil {
		return err
	}
	ts := make([]*model.Tensor, len(l.parts))
	for k, p := range l.parts {
		if p.t == nil {
			return fmt.Errorf("output %d of the body is no tensor", i)
		}
		shape := append([]int{}, p.t.Shape()[:min(ax, p.t.Rank())]...)
		shape = append(append(shape, 1), p.t.Shape()[min(ax, p.t.Rank()):]...)
		if ts[k], err = p.t.Reshape(shape); err != nil {
			return err
		}
	}
	err = concat(c, i, ts, ax)
	c.drop(l.parts...)
	return err
}

// maxTrips bounds a loop that never ends.
const maxTrips = 1 << 31

func opLoop(c *Call) error {
	trips := maxTrips
	if t := c.Arg(0); t != nil {
		n, err := scalarInt(t)
		if err != nil {
			return err
		}
		trips = min(n, maxTrips)
	}
	cond := true
	if t := c.Arg(1); t != nil {
		var err error
		if cond, err = truth(t); err != nil {
			return err
		}
	}
	body := c.st.bodies["body"]
	if body == nil {
		return fmt.Errorf("the body is missing")
	}
	carried := len(body.inputs) - 2
	if carried < 0 || len(c.in) != carried+2 || len(body.outputs) < carried+1 || len(c.Node.Outputs) != len(body.outputs)-1 {
		return fmt.Errorf("%d inputs and %d outputs do not fit a body of %d and %d", len(c.in), len(c.Node.Outputs), len(body.inputs), len(body.outputs))
	}
	state := append([]slot(nil), c.in[2:]...)
	for _, s := range state {
		if s.buf != nil {
			s.buf.refs++
		}
	}
	scans := make([]collected, len(body.outputs)-1-carried)
	for i := 0; i < trips && cond; i++ {
		if err := c.eval.ctx.Err(); err != nil {
			return err
		}
		in := append([]slot{{t: model.Scalar(int64(i))}, {t: model.Scalar(cond)}}, state...)
		outs, err := c.runBody("body", in)
		if err != nil {
			return fmt.Errorf("iteration %d: %w", i, err)
		}
		if cond, err = truth(outs[0].t); err != nil {
			return err
		}
		c.drop(outs[0])
		c.drop(state...)
		copy(state, outs[1:1+carried])
		for k := range scans {
			c.hold(elementBytes)
			scans[k].parts = append(scans[k].parts, outs[1+carried+k])
		}
	}
	c.give(0, state)
	for k := range scans {
		c.arena.away -= int64(len(scans[k].parts) * elementBytes)
		if err := scans[k].stack(c, carried+k, 0, body.outputs[1+carried+k].value); err != nil {
			return err
		}
	}
	return nil
}

// opScan is Scan since opset 9; in opset 8 there is a batch dimension and an input for lengths.
func opScan(c *Call) error {
	body := c.st.bodies["body"]
	if body == nil {
		return fmt.Errorf("the body is missing")
	}
	if c.Opset < 9 {
		return scan8(c, body)
	}
	n := int(c.Node.Int("num_scan_inputs", 0))
	carried := len(c.in) - n
	if n < 1 || carried < 0 || len(body.inputs) != len(c.in) || len(body.outputs) < carried || len(body.outputs) != len(c.Node.Outputs) {
		return fmt.Errorf("%d inputs, %d of them scanned, do not fit a body of %d", len(c.in), n, len(body.inputs))
	}
	k := len(body.outputs) - carried
	lists := map[string][]int{"scan_input_axes": nil, "scan_input_directions": nil, "scan_output_axes": nil, "scan_output_directions": nil}
	for _, name := range sortedKeys(lists) {
		want := n
		if name == "scan_output_axes" || name == "scan_output_directions" {
			want = k
		}
		v := attrInts(c.Node, name)
		if v == nil {
			v = make([]int, want)
		}
		if len(v) != want {
			return fmt.Errorf("%s %v does not fit", name, v)
		}
		lists[name] = v
	}
	ins := make([]*model.Tensor, n)
	axs := make([]int, n)
	trips := -1
	for i := range n {
		t, err := c.Need(carried + i)
		if err != nil {
			return err
		}
		if axs[i], err = axis(lists["scan_input_axes"][i], t.Rank()); err != nil {
			return err
		}
		if trips >= 0 && t.Shape()[axs[i]] != trips {
			return fmt.Errorf("scanned inputs have %d and %d steps", trips, t.Shape()[axs[i]])
		}
		ins[i], trips = t, t.Shape()[axs[i]]
	}
	state, scans, err := scanSteps(c, c.in[:carried], ins, axs, lists["scan_input_directions"], trips, k)
	if err != nil {
		return err
	}
	c.give(0, state)
	for j := range scans {
		if lists["scan_output_directions"][j] == 1 {
			p := scans[j].parts
			for a, b := 0, len(p)-1; a < b; a, b = a+1, b-1 {
				p[a], p[b] = p[b], p[a]
			}
		}
		if err := scans[j].stack(c, carried+j, lists["scan_output_axes"][j], body.outputs[carried+j].value); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(m map[string][]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// scanSteps runs the body over the slices of ins.
func scanSteps(c *Call, first []slot, ins []*model.Tensor, axs, dirs []int, trips, k int) ([]slot, []collected, error) {
	state := append([]slot(nil), first...)
	for _, s := range state {
		if s.buf != nil {
			s.buf.refs++
		}
	}
	scans := make([]collected, k)
	for i := range trips {
		if err := c.eval.ctx.Err(); err != nil {
			return nil, nil, err
		}
		args := append([]slot(nil), state...)
		for j, t := range ins {
			at := i
			if dirs[j] == 1 {
				at = trips - 1 - i
			}
			s, err := sliceAt(t, axs[j], at)
			if err != nil {
				return nil, nil, err
			}
			args = append(args, slot{t: s})
		}
		outs, err := c.runBody("body", args)
		if err != nil {
			return nil, nil, fmt.Errorf("step %d: %w", i, err)
		}
		c.drop(state...)
		copy(state, outs[:len(state)])
		for j := range scans {
			c.hold(elementBytes)
			scans[j].parts = append(scans[j].parts, outs[len(state)+j])
		}
	}
	for j := range scans {
		c.arena.away -= int64(len(scans[j].parts) * elementBytes)
	}
	return state, scans, nil
}

// sliceAt returns a copy of t at position i of axis ax, without that axis.
func sliceAt(t *model.Tensor, ax, i int) (*model.Tensor, error) {
	tmp := &Call{arena: &arena{}, in: []slot{{t: t}}}
	if err := part(tmp, 0, t, ax, i, 1); err != nil {
		return nil, err
	}
	shape := append([]int{}, t.Shape()[:ax]...)
	return tmp.out[0].t.Reshape(append(shape, t.Shape()[ax+1:]...))
}

// scan8 runs Scan of opset 8: inputs are sequence_lens [batch], the steps of each entry, and then states and scanned tensors, all with a
// batch dimension in front. What an entry stacks ends in zeros where others have more steps, as in ONNX Runtime.
func scan8(c *Call, body *Plan) error {
	n := int(c.Node.Int("num_scan_inputs", 0))
	carried := len(c.in) - 1 - n
	if n < 1 || carried < 0 || len(body.inputs) != carried+n || len(body.outputs) < carried || len(body.outputs) != len(c.Node.Outputs) {
		return fmt.Errorf("%d inputs, %d of them scanned, do not fit a body of %d", len(c.in), n, len(body.inputs))
	}
	dirs := attrInts(c.Node, "directions")
	if dirs == nil {
		dirs = make([]int, n)
	}
	first, err := c.Need(1 + carried)
	if err != nil {
		return err
	}
	if first.Rank() < 2 || len(dirs) != n {
		return fmt.Errorf("directions %v do not fit %d scanned inputs of rank %d", dirs, n, first.Rank())
	}
	batch, most, k := first.Shape()[0], first.Shape()[1], len(body.outputs)-carried
	lens := slices.Repeat([]int{most}, batch)
	if t := c.Arg(0); t != nil {
		if lens, err = ints(t); err != nil {
			return err
		}
		if len(lens) != batch || slices.ContainsFunc(lens, func(n int) bool { return n < 0 || n > most }) {
			return fmt.Errorf("sequence_lens %v do not fit a batch of %d with %d steps", lens, batch, most)
		}
	}
	results := make([][]*model.Tensor, len(body.outputs))
	for b := range batch {
		args := make([]*model.Tensor, len(c.in)-1)
		for i := range args {
			t, err := c.Need(1 + i)
			if err != nil {
				return err
			}
			if t.Rank() < 1 || t.Shape()[0] != batch {
				return errShape("input", t, fmt.Sprintf("a batch of %d", batch))
			}
			if args[i], err = sliceAt(t, 0, b); err != nil {
				return err
			}
		}
		init := make([]slot, carried)
		for i := range init {
			init[i] = slot{t: args[i]}
		}
		state, scans, err := scanSteps(c, init, args[carried:], make([]int, n), dirs, lens[b], k)
		if err != nil {
			return err
		}
		for i, s := range state {
			results[i] = append(results[i], s.t)
		}
		for j := range scans {
			tmp := &Call{arena: &arena{}}
			if err := scans[j].stack(tmp, 0, 0, body.outputs[carried+j].value); err != nil {
				return err
			}
			t := tmp.out[0].t
			if lens[b] < most {
				if t, err = longer(c, t, most); err != nil {
					return err
				}
			}
			results[carried+j] = append(results[carried+j], t)
		}
	}
	for i, list := range results {
		var l collected
		for _, t := range list {
			l.parts = append(l.parts, slot{t: t})
		}
		if err := l.stack(c, i, 0, nil); err != nil {
			return err
		}
	}
	return nil
}

// longer returns t with zeros behind its end along the first dimension, up to n, in memory of the call.
func longer(c *Call, t *model.Tensor, n int) (*model.Tensor, error) {
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	shape := append([]int{n}, t.Shape()[1:]...)
	size, err := model.NumElements(shape)
	if err != nil {
		return nil, err
	}
	if size > maxTensorBytes/8 {
		return nil, fmt.Errorf("output of shape %v is too large", shape)
	}
	b := Scratch[uint8](c, t.DType().Size(size))
	clear(b[copy(b, raw):])
	return model.NewTensor(t.DType(), shape, b)
}
