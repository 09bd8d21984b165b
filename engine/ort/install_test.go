package ort

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archive writes a wheel or a tar archive of one member.
func archive(t *testing.T, path, member, content string) {
	t.Helper()
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if strings.HasSuffix(path, ".whl") {
		z := zip.NewWriter(w)
		f, err := z.Create(member)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(content))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	g := gzip.NewWriter(w)
	z := tar.NewWriter(g)
	z.WriteHeader(&tar.Header{Name: member, Size: int64(len(content)), Typeflag: tar.TypeReg, Mode: 0o644})
	z.Write([]byte(content))
	if err := errors.Join(z.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestInstall: the library comes out of a wheel or a tar archive, once; another digest, a missing member or a client that
// fails is an error that leaves nothing behind.
func TestInstall(t *testing.T) {
	const content = "a library"
	sum := sha256.Sum256([]byte(content))
	good := File{"lib/capi/libx.so.1", hex.EncodeToString(sum[:])}
	for _, ending := range []string{".whl", ".tgz"} {
		cache, calls := t.TempDir(), 0
		p := Package{Name: "x", Version: "1.2"}
		get := func(_ context.Context, _ Package, dir string) (string, error) {
			calls++
			a := filepath.Join(dir, "x"+ending)
			archive(t, a, good.Member, content)
			return a, nil
		}
		for range 2 {
			path, err := install(t.Context(), p, good, cache, get)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != content || filepath.Base(path) != "libx.so.1" {
				t.Errorf("%s: %q, %v", path, b, err)
			}
		}
		if calls != 1 {
			t.Errorf("%s: fetched %d times", ending, calls)
		}
		if err := os.WriteFile(filepath.Join(cache, "x-1.2", "libx.so.1"), []byte("damaged"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := install(t.Context(), p, good, cache, get); err != nil || calls != 2 {
			t.Errorf("a damaged file: %v after %d", err, calls)
		}
		for want, f := range map[string]File{"sha256": {good.Member, strings.Repeat("0", 64)}, "lib/other.so": {"lib/other.so", good.SHA256}} {
			other := t.TempDir()
			if _, err := install(t.Context(), p, f, other, get); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v", want, err)
			}
			left, _ := filepath.Glob(filepath.Join(other, "*", "*"))
			if len(left) > 0 {
				t.Errorf("%s: left %v", want, left)
			}
		}
		fail := func(context.Context, Package, string) (string, error) { return "", errors.New("no client") }
		if _, err := install(t.Context(), p, good, t.TempDir(), fail); err == nil || !strings.Contains(err.Error(), "package x 1.2: no client") {
			t.Errorf("got %v", err)
		}
	}
}

// TestPackages: every digest is one, every member is a library.
func TestPackages(t *testing.T) {
	for provider, list := range Packages() {
		for _, p := range list {
			for system, f := range p.Files {
				if b, err := hex.DecodeString(f.SHA256); err != nil || len(b) != 32 || !strings.Contains(f.Member, "onnxruntime.") {
					t.Errorf("%s %s on %s: %+v", provider, p.Name, system, f)
				}
			}
		}
	}
}

// TestChoose: the client that is there decides, and a missing one is named.
func TestChoose(t *testing.T) {
	for _, c := range []struct{ provider, system, clients, want, wantErr string }{
		{"cpu", "linux/amd64", "pip npm", "onnxruntime", ""},
		{"cpu", "linux/amd64", "npm", "onnxruntime-node", ""},
		{"cpu", "darwin/arm64", "npm", "onnxruntime-node", ""},
		{"webgpu", "linux/amd64", "pip npm", "onnxruntime-node", ""},
		{"webgpu", "linux/amd64", "pip", "", "want npm (for onnxruntime-node)"},
		{"cpu", "linux/amd64", "", "", "want pip (for onnxruntime) or npm (for onnxruntime-node)"},
		{"cpu", "plan9/386", "pip npm", "", "no library for plan9/386"},
		{"cuda", "linux/amd64", "pip npm", "", `no package has the execution provider "cuda"`},
	} {
		p, err := choose(c.provider, c.system, func(client string) bool { return strings.Contains(c.clients, client) })
		if (err != nil) != (c.wantErr != "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s on %s with %q: error %v, want %q", c.provider, c.system, c.clients, err, c.wantErr)
		} else if err == nil && p.Name != c.want {
			t.Errorf("%s on %s with %q: %q, want %q", c.provider, c.system, c.clients, p.Name, c.want)
		}
	}
}
