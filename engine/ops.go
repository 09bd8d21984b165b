package engine

import (
	"maps"

	"github.com/wattshed/wattshed/model"
)

// opDef is the implementation of one operator.
type opDef struct {
	run OpFunc
	// half: float16 and bfloat16 inputs are converted to float32 and float32 outputs back.
	half bool
	// stats: of these outputs 1 and 2 are statistics, which stay float32.
	stats bool
	// pure is false for operators whose result does not depend on their inputs alone.
	random bool
	// prep, if not nil, runs once at Compile; its result is the step's state.
	prep func(p *prep) (any, error)
}

// opTable returns every operator of the native runtime by "domain::Op". Adding one is a function in the file of its
// family and a line in that family's table.
func opTable() map[string]opDef {
	t := map[string]opDef{}
	for _, family := range []map[string]opDef{
		unaryOps(), binaryOps(), logicOps(), castOps(), reduceOps(), shapeOps(), moveOps(), indexOps(), matmulOps(),
		sampleOps(), signalOps(), textOps(), mlOps(), bodyOps(),
		convOps(), poolOps(), normOps(), softmaxOps(), rnnOps(), quantOps(), controlOps(), sequenceOps(), createOps(),
		attentionOps(), resizeOps(), miscOps(), lossOps(), microsoftOps(), contribOps(), nbitsOps(), fusedOps(), qlinearOps(), blockedOps(),
	} {
		maps.Copy(t, family)
	}
	return t
}

// plain is an operator of the default domain without half types or preparation.
func plain(f OpFunc) opDef { return opDef{run: f} }

// float is an operator that computes in float32 for half types.
func float(f OpFunc) opDef { return opDef{run: f, half: true} }

func isHalf(t *model.Tensor) bool {
	return t != nil && (t.DType() == model.Float16 || t.DType() == model.BFloat16)
}

func (c *Call) anyHalf() bool {
	for _, t := range c.In {
		if isHalf(t) {
			return true
		}
	}
	return false
}

// packedStates is implemented by states that hold more than input 1.
type packedStates interface{ packedInput(i int) bool }

// holds reports whether a state holds input i of its node in packed form.
func holds(state any, i int) bool {
	if s, ok := state.(packedStates); ok {
		return s.packedInput(i)
	}
	_, ok := state.(packedState)
	return ok && i == 1
}

// isPacked reports whether the node holds input i in packed form.
func (c *Call) isPacked(i int) bool {
	return c.st != nil && holds(c.st.state, i)
}

// viaFloat32 runs the operator on float32 copies of its half inputs and rounds its float32 outputs to the type of
// the first half input.
func (c *Call) viaFloat32(d opDef) error {
	var to model.DType
	in := c.In
	c.In = make([]*model.Tensor, len(in))
	held := c.in
	c.in = append([]slot(nil), held...)
	for i, t := range in {
		c.In[i] = t
		if !isHalf(t) {
			continue
		}
		if to == model.Invalid {
			to = t.DType()
		}
		if c.isPacked(i) { // its values are not read
			shell, err := model.NewLazy(model.Float32, t.Shape(), nil)
			if err != nil {
				return err
			}
			c.In[i] = shell
			continue
		}
		x := Scratch[float32](c, t.Len())
		if err := widenHalf(c.pool, x, t); err != nil {
			return err
		}
		c.In[i] = model.FromSlice(t.Shape(), x)
		c.in[i].buf, c.in[i].t = nil, c.In[i]
	}
	c.narrow = true
	err := d.run(c)
	c.narrow = false
	if err != nil {
		return err
	}
	for i := range c.out {
		t := c.out[i].t
		if t == nil || t.DType() != model.Float32 || d.stats && (i == 1 || i == 2) {
			continue
		}
		if err := c.narrowTo(i, to, t); err != nil {
			return err
		}
	}
	c.In, c.in = in, held
	return nil
}
