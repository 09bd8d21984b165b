package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// attendRule is what varies between the operators of attention.
type attendRule struct {
	scale   float32 // of the scores
	softcap float32 // scores become softcap tanh(scores / softcap); 0 = not
	// mask, if not nil, changes the scores p [rows, n] of queries lo to lo+rows-1 of one head for keys from to from+n-1.
	mask func(b, h, lo, rows, from, n int, p []float32)
	// add, if not nil, makes the softmax that of a graph: scale*score + m is fused, and a row that is -Inf throughout gives NaN
	// instead of zeros. It returns m for query lo, one number per key, and the distance to that of the next query; or nil.
	add func(b, h, lo int) (m []float32, stride int)
	// guard makes rows that are no numbers zero, with add.
	guard bool
	// span, if not nil, bounds the keys that queries lo to lo+rows-1 of entry b see: from <= key < to. Others are not read.
	span func(b, lo, rows int) (from, to int)
	// keep, if not nil, is shown the scores of all keys for queries lo to lo+rows-1: scaled (stage 0), after softcap (1), after
	// the mask (2) and after the softmax (3).
	keep func(stage int64, b, h, lo int, p []float32)
	// sink, if not nil, is one more score per head that takes its share of the softmax and has no value.
	sink []float32
	// out gets the rows of v.d elements of query s of head h of entry b at b*batch + h*head + s*pos.
	out              []float32
	batch, head, pos int
}

const (
	// attentionBlock is the number of queries of one head that one task handles, attentionKeys the number of keys that it
	// scores at a time: the scores of a task stay in the cache, however long the sequence, and the products with the values of a block are one
	// chain (see package kernel), to which keys that are hidden add nothing. Neither depends on the threads, so the bits do not either.
	attentionBlock = 128
	attentionKeys  = 384
)

// attendTask is the scratch of one thread: scores [rows, keys] and the running softmax of the rows.
type attendTask struct{ p, most, sum, factor []float32 }

// attend computes softmax(scale Q K^T, masked) V for every head; K and V may have fewer heads than Q, which then share
// them. The softmax runs over blocks of keys (see kernel.SoftmaxPart), so the memory that it takes does not depend on the
// lengths; results of more than one block differ from those of one by the rounding of a factor for each block.
func (c *Call) attend(q, k, v *headsTensor, r *attendRule) error {
	if k.b != q.b || v.b != q.b || k.h == 0 || v.h != k.h || q.h%k.h != 0 || k.d != q.d || k.s != v.s {
		return fmt.Errorf("queries [%d %d %d %d], keys [%d %d %d %d] and values [%d %d %d %d] do not fit",
			q.b, q.h, q.s, q.d, k.b, k.h, k.s, k.d, v.b, v.h, v.s, v.d)
	}
	if q.b*q.h*q.s*v.d == 0 {
		return nil
	}
	c.NoteISA("attention", int64(q.b*q.h*q.s*k.s)*int64(q.d+v.d), 0)
	// A task is a block of queries of one head. One query of each of the heads that share keys is one task as well.
	group, rows := 1, min(q.s, attentionBlock)
	if q.s == 1 && r.add == nil && r.keep == nil {
		group = q.h / k.h
		rows = group
	}
	keys := min(k.s, attentionKeys)
	if r.keep != nil {
		keys = k.s
	}
	blocks := (q.s + rows - 1) / rows
	tasks := q.b * q.h / group * blocks
	free := make(chan attendTask, min(c.pool.Threads(), tasks))
	for range cap(free) {
		free <- attendTask{Scratch[float32](c, rows*keys), Scratch[float32](c, rows), Scratch[float32](c, rows), Scratch[float32](c, rows)}
	}
	return c.each(tasks, r.time(q, k, v, rows), func(i int) {
		t := <-free
		defer func() { free <- t }()
		at, lo := i/blocks, i%blocks*rows
		n := rows
		if group == 1 {
			n = min(rows, q.s-lo)
		}
		r.block(&t, q, k, v, at/(q.h/group), at%(q.h/group)*group, lo, n, group, keys)
	})
}

// time is that of a block of so many rows on one thread, in nanoseconds: of its calls, of packing its keys and reading its values, and of its products,
// as measured with AVX-512 on an AMD EPYC Zen 4 for one query and 16 to 512 keys, within a third.
func (r *attendRule) time(q, k, v *headsTensor, rows int) int {
	keys := k.s
	if r.span != nil && r.keep == nil {
		keys = 0
		for b := range q.b {
			from, to := r.span(b, 0, q.s)
			keys += max(0, min(to, k.s)-max(from, 0))
		}
		keys = (keys + q.b - 1) / q.b
	}
	return 500 + keys*(q.d+v.d)*(8+rows)/96
}

// block computes queries lo to lo+rows/group-1 of heads h to h+group-1 of entry b, keys of them at a time; with more than
// one head there is one query.
func (r *attendRule) block(t *attendTask, q, k, v *headsTensor, b, h, lo, rows, group, keys int) {
	x, ld, dst, ldc := q.at(b, h)[lo*q.pos:], q.pos, r.out[b*r.batch+h*r.head+lo*r.pos:], r.pos
	if group > 1 {
		ld, ldc = q.head, r.head
	}
	kv := h / (q.h / k.h)
	from, to := 0, k.s
	if r.span != nil && r.keep == nil {
		from, to = r.span(b, lo, rows/group)
		from, to = max(0, min(from, k.s))&^15, min(to, k.s) // whole lanes of the sums
	}
	for j := range rows {
		t.most[j], t.sum[j] = float32(math.Inf(-1)), 0
		if r.sink != nil {
			t.most[j], t.sum[j] = r.sink[h+j*group/rows], 1
		}
	}
	whole := r.add != nil && to-from <= keys // the softmax of the graph, bit for bit
	for at := from; at < to; at += keys {
		n := min(keys, to-at)
		p := t.p[:rows*n]
		r.scores(p, x, ld, k, b, h, kv, lo, rows, group, at, n)
		scale, mask, stride := float32(1), []float32(nil), 0
		if r.add != nil {
			scale = r.scale
			if mask, stride = r.add(b, h, lo); mask != nil {
				mask = mask[at:]
			}
		}
		switch {
		case whole && mask != nil && stride == 0:
			kernel.SoftmaxRows(p, p, rows, n, scale, mask[:n])
		case whole && mask != nil:
			kernel.SoftmaxRows(p, p, rows, n, scale, mask[:rows*n])
		case whole:
			kernel.SoftmaxRows(p, p, rows, n, scale, nil)
		default:
			kernel.SoftmaxPart(p, rows, n, scale, mask, stride, t.most, t.sum, t.factor)
		}
		if whole && r.guard {
			for j := range rows {
				if row := p[j*n:][:n]; row[0] != row[0] {
					clear(row)
				}
			}
		}
		if r.keep != nil {
			for j := range rows {
				t.normalise(p[j*n:(j+1)*n], j, false)
			}
			r.keep(3, b, h, lo, p)
		}
		if at > from {
			for j := range rows {
				if f := t.factor[j]; f != 1 {
					kernel.MulS(dst[j*ldc:][:v.d], dst[j*ldc:][:v.d], f)
				}
			}
		}
		kernel.MatMulF32(nil, rows, v.d, n, p, n, false, v.at(b, kv)[at*v.pos:], v.pos, false, dst, ldc, kernel.Epilogue{Accumulate: at > from})
	}
	for j := range rows {
		switch row := dst[j*ldc:][:v.d]; {
		case from >= to:
			clear(row)
		case !whole && r.keep == nil:
			t.normalise(row, j, r.add != nil && !r.guard)
			if r.guard && t.sum[j] != t.sum[j] {
				clear(row)
			}
		}
	}
}

// scores sets p [rows, n] to the scores of keys at to at+n-1, all but what add does.
func (r *attendRule) scores(p, x []float32, ld int, k *headsTensor, b, h, kv, lo, rows, group, at, n int) {
	ep := kernel.Epilogue{}
	if r.add == nil {
		ep.Alpha = r.scale
	}
	keep := func(stage int64) {
		if r.keep != nil {
			r.keep(stage, b, h, lo, p)
		}
	}
	kernel.MatMulF32(nil, rows, n, k.d, x, ld, false, k.at(b, kv)[at*k.pos:], k.pos, true, p, n, ep)
	keep(0)
	if r.softcap > 0 {
		kernel.MulS(p, p, 1/r.softcap)
		kernel.Tanh(p, p)
		kernel.MulS(p, p, r.softcap)
	}
	keep(1)
	if r.mask != nil {
		for g, each := 0, rows/group; g < group; g++ {
			r.mask(b, h+g, lo, each, at, n, p[g*each*n:(g+1)*each*n])
		}
	}
	keep(2)
}

// normalise divides what belongs to row j by the sum of its exponentials; where that is empty, it is zero or NaN.
func (t *attendTask) normalise(x []float32, j int, nan bool) {
	switch s := t.sum[j]; {
	case s != 0:
		kernel.MulS(x, x, 1/s)
	case nan:
		kernel.MulS(x, x, float32(math.NaN()))
	default:
		clear(x)
	}
}

// spread returns the heads of a tensor [B, S, heads, size] or of a part of a packed one: row elements per position,
// of which those from offset on are the heads, gap elements apart.
func spread(v []float32, b, s, heads, size, row, offset, gap int) headsTensor {
	return headsTensor{v: v[min(offset, len(v)):], b: b, h: heads, s: s, d: size, batch: s * row, head: gap, pos: row, packed: row}
}

// biased returns a copy of t [B, S, heads, size] with bias [heads*size] added.
func (t *headsTensor) biased(c *Call, bias []float32) headsTensor {
	w := t.h * t.d
	out := spread(Scratch[float32](c, t.b*t.s*w), t.b, t.s, t.h, t.d, w, 0, t.d)
	for b := range t.b {
		for h := range t.h {
			src := t.at(b, h)
			for s := range t.s {
				kernel.Add(out.v[b*out.batch+h*out.head+s*w:][:t.d], src[s*t.pos:][:t.d], bias[h*t.d:(h+1)*t.d])
			}
		}
	}
	return out
}

// scoreBias returns a function that gives the row of a bias [1|B, 1|H, 1|S, K] for query s of head h of entry b.
func scoreBias(t *model.Tensor, b, h, s, k int) (func(b, h, s int) []float32, error) {
	want := []int{b, h, s, k}
	if t.Rank() != 4 || t.Shape()[3] != k {
		return nil, errShape("attention_bias", t, fmt.Sprintf("one that broadcasts to %v", want))
	}
	for i, d := range t.Shape()[:3] {
		if d != 1 && d != want[i] {
			return nil, errShape("attention_bias", t, fmt.Sprintf("one that broadcasts to %v", want))
		}
	}
	v, err := model.Data[float32](t)
	if err != nil {
		return nil, err
	}
	str := broadcastStrides(t.Shape(), want)
	return func(b, h, s int) []float32 { return v[b*str[0]+h*str[1]+s*str[2]:][:k] }, nil
}

// rotary sets dst to x with the first 2 len(cos row) elements of every head turned by the angles of its position;
// cos and sin are [positions, half].
func rotary(dst []float32, x *headsTensor, cos, sin []float32, half int, interleaved bool, position func(b, s int) int) error {
	for b := range x.b {
		for s := range x.s {
			row := position(b, s)
			if row < 0 || half > 0 && row >= min(len(cos), len(sin))/half {
				return fmt.Errorf("position %d is outside of the cache", row)
			}
			co, si := cos[row*half:][:half], sin[row*half:][:half]
			for h := range x.h {
				at := b*x.batch + h*x.head + s*x.pos
				src, to := x.v[at:][:x.d], dst[at:][:x.d]
				copy(to, src)
				for j, a := range co {
					p, q := j, half+j
					if interleaved {
						p, q = 2*j, 2*j+1
					}
					u, z := src[p], src[q]
					to[p], to[q] = a*u-si[j]*z, si[j]*u+a*z
				}
			}
		}
	}
	return nil
}
