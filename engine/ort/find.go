//go:build !static

package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// patterns of the library's file name by operating system, best first.
func patterns() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin":
		return []string{"libonnxruntime.dylib", "libonnxruntime.*.dylib"}
	}
	return []string{"libonnxruntime.so", "libonnxruntime.so.1", "libonnxruntime.so.*"}
}

// Find returns the path of the ONNX Runtime library: that of $WATTSHED_ORT (a file or its folder), else
// the first of the active Python environment, the user's and the system's Python packages, the system's
// library folders and this program's cache. It fails with ErrNotFound.
func Find() (string, error) {
	if v := os.Getenv(EnvLibrary); v != "" {
		info, err := os.Stat(v)
		if err != nil {
			return "", fmt.Errorf("ort: $%s: %w", EnvLibrary, err)
		}
		if !info.IsDir() {
			return v, nil
		}
		if p := inFolder(v); p != "" {
			return p, nil
		}
		return "", fmt.Errorf("ort: $%s: folder %q: %w", EnvLibrary, v, ErrNotFound)
	}
	for _, dir := range folders() {
		found, err := filepath.Glob(dir)
		if err != nil {
			continue
		}
		slices.Sort(found)
		slices.Reverse(found) // the newest Python first
		for _, f := range found {
			if p := inFolder(f); p != "" {
				return p, nil
			}
		}
	}
	return "", fmt.Errorf("ort: %w", ErrNotFound)
}

func inFolder(dir string) string {
	for _, p := range patterns() {
		found, err := filepath.Glob(filepath.Join(dir, p))
		if err == nil && len(found) > 0 {
			slices.Sort(found)
			return found[len(found)-1]
		}
	}
	return ""
}

func folders() []string {
	var out []string
	capi := filepath.Join("site-packages", "onnxruntime", "capi")
	if v := os.Getenv("VIRTUAL_ENV"); v != "" {
		out = append(out, filepath.Join(v, "lib", "python3*", capi), filepath.Join(v, "Lib", capi))
	}
	if home, err := os.UserHomeDir(); err == nil {
		out = append(out, filepath.Join(home, ".local", "lib", "python3*", capi),
			filepath.Join(home, ".pyenv", "versions", "*", "lib", "python3*", capi))
	}
	if cache, err := os.UserCacheDir(); err == nil {
		out = append(out, filepath.Join(cache, "wattshed", "onnxruntime"))
	}
	return append(out,
		filepath.Join("/usr/local/lib/python3*/dist-packages/onnxruntime/capi"),
		filepath.Join("/usr/local/lib/python3*", capi),
		filepath.Join("/usr/lib/python3*/dist-packages/onnxruntime/capi"),
		"/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
		"/opt/onnxruntime/lib", "/opt/homebrew/lib")
}
