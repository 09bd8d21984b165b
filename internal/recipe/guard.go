package recipe

import (
	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// mapped are the files that the model of the run is read from.
func (r *run) mapped() []*model.Mapping {
	if r.src == nil || r.src.graph == nil {
		return nil
	}
	return r.src.graph.Mappings()
}

// guarded runs fn, in which files of the model may turn out to be truncated.
func (r *run) guarded(fn func() error) error { return model.Guard(r.mapped, fn) }

// whole returns an error when a model that was run has lost its end meanwhile: what it computed may be wrong.
func (r *run) whole(sessions ...engine.Session) error {
	if err := model.Whole(r.mapped()); err != nil {
		return err
	}
	for _, s := range sessions {
		if w, ok := s.(engine.Mapped); ok {
			if err := model.Whole(w.Mappings()); err != nil {
				return err
			}
		}
	}
	return nil
}
