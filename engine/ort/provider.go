//go:build !static

package ort

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/wattshed/wattshed/model"
)

// providers are the execution providers by the recipe's word: ONNX Runtime's name, and how it is added.
var providers = map[string]struct {
	full string
	add  func(c *caller, options uintptr)
}{
	"cpu":      {"CPUExecutionProvider", func(*caller, uintptr) {}},
	"cuda":     {"CUDAExecutionProvider", addCUDA},
	"tensorrt": {"TensorrtExecutionProvider", addTensorRT},
	"webgpu":   {"WebGpuExecutionProvider", func(c *caller, o uintptr) { c.do(fnAppendProvider, o, c.str("WebGPU"), 0, 0, 0) }},
}

func addCUDA(c *caller, options uintptr) {
	var p uintptr
	c.do(fnCreateCUDAOptions, c.out(&p))
	c.do(fnAppendCUDA, options, p)
	c.release(fnReleaseCUDAOptions, p)
}

func addTensorRT(c *caller, options uintptr) {
	var p uintptr
	c.do(fnCreateTensorRTOptions, c.out(&p))
	c.do(fnAppendTensorRT, options, p)
	c.release(fnReleaseTensorRTOptions, p)
}

// Providers returns the names of the execution providers that the library was built with.
func (r *Runtime) Providers() ([]string, error) {
	if err := r.load(); err != nil {
		return nil, err
	}
	c := caller{lib: r.lib}
	defer c.done()
	var list, n uintptr
	c.do(fnGetAvailableProviders, c.out(&list), c.out(&n))
	if c.err != nil {
		return nil, c.err
	}
	n &= 0xffffffff // the function writes an int
	var out []string
	for _, p := range unsafe.Slice((*uintptr)(pointer(list)), int(n)) {
		out = append(out, goString(p))
	}
	c.do(fnReleaseAvailableProviders, list, n)
	return out, c.err
}

// addProvider adds the execution provider called name, "" meaning cpu.
func (r *Runtime) addProvider(c *caller, options uintptr, name string) error {
	if name == "" {
		name = "cpu"
	}
	have, err := r.Providers()
	if err != nil {
		return err
	}
	p, known := providers[name]
	if !known { // any other that the library has, by its name without the ending
		for _, full := range have {
			if short := strings.TrimSuffix(full, "ExecutionProvider"); strings.EqualFold(short, name) {
				c.do(fnAppendProvider, options, c.str(short), 0, 0, 0)
				return c.err
			}
		}
		p.full = name
	}
	if !slices.Contains(have, p.full) {
		return fmt.Errorf("ort: execution provider %q: %s has only %s: %w", name, r.lib.path, strings.Join(have, ", "), model.ErrUnsupported)
	}
	p.add(c, options)
	return c.err
}
