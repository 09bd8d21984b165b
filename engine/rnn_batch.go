package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// byBatch runs a recurrent operator on a part of the batch in every thread, whole sequences each, where there is enough work. A
// row of a product never depends on the others, so the bits are those of one thread.
func byBatch(f OpFunc, gates int) OpFunc {
	return func(c *Call) error {
		x, r := c.Arg(0), c.Arg(2)
		if x == nil || r == nil || x.Rank() != 3 || r.Rank() != 3 || c.Node.Int("layout", 0) != 0 || c.pool.Threads() == 1 {
			return f(c)
		}
		t, b, i, h := x.Shape()[0], x.Shape()[1], x.Shape()[2], r.Shape()[2]
		parts := min(b, c.pool.Threads(), t*b*gates*h*(i+h)/forkRecurrence)
		if parts < 2 {
			return f(c)
		}
		most := c.arena.most
		if most > 0 {
			most = max(1, (most-c.arena.held-c.arena.away)/int64(parts))
		}
		subs := make([]*Call, parts)
		for p := range subs {
			s := &Call{Node: c.Node, Opset: c.Opset, st: c.st, arena: &arena{most: most}}
			for k, in := range c.In {
				part, err := batchPart(in, k, p*b/parts, (p+1)*b/parts, b)
				if err != nil {
					return err
				}
				s.In, s.in = append(s.In, part), append(s.in, slot{t: part})
			}
			subs[p] = s
		}
		errs := make([]error, parts)
		c.pool.Run(parts, func(p int) { errs[p] = f(subs[p]) })
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return c.joinBatch(subs, b)
	}
}

// batchPart returns batch entries lo to hi of input k of a recurrent operator: X [T, B, I], sequence_lens [B] and
// initial_h [D, B, H] have them, the other inputs are for all.
func batchPart(in *model.Tensor, k, lo, hi, b int) (*model.Tensor, error) {
	axis := map[int]int{0: 1, 4: 0, 5: 1}
	ax, ok := axis[k]
	if in == nil || !ok {
		return in, nil
	}
	shape := append([]int{}, in.Shape()...)
	if len(shape) <= ax || shape[ax] != b {
		return nil, errShape(fmt.Sprintf("input %d", k), in, fmt.Sprintf("%d batch entries", b))
	}
	shape[ax] = hi - lo
	src, err := elemsOf(in)
	if err != nil {
		return nil, err
	}
	if src.size == 0 {
		return nil, typeError(in)
	}
	raw := make([]byte, product(shape)*src.size)
	copyBatch(elems{b: raw, size: src.size}, src, in.Shape(), ax, lo, hi, false)
	return model.NewTensor(in.DType(), shape, raw)
}

// copyBatch copies entries lo to hi along an axis of the whole to a part, or back.
func copyBatch(part, whole elems, shape []int, ax, lo, hi int, back bool) {
	inner := product(shape[ax+1:])
	n := (hi - lo) * inner
	for o := range product(shape[:ax]) {
		at := (o*shape[ax] + lo) * inner
		if back {
			whole.copy(at, part, o*n, n)
		} else {
			part.copy(o*n, whole, at, n)
		}
	}
}

// joinBatch puts the outputs of the parts together: Y [T, D, B, H] and Y_h [D, B, H].
func (c *Call) joinBatch(subs []*Call, b int) error {
	parts := len(subs)
	for i := range 2 {
		if !c.Wants(i) {
			continue
		}
		ax := 2 - i
		for p, s := range subs {
			if i >= len(s.out) || s.out[i].t == nil || s.out[i].t.Rank() <= ax {
				return fmt.Errorf("output %d was not made", i)
			}
			y := s.out[i].t
			shape := append([]int{}, y.Shape()...)
			shape[ax] = b
			if p == 0 {
				if _, err := c.Alloc(i, y.DType(), shape); err != nil {
					return err
				}
			}
			whole, err := elemsOf(c.out[i].t)
			if err != nil {
				return err
			}
			part, err := elemsOf(y)
			if err != nil {
				return err
			}
			copyBatch(part, whole, shape, ax, p*b/parts, (p+1)*b/parts, true)
		}
	}
	c.Note("recurrence-"+kernel.Active().String(), subs[0].seen.macs*int64(parts), subs[0].seen.bytes)
	return nil
}
