package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// takeSlots returns the empty slots of a run, which giveSlots takes back.
func (p *Plan) takeSlots() *[]slot {
	if vals, ok := p.slots.Get().(*[]slot); ok {
		return vals
	}
	vals := make([]slot, p.nslots)
	return &vals
}

func (p *Plan) giveSlots(vals *[]slot) {
	clear(*vals)
	p.slots.Put(vals)
}

// fed is what a run knows of its inputs. They are looked at in every run, or, once fixed, before the first.
type fed struct {
	in    map[string]any
	fixed bool

	slots      []slot // of Plan.inputs
	distrusted bool
	cut        batchCut
	sig        string // as Plan.signature
}

// fix checks the inputs of runs of p with so many threads and keeps what follows from their types and shapes.
func (f *fed) fix(p *Plan, threads int) error {
	vals := make([]slot, p.nslots)
	if err := p.accept(f.in, vals); err != nil {
		return err
	}
	for _, pi := range p.inputs {
		f.slots = append(f.slots, vals[pi.slot])
	}
	f.fixed, f.distrusted, f.cut, f.sig = true, p.distrusts(f.in), p.cut(f.in, threads), p.signature(f.in, threads)
	return nil
}

// put puts the inputs in the slots of a run of p, checked, and reports whether they do not keep what the passes believe.
func (f *fed) put(p *Plan, vals []slot) (distrusted bool, err error) {
	if !f.fixed {
		err = p.accept(f.in, vals)
		return err == nil && p.distrusts(f.in), err
	}
	for i, pi := range p.inputs {
		vals[pi.slot] = f.slots[i]
	}
	return f.distrusted, nil
}

// cutOf is how the run cuts its batch.
func (f *fed) cutOf(p *Plan, threads int) batchCut {
	if f.fixed {
		return f.cut
	}
	return p.cut(f.in, threads)
}

// signatureOf is the signature of the run.
func (f *fed) signatureOf(p *Plan, threads int) string {
	if f.fixed {
		return f.sig
	}
	return p.signature(f.in, threads)
}

// accept checks the inputs of a run and puts them in its slots.
func (p *Plan) accept(in map[string]any, vals []slot) error {
	for _, pi := range p.inputs {
		v, ok := in[pi.value.Name]
		switch x := v.(type) {
		case *model.Tensor:
			if err := checkInput(pi.value, x); err != nil {
				return err
			}
			vals[pi.slot] = slot{t: x}
		case []*model.Tensor:
			vals[pi.slot] = slot{seq: x, is: isSequence}
		case nil:
			if ok {
				vals[pi.slot] = slot{is: isEmpty}
			} else if !pi.optional {
				return fmt.Errorf("engine: input %q is missing", pi.value.Name)
			}
		default:
			return fmt.Errorf("engine: input %q is a %T", pi.value.Name, v)
		}
	}
	for name := range in {
		if !p.hasInput(name) {
			return fmt.Errorf("engine: the model has no input %q", name)
		}
	}
	return nil
}

// distrusts reports whether the inputs do not keep what their declarations made the passes believe.
func (p *Plan) distrusts(in map[string]any) bool {
	size := func(tr trusted) int {
		t, ok := in[tr.input].(*model.Tensor)
		if !ok || tr.axis >= t.Rank() {
			return -1
		}
		return t.Shape()[tr.axis]
	}
	for _, tr := range p.trusted {
		if _, fed := in[tr.input]; !fed { // an initializer supplies it
			continue
		}
		want := tr.size
		if want < 0 {
			want = size(p.trusted[tr.same])
		}
		if size(tr) != want {
			return true
		}
	}
	return false
}

func (p *Plan) hasInput(name string) bool {
	for _, pi := range p.inputs {
		if pi.value.Name == name {
			return true
		}
	}
	return false
}

// checkInput compares a fed tensor with the declaration: element type and rank; sizes are not trusted.
func checkInput(v *model.Value, t *model.Tensor) error {
	if t == nil {
		return fmt.Errorf("engine: input %q is nil", v.Name)
	}
	if v.Type.Raw != nil {
		return nil
	}
	if d := v.Type.DType; d != model.Invalid && d != t.DType() {
		return fmt.Errorf("engine: input %q has type %s, the model wants %s", v.Name, t.DType(), d)
	}
	if s := v.Type.Shape; s != nil && len(s) != t.Rank() {
		return fmt.Errorf("engine: input %q has shape %v, the model wants rank %d (%s)", v.Name, t.Shape(), len(s), s)
	}
	return nil
}
