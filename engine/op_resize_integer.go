package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// Resize of integers follows ONNX Runtime in the order and the precision of its sums, since a result that is cut off shows every bit of them:
// positions and weights in float32, weights of 10 bits for bytes whose channels are last, weights of 22 bits and bytes between the axes where
// kernels are stretched (antialias). Forms that it does not have are computed in float64.

// resizable are the integers that ONNX Runtime interpolates.
type resizable interface{ int8 | uint8 | int32 }

// integers resamples x where ONNX Runtime has the form, and reports whether it has: x of uint8, int8 or int32 and rank 2 (planes), 3
// (volumes), 4 (planes, the channels first or last) or 5 (volumes). Cubes are there with stretched kernels alone, or growing with the channels
// last.
func (r *resample) integers(c *Call, x *model.Tensor, scales []float64, shape []int, roi []float64) (bool, error) {
	axes, last := spatial(scales)
	cubes := r.mode == "cubic" && len(axes) == 2 && (r.antialias || last)
	if axes == nil || r.mode != "linear" && !cubes {
		return false, nil
	}
	same := true
	for a := range shape {
		same = same && shape[a] == x.Shape()[a]
		if scales[a] == 1 && shape[a] != x.Shape()[a] { // a size that float32 does not hold
			return false, nil
		}
		if roi != nil && r.coord == "tf_crop_and_resize" && scales[a] == 1 && (roi[a] != 0 || roi[len(shape)+a] != 1) {
			return false, nil
		}
	}
	if same && r.coord == "tf_crop_and_resize" {
		return false, nil
	}
	switch x.DType() {
	case model.Uint8:
		return true, resizeIntegers[uint8](c, r, x, scales, shape, roi, axes, last)
	case model.Int8:
		return true, resizeIntegers[int8](c, r, x, scales, shape, roi, axes, last)
	case model.Int32:
		return true, resizeIntegers[int32](c, r, x, scales, shape, roi, axes, last)
	}
	return false, nil
}

// spatial returns the axes of a plane or a volume, outermost first, or nil, and whether the channels of planes are last.
func spatial(scales []float64) (axes []int, last bool) {
	outer := len(scales) > 3 && scales[0] == 1 && scales[1] == 1
	switch {
	case len(scales) == 2:
		return []int{0, 1}, false
	case len(scales) == 3:
		return []int{0, 1, 2}, false
	case len(scales) == 4 && outer:
		return []int{2, 3}, false
	case len(scales) == 4 && scales[0] == 1 && scales[3] == 1:
		return []int{1, 2}, true
	case len(scales) == 5 && outer:
		return []int{2, 3, 4}, false
	}
	return nil, false
}

func resizeIntegers[T resizable](c *Call, r *resample, x *model.Tensor, scales []float64, shape []int, roi []float64, axes []int, last bool) error {
	v, err := model.Data[T](x)
	if err != nil {
		return err
	}
	span := func(a int) (lo, hi float32) {
		if roi == nil {
			return 0, 1
		}
		return float32(roi[a]), float32(roi[len(shape)+a])
	}
	for _, a := range axes {
		if shape[a] > 0 && x.Shape()[a] == 0 {
			return fmt.Errorf("no input to resample")
		}
	}
	out, err := Out[T](c, 0, shape)
	if err != nil {
		return err
	}
	outside := make([][]bool, len(shape))
	switch {
	case slices.Equal(x.Shape(), shape), len(out) == 0:
		copy(out, v)
	case r.antialias || r.mode == "cubic":
		cur := append([]int{}, x.Shape()...)
		for i := len(axes) - 1; i >= 0; i-- {
			a := axes[i]
			lo, hi := span(a)
			windows, err := r.windows(cur[a], shape[a], float32(scales[a]), lo, hi)
			if err != nil {
				return err
			}
			outside[a] = make([]bool, shape[a])
			for k, w := range windows {
				outside[a][k] = w.outside
			}
			if from := cur[a]; from != shape[a] {
				cur[a] = shape[a]
				if err := c.between(cur, x.DType()); err != nil {
					return err
				}
				v = applyWindows(v, cur, a, from, windows)
			}
		}
		copy(out, v)
	default:
		pairs := make([][]pair, len(axes))
		for i, a := range axes {
			lo, hi := span(a)
			if pairs[i], err = r.pairs(x.Shape()[a], shape[a], float32(scales[a]), lo, hi); err != nil {
				return err
			}
			outside[a] = make([]bool, shape[a])
			for k, p := range pairs[i] {
				outside[a][k] = p.outside
			}
		}
		switch in := x.Shape(); {
		case last:
			for n := range shape[0] {
				lastChannels(v[n*product(in[1:]):], out[n*product(shape[1:]):], in[2], in[3], pairs[0], pairs[1])
			}
		case len(axes) == 2:
			rows, cols := in[axes[0]], in[axes[1]]
			for n := range product(in) / max(rows*cols, 1) {
				planes(v[n*rows*cols:], out[n*len(pairs[0])*len(pairs[1]):], cols, pairs[0], pairs[1])
			}
		default:
			volume, to := product(in[axes[0]:]), product(shape[axes[0]:])
			for n := range product(in) / max(volume, 1) {
				volumes(v[n*volume:], out[n*to:], in[axes[1]], in[axes[2]], pairs)
			}
		}
	}
	if r.coord == "tf_crop_and_resize" {
		str, fill := strides(shape), cutTo[T](float32(r.extrapolate))
		for i := range out {
			for _, a := range axes {
				if outside[a] != nil && outside[a][i/str[a]%shape[a]] {
					out[i] = fill
				}
			}
		}
	}
	return nil
}

// cutTo is v cut off to an integer, within the range of T.
func cutTo[T resizable](v float32) T {
	lo, hi := extremes[T]()
	if !(float64(v) > lo) {
		return T(lo)
	}
	return T(min(float64(v), hi))
}

func extremes[T resizable]() (lo, hi float64) {
	var z T
	switch any(z).(type) {
	case uint8:
		return 0, math.MaxUint8
	case int8:
		return math.MinInt8, math.MaxInt8
	}
	return math.MinInt32, math.MaxInt32
}

// source32 is the input coordinate of an output as ONNX Runtime computes it: corners are aligned by the sizes, whatever the scale is, and
// half_pixel_symmetric is summed in float64.
func (r *resample) source32(o, in, out int, scale, lo, hi float32) (float32, error) {
	switch x, n, m := float32(o), float32(in), float32(out); {
	case scale == 1:
		return x, nil
	case r.coord == "align_corners":
		if out == 1 {
			return 0, nil
		}
		return x * (n - 1) / (m - 1), nil
	case r.coord == "half_pixel_symmetric":
		offset := n / 2 * (1 - m/(scale*n))
		return float32(float64(offset) + (float64(x)+0.5)/float64(scale) - 0.5), nil
	default:
		return sourceOf(r.coord, x, n, m, scale, lo, hi)
	}
}

// pair is two neighbours along an axis with their weights, in float32 and in 10 bits.
type pair struct {
	at, next int
	w, v     float32 // of at, of next
	w10, v10 int32
	outside  bool
}

func (r *resample) pairs(in, out int, scale, lo, hi float32) ([]pair, error) {
	list := make([]pair, out)
	for o := range list {
		x, err := r.source32(o, in, out, scale, lo, hi)
		if err != nil {
			return nil, err
		}
		p := pair{outside: !(x >= 0 && x <= float32(in-1))}
		if x = min(x, float32(in-1)); !(x >= 0) {
			x = 0
		}
		p.at = min(int(x), in-1)
		p.next = min(p.at+1, in-1)
		if p.w, p.v = float32(p.next)-x, x-float32(p.at); p.at == p.next {
			p.w, p.v = 0.5, 0.5
		}
		p.v10 = int32(p.v * 1024)
		p.w10 = 1024 - p.v10
		list[o] = p
	}
	return list, nil
}

// mix sums the four elements around a position: p and q of the upper row, s and t of the lower one.
func (a *pair) mix(d *pair, p, q, s, t float32) float32 {
	sum := float32(float32(a.w*d.w)*p) + float32(float32(a.v*d.w)*q)
	sum += float32(float32(a.w*d.v) * s)
	return sum + float32(float32(a.v*d.v)*t)
}

// planes interpolates one plane of rows of cols elements.
func planes[T resizable](src, dst []T, cols int, down, across []pair) {
	_, wide := any(src).([]int32)
	for y := range down {
		d := &down[y]
		top, bottom, to := src[d.at*cols:][:cols], src[d.next*cols:][:cols], dst[y*len(across):][:len(across)]
		for x := range across {
			a := &across[x]
			sum := a.mix(d, float32(top[a.at]), float32(top[a.next]), float32(bottom[a.at]), float32(bottom[a.next]))
			if !wide { // bytes stay within their range
				to[x] = T(int32(sum))
			} else {
				to[x] = cutTo[T](sum)
			}
		}
	}
}

// lastChannels interpolates one image whose channels are last: bytes by integer weights of 20 bits.
func lastChannels[T resizable](src, dst []T, cols, channels int, down, across []pair) {
	_, wide := any(src).([]int32)
	for y := range down {
		d := &down[y]
		for x := range across {
			a := &across[x]
			p, q := src[(d.at*cols+a.at)*channels:], src[(d.at*cols+a.next)*channels:]
			s, t := src[(d.next*cols+a.at)*channels:], src[(d.next*cols+a.next)*channels:]
			to := dst[(y*len(across)+x)*channels:][:channels]
			for c := range to {
				if !wide {
					to[c] = T((d.w10*a.w10*int32(p[c]) + d.w10*a.v10*int32(q[c]) + d.v10*a.w10*int32(s[c]) + d.v10*a.v10*int32(t[c])) / (1 << 20))
					continue
				}
				to[c] = cutTo[T](a.mix(d, float32(p[c]), float32(q[c]), float32(s[c]), float32(t[c])))
			}
		}
	}
}

// volumes interpolates one volume: eight terms, the innermost axis fastest.
func volumes[T resizable](src, dst []T, rows, cols int, pairs [][]pair) {
	i := 0
	_, wide := any(src).([]int32)
	for _, z := range pairs[0] {
		for _, y := range pairs[1] {
			for _, x := range pairs[2] {
				sum := float32(0)
				for _, f := range [2]struct {
					at int
					w  float32
				}{{z.at, z.w}, {z.next, z.v}} {
					top, bottom := src[(f.at*rows+y.at)*cols:], src[(f.at*rows+y.next)*cols:]
					sum += float32(float32(float32(x.w*y.w)*f.w) * float32(top[x.at]))
					sum += float32(float32(float32(x.v*y.w)*f.w) * float32(top[x.next]))
					sum += float32(float32(float32(x.w*y.v)*f.w) * float32(bottom[x.at]))
					sum += float32(float32(float32(x.v*y.v)*f.w) * float32(bottom[x.next]))
				}
				if dst[i] = T(int32(sum)); wide {
					dst[i] = cutTo[T](sum)
				}
				i++
			}
		}
	}
}

// support is the inputs from at on that one output is made of, with their weights; those that lie outside of the input are in the weights of
// the border.
type support struct {
	at      int
	w       []float32
	outside bool
}

// windows stretches the kernel where the input shrinks.
func (r *resample) windows(in, out int, scale, lo, hi float32) ([]support, error) {
	list := make([]support, out)
	stretch := max(1/scale, 1)
	radius := stretch
	if r.mode == "cubic" {
		radius = 2 * stretch
	}
	shrink, most := 1/stretch, 2*int(math.Ceil(float64(radius)))+1
	for o := range list {
		x, err := r.source32(o, in, out, scale, lo, hi)
		if err != nil {
			return nil, err
		}
		center := x + 0.5
		if list[o].outside = !(center-0.5 >= 0 && center-0.5 <= float32(in-1)); list[o].outside && r.coord == "tf_crop_and_resize" {
			continue
		}
		from := int(math.Floor(float64(float32(center-radius) + 0.5)))
		n := min(max(int(math.Floor(float64(float32(center+radius)+0.5)))-from, 0), most)
		cut, end := min(max(from, 0), in), min(max(from+n, 0), in)
		if r.exclude {
			from, n = cut, end-cut
		}
		w, total := make([]float32, max(n, 0)), float32(0)
		for k := range w {
			w[k] = r.kernel32((float32(from+k) - center + 0.5) * shrink)
			total += w[k]
		}
		if !r.exclude && cut < end {
			before, after := min(max(-from, 0), n-1), min(max(n+from-in, 0), n-1)
			for k := range before {
				w[before] += w[k]
			}
			for k := n - after; k < n; k++ {
				w[n-after-1] += w[k]
			}
			w = w[before:]
		}
		w = w[:max(end-cut, 0)]
		inverse := float32(1)
		if total != 0 {
			inverse = 1 / total
		}
		for k := range w {
			w[k] *= inverse
		}
		list[o].at, list[o].w = cut, w
	}
	return list, nil
}

// kernel32 is the kernel in float32.
func (r *resample) kernel32(d float32) float32 {
	d, a := float32(math.Abs(float64(d))), float32(r.cubic)
	switch {
	case r.mode != "cubic":
		return max(1-d, 0)
	case d < 1:
		return float32(float32(float32(float32((a+2)*d)-(a+3))*d)*d) + 1
	case d < 2:
		return (float32((float32((d-5)*d)+8)*d) - 4) * a
	}
	return 0
}

// applyWindows sums along axis a, of n inputs, to shape: bytes by weights of 22 bits, rounded and clamped; int32 in float32, rounded away from 0.
func applyWindows[T resizable](v []T, shape []int, a, n int, windows []support) []T {
	inner := product(shape[a+1:])
	out := make([]T, product(shape))
	_, wide := any(v).([]int32)
	low, high := extremes[T]()
	for i, w := range windows {
		fixed := make([]int32, len(w.w))
		for k, f := range w.w {
			fixed[k] = int32(math.Round(float64(f * (1 << 22))))
		}
		for o := range product(shape[:a]) {
			src, dst := v[(o*n+w.at)*inner:], out[(o*len(windows)+i)*inner:][:inner]
			for j := range dst {
				if wide {
					sum := float32(0)
					for k, f := range w.w {
						sum += float32(float32(src[k*inner+j]) * f)
					}
					dst[j] = T(min(max(math.Round(float64(sum)), low), high))
					continue
				}
				sum := int32(1 << 21)
				for k, f := range fixed {
					sum += int32(src[k*inner+j]) * f
				}
				dst[j] = T(min(max(sum>>22, int32(low)), int32(high)))
			}
		}
	}
	return out
}
