package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// memoryGroup makes a control group with a limit of memory below that of this process, and returns its folder; "" where
// none can be made here.
func memoryGroup(t *testing.T, limit int64) string {
	t.Helper()
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(own)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		tops, file := []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}, "memory.max"
		if part[1] != "" {
			tops, file = []string{"/sys/fs/cgroup/" + part[1]}, "memory.limit_in_bytes"
		}
		for _, top := range tops {
			for _, below := range []string{part[2], "/"} {
				dir := filepath.Join(top, below, "wattshed-test-"+strconv.Itoa(os.Getpid()))
				if _, err := os.Stat(filepath.Join(top, below, "cgroup.procs")); err != nil || os.Mkdir(dir, 0o755) != nil {
					continue
				}
				if os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(limit, 10)), 0o644) == nil {
					t.Cleanup(func() { os.Remove(dir) })
					return dir
				}
				os.Remove(dir)
			}
		}
	}
	return ""
}

// limited runs the program with arguments, within a control group if there is one, kills it when its resident set
// grows beyond limit, and returns the largest that was seen.
func limited(t *testing.T, group string, limit int64, args ...string) (peak int64, output string, err error) {
	t.Helper()
	self, err := exec.LookPath("wattshed")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	if group != "" {
		cmd = exec.Command("/bin/sh", append([]string{"-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, group, self}, args...)...)
	}
	cmd.Env = append(os.Environ(), "GOMAXPROCS=2")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return peak, out.String(), err
		case <-time.After(2 * time.Millisecond):
			if peak = max(peak, residentPeak(cmd.Process.Pid)); peak > limit {
				cmd.Process.Kill()
				<-ended
				return peak, out.String(), fmt.Errorf("killed: a resident set of %d MB", peak>>20)
			}
		}
	}
}

// residentPeak returns the largest resident set that a process has had, 0 when it is gone.
func residentPeak(pid int) int64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// TestQuantizeMemory: the program quantizes a model with external data in a fraction of its size: within a control group
// where one can be made, and never with a resident set above twice a block of 16 MiB for each of two workers and 64 MB.
// WATTSHED_LONG makes the model one of 4 GB and the group one of 256 MB.
func TestQuantizeMemory(t *testing.T) {
	width, count, limit := 2048, 25, int64(128<<20) // 400 MB
	if os.Getenv("WATTSHED_LONG") != "" {
		width, count, limit = 4096, 64, 256<<20
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.onnx"), filepath.Join(dir, "out.onnx")
	chainModel(t, in, width, count, true, true)
	size := int64(count) * int64(4*width*width)
	group := memoryGroup(t, limit)
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs); fs.Type == 0x01021994 { // the files themselves would count as memory of the group
		group = ""
	}
	t.Logf("control group %q", group)
	var least int64 // of the plans
	for _, scheme := range []string{"fp16", "int8", "int4"} {
		args := []string{"quantize", in, "-o", out, "--scheme", scheme, "--stream", "--json"}
		if group != "" {
			_, text, err := limited(t, group, limit, append(args, "--plan")...)
			var p quantize.StreamPlan
			if err != nil || json.Unmarshal([]byte(text), &p) != nil || p.FreeMemory > limit || p.MemoryBytes > limit || p.Seconds <= 0 {
				t.Errorf("%s: plan: %v: %.2000s", scheme, err, text)
			}
			if least == 0 || p.MemoryBytes < least {
				least = p.MemoryBytes
			}
		}
		begin := time.Now()
		peak, text, err := limited(t, group, 2*2*16<<20+64<<20, args...)
		if err != nil {
			t.Fatalf("%s: %v\n%.2000s", scheme, err, text)
		}
		t.Logf("%s: %d MB of weights in %.1f s, resident set at most %d MB", scheme, size>>20, time.Since(begin).Seconds(), peak>>20)
		g, err := onnx.Load(out)
		if err == nil {
			err = model.Validate(g)
		}
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
		}
		os.Remove(out)
		os.Remove(out + ".data")
	}
	if group == "" {
		return
	}
	// less than the blocks and the program: refused, and nothing is written
	shrink(t, group, least-4<<20)
	_, text, err := limited(t, group, 128<<20, "quantize", in, "-o", out, "--scheme", "fp16", "--stream")
	if err == nil || !strings.Contains(text, quantize.ErrMemory.Error()) {
		t.Errorf("%d MB: %v: %s", least>>20-4, err, text)
	}
	if left, _ := filepath.Glob(out + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestQuantizePlanHolds: a stage that works in memory runs within a control group of the memory of its plan and of 40 MB for the
// model's pages, kernel and activations, and is refused in one that is smaller than the plan.
func TestQuantizePlanHolds(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.onnx"), filepath.Join(dir, "out.onnx")
	chainModel(t, in, 1024, 8, false, false)
	for _, args := range [][]string{
		{"--scheme", "int4", "--algorithm", "gptq", "--batch", "8", "--samples", "2"},
		{"--scheme", "int4", "--algorithm", "hqq"},
		{"--scheme", "int8-static", "--batch", "8", "--samples", "2"},
		{"--scheme", "fp16", "--storage", "graph"},
	} {
		args = append([]string{"quantize", in, "-o", out, "--json"}, args...)
		_, text, err := limited(t, "", 1<<30, append(args, "--plan")...)
		var p quantize.StreamPlan
		if err != nil || json.Unmarshal([]byte(text), &p) != nil {
			t.Fatalf("%v: %v: %.2000s", args, err, text)
		}
		group := memoryGroup(t, p.MemoryBytes+40<<20)
		peak, text, err := limited(t, group, 1<<30, args...)
		if err != nil {
			t.Errorf("%v: within the %d MB of its plan: %v: %.2000s", args, p.MemoryBytes>>20, err, text)
		}
		t.Logf("%v: planned %d MB, resident set at most %d MB, group %q", args[5:], p.MemoryBytes>>20, peak>>20, group)
		if group == "" {
			continue
		}
		os.Remove(out)
		shrink(t, group, p.MemoryBytes-1<<20)
		if _, text, err := limited(t, group, 1<<30, args...); err == nil || !strings.Contains(text, quantize.ErrMemory.Error()) {
			t.Errorf("%v: in less than its plan: %v: %s", args, err, text)
		}
		if left, _ := filepath.Glob(out + "*"); len(left) > 0 {
			t.Errorf("%v: left behind: %v", args, left)
		}
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	}
}

// shrink sets a lower limit to a group.
func shrink(t *testing.T, group string, limit int64) {
	t.Helper()
	var err error
	for range 50 { // pages of files must go first
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			name := filepath.Join(group, file)
			if _, gone := os.Stat(name); gone != nil {
				continue
			}
			if err = os.WriteFile(name, []byte(strconv.FormatInt(limit, 10)), 0o644); err == nil {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal(err)
}
