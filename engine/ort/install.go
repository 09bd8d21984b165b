package ort

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// CacheDir returns the folder into which Install puts libraries, a folder for each: wattshed/onnxruntime in the user's
// cache folder.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "wattshed", "onnxruntime"), nil
}

// Package is a published package that holds the library.
type Package struct {
	Client, Name, Version string // client is pip or npm
	Note                  string
	Files                 map[string]File // by GOOS/GOARCH
}

// File is the library inside a package.
type File struct{ Member, SHA256 string }

// Packages are the packages that Install knows, by the execution provider that they are for, the preferred one first.
func Packages() map[string][]Package {
	node := Package{"npm", "onnxruntime-node", "1.30.0", "CPU and WebGPU providers; WebGPU needs a Vulkan, Metal or Direct3D driver", map[string]File{
		"linux/amd64":   {"package/bin/napi-v6/linux/x64/libonnxruntime.so.1", "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23"},
		"linux/arm64":   {"package/bin/napi-v6/linux/arm64/libonnxruntime.so.1", "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76"},
		"darwin/arm64":  {"package/bin/napi-v6/darwin/arm64/libonnxruntime.1.30.0.dylib", "685d2be5dba1309c89d3a5324b7fd06a5c42f1a61bfea32d14c4cc28d072121d"},
		"windows/amd64": {"package/bin/napi-v6/win32/x64/onnxruntime.dll", "508c362f5673483dd3a086379c392795b2e42d10d5e6f3f90ebd7ac21c97af67"},
	}}
	wheel := Package{"pip", "onnxruntime", "1.32.0", "CPU provider", map[string]File{
		"linux/amd64":   {"onnxruntime/capi/libonnxruntime.so.1.32.0", "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f"},
		"linux/arm64":   {"onnxruntime/capi/libonnxruntime.so.1.32.0", "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a"},
		"darwin/arm64":  {"onnxruntime/capi/libonnxruntime.1.32.0.dylib", "fa585fabbea65b823b9a8f7e27d46aee3989d1be7e36b528203d3a1fd613aae7"},
		"windows/amd64": {"onnxruntime/capi/onnxruntime.dll", "443c0065fcdba17618ddef05050308f4b471893c5c7da0337d6957c9073ad8a7"},
	}}
	return map[string][]Package{"cpu": {wheel, node}, "webgpu": {node}}
}

// Choose returns the first of the packages for a provider that this system has a library in and a client for. Errors name the
// clients that are missing.
func Choose(provider string) (Package, error) {
	return choose(provider, runtime.GOOS+"/"+runtime.GOARCH, present)
}

func choose(provider, system string, present func(client string) bool) (Package, error) {
	list, ok := Packages()[provider]
	if !ok {
		return Package{}, fmt.Errorf("ort: no package has the execution provider %q", provider)
	}
	var missing []string
	for _, p := range list {
		if _, ok := p.Files[system]; !ok {
			continue
		}
		if present(p.Client) {
			return p, nil
		}
		missing = append(missing, fmt.Sprintf("%s (for %s)", p.Client, p.Name))
	}
	if missing == nil {
		return Package{}, fmt.Errorf("ort: no library for %s with the provider %s is known", system, provider)
	}
	return Package{}, fmt.Errorf("ort: no package client is there: want %s", strings.Join(missing, " or "))
}

// commands are the ways to call a client that fetch p into dir.
func commands(p Package, dir string) [][]string {
	switch p.Client {
	case "pip":
		args := []string{"download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", dir, p.Name + "==" + p.Version}
		return [][]string{append([]string{"python3", "-m", "pip"}, args...), append([]string{"pip3"}, args...), append([]string{"pip"}, args...)}
	case "npm":
		return [][]string{{"npm", "pack", "--silent", "--pack-destination", dir, p.Name + "@" + p.Version}}
	}
	return nil
}

// present reports whether one of the commands of a client can be called. Python without pip is none.
func present(client string) bool {
	for _, l := range commands(Package{Client: client}, "") {
		if _, err := exec.LookPath(l[0]); err != nil {
			continue
		}
		if l[0] != "python3" || exec.Command("python3", "-m", "pip", "--version").Run() == nil {
			return true
		}
	}
	return false
}

// maxLibrary bounds an unpacked library.
const maxLibrary = 1 << 30

// Install fetches the library of p for this system with the package client that is present, checks its digest and puts it
// into CacheDir; one that is there already is checked and kept. It returns its path.
func Install(ctx context.Context, p Package) (string, error) {
	f, ok := p.Files[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("ort: package %s %s: no library for %s/%s is known", p.Name, p.Version, runtime.GOOS, runtime.GOARCH)
	}
	cache, err := CacheDir()
	if err != nil {
		return "", fmt.Errorf("ort: %w", err)
	}
	return install(ctx, p, f, cache, download)
}

// install is Install into a folder, with a function that leaves the archive in a folder and returns its name.
func install(ctx context.Context, p Package, f File, cache string, get func(ctx context.Context, p Package, dir string) (string, error)) (string, error) {
	dir := filepath.Join(cache, p.Name+"-"+p.Version)
	target := filepath.Join(dir, path.Base(f.Member))
	if sum, err := digest(target); err == nil && sum == f.SHA256 {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("ort: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return "", fmt.Errorf("ort: %w", err)
	}
	defer os.RemoveAll(tmp)
	archive, err := get(ctx, p, tmp)
	if err != nil {
		return "", fmt.Errorf("ort: package %s %s: %w", p.Name, p.Version, err)
	}
	part := filepath.Join(tmp, "library")
	if err := unpack(archive, f.Member, part); err != nil {
		return "", fmt.Errorf("ort: package %s %s: %w", p.Name, p.Version, err)
	}
	sum, err := digest(part)
	if err != nil {
		return "", fmt.Errorf("ort: %w", err)
	}
	if sum != f.SHA256 {
		return "", fmt.Errorf("ort: package %s %s: %s has sha256 %s, want %s", p.Name, p.Version, f.Member, sum, f.SHA256)
	}
	if err := os.Rename(part, target); err != nil {
		return "", fmt.Errorf("ort: %w", err)
	}
	return target, nil
}

// download runs the package client.
func download(ctx context.Context, p Package, dir string) (string, error) {
	var errs []error
	for _, l := range commands(p, dir) {
		if _, err := exec.LookPath(l[0]); err != nil {
			errs = append(errs, err)
			continue
		}
		cmd := exec.CommandContext(ctx, l[0], l[1:]...)
		if out, err := cmd.CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w: %s", strings.Join(l[:min(3, len(l))], " "), err, tail(string(out))))
			continue
		}
		found, err := filepath.Glob(filepath.Join(dir, "*.[wt][hg][lz]"))
		if err != nil || len(found) != 1 {
			return "", fmt.Errorf("%s left %d archives", l[0], len(found))
		}
		return found[0], nil
	}
	return "", errors.Join(errs...)
}

// tail returns the last lines of what a client said.
func tail(s string) string {
	s = strings.TrimSpace(s)
	if i := len(s) - 600; i > 0 {
		s = "..." + s[i:]
	}
	return s
}

// digest returns the sha256 of a file in hex.
func digest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// unpack copies one member of a wheel or a tar archive to a file.
func unpack(archive, member, to string) error {
	if strings.HasSuffix(archive, ".whl") {
		z, err := zip.OpenReader(archive)
		if err != nil {
			return err
		}
		defer z.Close()
		r, err := z.Open(member)
		if err != nil {
			return err
		}
		defer r.Close()
		return save(r, to)
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err != nil {
			return fmt.Errorf("%s: %w", member, err)
		}
		if h.Name == member && h.Typeflag == tar.TypeReg {
			return save(r, to)
		}
	}
}

func save(r io.Reader, to string) error {
	w, err := os.Create(to)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(r, maxLibrary+1))
	if n > maxLibrary {
		err = fmt.Errorf("more than %d bytes", maxLibrary)
	}
	return errors.Join(err, w.Close())
}
