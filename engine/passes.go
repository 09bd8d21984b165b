package engine

import "github.com/wattshed/wattshed/model"

// passList returns the passes in their order.
func (c *compiler) passList() []pass {
	fold := pass{"fold", func(c *compiler, g *model.Graph) error { return c.fold(g) }}
	if c.opts.NoFusion {
		return []pass{fold}
	}
	return []pass{fold}
}
