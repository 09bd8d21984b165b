package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// resizeOps change the sampling of tensors.
func resizeOps() map[string]opDef {
	return qualify("", map[string]opDef{"Resize": plain(opResize), "Upsample": plain(opUpsample)})
}

// resample holds the attributes of Resize for one axis.
type resample struct {
	mode, coord, nearest string
	cubic                float64
	exclude, antialias   bool
	extrapolate          float64
}

func opUpsample(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	var scales []float64
	if c.Opset >= 9 {
		t, err := c.Need(1)
		if err != nil {
			return err
		}
		if scales, err = c.toFloat64(t); err != nil {
			return err
		}
	} else if a := c.Node.Attr("scales"); a != nil {
		for _, s := range a.Floats {
			scales = append(scales, float64(s))
		}
	}
	return resizeAll(c, x, scales, nil, nil, resample{mode: c.Node.Str("mode", "nearest"), coord: "asymmetric", nearest: "simple"})
}

// opResize reads X, roi, scales, sizes (X, scales in opset 10).
func opResize(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	n := c.Node
	r := resample{mode: n.Str("mode", "nearest"), coord: n.Str("coordinate_transformation_mode", "half_pixel"),
		nearest: n.Str("nearest_mode", "round_prefer_floor"), cubic: float64(n.Float("cubic_coeff_a", -0.75)),
		exclude: n.Int("exclude_outside", 0) != 0, antialias: n.Int("antialias", 0) != 0,
		extrapolate: float64(n.Float("extrapolation_value", 0))}
	var roi, scales []float64
	var sizes []int
	if c.Opset < 11 {
		r.coord, r.nearest = "asymmetric", "simple"
		t, err := c.Need(1)
		if err != nil {
			return err
		}
		if scales, err = c.toFloat64(t); err != nil {
			return err
		}
		return resizeAll(c, x, scales, nil, nil, r)
	}
	if t := c.Arg(1); t != nil && t.Len() > 0 {
		if roi, err = c.toFloat64(t); err != nil {
			return err
		}
	}
	if t := c.Arg(2); t != nil && t.Len() > 0 {
		if scales, err = c.toFloat64(t); err != nil {
			return err
		}
	}
	if t := c.Arg(3); t != nil && t.Len() > 0 {
		if sizes, err = ints(t); err != nil {
			return err
		}
	}
	list := attrInts(n, "axes")
	if list == nil {
		for i := range x.Rank() {
			list = append(list, i)
		}
	}
	return resizeAxes(c, x, list, roi, scales, sizes, r)
}

// resizeAxes spreads values given for some axes over all.
func resizeAxes(c *Call, x *model.Tensor, list []int, roi, scales []float64, sizes []int, r resample) error {
	rank := x.Rank()
	if scales != nil && len(scales) != len(list) || sizes != nil && len(sizes) != len(list) || roi != nil && r.coord == "tf_crop_and_resize" && len(roi) != 2*len(list) {
		return fmt.Errorf("scales %v, sizes %v and roi %v do not fit %d axes", scales, sizes, roi, len(list))
	}
	if (scales == nil) == (sizes == nil) {
		return fmt.Errorf("one of scales and sizes is needed")
	}
	full, want, region := make([]float64, rank), make([]int, rank), make([]float64, 2*rank)
	for i := range full {
		full[i], want[i], region[rank+i] = 1, x.Shape()[i], 1
	}
	policy := c.Node.Str("keep_aspect_ratio_policy", "stretch")
	common := math.Inf(1)
	if policy == "not_smaller" {
		common = math.Inf(-1)
	}
	for i, a := range list {
		a, err := axis(a, rank)
		if err != nil {
			return err
		}
		in := float64(x.Shape()[a])
		if scales != nil {
			full[a] = scales[i]
			want[a] = resized(x.Shape()[a], scales[i])
		} else {
			if in == 0 {
				return fmt.Errorf("axis %d has no elements", a)
			}
			full[a] = float64(sizes[i]) / in
			want[a] = sizes[i]
			if policy == "not_larger" {
				common = min(common, full[a])
			} else {
				common = max(common, full[a])
			}
		}
		if len(roi) == 2*len(list) {
			region[a], region[rank+a] = roi[i], roi[len(list)+i]
		}
	}
	if sizes != nil && policy != "stretch" {
		for _, a := range list {
			a, _ = axis(a, rank)
			full[a] = common
			want[a] = int(math.Floor(common*float64(x.Shape()[a]) + 0.5))
		}
	}
	return resizeAll(c, x, full, want, region, r)
}

// resized is the size that a scale makes of n, in float32 as ONNX infers it: 20 times a scale of 2.3 is 46.
func resized(n int, scale float64) int { return int(math.Floor(float64(float32(n) * float32(scale)))) }

// resizeAll resamples axis by axis; every output element of an axis is a weighted sum of inputs along it.
func resizeAll(c *Call, x *model.Tensor, scales []float64, sizes []int, roi []float64, r resample) error {
	if len(scales) != x.Rank() {
		return fmt.Errorf("scales %v do not fit rank %d", scales, x.Rank())
	}
	shape := append([]int{}, x.Shape()...)
	for i, s := range scales {
		if !(s > 0) || s > 1<<24 {
			return fmt.Errorf("scale %v", s)
		}
		if sizes != nil {
			shape[i] = sizes[i]
		} else {
			shape[i] = resized(shape[i], s)
		}
		if shape[i] < 0 {
			return fmt.Errorf("size %d", shape[i])
		}
	}
	if n, err := model.NumElements(shape); err != nil || n > maxTensorBytes/8 {
		return fmt.Errorf("output of shape %v is too large", shape)
	}
	if done, err := r.integers(c, x, scales, shape, roi); done || err != nil {
		return err
	}
	v, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	cur := append([]int{}, x.Shape()...)
	outside := make([][]bool, len(shape))
	for a := range shape {
		lo, hi := 0.0, 1.0
		if roi != nil {
			lo, hi = roi[a], roi[len(shape)+a]
		}
		if scales[a] == 1 && cur[a] == shape[a] && (r.coord != "tf_crop_and_resize" || lo == 0 && hi == 1) {
			continue
		}
		taps, out, err := r.axis(cur[a], shape[a], scales[a], lo, hi)
		if err != nil {
			return err
		}
		outside[a] = out
		from := cur[a]
		cur[a] = shape[a]
		if err := c.between(cur, model.Float64); err != nil {
			return err
		}
		v = applyTaps(v, cur, a, from, taps)
	}
	if r.coord == "tf_crop_and_resize" {
		str := strides(shape)
		for i := range v {
			for a := range shape {
				if outside[a] != nil && outside[a][i/str[a]%shape[a]] {
					v[i] = r.extrapolate
				}
			}
		}
	}
	if lo, hi, ok := intRange(x.DType()); ok {
		for i, e := range v {
			if v[i] = min(max(e, lo), hi); r.antialias {
				v[i] = math.RoundToEven(v[i])
			} else {
				v[i] = math.Trunc(v[i])
			}
		}
	}
	t, err := fromFloat64(x.DType(), shape, v, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

// tap is one input position with its weight.
type tap struct {
	at int
	w  float64
}

// between makes sure that there is room for what is between two axes, of which one may have grown while the other is still to shrink.
func (c *Call) between(shape []int, d model.DType) error {
	n, err := model.NumElements(shape)
	if err == nil && n <= maxTensorBytes/8 {
		return c.arena.room(d.Size(n))
	}
	return fmt.Errorf("shape %v between the axes is too large: %w", shape, ErrMemory)
}

// applyTaps sums along axis a, of n inputs, to shape.
func applyTaps(v []float64, shape []int, a, n int, taps [][]tap) []float64 {
	inner, outer := product(shape[a+1:]), product(shape[:a])
	out := make([]float64, product(shape))
	for o := range outer {
		for i, list := range taps {
			dst := out[(o*len(taps)+i)*inner:][:inner]
			for _, t := range list {
				src := v[(o*n+t.at)*inner:][:inner]
				for j, e := range src {
					dst[j] += t.w * e
				}
			}
		}
	}
	return out
}

// axis returns the weights of every output along one axis, and which outputs lie outside of the input.
func (r *resample) axis(in, out int, scale, lo, hi float64) ([][]tap, []bool, error) {
	if in == 0 && out > 0 {
		return nil, nil, fmt.Errorf("no input to resample")
	}
	taps, outside := make([][]tap, out), make([]bool, out)
	for i := range taps {
		x, err := r.source(float64(i), float64(in), float64(out), scale, lo, hi)
		if err != nil {
			return nil, nil, err
		}
		if r.coord == "tf_crop_and_resize" && (x < 0 || x > float64(in-1)) {
			outside[i] = true
			taps[i] = []tap{{0, 0}}
			continue
		}
		switch r.mode {
		case "nearest":
			taps[i] = []tap{{r.round(x, scale, in), 1}}
		case "linear", "bilinear":
			taps[i] = r.filter(x, in, scale, 1, func(d float64) float64 { return max(0, 1-math.Abs(d)) })
		case "cubic":
			taps[i] = r.filter(x, in, scale, 2, r.cubicWeight)
		default:
			return nil, nil, fmt.Errorf("mode %q: %w", r.mode, model.ErrUnsupported)
		}
	}
	return taps, outside, nil
}

// source returns the input coordinate of an output. Where one pixel is chosen it is computed in float32, as ONNX Runtime does: a scale of
// 0.3 or 2.3 puts it on the border of two.
func (r *resample) source(o, in, out, scale, lo, hi float64) (float64, error) {
	if r.mode == "nearest" {
		x, err := sourceOf(r.coord, float32(o), float32(in), float32(out), float32(scale), float32(lo), float32(hi))
		return float64(x), err
	}
	return sourceOf(r.coord, o, in, out, scale, lo, hi)
}

// sourceOf is source in the precision of T, without fused products and sums.
func sourceOf[T float32 | float64](coord string, o, in, out, scale, lo, hi T) (T, error) {
	length := in * scale
	switch coord {
	case "half_pixel":
		return (o+0.5)/scale - 0.5, nil
	case "half_pixel_symmetric":
		adjust := out / length
		return T(in/2*(1-adjust)) + (o+0.5)/scale - 0.5, nil
	case "pytorch_half_pixel":
		if out <= 1 {
			return 0, nil
		}
		return (o+0.5)/scale - 0.5, nil
	case "align_corners":
		if length == 1 {
			return 0, nil
		}
		return o * (in - 1) / (length - 1), nil
	case "asymmetric":
		return o / scale, nil
	case "tf_half_pixel_for_nn":
		return (o + 0.5) / scale, nil
	case "tf_crop_and_resize":
		if out > 1 {
			return T(lo*(in-1)) + o*(hi-lo)*(in-1)/(out-1), nil
		}
		return 0.5 * (lo + hi) * (in - 1), nil
	}
	return 0, fmt.Errorf("coordinate_transformation_mode %q: %w", coord, model.ErrUnsupported)
}

// round returns the input nearest to x. "simple" is that of Upsample and of Resize before opset 11, which say nothing of it: as ONNX Runtime
// does, up where the image shrinks and down where it grows.
func (r *resample) round(x, scale float64, in int) int {
	f := math.Floor(x)
	switch r.nearest {
	case "floor":
	case "simple":
		if scale < 1 {
			f = math.Ceil(x)
		}
	case "ceil":
		f = math.Ceil(x)
	case "round_prefer_ceil":
		f = math.Floor(x + 0.5)
	default:
		f = math.Ceil(x - 0.5)
	}
	return min(max(int(f), 0), in-1)
}

func (r *resample) cubicWeight(d float64) float64 {
	d = math.Abs(d)
	a := r.cubic
	switch {
	case d <= 1:
		return (a+2)*d*d*d - (a+3)*d*d + 1
	case d < 2:
		return a*d*d*d - 5*a*d*d + 8*a*d - 4*a
	}
	return 0
}

// filter samples the kernel f of the given radius around x. With antialias and a scale below 1 it is stretched.
func (r *resample) filter(x float64, in int, scale, radius float64, f func(float64) float64) []tap {
	stretch := 1.0
	if r.antialias && scale < 1 {
		stretch = scale
	}
	lo := int(math.Floor(x-radius/stretch)) + 1
	hi := int(math.Ceil(x+radius/stretch)) - 1
	if stretch == 1 { // exactly 2*radius taps around x
		lo = int(math.Floor(x)) - int(radius) + 1
		hi = lo + 2*int(radius) - 1
	}
	var list []tap
	sum := 0.0
	for i := lo; i <= hi; i++ {
		w := f((float64(i) - x) * stretch)
		if r.exclude && (i < 0 || i >= in) {
			continue
		}
		sum += w
		list = append(list, tap{min(max(i, 0), in-1), w})
	}
	if (r.exclude || stretch != 1) && sum != 0 {
		for i := range list {
			list[i].w /= sum
		}
	}
	return list
}
