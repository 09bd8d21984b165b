//go:build !static

package ort

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Places in OrtApi, the table of functions that ONNX Runtime only ever appends to
// (onnxruntime_c_api.h, MIT). All of them exist since API version 17.
const (
	fnGetErrorMessage           = 2
	fnCreateEnv                 = 3
	fnCreateSession             = 7
	fnCreateSessionFromArray    = 8
	fnRun                       = 9
	fnCreateSessionOptions      = 10
	fnSetOptimizedModelFilePath = 11
	fnSetGraphOptimizationLevel = 23
	fnSetIntraOpNumThreads      = 24
	fnSessionGetInputCount      = 30
	fnSessionGetOutputCount     = 31
	fnSessionGetInputTypeInfo   = 33
	fnSessionGetOutputTypeInfo  = 34
	fnSessionGetInputName       = 36
	fnSessionGetOutputName      = 37
	fnCreateTensorAsOrtValue    = 48
	fnCreateTensorWithData      = 49
	fnIsTensor                  = 50
	fnGetTensorMutableData      = 51
	fnFillStringTensor          = 52
	fnGetStringTensorDataLength = 53
	fnGetStringTensorContent    = 54
	fnCastTypeInfoToTensorInfo  = 55
	fnGetTensorElementType      = 60
	fnGetDimensionsCount        = 61
	fnGetDimensions             = 62
	fnGetSymbolicDimensions     = 63
	fnGetTensorTypeAndShape     = 65
	fnCreateMemoryInfo          = 68
	fnCreateCPUMemoryInfo       = 69
	fnAllocatorFree             = 76
	fnGetDefaultAllocator       = 78
	fnReleaseStatus             = 93
	fnReleaseSession            = 95
	fnReleaseValue              = 96
	fnReleaseTypeInfo           = 98
	fnReleaseTensorShape        = 99
	fnReleaseSessionOptions     = 100
	fnGetAvailableProviders     = 125
	fnReleaseAvailableProviders = 126
	fnAddSessionConfigEntry     = 130
	fnRunWithBinding            = 133
	fnCreateIoBinding           = 134
	fnReleaseIoBinding          = 135
	fnBindInput                 = 136
	fnBindOutputToDevice        = 138
	fnGetBoundOutputValues      = 140
	fnAppendTensorRT            = 170
	fnCreateTensorRTOptions     = 171
	fnReleaseTensorRTOptions    = 174
	fnUpdateTensorRTOptions     = 172
	fnReleaseMemoryInfo         = 94
	fnSynchronizeBoundInputs    = 202
	fnSynchronizeBoundOutputs   = 203
	fnUpdateCUDAOptions         = 206
	fnAppendCUDA                = 204
	fnCreateCUDAOptions         = 205
	fnReleaseCUDAOptions        = 208
	fnAppendProvider            = 216

	minAPI = 17
	maxAPI = 24
)

// Static tells that this build has no ONNX Runtime.
const Static = false

// library is a loaded ONNX Runtime with its environment.
type library struct {
	path, version string
	api           *[fnAppendProvider + 1]uintptr
	env           uintptr
	memory        uintptr // OrtMemoryInfo of host memory
	allocator     uintptr // default allocator, owned by the library
}

// Runtime is ONNX Runtime. The zero value finds the library by itself; use it by pointer, for the
// library is loaded once, at the first call of Load, Version or Providers.
type Runtime struct {
	Library string // path of the shared library; "" = Find

	once sync.Once
	lib  *library
	err  error
}

// Name returns "ort".
func (*Runtime) Name() string { return "ort" }

// Version returns the version of the library, such as "1.32.0".
func (r *Runtime) Version() (string, error) {
	if err := r.load(); err != nil {
		return "", err
	}
	return r.lib.version, nil
}

// Path returns the file of the library.
func (r *Runtime) Path() (string, error) {
	if err := r.load(); err != nil {
		return "", err
	}
	return r.lib.path, nil
}

func (r *Runtime) load() error {
	r.once.Do(func() {
		path := r.Library
		if path == "" {
			if path, r.err = Find(); r.err != nil {
				return
			}
		}
		r.lib, r.err = openAPI(path)
	})
	return r.err
}

func openAPI(path string) (*library, error) {
	entry, err := openLibrary(path)
	if err != nil {
		return nil, fmt.Errorf("ort: %s: %w", path, err)
	}
	base, _, _ := purego.SyscallN(entry)
	if base == 0 {
		return nil, fmt.Errorf("ort: %s: no API base", path)
	}
	fns := (*[2]uintptr)(pointer(base))
	v, _, _ := purego.SyscallN(fns[1])
	l := &library{path: path, version: goString(v)}
	major, minor := splitVersion(l.version)
	if major != 1 || minor < minAPI {
		return nil, fmt.Errorf("ort: %s: version %q: want 1.%d or newer", path, l.version, minAPI)
	}
	a, _, _ := purego.SyscallN(fns[0], uintptr(min(minor, maxAPI)))
	if a == 0 {
		return nil, fmt.Errorf("ort: %s: version %q does not offer API %d", path, l.version, min(minor, maxAPI))
	}
	l.api = (*[fnAppendProvider + 1]uintptr)(pointer(a))
	const severityFatal = 4 // errors come back as statuses, whole
	c := caller{lib: l}
	defer c.done()
	c.do(fnCreateEnv, severityFatal, c.str("wattshed"), c.out(&l.env))
	c.do(fnCreateCPUMemoryInfo, 0, 0, c.out(&l.memory))
	c.do(fnGetDefaultAllocator, c.out(&l.allocator))
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", path, c.err)
	}
	return l, nil
}

func splitVersion(v string) (major, minor int) {
	parts := strings.SplitN(v, ".", 3)
	if len(parts) < 2 {
		return 0, 0
	}
	major, _ = strconv.Atoi(parts[0])
	minor, _ = strconv.Atoi(parts[1])
	return major, minor
}

// caller makes a sequence of API calls: everything handed over stays pinned until done, and after the
// first failure the rest are left out.
type caller struct {
	lib *library
	pin runtime.Pinner
	err error
}

func (c *caller) done() { c.pin.Unpin() }

// do calls function fn, which returns a status; its message becomes the caller's error.
func (c *caller) do(fn int, args ...uintptr) {
	if c.err != nil {
		return
	}
	status, _, _ := purego.SyscallN(c.lib.api[fn], args...)
	if status != 0 {
		m, _, _ := purego.SyscallN(c.lib.api[fnGetErrorMessage], status)
		c.err = fmt.Errorf("ort: ONNX Runtime %s: %s", c.lib.version, goString(m))
		purego.SyscallN(c.lib.api[fnReleaseStatus], status)
	}
}

// release calls a releasing function, which returns nothing.
func (c *caller) release(fn int, handle uintptr) {
	if handle != 0 {
		purego.SyscallN(c.lib.api[fn], handle)
	}
}

// out pins p and returns its address, for a result.
func (c *caller) out(p *uintptr) uintptr {
	c.pin.Pin(p)
	return uintptr(unsafe.Pointer(p))
}

// str pins a zero-terminated copy of s and returns its address.
func (c *caller) str(s string) uintptr { return c.bytes(append([]byte(s), 0)) }

func (c *caller) bytes(b []byte) uintptr {
	if len(b) == 0 {
		b = make([]byte, 16)
	}
	c.pin.Pin(&b[0])
	return uintptr(unsafe.Pointer(&b[0]))
}

// words returns n words of the library's memory at p.
func words(p, n uintptr) []uintptr {
	if p == 0 {
		return nil
	}
	return unsafe.Slice((*uintptr)(pointer(p)), int(n))
}

// words pins w and returns its address.
func (c *caller) words(w []uintptr) uintptr {
	if len(w) == 0 {
		w = make([]uintptr, 1)
	}
	c.pin.Pin(&w[0])
	return uintptr(unsafe.Pointer(&w[0]))
}

// dims pins a shape as int64 and returns its address.
func (c *caller) dims(shape []int) uintptr {
	d := make([]int64, max(len(shape), 1))
	for i, n := range shape {
		d[i] = int64(n)
	}
	c.pin.Pin(&d[0])
	return uintptr(unsafe.Pointer(&d[0]))
}

// pointer turns an address of the library's memory into a pointer.
func pointer(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// goString copies a zero-terminated string out of the library's memory.
func goString(p uintptr) string {
	if p == 0 {
		return ""
	}
	start := pointer(p)
	n := 0
	for *(*byte)(unsafe.Add(start, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(start), n))
}
