package grad

import (
	"math"

	"github.com/wattshed/wattshed/model"
)

func refTranspose(r *ref, n *model.Node) []*array {
	a := r.in(n, 0)
	perm := n.Ints("perm")
	if perm == nil {
		for k := len(a.shape) - 1; k >= 0; k-- {
			perm = append(perm, int64(k))
		}
	}
	shape := make([]int, len(perm))
	for k, p := range perm {
		shape[k] = a.shape[p]
	}
	y := newArray(shape...)
	for i := range y.x {
		src := make([]int, len(perm))
		for k, v := range index(i, shape) {
			src[perm[k]] = v
		}
		y.x[i] = a.at(src...)
	}
	return []*array{y}
}

// refReshape takes the new shape from an attribute that the tests add, since only the order of the elements matters here.
func refReshape(r *ref, n *model.Node) []*array {
	shape := []int{}
	for _, d := range n.Ints("test_shape") {
		shape = append(shape, int(d))
	}
	return []*array{{shape, r.in(n, 0).x}}
}

func refConcat(r *ref, n *model.Node) []*array {
	first := r.in(n, 0)
	ax := refAxis(n.Int("axis", 0), len(first.shape))
	shape := append([]int{}, first.shape...)
	shape[ax] = 0
	for i := range n.Inputs {
		shape[ax] += r.in(n, i).shape[ax]
	}
	y := newArray(shape...)
	for i := range y.x {
		ix := index(i, shape)
		for k := range n.Inputs {
			part := r.in(n, k)
			if ix[ax] < part.shape[ax] {
				y.x[i] = part.at(ix...)
				break
			}
			ix[ax] -= part.shape[ax]
		}
	}
	return []*array{y}
}

func refSplit(r *ref, n *model.Node) []*array {
	a := r.in(n, 0)
	ax := refAxis(n.Int("axis", 0), len(a.shape))
	var out []*array
	at := 0
	for k := range n.Outputs {
		size := a.shape[ax] / len(n.Outputs)
		if s := r.in(n, 1); s != nil {
			size = int(s.x[k])
		}
		shape := append([]int{}, a.shape...)
		shape[ax] = size
		y := newArray(shape...)
		for i := range y.x {
			ix := index(i, shape)
			ix[ax] += at
			y.x[i] = a.at(ix...)
		}
		at += size
		out = append(out, y)
	}
	return out
}

func refSlice(r *ref, n *model.Node) []*array {
	a := r.in(n, 0)
	starts, ends, axes, steps := r.in(n, 1), r.in(n, 2), r.in(n, 3), r.in(n, 4)
	pick := make([][]int, len(a.shape))
	for k, d := range a.shape {
		for i := range d {
			pick[k] = append(pick[k], i)
		}
	}
	for i := range starts.x {
		ax, step := i, 1
		if axes != nil {
			ax = refAxis(int64(axes.x[i]), len(a.shape))
		}
		if steps != nil {
			step = int(steps.x[i])
		}
		d := a.shape[ax]
		s, e := int(math.Max(starts.x[i], -1e6)), int(math.Max(math.Min(ends.x[i], 1e6), -1e6))
		if s < 0 {
			s += d
		}
		if e < 0 {
			e += d
		}
		pick[ax] = nil
		if step > 0 {
			for p := max(s, 0); p < min(e, d); p += step {
				pick[ax] = append(pick[ax], p)
			}
		} else {
			for p := min(s, d-1); p > max(e, -1); p += step {
				pick[ax] = append(pick[ax], p)
			}
		}
	}
	shape := make([]int, len(pick))
	for k := range pick {
		shape[k] = len(pick[k])
	}
	y := newArray(shape...)
	for i := range y.x {
		ix := index(i, shape)
		for k := range ix {
			ix[k] = pick[k][ix[k]]
		}
		y.x[i] = a.at(ix...)
	}
	return []*array{y}
}

func refExpand(r *ref, n *model.Node) []*array {
	var want []int
	for _, d := range r.in(n, 1).x {
		want = append(want, int(d))
	}
	y := newArray(broadcast(r.in(n, 0).shape, want)...)
	for i := range y.x {
		y.x[i] = r.in(n, 0).at(index(i, y.shape)...)
	}
	return []*array{y}
}

// cell is one step of a recurrent layer for one batch entry: x and the state (h, c) give the new state.
type cell func(d int, x, h, c []float64) (hNew, cNew []float64)

// refRecurrent runs a cell over the steps of every entry and direction.
func refRecurrent(r *ref, n *model.Node, f cell) []*array {
	x, lens, h0, c0 := r.in(n, 0), r.in(n, 4), r.in(n, 5), r.in(n, 6)
	size := r.in(n, 2).shape[2]
	steps, batch, dirs := x.shape[0], x.shape[1], r.in(n, 1).shape[0]
	y, yh, yc := newArray(steps, dirs, batch, size), newArray(dirs, batch, size), newArray(dirs, batch, size)
	for d := range dirs {
		for b := range batch {
			l := steps
			if lens != nil {
				l = int(lens.x[b])
			}
			h, c := make([]float64, size), make([]float64, size)
			if h0 != nil {
				copy(h, h0.x[(d*batch+b)*size:])
			}
			if c0 != nil {
				copy(c, c0.x[(d*batch+b)*size:])
			}
			for k := range l {
				t := k
				if d == 1 || n.Str("direction", "forward") == "reverse" {
					t = l - 1 - k
				}
				in := x.x[(t*batch+b)*x.shape[2] : (t*batch+b+1)*x.shape[2]]
				h, c = f(d, in, h, c)
				copy(y.x[((t*dirs+d)*batch+b)*size:], h)
			}
			copy(yh.x[(d*batch+b)*size:], h)
			copy(yc.x[(d*batch+b)*size:], c)
		}
	}
	return []*array{y, yh, yc}
}

// gate returns W x + R h + Wb + Rb of unit j of gate g, with the terms of R and of Rb apart.
func refGate(r *ref, n *model.Node, d, g, j int, x, h []float64) (input, rec float64) {
	w, rr, b := r.in(n, 1), r.in(n, 2), r.in(n, 3)
	row := g*len(h) + j
	for k, v := range x {
		input += w.at(d, row, k) * v
	}
	for k, v := range h {
		rec += rr.at(d, row, k) * v
	}
	if b != nil {
		input += b.at(d, row)
		rec += b.at(d, rr.shape[1]+row)
	}
	return input, rec
}

func refLSTM(r *ref, n *model.Node) []*array {
	return refRecurrent(r, n, func(d int, x, h, c []float64) ([]float64, []float64) {
		hn, cn := make([]float64, len(h)), make([]float64, len(h))
		for j := range h {
			var z [4]float64
			for g := range z {
				a, b := refGate(r, n, d, g, j, x, h)
				z[g] = a + b
			}
			i, o, f, g := sigmoid64(z[0]), sigmoid64(z[1]), sigmoid64(z[2]), math.Tanh(z[3])
			cn[j] = f*c[j] + i*g
			hn[j] = o * math.Tanh(cn[j])
		}
		return hn, cn
	})
}

func refGRU(r *ref, n *model.Node) []*array {
	return refRecurrent(r, n, func(d int, x, h, c []float64) ([]float64, []float64) {
		hn, reset, z := make([]float64, len(h)), make([]float64, len(h)), make([]float64, len(h))
		rg := make([]float64, len(h))
		for j := range h {
			a, b := refGate(r, n, d, 0, j, x, h)
			z[j] = sigmoid64(a + b)
			a, b = refGate(r, n, d, 1, j, x, h)
			rg[j] = sigmoid64(a + b)
			reset[j] = rg[j] * h[j]
		}
		for j := range h {
			var v float64
			if n.Int("linear_before_reset", 0) != 0 {
				a, b := refGate(r, n, d, 2, j, x, h)
				v = math.Tanh(a + rg[j]*b)
			} else {
				a, b := refGate(r, n, d, 2, j, x, reset)
				v = math.Tanh(a + b)
			}
			hn[j] = (1-z[j])*v + z[j]*h[j]
		}
		return hn, c
	})
}
