package verify_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/quantize/verify"
)

// recorded returns g with a plan in its metadata.
func recorded(t *testing.T, g *model.Graph) *model.Graph {
	t.Helper()
	if err := quantize.Record(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestPlan: a single changed bit of any initializer of a written file is found, and named where it is more than a few elements; the
// error against the original stays far above the bound that would show it.
func TestPlan(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for name, base := range map[string]*model.Graph{"dynamic": dynamic(t), "half": half(t), "QDQ": qdq(), "blocks": nbits()} {
		base = recorded(t, base)
		if found := verify.Graph(base); len(found) > 0 {
			t.Errorf("%s as written: %v", name, found)
		}
		first := base.Model.Meta[0].Value
		if again := recorded(t, base); again.Model.Meta[0].Value != first || len(again.Model.Meta) != 1 {
			t.Errorf("%s: another plan of the same model", name)
		}
		for _, w := range base.Initializers() {
			old := base.Initializer(w)
			for range 5 {
				raw, err := old.Bytes()
				if err != nil || len(raw) == 0 {
					t.Fatal(name, w, err)
				}
				raw = slices.Clone(raw)
				raw[rng.IntN(len(raw))] ^= 1 << rng.IntN(8)
				flipped, err := model.NewTensor(old.DType(), old.Shape(), raw)
				if err != nil {
					t.Fatal(err)
				}
				base.SetInitializer(w, flipped)
				value := w
				if old.Len() < 16 {
					value = ""
				}
				if !slices.ContainsFunc(verify.Graph(base), func(f verify.Finding) bool { return f.Rule == verify.RulePlan && f.Value == value }) {
					t.Errorf("%s: a flipped bit of %s was not found", name, w)
				}
			}
			base.SetInitializer(w, old)
		}
	}
	g := recorded(t, dynamic(t))
	q, err := model.Data[int8](g.Initializer("w1_quantized"))
	if err != nil {
		t.Fatal(err)
	}
	q = slices.Clone(q)
	for _, i := range []int{3, 400, 777} { // three of 1,536 codes: their error alone is no reason for suspicion
		q[i] = -q[i]
	}
	g.SetInitializer("w1_quantized", model.FromSlice(g.Initializer("w1_quantized").Shape(), q))
	if _, found := verify.Against(g, float()); len(found) > 0 {
		t.Errorf("the bound on the error sees it already: %v", found)
	}
	if found := verify.Graph(g); len(found) != 1 || found[0].Rule != verify.RulePlan || found[0].Value != "w1_quantized" {
		t.Errorf("three changed codes: %v", found)
	}
	g = recorded(t, dynamic(t))
	g.SetInitializer("more", normal(1, 40))
	g.Model.Meta[0].Value = g.Model.Meta[0].Value[:len(g.Model.Meta[0].Value)-1] + `,"gone":"00000000"}`
	found := verify.Graph(g)
	if len(found) != 2 || found[0].Value != "gone" || found[1].Value != "more" {
		t.Errorf("an initializer more and one less: %v", found)
	}
	g.Model.Meta[0].Value = "no plan"
	if found := verify.Graph(g); len(found) != 1 || found[0].Rule != verify.RulePlan {
		t.Errorf("a plan that is none: %v", found)
	}
}
