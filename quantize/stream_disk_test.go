//go:build linux

package quantize_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// TestStreamTruncated: a source that loses its end while it is read, be it the model's file or its external data, is an
// error that says so, and nothing is written.
func TestStreamTruncated(t *testing.T) {
	for _, external := range []bool{true, false} {
		dir := t.TempDir()
		in := largeModel(t, dir, 16<<20, 1024, external)
		source := in
		if external {
			source += ".data"
		}
		data, err := os.ReadFile(source)
		if err != nil || len(data) < 8<<20 {
			t.Fatal(len(data), err)
		}
		for _, scheme := range []string{"int4", "qdq", "fp16", "dynamic"} {
			cut := false
			s := streamSchemes()[scheme].s
			s.In, s.Out, s.Block, s.Workers = in, filepath.Join(dir, "out.onnx"), 1<<20, 1
			s.Progress = func(done, _ int64) {
				if !cut && done > 0 {
					cut = true
					if err := os.Truncate(source, 1<<20); err != nil {
						t.Error(err)
					}
				}
			}
			if _, err := s.Run(context.Background()); !errors.Is(err, model.ErrTruncated) {
				t.Errorf("%s, external %v: %v, want %v", scheme, external, err, model.ErrTruncated)
			}
			if _, err := os.Stat(s.Out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s, external %v: the output is there: %v", scheme, external, err)
			}
			leftovers(t, dir)
			if err := os.WriteFile(source, data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// diskChild names the environment variable that holds the folder in which TestStreamDiskFull, in a process with mounts of
// its own, mounts disks.
const diskChild = "WATTSHED_DISK_CHILD"

// TestStreamDiskFull: on a disk that is too small, fills up midway, or cannot be written to, the error says so and nothing
// is left. The disks are mounted by a process in a name space of its own, with a user name space where this is not root.
func TestStreamDiskFull(t *testing.T) {
	if dir := os.Getenv(diskChild); dir != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		testDiskFull(t, dir)
		return
	}
	users := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	tries := []*syscall.SysProcAttr{{Cloneflags: syscall.CLONE_NEWNS}, users}
	for i, attr := range tries {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestStreamDiskFull$", "-test.v")
		cmd.Env = append(os.Environ(), diskChild+"="+t.TempDir())
		cmd.SysProcAttr = attr
		b, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil && strings.Contains(string(b), "--- PASS: TestStreamDiskFull"):
			return
		case err == nil || errors.As(err, &exit):
			t.Fatalf("%v\n%s", err, b)
		case i < len(tries)-1:
		case os.Getenv("CI") != "":
			t.Fatal("no name space with mounts of its own: ", err)
		default:
			t.Skip("no name space with mounts of its own: ", err)
		}
	}
}

// disk mounts a disk of its own.
func disk(t *testing.T, dir, size string) string {
	t.Helper()
	path := filepath.Join(dir, "disk-"+size)
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	})
	return path
}

func testDiskFull(t *testing.T, dir string) {
	ctx := context.Background()
	in := largeModel(t, dir, 16<<20, 1024, true)
	before := contents(t, in)
	small := disk(t, dir, "1m")
	empty := func(when, path string) {
		t.Helper()
		if files, err := os.ReadDir(path); err != nil || len(files) > 0 {
			t.Errorf("%s: left behind: %v, %v", when, files, err)
		}
	}
	s := quantize.Stream{In: in, Out: filepath.Join(small, "out.onnx"), Half: model.Float16}
	if _, err := s.Run(ctx); !errors.Is(err, quantize.ErrDisk) || !strings.Contains(err.Error(), "out.onnx") {
		t.Errorf("planned: %v", err)
	}
	if _, err := s.Plan(ctx); !errors.Is(err, quantize.ErrDisk) {
		t.Errorf("plan: %v", err)
	}
	hqq := quantize.WeightOnly{Algorithm: quantize.HQQ}
	if _, err := (quantize.InMemory{In: in, Out: s.Out, WeightOnly: &hqq}).Plan(ctx); !errors.Is(err, quantize.ErrDisk) {
		t.Errorf("plan in memory: %v", err)
	}
	// the disk fills up after the plan, before the layout and while a file is written whole
	g, err := onnx.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	err = onnx.SaveStream(s.Out, g, onnx.WriteOptions{}, func(*onnx.Layout) error { t.Error("there was room"); return nil })
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("laid out: %v", err)
	}
	if err := onnx.Save(s.Out, g, onnx.WriteOptions{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("written whole: %v", err)
	}
	if err := onnx.Save(s.Out, g, onnx.WriteOptions{External: true}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("written whole, with external data: %v", err)
	}
	empty("1 MB", small)
	hqq.Checkpoints = filepath.Join(small, "kept")
	if _, err := hqq.Apply(ctx, g.Clone()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("checkpoints: %v", err)
	}
	leftovers(t, hqq.Checkpoints)
	midway(t, in, disk(t, dir, "24m"))
	readOnly := disk(t, dir, "2m")
	if err := syscall.Mount("", readOnly, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s = quantize.Stream{In: saved(t, streamModel(1), t.TempDir(), false), Out: filepath.Join(readOnly, "out.onnx"), Half: model.Float16}
	if _, err := s.Run(ctx); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
	if string(contents(t, in)) != string(before) {
		t.Error("the source was changed")
	}
}

// midway takes the disk's space away while a model is written to it: what was reserved for the output is given back, and
// another file takes it.
func midway(t *testing.T, in, disk string) {
	for _, scheme := range []string{"int4", "qdq", "fp16", "dynamic"} {
		s := streamSchemes()[scheme].s
		s.In, s.Out, s.Block, s.Workers = in, filepath.Join(disk, "out.onnx"), 1<<20, 1
		filler, full := filepath.Join(disk, "filler"), false
		s.Progress = func(done, _ int64) {
			if full {
				return
			}
			full = true
			parts, _ := filepath.Glob(filepath.Join(disk, "*.partial"))
			if len(parts) == 0 {
				t.Errorf("%s: nothing is being written", scheme)
			}
			for _, p := range parts {
				info, err := os.Stat(p)
				if err := errors.Join(err, os.Truncate(p, 0), os.Truncate(p, info.Size())); err != nil {
					t.Error(err)
				}
			}
			if err := os.WriteFile(filler, make([]byte, 32<<20), 0o666); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s: the disk is not full: %v", scheme, err)
			}
		}
		if _, err := s.Run(context.Background()); !errors.Is(err, syscall.ENOSPC) || !full {
			t.Errorf("%s: filled midway: %v", scheme, err)
		}
		os.Remove(filler)
		if files, _ := os.ReadDir(disk); len(files) > 0 {
			t.Errorf("%s: left behind: %v", scheme, files)
		}
	}
}

// TestFreeDisk: a file system that counts no blocks, as that of /proc, says nothing about what is free; folders that are not there are on the
// disk of the one that is.
func TestFreeDisk(t *testing.T) {
	if n := quantize.FreeDisk("/proc/out.onnx"); n != -1 {
		t.Errorf("%d bytes are free in /proc", n)
	}
	dir := t.TempDir()
	if n := quantize.FreeDisk(filepath.Join(dir, "not", "there", "out.onnx")); n <= 0 {
		t.Errorf("%d bytes are free for a folder to come", n)
	}
}

// canceling is a digest that cancels what it is for.
type canceling struct {
	hash.Hash
	cancel context.CancelFunc
}

func (c canceling) Write(b []byte) (int, error) {
	c.cancel()
	return c.Hash.Write(b)
}

// TestStreamDigestCanceled: an interruption while the digest is made ends the work, and nothing is left.
func TestStreamDigestCanceled(t *testing.T) {
	dir := t.TempDir()
	in := largeModel(t, dir, 4<<20, 512, false)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := streamSchemes()["fp16"].s
	s.In, s.Out, s.Digest = in, filepath.Join(dir, "out.onnx"), canceling{sha256.New(), cancel}
	if _, err := s.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	left, err := filepath.Glob(s.Out + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}
