//go:build !static && !windows

package ort

import "github.com/ebitengine/purego"

// openLibrary loads the library at path and returns the address of its one entry point.
func openLibrary(path string) (uintptr, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, err
	}
	return purego.Dlsym(lib, "OrtGetApiBase")
}

// pathBytes returns the path as the C API takes it, with its terminating zero.
func pathBytes(path string) []byte { return append([]byte(path), 0) }
