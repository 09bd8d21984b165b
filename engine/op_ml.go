package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// mlOps are operators of ai.onnx.ml.
func mlOps() map[string]opDef {
	return qualify("ai.onnx.ml", map[string]opDef{
		"ArrayFeatureExtractor": plain(opArrayFeatureExtractor), "Binarizer": plain(opBinarizer),
		"LabelEncoder": plain(opLabelEncoder), "TreeEnsemble": plain(opTreeEnsemble),
		"TreeEnsembleClassifier": treesOp(true), "TreeEnsembleRegressor": treesOp(false),
		"LinearClassifier": plain(opLinearClassifier), "LinearRegressor": plain(opLinearRegressor), "Scaler": plain(opScaler), "Normalizer": plain(opNormalizer),
		"SVMClassifier": plain(opSVMClassifier), "SVMRegressor": plain(opSVMRegressor),
	})
}

// opArrayFeatureExtractor picks elements of the last dimension.
func opArrayFeatureExtractor(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	it, err := c.Need(1)
	if err != nil {
		return err
	}
	idx, err := ints(it)
	if err != nil {
		return err
	}
	if x.Rank() == 0 {
		return errShape("input", x, "rank 1 or more")
	}
	n := x.Shape()[x.Rank()-1]
	rows := product(x.Shape()[:x.Rank()-1])
	shape := append(append([]int(nil), x.Shape()[:x.Rank()-1]...), len(idx))
	if x.Rank() == 1 {
		shape = []int{1, len(idx)}
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	for j, i := range idx {
		if i < 0 || i >= n {
			return fmt.Errorf("index %d is outside of %d features", i, n)
		}
		for r := range rows {
			dst.copy(r*len(idx)+j, src, r*n+i, 1)
		}
	}
	return done()
}

// opBinarizer is 1 above the threshold and 0 elsewhere.
func opBinarizer(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	v, err := c.wide(x)
	if err != nil {
		return err
	}
	out, err := c.zeros(len(v))
	if err != nil {
		return err
	}
	limit := float64(c.Node.Float("threshold", 0))
	for i, e := range v {
		if e > limit {
			out[i] = 1
		}
	}
	return c.result(0, x.DType(), x.Shape(), out)
}

// labels returns the list of an attribute in any of its forms: name_tensor, name_strings, name_int64s, name_floats.
func labels(n *model.Node, name string) (*model.Tensor, error) {
	if a := n.Attr(name + "_tensor"); a != nil && a.T != nil {
		return a.T, nil
	}
	if a := n.Attr(name + "_strings"); a != nil {
		return model.NewStrings([]int{len(a.Strings)}, attrStrings(n, name+"_strings"))
	}
	if a := n.Attr(name + "_int64s"); a != nil {
		return model.FromSlice([]int{len(a.Ints)}, a.Ints), nil
	}
	if a := n.Attr(name + "_floats"); a != nil {
		return model.FromSlice([]int{len(a.Floats)}, a.Floats), nil
	}
	return nil, fmt.Errorf("attribute %s_* is missing", name)
}

// labelKeys returns the elements of a tensor as keys of a map; all NaN are one.
func labelKeys(t *model.Tensor) ([]any, error) {
	out := make([]any, t.Len())
	if t.DType() == model.String {
		s, err := t.Strings()
		for i, v := range s {
			out[i] = v
		}
		return out, err
	}
	v, err := toFloat64(t)
	for i, e := range v {
		if out[i] = e; e != e {
			out[i] = "NaN"
		}
	}
	return out, err
}

// opLabelEncoder replaces keys by values, and what is no key by the default.
func opLabelEncoder(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	n := c.Node
	keys, err := labels(n, "keys")
	if err != nil {
		return err
	}
	values, err := labels(n, "values")
	if err != nil {
		return err
	}
	if keys.Len() != values.Len() {
		return fmt.Errorf("%d keys and %d values", keys.Len(), values.Len())
	}
	var def *model.Tensor
	switch d := values.DType(); {
	case n.Attr("default_tensor") != nil && n.Attr("default_tensor").T != nil:
		def = n.Attr("default_tensor").T
	case d == model.String:
		def, err = model.NewStrings([]int{1}, []string{n.Str("default_string", "_Unused")})
	case d == model.Float32:
		def = model.FromSlice([]int{1}, []float32{n.Float("default_float", float32(math.Copysign(0, -1)))})
	case d == model.Int64:
		def = model.FromSlice([]int{1}, []int64{n.Int("default_int64", -1)})
	default:
		def, err = fromFloat64(d, []int{1}, []float64{-1}, castRule{})
	}
	if err != nil {
		return err
	}
	if def.Len() != 1 || def.DType() != values.DType() {
		return errShape("the default", def, fmt.Sprintf("one %s", values.DType()))
	}
	in, err := labelKeys(x)
	if err != nil {
		return err
	}
	known, err := labelKeys(keys)
	if err != nil {
		return err
	}
	place := make(map[any]int, len(known))
	for i, k := range known {
		place[k] = i
	}
	from, err := elemsOf(values)
	if err != nil {
		return err
	}
	other, err := elemsOf(def)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, values.DType(), x.Shape())
	if err != nil {
		return err
	}
	for i, k := range in {
		if at, ok := place[k]; ok {
			dst.copy(i, from, at, 1)
		} else {
			dst.copy(i, other, 0, 1)
		}
	}
	return done()
}

// forest is the attributes of TreeEnsemble.
type forest struct {
	feature, yes, no, yesLeaf, noLeaf, target []int
	split, weight                             []float64
	mode                                      []int
	missing                                   []int
	members                                   map[int][]float64
}

// holds reports whether the test of node i is true for v.
func (f *forest) holds(i int, v float64) bool {
	if v != v {
		return f.missing != nil && f.missing[i] != 0
	}
	s := f.split[i]
	switch f.mode[i] {
	case 0:
		return v <= s
	case 1:
		return v < s
	case 2:
		return v >= s
	case 3:
		return v > s
	case 4:
		return v == s
	case 5:
		return v != s
	}
	for _, m := range f.members[i] {
		if v == m {
			return true
		}
	}
	return false
}

// leaf walks from root to a leaf; a path that does not end is an error.
func (f *forest) leaf(root int, row []float64) (int, error) {
	i := root
	for range len(f.feature) + 1 {
		if i < 0 || i >= len(f.feature) || f.feature[i] < 0 || f.feature[i] >= len(row) {
			return 0, fmt.Errorf("node %d is outside of the trees, or its feature of %d features", i, len(row))
		}
		next, end := f.no[i], f.noLeaf[i] != 0
		if f.holds(i, row[f.feature[i]]) {
			next, end = f.yes[i], f.yesLeaf[i] != 0
		}
		if i = next; !end {
			continue
		}
		if i < 0 || i >= len(f.weight) {
			return 0, fmt.Errorf("leaf %d of %d", i, len(f.weight))
		}
		return i, nil
	}
	return 0, fmt.Errorf("the tree at node %d has a circle", root)
}

func newForest(n *model.Node) (*forest, error) {
	f := &forest{members: map[int][]float64{}}
	numbers := func(name string) ([]float64, error) {
		a := n.Attr(name)
		if a == nil || a.T == nil {
			return nil, nil
		}
		return toFloat64(a.T)
	}
	var err error
	if f.split, err = numbers("nodes_splits"); err != nil {
		return nil, err
	}
	if f.weight, err = numbers("leaf_weights"); err != nil {
		return nil, err
	}
	modes, err := numbers("nodes_modes")
	if err != nil {
		return nil, err
	}
	for _, m := range modes {
		f.mode = append(f.mode, int(m))
	}
	f.feature, f.target = attrInts(n, "nodes_featureids"), attrInts(n, "leaf_targetids")
	f.yes, f.no = attrInts(n, "nodes_truenodeids"), attrInts(n, "nodes_falsenodeids")
	f.yesLeaf, f.noLeaf = attrInts(n, "nodes_trueleafs"), attrInts(n, "nodes_falseleafs")
	f.missing = attrInts(n, "nodes_missing_value_tracks_true")
	k := len(f.feature)
	if len(f.split) != k || len(f.mode) != k || len(f.yes) != k || len(f.no) != k || len(f.yesLeaf) != k || len(f.noLeaf) != k ||
		f.missing != nil && len(f.missing) != k || len(f.target) != len(f.weight) {
		return nil, fmt.Errorf("the lists of %d nodes and %d leaves differ in length", k, len(f.weight))
	}
	sets, err := numbers("membership_values")
	if err != nil {
		return nil, err
	}
	for i, m := range f.mode { // a set ends with NaN, in the order of the nodes
		for m == 6 && len(sets) > 0 {
			v := sets[0]
			if sets = sets[1:]; v != v {
				break
			}
			f.members[i] = append(f.members[i], v)
		}
	}
	return f, nil
}

// opTreeEnsemble sums (or averages, or takes the least or largest of) what the trees say for every row.
func opTreeEnsemble(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if x.Rank() != 2 {
		return errShape("input", x, "[N features]")
	}
	n := c.Node
	if p := n.Int("post_transform", 0); p != 0 {
		return fmt.Errorf("post_transform %d: %w", p, model.ErrUnsupported)
	}
	f, err := newForest(n)
	if err != nil {
		return err
	}
	src, err := c.wide(x)
	if err != nil {
		return err
	}
	roots, targets, how := attrInts(n, "tree_roots"), int(n.Int("n_targets", 1)), n.Int("aggregate_function", 1)
	rows, cols := x.Shape()[0], x.Shape()[1]
	out, err := c.zeros(rows, targets)
	if err != nil {
		return err
	}
	seen := make([]bool, targets)
	for r := range rows {
		clear(seen)
		for _, root := range roots {
			leaf, err := f.leaf(root, src[r*cols:(r+1)*cols])
			if err != nil {
				return err
			}
			t := f.target[leaf]
			if t < 0 || t >= targets {
				return fmt.Errorf("target %d of %d", t, targets)
			}
			o, w := &out[r*targets+t], f.weight[leaf]
			switch {
			case how == 0:
				*o += w / float64(len(roots))
			case how == 1:
				*o += w
			case !seen[t] || how == 2 && w < *o || how == 3 && w > *o:
				*o = w
			}
			seen[t] = true
		}
	}
	return c.result(0, x.DType(), []int{rows, targets}, out)
}
