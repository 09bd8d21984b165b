//go:build !static && windows

package ort

import (
	"unicode/utf16"

	"golang.org/x/sys/windows"
)

// openLibrary loads the library at path and returns the address of its one entry point.
func openLibrary(path string) (uintptr, error) {
	lib, err := windows.LoadLibrary(path)
	if err != nil {
		return 0, err
	}
	return windows.GetProcAddress(lib, "OrtGetApiBase")
}

// pathBytes returns the path as the C API takes it: UTF-16, with its terminating zero.
func pathBytes(path string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(path)), 0) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}
