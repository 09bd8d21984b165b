package main

import (
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
			"--sequence 128 fixes the length of sequences, --shape ids=1x128 this input; texts fix both"},
		{task.OpenShape{Input: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{size(1), open("length")}}, Axis: 1}, "run",
			"target: {sequence: 128} fixes the length of sequences, inputs: {shapes: {ids: [1, 128]}} this input; texts fix both"},
		{task.OpenShape{Input: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{open("n"), size(1), open("h"), open("w")}}, Axis: 2}, "measure",
			"--shape x=1x1x224x224 fixes this input"},
		{task.OpenShape{Input: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{open("n"), open("c"), size(48), open("w")}}, Axis: 1}, "measure",
			"--shape x=1x3x48x224 fixes this input"},
		{task.OpenShape{Input: "audio", Type: model.Type{DType: model.Float32, Shape: model.Shape{open("n"), open("t")}}, Axis: 1}, "measure",
			"--shape audio=1x128 fixes this input"},
	} {
		if got := shapeHint(&c.e, c.name); got != c.want {
			t.Errorf("%s: %q, want %q", c.e.Input, got, c.want)
		}
		if !strings.Contains(c.e.Error(), "is not fixed by batch, sequence or shapes") {
			t.Error(c.e.Error())
		}
	}
}
