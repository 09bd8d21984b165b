package quantize

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Errors of Stream that callers test for.
var (
	// ErrMemory is wrapped when not even one block fits in the memory that is free.
	ErrMemory = errors.New("not enough memory")
	// ErrDisk is wrapped when the output does not fit on the disk that it goes to.
	ErrDisk = errors.New("not enough disk space")
)

// Stream quantizes a model file without loading it: the output is laid out from the structure of the input, and weights
// pass through memory in blocks of rows. Exactly one of WeightOnly, Half and Dynamic is set. The file is what the stage
// of the same settings would make of the graph in memory, bit for bit.
type Stream struct {
	In, Out    string
	WeightOnly *WeightOnly // with algorithm RTN
	Half       model.DType // Float16 or BFloat16: weights stored in half precision
	Dynamic    *Dynamic

	Workers  int   // 0 = all processors
	Block    int   // bytes of a weight that a worker holds; 0 = 16 MiB
	External bool  // weights in a file of their own, whatever their size
	Memory   int64 // bytes that may be taken; 0 = what the machine has free
	Disk     int64 // bytes that may be written; 0 = what is free where Out goes

	Progress func(done, total int64) // bytes of weights; may be nil
	Digest   hash.Hash               // takes the bytes of Out and then those of Out.data; may be nil
}

// defaultBlock is the bytes of a weight that are read at a time.
const defaultBlock = 16 << 20

// StreamPlan is what a Stream is going to need, or a stage InMemory, which has no blocks and no workers.
type StreamPlan struct {
	Notes       []model.Note `json:"notes"`
	InputBytes  int64        `json:"input_bytes"`  // of weights
	ModelBytes  int64        `json:"model_bytes"`  // of the file that is written
	DataBytes   int64        `json:"data_bytes"`   // of its external data, 0 for none
	RowBlock    int64        `json:"row_block"`    // the largest block of rows of a weight: Stream.Block, or less for small ones, more for wide rows
	BlockBytes  int64        `json:"block_bytes"`  // the most that a block takes with what is made of it: twice RowBlock or less
	Workers     int          `json:"workers"`      // that hold a block each
	MemoryBytes int64        `json:"memory_bytes"` // of the resident set, at most
	FreeMemory  int64        `json:"free_memory"`  // 0 where that is not known
	FreeDisk    int64        `json:"free_disk"`    // where the output goes, -1 where that is not known
	DiskSpeed   float64      `json:"disk_speed"`   // of Plan: bytes that it writes per second, 0 where that is not known
	Seconds     float64      `json:"seconds"`      // of Plan: a guess from one block and DiskSpeed, with a CPU for every worker
	SecondsMost float64      `json:"seconds_most"` // of Plan: the same by what was slowest meanwhile, on CPUs shared with other processes as then
	OtherCPUs   *float64     `json:"other_cpus"`   // of Plan: those that other processes used meanwhile; null where that is not known

	CalibrationRuns    int     `json:"calibration_runs,omitempty"`    // of a stage in memory; their time is not in Seconds
	CalibrationSeconds float64 `json:"calibration_seconds,omitempty"` // that they take, where the caller knows; 0 where not

	heap int64 // of a worker
}

// Of MemoryBytes, besides the blocks.
const (
	programBytes   = 24 << 20 // pages of the program itself and stacks
	slackBytes     = 20 << 20 // of the heap: garbage that is not collected yet
	structureTimes = 8        // bytes of the graph in memory for one of the file's structure
)

// job makes the tensors of one weight.
type job struct {
	weight  string
	bytes   int64 // of the weight
	block   int64 // of rows: what may be read at a time, or the fewest rows that must
	memory  int64 // of a block and what is made of it
	heap    int64 // of memory, what is not mapped from the file
	tensors []*model.Tensor
	run     func(put putter) error
}

// putter writes bytes of a tensor of the output.
type putter func(t *model.Tensor, b []byte, off int64) error

// misfit says that a weight must be left after all: it holds values that the scheme cannot take.
type misfit struct{ weight, reason string }

// Error names the weight and why it does not fit.
func (u *misfit) Error() string { return fmt.Sprintf("quantize: weight %q: %s", u.weight, u.reason) }

// streamed is a rewritten graph with tensors that jobs make.
type streamed struct {
	graph *model.Graph
	jobs  []*job
	notes []model.Note
	left  map[string]string // weights that turned out to be unfit: why
	block int

	mu    sync.Mutex
	spare []*blocks // of weights that are written

	record string // the Plan in the metadata, with digests that are not known yet
}

// deferred returns a tensor without bytes: a job writes them.
func deferred(d model.DType, shape []int) (*model.Tensor, error) {
	return model.NewLazy(d, shape, func() ([]byte, []string, error) {
		return nil, nil, errors.New("quantize: this tensor is only written to a file")
	})
}

// prepare rewrites the graph of f for the settings.
func (s Stream) prepare(ctx context.Context, f *onnx.File, left map[string]string) (*streamed, error) {
	st := &streamed{graph: f.Graph().Clone(), left: left, block: s.Block}
	if st.block <= 0 {
		st.block = defaultBlock
	}
	var err error
	switch {
	case s.WeightOnly != nil:
		if a := s.WeightOnly.Algorithm; a != RTN && a != "" {
			return nil, fmt.Errorf("quantize: algorithm %s needs the weights in memory; %s does not: %w", a, RTN, model.ErrUnsupported)
		}
		st.notes, err = s.WeightOnly.stream(st)
	case s.Dynamic != nil:
		d := *s.Dynamic
		d.packer = st.dynamic
		st.notes, err = d.Apply(st.graph)
	default:
		st.notes, err = st.half(s.Half)
	}
	if err != nil {
		return nil, err
	}
	p, err := planOf(st.graph, func(*model.Tensor) (uint32, error) { return 0, nil })
	if err != nil {
		return nil, err
	}
	st.record = p.set(st.graph)
	sort.SliceStable(st.jobs, func(i, j int) bool { return st.jobs[i].bytes > st.jobs[j].bytes })
	return st, ctx.Err()
}

// Plan is Check with a guess of the time, from one block of the largest weight and the speed of the disk.
func (s Stream) Plan(ctx context.Context) (*StreamPlan, error) { return s.check(ctx, true) }

// Check says what Run will need, from the structure of the model, without a guess of the time. It fails with ErrMemory or ErrDisk when
// that is not there; what is needed comes with the error.
func (s Stream) Check(ctx context.Context) (*StreamPlan, error) { return s.check(ctx, false) }

func (s Stream) check(ctx context.Context, timed bool) (*StreamPlan, error) {
	load := measure.StartLoad()
	f, err := onnx.Open(s.In)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := s.prepare(ctx, f, map[string]string{})
	if err != nil {
		return nil, err
	}
	p, err := s.plan(st)
	if err == nil && timed {
		p.DiskSpeed = diskSpeed(filepath.Dir(s.Out))
		one := st.guess(p)
		p.takes(one/float64(p.Workers), one/float64(p.Workers)*load.Slowdown(p.Workers), load)
	}
	return p, err
}

func (s Stream) plan(st *streamed) (*StreamPlan, error) {
	l, err := onnx.Plan(st.graph, onnx.WriteOptions{External: s.External}, filepath.Base(s.Out)+".data")
	if err != nil {
		return nil, err
	}
	p := &StreamPlan{Notes: st.notes, ModelBytes: l.ModelBytes, DataBytes: l.DataBytes, Workers: s.Workers, FreeMemory: s.Memory, FreeDisk: s.Disk}
	if p.FreeDisk <= 0 {
		p.FreeDisk = FreeDisk(s.Out)
	}
	if p.FreeMemory <= 0 {
		p.FreeMemory = freeMemory()
	}
	structure := l.ModelBytes + l.DataBytes
	for _, t := range l.Tensors() {
		structure -= int64(t.ByteSize())
	}
	work := st.work(l)
	for _, j := range work {
		p.RowBlock, p.BlockBytes, p.heap = max(p.RowBlock, j.block), max(p.BlockBytes, j.memory), max(p.heap, j.heap)
	}
	for _, j := range st.jobs {
		p.InputBytes += j.bytes
	}
	if p.Workers <= 0 {
		p.Workers = runtime.GOMAXPROCS(0)
	}
	p.Workers = max(1, min(p.Workers, len(work)))
	base := programBytes + slackBytes + structureTimes*max(structure, 0)
	need := func() int64 { return base + int64(p.Workers)*p.BlockBytes }
	for p.FreeMemory > 0 && need() > p.FreeMemory && p.Workers > 1 {
		p.Workers--
	}
	p.MemoryBytes = need()
	return p, p.fits(s.Out)
}

// takes sets the guesses of the time, least and most being those of the work itself.
func (p *StreamPlan) takes(least, most float64, load measure.Load) {
	p.Seconds, p.SecondsMost = least+p.output(), most+p.output()
	if others, ok := load.Others(); ok {
		p.OtherCPUs = &others
	}
}

// output guesses the seconds that writing the output takes.
func (p *StreamPlan) output() float64 {
	if p.DiskSpeed <= 0 {
		return 0
	}
	return float64(p.ModelBytes+p.DataBytes) / p.DiskSpeed
}

// guess times the largest job for a moment and returns the seconds that all take one after another.
func (st *streamed) guess(p *StreamPlan) float64 {
	if len(st.jobs) == 0 {
		return 0
	}
	stop := errors.New("enough")
	start, blocks := time.Now(), 0
	seen := int64(0)
	j := st.jobs[0]
	_ = j.run(func(t *model.Tensor, b []byte, _ int64) error { // how far it came is measured by the codes it wrote
		if t == j.tensors[0] {
			seen += int64(len(b))
		}
		if blocks++; time.Since(start) > 200*time.Millisecond {
			return stop
		}
		return nil
	})
	share := float64(seen) / float64(max(1, j.tensors[0].ByteSize()))
	if share <= 0 {
		return 0
	}
	perByte := time.Since(start).Seconds() / (share * float64(j.bytes))
	return perByte * float64(p.InputBytes)
}

// Run writes Out and returns the notes of the stage. Either Out, and Out.data where the weights exceed 1.5 GB, are
// written whole or nothing is; In is never changed. While it writes, the garbage collector of the process is held to the
// heap of the plan (debug.SetMemoryLimit), so one Stream runs at a time. A weight that turns out to hold a value that the scheme cannot take
// is left, with the reason in its note, and the work begun again.
func (s Stream) Run(ctx context.Context) (*StreamPlan, error) {
	f, err := onnx.Open(s.In)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, w := range f.Graph().Weights() {
		if m := w.Tensor.Mapping(); m != nil && (m.SameFile(s.Out) || m.SameFile(s.Out+".data")) {
			return nil, fmt.Errorf("quantize: %s: %w: write to another name", s.Out, onnx.ErrSource)
		}
	}
	left, files := map[string]string{}, f.Graph().Mappings()
	for {
		st, err := s.prepare(ctx, f, left)
		if err != nil {
			return nil, err
		}
		p, err := s.plan(st)
		if err != nil {
			return p, err
		}
		restore := p.limitHeap()
		err = onnx.SaveStream(s.Out, st.graph, onnx.WriteOptions{External: s.External}, func(l *onnx.Layout) error { return s.fill(ctx, st, p.Workers, l, files) })
		restore()
		var u *misfit
		if !errors.As(err, &u) {
			return p, err
		}
		if left[u.weight] != "" {
			return p, fmt.Errorf("quantize: weight %q is left and still %s", u.weight, u.reason)
		}
		left[u.weight] = u.reason
	}
}

// limitHeap keeps the garbage collector of this process to the heap of the plan beyond what is in use, and returns a
// function that undoes it.
func (p *StreamPlan) limitHeap() (restore func()) {
	runtime.GC()
	sizes := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(sizes)
	used := int64(sizes[0].Value.Uint64()) - int64(sizes[1].Value.Uint64()) - int64(sizes[2].Value.Uint64())
	old := debug.SetMemoryLimit(-1)
	debug.SetMemoryLimit(min(old, used+int64(p.Workers)*p.heap+slackBytes/2))
	return func() { debug.SetMemoryLimit(old) }
}

// work returns the jobs, and copies of the tensors of l that none of them makes.
func (st *streamed) work(l *onnx.Layout) []*job {
	made := map[*model.Tensor]bool{}
	for _, j := range st.jobs {
		for _, t := range j.tensors {
			made[t] = true
		}
	}
	work := slices.Clone(st.jobs)
	for _, t := range l.Tensors() {
		if !made[t] {
			work = append(work, st.copyJob(t))
		}
	}
	return work
}

// fill writes the bytes of all tensors, which are read from files.
func (s Stream) fill(ctx context.Context, st *streamed, workers int, l *onnx.Layout, files []*model.Mapping) error {
	sums := newDigests(st.graph)
	work, total := st.work(l), int64(0)
	for _, j := range work {
		total += j.bytes
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range max(1, workers) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(work) {
					return
				}
				put := func(t *model.Tensor, b []byte, off int64) error {
					if err := ctx.Err(); err != nil {
						return err
					}
					sums.add(t, b, off)
					return l.WriteAt(t, b, off)
				}
				err := model.Guard(func() []*model.Mapping { return files }, func() error { return work[i].run(put) })
				if err != nil {
					cancel(err)
					return
				}
				if n := done.Add(work[i].bytes); s.Progress != nil {
					s.Progress(n, total)
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := model.Whole(files); err != nil {
		return err
	}
	p, err := planOf(st.graph, sums.of)
	if err != nil {
		return err
	}
	if err := l.Replace(st.record, p.set(st.graph)); err != nil || s.Digest == nil {
		return err
	}
	return l.CopyTo(untilDone{ctx, s.Digest})
}

// untilDone is a Writer until ctx is done.
type untilDone struct {
	ctx context.Context
	io.Writer
}

// Write fails with the reason why ctx is done.
func (w untilDone) Write(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.Writer.Write(b)
}

// copyJob copies a tensor as it is.
func (st *streamed) copyJob(t *model.Tensor) *job {
	block := min(st.block, passBytes, t.ByteSize())
	return &job{weight: "copy", bytes: int64(t.ByteSize()), block: int64(min(st.block, t.ByteSize())), memory: int64(block), run: func(put putter) error {
		for at := 0; at < t.ByteSize(); at += block {
			if err := t.Part(at, min(at+block, t.ByteSize()), func(b []byte) error { return put(t, b, int64(at)) }); err != nil {
				return err
			}
		}
		return nil
	}}
}
