package recipe

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/wattshed/wattshed/internal/task"
)

// bindArrays binds the arrays of a .npz file.
func (r *Recipe) bindArrays(b *bound, src *source) error {
	npz, err := openArrays(resolve(r.Dir, r.Inputs.NPZ))
	if err != nil {
		return err
	}
	in := &task.Arrays{NPZ: npz, Zero: slices.Sorted(maps.Keys(r.Inputs.State)), Shapes: r.Inputs.Shapes, Labels: "label"}
	if r.Task != nil {
		in.Limit = r.Task.Limit
		if r.Task.Label != "" {
			in.Labels = r.Task.Label
		}
	}
	if err := in.Bind(graphInputs(src.graph)); err != nil {
		return err
	}
	if err := checkState(r.Inputs.State, src.graph); err != nil {
		return err
	}
	b.inputs, b.describe, b.state = in, in.Describe(), r.Inputs.State
	b.dataName, b.dataSHA, b.digest = npz.Name, npz.SHA256, npz.SHA256
	if r.Task != nil && r.Task.Kind == "classification" {
		if err := b.number(r.Task, src, in); err != nil {
			return err
		}
	}
	batch := r.Target.Batch
	if in.Whole() || len(b.state) > 0 {
		batch = 1
	}
	b.task = r.scoring(b, batch)
	return b.collect(in, src.graph, r.Measure.Inputs, batch)
}

// number takes the classes from the array of labels.
func (b *bound) number(t *TaskSpec, src *source, in *task.Arrays) (err error) {
	if b.classes, err = in.Classes(); err != nil {
		return err
	}
	b.labels = t.Labels
	if b.labels == nil {
		if b.labels, err = labelsOf(src.graph); err != nil {
			return err
		}
	}
	most := slices.Max(b.classes)
	if b.labels == nil && most < 1<<16 {
		for i := range most + 1 {
			b.labels = append(b.labels, strconv.Itoa(i))
		}
	}
	if most >= len(b.labels) {
		return fmt.Errorf("recipe: %s: label %d: there are %d classes", in.NPZ.Name, most, len(b.labels))
	}
	return nil
}

func openArrays(path string) (*task.NPZ, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("recipe: %s: is no file", path)
	}
	return task.ReadNPZ(f, info.Size(), path)
}

// bindImages binds the images of a folder: all of them, or those that the data of the task names.
func (r *Recipe) bindImages(b *bound, src *source, builtin fs.FS) error {
	spec := &r.Inputs
	dir := resolve(r.Dir, spec.Images)
	var data *task.Dataset
	var err error
	if r.Task != nil && r.Task.Data != "" {
		label := ""
		if r.Task.Kind == "classification" {
			label = r.Task.Label
		}
		data, err = openData(r.Task.Data, r.Dir, r.Task.Text, label, builtin)
	} else {
		data, err = task.ListImages(dir)
	}
	if err != nil {
		return err
	}
	in := &task.Images{Name: filepath.Base(dir), Size: spec.Size, Resize: spec.Resize, Stretch: spec.Fit == "stretch", Mean: spec.Mean, Std: spec.Std,
		Layout: spec.Layout, Channels: spec.Channels}
	if r.Task != nil && r.Task.Kind == "classification" {
		for i, e := range data.Examples {
			if e.Label == "" {
				return fmt.Errorf("recipe: %s: image %d, %.80q, has no label: want a folder per label, or task.data", dir, i+1, e.Text)
			}
		}
		if err := b.label(r.Task, src, data); err != nil { // the labels of all: a limit leaves the classes as they are
			return err
		}
	}
	if r.Task != nil && r.Task.Limit > 0 && r.Task.Limit < len(data.Examples) {
		data.Examples = data.Examples[:r.Task.Limit]
		b.classes = b.classes[:min(len(b.classes), r.Task.Limit)]
	}
	if in.Files, err = data.Within(dir); err != nil {
		return err
	}
	if err := in.Bind(graphInputs(src.graph)); err != nil {
		return err
	}
	b.inputs, b.describe, b.dataName, b.dataSHA, b.digest = in, in.Describe(), in.Name, data.SHA256, data.SHA256
	b.task = r.scoring(b, r.Target.Batch)
	return b.collect(in, src.graph, r.Measure.Inputs, r.Target.Batch)
}
