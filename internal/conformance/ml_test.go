//go:build !static

package conformance_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/wattshed/wattshed/model"
)

const ml = "ai.onnx.ml"

func floatsAttr(name string, v ...float32) model.Attr {
	return model.Attr{Name: name, Kind: model.AttrFloats, Floats: v}
}

func stringsAttr(name string, v ...string) model.Attr {
	a := model.Attr{Name: name, Kind: model.AttrStrings}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

func (r source) list(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// features are rows of numbers, in float64 or integers now and then.
func (r source) features(n, rows, cols int) *model.Tensor {
	switch n % 5 {
	case 3:
		v := make([]float64, rows*cols)
		for i := range v {
			v[i] = r.NormFloat64()
		}
		return model.FromSlice([]int{rows, cols}, v)
	case 4:
		v := make([]int64, rows*cols)
		for i := range v {
			v[i] = int64(r.IntN(7)) - 3
		}
		return model.FromSlice([]int{rows, cols}, v)
	}
	return r.floats(rows, cols)
}

var transforms = []string{"NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"}

// classLabels are labels of classes under the names of the attributes.
func classLabels(n, classes int, ints, names string) (model.Attr, model.DType) {
	if n%2 == 0 {
		v := make([]int64, classes)
		for i := range v {
			v[i] = int64(5 + 2*i)
		}
		return model.IntsAttr(ints, v...), model.Int64
	}
	v := make([]string, classes)
	for i := range v {
		v[i] = fmt.Sprint("class ", i)
	}
	return stringsAttr(names, v...), model.String
}

// TestLinearModels: what converters write for linear models and their preparation. Sums of a dozen products in float32.
func TestLinearModels(t *testing.T) {
	rt, r := reference(t), newSource(51)
	for n := range 120 {
		rows, cols, classes := 1+r.IntN(70), 1+r.IntN(12), 1+r.IntN(5)
		x := r.features(n, rows, cols)
		sizes := []int{cols, 1}
		k := sizes[n%2]
		o := one{name: fmt.Sprintf("Scaler %d", n), domain: ml, op: "Scaler", outputs: []model.DType{f32}, inputs: []*model.Tensor{x},
			attrs: []model.Attr{floatsAttr("offset", r.list(k)...), floatsAttr("scale", r.list(k)...)}}
		o.check(t, rt, 0)
		for _, norm := range []string{"MAX", "L1", "L2"} {
			o = one{name: fmt.Sprintf("Normalizer %d %s", n, norm), domain: ml, op: "Normalizer", outputs: []model.DType{f32}, inputs: []*model.Tensor{x}, attrs: []model.Attr{model.StringAttr("norm", norm)}}
			o.check(t, rt, 1e-6)
		}
		post := transforms[n/2%5]
		o = one{name: fmt.Sprintf("LinearRegressor %d of %d targets, %s", n, classes, post), domain: ml, op: "LinearRegressor", outputs: []model.DType{f32}, inputs: []*model.Tensor{r.floats(rows, cols)},
			attrs: []model.Attr{i("targets", int64(classes)), floatsAttr("coefficients", r.list(classes*cols)...), floatsAttr("intercepts", r.list(classes)...), model.StringAttr("post_transform", post)}}
		if n%4 == 1 {
			o.attrs = append(o.attrs[:2:2], o.attrs[3])
		}
		if post != "PROBIT" { // of a number outside of 0 to 1 there is none
			o.check(t, rt, 1e-5)
		}
		labels := classes
		if classes == 1 {
			labels = 2 * (n / 2 % 2)
		}
		label, d := classLabels(n, labels, "classlabels_ints", "classlabels_strings")
		o = one{name: fmt.Sprintf("LinearClassifier %d of %d classes, %d labels, %s", n, classes, labels, post), domain: ml, op: "LinearClassifier", outputs: []model.DType{d, f32}, inputs: []*model.Tensor{x},
			attrs: []model.Attr{label, floatsAttr("coefficients", r.list(classes*cols)...), floatsAttr("intercepts", r.list(classes)...), model.StringAttr("post_transform", post)}}
		if post != "PROBIT" {
			o.check(t, rt, 1e-5)
		}
	}
}

// ensemble draws the attributes of trees: prefix is "target" or "class".
func (r source) ensemble(prefix string, cols, outputs int, only int) []model.Attr {
	var tree, ids, feature, yes, no, leafTree, leafID, target, missing []int64
	var modes []string
	var split, weights []float32
	names := []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}
	kinds := 1 + 5*r.IntN(2)
	scale, shift := float32(0.3), float32(0)
	if r.IntN(2) == 0 {
		scale, shift = 0.02, 0.1 // probabilities
	}
	for k := range 1 + r.IntN(12) {
		var grow func(depth int) int64
		next := int64(0)
		grow = func(depth int) int64 {
			id, at := next, len(ids)
			next++
			tree, ids, feature, missing = append(tree, int64(k)), append(ids, id), append(feature, int64(r.IntN(cols))), append(missing, int64(r.IntN(2)))
			split, yes, no = append(split, float32(r.IntN(9)-4)/2), append(yes, 0), append(no, 0)
			if depth == 0 || r.IntN(4) == 0 {
				modes = append(modes, "LEAF")
				for _, o := range r.Perm(outputs)[:1+r.IntN(outputs)] {
					if only >= 0 {
						o = only
					}
					leafTree, leafID, target, weights = append(leafTree, int64(k)), append(leafID, id), append(target, int64(o)), append(weights, float32(r.NormFloat64())*scale+shift)
					if only >= 0 {
						break
					}
				}
				return id
			}
			modes = append(modes, names[r.IntN(kinds)])
			a := grow(depth - 1)
			b := grow(depth - 1)
			yes[at], no[at] = a, b
			return id
		}
		grow(1 + r.IntN(5))
	}
	if scale == 0.02 {
		for k := range weights {
			weights[k] = max(weights[k], -weights[k])
		}
	}
	attrs := []model.Attr{model.IntsAttr("nodes_treeids", tree...), model.IntsAttr("nodes_nodeids", ids...), model.IntsAttr("nodes_featureids", feature...),
		model.IntsAttr("nodes_truenodeids", yes...), model.IntsAttr("nodes_falsenodeids", no...), stringsAttr("nodes_modes", modes...), floatsAttr("nodes_values", split...),
		model.IntsAttr(prefix+"_treeids", leafTree...), model.IntsAttr(prefix+"_nodeids", leafID...), model.IntsAttr(prefix+"_ids", target...), floatsAttr(prefix+"_weights", weights...)}
	if r.IntN(2) == 0 {
		attrs = append(attrs, model.IntsAttr("nodes_missing_value_tracks_true", missing...))
	}
	return attrs
}

// TestTrees: random ensembles, whose leaves have any number of weights, with features that lie on the splits and a few that are missing.
func TestTrees(t *testing.T) {
	rt, r := reference(t), newSource(52)
	for n := range 400 {
		rows, cols, outputs := 1+r.IntN(90), 1+r.IntN(6), 1+r.IntN(4)
		x := r.features(n, rows, cols)
		if v, err := model.Data[float32](x); err == nil && x.DType() == f32 {
			for k := range v {
				if v[k] = float32(int(v[k]*2)) / 2; r.IntN(20) == 0 {
					v[k] = float32(math.NaN())
				}
			}
		}
		post := transforms[n/2%4]
		base := []model.Attr{}
		if n%3 == 1 {
			base = append(base, floatsAttr("base_values", r.list(outputs)...))
		}
		how := []string{"SUM", "AVERAGE", "MIN", "MAX"}[n/3%4]
		o := one{name: fmt.Sprintf("TreeEnsembleRegressor %d of %d targets, %s, %s, %d rows of %s", n, outputs, how, post, rows, x.DType()), domain: ml, op: "TreeEnsembleRegressor", outputs: []model.DType{f32}, inputs: []*model.Tensor{x},
			attrs: append(append(r.ensemble("target", cols, outputs, -1), base...), i("n_targets", int64(outputs)), model.StringAttr("aggregate_function", how), model.StringAttr("post_transform", post))}
		if x.DType() != model.Int64 { // ONNX Runtime has no such regressors
			o.check(t, rt, 1e-5)
		}
		label, d := classLabels(n, outputs, "classlabels_int64s", "classlabels_strings")
		if outputs == 1 {
			label, d = classLabels(0, outputs, "classlabels_int64s", "classlabels_strings")
		}
		if outputs == 2 && n%4 == 0 && d == model.Int64 { // ONNX Runtime says 0 and 1 where both classes have weights, whatever the labels are
			label = model.IntsAttr("classlabels_int64s", 0, 1)
		}
		only := -1
		if outputs == 2 && n%4 > 0 {
			only = r.IntN(2)
		}
		o = one{name: fmt.Sprintf("TreeEnsembleClassifier %d of %d classes, weights for %d, %s, %d rows of %s, base %t", n, outputs, only, post, rows, x.DType(), len(base) > 0), domain: ml, op: "TreeEnsembleClassifier", outputs: []model.DType{d, f32}, inputs: []*model.Tensor{x},
			attrs: append(append(r.ensemble("class", cols, outputs, only), base...), label, model.StringAttr("post_transform", post))}
		o.check(t, rt, 1e-5)
	}
}

// TestSVM: support vector machines with all kernels, of classes with and without probabilities. Powers and exponentials of sums of a dozen products.
func TestSVM(t *testing.T) {
	rt, r := reference(t), newSource(53)
	for n := range 240 {
		rows, cols, classes := 1+r.IntN(300), 1+r.IntN(8), 2+r.IntN(4)
		kind := []string{"LINEAR", "POLY", "RBF", "SIGMOID"}[n%4]
		params := floatsAttr("kernel_params", 0.1+r.Float32()/4, r.Float32(), float32(1+r.IntN(4)))
		post := transforms[n/4%4]
		vectors := 1 + r.IntN(20)
		x := r.floats(rows, cols)
		if n%3 == 0 {
			vectors = 0
		}
		attrs := []model.Attr{model.StringAttr("kernel_type", kind), params, floatsAttr("coefficients", r.list(max(vectors, 1)*max(1, cols*(1-min(vectors, 1))))...), floatsAttr("rho", r.list(1)...), i("n_supports", int64(vectors)), i("one_class", int64(n/2%2))}
		if vectors > 0 {
			attrs = append(attrs, floatsAttr("support_vectors", r.list(vectors*cols)...))
		}
		o := one{name: fmt.Sprintf("SVMRegressor %d %s of %d vectors", n, kind, vectors), domain: ml, op: "SVMRegressor", outputs: []model.DType{f32}, inputs: []*model.Tensor{x}, attrs: attrs}
		o.check(t, rt, 1e-4)

		label, d := classLabels(n/2, classes, "classlabels_ints", "classlabels_strings")
		per, total, pairs := make([]int64, classes), 0, classes*(classes-1)/2
		for k := range per {
			per[k] = int64(1 + r.IntN(6))
			total += int(per[k])
		}
		attrs = []model.Attr{model.StringAttr("kernel_type", kind), params, label, model.StringAttr("post_transform", post)}
		if n%5 == 0 {
			total = 0
			attrs = append(attrs, floatsAttr("coefficients", r.list(classes*cols)...), floatsAttr("rho", r.list(1)...))
		} else {
			attrs = append(attrs, floatsAttr("coefficients", r.list((classes-1)*total)...), floatsAttr("rho", r.list(pairs)...), floatsAttr("support_vectors", r.list(total*cols)...), model.IntsAttr("vectors_per_class", per...))
			if n/3%2 == 0 {
				attrs = append(attrs, floatsAttr("prob_a", r.list(pairs)...), floatsAttr("prob_b", r.list(pairs)...))
			}
		}
		o = one{name: fmt.Sprintf("SVMClassifier %d %s of %d vectors, %d classes, %s", n, kind, total, classes, post), domain: ml, op: "SVMClassifier", outputs: []model.DType{d, f32}, inputs: []*model.Tensor{r.features(n, rows, cols)}, attrs: attrs}
		o.check(t, rt, 1e-4)
	}
}

// TestProbit: the transform of numbers between 0 and 1; its approximation loses digits where it subtracts.
func TestProbit(t *testing.T) {
	rt := reference(t)
	v := make([]float32, 99)
	for k := range v {
		v[k] = float32(k+1) / 100
	}
	o := one{name: "probit", domain: ml, op: "LinearRegressor", outputs: []model.DType{f32}, inputs: []*model.Tensor{model.FromSlice([]int{99, 1}, v)},
		attrs: []model.Attr{i("targets", 1), floatsAttr("coefficients", 1), model.StringAttr("post_transform", "PROBIT")}}
	o.check(t, rt, 1e-4)
}
