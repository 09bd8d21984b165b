package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// Modes of a treeNode.
var treeModes = []string{"LEAF", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}

// treeNode is a test of a feature, or, in mode 0, a leaf.
type treeNode struct {
	split   float64
	feature int
	yes, no int32 // nodes; of a leaf the first of its weights, and how many
	mode    uint8
	missing bool // NaN passes the test
}

// treeWeight is what a leaf adds to the score of a target or class.
type treeWeight struct {
	target int
	w      float64
}

// trees are those of TreeEnsembleRegressor and TreeEnsembleClassifier. No path from a root is without an end.
type trees struct {
	nodes    []treeNode
	weights  []treeWeight
	roots    []int32
	features int // that the rows must have
	targets  int // or classes
	base     []float64
	how      string // of a regressor: SUM, AVERAGE, MIN or MAX
	post     postTransform
	ints     []int64  // labels of classes
	strings  []string // likewise
	single   bool     // two classes, and weights for one of them alone
	positive bool     // no weight is below 0
}

// prepTrees reads the attributes of a regressor or, with classes, a classifier.
func prepTrees(n *model.Node, classes bool) (*trees, error) {
	t := &trees{how: n.Str("aggregate_function", "SUM"), targets: int(n.Int("n_targets", 0))}
	prefix := "target"
	if classes {
		prefix, t.how = "class", "SUM"
		t.ints, t.strings = n.Ints("classlabels_int64s"), attrStrings(n, "classlabels_strings")
		if t.targets = len(t.strings); t.targets == 0 {
			t.targets = len(t.ints)
		}
	}
	if t.targets <= 0 || t.targets > maxTensorBytes/4 {
		return nil, fmt.Errorf("%d targets or classes", t.targets)
	}
	if !slices.Contains([]string{"SUM", "AVERAGE", "MIN", "MAX"}, t.how) {
		return nil, fmt.Errorf("aggregate_function %q: %w", t.how, model.ErrUnsupported)
	}
	if classes && t.targets == 1 { // the label is then 1 or 0
		if len(t.strings) > 0 {
			return nil, fmt.Errorf("one class with a label that is a string: %w", model.ErrUnsupported)
		}
		t.ints = []int64{0, 1}
	}
	var err error
	if t.post, err = newPostTransform(n); err != nil {
		return nil, err
	}
	if t.base, err = attrNumbers(n, "base_values"); err != nil {
		return nil, err
	}
	if classes && len(t.base) > t.targets {
		return nil, fmt.Errorf("%d base values for %d classes", len(t.base), t.targets)
	}
	at, leaves, err := t.read(n)
	if err != nil {
		return nil, err
	}
	if err := t.link(n, at); err != nil {
		return nil, err
	}
	if err := t.weigh(n, prefix, at, leaves); err != nil {
		return nil, err
	}
	return t, t.acyclic()
}

// attrNumbers is an attribute of floats, or the tensor name_as_tensor in its place.
func attrNumbers(n *model.Node, name string) ([]float64, error) {
	if a := n.Attr(name + "_as_tensor"); a != nil && a.T != nil {
		if !a.T.DType().IsFloat() {
			return nil, fmt.Errorf("attribute %s_as_tensor of type %s: %w", name, a.T.DType(), model.ErrType)
		}
		return toFloat64(a.T)
	}
	a := n.Attr(name)
	if a == nil {
		return nil, nil
	}
	out := make([]float64, len(a.Floats))
	for i, v := range a.Floats {
		out[i] = float64(v)
	}
	return out, nil
}

// treeKey names a node within the trees.
type treeKey struct{ tree, node int64 }

// read makes the nodes, of which some are leaves. A tree begins where the number of the tree changes.
func (t *trees) read(n *model.Node) (at map[treeKey]int32, leaves int, err error) {
	ids, tree, feature := n.Ints("nodes_nodeids"), n.Ints("nodes_treeids"), n.Ints("nodes_featureids")
	modes, missing := attrStrings(n, "nodes_modes"), n.Ints("nodes_missing_value_tracks_true")
	split, err := attrNumbers(n, "nodes_values")
	if err != nil {
		return nil, 0, err
	}
	k := len(ids)
	if len(tree) != k || len(feature) != k || len(modes) != k || len(split) != k || k > math.MaxInt32 || len(missing) != 0 && len(missing) != k {
		return nil, 0, fmt.Errorf("the lists of %d nodes differ in length", k)
	}
	t.nodes, at = make([]treeNode, k), make(map[treeKey]int32, k)
	for i := range t.nodes {
		key := treeKey{tree[i], ids[i]}
		if _, ok := at[key]; ok {
			return nil, 0, fmt.Errorf("node %d of tree %d is there twice", key.node, key.tree)
		}
		at[key] = int32(i)
		if i == 0 || tree[i] != tree[i-1] {
			t.roots = append(t.roots, int32(i))
		}
		mode := slices.Index(treeModes, modes[i])
		if mode < 0 {
			return nil, 0, fmt.Errorf("node %d of tree %d has the mode %.40q: %w", key.node, key.tree, modes[i], model.ErrUnsupported)
		}
		t.nodes[i] = treeNode{split: split[i], mode: uint8(mode), missing: len(missing) > 0 && missing[i] == 1}
		if mode == 0 {
			leaves++
			continue
		}
		if feature[i] < 0 || feature[i] >= maxTensorBytes {
			return nil, 0, fmt.Errorf("node %d of tree %d tests feature %d", key.node, key.tree, feature[i])
		}
		t.nodes[i].feature = int(feature[i])
		t.features = max(t.features, int(feature[i])+1)
	}
	return at, leaves, nil
}

// link finds the nodes that tests lead to.
func (t *trees) link(n *model.Node, at map[treeKey]int32) error {
	ids, tree, yes, no := n.Ints("nodes_nodeids"), n.Ints("nodes_treeids"), n.Ints("nodes_truenodeids"), n.Ints("nodes_falsenodeids")
	if len(yes) != len(t.nodes) || len(no) != len(t.nodes) {
		return fmt.Errorf("the lists of %d nodes differ in length", len(t.nodes))
	}
	for i := range t.nodes {
		d := &t.nodes[i]
		if d.mode == 0 {
			continue
		}
		var a, b bool
		d.yes, a = at[treeKey{tree[i], yes[i]}]
		if d.no, b = at[treeKey{tree[i], no[i]}]; !a || !b {
			return fmt.Errorf("node %d of tree %d leads to nodes %d and %d, which are not both there", ids[i], tree[i], yes[i], no[i])
		}
	}
	return nil
}

// weigh gives the leaves their weights; those of other nodes are passed over, as old converters wrote them.
func (t *trees) weigh(n *model.Node, prefix string, at map[treeKey]int32, leaves int) error {
	ids, tree, target := n.Ints(prefix+"_nodeids"), n.Ints(prefix+"_treeids"), n.Ints(prefix+"_ids")
	w, err := attrNumbers(n, prefix+"_weights")
	if err != nil {
		return err
	}
	if len(tree) != len(ids) || len(target) != len(ids) || len(w) != len(ids) {
		return fmt.Errorf("the lists of %d weights differ in length", len(ids))
	}
	leaf, order := make([]int32, len(ids)), make([]int, 0, len(ids))
	only := map[int64]bool{}
	t.positive = true
	for i := range ids {
		only[target[i]] = true
		t.positive = t.positive && !(w[i] < 0)
		var ok bool
		if leaf[i], ok = at[treeKey{tree[i], ids[i]}]; !ok {
			return fmt.Errorf("a weight is for node %d of tree %d, which is not there", ids[i], tree[i])
		}
		if target[i] < 0 || target[i] >= int64(t.targets) {
			return fmt.Errorf("a weight is for target or class %d of %d", target[i], t.targets)
		}
		if t.nodes[leaf[i]].mode == 0 {
			order = append(order, i)
		}
	}
	t.single = t.targets == 2 && len(only) == 1
	slices.SortStableFunc(order, func(a, b int) int { return int(leaf[a]) - int(leaf[b]) })
	for _, i := range order {
		d := &t.nodes[leaf[i]]
		if d.no == 0 {
			d.yes = int32(len(t.weights))
			leaves--
		}
		d.no++
		t.weights = append(t.weights, treeWeight{int(target[i]), w[i]})
	}
	if leaves > 0 {
		return fmt.Errorf("%d leaves have no weight", leaves)
	}
	return nil
}

// acyclic reports trees with a path that comes back to a node.
func (t *trees) acyclic() error {
	state := make([]uint8, len(t.nodes)) // 1 on the path, 2 done
	var path []int32
	for _, root := range t.roots {
		path = append(path[:0], root)
		for len(path) > 0 {
			i := path[len(path)-1]
			d := t.nodes[i]
			if state[i] != 0 || d.mode == 0 { // its children are done, or were before
				state[i], path = 2, path[:len(path)-1]
				continue
			}
			state[i] = 1
			for _, next := range [2]int32{d.yes, d.no} {
				switch state[next] {
				case 0:
					path = append(path, next)
				case 1:
					return fmt.Errorf("a path of the trees comes back to their node %d", next)
				}
			}
		}
	}
	return nil
}

// leaf walks from a root to its leaf.
func (t *trees) leaf(root int32, row []float64) *treeNode {
	d := &t.nodes[root]
	for d.mode != 0 {
		v := row[d.feature]
		var yes bool
		switch d.mode {
		case 1:
			yes = v <= d.split
		case 2:
			yes = v < d.split
		case 3:
			yes = v >= d.split
		case 4:
			yes = v > d.split
		case 5:
			yes = v == d.split
		case 6:
			yes = v != d.split
		}
		if yes || d.missing && v != v {
			d = &t.nodes[d.yes]
		} else {
			d = &t.nodes[d.no]
		}
	}
	return d
}
