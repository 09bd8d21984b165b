package recipe

import (
	"context"
	"errors"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// alone loads the model with scheme k of the search on unit u and nothing else; nil where the scheme changes nothing of it.
func (r *run) alone(ctx context.Context, spec SearchSpec, units []unit, u, k int) (engine.Session, error) {
	graph, err := r.graphOf(ctx, spec, units, u, k)
	if graph == nil || err != nil {
		return nil, err
	}
	return r.opt.Runtimes["native"].Load(ctx, engine.Artifact{Graph: graph}, engine.Options{Threads: r.threads, Packs: &r.packs})
}

// graphOf makes the graph of alone.
func (r *run) graphOf(ctx context.Context, spec SearchSpec, units []unit, u, k int) (*model.Graph, error) {
	m := make(mix, len(units))
	for i := range m {
		m[i] = keepFloat
	}
	m[u] = k
	graph, env := r.src.graph.Clone(), r.env()
	for _, stage := range spec.stages(units, m) {
		if _, err := raise(graph, stage.Quantize); err != nil {
			return nil, err
		}
		next, _, err := stage.Quantize.Apply(ctx, graph, env)
		if errors.Is(err, quantize.ErrNothing) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		graph = next
	}
	return graph, nil
}

// outputs runs the feeds on a session.
func (r *run) outputs(ctx context.Context, session engine.Session, feeds engine.Feeds) ([]engine.Feed, error) {
	session, _ = withState(session, r.bound.state)
	var out []engine.Feed
	for f, err := range feeds.All() {
		if err != nil {
			return nil, err
		}
		got, err := session.Run(ctx, f)
		if err != nil {
			return nil, err
		}
		out = append(out, got)
	}
	return out, nil
}
