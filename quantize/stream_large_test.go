//go:build linux

package quantize_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// streamChild names the environment variable that makes this test binary run a Stream and report its memory.
const streamChild = "WATTSHED_STREAM_CHILD"

// largeModel writes a chain of MatMul behind a table, of about size bytes of weights, which lie in a file of their own.
// No more than one weight is in memory at a time, the first of many alike.
func largeModel(t testing.TB, dir string, size int64, width int) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 12))
	raw := make([]byte, 4*width*width)
	for i := 0; i < len(raw); i += 4 {
		binary.LittleEndian.PutUint32(raw[i:], math.Float32bits(float32(rng.NormFloat64())*0.02))
	}
	ids := &model.Value{Name: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{{Size: unknown}}}}
	g := graphOf(values(ids), values(value("y", unknown, width)), nil)
	x := "table"
	for i := int64(0); i < size/int64(len(raw)); i++ {
		w, err := model.NewTensor(model.Float32, []int{width, width}, raw)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			g.SetInitializer("table", w)
			g.Nodes = append(g.Nodes, node("Gather", "x", "table", "ids"))
			x = "x"
			continue
		}
		name := fmt.Sprintf("w%d", i)
		g.SetInitializer(name, w)
		g.Nodes = append(g.Nodes, node("MatMul", "h"+name, x, name))
		x = "h" + name
	}
	g.Outputs[0].Name = x
	return saved(t, g, dir, true)
}

// highWater returns the largest resident set of this process so far.
func highWater(t testing.TB) int64 {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestStreamChild is no test: TestStreamMemory runs it in a process of its own.
func TestStreamChild(t *testing.T) {
	args := strings.Split(os.Getenv(streamChild), "|")
	if len(args) != 3 {
		t.Skip("run by TestStreamMemory")
	}
	debug.SetMemoryLimit(200 << 20)
	s := streamSchemes()[args[0]].s
	s.In, s.Out, s.Workers = args[1], args[2], 2
	start := time.Now()
	p, err := s.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("high water %d workers %d input %d output %d seconds %.2f\n", highWater(t), p.Workers, p.InputBytes, p.ModelBytes+p.DataBytes, time.Since(start).Seconds())
}

// TestStreamMemory: a process that quantizes a model with external data never holds more than twice the largest block
// per worker and 64 MB. `make test-quantize` takes a model of 4 GB, otherwise it has 200 MB.
func TestStreamMemory(t *testing.T) {
	size, width := int64(200<<20), 2048
	if os.Getenv("WATTSHED_LONG") != "" {
		size, width = 4<<30, 4096
	}
	dir := t.TempDir()
	in := largeModel(t, dir, size, width)
	runtime.GC()
	info, err := os.Stat(in + ".data")
	if err != nil || info.Size() < size-int64(4*width*width) {
		t.Fatal(info, err)
	}
	for _, scheme := range []string{"int4", "fp16", "dynamic"} {
		if os.Getenv("WATTSHED_LONG") == "" && scheme == "fp16" {
			continue
		}
		out := filepath.Join(dir, "out.onnx")
		cmd := exec.Command(os.Args[0], "-test.run", "^TestStreamChild$", "-test.v")
		cmd.Env = append(os.Environ(), streamChild+"="+scheme+"|"+in+"|"+out)
		b, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", scheme, err, b)
		}
		at := strings.Index(string(b), "high water")
		if at < 0 {
			t.Fatalf("%s: %s", scheme, b)
		}
		var water, workers, input, output int64
		var seconds float64
		if _, err := fmt.Sscanf(string(b)[at:], "high water %d workers %d input %d output %d seconds %g", &water, &workers, &input, &output, &seconds); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d MB of weights to %d MB in %.1f s, resident set at most %d MB", scheme, input>>20, output>>20, seconds, water>>20)
		if limit := workers*2*16<<20 + 64<<20; water > limit {
			t.Errorf("%s: resident set %d MB, want at most %d MB", scheme, water>>20, limit>>20)
		}
		if g, err := onnx.Load(out); err != nil || model.Validate(g) != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		os.Remove(out)
		os.Remove(out + ".data")
	}
	leftovers(t, dir)
}

// TestStreamTruncated: a source that loses its end while it is read is an error that says so, and nothing is written.
func TestStreamTruncated(t *testing.T) {
	dir := t.TempDir()
	in := largeModel(t, dir, 16<<20, 1024)
	for _, scheme := range []string{"int4", "fp16", "dynamic"} {
		cut := false
		s := streamSchemes()[scheme].s
		s.In, s.Out, s.Block, s.Workers = in, filepath.Join(dir, "out.onnx"), 1<<20, 1
		data, err := os.ReadFile(in + ".data")
		if err != nil {
			t.Fatal(err)
		}
		s.Progress = func(done, _ int64) {
			if !cut && done > 0 {
				cut = true
				if err := os.Truncate(in+".data", 1<<20); err != nil {
					t.Error(err)
				}
			}
		}
		if _, err := s.Run(context.Background()); !errors.Is(err, model.ErrTruncated) {
			t.Errorf("%s: %v, want %v", scheme, err, model.ErrTruncated)
		}
		if _, err := os.Stat(s.Out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the output is there: %v", scheme, err)
		}
		leftovers(t, dir)
		if err := os.WriteFile(in+".data", data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStreamDiskFull: on a disk that is too small, or cannot be written to, nothing is left.
func TestStreamDiskFull(t *testing.T) {
	dir := t.TempDir()
	in := largeModel(t, dir, 16<<20, 1024)
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no disk of its own can be mounted here: ", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	s := quantize.Stream{In: in, Out: filepath.Join(disk, "out.onnx"), Half: model.Float16}
	if _, err := s.Run(context.Background()); !errors.Is(err, quantize.ErrDisk) || !strings.Contains(err.Error(), "out.onnx") {
		t.Errorf("planned: %v", err)
	}
	if _, err := s.Plan(context.Background()); !errors.Is(err, quantize.ErrDisk) {
		t.Errorf("plan: %v", err)
	}
	// the disk fills up after the plan: the writer's own error
	g, err := onnx.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	err = onnx.SaveStream(s.Out, g, onnx.WriteOptions{}, func(*onnx.Layout) error { t.Error("there was room"); return nil })
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("written: %v", err)
	}
	if files, _ := os.ReadDir(disk); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	small := saved(t, streamModel(1), dir, false)
	s = quantize.Stream{In: small, Out: filepath.Join(disk, "out.onnx"), Half: model.Float16}
	if _, err := s.Run(context.Background()); !errors.Is(err, syscall.EROFS) {
		t.Errorf("read-only: %v", err)
	}
}

// TestStreamKilled: a process killed while it writes leaves either nothing under the name of the output or all of it, and
// the next run ends with the bytes of an undisturbed one and clears away what was left.
func TestStreamKilled(t *testing.T) {
	dir := t.TempDir()
	in := largeModel(t, dir, 96<<20, 1024)
	out := filepath.Join(dir, "out.onnx")
	s := streamSchemes()["int4"].s
	s.In, s.Out = in, out
	if _, err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := contents(t, out)
	for i := range 4 {
		os.Remove(out)
		cmd := exec.Command(os.Args[0], "-test.run", "^TestStreamChild$")
		cmd.Env = append(os.Environ(), streamChild+"=int4|"+in+"|"+out)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 1000 { // until it writes
			if left, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(left) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(i*7) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if _, err := os.Stat(out); err == nil && string(contents(t, out)) != string(want) {
			t.Error("killed: the output is there and not whole")
		}
		if _, err := s.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if string(contents(t, out)) != string(want) {
			t.Error("the run after the kill: other bytes")
		}
		leftovers(t, dir)
	}
}
