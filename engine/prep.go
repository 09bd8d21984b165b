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
