package quantize

// windows finds the inputs of the positions of a convolution's output.
type windows struct {
	spatial   []int // sizes of the input
	kernel    []int
	out       []int
	stride    []int
	dilation  []int
	pad       []int // in front
	channels  int   // of the input
	perGroup  int
	positions int // of the output, per image
}

// newWindows returns the windows of the convolution n over inputs of a shape [N, C, spatial...].
func newWindows(n *planned, shape []int) *windows {
	k := n.weight.shape[2:]
	w := &windows{spatial: shape[2:], kernel: k, channels: shape[1], perGroup: n.weight.shape[1], positions: 1}
	axis := func(name string, i, def int) int {
		if v := n.Ints(name); i < len(v) {
			return int(v[i])
		}
		return def
	}
	for i, size := range w.spatial {
		stride, dilation := max(axis("strides", i, 1), 1), max(axis("dilations", i, 1), 1)
		before, after := axis("pads", i, 0), axis("pads", i+len(k), 0)
		reach := (k[i]-1)*dilation + 1
		out := (size+before+after-reach)/stride + 1
		switch n.Str("auto_pad", "NOTSET") {
		case "SAME_UPPER", "SAME_LOWER":
			out = (size + stride - 1) / stride
			total := max((out-1)*stride+reach-size, 0)
			before = total / 2
			if n.Str("auto_pad", "") == "SAME_LOWER" {
				before = total - total/2
			}
		case "VALID":
			before, out = 0, (size-reach)/stride+1
		}
		w.stride, w.dilation, w.pad = append(w.stride, stride), append(w.dilation, dilation), append(w.pad, before)
		w.out = append(w.out, max(out, 0))
		w.positions *= max(out, 0)
	}
	return w
}

// patch copies the inputs of one output position of an image, from the channel first on, in the order of the weight:
// channel, then kernel position. What lies in the padding is 0.
func (w *windows) patch(dst, x []float32, image, first, position int) {
	at := make([]int, len(w.out))
	for i := len(at) - 1; i >= 0; i-- {
		at[i] = position%w.out[i]*w.stride[i] - w.pad[i]
		position /= w.out[i]
	}
	plane := 1
	for _, d := range w.spatial {
		plane *= d
	}
	taps := len(dst) / w.perGroup
	for tap := range taps {
		offset, inside := 0, true
		rest := tap
		scale := 1
		for i := len(at) - 1; i >= 0; i-- {
			pos := at[i] + rest%w.kernel[i]*w.dilation[i]
			rest /= w.kernel[i]
			if pos < 0 || pos >= w.spatial[i] {
				inside = false
				break
			}
			offset += pos * scale
			scale *= w.spatial[i]
		}
		for c := range w.perGroup {
			v := float32(0)
			if inside {
				v = x[(image*w.channels+first+c)*plane+offset]
			}
			dst[c*taps+tap] = v
		}
	}
}
