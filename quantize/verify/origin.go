package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// Of weights that have nothing in common with the original's: from so many on, and such a share of all elements.
const (
	leastStrange  = 3
	mostUnrelated = 2.0 / 3
	leastAlike    = 0.1 // correlation
	leastElements = 64  // that a correlation is looked at from
)

// origin puts one finding in the place of all others where g was not made from the original.
func (a *against) origin(g, original *model.Graph) {
	all := a.compared + a.unrelated
	switch {
	case all == 0 && len(a.originals) > 0 && matrices(g) > 0 && matrices(original) > 0:
		a.found = nil
		a.add(RuleOrigin, nil, "", "not a quantization of that model: none of its %d weights has the name of one of the original's", matrices(g))
	case a.unrelated >= leastStrange && float64(a.strangeElements) >= mostUnrelated*float64(a.elements) || a.compared == 0 && a.unrelated > 0:
		a.found, a.restored = nil, nil
		a.add(RuleOrigin, nil, "", "not a quantization of that model: %d of %d weights have the names of its weights and nothing else in common with them, such as %s",
			a.unrelated, all, a.example)
	}
}

// matrices is the number of weights of two and more dimensions.
func matrices(g *model.Graph) int {
	n := 0
	for _, w := range g.Weights() {
		if w.Tensor.Rank() > 1 && w.Tensor.Len() > 1 {
			n++
		}
	}
	return n
}

// strange counts a weight that has only its name in common with the original's.
func (a *against) strange(name string, w *model.Tensor, why string, args ...any) {
	a.elements, a.strangeElements = a.elements+w.Len(), a.strangeElements+w.Len()
	if a.unrelated++; a.example == "" {
		a.example = fmt.Sprintf("%q: ", name) + fmt.Sprintf(why, args...)
	}
}

// float compares a weight with the original's of the same name: one in float32, or in half precision in a graph that computes so.
func (a *against) float(value string, t *model.Tensor) {
	if !a.wants(value) {
		return
	}
	if t.DType() == model.Float16 || t.DType() == model.BFloat16 {
		if x, err := t.Float32(); err == nil && !slices.ContainsFunc(a.restored, func(r Restored) bool { return r.Stored == value }) {
			a.compare(&model.Node{Op: "Weight"}, value, t, x, t.Shape(), leastHalf)
		}
		return
	}
	name, w := value, a.originals[value]
	if w == nil || t.DType() != model.Float32 || a.only != "" {
		return
	}
	if !slices.Equal(t.Shape(), w.Shape()) {
		a.add(RuleChanged, nil, name, "shape %v, the original has %v", t.Shape(), w.Shape())
		if w.Rank() > 1 {
			a.strange(name, w, "shape %v, the original has %v", t.Shape(), w.Shape())
		}
		return
	}
	x, err1 := t.Float32()
	y, err2 := a.twin(value, w, x).Float32()
	if err1 != nil || err2 != nil {
		return
	}
	if a.alike(name, w, x, y); slices.EqualFunc(x, y, func(a, b float32) bool { return a == b || a != a && b != b }) {
		return
	}
	db, most := noise(y, x)
	zeros := 0.0
	for _, v := range x {
		if v == 0 {
			zeros += 1 / float64(len(x))
		}
	}
	a.restored = append(a.restored, Restored{Weight: name, Reader: a.readers[name], Stored: name, DType: t.DType().String(), SQNR: db, Max: most, Zeros: &zeros})
	if db < 0 {
		a.add(RuleChanged, nil, name, "signal-to-noise ratio %.1f dB against the original", db)
	}
}

// alike counts the matrix x as compared, or as unrelated where it does not correlate with the original's, y.
func (a *against) alike(name string, w *model.Tensor, x, y []float32) {
	if w.Rank() < 2 {
		return
	}
	if n := len(x); n >= leastElements && !slices.Equal(x, y) {
		// That of n independent pairs has a deviation of 1/sqrt(n).
		if c := correlation(x, y); c < max(leastAlike, 3/math.Sqrt(float64(n))) {
			a.strange(name, w, "a correlation of %.2f", c)
			return
		}
	}
	a.compared, a.elements = a.compared+1, a.elements+w.Len()
}

// correlation of two lists, 0 where one is constant.
func correlation(x, y []float32) float64 {
	var mx, my, xy, xx, yy float64
	for i := range x {
		mx, my = mx+float64(x[i])/float64(len(x)), my+float64(y[i])/float64(len(x))
	}
	for i := range x {
		dx, dy := float64(x[i])-mx, float64(y[i])-my
		xy, xx, yy = xy+dx*dy, xx+dx*dx, yy+dy*dy
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

// rescaled reports whether what an exporter put behind the name of a weight says that its channels were rescaled: by a BatchNormalization
// that was folded into it, by cross-layer equalization or by SmoothQuant.
func rescaled(suffix string) bool {
	return strings.Contains(suffix, "_folded") || strings.Contains(suffix, "_equalized") || strings.Contains(suffix, "_smoothed")
}

// rescale returns the factors, by element, that bring w nearest to x, where slices along the first two axes are multiplied: for each
// slice in turn the factor sum(w*x)/sum(w*w), until another round moves no factor by a thousandth, or 20 have passed. What is left of the
// difference is not a matter of scale.
func rescale(w, x []float32, shape []int) func(i int) float64 {
	y, rounds := slices.Clone(w), 0
	var factors [2][]float64
	inner := [2]int{len(y) / shape[0], len(y) / shape[0] / shape[1]}
	for axis := range factors {
		factors[axis] = slices.Repeat([]float64{1}, shape[axis])
	}
	for moved := 1.0; moved > 1e-3 && rounds < 20; rounds++ {
		moved = 0
		for axis, by := range factors {
			dot, own := make([]float64, shape[axis]), make([]float64, shape[axis])
			for i, v := range y {
				c := i / inner[axis] % shape[axis]
				dot[c], own[c] = dot[c]+float64(v)*float64(x[i]), own[c]+float64(v)*float64(v)
			}
			for i, v := range y {
				if c := i / inner[axis] % shape[axis]; own[c] > 0 {
					y[i] = float32(float64(v) * dot[c] / own[c])
				}
			}
			for c := range by {
				if own[c] > 0 {
					by[c] *= dot[c] / own[c]
					moved = max(moved, math.Abs(dot[c]/own[c]-1))
				}
			}
		}
	}
	return func(i int) float64 {
		return factors[0][i/inner[0]%shape[0]] * factors[1][i/inner[1]%shape[1]]
	}
}
