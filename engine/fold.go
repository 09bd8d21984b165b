package engine

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/wattshed/wattshed/model"
)

// Watch shows inner values of a model while it runs: calibration reads activations with it.
type Watch struct {
	// Names are the values to show, of the graph or of a body of If, Loop or Scan. Passes leave them alone, as they do
	// outputs. A name that no node makes is never shown.
	Names []string
	// See is called on the goroutine of Run with each tensor as soon as it is made, before anything may overwrite it; it
	// must not keep the tensor. An error ends the run. Values that are no tensors are not shown.
	See func(name string, t *model.Tensor) error
}

// watches returns the names as a set; nil for none.
func (o Options) watches() map[string]bool {
	if o.Watch == nil || len(o.Watch.Names) == 0 {
		return nil
	}
	set := make(map[string]bool, len(o.Watch.Names))
	for _, name := range o.Watch.Names {
		set[name] = true
	}
	return set
}

// show gives the watched outputs of a step to See.
func (s *step) show(w *Watch, c *Call) error {
	for i, name := range s.node.Outputs {
		if s.watch[name] && i < len(c.out) && c.out[i].is == isTensor && c.out[i].t != nil {
			if err := w.See(name, c.out[i].t); err != nil {
				return err
			}
		}
	}
	return nil
}

// watched returns the outputs of n that are watched, nil for none.
func (c *compiler) watched(n *model.Node) map[string]bool {
	var m map[string]bool
	for _, o := range n.Outputs {
		if c.watch[o] {
			if m == nil {
				m = map[string]bool{}
			}
			m[o] = true
		}
	}
	return m
}

// Fold rewrites g in place: functions are inlined, FusedConv and FusedGemm of com.microsoft taken apart, nodes are sorted, what
// depends on constants alone becomes initializers (of at most 64 MiB, or twice the size of what they are made from), and nodes
// and initializers that nothing reads are dropped. QuantizeLinear and DequantizeLinear stay. The bodies of If, Loop and Scan are treated alike.
func Fold(g *model.Graph) (err error) {
	if g == nil {
		return errors.New("engine: no graph")
	}
	defer mistakes(g, debug.SetPanicOnFault(true), func(e error) { err = e })
	c := &compiler{opts: Options{Memory: freeMemory() / 4 * 3, NoFusion: true}, table: opTable()}
	if err := c.prepare(g); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	return c.dead(g)
}

// dead drops what nothing reads, the insides of bodies first.
func (c *compiler) dead(g *model.Graph) error {
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			if err := c.dead(sub); err != nil {
				return err
			}
		}
	}
	return deadNodes(c, g)
}
