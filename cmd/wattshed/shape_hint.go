package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/internal/task"
)

// shapeHint proposes a shape for every input that has an open one: that of a text for integers, of an image for floats of four dimensions, of
// a frame for a model that is known by its inputs. A size that neither the file nor convention gives is the letter N.
func shapeHint(e *task.OpenShape, name string) string {
	recipes := name == "run" || name == "search" || name == "demo"
	all := append([]*task.OpenShape{e}, e.Others...)
	frame, known := frameOf(all)
	var given []string
	texts, unknown := false, false
	for _, o := range all {
		var sizes []string
		for i := range o.Type.Shape {
			n := openSize(o, i)
			if n == 0 && known {
				n = frame.samples
			}
			if n == 0 {
				sizes, unknown = append(sizes, "N"), true
				continue
			}
			sizes = append(sizes, fmt.Sprint(n))
		}
		texts = texts || !o.Type.DType.IsFloat() && o.Axis == 1
		if recipes {
			given = append(given, fmt.Sprintf("%s: [%s]", o.Input, strings.Join(sizes, ", ")))
		} else {
			given = append(given, fmt.Sprintf("--shape %s=%s", o.Input, strings.Join(sizes, "x")))
		}
	}
	shapes := strings.Join(given, " ")
	if recipes {
		shapes = "inputs: {shapes: {" + strings.Join(given, ", ") + "}}"
	}
	these := "this input"
	if len(all) > 1 {
		these = "these inputs"
	}
	switch {
	case known:
		return fmt.Sprintf("%s fixes %s: %s", shapes, these, frame.what)
	case unknown:
		return fmt.Sprintf("%s fixes %s; N is the length of a run, which the file does not say", shapes, these)
	case !texts:
		return fmt.Sprintf("%s fixes %s", shapes, these)
	case recipes:
		return fmt.Sprintf("target: {sequence: 128} fixes the length of sequences, %s %s; texts fix both", shapes, these)
	}
	hint := fmt.Sprintf("--sequence 128 fixes the length of sequences, %s %s", shapes, these)
	if name == "measure" || name == "compare" { // which take no texts
		return hint
	}
	return hint + "; texts fix both"
}

// lengthHint says what to change where a sequence is longer than the model's positions.
func lengthHint(e *task.TooLong, name string) string {
	if name == "run" || name == "search" || name == "demo" {
		return fmt.Sprintf("target: {sequence: %d} and inputs: {max_length: %d} are the most that this model takes", e.Most, e.Most)
	}
	if name == "eval" {
		return fmt.Sprintf("--max-length %d is the most that this model takes", e.Most)
	}
	return fmt.Sprintf("--sequence %d is the most that this model takes, and so is a --shape %s=1x%d", e.Most, e.Input, e.Most)
}

// openSize proposes the size of a dimension; 0 where there is none to propose.
func openSize(o *task.OpenShape, i int) int64 {
	s := o.Type.Shape
	switch {
	case s[i].Known():
		return s[i].Size
	case i < len(o.Sizes) && o.Sizes[i] >= 0:
		return int64(o.Sizes[i])
	case i == o.Batch:
		return 1
	case o.Type.DType.IsFloat() && len(s) == 4:
		return imageSize(o, i)
	case !o.Type.DType.IsFloat():
		return 128
	}
	return 0
}

// imageSize is the size of dimension i of an image: 3 for channels, which stand second unless the last dimension is a number of channels or the
// second one cannot be, and 224 for height and width.
func imageSize(o *task.OpenShape, i int) int64 {
	s := o.Type.Shape
	channels := func(k int) bool { return s[k].Known() && s[k].Size <= 4 }
	axis := 1
	if !channels(1) && (channels(3) || s[1].Known()) || named(s[3].Param, "c", "channel", "channels") {
		axis = 3
	}
	if i == axis {
		return 3
	}
	return 224
}

func named(param string, words ...string) bool { return slices.Contains(words, strings.ToLower(param)) }

// frame is what a model takes at a time that says so nowhere in its file.
type frame struct {
	samples int64
	what    string
}

// frameOf knows models by their inputs.
func frameOf(open []*task.OpenShape) (frame, bool) {
	for _, o := range open { // silero's voice detector: input [?, ?] beside state [2, ?, 128]
		if o.Input != "input" || !o.Type.DType.IsFloat() || len(o.Type.Shape) != 2 {
			continue
		}
		for _, v := range o.Inputs {
			if s := v.Type.Shape; v.Name == "state" && len(s) == 3 && s[0].Size == 2 && s[2].Size == 128 {
				return frame{576, "a frame of 512 samples at 16 kHz behind 64 of the one before, as silero's voice detector takes it"}, true
			}
		}
	}
	return frame{}, false
}
