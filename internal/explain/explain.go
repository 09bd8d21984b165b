// Package explain names why a variant is slower, larger or less accurate than its scheme promises: rules over the result, the
// graph that was measured, the CPU, the batch and the time by operator.
package explain

import (
	"fmt"
	"math"
	"sort"
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
	Weight float64 `json:"weight"` // estimated share of the effect, 0 to 1
	What   string  `json:"what"`   // the evidence, with figures
	Try    string  `json:"try"`    // what to do
}

// Shown is an effect as the result shows it.
type Shown struct {
	Effect  Effect  `json:"effect"`
	Decided bool    `json:"decided"` // the interval excludes what was promised; causes are looked for of these alone
	Size    float64 `json:"size"`    // how far beyond: see effects
	What    string  `json:"what"`    // the figure, its interval and what was promised
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
	islands, dynamicConv, noVNNI, tinyProducts, depthwise, floatEmbeddings, floatWeights, metadata, zerosInDense, zerosInFile, ragged, opsetBlocks, notFused,
	weightOnlyRows, castsAtLoad, widened, quantizingCost,
	oneScale, saturation, randomCalibration, noRecovery, activationOutliers, overflow, fewMantissaBits, fewBits,
}

// Explain returns the causes of the effects that the variant decidedly shows: the larger an effect and the larger a cause's share
// of it, the earlier. None are returned for a variant that does what its scheme promises, or of which nothing is decided.
func Explain(c Case) []Cause {
	f := newFacts(c)
	size := map[Effect]float64{}
	for _, s := range f.effects() {
		if s.Decided {
			size[s.Effect] = s.Size
		}
	}
	var out []Cause
	for _, r := range rules {
		if cause := r(f); cause != nil && size[cause.Effect] > 0 && cause.Weight > 0 {
			cause.Weight = min(cause.Weight, 1)
			out = append(out, *cause)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return size[out[i].Effect]*out[i].Weight > size[out[j].Effect]*out[j].Weight })
	return out
}

// Effects returns what the variant did not do, the decided and the largest first. A variant whose stages promise nothing of time is
// expected not to be slower than the original, and is listed where it decidedly is.
func Effects(c Case) []Shown { return newFacts(c).effects() }

// Promised reports whether the stages promise a size or a latency that the result has a figure of.
func Promised(c Case) bool {
	f := newFacts(c)
	want, _ := f.promised()
	l := f.Variant.Latency
	return !math.IsInf(want.size, 1) && f.sizeRatio() > 0 || !math.IsInf(want.latency, 1) && l != nil && l.Ratio != nil
}

// promise is the size and the latency, as ratios, that a scheme has on a graph of matrix products.
type promise struct{ size, latency float64 }

// about is the ratio of latencies of schemes that only store: no change, but for what a good measurement tells apart.
const about = 1.03

// expected are the promises by scheme and by scheme with mode. Integers of 16 bits and floats of 8 are multiplied by no CPU, and
// weight-only quantization of many vectors at once is the runtime's to make up for: they promise size alone.
var expected = map[string]promise{
	"int8": {0.3, 0.8}, "uint8": {0.3, 0.85}, "int8 weight-only": {0.33, 0.95}, "uint8 weight-only": {0.33, about},
	"int4": {0.22, 0.95}, "uint4": {0.22, about}, "int16": {0.56, about}, "uint16": {0.56, about},
	"fp16": {0.56, 0.97}, "bf16": {0.56, 0.97}, "fp8": {0.3, about}, "fp8-e4m3": {0.3, about}, "fp8-e5m2": {0.3, about},
}

// leastBytes is the size beyond what was promised from which a file counts as larger: names and scales of small models take as much.
const leastBytes = 32 << 10

// effects compares the variant with what its stages promise. An effect is decided where the interval excludes the promise. The size
// of one of time and bytes is the share beyond the promise, that of one of accuracy ten times the share of the baseline's score lost:
// a point of accuracy weighs as much as a tenth of the time. At most 1 counts.
func (f *facts) effects() []Shown {
	var out []Shown
	want, known := f.promised()
	if s := f.slower(want.latency); s != nil {
		out = append(out, *s)
	}
	if r := f.sizeRatio(); r > want.size && (!known || f.excess() > leastBytes) {
		out = append(out, Shown{Larger, true, min(r/want.size-1, 1), fmt.Sprintf("the file is %.2f times the original's, %s", r, f.promiser(want.size))})
	}
	if s := f.lessAccurate(); s != nil {
		out = append(out, *s)
	}
	sort.SliceStable(out, func(i, j int) bool {
		if out[i].Decided != out[j].Decided {
			return out[i].Decided
		}
		return out[i].Size > out[j].Size
	})
	return out
}

// promised is what the stages promise; known is false where nothing was quantized to a scheme with promises.
func (f *facts) promised() (want promise, known bool) {
	if want, known = expected[f.scheme+" "+f.option("mode")]; !known {
		want, known = expected[f.scheme]
	}
	switch {
	case known:
	default:
		want = f.pruning()
	}
	return want, known
}

// promiser says whose promise it is.
func (f *facts) promiser(want float64) string {
	if f.scheme == "" {
		return fmt.Sprintf("without half of the zeros that pruning made it would be about %.2f", want)
	}
	return fmt.Sprintf("%s is for at most %.2f", f.scheme, want)
}

// surePairs is the number of pairs from which the interval of 95 % decides, as it does in the report.
const surePairs = 30

// slower compares the latency with the promise, or without one with the original's. The interval is the one that the report claims by.
func (f *facts) slower(want float64) *Shown {
	promised := !math.IsInf(want, 1)
	if !promised {
		want = 1
	}
	l := f.Variant.Latency
	if l == nil || l.Ratio == nil || l.Ratio.Value <= want {
		return nil
	}
	r := l.Ratio
	s := &Shown{Effect: Slower, Size: min(r.Value/want-1, 1), What: fmt.Sprintf("a run takes %.2f times the original's time", r.Value)}
	if r.CI95 != nil {
		s.What += fmt.Sprintf(" [%.2f, %.2f]", r.CI95[0], r.CI95[1])
	}
	if promised {
		s.What += ", " + f.promiser(want)
	} else {
		s.What += "; its stages promise nothing of time"
	}
	decides := r.CI95
	if r.NeededPairs > 0 && r.N < surePairs {
		decides = r.Decides
	}
	if s.Decided = decides != nil && decides[0] > want; !s.Decided && !promised {
		return nil
	}
	switch {
	case s.Decided || r.CI95 == nil || r.CI95[0] <= want: // by the interval that is shown
	case decides == nil:
		s.What += fmt.Sprintf("; %d pairs are too few to decide", r.N)
	default:
		s.What += fmt.Sprintf("; decided by the wider interval of %d pairs, [%.2f, %.2f]", r.N, decides[0], decides[1])
	}
	return s
}

// lessAccurate looks at the difference of scores, or at the cosine with the original's outputs.
func (f *facts) lessAccurate() *Shown {
	a := f.Variant.Accuracy
	cosine := a != nil && strings.Contains(a.Metric, "cosine")
	switch {
	case a == nil:
	case a.Delta != nil && a.Delta.CI95 != nil:
		d := a.Delta
		loss, lo := -d.Value, -d.CI95[1] // lo: the least that the interval holds
		if a.LowerIsBetter {
			loss, lo = d.Value, d.CI95[0]
		}
		base := max(math.Abs(a.Value-d.Value), 0.01)
		least := 0.005 * base // half a percent of the baseline's value
		if cosine {
			least = 0.01
		}
		if loss <= least {
			return nil
		}
		return &Shown{LessAccurate, lo > 0, min(10*loss/base, 1), fmt.Sprintf("%s %.4f, a difference of %+.4f [%+.4f, %+.4f]", a.Metric, a.Value, d.Value, d.CI95[0], d.CI95[1])}
	case cosine && a.Value < 0.99:
		return &Shown{LessAccurate, true, min(10*(1-a.Value), 1), fmt.Sprintf("%s %.4f", a.Metric, a.Value)}
	}
	return nil
}

func (f *facts) sizeRatio() float64 {
	if f.Variant.File == nil || f.Baseline.File == nil || f.Baseline.File.Bytes == 0 {
		return 0
	}
	return float64(f.Variant.File.Bytes) / float64(f.Baseline.File.Bytes)
}

// excess is the number of bytes beyond what was promised, 0 where there are none or the sizes are not known.
func (f *facts) excess() float64 {
	if f.sizeRatio() == 0 {
		return 0
	}
	want, _ := f.promised()
	return max(float64(f.Variant.File.Bytes)-want.size*float64(f.Baseline.File.Bytes), 0)
}
