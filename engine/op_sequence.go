package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// sequenceOps work on sequences of tensors and on optionals.
func sequenceOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"SequenceEmpty": plain(opSequenceEmpty), "SequenceConstruct": plain(opSequenceConstruct),
		"SequenceInsert": plain(opSequenceInsert), "SequenceErase": plain(opSequenceErase), "SequenceAt": plain(opSequenceAt),
		"SequenceLength": plain(opSequenceLength), "ConcatFromSequence": plain(opConcatFromSequence),
		"SplitToSequence": plain(opSplitToSequence), "Optional": plain(opOptional),
		"OptionalHasElement": plain(opOptionalHasElement), "OptionalGetElement": plain(opOptionalGetElement),
	})
}

// Seq returns input i as a sequence.
func (c *Call) Seq(i int) ([]*model.Tensor, error) {
	if i < len(c.in) && c.in[i].is == isSequence {
		return c.in[i].seq, nil
	}
	return nil, fmt.Errorf("input %d is no sequence", i)
}

// elementBytes is what an element of a sequence costs beside its values: its header, shape and place in lists.
const elementBytes = 256

// hold counts bytes that the run keeps outside of the recycled memory. It panics with an error that wraps ErrMemory, which
// becomes that of the operator.
func (c *Call) hold(bytes int) {
	if err := c.arena.room(bytes); err != nil {
		panic(err)
	}
	c.arena.away += int64(bytes)
}

// SetSeq makes a sequence output i. Its tensors leave the recycled memory for good, and count until the run ends.
func (c *Call) SetSeq(i int, seq []*model.Tensor) {
	longest := 0
	for _, in := range c.in {
		longest = max(longest, len(in.seq))
	}
	if n := len(seq) - longest; n > 0 {
		c.hold(n * elementBytes)
	}
	for _, t := range seq {
		p := base(t)
		if p == nil {
			continue
		}
		for _, s := range c.in {
			if s.buf != nil && s.buf.holds(p) {
				c.arena.giveAway(s.buf)
			}
		}
	}
	c.put(i, slot{seq: seq, is: isSequence})
}

func opSequenceEmpty(c *Call) error {
	c.SetSeq(0, []*model.Tensor{})
	return nil
}

func opSequenceConstruct(c *Call) error {
	seq := []*model.Tensor{}
	for i := range c.In {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		seq = append(seq, t)
	}
	c.SetSeq(0, seq)
	return nil
}

// position reads an optional index into a sequence of n places.
func (c *Call) position(i, def, n int) (int, error) {
	t := c.Arg(i)
	if t == nil {
		return def, nil
	}
	v, err := scalarInt(t)
	if err != nil {
		return 0, err
	}
	return index(v, n)
}

func opSequenceInsert(c *Call) error {
	seq, err := c.Seq(0)
	if err != nil {
		return err
	}
	t, err := c.Need(1)
	if err != nil {
		return err
	}
	at := len(seq)
	if p := c.Arg(2); p != nil {
		if at, err = scalarInt(p); err != nil {
			return err
		}
		if at < 0 {
			at += len(seq)
		}
		if at < 0 || at > len(seq) {
			return fmt.Errorf("position %d is outside of a sequence of %d", at, len(seq))
		}
	}
	out := append(append(append([]*model.Tensor{}, seq[:at]...), t), seq[at:]...)
	c.SetSeq(0, out)
	return nil
}

func opSequenceErase(c *Call) error {
	seq, err := c.Seq(0)
	if err != nil {
		return err
	}
	at, err := c.position(1, len(seq)-1, len(seq))
	if err != nil {
		return err
	}
	if at < 0 {
		return fmt.Errorf("the sequence is empty")
	}
	c.SetSeq(0, append(append([]*model.Tensor{}, seq[:at]...), seq[at+1:]...))
	return nil
}

func opSequenceAt(c *Call) error {
	seq, err := c.Seq(0)
	if err != nil {
		return err
	}
	at, err := c.position(1, 0, len(seq))
	if err != nil {
		return err
	}
	c.Set(0, seq[at])
	return nil
}

func opSequenceLength(c *Call) error {
	seq, err := c.Seq(0)
	if err != nil {
		return err
	}
	c.Set(0, model.Scalar(int64(len(seq))))
	return nil
}

func opConcatFromSequence(c *Call) error {
	seq, err := c.Seq(0)
	if err != nil {
		return err
	}
	if len(seq) == 0 {
		return fmt.Errorf("the sequence is empty")
	}
	a := int(c.Node.Int("axis", 0))
	if c.Node.Int("new_axis", 0) != 0 {
		l := &collected{}
		for _, t := range seq {
			l.parts = append(l.parts, slot{t: t})
		}
		return l.stack(c, 0, a, nil)
	}
	ax, err := axis(a, seq[0].Rank())
	if err != nil {
		return err
	}
	return concat(c, 0, seq, ax)
}

func opSplitToSequence(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(0, x.Rank())
	if err != nil {
		return err
	}
	n := x.Shape()[ax]
	var sizes []int
	squeeze := false
	if t := c.Arg(1); t != nil {
		if sizes, err = ints(t); err != nil {
			return err
		}
		if t.Rank() == 0 {
			size := sizes[0]
			if size < 1 {
				return fmt.Errorf("parts of size %d", size)
			}
			sizes = sizes[:0]
			for at := 0; at < n; at += size {
				sizes = append(sizes, min(size, n-at))
			}
		}
	} else {
		squeeze = c.Node.Int("keepdims", 1) == 0
		for range n {
			sizes = append(sizes, 1)
		}
	}
	seq, at := []*model.Tensor{}, 0
	for _, s := range sizes {
		if s < 0 || at+s > n {
			return fmt.Errorf("sizes %v do not fit %d", sizes, n)
		}
		tmp := &Call{arena: &arena{}, in: c.in}
		if err := part(tmp, 0, x, ax, at, s); err != nil {
			return err
		}
		t := tmp.out[0].t
		if squeeze {
			shape := append([]int{}, t.Shape()[:ax]...)
			if t, err = t.Reshape(append(shape, t.Shape()[ax+1:]...)); err != nil {
				return err
			}
		}
		seq = append(seq, t)
		at += s
	}
	c.SetSeq(0, seq)
	return nil
}

func opOptional(c *Call) error {
	if len(c.in) == 0 || c.In[0] == nil && c.in[0].is == isTensor {
		c.put(0, slot{is: isEmpty})
		return nil
	}
	c.pass(0, c.in[0])
	return nil
}

func opOptionalHasElement(c *Call) error {
	has := len(c.in) > 0 && c.in[0].is != isEmpty && (c.in[0].t != nil || c.in[0].is == isSequence)
	c.Set(0, model.Scalar(has))
	return nil
}

func opOptionalGetElement(c *Call) error {
	if len(c.in) == 0 || c.in[0].is == isEmpty || c.in[0].t == nil && c.in[0].is == isTensor {
		return fmt.Errorf("the optional has no value")
	}
	c.pass(0, c.in[0])
	return nil
}
