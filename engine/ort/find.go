//go:build !static

package ort

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// patterns of the library's file name by operating system, best first.
func patterns() []string {
	switch runtime.GOOS {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin":
		return []string{"libonnxruntime.dylib", "libonnxruntime.*.dylib"}
	}
	return []string{"libonnxruntime.so.*", "libonnxruntime.so"}
}

// Candidate is a library that was found, and by what.
type Candidate struct{ Path, Source string }

// Find returns the path of the ONNX Runtime library: the first of Candidates. It fails with ErrNotFound.
func Find() (string, error) {
	list, err := Candidates()
	if err != nil {
		return "", err
	}
	return list[0].Path, nil
}

// Candidates returns the libraries of this system in the order in which they are preferred: $WATTSHED_ORT (a file or its
// folder) alone where it is set; else those of the active Python environment, of the Python in PATH, of the user's and the
// system's Python packages, of the system's library folders, and of this program's cache. None is ErrNotFound.
func Candidates() ([]Candidate, error) {
	if v := os.Getenv(EnvLibrary); v != "" {
		info, err := os.Stat(v)
		if err != nil {
			return nil, fmt.Errorf("ort: $%s: %w", EnvLibrary, err)
		}
		if !info.IsDir() {
			return []Candidate{{v, "$" + EnvLibrary}}, nil
		}
		if p := inFolder(v); p != "" {
			return []Candidate{{p, "$" + EnvLibrary}}, nil
		}
		return nil, fmt.Errorf("ort: $%s: folder %q: %w", EnvLibrary, v, ErrNotFound)
	}
	var out []Candidate
	seen := map[string]bool{}
	for _, dir := range folders() {
		found, err := filepath.Glob(dir.Path)
		if err != nil {
			continue
		}
		slices.SortFunc(found, newest)
		for _, f := range found {
			p := inFolder(f)
			if real, err := filepath.EvalSymlinks(p); p != "" && err == nil && !seen[real] {
				seen[real] = true
				out = append(out, Candidate{p, dir.Source})
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("ort: %w", ErrNotFound)
	}
	return out, nil
}

// newest orders names by the numbers in them, the larger first: 1.32.0 before 1.9.0.
func newest(a, b string) int {
	numbers := func(s string) (out []int) {
		for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
			n, _ := strconv.Atoi(f)
			out = append(out, n)
		}
		return out
	}
	return cmp.Or(slices.Compare(numbers(b), numbers(a)), strings.Compare(b, a))
}

func inFolder(dir string) string {
	for _, p := range patterns() {
		found, err := filepath.Glob(filepath.Join(dir, p))
		if err == nil && len(found) > 0 {
			slices.SortFunc(found, newest)
			return found[0]
		}
	}
	return ""
}

// folders are the places to look in, as patterns.
func folders() []Candidate {
	var out []Candidate
	capi := filepath.Join("site-packages", "onnxruntime", "capi")
	add := func(source string, paths ...string) {
		for _, p := range paths {
			out = append(out, Candidate{p, source})
		}
	}
	for _, env := range []string{"VIRTUAL_ENV", "CONDA_PREFIX"} {
		if v := os.Getenv(env); v != "" {
			add("$"+env, filepath.Join(v, "lib", "python3*", capi), filepath.Join(v, "Lib", capi))
		}
	}
	if p, err := exec.LookPath("python3"); err == nil {
		if p, err = filepath.EvalSymlinks(p); err == nil {
			add("python3 in PATH", filepath.Join(filepath.Dir(filepath.Dir(p)), "lib", "python3*", capi))
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		add("Python packages of the user", filepath.Join(home, ".local", "lib", "python3*", capi),
			filepath.Join(home, ".pyenv", "versions", "*", "lib", "python3*", capi))
	}
	add("Python packages of the system", "/usr/local/lib/python3*/dist-packages/onnxruntime/capi",
		filepath.Join("/usr/local/lib/python3*", capi), "/usr/lib/python3*/dist-packages/onnxruntime/capi")
	add("$LD_LIBRARY_PATH", filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	add("system", "/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
		"/opt/onnxruntime/lib", "/opt/homebrew/lib")
	if dir, err := CacheDir(); err == nil {
		add("cache", filepath.Join(dir, "*"), dir)
	}
	return out
}
