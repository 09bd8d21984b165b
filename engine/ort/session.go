//go:build !static

package ort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

var _ engine.Runtime = (*Runtime)(nil)

type session struct {
	rt        *Runtime
	handle    uintptr
	artifact  engine.Artifact
	options   engine.Options
	inputs    []*model.Value
	outputs   []*model.Value
	ops       map[string]int
	warnings  []string
	opsOnce   sync.Once
	closeOnce sync.Once
	mu        sync.Mutex
	bindings  []*binding
}

// levels are the values of GraphOptimizationLevel by the word of Options.Optimize.
func levels() map[string]uintptr {
	return map[string]uintptr{"none": 0, "basic": 1, "extended": 2, "all": 99, "": 99}
}

// Load creates a session from the artifact's Path, or from its Graph written to memory where there is no
// Path, with the graph optimisations of Options.Optimize. Messages of ONNX Runtime arrive whole.
func (r *Runtime) Load(ctx context.Context, a engine.Artifact, o engine.Options) (engine.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	if o.Threads <= 0 {
		o.Threads = runtime.NumCPU()
	}
	s := &session{rt: r, artifact: a, options: o}
	h, err := r.create(a, o, "")
	if err != nil {
		return nil, err
	}
	s.handle = h
	if p, known := providers[o.Provider]; o.Provider != "" && !(known && p.tested) {
		s.warnings = append(s.warnings, fmt.Sprintf("execution provider %s: the code has not been tested on hardware that has it", o.Provider))
	}
	if err := s.describe(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// create makes the C session; with optimized, the optimised graph is saved there as well.
func (r *Runtime) create(a engine.Artifact, o engine.Options, optimized string) (uintptr, error) {
	c := caller{lib: r.lib}
	defer c.done()
	var opts, h uintptr
	c.do(fnCreateSessionOptions, c.out(&opts))
	defer func() { c.release(fnReleaseSessionOptions, opts) }()
	level, ok := levels()[o.Optimize]
	if !ok {
		return 0, fmt.Errorf("ort: graph optimisation %q: want none, basic, extended or all", o.Optimize)
	}
	c.do(fnSetGraphOptimizationLevel, opts, level)
	c.do(fnSetIntraOpNumThreads, opts, uintptr(o.Threads))
	if o.Spin < 0 {
		c.do(fnAddSessionConfigEntry, opts, c.str("session.intra_op.allow_spinning"), c.str("0"))
	}
	if optimized != "" {
		c.do(fnSetOptimizedModelFilePath, opts, c.bytes(pathBytes(optimized)))
	}
	if c.err != nil {
		return 0, c.err
	}
	if err := r.addProvider(&c, opts, o); err != nil {
		return 0, err
	}
	if a.Path != "" {
		if _, err := os.Stat(a.Path); err != nil {
			return 0, fmt.Errorf("ort: %w", err)
		}
		c.do(fnCreateSession, r.lib.env, c.bytes(pathBytes(a.Path)), opts, c.out(&h))
		if c.err != nil {
			return 0, fmt.Errorf("%s: %w", a.Path, c.err)
		}
		return h, nil
	}
	if a.Graph == nil {
		return 0, fmt.Errorf("ort: an artifact with neither path nor graph")
	}
	var buf bytes.Buffer
	if err := onnx.Write(&buf, a.Graph, onnx.WriteOptions{}); err != nil {
		return 0, err
	}
	c.do(fnCreateSessionFromArray, r.lib.env, c.bytes(buf.Bytes()), uintptr(buf.Len()), opts, c.out(&h))
	return h, c.err
}

// describe reads the declared inputs and outputs.
func (s *session) describe() error {
	c := caller{lib: s.rt.lib}
	defer c.done()
	read := func(count, name, info int) []*model.Value {
		var n uintptr
		c.do(count, s.handle, c.out(&n))
		var vs []*model.Value
		for i := uintptr(0); i < n && c.err == nil; i++ {
			var p, ti uintptr
			c.do(name, s.handle, i, s.rt.lib.allocator, c.out(&p))
			c.do(info, s.handle, i, c.out(&ti))
			if c.err != nil {
				break
			}
			v := &model.Value{Name: goString(p)}
			v.Type = c.typeOf(ti)
			c.do(fnAllocatorFree, s.rt.lib.allocator, p)
			c.release(fnReleaseTypeInfo, ti)
			vs = append(vs, v)
		}
		return vs
	}
	s.inputs = read(fnSessionGetInputCount, fnSessionGetInputName, fnSessionGetInputTypeInfo)
	s.outputs = read(fnSessionGetOutputCount, fnSessionGetOutputName, fnSessionGetOutputTypeInfo)
	return c.err
}

// typeOf reads a type info; a value that is no tensor has no type.
func (c *caller) typeOf(info uintptr) model.Type {
	var shape uintptr
	c.do(fnCastTypeInfoToTensorInfo, info, c.out(&shape))
	if c.err != nil || shape == 0 {
		return model.Type{}
	}
	dtype, dims := c.shapeOf(shape)
	t := model.Type{DType: dtype, Shape: make(model.Shape, len(dims))}
	names := make([]uintptr, len(dims))
	if len(dims) > 0 {
		c.do(fnGetSymbolicDimensions, shape, c.words(names), uintptr(len(dims)))
	}
	for i, d := range dims {
		t.Shape[i] = model.Dim{Size: d}
		if d < 0 {
			t.Shape[i] = model.Dim{Size: -1, Param: goString(names[i])}
		}
	}
	return t
}

// shapeOf reads element type and sizes of a tensor type and shape info.
func (c *caller) shapeOf(info uintptr) (model.DType, []int64) {
	var dtype, rank uintptr
	c.do(fnGetTensorElementType, info, c.out(&dtype))
	c.do(fnGetDimensionsCount, info, c.out(&rank))
	if c.err != nil {
		return model.Invalid, nil
	}
	dims := make([]int64, rank)
	if rank > 0 {
		c.pin.Pin(&dims[0])
		c.do(fnGetDimensions, info, uintptr(unsafe.Pointer(&dims[0])), rank)
	}
	return model.DType(dtype & 0xff), dims // ONNX Runtime numbers the types as ONNX does up to bfloat16
}

// Inputs returns the declared inputs.
func (s *session) Inputs() []*model.Value { return s.inputs }

// Outputs returns the declared outputs.
func (s *session) Outputs() []*model.Value { return s.outputs }

// Profile returns nil: times per node are not read from ONNX Runtime.
func (s *session) Profile() []engine.OpTime { return nil }

// Close releases the session.
func (s *session) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, b := range s.bindings {
			b.Close()
		}
		c := caller{lib: s.rt.lib}
		c.release(fnReleaseSession, s.handle)
	})
	return nil
}

// Info names the library and counts the operators of the optimised graph, which is saved to a temporary
// file and read once for that.
func (s *session) Info() engine.Info {
	s.opsOnce.Do(s.countOps)
	provider := s.options.Provider
	if provider == "" {
		provider = "cpu"
	}
	return engine.Info{Runtime: "ort", Version: s.rt.lib.version, Provider: provider, Threads: s.options.Threads, Ops: s.ops,
		Warnings: s.warnings}
}

// countOps fills in the histogram; where it cannot be had, a warning says why.
func (s *session) countOps() {
	if err := s.readOps(); err != nil {
		s.ops = nil
		s.warnings = append(s.warnings, fmt.Sprintf("the operators after ONNX Runtime's optimisation are not known: %v", err))
	}
}

func (s *session) readOps() (err error) {
	dir, err := os.MkdirTemp("", "wattshed-ort-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "optimized.onnx")
	h, err := s.rt.create(s.artifact, s.options, path)
	if err != nil {
		return err
	}
	c := caller{lib: s.rt.lib}
	c.release(fnReleaseSession, h)
	f, err := onnx.Open(path)
	if err != nil {
		return err
	}
	s.ops = map[string]int{}
	count(f.Graph(), s.ops)
	return f.Close()
}

func count(g *model.Graph, ops map[string]int) {
	for _, n := range g.Nodes {
		ops[n.Op]++
		for _, sub := range n.Subgraphs() {
			count(sub, ops)
		}
	}
}
