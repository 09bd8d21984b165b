package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
)

// source is a model with its data and the variants that are made of it.
type source struct {
	name        string
	path        string
	prepare     func() error // writes data that is missing
	inputs      recipe.InputsSpec
	calibration string // file or folder
	samples     int
	variants    []variant
}

// variant is a way to quantize; exactly one of stage and scheme is set.
type variant struct {
	name   string
	stage  *recipe.Quantize // ours
	scheme string           // of ort_models.py
}

func (v variant) by() string {
	if v.stage != nil {
		return "wattshed"
	}
	return "onnxruntime.quantization"
}

// file is the path of the variant's model.
func (l *lab) file(s *source, v variant) string {
	by := "ours"
	if v.stage == nil {
		by = "ort"
	}
	return filepath.Join(l.work, s.name, v.name+"."+by+".onnx")
}

// inputsOf are the recipe that the calibration inputs of s come from.
func inputsOf(s *source) *recipe.Recipe {
	r := &recipe.Recipe{Version: 1, Model: s.path, Dir: ".", Inputs: s.inputs, Target: recipe.TargetSpec{Runtime: "native", Batch: 1}}
	r.Inputs.Images, r.Inputs.NPZ = "", ""
	return r
}

// make makes the variant's model where it is missing.
func (l *lab) make(ctx context.Context, s *source, v variant) (string, error) {
	path := l.file(s, v)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if l.late() {
		return "", errDeadline
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", err
	}
	fmt.Fprintf(l.log, "accuracy: %s: making %s of %s\n", s.name, v.name, v.by())
	if v.stage == nil {
		return path, l.python3(ctx, s, v, path)
	}
	q := *v.stage
	if q.Mode == "static" || q.Algorithm == "gptq" || q.Algorithm == "awq" {
		q.Calibration, q.Samples = s.calibration, s.samples
	}
	_, err := recipe.ApplyStage(ctx, recipe.Single{In: s.path, Out: path, Stage: &q, Runtimes: l.options.Runtimes, Builtin: l.options.Builtin, Inputs: inputsOf(s)})
	return path, err
}

// python3 runs onnxruntime.quantization on the same calibration inputs.
func (l *lab) python3(ctx context.Context, s *source, v variant, path string) error {
	args := []string{l.script, s.path, path + ".partial", v.scheme}
	if strings.HasPrefix(v.scheme, "static") {
		file := filepath.Join(l.work, s.name, "calibration-runs.npz")
		if err := l.writeRuns(ctx, s, file); err != nil {
			return err
		}
		args = append(args, file)
	}
	if s.name == "silero" || s.name == "magika" {
		args = append(args, "--skip-symbolic") // its symbolic shape inference fails on them
	}
	if s.name == "magika" {
		args = append(args, "--per-tensor") // by channel it ends with an error about its biases
	}
	out, err := exec.CommandContext(ctx, l.python, args...).CombinedOutput()
	if err != nil {
		tail := bytes.TrimSpace(out)
		return fmt.Errorf("%s: %w: %s", v.name, err, tail[max(0, len(tail)-600):])
	}
	return os.Rename(path+".partial", path)
}

// writeRuns writes the calibration inputs as arrays; with state, that of the float model is carried from run to run.
func (l *lab) writeRuns(ctx context.Context, s *source, path string) error {
	feeds, err := recipe.Calibration(inputsOf(s), s.calibration, s.samples, l.options)
	if err != nil {
		return err
	}
	session, err := engine.Native{}.Load(ctx, engine.Artifact{Path: s.path}, engine.Options{})
	if err != nil {
		return err
	}
	defer session.Close()
	arrays := map[string]*model.Tensor{}
	var carried engine.Feed
	i := 0
	for f, err := range feeds.All() {
		if err != nil {
			return err
		}
		f = maps.Clone(f)
		maps.Copy(f, carried)
		for name, t := range f {
			arrays[fmt.Sprintf("%04d.%s", i, name)] = t
		}
		if len(s.inputs.State) > 0 {
			out, err := session.Run(ctx, f)
			if err != nil {
				return err
			}
			carried = engine.Feed{}
			for in, from := range s.inputs.State {
				carried[in] = out[from]
			}
		}
		i++
	}
	var b bytes.Buffer
	if err := task.WriteNPZ(&b, arrays); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

// sizeOf returns the bytes of a model with its external data, and the digest of its file.
func sizeOf(path string) (int64, string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, "", err
	}
	sum := sha256.Sum256(b)
	n := int64(len(b))
	data, err := os.Stat(path + ".data")
	if err == nil {
		n += data.Size()
	} else if !errors.Is(err, os.ErrNotExist) {
		return 0, "", err
	}
	return n, hex.EncodeToString(sum[:]), nil
}
