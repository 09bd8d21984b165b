package recipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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

// diskChild names the environment variable that holds the folder in which TestDiskFull, in a process with mounts of its own, mounts disks.
const diskChild = "RECIPE_DISK_CHILD"

// TestDiskFull: a stage that has the model in memory, on a disk that is too small from the start, fills up while the stage works or while its output is
// written, or is read-only: the error says so, nothing half-written is left, and model and earlier output are as they were. The disks are
// mounted by a process in a name space of its own, with a user name space where this is not root.
func TestDiskFull(t *testing.T) {
	if dir := os.Getenv(diskChild); dir != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		diskFull(t, dir)
		return
	}
	if testing.Short() {
		t.Skip("quantizes for a minute without assembly, and no kernel has a part in what it tests")
	}
	users := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	tries := []*syscall.SysProcAttr{{Cloneflags: syscall.CLONE_NEWNS}, users}
	for i, attr := range tries {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestDiskFull$", "-test.v")
		cmd.Env = append(os.Environ(), diskChild+"="+t.TempDir())
		cmd.SysProcAttr = attr
		b, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil && strings.Contains(string(b), "--- PASS: TestDiskFull"):
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

// mounted mounts a disk of its own.
func mounted(t *testing.T, dir, size string) string {
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

// products writes a chain of four products of 512 x 512.
func products(t *testing.T, path string) []byte {
	t.Helper()
	const width = 512
	float := model.Type{DType: model.Float32, Shape: model.Shape{{Param: "batch", Size: -1}, {Size: width}}}
	g := &model.Graph{Name: "chain", Inputs: []*model.Value{{Name: "h", Type: float}}, Outputs: []*model.Value{{Name: "h3", Type: float}}, Model: &model.Info{IRVersion: 10}}
	g.SetOpset("", 21)
	rng := rand.New(rand.NewPCG(5, 6))
	x := "h"
	for i := range 4 {
		w := make([]float32, width*width)
		for i := range w {
			w[i] = float32(rng.NormFloat64()) / 22
		}
		name, out := fmt.Sprintf("w%d", i), fmt.Sprintf("h%d", i)
		g.SetInitializer(name, model.FromSlice([]int{width, width}, w))
		g.Nodes = append(g.Nodes, &model.Node{Name: "n" + name, Op: "MatMul", Inputs: []string{x, name}, Outputs: []string{out}})
		x = out
	}
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// filling is a stage before which the disk fills up but for some bytes.
type filling struct {
	Stage
	t      *testing.T
	filler string
	leave  int64
}

func (f filling) Apply(ctx context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error) {
	if err := os.WriteFile(f.filler, make([]byte, 64<<20), 0o666); !errors.Is(err, syscall.ENOSPC) {
		f.t.Errorf("the disk is not full: %v", err)
	}
	info, err := os.Stat(f.filler)
	if err == nil {
		err = os.Truncate(f.filler, info.Size()-f.leave)
	}
	if err != nil {
		f.t.Error(err)
	}
	return f.Stage.Apply(ctx, g, env)
}

func diskFull(t *testing.T, dir string) {
	ctx := context.Background()
	in := filepath.Join(dir, "in.onnx")
	source := products(t, in)
	single := func(st Stage, out string) Single {
		return Single{In: in, Out: out, Stage: st, Runtimes: natives, Threads: 2, Inputs: &Recipe{Dir: dir, Target: TargetSpec{Batch: 8}}}
	}
	stages := func() []Stage {
		return []Stage{&Quantize{Scheme: "fp16"}, &Quantize{Scheme: "int8"}, &Quantize{Scheme: "int8-static", Calibration: "random", Samples: 2}, &Quantize{Scheme: "fp8-e4m3"},
			&Quantize{Scheme: "int16", Mode: weightOnlyMode}, &Quantize{Scheme: "int4"}, &Quantize{Scheme: "int4", Format: "qdq"}, &Quantize{Scheme: "int4", Algorithm: "hqq"},
			&Quantize{Scheme: "int4", Algorithm: "gptq", Calibration: "random", Samples: 2}, &Quantize{Scheme: "int4", Algorithm: "awq", Calibration: "random", Samples: 2}, &Prune{Sparsity: 0.5}}
	}
	holds := func(what, path string, names ...string) {
		t.Helper()
		entries, err := os.ReadDir(path)
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if err != nil || strings.Join(got, " ") != strings.Join(names, " ") {
			t.Errorf("%s: the disk holds %q, want %q (%v)", what, got, names, err)
		}
	}

	tiny := mounted(t, dir, "64k")
	for _, st := range stages() {
		_, err := ApplyStage(ctx, single(st, filepath.Join(tiny, "out.onnx")))
		if !errors.Is(err, quantize.ErrDisk) && !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "out.onnx") {
			t.Errorf("%v on a disk of 64 KiB: %v", st.Options(), err)
		}
		holds(fmt.Sprint(st.Options()), tiny)
	}

	// Full once the stage works, but for less than any of the outputs; an output of before stays.
	small := mounted(t, dir, "8m")
	out, filler := filepath.Join(small, "out.onnx"), filepath.Join(small, "filler")
	for _, leave := range []int64{0, 300 << 10} {
		for _, st := range stages() {
			if err := os.WriteFile(out, []byte("of before"), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := ApplyStage(ctx, single(filling{st, t, filler, leave}, out))
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "out.onnx") {
				t.Errorf("%v, %d bytes left: %v", st.Options(), leave, err)
			}
			holds(fmt.Sprint(st.Options()), small, "filler", "out.onnx")
			if b, err := os.ReadFile(out); err != nil || string(b) != "of before" {
				t.Errorf("%v: the output of before is %q, %v", st.Options(), b, err)
			}
			if err := os.Remove(filler); err != nil {
				t.Error(err)
			}
		}
	}

	// Room for the output, but not for it and the finished weights that GPTQ, AWQ and HQQ keep meanwhile.
	middle := mounted(t, dir, "1m")
	out = filepath.Join(middle, "out.onnx")
	for _, algorithm := range []string{"gptq", "awq", "hqq"} {
		q := &Quantize{Scheme: "int4", Algorithm: algorithm}
		if algorithm != "hqq" {
			q.Calibration, q.Samples = "random", 2
		}
		_, err := ApplyStage(ctx, single(q, out))
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "out.onnx") {
			t.Errorf("%s, no room for finished weights: %v", algorithm, err)
		}
		holds(algorithm, middle)
	}

	locked := mounted(t, dir, "9m")
	if err := syscall.Mount("", locked, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, st := range stages() {
		if _, err := ApplyStage(ctx, single(st, filepath.Join(locked, "out.onnx"))); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "out.onnx") {
			t.Errorf("%v, read-only: %v", st.Options(), err)
		}
	}
	if b, err := os.ReadFile(in); err != nil || !bytes.Equal(b, source) {
		t.Errorf("the model was changed: %v", err)
	}
}

// TestRoomOfStages: one stage is refused before it begins, whatever it does with the model.
func TestRoomOfStages(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.onnx"), filepath.Join(dir, "out.onnx")
	products(t, in)
	for _, st := range []Stage{&Quantize{Scheme: "fp16"}, &Quantize{Scheme: "fp16", Storage: "graph", Calibration: "none"}, &Quantize{Scheme: "int8"}, &Quantize{Scheme: "int4"},
		&Quantize{Scheme: "int8-static", Calibration: "random", Samples: 2}, &Quantize{Scheme: "int4", Algorithm: "hqq"}, &Prune{Sparsity: 0.5}} {
		s := Single{In: in, Out: out, Stage: st, Runtimes: natives, Threads: 1, Disk: 1000, Inputs: &Recipe{Dir: dir, Target: TargetSpec{Batch: 8}}}
		_, err := ApplyStage(context.Background(), s)
		if !errors.Is(err, quantize.ErrDisk) || !strings.Contains(err.Error(), "out.onnx") || !strings.Contains(err.Error(), "1000 are free") {
			t.Errorf("%v: %v", st.Options(), err)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v: an output is left: %v", st.Options(), err)
		}
	}
}
