// Package explain names why a variant is slower, larger or less accurate than its scheme promises: rules over the result, the
// graph that was measured, the CPU, the batch and the time by operator.
package explain

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/reports"
)

// Effect is what a variant did not do.
type Effect string

// Effects.
const (
	Slower       Effect = "slower than expected"
	Larger       Effect = "larger than expected"
	LessAccurate Effect = "less accurate than expected"
)

// Cause is a reason for an effect.
type Cause struct {
	Effect Effect  `json:"effect"`
	Name   string  `json:"cause"`
	Weight float64 `json:"weight"` // estimated share of the effect, 0 to 1: causes are listed by it
	What   string  `json:"what"`   // the evidence, with figures
	Try    string  `json:"try"`    // what to do
}

// Case is what the rules look at. The graphs are nil where the files are not there any more.
type Case struct {
	Result   *reports.Result
	Variant  *reports.Variant
	Baseline *reports.Variant
	Graph    *model.Graph // of the variant
	Original *model.Graph
}

// rule finds a cause, or returns nil.
type rule func(*facts) *Cause

// rules are all causes; adding one is a function and a line here.
var rules = []rule{
	islands, dynamicConv, noVNNI, tinyProducts, depthwise, floatEmbeddings, metadata, zerosInDense, zerosInFile, ragged, opsetBlocks, notFused, weightOnlyBatch,
	castsAtLoad, quantizingCost,
	oneScale, saturation, randomCalibration, noRecovery, activationOutliers, overflow,
}

// Explain returns the causes of the effects that the variant shows, the weightiest first. Causes of effects that it does not
// show are left out; none are returned for a variant that does what its scheme promises.
func Explain(c Case) []Cause {
	f := newFacts(c)
	shown := f.effects()
	var out []Cause
	for _, r := range rules {
		if cause := r(f); cause != nil && slices.Contains(shown, cause.Effect) && cause.Weight > 0 {
			cause.Weight = min(cause.Weight, 1)
			out = append(out, *cause)
		}
	}
	slices.SortStableFunc(out, func(a, b Cause) int { return cmp.Compare(b.Weight, a.Weight) })
	return out
}

// Effects returns what the variant did not do.
func Effects(c Case) []Effect { return newFacts(c).effects() }

// expected are the size and the latency, as ratios, that a scheme promises on a graph of matrix products.
var expected = map[string]struct{ size, latency float64 }{
	"int8": {0.3, 0.8}, "int4": {0.22, 0.95}, "uint4": {0.22, 0.95}, "fp16": {0.56, 0.97}, "bf16": {0.56, 0.97}, "fp8": {0.3, 0.97},
}

// effects compares the variant with what its stages promise.
func (f *facts) effects() []Effect {
	var out []Effect
	want, known := expected[f.scheme]
	pruned := f.stage("prune") != nil
	if !known {
		want.size, want.latency = 1.01, 1.03
		if pruned {
			want.latency = 0.97
		}
	}
	if l := f.Variant.Latency; l != nil && l.Ratio != nil && (known || pruned) && l.Ratio.Value > want.latency {
		out = append(out, Slower)
	}
	if r := f.sizeRatio(); r > 0 && (known && r > want.size || pruned && !known && r > 0.97) {
		out = append(out, Larger)
	}
	if a := f.Variant.Accuracy; a != nil {
		switch {
		case a.Delta != nil && a.Delta.CI95 != nil:
			d := a.Delta
			least := 0.005 * max(a.Value-d.Value, 0.01) // half a percent of the baseline's value
			if strings.Contains(a.Metric, "cosine") {
				least = 0.01
			}
			if a.LowerIsBetter && d.CI95[0] > 0 && d.Value > least || !a.LowerIsBetter && d.CI95[1] < 0 && -d.Value > least {
				out = append(out, LessAccurate)
			}
		case strings.Contains(a.Metric, "cosine") && a.Value < 0.99:
			out = append(out, LessAccurate)
		}
	}
	return out
}

func (f *facts) sizeRatio() float64 {
	if f.Variant.File == nil || f.Baseline.File == nil || f.Baseline.File.Bytes == 0 {
		return 0
	}
	return float64(f.Variant.File.Bytes) / float64(f.Baseline.File.Bytes)
}
