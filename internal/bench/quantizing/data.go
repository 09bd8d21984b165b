package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/internal/tokenize"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// calibration writes 16 lines of the Brown corpus as text for one program and as token ids for the other.
func (s settings) calibration(context.Context) error {
	files, err := filepath.Glob(filepath.Join(s.assets, "D12/texts/c*"))
	if err != nil {
		return err
	}
	if len(files) < 16 {
		return fmt.Errorf("%d texts in %s: want 16", len(files), filepath.Join(s.assets, "D12/texts"))
	}
	f, err := os.Open(filepath.Join(s.assets, "M1/all-minilm-l6-v2-tokenizer.json"))
	if err != nil {
		return err
	}
	defer f.Close()
	tok, err := tokenize.Load(f)
	if err != nil {
		return err
	}
	var text strings.Builder
	arrays := map[string]*model.Tensor{}
	for i, file := range files[:16] {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		words := strings.Fields(string(b))
		words = words[:min(len(words), 60)]
		for k, w := range words {
			words[k] = w[:max(strings.LastIndexByte(w, '/'), 0)]
		}
		line := strings.Join(words, " ")
		fmt.Fprintln(&text, line)
		ids, types, mask := tok.Encode(line, 128)
		for name, x := range map[string][]int64{"input_ids": ids, "token_type_ids": types, "attention_mask": mask} {
			arrays[fmt.Sprintf("%04d.%s", i, name)] = model.FromSlice([]int{1, len(x)}, x)
		}
	}
	if err := os.WriteFile(filepath.Join(s.work, "calibration.txt"), []byte(text.String()), 0o666); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := task.WriteNPZ(&b, arrays); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.work, "calibration.npz"), b.Bytes(), 0o666)
}

// Of the large model: its external data are layers*rows*columns*4 bytes, 1.68 GB.
const layers, rows, columns = 50, 2048, 4096

// big writes a chain of products with random weights where it is missing.
func (s settings) big(context.Context) error {
	path := filepath.Join(s.work, "big.onnx")
	if err := os.MkdirAll(filepath.Join(s.work, "copy"), 0o777); err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	value := func(name string, width int64) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1, Param: "n"}, {Size: width}}}}
	}
	g := &model.Graph{Name: "big", Inputs: []*model.Value{value("x", rows)}, Outputs: []*model.Value{value(fmt.Sprint("y", layers-1), rows)}, Model: &model.Info{IRVersion: 8}}
	g.SetOpset("", 17)
	last := "x"
	for i := range layers {
		shape := []int{rows, columns}
		if i%2 == 1 {
			shape = []int{columns, rows}
		}
		t, err := model.NewLazy(model.Float32, shape, func() ([]byte, []string, error) { return weights(uint64(i)), nil, nil })
		if err != nil {
			return err
		}
		w, y := fmt.Sprint("w", i), fmt.Sprint("y", i)
		g.SetInitializer(w, t)
		g.Nodes = append(g.Nodes, &model.Node{Op: "MatMul", Name: fmt.Sprint("m", i), Inputs: []string{last, w}, Outputs: []string{y}})
		last = y
	}
	return onnx.Save(path, g, onnx.WriteOptions{})
}

// weights are rows*columns values between -1 and 1.
func weights(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 4))
	b := make([]byte, 4*rows*columns)
	for i := 0; i < len(b); i += 4 {
		binary.LittleEndian.PutUint32(b[i:], math.Float32bits(rng.Float32()*2-1))
	}
	return b
}
