package quantize

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// InMemory says what a stage needs that has what it makes of the model in memory. Exactly one of WeightOnly, Stored, Half
// and Static is set.
type InMemory struct {
	In, Out    string
	WeightOnly *WeightOnly
	Stored     *QDQWeights
	Half       model.DType // of a graph that computes in half precision, or weights of that type
	Static     *Static
	Runs       int   // of calibration
	Memory     int64 // bytes that may be taken; 0 = what the machine has free
	Disk       int64 // bytes that may be written; 0 = what is free where Out goes
}

// Check says what the stage will need, from the structure of the model, without a guess of the time. It fails with ErrMemory
// or ErrDisk when that is not there. Memory is what cannot be given back while the stage works: weights that are mapped from
// the file are not counted, nor are the activations of calibration runs. Sizes are those of the file for GPTQ, and at most what the
// plan says for AWQ and HQQ; for the others they are estimates from the weights.
func (s InMemory) Check(ctx context.Context) (*StreamPlan, error) {
	p, _, err := s.check(ctx)
	return p, err
}

// Plan is Check with a guess of the time, besides that of calibration runs: from the algorithm on a small matrix, for HQQ a part of the largest
// weight, and the speed of the disk.
func (s InMemory) Plan(ctx context.Context) (*StreamPlan, error) {
	load := measure.StartLoad()
	p, work, err := s.check(ctx)
	if err != nil {
		return p, err
	}
	p.DiskSpeed = diskSpeed(filepath.Dir(s.Out))
	least, most := s.probes(work)
	p.takes(least, most, load)
	return p, nil
}

// check returns the plan and what there is to do.
func (s InMemory) check(ctx context.Context) (p *StreamPlan, work labour, err error) {
	f, err := onnx.Open(s.In)
	if err != nil {
		return nil, work, err
	}
	defer f.Close()
	p = &StreamPlan{FreeMemory: s.Memory, FreeDisk: s.Disk, CalibrationRuns: s.Runs}
	if p.FreeDisk <= 0 {
		p.FreeDisk = FreeDisk(s.Out)
	}
	if p.FreeMemory <= 0 {
		p.FreeMemory = freeMemory()
	}
	var heap int64
	if s.WeightOnly != nil {
		heap, work, err = s.groups(ctx, f, p)
	} else {
		heap, work, err = s.whole(f, p)
	}
	if err != nil {
		return nil, work, err
	}
	p.MemoryBytes = programBytes + slackBytes + heap
	return p, work, p.fits(s.Out)
}

// fits refuses what memory or disk do not hold.
func (p *StreamPlan) fits(out string) error {
	if p.FreeMemory > 0 && p.MemoryBytes > p.FreeMemory {
		return fmt.Errorf("quantize: %d bytes of memory are needed, %d are free: %w", p.MemoryBytes, p.FreeMemory, ErrMemory)
	}
	if n := p.ModelBytes + p.DataBytes; p.FreeDisk >= 0 && n > p.FreeDisk {
		return fmt.Errorf("quantize: %s: the output takes %d bytes, %d are free: %w", out, n, p.FreeDisk, ErrDisk)
	}
	return nil
}

// groups plans weight-only quantization.
func (s InMemory) groups(ctx context.Context, f *onnx.File, p *StreamPlan) (heap int64, work labour, err error) {
	o := *s.WeightOnly
	if o.Feeds.All == nil { // none are looked at
		o.Feeds.All = func() iter.Seq2[engine.Feed, error] { return func(func(engine.Feed, error) bool) {} }
	}
	st := &streamed{graph: f.Graph().Clone(), left: map[string]string{}, block: defaultBlock}
	if p.Notes, err = o.stream(st); err != nil {
		return 0, work, err
	}
	record, err := planOf(st.graph, func(*model.Tensor) (uint32, error) { return 0, nil })
	if err != nil {
		return 0, work, err
	}
	record.set(st.graph)
	l, err := onnx.Plan(st.graph, onnx.WriteOptions{}, filepath.Base(s.Out)+".data")
	if err != nil {
		return 0, work, err
	}
	p.ModelBytes, p.DataBytes = l.ModelBytes, l.DataBytes
	if err := o.Check(); err != nil {
		return 0, work, err
	}
	g := f.Graph()
	plan := o.plan(g)
	var made, solve, weights, more int64
	for _, w := range plan.weights {
		weights += int64(w.Tensor.ByteSize())
		if w.why != "" {
			continue
		}
		p.InputBytes += int64(w.Tensor.ByteSize())
		for _, s := range w.forms {
			k, n, groups := int64(s.nbits.k), int64(s.n), int64(s.n)*int64(s.blocks())
			made += groups * int64(s.blob()+5)
			copies, squares := int64(0), int64(0) // of the matrix in float32; of inputs x inputs in bytes
			units := 0.0
			switch o.Algorithm {
			case GPTQ:
				copies, squares = 3, 4+2*8 // transposed, its error, and that times the Hessian; the Hessian in float32, its factor and inverse
				units = (float64(k)*float64(k)*float64(k) + 2*float64(n)*float64(k)*float64(k)) / (3 * probeSize * probeSize * probeSize)
			case AWQ:
				copies, squares = 4, 4+8
				more += 4*k + 256 // what activations are multiplied by, and the node that does
				units = float64(n) * float64(k) * float64(k) / (probeSize * probeSize * probeSize)
			case HQQ:
				copies = 1
				more += 4*groups + 2*groups*5/int64(min(s.group, 32))
				units = float64(n) * float64(k) / (probeSize * probeSize)
			}
			work.add(w, s, units)
			solve = max(solve, 4*copies*k*n+squares*k*k)
		}
	}
	if work.how = o; o.Algorithm == HQQ {
		work.look()
	}
	if o.Algorithm == HQQ && o.wholeZeros() {
		more = 0
	}
	if p.DataBytes > 0 {
		p.DataBytes += more
	} else {
		p.ModelBytes += more
	}
	if !o.NeedsFeeds() {
		return made + solve, work, nil
	}
	var observe, sums int64
	for _, these := range plan.passes(g) {
		var all, kept int64
		for _, k := range these.k {
			kept += 8 * int64(k) * int64(k)
			all += 12*int64(k)*int64(k) + 4*observeRows*int64(k)
		}
		observe, sums = max(observe, all), max(sums, kept)
	}
	return made + max(observe+weights, sums+solve), work, nil // the engine has the weights in an order of its own
}

// whole plans the other stages.
func (s InMemory) whole(f *onnx.File, p *StreamPlan) (heap int64, work labour, err error) {
	g := f.Graph()
	l, err := onnx.Plan(g, onnx.WriteOptions{}, filepath.Base(s.Out)+".data")
	if err != nil {
		return 0, work, err
	}
	bits, ops := 8, []string(nil)
	switch {
	case s.Stored != nil:
		if ops = s.Stored.Ops; ops == nil {
			ops = QDQWeightOps
		}
		bits = s.Stored.DType.Bits()
	case s.Static != nil:
		if ops = s.Static.Ops; ops == nil {
			ops = s.Static.Target.Placed()
		}
	default:
		bits = s.Half.Bits()
	}
	saved := int64(0)
	for _, w := range g.Weights() {
		if w.Tensor.DType() != model.Float32 {
			continue
		}
		n := int64(w.Tensor.ByteSize())
		p.InputBytes += n
		if ops == nil || w.Tensor.Rank() >= 2 && len(w.Uses) > 0 && slices.Contains(ops, w.Uses[0].Node.Op) {
			saved += n - n*int64(bits)/32
		}
	}
	p.ModelBytes, p.DataBytes = l.ModelBytes, l.DataBytes
	if left := p.ModelBytes + p.DataBytes - saved; left < 3<<29 { // all of it in one file
		p.ModelBytes, p.DataBytes = left, 0
	} else {
		p.DataBytes -= saved
	}
	heap, work.units = p.ModelBytes+p.DataBytes, float64(p.InputBytes)/(4*probeSize*probeSize)
	if s.Runs > 0 {
		heap += p.InputBytes // the engine has the weights in an order of its own
		if t := s.Static; t != nil && (t.Smooth != 0 || t.Equalize || t.BiasCorrection || t.AdaptRounding) {
			heap += p.InputBytes // changed ones
		}
	}
	return heap, work, nil
}
