package engine

import (
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// prep is what an operator sees of its node at Compile.
type prep struct {
	c     *compiler
	node  *model.Node
	opset int64
	sc    *scope
}

// constant returns the tensor of input i when it is known at Compile, or nil.
func (p *prep) constant(i int) *model.Tensor {
	name := p.node.In(i)
	if name == "" {
		return nil
	}
	return p.sc.constOf(name)
}

// pack returns the packed form kind of t, made once per model.
func pack[T any](p *prep, t *model.Tensor, kind string, make func() (T, int64, error)) (T, error) {
	key := packKey{t, kind}
	if v, ok := p.c.packs[key]; ok {
		return v.(T), nil
	}
	v, size, err := make()
	if err != nil {
		return v, err
	}
	if p.c.packs == nil {
		p.c.packs = map[packKey]any{}
	}
	p.c.packs[key] = v
	p.c.packed += size
	return v, nil
}

// newPool returns the threads of a session.
func newPool(o Options) *kernel.Pool {
	if o.Threads == 1 {
		return nil
	}
	spin := o.Spin
	switch {
	case spin == 0:
		spin = defaultSpin
	case spin < 0:
		spin = 0
	}
	return kernel.NewPool(o.Threads, spin)
}
