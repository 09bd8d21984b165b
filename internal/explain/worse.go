package explain

import (
	"fmt"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// leastPart is the share of the bytes beyond the promise from which something is named as their cause.
const leastPart = 0.2

// floatBytes returns the bytes of float32 matrices that the variant still has: tables that are looked up, and others, with the
// operator that most of these are of.
func (f *facts) floatBytes() (tables, others int64, op string) {
	by := map[string]int64{}
	seen := map[*model.Tensor]bool{}
	for _, n := range f.nodes {
		for i, in := range n.Inputs {
			t := f.consts[in]
			if t == nil || seen[t] || t.DType() != model.Float32 || t.Rank() < 2 {
				continue
			}
			switch {
			case n.Op == "Gather" && i == 0:
				if t.Len() >= 4*t.Shape()[0] { // narrower ones are scales of rows
					tables += int64(t.ByteSize())
				}
			case t.Len() >= tinyElements/16:
				others += int64(t.ByteSize())
				by[n.Op] += int64(t.ByteSize())
			default:
				continue
			}
			seen[t] = true
		}
	}
	for o, n := range by {
		if op == "" || n > by[op] || n == by[op] && o < op {
			op = o
		}
	}
	return tables, others, op
}

// partOfExcess is the share of the bytes beyond the promise that storing these by the scheme would have saved.
func (f *facts) partOfExcess(bytes int64) float64 {
	want, known := f.promised()
	if e := f.excess(); e > 0 && known {
		return float64(bytes) * (1 - want.size) / e
	}
	return 0
}

// floatEmbeddings: tables that Gather reads are still float32.
func floatEmbeddings(f *facts) *Cause {
	tables, _, _ := f.floatBytes()
	part := f.partOfExcess(tables)
	if part < leastPart {
		return nil
	}
	return &Cause{Larger, "embeddings left in float", part, fmt.Sprintf("float32 tables are %.0f %% of the file", 100*float64(tables)/float64(f.Variant.File.Bytes)),
		"quantize Gather too"}
}

// floatWeights: other matrices are still float32.
func floatWeights(f *facts) *Cause {
	_, others, op := f.floatBytes()
	part := f.partOfExcess(others)
	if part < leastPart {
		return nil
	}
	return &Cause{Larger, "weights left in float", part,
		fmt.Sprintf("float32 weights are %.0f %% of the file, most of them of %s", 100*float64(others)/float64(f.Variant.File.Bytes), op),
		"take a scheme that has " + op + "; the notes of the variant say why each was left"}
}

// metadata: what a model carries beside its weights does not shrink with them.
func metadata(f *facts) *Cause {
	if f.Graph == nil || f.Graph.Model == nil {
		return nil
	}
	n := 0
	for _, kv := range f.Graph.Model.Meta {
		n += len(kv.Key) + len(kv.Value)
	}
	part := f.partOfExcess(int64(n))
	if part < leastPart {
		return nil
	}
	return &Cause{Larger, "metadata", part, fmt.Sprintf("tokenizer and other metadata are %.0f %% of the file", 100*float64(n)/float64(f.Variant.File.Bytes)),
		"keep the tokenizer in a file beside the model"}
}

// outlierSpread is the ratio of the largest to the median channel from which one scale for all wastes two bits.
const outlierSpread = 4

// oneScale: one scale for channels of very different size.
func oneScale(f *facts) *Cause {
	if f.option("granularity") != "per-tensor" {
		return nil
	}
	worst, name := 1.0, ""
	for w, t := range f.original {
		if t.Rank() < 2 {
			continue
		}
		if s := max(spread(t, 0), spread(t, t.Rank()-1)); s > worst || s == worst && w < name {
			worst, name = s, w
		}
	}
	if worst < outlierSpread {
		return &Cause{LessAccurate, "one scale per tensor", 0.4, "every channel shares the scale of the largest", "granularity: per-channel"}
	}
	return &Cause{LessAccurate, "one scale per tensor", 0.9,
		fmt.Sprintf("the largest channel of %s is %.0f times the median one, and all share its scale", f.quoted(name), worst), "granularity: per-channel"}
}

// saturation: pairs of products of unsigned and signed bytes do not fit 16 bits.
func saturation(f *facts) *Cause {
	has, known := f.vnni()
	if has || !known || f.runtime() != "ort" {
		return nil
	}
	n := 0
	for _, t := range f.int8Products() {
		if q, err := model.Data[int8](t); err == nil {
			for _, v := range q {
				if v > 64 || v < -64 {
					n++
					break
				}
			}
		}
	}
	if n == 0 {
		return nil
	}
	return &Cause{LessAccurate, "sums that saturate", 0.95,
		fmt.Sprintf("%d weights use more than 7 bits on a CPU without VNNI, where ONNX Runtime adds pairs of products in 16 bits", n), "reduce_range: true"}
}

func randomCalibration(f *facts) *Cause {
	s := f.stage("quantize")
	if s == nil {
		return nil
	}
	if c, ok := s.Options["calibration"]; !ok || fmt.Sprint(c) != "random" && fmt.Sprint(c) != "map[random:map[]]" {
		return nil
	}
	return &Cause{LessAccurate, "calibrated on random inputs", 0.92, "activation ranges come from random inputs, which real ones do not resemble",
		"calibrate on some hundred real examples"}
}

func noRecovery(f *facts) *Cause {
	p := f.stage("prune")
	if p == nil || f.stage("distill") != nil {
		return nil
	}
	share, _ := p.Options["sparsity"].(float64)
	if share == 0 {
		share = 0.5
	}
	return &Cause{LessAccurate, "pruned without recovery training", 0.5 + share/2, fmt.Sprintf("%.0f %% of the weights were removed at once", 100*share),
		"put a distill stage behind prune, or prune less"}
}

// activationOutliers: a transformer quantized with one scale for an activation.
func activationOutliers(f *facts) *Cause {
	if f.count["LayerNormalization"]+f.count["SkipLayerNormalization"]+f.count["RMSNormalization"] == 0 || f.count["QuantizeLinear"] == 0 {
		return nil
	}
	return &Cause{LessAccurate, "outliers in activations", 0.6,
		fmt.Sprintf("%d activations of a transformer have one static scale each, which a few channels behind LayerNormalization set", f.count["QuantizeLinear"]),
		"SmoothQuant, a percentile range, or dynamic int8"}
}

func overflow(f *facts) *Cause {
	if f.scheme != "fp16" {
		return nil
	}
	for name, t := range f.original {
		x, err := t.Float32()
		if err != nil {
			continue
		}
		for _, v := range x {
			if v > 65504 || v < -65504 {
				return &Cause{LessAccurate, "values beyond fp16", 0.9, fmt.Sprintf("%s has %g; the largest float16 is 65504", f.quoted(name), v), "bf16, or keep that weight in float32"}
			}
		}
	}
	return nil
}

// fewBits: fifteen steps for a group of weights.
func fewBits(f *facts) *Cause {
	if f.scheme != "int4" && f.scheme != "uint4" {
		return nil
	}
	if a := f.option("algorithm"); a != "" && a != "rtn" {
		return &Cause{LessAccurate, "four bits a weight", 0.5, a + " already spreads the error of rounding to 4 bits over the weights", "smaller groups, or leave the most harmful weights in int8: inspect --sensitivity, search"}
	}
	return &Cause{LessAccurate, "four bits, rounded to nearest", 0.8, "each weight is rounded to one of 16 values on its own, whatever the inputs are like", "algorithm: gptq or awq, with calibration data, or smaller groups"}
}

// fewMantissaBits: a float of 8 bits keeps three bits of a weight, or two.
func fewMantissaBits(f *facts) *Cause {
	if !strings.HasPrefix(f.scheme, "fp8") {
		return nil
	}
	bits, other := 3, "int8, whose grid is finer where most weights are"
	if f.scheme == "fp8-e5m2" {
		bits, other = 2, "fp8-e4m3, with a bit more, or int8"
	}
	return &Cause{LessAccurate, "few bits of mantissa", 0.7, fmt.Sprintf("%s keeps %d bits of a weight behind the leading one", f.scheme, bits), other}
}
