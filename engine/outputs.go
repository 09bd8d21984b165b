package engine

import (
	"fmt"
	"unsafe"

	"github.com/wattshed/wattshed/model"
)

// tensorOf returns output i of a run, an error where it is no tensor.
func (p *Plan) tensorOf(i int, o slot) (*model.Tensor, error) {
	if o.is != isTensor || o.t == nil {
		return nil, fmt.Errorf("engine: output %q is no tensor: %w", p.outputs[i].value.Name, model.ErrUnsupported)
	}
	return o.t, nil
}

// valueOf is a value as Plan.Exec returns it.
func valueOf(o slot) any {
	switch o.is {
	case isSequence:
		return o.seq
	case isEmpty:
		return nil
	}
	return o.t
}

// ownOutput returns output o of a run as a tensor that is the caller's: what lies neither in memory that the run made nor in an input may be
// a constant of the model, in a file that Close unmaps, and is copied. What an operator owns (see model.NewOwned) is no constant. The elements
// of a sequence are looked at one by one.
func (p *Plan) ownOutput(a *arena, o slot, in map[string]any) (slot, error) {
	var err error
	switch {
	case o.is == isTensor && o.buf == nil && o.t != nil && o.t.Owner() == nil && !passedOn(o.t, in):
		o.t, err = a.duplicate(o.t)
	case o.is == isSequence:
		seq := o.seq
		for i, t := range seq {
			if !p.filed(t) || passedOn(t, in) {
				continue
			}
			if &seq[0] == &o.seq[0] { // it may be a value of the caller's
				seq = append([]*model.Tensor(nil), o.seq...)
			}
			if seq[i], err = a.duplicate(t); err != nil {
				break
			}
		}
		o.seq = seq
	}
	return o, err
}

// passedOn reports whether a tensor is an input or lies in the memory of one.
func passedOn(t *model.Tensor, in map[string]any) bool {
	at := base(t)
	same := func(x *model.Tensor) bool {
		if x == t {
			return true
		}
		from := base(x)
		return at != nil && from != nil && uintptr(at) >= uintptr(from) && uintptr(at) < uintptr(from)+uintptr(x.ByteSize())
	}
	for _, v := range in {
		switch x := v.(type) {
		case *model.Tensor:
			if same(x) {
				return true
			}
		case []*model.Tensor:
			for _, e := range x {
				if same(e) {
					return true
				}
			}
		}
	}
	return false
}

// filed reports whether a tensor lies in a file of the model's, or is decoded from one.
func (p *Plan) filed(t *model.Tensor) bool {
	if t == nil {
		return false
	}
	if t.Mapping() != nil {
		return true
	}
	at := uintptr(base(t))
	for _, m := range p.files {
		b := m.Bytes()
		if from := uintptr(unsafe.Pointer(unsafe.SliceData(b))); at != 0 && at >= from && at < from+uintptr(len(b)) {
			return true
		}
	}
	return false
}

// duplicate returns a tensor in memory of its own, which counts as given away.
func (a *arena) duplicate(t *model.Tensor) (*model.Tensor, error) {
	if t.DType() != model.String {
		if err := a.room(t.ByteSize()); err != nil {
			return nil, err
		}
		a.away += int64(t.ByteSize())
	}
	return copyOf(t)
}

// copyOf returns a tensor in memory of its own.
func copyOf(t *model.Tensor) (*model.Tensor, error) {
	if t.DType() == model.String {
		s, err := t.Strings()
		if err != nil {
			return nil, err
		}
		return model.NewStrings(t.Shape(), append([]string(nil), s...))
	}
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	return model.NewTensor(t.DType(), t.Shape(), append(make([]byte, 0, len(b)), b...))
}
