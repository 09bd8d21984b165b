package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// eval is one run of a plan: what its steps share.
type eval struct {
	ctx     context.Context
	pool    *kernel.Pool
	arena   *arena
	profile bool
	watch   *Watch
	slice   *sliceProfile // of a run on a slice of a batch, nil for others
}

// eval returns what the steps of a run on this arena share.
func (a *arena) eval(ctx context.Context, pool *kernel.Pool) *eval {
	a.run = eval{ctx: ctx, pool: pool, arena: a}
	return &a.run
}

// call returns a Call for a step.
func (e *eval) call(s *step) *Call {
	var c *Call
	if n := len(e.arena.calls); n > 0 {
		c, e.arena.calls = e.arena.calls[n-1], e.arena.calls[:n-1]
	} else {
		c = &Call{In: make([]*model.Tensor, 0, 8), in: make([]slot, 0, 8), out: make([]slot, 0, 4)}
	}
	c.Node, c.Opset, c.st, c.arena, c.pool, c.eval = s.node, s.opset, s, e.arena, e.pool, e
	return c
}

// done takes back a Call whose step is over.
func (e *eval) done(c *Call) {
	clear(c.In)
	clear(c.in)
	clear(c.out)
	clear(c.bufs)
	*c = Call{In: c.In[:0], in: c.in[:0], out: c.out[:0], bufs: c.bufs[:0], work: c.work[:0]}
	e.arena.calls = append(e.arena.calls, c)
}

// exec computes the outputs of the plan. vals has nslots entries, with inputs and captures filled in; the outputs
// returned hold references to their buffers, which the caller takes over.
func (p *Plan) exec(e *eval, vals []slot) ([]slot, error) {
	for _, c := range p.consts {
		if vals[c.slot].t == nil && vals[c.slot].is == isTensor {
			vals[c.slot] = slot{t: c.t}
		}
	}
	done := e.ctx.Done()
	for _, s := range p.steps {
		if done != nil {
			select {
			case <-done:
				return nil, e.ctx.Err()
			default:
			}
		}
		if err := e.step(s, vals); err != nil {
			return nil, fmt.Errorf("%s: %w", s.node, err)
		}
	}
	outs := make([]slot, len(p.outputs))
	for i, o := range p.outputs {
		outs[i] = vals[o.slot]
		if b := outs[i].buf; b != nil {
			b.refs++
		}
	}
	for _, o := range p.outputs {
		if b := vals[o.slot].buf; b != nil {
			e.arena.release(b)
			vals[o.slot].buf = nil
		}
	}
	return outs, nil
}

// step runs one node and frees what dies with it.
func (e *eval) step(s *step, vals []slot) error {
	c := e.call(s)
	for _, i := range s.in {
		var v slot
		if i >= 0 {
			v = vals[i]
		}
		c.in = append(c.in, v)
		c.In = append(c.In, v.t)
	}
	if s.bodies != nil {
		for _, b := range s.bodies {
			for _, cp := range b.captures {
				c.captured(cp, vals)
			}
		}
	}
	var start time.Time
	if e.profile {
		start = time.Now()
	}
	if err := c.invoke(s.def); err != nil {
		return err
	}
	if e.pool.Stopped() {
		return e.ctx.Err()
	}
	if s.watch != nil {
		if err := s.show(e.watch, c); err != nil {
			return err
		}
	}
	if e.profile {
		e.ran(s, time.Since(start), c.seen)
	}
	for i, o := range s.out {
		if i < len(c.out) {
			if o >= 0 {
				vals[o] = c.out[i]
				continue
			}
			if b := c.out[i].buf; b != nil {
				e.arena.release(b)
			}
			continue
		}
		if o >= 0 {
			return fmt.Errorf("output %d was not made", i)
		}
	}
	for i := len(s.out); i < len(c.out); i++ { // made, though the node leaves it out
		if b := c.out[i].buf; b != nil {
			e.arena.release(b)
		}
	}
	for _, b := range c.bufs {
		e.arena.release(b)
	}
	for _, i := range s.last {
		if b := vals[i].buf; b != nil {
			e.arena.release(b)
		}
		vals[i] = slot{}
	}
	e.done(c)
	return nil
}

// captured remembers a value for the bodies of the node.
func (c *Call) captured(cp capture, vals []slot) {
	if c.caps == nil {
		c.caps = map[int]slot{}
	}
	c.caps[cp.outer] = vals[cp.outer]
}

// invoke calls the operator. A panic becomes an error: it is a mistake of ours that a graph brought to light, and the
// caller's process is not ours to end. A fault of memory goes on to Exec or Compile, which know the files.
func (c *Call) invoke(d opDef) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); fault {
				panic(r)
			}
			if e, ok := r.(error); ok && errors.Is(e, ErrMemory) {
				err = e
				return
			}
			err = fmt.Errorf("internal error: %v\n%s", r, debug.Stack())
		}
	}()
	if d.half && c.anyHalf() {
		return c.viaFloat32(d)
	}
	return d.run(c)
}

// runBody runs the body called name on the given inputs. The slots returned hold references.
func (c *Call) runBody(name string, in []slot) ([]slot, error) {
	b := c.st.bodies[name]
	if b == nil {
		return nil, fmt.Errorf("attribute %q with a graph is missing", name)
	}
	if len(in) != len(b.inputs) {
		return nil, fmt.Errorf("%s takes %d inputs, gets %d", name, len(b.inputs), len(in))
	}
	mem := b.takeSlots()
	defer b.giveSlots(mem)
	vals := *mem
	for i, v := range b.inputs {
		vals[v.slot] = slot{t: in[i].t, seq: in[i].seq, is: in[i].is}
	}
	for _, cp := range b.captures {
		v := c.caps[cp.outer]
		vals[cp.inner] = slot{t: v.t, seq: v.seq, is: v.is}
	}
	outs, err := b.exec(c.eval, vals)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	// A result that is an input or a captured value of the body keeps the memory that owns it.
	for i := range outs {
		if outs[i].buf == nil {
			outs[i].buf = c.owner(outs[i].t, in)
		}
		for _, t := range outs[i].seq { // those that the body made have left already
			if o := c.owner(t, in); o != nil {
				c.arena.giveAway(o)
				c.arena.release(o)
			}
		}
	}
	return outs, nil
}

// owner finds the arena memory under a tensor among the inputs and captured values of the node, adding a reference.
func (c *Call) owner(t *model.Tensor, in []slot) *buffer {
	p := base(t)
	if p == nil {
		return nil
	}
	for _, list := range [2][]slot{in, c.in} {
		for _, s := range list {
			if s.buf != nil && s.buf.holds(p) {
				s.buf.refs++
				return s.buf
			}
		}
	}
	for _, s := range c.caps {
		if s.buf != nil && s.buf.holds(p) {
			s.buf.refs++
			return s.buf
		}
	}
	return nil
}

// Exec runs the plan on values that may be tensors, sequences ([]*model.Tensor) or empty optionals (nil) and returns
// all outputs likewise. Session.Run is the form for models whose inputs and outputs are tensors. A weight's file that has been truncated
// since it was mapped is an error that wraps model.ErrTruncated.
func (p *Plan) Exec(ctx context.Context, pool *kernel.Pool, in map[string]any) (map[string]any, error) {
	outs, err := p.run(ctx, pool, &fed{in: in}, nil)
	if err != nil {
		return nil, err
	}
	res := make(map[string]any, len(outs))
	for i, o := range outs {
		res[p.outputs[i].value.Name] = valueOf(o)
	}
	return res, nil
}

// run is Exec with the outputs in their order; with k, they are not the caller's: they lie in memory that k keeps for the next run, in an input or
// where the model has them.
func (p *Plan) run(ctx context.Context, pool *kernel.Pool, f *fed, k *kept) (outs []slot, err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			outs, err = nil, faultOf(r, p.files)
		}
	}()
	vals := p.takeSlots()
	defer p.giveSlots(vals)
	distrusted, err := f.put(p, *vals)
	if err != nil {
		return nil, err
	}
	if distrusted {
		p.fell.add(nil)
		return p.runFallback(ctx, pool, f, k)
	}
	own := pool
	if ctx.Done() != nil { // an operator leaves the rest of its work when the run is cancelled
		stop := new(atomic.Bool)
		defer context.AfterFunc(ctx, func() { stop.Store(true) })()
		pool = pool.Until(stop)
	}
	pool.Begin()
	defer pool.End()
	cut := f.cutOf(p, pool.Threads())
	if cut.slices > 0 {
		outs, err = p.runSliced(ctx, pool, f.in, cut, k)
	}
	if cut.slices == 0 || errors.Is(err, errWhole) {
		outs, err = p.runWhole(ctx, pool, f, *vals, k)
	}
	if err == nil {
		return outs, nil
	}
	if errors.Is(err, errUnfused) && !p.opts.NoFusion {
		p.fell.add(err)
		clear(*vals) // what this run has made
		return p.runFallback(ctx, own, f, k)
	}
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("engine: %w", err)
	}
	return nil, err
}

// runFallback is run on the graph without fusions.
func (p *Plan) runFallback(ctx context.Context, pool *kernel.Pool, f *fed, k *kept) ([]slot, error) {
	whole, err := p.fallback()
	if err != nil {
		return nil, err
	}
	return whole.run(ctx, pool, &fed{in: f.in}, k)
}

// runWhole runs the plan on vals, which hold the inputs. After an error the arena may hold buffers that are still referenced: it is dropped.
func (p *Plan) runWhole(ctx context.Context, pool *kernel.Pool, f *fed, vals []slot, k *kept) ([]slot, error) {
	a, sig := p.acquire(p.memory), f.signatureOf(p, pool.Threads())
	p.begin(a, sig)
	a.lend(k)
	e := a.eval(ctx, pool)
	e.profile, e.watch = p.opts.Profile, p.opts.Watch
	outs, err := p.exec(e, vals)
	if err != nil {
		return nil, err
	}
	for i, o := range outs {
		if o.buf != nil {
			a.giveAway(o.buf)
			k.keep(o.buf)
		}
		if k == nil {
			if outs[i], err = p.ownOutput(a, o, f.in); err != nil {
				return nil, fmt.Errorf("output %q: %w", p.outputs[i].value.Name, err)
			}
		}
	}
	p.finish(a, sig, f.in)
	p.giveBack(a)
	p.side.Store(1)
	return outs, nil
}

// faultOf is the error of a recovered panic that is a fault of memory of one of the files. Any other panics on.
func faultOf(r any, files []*model.Mapping) error {
	err := model.Fault(r, files)
	if err == nil {
		panic(r)
	}
	return fmt.Errorf("engine: %w", err)
}

// mistakes is deferred by what works on g at compile time: it does of panics what Call.invoke and Exec do. old is the goroutine's setting of
// debug.SetPanicOnFault.
func mistakes(g *model.Graph, old bool, failed func(error)) {
	debug.SetPanicOnFault(old)
	r := recover()
	if r == nil {
		return
	}
	if _, fault := r.(interface{ Addr() uintptr }); fault {
		failed(faultOf(r, g.Mappings()))
		return
	}
	failed(fmt.Errorf("engine: internal error: %v\n%s", r, debug.Stack()))
}
