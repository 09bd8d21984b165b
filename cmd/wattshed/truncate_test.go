package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTruncatedModel cuts the model of a command off at random moments from its start to its end, and wants each time that the command either does what it
// does undisturbed or fails with an error that names the file, and never dies; then there is no output, nor anything else of it. Four cuts of each.
func TestTruncatedModel(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on windows")
	}
	if testing.Short() {
		t.Skip("runs for seconds")
	}
	dir := t.TempDir()
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	chainModel(t, filepath.Join(dir, "chain.onnx"), 384, 6, false, false)
	chainModel(t, filepath.Join(dir, "other.onnx"), 384, 6, false, false)
	copyOf, err := os.ReadFile(filepath.Join(dir, "small.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mails.onnx"), copyOf, 0o666); err != nil {
		t.Fatal(err)
	}
	truncated := 0
	for name, args := range map[string][]string{
		"half":     {"quantize", "chain.onnx", "-o", "out.onnx", "--scheme", "fp16"},
		"stream":   {"quantize", "chain.onnx", "-o", "out.onnx", "--scheme", "int4", "--stream"},
		"dynamic":  {"quantize", "chain.onnx", "-o", "out.onnx", "--scheme", "int8"},
		"static":   {"quantize", "chain.onnx", "-o", "out.onnx", "--scheme", "int8-static", "--batch", "64", "--samples", "8"},
		"gptq":     {"quantize", "chain.onnx", "-o", "out.onnx", "--scheme", "int4", "--algorithm", "gptq", "--batch", "64", "--samples", "4"},
		"hqq":      {"quantize", "chain.onnx", "-o", "out.onnx", "--scheme", "int4", "--algorithm", "hqq"},
		"fp8":      {"quantize", "chain.onnx", "-o", "out.onnx", "--scheme", "fp8"},
		"prune":    {"prune", "chain.onnx", "-o", "out.onnx", "--sparsity", "0.5"},
		"inspect":  {"inspect", "chain.onnx", "--passes", "--weights"},
		"harm":     {"inspect", "chain.onnx", "--sensitivity", "--samples", "2"},
		"verify":   {"verify", "chain.onnx", "--against", "other.onnx"},
		"measure":  {"measure", "chain.onnx", "other.onnx", "--batch", "16", "--max-seconds", "0.1", "--block-seconds", "0.01", "--pairs", "1"},
		"eval":     {"eval", "mails.onnx", "--task", "test.jsonl"},
		"distill":  {"distill", "mails.onnx", "-o", "out.onnx", "--data", "train.jsonl", "--epochs", "1"},
		"continue": {"distill", "small.onnx", "-o", "out.onnx", "--data", "train.jsonl", "--epochs", "1", "--student", "mails.onnx"},
	} {
		t.Run(name, func(t *testing.T) {
			model := args[1]
			if name == "continue" {
				model = "mails.onnx"
			}
			source, out := filepath.Join(dir, model), filepath.Join(dir, "out.onnx")
			whole := fileBytes(t, source)
			run := func(cut func(*exec.Cmd)) (text string, err error) {
				cmd := wattshed(dir, args...)
				var b bytes.Buffer
				cmd.Stdout, cmd.Stderr = &b, &b
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				cut(cmd)
				err = cmd.Wait()
				return b.String(), err
			}
			os.Remove(out) // of another command
			begin := time.Now()
			if text, err := run(func(*exec.Cmd) {}); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			took := time.Since(begin)
			want, _ := os.ReadFile(out) // of some commands
			seed := [32]byte{23}
			copy(seed[1:], name)
			rng := rand.New(rand.NewChaCha8(seed))
			for i := range 4 {
				os.Remove(out)
				size := []int64{0, 4096, rng.Int64N(int64(len(whole))), int64(len(whole)) - 8}[i]
				after := time.Duration((float64(i) + rng.Float64()) / 4 * float64(took)) // spread over the run
				text, err := run(func(*exec.Cmd) {
					time.Sleep(after)
					if err := os.Truncate(source, size); err != nil {
						t.Error(err)
					}
				})
				now, readErr := os.ReadFile(source)
				if readErr != nil || !bytes.Equal(now, whole[:size]) {
					t.Errorf("cut to %d bytes after %v: the model was changed: %v", size, after, readErr)
				}
				var exit *exec.ExitError
				switch {
				case err == nil:
					if got, _ := os.ReadFile(out); !bytes.Equal(got, want) {
						t.Errorf("cut to %d bytes after %v: another output", size, after)
					}
				case !errors.As(err, &exit) || exit.ExitCode() != exitFailed || strings.Contains(text, "goroutine ") || strings.Contains(text, "internal error") ||
					!strings.Contains(text, "wattshed: error: ") || !strings.Contains(text, model):
					t.Errorf("cut to %d bytes after %v of %v: %v\n%.3000s", size, after, took, err, text)
				default:
					if strings.Contains(text, "file is truncated") {
						truncated++
					}
					left, _ := filepath.Glob(out + "*")
					left = slices.DeleteFunc(left, func(s string) bool { return strings.HasSuffix(s, ".training") }) // the same command goes on from there
					if len(left) > 0 {
						t.Errorf("cut to %d bytes after %v: left behind: %v", size, after, left)
					}
				}
				if err := os.WriteFile(source, whole, 0o666); err != nil {
					t.Fatal(err)
				}
				if left, _ := filepath.Glob(out + ".*"); len(left) > 0 { // of training, which goes on from there
					for _, path := range left {
						os.RemoveAll(path)
					}
				}
			}
		})
	}
	if truncated == 0 {
		t.Error("no command met a file that was cut off while it was mapped")
	}
	t.Logf("%d commands met a file that was cut off while it was mapped", truncated)
}
