//go:build !static

package ort

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unsafe"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// provider is an execution provider by the recipe's word.
type provider struct {
	full   string // ONNX Runtime's name
	memory string // where its outputs stay; "" = host memory
	tested bool   // on hardware, by this project
	add    func(c *caller, session uintptr, keys, values uintptr, n int)
}

var providers = map[string]provider{
	"cpu":      {"CPUExecutionProvider", "", true, func(*caller, uintptr, uintptr, uintptr, int) {}},
	"cuda":     {"CUDAExecutionProvider", "Cuda", false, addWith(fnCreateCUDAOptions, fnUpdateCUDAOptions, fnAppendCUDA, fnReleaseCUDAOptions)},
	"tensorrt": {"TensorrtExecutionProvider", "Cuda", false, addWith(fnCreateTensorRTOptions, fnUpdateTensorRTOptions, fnAppendTensorRT, fnReleaseTensorRTOptions)},
	"webgpu": {"WebGpuExecutionProvider", "WebGPU_Buf", true, func(c *caller, session, keys, values uintptr, n int) {
		c.do(fnAppendProvider, session, c.str("WebGPU"), keys, values, uintptr(n))
	}},
}

// addWith adds a provider that has a structure of options of its own.
func addWith(create, update, add, free int) func(c *caller, session, keys, values uintptr, n int) {
	return func(c *caller, session, keys, values uintptr, n int) {
		var p uintptr
		c.do(create, c.out(&p))
		if n > 0 {
			c.do(update, p, keys, values, uintptr(n))
		}
		c.do(add, session, p)
		c.release(free, p)
	}
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

// addProvider adds the execution provider of the options, "" meaning cpu, with its settings.
func (r *Runtime) addProvider(c *caller, session uintptr, o engine.Options) error {
	name := o.Provider
	if name == "" {
		name = "cpu"
	}
	have, err := r.Providers()
	if err != nil {
		return err
	}
	var list [2][]uintptr
	for _, k := range slices.Sorted(maps.Keys(o.ProviderOptions)) {
		list[0], list[1] = append(list[0], c.str(k)), append(list[1], c.str(o.ProviderOptions[k]))
	}
	n := len(list[0])
	if n > 0 && name == "cpu" {
		return fmt.Errorf("ort: execution provider cpu has no options: %w", model.ErrUnsupported)
	}
	keys, values := c.words(list[0]), c.words(list[1])
	p, known := providers[name]
	if !known { // any other that the library has, by its name without the ending
		for _, full := range have {
			short := strings.TrimSuffix(full, "ExecutionProvider")
			if !strings.EqualFold(short, name) {
				continue
			}
			for _, word := range []string{full, short, strings.ToUpper(short)} { // older versions know short names alone, some in capitals
				try := caller{lib: c.lib}
				try.do(fnAppendProvider, session, try.str(word), keys, values, uintptr(n))
				try.done()
				if try.err == nil {
					return nil
				}
				err = cmp.Or(err, try.err)
			}
			return err
		}
		p.full = name
	}
	if !slices.Contains(have, p.full) {
		return fmt.Errorf("ort: execution provider %q: %s has only %s: %w", name, r.lib.path, strings.Join(have, ", "), model.ErrUnsupported)
	}
	p.add(c, session, keys, values, n)
	return c.err
}
