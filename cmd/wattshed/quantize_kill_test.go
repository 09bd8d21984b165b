package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// chainModel writes a chain of count products of width x width, which share the bytes of one random matrix but are stored
// each, beside the file where external is set. With table, the first is a table that rows are looked up in.
func chainModel(t *testing.T, path string, width, count int, table, external bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(11, 12))
	raw := make([]byte, 4*width*width)
	for i := 0; i < len(raw); i += 4 {
		binary.LittleEndian.PutUint32(raw[i:], math.Float32bits(float32(rng.NormFloat64())*0.05))
	}
	float := model.Type{DType: model.Float32, Shape: model.Shape{{Param: "batch", Size: -1}, {Size: int64(width)}}}
	g := &model.Graph{Name: "chain", Inputs: []*model.Value{{Name: "x", Type: float}}, Model: &model.Info{IRVersion: 8}}
	g.SetOpset("", 17)
	x := "x"
	for i := range count {
		w, err := model.NewTensor(model.Float32, []int{width, width}, raw)
		if err != nil {
			t.Fatal(err)
		}
		name, out := fmt.Sprintf("w%d", i), fmt.Sprintf("h%d", i)
		g.SetInitializer(name, w)
		n := &model.Node{Name: "product" + name, Op: "MatMul", Inputs: []string{x, name}, Outputs: []string{out}}
		if table && i == 0 {
			g.Inputs[0].Type = model.Type{DType: model.Int64, Shape: model.Shape{{Param: "batch", Size: -1}}}
			n.Op, n.Inputs = "Gather", []string{name, x}
		}
		g.Nodes = append(g.Nodes, n)
		x = out
	}
	g.Outputs = []*model.Value{{Name: x, Type: float}}
	if err := onnx.Save(path, g, onnx.WriteOptions{External: external}); err != nil {
		t.Fatal(err)
	}
}

// TestQuantizeKilled kills `wattshed quantize` with SIGKILL at random moments from its start to its end, again and again,
// and wants each time that the output is not there or whole, that the model is as it was, and that the same command,
// given again, ends with the file of a run that nobody disturbed and leaves nothing besides. GPTQ and AWQ, which may take minutes,
// must go on from the weights that they had finished. Three kills of each, or as many as WATTSHED_KILLS says.
func TestQuantizeKilled(t *testing.T) {
	kills := 3
	if s := os.Getenv("WATTSHED_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil || kills < 1 {
			t.Fatalf("WATTSHED_KILLS: %q: want a number", s)
		}
	}
	dir := t.TempDir()
	stream, chain := filepath.Join(dir, "stream.onnx"), filepath.Join(dir, "chain.onnx")
	chainModel(t, stream, 1024, 16, true, true)
	chainModel(t, chain, 384, 12, false, false)
	for name, args := range map[string][]string{
		"fp16":    {stream, "--scheme", "fp16", "--stream"},
		"dynamic": {stream, "--scheme", "int8", "--stream"},
		"int4":    {stream, "--scheme", "int4", "--stream"},
		"gptq":    {chain, "--scheme", "int4", "--algorithm", "gptq", "--batch", "64", "--samples", "4"},
		"awq":     {chain, "--scheme", "int4", "--algorithm", "awq", "--batch", "64", "--samples", "4"},
		"static":  {chain, "--scheme", "int8-static", "--batch", "64", "--samples", "64"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(dir, name+".onnx")
			args := append([]string{"quantize", args[0], "-o", out, "--quiet"}, args[1:]...)
			finish := func(when string) time.Duration {
				begin := time.Now()
				if text, err := wattshed(dir, args...).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", when, err, text)
				}
				left, _ := filepath.Glob(out + "*.partial")
				folders, _ := filepath.Glob(out + ".quantizing*")
				if left = append(left, folders...); len(left) > 0 {
					t.Errorf("%s: left behind: %v", when, left)
				}
				return time.Since(begin)
			}
			took := finish("undisturbed")
			want := fileBytes(t, out)
			source := fileBytes(t, args[1])
			seed := [32]byte{17}
			copy(seed[1:], name)
			rng := rand.New(rand.NewChaCha8(seed))
			for i := range kills {
				os.Remove(out)
				cmd := wattshed(dir, args...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				after := time.Duration((float64(i) + rng.Float64()) / float64(kills) * float64(took)) // spread over the run
				time.Sleep(after)
				cmd.Process.Kill()
				cmd.Wait()
				if got, err := os.ReadFile(out); err == nil && !bytes.Equal(got, want) {
					t.Errorf("killed after %v: the output is there and not whole", after)
				}
				kept, _ := filepath.Glob(out + ".quantizing/weight-*")
				t.Logf("killed after %v of %v: %d weights kept", after, took, len(kept))
				finish("after the kill")
				if !bytes.Equal(fileBytes(t, out), want) {
					t.Errorf("killed after %v: the same command ends with other bytes", after)
				}
				if !bytes.Equal(fileBytes(t, args[1]), source) {
					t.Errorf("killed after %v: the model was changed", after)
				}
			}
			if name == "gptq" || name == "awq" {
				resumed(t, dir, out, args, want)
			}
		})
	}
}

// resumed kills a job once it has finished some weights, and wants that the next one does not do these again: a kept weight
// keeps the time that it was written at.
func resumed(t *testing.T, dir, out string, args []string, want []byte) {
	t.Helper()
	os.Remove(out)
	cmd := wattshed(dir, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var kept []string
	for range 60000 { // a minute and more
		if kept, _ = filepath.Glob(out + ".quantizing/weight-*"); len(kept) >= 3 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cmd.Process.Kill()
	if cmd.Wait(); cmd.ProcessState.Success() || len(kept) < 3 {
		t.Fatalf("not killed in its midst: %v, %v", cmd.ProcessState, kept)
	}
	first := filepath.Join(out+".quantizing", "weight-00000")
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	cmd = wattshed(dir, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil || !bytes.Equal(fileBytes(t, out), want) {
				t.Errorf("resumed: %v, or other bytes", err)
			}
			if seen == 0 {
				t.Error("the second job was not seen at work")
			}
			return
		case <-time.After(time.Millisecond):
			if now, err := os.Stat(first); err == nil {
				if seen++; now.ModTime() != before.ModTime() {
					t.Fatal("a finished weight was made again")
				}
			}
		}
	}
}

// fileBytes returns the bytes of a model and of its external data.
func fileBytes(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path + ".data")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return append(b, data...)
}
