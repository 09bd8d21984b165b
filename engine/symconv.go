package engine

import "github.com/wattshed/wattshed/model"

// windowKey names the number of windows along an unknown dimension: the same key is the same number.
type windowKey struct {
	s, eff, stride, before, after int
	ceil                          bool
}

// window infers the shape of a convolution or pooling with cout channels over x [N, C, spatial...].
func (s *symbols) window(n *model.Node, x []dim, cout dim, kern []int) {
	if len(x) < 3 || len(kern) != len(x)-2 {
		return
	}
	known := make([]int, len(kern))
	for i := range known {
		if known[i] = x[2+i].c; x[2+i].s != 0 {
			known[i] = 1
		}
	}
	ceil := n.Int("ceil_mode", 0) != 0
	w, err := newWindow(n, known, kern, ceil)
	if err != nil {
		return
	}
	auto := n.Str("auto_pad", "NOTSET")
	out := []dim{x[0], cout}
	for i, d := range x[2:] {
		eff := w.dilation[i]*(kern[i]-1) + 1
		pads := w.before[i] + w.after[i]
		same := auto == "SAME_UPPER" || auto == "SAME_LOWER"
		switch {
		case d.s == 0:
			d = dim{c: w.out[i]}
		case w.stride[i] == 1 && (same || pads == eff-1):
		case same: // the pads depend on the size
			d = s.unknown()
		default:
			key := windowKey{d.s, eff, w.stride[i], w.before[i], w.after[i], ceil}
			v, ok := s.windows[key]
			if !ok {
				if s.windows == nil {
					s.windows = map[windowKey]dim{}
				}
				v = s.unknown()
				s.windows[key] = v
			}
			d = v
		}
		out = append(out, d)
	}
	s.set(n, out)
}

// image infers convolutions and poolings.
func (s *symbols) image(n *model.Node) {
	x := s.shapes[n.In(0)]
	if len(x) < 3 {
		return
	}
	switch n.Op {
	case "Conv", "ConvInteger":
		w := s.shapes[n.In(1)]
		if len(w) != len(x) {
			return
		}
		kern := make([]int, len(w)-2)
		for i, d := range w[2:] {
			if d.s != 0 {
				return
			}
			kern[i] = d.c
		}
		s.window(n, x, w[0], kern)
	case "MaxPool", "AveragePool":
		s.window(n, x, x[1], attrInts(n, "kernel_shape"))
	case "GlobalAveragePool", "GlobalMaxPool":
		out := append([]dim{}, x...)
		for i := range out[2:] {
			out[2+i] = dim{c: 1}
		}
		s.set(n, out)
	}
}
