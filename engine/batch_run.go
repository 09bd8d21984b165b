package engine

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

const (
	// sliceRows is the number of rows that the products of a slice of a batch have at least, on the average: with fewer, reading the weights for
	// every slice costs more than is won by values that stay in the cache.
	sliceRows = 96
	// sliceMACs is the work that a slice has at least: about a millisecond of one core, a hundred times what its steps cost beside.
	sliceMACs = 32_000_000
)

// batchCut is a batch of so many entries in slices.
type batchCut struct {
	entries, slices int
	aside           int // of the slices, those that run side by side, one thread each
}

// at returns the first entry of a slice.
func (c batchCut) at(slice int) int { return slice * c.entries / c.slices }

// cut returns how a run cuts its batch; slices is 0 where it does not.
func (p *Plan) cut(in map[string]any, threads int) batchCut {
	if p.batch == nil || len(p.batch.works) == 0 {
		return batchCut{}
	}
	n := 0
	for _, pi := range p.inputs {
		if _, fed := in[pi.value.Name]; pi.optional && !fed {
			continue
		}
		t, ok := in[pi.value.Name].(*model.Tensor)
		if !ok || pi.optional || t.Rank() == 0 || t.DType() == model.String || t.DType().Bits()%8 != 0 || n > 0 && t.Shape()[0] != n {
			return batchCut{}
		}
		n = t.Shape()[0]
	}
	weights, macs := 0.0, 0.0 // of one entry
	for _, w := range p.batch.works {
		rows := float64(w.times)
		for _, d := range w.sizes {
			rows *= float64(in[d.input].(*model.Tensor).Shape()[d.axis])
		}
		weights += float64(w.weights)
		macs += float64(w.weights) * rows
	}
	all := macs * float64(n)
	k := int(min(float64(n), all/weights/p.batch.least.rows, all/p.batch.least.macs))
	if k < max(2, threads) {
		return batchCut{}
	}
	return batchCut{entries: n, slices: k, aside: k / threads * threads}
}

// sliced is one run of a plan on the slices of its batch.
type sliced struct {
	p    *Plan
	cut  batchCut
	ctx  context.Context
	in   map[string]any
	most int64 // bytes that the values of a slice may take, and the outputs

	whole atomic.Bool // the batch is to run in one piece

	profiles []sliceProfile // by slice, nil unless the plan is profiled

	mu   sync.Mutex
	outs []*model.Tensor // of the whole batch
	old  []*model.Tensor // of an earlier one, whose memory may be written; nil for none
	size int64
}

// errWhole says that a batch is to run in one piece.
var errWhole = errors.New("the batch cannot be cut")

// runSliced runs the plan on the slices of the batch: a multiple of the threads side by side, and what is left of them one by one on all threads. An
// entry sees no other, so that the bits are those of the whole; what a thread has of one slice stays in its cache. Where the memory for that
// is not there, the error is errWhole.
func (p *Plan) runSliced(ctx context.Context, pool *kernel.Pool, in map[string]any, k batchCut, kp *kept) ([]slot, error) {
	threads := pool.Threads()
	s := &sliced{p: p, cut: k, ctx: ctx, in: in, most: p.memory / int64(threads+1), outs: make([]*model.Tensor, len(p.outputs)), old: kp.take()}
	if p.opts.Profile {
		s.profiles = make([]sliceProfile, k.slices)
	}
	alone := pool.Alone()
	errs := make([]error, k.slices)
	start := time.Now()
	pool.Run(k.aside, func(i int) { errs[i] = s.try(i, alone) })
	side := time.Since(start)
	for i := k.aside; i < k.slices; i++ {
		errs[i] = s.try(i, pool)
	}
	if err := ctx.Err(); err != nil { // slices may have been left out
		return nil, err
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	p.side.Store(int32(threads))
	if s.profiles != nil {
		addProfiles(s.profiles[:k.aside], side)
		addProfiles(s.profiles[k.aside:], math.MaxInt64)
		s.profiles[0].addCalls()
	}
	outs := make([]slot, len(s.outs))
	for i, t := range s.outs {
		outs[i].t = t
	}
	if kp != nil {
		kp.sliced = s.outs
	}
	return outs, nil
}

// try is slice, with the error errWhole where that is out of memory: slices that have not begun then are left out.
func (s *sliced) try(i int, pool *kernel.Pool) error {
	if s.whole.Load() {
		return errWhole
	}
	err := s.slice(i, pool)
	if errors.Is(err, ErrMemory) || errors.Is(err, errWhole) {
		s.whole.Store(true)
		return errWhole
	}
	return err
}

// slice runs slice i and copies its outputs to their places.
func (s *sliced) slice(i int, pool *kernel.Pool) error {
	p, lo, hi := s.p, s.cut.at(i), s.cut.at(i+1)
	mem, in := p.takeSlots(), make(map[string]any, len(s.in))
	defer p.giveSlots(mem)
	vals := *mem
	for _, pi := range p.inputs {
		t, ok := s.in[pi.value.Name].(*model.Tensor)
		if !ok {
			continue
		}
		t, err := entriesOf(t, lo, hi)
		if err != nil {
			return err
		}
		vals[pi.slot], in[pi.value.Name] = slot{t: t}, t
	}
	a, sig := p.acquire(s.most), "/"+p.signature(in, pool.Threads()) // its outputs do not leave it
	p.begin(a, sig)
	e := a.eval(s.ctx, pool)
	if s.profiles != nil {
		e.profile, e.slice = true, &s.profiles[i]
		e.slice.entries, e.slice.of = hi-lo, s.cut.entries
	}
	start := time.Now()
	outs, err := p.exec(e, vals)
	if err != nil {
		return err
	}
	if e.slice != nil {
		e.slice.took = time.Since(start)
	}
	for j, o := range outs {
		if err := s.put(j, o.t, lo, hi); err != nil {
			return err
		}
		if o.buf != nil {
			a.release(o.buf)
		}
	}
	p.finish(a, sig, in)
	p.giveBack(a)
	return nil
}

// put copies output j of entries lo to hi-1 to its place.
func (s *sliced) put(j int, t *model.Tensor, lo, hi int) error {
	if t == nil || t.Rank() == 0 || t.Shape()[0] != hi-lo || t.DType() == model.String || t.DType().Bits()%8 != 0 {
		return errWhole
	}
	whole, err := s.output(j, t)
	if err != nil {
		return err
	}
	part, err := entriesOf(whole, lo, hi)
	if err != nil {
		return err
	}
	if part.DType() != t.DType() || !sameShape(part.Shape(), t.Shape()) {
		return errWhole
	}
	dst, err := part.Bytes()
	if err != nil {
		return err
	}
	src, err := t.Bytes()
	if err != nil {
		return err
	}
	copy(dst, src)
	return nil
}

// output returns output j of the whole batch, of which t is a part.
func (s *sliced) output(j int, t *model.Tensor) (*model.Tensor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outs[j] != nil {
		return s.outs[j], nil
	}
	shape := append([]int{s.cut.entries}, t.Shape()[1:]...)
	n, err := model.NumElements(shape)
	if err != nil {
		return nil, err
	}
	if s.size += int64(t.DType().Size(n)); s.size > s.most {
		return nil, errWhole
	}
	if s.old != nil && s.old[j] != nil && s.old[j].DType() == t.DType() && sameShape(s.old[j].Shape(), shape) {
		s.outs[j] = s.old[j]
		return s.outs[j], nil
	}
	s.outs[j], err = model.NewTensor(t.DType(), shape, make([]byte, t.DType().Size(n)))
	return s.outs[j], err
}

// entriesOf returns entries lo to hi-1 along dimension 0 of a tensor, in its memory.
func entriesOf(t *model.Tensor, lo, hi int) (*model.Tensor, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	shape := append([]int{hi - lo}, t.Shape()[1:]...)
	each := len(b) / t.Shape()[0]
	return model.NewTensor(t.DType(), shape, b[lo*each:hi*each])
}
