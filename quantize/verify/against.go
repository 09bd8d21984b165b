package verify

import (
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// Restored is a stored weight turned back into numbers, or a float weight that was changed, compared with the original's.
type Restored struct {
	Weight string   `json:"weight"`           // the original's name
	Reader string   `json:"reader,omitempty"` // see model.Weight
	Stored string   `json:"stored"`           // the name of the integers or half-size values
	DType  string   `json:"dtype"`            // as stored; of groups of 4 and 8 bits int4 and int8
	Codes  string   `json:"codes,omitempty"`  // of groups: what their codes are
	SQNR   float64  `json:"sqnr_db"`          // see quantize.SQNR
	Max    float64  `json:"max_abs"`          // largest |w-w'|
	Zeros  *float64 `json:"zeros,omitempty"`  // of a float weight: its share of zeros

	Values []float32 `json:"-"` // in the original's order and scale; Stored alone gives them
}

// MarshalJSON writes null for a ratio or a difference that JSON has no number for, as of a value that became infinite.
func (r Restored) MarshalJSON() ([]byte, error) {
	type plain Restored
	known := func(x float64) *float64 {
		if math.IsInf(x, 0) || math.IsNaN(x) {
			return nil
		}
		return &x
	}
	return json.Marshal(struct {
		plain
		SQNR *float64 `json:"sqnr_db"`
		Max  *float64 `json:"max_abs"`
	}{plain(r), known(r.SQNR), known(r.Max)})
}

// Least signal-to-noise ratios, in dB, of stored weights by width. Rounding to nearest gives about 6 dB a bit above 10 for
// weights of a bell shape; these are so low that no rounding method and no scheme, only a fault, falls below.
const (
	leastFour  = 3
	leastEight = 12
	leastHalf  = 35
)

// Against compares the weights of g with those of the original that it was made from, found by name: an exporter's name of
// a stored weight begins with the original's. Findings are restored weights that lie too far from the original (RuleError),
// and float weights of the same name that have nothing in common with it (RuleChanged). Float weights that differ, as pruning or training
// leaves them, are in the list too. Where most weights have nothing in common with the original's, or none is found in it, the one
// finding is RuleOrigin: g was not made from that model by quantizing or pruning it.
func Against(g, original *model.Graph) ([]Restored, []Finding) {
	a := compareAll(g, original, "")
	a.origin(g, original)
	return a.restored, a.found
}

// Stored returns what g stores in the place of the original's weight of that name, with its values and the ratio that Against reports;
// false where g has it in float, or does not have it. Where channels were rescaled, that ratio is of the rescaled weight, and the values are
// in the original's scale. Of a weight that is stored in several forms it is the one with the lowest ratio. No other weight is restored.
func Stored(g, original *model.Graph, weight string) (Restored, bool) {
	var least Restored
	found := false
	for _, r := range compareAll(g, original, weight).restored {
		if r.Zeros == nil && (!found || r.SQNR < least.SQNR) {
			least, found = r, true
		}
	}
	return least, found
}

// compareAll compares every weight of g with the original's, or only what stands for that of the name, whose values it then keeps.
func compareAll(g, original *model.Graph, only string) *against {
	a := &against{checker: &checker{root: g, once: map[string]bool{}}, originals: map[string]*model.Tensor{}, twins: map[string][]*model.Tensor{},
		readers: map[string]string{}, source: original, only: only}
	a.know(original)
	a.graph(g, nil)
	for _, w := range g.Weights() {
		a.float(w.Value, w.Tensor)
	}
	return a
}

type against struct {
	*checker
	source              *model.Graph // the original; nil once its constants are folded
	originals           map[string]*model.Tensor
	twins               map[string][]*model.Tensor // weights of the same name in several bodies
	readers             map[string]string          // of the originals
	restored            []Restored
	compared, unrelated int // weights of two and more dimensions
	elements            int // of them, and of the unrelated ones
	strangeElements     int
	example             string // of an unrelated one: why
	only                string // the one original that is looked for, with its values; "" for all, without
}

func (a *against) graph(g *model.Graph, outer *scope) {
	s := newScope(g, outer)
	for _, n := range g.Nodes {
		switch {
		case n.Is("DequantizeLinear"):
			a.dequantized(s, n)
		case n.Is("MatMulInteger"):
			a.columns(s, n)
		case n.Is("Gather"):
			a.rows(s, n)
		case n.Op == "DynamicQuantizeLSTM":
			a.gates(s, n, 1, 8)
			a.gates(s, n, 2, 10)
		case n.Is("QLinearConv"), n.Is("QLinearMatMul"), n.Domain == microsoft && integerOperators[n.Op] != nil:
			a.integers(s, n)
		case n.Op == "MatMulNBits":
			a.nbits(s, n)
		case n.Op == "GatherBlockQuantized":
			a.blockTable(s, n)
		case n.Is("Cast"):
			if t := s.constant(n.In(0)); t != nil && a.wants(n.In(0)) && (t.DType() == model.Float16 || t.DType() == model.BFloat16) {
				if x, err := t.Float32(); err == nil {
					a.compare(n, n.In(0), t, x, t.Shape(), leastHalf)
				}
			}
		}
		for _, sub := range n.Subgraphs() {
			a.graph(sub, s)
		}
	}
}

// wants reports whether what is stored under the name is to be restored.
func (a *against) wants(stored string) bool {
	if a.only == "" {
		return true
	}
	name, _ := a.original(stored)
	return name == a.only
}

// original returns the float weight that the stored name begins with, the longest such name; what an exporter adds begins with "_".
// Where there is none it may be one that the original computes from constants.
func (a *against) original(stored string) (string, *model.Tensor) {
	for {
		for end := len(stored); end > 0; end-- {
			if t := a.originals[stored[:end]]; t != nil && (end == len(stored) || stored[end] == '_') {
				return stored[:end], t
			}
		}
		if a.source == nil {
			return "", nil
		}
		folded := a.source.Clone()
		if a.source = nil; engine.Fold(folded) == nil {
			a.know(folded)
		}
	}
}

// compare adds the restored weight x of the given shape, and a finding where it is below least dB. The last two
// dimensions may be exchanged against the original.
func (a *against) compare(n *model.Node, stored string, t *model.Tensor, x []float32, shape []int, least float64) {
	name, w := a.original(stored)
	if w == nil {
		return
	}
	w = a.twin(name, w, x)
	if w.Len() != len(x) {
		if w.Rank() > 1 && len(shape) > 1 {
			a.strange(name, w, "%d values are stored, the original has shape %v", len(x), w.Shape())
		}
		return
	}
	y, err := w.Float32()
	if err != nil {
		return
	}
	db, most := noise(y, x)
	if r := len(shape); r >= 2 && r <= 3 && w.Rank() == r && !rescaled(stored[len(name):]) && (shape[r-1] == w.Shape()[w.Rank()-2] || strings.Contains(stored, "transposed")) {
		other := exchanged(x, shape)
		if d, m := noise(y, other); d > db {
			db, most, x = d, m, other
		}
	}
	r := Restored{Weight: name, Reader: a.readers[name], Stored: stored, DType: t.DType().String()}
	if r.Values = x; rescaled(stored[len(name):]) && w.Rank() > 1 && len(shape) == w.Rank() {
		factor := rescale(y, x, w.Shape())
		y, r.Values = slices.Clone(y), slices.Clone(x)
		for i := range y {
			f := factor(i)
			if y[i] = float32(float64(y[i]) * f); f != 0 {
				r.Values[i] = float32(float64(x[i]) / f)
			}
		}
		db, most = noise(y, x)
	}
	if a.only == "" {
		r.Values = nil
	}
	a.alike(name, w, x, y)
	r.SQNR, r.Max = db, most
	a.restored = append(a.restored, r)
	if !(db >= least) {
		a.add(RuleError, n, stored, "signal-to-noise ratio %.1f dB against %q of the original, want %.0f", db, name, least)
	}
}

// noise returns the signal-to-noise ratio of x for w in dB, and the largest difference. As in quantize.SQNR, equal infinities do not count.
func noise(w, x []float32) (db, most float64) {
	for i, v := range w {
		if v == x[i] || v != v && x[i] != x[i] {
			continue
		}
		if d := math.Abs(float64(x[i]) - float64(v)); d > most || math.IsNaN(d) { // which then stays
			most = d
		}
	}
	return quantize.SQNR(w, x), most
}

// exchanged returns x of the given shape with its last two dimensions exchanged.
func exchanged(x []float32, shape []int) []float32 {
	rows, cols := shape[len(shape)-2], shape[len(shape)-1]
	y := make([]float32, len(x))
	for at := 0; at < len(x); at += rows * cols {
		for i := range rows {
			for j := range cols {
				y[at+j*rows+i] = x[at+i*cols+j]
			}
		}
	}
	return y
}

// floats returns the elements of a constant, nil where there is none.
func (s *scope) floats(name string) []float32 {
	if t := s.constant(name); t != nil {
		if x, err := t.Float32(); err == nil {
			return x
		}
	}
	return nil
}

// affine restores q: the scale of element i is scale[i/inner%len(scale)], and the same for zero, which may be nil.
func affine(q, scale, zero []float32, inner int) []float32 {
	x := make([]float32, len(q))
	for i, v := range q {
		if len(zero) > 0 {
			v -= zero[i/inner%len(zero)]
		}
		x[i] = v * scale[i/inner%len(scale)]
	}
	return x
}

// bound returns the least signal-to-noise ratio of a stored type.
func bound(d model.DType) float64 {
	if d.Bits() >= 8 {
		return leastEight
	}
	return leastFour
}

// dequantized handles a constant behind DequantizeLinear, and a table whose gathered rows are dequantized.
func (a *against) dequantized(s *scope, n *model.Node) {
	name := n.In(0)
	if m := s.maker(name); m != nil && m.Is("Gather") {
		name = m.In(0)
	}
	if !a.wants(name) {
		return
	}
	t, scale, zero := s.constant(name), s.floats(n.In(1)), s.floats(n.In(2))
	if t == nil || len(scale) == 0 || t.DType().Bits() > 16 || n.Int("block_size", 0) != 0 && t.Rank() != 2 {
		return
	}
	q, err := t.Float32()
	if err != nil {
		return
	}
	if block := int(n.Int("block_size", 0)); block > 0 {
		if x := blocked(q, scale, zero, t.Shape(), int(n.Int("axis", 1)), block); x != nil {
			a.unscaledReader(s, n, x, t.Shape())
			a.compare(n, name, t, x, t.Shape(), bound(t.DType()))
		}
		return
	}
	inner := 1
	if axis := int(n.Int("axis", 1)); len(scale) > 1 {
		if axis < 0 {
			axis += t.Rank()
		}
		if axis < 0 || axis >= t.Rank() || t.Shape()[axis] != len(scale) || len(zero) > 1 && len(zero) != len(scale) {
			return
		}
		inner = count(t.Shape()[axis+1:])
	}
	a.compare(n, name, t, affine(q, scale, zero, inner), t.Shape(), bound(t.DType()))
}

// blocked restores a matrix with scales per block along axis 0 or 1; nil where sizes do not fit.
func blocked(q, scale, zero []float32, shape []int, axis, block int) []float32 {
	if axis < 0 {
		axis += 2
	}
	rows, cols := shape[0], shape[1]
	across := cols
	if axis == 1 {
		across = (cols + block - 1) / block
	}
	x := make([]float32, len(q))
	for i := range rows {
		for j := range cols {
			at := i*across + j/block
			if axis == 0 {
				at = i/block*across + j
			}
			if at >= len(scale) || len(zero) > 0 && at >= len(zero) {
				return nil
			}
			v := q[i*cols+j]
			if len(zero) > 0 {
				v -= zero[at]
			}
			x[i*cols+j] = v * scale[at]
		}
	}
	return x
}

// columns handles the weight of a MatMulInteger in its pattern.
func (a *against) columns(s *scope, n *model.Node) {
	t := s.constant(n.In(1))
	if t == nil || t.Rank() < 2 || !a.wants(n.In(1)) {
		return
	}
	quiet := &checker{once: map[string]bool{}}
	scale, zero := s.floats(quiet.productScale(s, n)), s.floats(n.In(3))
	last := t.Shape()[t.Rank()-1]
	if q, err := t.Float32(); err == nil && (len(scale) == 1 || len(scale) == last) && (len(zero) <= 1 || len(zero) == last) {
		a.compare(n, n.In(1), t, affine(q, scale, zero, 1), t.Shape(), bound(t.DType()))
	}
}

// rows handles a table whose rows have scales of their own, gathered by the same indices from a table of the same name.
func (a *against) rows(s *scope, n *model.Node) {
	base, ok := strings.CutSuffix(n.In(0), "_quantized")
	if !ok || !a.wants(n.In(0)) {
		return
	}
	t, scale, zero := s.constant(n.In(0)), s.floats(base+"_scale"), s.floats(base+"_zero_point")
	if t == nil || t.Rank() < 2 || len(scale) != t.Shape()[0] || len(scale) < 2 || len(zero) != len(scale) {
		return
	}
	if q, err := t.Float32(); err == nil {
		a.compare(n, n.In(0), t, affine(q, scale, zero, count(t.Shape()[1:])), t.Shape(), bound(t.DType()))
	}
}

// gates handles a matrix [directions, inputs, 4*hidden] of DynamicQuantizeLSTM.
func (a *against) gates(s *scope, n *model.Node, in, scaleIn int) {
	if !a.wants(n.In(in)) {
		return
	}
	t, scale, zero := s.constant(n.In(in)), s.floats(n.In(scaleIn)), s.floats(n.In(scaleIn+1))
	if t == nil || t.Rank() != 3 || len(scale) == 0 || len(zero) > 0 && len(zero) != len(scale) {
		return
	}
	dirs, wide := t.Shape()[0], t.Shape()[2]
	q, err := t.Float32()
	if err != nil || len(scale) != dirs && len(scale) != dirs*wide {
		return
	}
	x := make([]float32, 0, len(q))
	per, each := len(scale)/max(dirs, 1), t.Shape()[1]*wide
	for d := range dirs {
		var z []float32
		if len(zero) > 0 {
			z = zero[d*per : (d+1)*per]
		}
		x = append(x, affine(q[d*each:(d+1)*each], scale[d*per:(d+1)*per], z, 1)...)
	}
	a.compare(n, n.In(in), t, x, t.Shape(), leastEight)
}
