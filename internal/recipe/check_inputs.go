package recipe

import (
	"math"
	"slices"

	"github.com/wattshed/wattshed/internal/task"
)

// checkForm refuses inputs of more than one form.
func (in *InputsSpec) checkForm() error {
	forms := []struct {
		name string
		set  bool
	}{{"tokenizer", in.Tokenizer != ""}, {"npz", in.NPZ != ""}, {"images", in.Images != ""}, {"random", in.Random != nil}}
	first := ""
	for _, f := range forms {
		switch {
		case !f.set:
		case first != "":
			return faultf("inputs", "%s and %s exclude each other", first, f.name)
		default:
			first = f.name
		}
	}
	if in.plain() && (in.Text != "" || in.MaxLength != 0) {
		return faultf("inputs", "%s has neither text nor max_length", first)
	}
	return nil
}

// checkImages refuses settings of images that make no sense, or without images.
func (in *InputsSpec) checkImages() error {
	if in.Images == "" {
		for key, set := range map[string]bool{"size": in.Size != 0, "resize": in.Resize != 0, "fit": in.Fit != "", "mean": in.Mean != nil, "std": in.Std != nil,
			"layout": in.Layout != "", "channels": in.Channels != ""} {
			if set {
				return faultf("inputs."+key, "only images have it")
			}
		}
		return nil
	}
	if len(in.State) > 0 {
		return faultf("inputs.state", "goes with arrays and random inputs, not with images")
	}
	return in.checkImageKeys()
}

// checkImageKeys refuses settings of images that make no sense.
func (in *InputsSpec) checkImageKeys() error {
	const most = task.MaxImageSide
	switch {
	case in.Size < 0 || in.Size > most:
		return faultf("inputs.size", "%d: want 1 to %d pixels", in.Size, most)
	case in.Resize < 0 || in.Resize > most:
		return faultf("inputs.resize", "%d: want 1 to %d pixels", in.Resize, most)
	case !slices.Contains([]string{"", "crop", "stretch"}, in.Fit):
		return faultf("inputs.fit", "%q: want crop or stretch", in.Fit)
	case in.Fit == "stretch" && in.Resize != 0:
		return faultf("inputs.resize", "fit: stretch has none")
	case !slices.Contains([]string{"", "nchw", "nhwc"}, in.Layout):
		return faultf("inputs.layout", "%q: want nchw or nhwc", in.Layout)
	case !slices.Contains([]string{"", "rgb", "bgr", "gray"}, in.Channels):
		return faultf("inputs.channels", "%q: want rgb, bgr or gray", in.Channels)
	}
	for _, list := range []struct {
		key string
		x   []float64
	}{{"inputs.mean", in.Mean}, {"inputs.std", in.Std}} {
		if len(list.x) != 0 && len(list.x) != 1 && len(list.x) != 3 {
			return faultf(list.key, "%d values: want 1 or 3", len(list.x))
		}
		for _, v := range list.x {
			if math.IsNaN(v) || math.IsInf(v, 0) || list.key == "inputs.std" && v <= 0 {
				return faultf(list.key, "%v: makes no sense of pixels from 0 to 1", v)
			}
		}
	}
	return nil
}
