package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
)

// TestShapeHint: an open shape of integers is proposed as that of a text, one of floats in four dimensions as that of an image, with the sizes
// that are known.
func TestShapeHint(t *testing.T) {
	open := func(name string) model.Dim { return model.Dim{Size: -1, Param: name} }
	size := func(n int64) model.Dim { return model.Dim{Size: n} }
	for _, c := range []struct {
		e          task.OpenShape
		name, want string
	}{
		{task.OpenShape{Input: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{open("batch"), open("length")}}, Axis: 1}, "measure",
			"--sequence 128 fixes the length of sequences, --shape ids=1x128 this input"},
		{task.OpenShape{Input: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{open("batch"), open("length")}}, Axis: 1}, "inspect",
			"--sequence 128 fixes the length of sequences, --shape ids=1x128 this input; texts fix both"},
		{task.OpenShape{Input: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{size(1), open("length")}}, Axis: 1}, "run",
			"target: {sequence: 128} fixes the length of sequences, inputs: {shapes: {ids: [1, 128]}} this input; texts fix both"},
		{task.OpenShape{Input: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{open("n"), size(1), open("h"), open("w")}}, Axis: 2}, "measure",
			"--shape x=1x1x224x224 fixes this input"},
		{task.OpenShape{Input: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{open("n"), open("c"), size(48), open("w")}}, Axis: 1}, "measure",
			"--shape x=1x3x48x224 fixes this input"},
		{task.OpenShape{Input: "audio", Type: model.Type{DType: model.Float32, Shape: model.Shape{open("n"), open("t")}}, Axis: 1}, "measure",
			"--shape audio=1xN fixes this input; N is the length of a run, which the file does not say"},
		{task.OpenShape{Input: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{open("n"), open("h"), open("w"), size(3)}}, Axis: 1}, "measure",
			"--shape x=1x224x224x3 fixes this input"},
		{task.OpenShape{Input: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{open("n"), size(160), open("w"), open("c")}}, Axis: 2}, "run",
			"inputs: {shapes: {x: [1, 160, 224, 3]}} fixes this input"},
		{task.OpenShape{Input: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{open(""), open(""), open(""), open("channels")}}, Axis: 1}, "measure",
			"--shape x=1x224x224x3 fixes this input"},
		{task.OpenShape{Input: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{open("batch"), open("length")}}, Axis: 1, Sizes: []int{4, -1},
			Others: []*task.OpenShape{{Input: "audio", Type: model.Type{DType: model.Float32, Shape: model.Shape{size(2), open("t"), size(80)}}, Axis: 1, Sizes: []int{2, -1, 80}}}}, "measure",
			"--shape ids=4x128 --shape audio=2xNx80 fixes these inputs; N is the length of a run, which the file does not say"},
	} {
		if got := shapeHint(&c.e, c.name); got != c.want {
			t.Errorf("%s: %q, want %q", c.e.Input, got, c.want)
		}
		for _, o := range c.e.Others {
			if want := fmt.Sprintf("; nor is dimension %d (t) of input %q", o.Axis, o.Input); !strings.Contains(c.e.Error(), want) {
				t.Errorf("%v, want %q in it", &c.e, want)
			}
		}
		if !strings.Contains(c.e.Error(), "is not fixed by batch, sequence or shapes") {
			t.Error(c.e.Error())
		}
	}
}

// TestShapeHintSilero: of silero's voice detector the hint has the length of its frame, whether or not the state's batch is known.
func TestShapeHintSilero(t *testing.T) {
	open, size := model.Dim{Size: -1}, func(n int64) model.Dim { return model.Dim{Size: n} }
	value := func(name string, d model.DType, shape ...model.Dim) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: d, Shape: shape}}
	}
	g := &model.Graph{Inputs: []*model.Value{value("input", model.Float32, open, open), value("state", model.Float32, size(2), open, size(128)), {Name: "sr", Type: model.Type{DType: model.Int64, Shape: model.Shape{}}}},
		Outputs: []*model.Value{value("output", model.Float32, open, size(1)), value("stateN", model.Float32, open, open, open)}}
	for batch, want := range map[int64]string{1: "--shape input=1x576 fixes this input: a frame of 512 samples", 0: "--shape input=1x576 --shape state=2x1x128 fixes these inputs: a frame"} {
		var e *task.OpenShape
		if err := (&task.Random{N: 1, Batch: batch}).Bind(g); !errors.As(err, &e) {
			t.Fatalf("batch %d: %v", batch, err)
		}
		if got := shapeHint(e, "measure"); !strings.HasPrefix(got, want) {
			t.Errorf("batch %d: %q, want %q", batch, got, want)
		}
	}
}

// TestLengthHint: the hint has a flag or a key that the command has.
func TestLengthHint(t *testing.T) {
	e := &task.TooLong{Input: "ids", Length: 300, Positions: task.Positions{Most: 256, Table: "places"}}
	for name, want := range map[string]string{
		"eval":    "--max-length 256 is the most that this model takes",
		"measure": "--sequence 256 is the most that this model takes, and so is a --shape ids=1x256",
		"run":     "target: {sequence: 256} and inputs: {max_length: 256} are the most that this model takes",
	} {
		if got := lengthHint(e, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
