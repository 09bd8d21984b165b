package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// attendRule is what varies between the operators of attention.
type attendRule struct {
	scale   float32
	softcap float32 // scores become softcap tanh(scores / softcap); 0 = not
	// mask, if not nil, changes the scores p [rows, keys] of queries lo to lo+rows-1 of one head.
	mask func(b, h, lo, rows int, p []float32)
	// sink, if not nil, is one more score per head that takes its share of the softmax and has no value.
	sink []float32
	// out gets the rows of v.d elements of query s of head h of entry b at b*batch + h*head + s*pos.
	out              []float32
	batch, head, pos int
}

// attend computes softmax(scale Q K^T, masked) V for every head; K and V may have fewer heads than Q, which then share
// them. Rows whose scores are all -Inf give zeros. A block of queries at a time keeps the scores in the cache; the block
// does not depend on the threads, so the bits do not either.
func (c *Call) attend(q, k, v *headsTensor, r *attendRule) error {
	if k.b != q.b || v.b != q.b || k.h == 0 || v.h != k.h || q.h%k.h != 0 || k.d != q.d || k.s != v.s {
		return fmt.Errorf("queries [%d %d %d %d], keys [%d %d %d %d] and values [%d %d %d %d] do not fit",
			q.b, q.h, q.s, q.d, k.b, k.h, k.s, k.d, v.b, v.h, v.s, v.d)
	}
	if q.b*q.h*q.s*v.d == 0 {
		return nil
	}
	c.Note("attention-"+kernel.Active().String(), int64(q.b*q.h*q.s*k.s)*int64(q.d+v.d), 0)
	block := min(q.s, attentionBlock)
	blocks := (q.s + block - 1) / block
	threads := min(c.pool.Threads(), q.b*q.h*blocks)
	free := make(chan []float32, threads)
	for range threads {
		free <- Scratch[float32](c, max(1, block*k.s))
	}
	c.pool.Run(q.b*q.h*blocks, func(i int) {
		buf := <-free
		defer func() { free <- buf }()
		at, lo := i/blocks, i%blocks*block
		b, h := at/q.h, at%q.h
		rows, kv := min(block, q.s-lo), h/(q.h/k.h)
		p := buf[:rows*k.s]
		dst := r.out[b*r.batch+h*r.head+lo*r.pos:]
		if k.s == 0 {
			for j := range rows {
				clear(dst[j*r.pos : j*r.pos+v.d])
			}
			return
		}
		kernel.MatMulF32(nil, rows, k.s, q.d, q.at(b, h)[lo*q.pos:], q.pos, false, k.at(b, kv), k.pos, true, p, k.s, kernel.Epilogue{Alpha: r.scale})
		if r.softcap > 0 {
			kernel.MulS(p, p, 1/r.softcap)
			kernel.Tanh(p, p)
			kernel.MulS(p, p, r.softcap)
		}
		if r.mask != nil {
			r.mask(b, h, lo, rows, p)
		}
		if r.sink != nil {
			for j := range rows {
				softmaxSink(p[j*k.s:(j+1)*k.s], r.sink[h])
			}
		} else {
			softmaxMasked(p, rows, k.s)
		}
		kernel.MatMulF32(nil, rows, v.d, k.s, p, k.s, false, v.at(b, kv), v.pos, false, dst, r.pos, kernel.Epilogue{})
	})
	return nil
}

// softmaxSink is the softmax of a row that has one more element, sink, which is not kept.
func softmaxSink(p []float32, sink float32) {
	most := sink
	for _, v := range p {
		most = max(most, v)
	}
	sum := math.Exp(float64(sink - most))
	for i, v := range p {
		e := math.Exp(float64(v - most))
		p[i] = float32(e)
		sum += e
	}
	kernel.MulS(p, p, float32(1/sum))
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

// joined writes past [B, H, before, D] (nil when before is 0) and then n rows of every head of t to dst
// [B, H, length, D] and returns dst as heads of before+n positions.
func (t *headsTensor) joined(dst, past []float32, before, pastLen, n, length int) headsTensor {
	for b := range t.b {
		for h := range t.h {
			at := (b*t.h + h)
			d := dst[at*length*t.d:]
			if before > 0 {
				copy(d[:before*t.d], past[at*pastLen*t.d:])
			}
			src := t.at(b, h)
			for s := range n {
				copy(d[(before+s)*t.d:][:t.d], src[s*t.pos:])
			}
		}
	}
	return headsTensor{v: dst, b: t.b, h: t.h, s: before + n, d: t.d, batch: t.h * length * t.d, head: length * t.d, pos: t.d}
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
