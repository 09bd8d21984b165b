package engine_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// twoTrees are the attributes of an ensemble of two trees over three features, of one test and of two.
func twoTrees() map[string]*model.Attr {
	modes := model.Attr{Name: "nodes_modes", Kind: model.AttrStrings}
	for _, s := range strings.Fields("BRANCH_LEQ LEAF LEAF BRANCH_LEQ BRANCH_GT LEAF LEAF LEAF") {
		modes.Strings = append(modes.Strings, []byte(s))
	}
	out := map[string]*model.Attr{"nodes_modes": &modes,
		"nodes_values":   {Name: "nodes_values", Kind: model.AttrFloats, Floats: []float32{0.5, 0, 0, 0, 1, 0, 0, 0}},
		"target_weights": {Name: "target_weights", Kind: model.AttrFloats, Floats: []float32{1, 2, 3, 4, 5}}}
	for name, v := range map[string][]int64{
		"nodes_treeids": {0, 0, 0, 1, 1, 1, 1, 1}, "nodes_nodeids": {0, 1, 2, 0, 1, 2, 3, 4}, "nodes_featureids": {0, 0, 0, 1, 2, 0, 0, 0},
		"nodes_truenodeids": {1, 0, 0, 1, 3, 0, 0, 0}, "nodes_falsenodeids": {2, 0, 0, 2, 4, 0, 0, 0},
		"target_treeids": {0, 0, 1, 1, 1}, "target_nodeids": {1, 2, 2, 3, 4}, "target_ids": {0, 1, 0, 1, 0},
	} {
		out[name] = &model.Attr{Name: name, Kind: model.AttrInts, Ints: v}
	}
	return out
}

// loadTrees compiles a regressor of two targets and runs it on a row.
func loadTrees(t *testing.T, attrs map[string]*model.Attr, targets int64) (y *model.Tensor, loaded bool, err error) {
	t.Helper()
	b := newBuilder(1, 17)
	n := &model.Node{Name: "trees", Op: "TreeEnsembleRegressor", Domain: "ai.onnx.ml", Inputs: []string{b.input("x", model.Float32, nil)}, Outputs: []string{"y"},
		Attrs: []model.Attr{model.IntAttr("n_targets", targets)}}
	for _, a := range attrs {
		n.Attrs = append(n.Attrs, *a)
	}
	b.g.Nodes = append(b.g.Nodes, n)
	b.output("y")
	s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 1, Memory: 1 << 24})
	if err != nil {
		return nil, false, err
	}
	defer s.Close()
	out, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{1, 3}, []float32{0.1, -1, 3})})
	return out["y"], true, err
}

// TestHostileTrees: ensembles whose paths come back, lead nowhere or whose lists do not fit are errors of Compile; whatever numbers their
// attributes hold, nothing loops without an end or panics.
func TestHostileTrees(t *testing.T) {
	y, _, err := loadTrees(t, twoTrees(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := engine.Float64s(y); err != nil || len(v) != 2 || v[0] != 1 || v[1] != 4 {
		t.Fatalf("%v, %v", v, err)
	}
	for name, spoil := range map[string]func(a map[string]*model.Attr){
		"a node that leads to itself":  func(a map[string]*model.Attr) { a["nodes_truenodeids"].Ints[0] = 0 },
		"a path that comes back":       func(a map[string]*model.Attr) { a["nodes_falsenodeids"].Ints[4] = 0 },
		"a node that is not there":     func(a map[string]*model.Attr) { a["nodes_falsenodeids"].Ints[3] = 9 },
		"a negative node":              func(a map[string]*model.Attr) { a["nodes_truenodeids"].Ints[3] = -1 },
		"a node twice":                 func(a map[string]*model.Attr) { a["nodes_nodeids"].Ints[2] = 1 },
		"a negative feature":           func(a map[string]*model.Attr) { a["nodes_featureids"].Ints[0] = -1 },
		"an unknown mode":              func(a map[string]*model.Attr) { a["nodes_modes"].Strings[0] = []byte("BRANCH") },
		"a weight of a node not there": func(a map[string]*model.Attr) { a["target_nodeids"].Ints[0] = 7 },
		"a leaf without a weight":      func(a map[string]*model.Attr) { a["target_nodeids"].Ints[0] = 2 },
		"a target too many":            func(a map[string]*model.Attr) { a["target_ids"].Ints[0] = 2 },
		"a negative target":            func(a map[string]*model.Attr) { a["target_ids"].Ints[0] = -1 },
		"fewer weights":                func(a map[string]*model.Attr) { a["target_weights"].Floats = a["target_weights"].Floats[:4] },
		"fewer thresholds":             func(a map[string]*model.Attr) { a["nodes_values"].Floats = nil },
		"fewer nodes":                  func(a map[string]*model.Attr) { a["nodes_falsenodeids"].Ints = a["nodes_falsenodeids"].Ints[:7] },
		"missing values of half of them": func(a map[string]*model.Attr) {
			a["m"] = &model.Attr{Name: "nodes_missing_value_tracks_true", Kind: model.AttrInts, Ints: []int64{1}}
		},
		"an aggregation that is not there": func(a map[string]*model.Attr) { b := model.StringAttr("aggregate_function", "MEDIAN"); a["how"] = &b },
	} {
		a := twoTrees()
		spoil(a)
		if _, loaded, err := loadTrees(t, a, 2); loaded || err == nil || strings.Contains(err.Error(), "internal error") {
			t.Errorf("%s: loaded %t: %v", name, loaded, err)
		}
	}
	if _, _, err := loadTrees(t, twoTrees(), 1<<30); !errors.Is(err, engine.ErrMemory) {
		t.Errorf("a billion targets: %v", err)
	}
	a := twoTrees()
	a["nodes_featureids"].Ints[0] = 3
	if _, loaded, err := loadTrees(t, a, 2); !loaded || err == nil || strings.Contains(err.Error(), "internal error") {
		t.Errorf("a feature that the row has not: %v", err)
	}
	r := rand.New(rand.NewPCG(7, 1))
	fine := 0
	for range 4000 {
		a := twoTrees()
		for range 1 + r.IntN(3) {
			for _, at := range a {
				if k := len(at.Ints); k > 0 && r.IntN(6) == 0 {
					at.Ints[r.IntN(k)] = []int64{-1, 0, 1, 2, 3, 4, 1 << 40}[r.IntN(7)]
				}
			}
		}
		switch _, _, err := loadTrees(t, a, 2); {
		case err == nil:
			fine++
		case strings.Contains(err.Error(), "internal error"):
			t.Fatal(err)
		}
	}
	if fine == 0 {
		t.Error("no ensemble was left whole")
	}
}

// TestHostileModels: lists of linear models and support vector machines that do not fit each other or the input are errors.
func TestHostileModels(t *testing.T) {
	floats := func(name string, n int) model.Attr {
		return model.Attr{Name: name, Kind: model.AttrFloats, Floats: make([]float32, n)}
	}
	two, huge := model.IntsAttr("classlabels_ints", 0, 1), model.IntsAttr("vectors_per_class", 1<<62, 1<<62)
	for _, c := range []struct {
		op    string
		attrs []model.Attr
	}{
		{"Scaler", nil},
		{"Scaler", []model.Attr{floats("scale", 2), floats("offset", 2)}},
		{"Scaler", []model.Attr{floats("scale", 3), floats("offset", 1)}},
		{"Normalizer", []model.Attr{model.StringAttr("norm", "L3")}},
		{"LinearRegressor", nil},
		{"LinearRegressor", []model.Attr{floats("coefficients", 3), model.IntAttr("targets", -1)}},
		{"LinearRegressor", []model.Attr{floats("coefficients", 3), model.IntAttr("targets", 1<<60)}},
		{"LinearRegressor", []model.Attr{floats("coefficients", 4), floats("intercepts", 1)}},
		{"LinearRegressor", []model.Attr{floats("coefficients", 3), model.StringAttr("post_transform", "LOG")}},
		{"LinearClassifier", nil},
		{"LinearClassifier", []model.Attr{floats("coefficients", 9), floats("intercepts", 3), two}},
		{"LinearClassifier", []model.Attr{floats("coefficients", 6), floats("intercepts", 3), two}},
		{"SVMRegressor", []model.Attr{floats("coefficients", 2), floats("rho", 1), floats("support_vectors", 5), model.IntAttr("n_supports", 2)}},
		{"SVMRegressor", []model.Attr{floats("coefficients", 1), floats("rho", 1), floats("support_vectors", 6), model.IntAttr("n_supports", 2)}},
		{"SVMRegressor", []model.Attr{floats("coefficients", 2), floats("support_vectors", 6), model.IntAttr("n_supports", 1<<61)}},
		{"SVMRegressor", []model.Attr{floats("coefficients", 3), floats("rho", 1), floats("kernel_params", 2)}},
		{"SVMClassifier", []model.Attr{floats("coefficients", 3), floats("rho", 1)}},
		{"SVMClassifier", []model.Attr{floats("coefficients", 3), floats("rho", 1), two, huge}},
		{"SVMClassifier", []model.Attr{floats("coefficients", 3), floats("rho", 0), two, model.IntsAttr("vectors_per_class", 1, 2), floats("support_vectors", 9)}},
		{"SVMClassifier", []model.Attr{floats("coefficients", 2), floats("rho", 1), two, model.IntsAttr("vectors_per_class", 1, 2), floats("support_vectors", 9)}},
		{"SVMClassifier", []model.Attr{floats("coefficients", 3), floats("rho", 1), two, model.IntsAttr("vectors_per_class", 3), floats("support_vectors", 9)}},
		{"SVMClassifier", []model.Attr{floats("coefficients", 3), floats("rho", 1), two, model.IntsAttr("vectors_per_class", 1, 2), floats("support_vectors", 9), floats("prob_a", 1)}},
		{"SVMClassifier", []model.Attr{floats("coefficients", 3), floats("rho", 1), two, model.IntsAttr("vectors_per_class", -1, 2), floats("support_vectors", 9)}},
	} {
		b := newBuilder(1, 17)
		b.g.Nodes = append(b.g.Nodes, &model.Node{Name: "node", Op: c.op, Domain: "ai.onnx.ml", Inputs: []string{b.input("x", model.Float32, nil)}, Outputs: []string{"y", "z"}, Attrs: c.attrs})
		b.output("y")
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 1, Memory: 1 << 24})
		if err == nil {
			_, err = s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{2, 3}, make([]float32, 6))})
			s.Close()
		}
		if err == nil || strings.Contains(err.Error(), "internal error") {
			t.Errorf("%s %v: %v", c.op, c.attrs, err)
		}
	}
}

// TestOutputLeftOut: the scores of a classifier whose node has only labels do not stay in the memory of the runs, whose shapes all differ.
func TestOutputLeftOut(t *testing.T) {
	b := newBuilder(1, 17)
	b.g.Nodes = append(b.g.Nodes, &model.Node{Name: "node", Op: "LinearClassifier", Domain: "ai.onnx.ml", Inputs: []string{b.input("x", model.Float32, nil)}, Outputs: []string{"y"},
		Attrs: []model.Attr{model.IntsAttr("classlabels_ints", 0, 1, 2), {Name: "coefficients", Kind: model.AttrFloats, Floats: make([]float32, 9)}, {Name: "intercepts", Kind: model.AttrFloats, Floats: make([]float32, 3)}}})
	b.output("y")
	s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 1, Memory: 1 << 22})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for rows := range 1000 { // of 12 bytes: 6 MB in all
		if _, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{rows, 3}, make([]float32, 3*rows))}); err != nil {
			t.Fatalf("%d rows: %v", rows, err)
		}
	}
}
