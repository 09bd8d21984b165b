package recipe

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"

	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// roomy refuses a stage when memory or disk cannot hold what it makes: that of a quantization by its plan, that of a stage that keeps the
// model's weights by the size of the model. For what quantizes in memory it holds the garbage collector to nine tenths of the memory that is
// free until restore is called.
func (s Single) roomy(ctx context.Context, f *onnx.File) (restore func(), err error) {
	restore = func() {}
	q, ok := s.Stage.(*Quantize)
	if !ok {
		return restore, s.holds(plannedBytes(ctx, s, modelBytes(s.In, f.Graph())))
	}
	if st, streams := streamOf(s); streams {
		if _, err := st.Check(ctx); errors.Is(err, quantize.ErrDisk) {
			return restore, err
		}
		return restore, nil
	}
	p, err := inMemory(s, q).Check(ctx)
	switch {
	case errors.Is(err, quantize.ErrMemory) || errors.Is(err, quantize.ErrDisk):
		return restore, err
	case err == nil && p.FreeMemory > 0:
		old := debug.SetMemoryLimit(-1)
		debug.SetMemoryLimit(min(old, p.FreeMemory/10*9))
		return func() { debug.SetMemoryLimit(old) }, nil
	}
	return restore, nil // anything else the stage itself says
}

// holds refuses an output of so many bytes that the disk does not hold.
func (s Single) holds(bytes int64) error {
	free := s.Disk
	if free <= 0 {
		free = quantize.FreeDisk(s.Out)
	}
	if free >= 0 && bytes > free {
		return fmt.Errorf("recipe: %s: the output takes %d bytes, %d are free: %w", s.Out, bytes, free, quantize.ErrDisk)
	}
	return nil
}

// plannedBytes is the size of what a stage makes of the model at In, of so many bytes, before it is made; 0 where that is not known. Without In, as
// of a built-in model, it is the least that the scheme's bits allow.
func plannedBytes(ctx context.Context, s Single, bytes int64) int64 {
	switch st := s.Stage.(type) {
	case *Quantize:
		if s.In == "" {
			return bytes * int64(st.dtype().Bits()) / 32
		}
		var p *quantize.StreamPlan
		if stream, ok := streamOf(s); ok {
			p, _ = stream.Check(ctx) // what is wrong with it the stage says
		} else {
			p, _ = inMemory(s, st).Check(ctx)
		}
		if p == nil {
			return 0
		}
		return p.ModelBytes + p.DataBytes
	case *Prune:
		return bytes // zeros are stored as other values are
	case *Distill:
		if st.Student == nil {
			return bytes
		}
	}
	return 0
}

// variantBytes is the size of what the stages make of the model, 0 where it is not known.
func (r *run) variantBytes(ctx context.Context, v VariantSpec) int64 {
	out := filepath.Join(r.out, variantsName, v.Name+".onnx")
	bytes := r.src.bytes
	for _, spec := range v.Stages {
		st, err := spec.stage()
		if err != nil {
			return 0
		}
		if err := st.check(); err != nil {
			return 0
		}
		n := plannedBytes(ctx, Single{In: r.src.path, Out: out, Stage: st, Threads: r.threads}, bytes)
		if n == 0 {
			return 0
		}
		bytes = min(bytes, n) // a later stage leaves what an earlier one made small
	}
	return bytes
}

// fits refuses a run whose models do not fit beside each other on the disk of the output folder: those of all variants that are not there yet.
func (r *run) fits(ctx context.Context) error {
	if _, searching := lookup[*Trial](r.journal, kindTrial, "0"); searching {
		return nil // a search that goes on: which of its models are there its trials say
	}
	sum, n := int64(0), 0
	if r.src.path == "" && len(r.recipe.Variants) > 0 && r.journal.done() == 0 { // it is written beside its variants
		sum = r.src.bytes
	}
	for _, v := range r.recipe.Variants {
		if m, ok := lookup[*made](r.journal, kindVariant, v.Name); !ok || !r.intact(m) {
			sum += r.variantBytes(ctx, v)
			n++
		}
	}
	what := fmt.Sprintf("the models of %s", counted(n, "variant"))
	if r.room != nil {
		sum, what = sum+r.room(ctx), what+" and of a trial"
	}
	return r.holds(what, sum)
}

// largest is the size of the largest whole model in one scheme of the search: its trials are made one after another.
func (s *searcher) largest(ctx context.Context) (bytes int64) {
	for i := range s.spec.Schemes {
		bytes = max(bytes, s.variantBytes(ctx, VariantSpec{Name: "trial", Stages: []StageSpec{{Quantize: &s.spec.Schemes[i]}}}))
	}
	return bytes
}

// holds refuses files of so many bytes that the disk of the output folder does not hold.
func (r *run) holds(what string, sum int64) error {
	free := r.opt.FreeDisk
	if free == nil {
		free = quantize.FreeDisk
	}
	n := free(filepath.Join(r.out, journalName))
	if n < 0 || sum <= n {
		return nil
	}
	return fmt.Errorf("recipe: folder %q: %s: %d bytes are needed, %d are free: %w", r.out, what, sum, n, quantize.ErrDisk)
}

// counted writes "1 variant" or "3 variants".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
