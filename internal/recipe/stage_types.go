package recipe

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// Words of the schemes beside fp16, bf16 and int8.
const (
	fp8E4M3 = "fp8-e4m3"
	fp8E5M2 = "fp8-e5m2"
)

// Schemes are the words of the key scheme, in the order in which they are listed.
var Schemes = []string{"fp16", "bf16", fp8E4M3, fp8E5M2, "int16", "uint16", "int8", "uint8", "int4", "uint4"}

// shortcuts are words that stand for a scheme with a mode.
var shortcuts = map[string][2]string{"int8-static": {"int8", "static"}, "uint8-static": {"uint8", "static"}, "fp8": {fp8E4M3, weightOnlyMode}}

// SchemeWords are all words that the key scheme takes: Schemes, then those that stand for one of them with a mode.
func SchemeWords() []string {
	return append(slices.Clone(Schemes), slices.Sorted(maps.Keys(shortcuts))...)
}

// expand replaces a shortcut, whose mode may be given too if it is the same, and sets the mode of schemes that have one.
func (q *Quantize) expand() {
	if s, ok := shortcuts[q.Scheme]; ok && (q.Mode == "" || q.Mode == s[1]) {
		q.Scheme, q.Mode = s[0], s[1]
	}
	switch q.Scheme {
	case "int8", "uint8":
		setDefault(&q.Mode, "dynamic")
	case "int16", "uint16":
		setDefault(&q.Mode, "static")
	case "int4", "uint4", fp8E4M3, fp8E5M2:
		setDefault(&q.Mode, weightOnlyMode)
	}
}

// unsupported returns why no runtime runs the scheme in the mode, or "".
func (q *Quantize) unsupported() string {
	switch {
	case strings.HasPrefix(q.Scheme, "fp8") && q.Mode != weightOnlyMode:
		return fmt.Sprintf("%s has %s only: no CPU runtime multiplies 8-bit floats, and their activations would only lose precision", q.Scheme, weightOnlyMode)
	case strings.HasSuffix(q.Scheme, "int16") && q.Mode == "dynamic":
		return fmt.Sprintf("%s has static and %s: there is no operator that quantizes to 16 bits at run time", q.Scheme, weightOnlyMode)
	case strings.HasSuffix(q.Scheme, "int4") && q.Mode != weightOnlyMode:
		return fmt.Sprintf("%s has %s only", q.Scheme, weightOnlyMode)
	}
	return ""
}

// dtype is the element type of the scheme.
func (q *Quantize) dtype() model.DType {
	return map[string]model.DType{"fp16": model.Float16, "bf16": model.BFloat16, fp8E4M3: model.Float8E4M3FN, fp8E5M2: model.Float8E5M2,
		"int16": model.Int16, "uint16": model.Uint16, "int8": model.Int8, "uint8": model.Uint8, "int4": model.Int4, "uint4": model.Uint4}[q.Scheme]
}

// stored reports whether the stage stores weights behind DequantizeLinear in a type that no runtime multiplies.
func (q *Quantize) stored() bool {
	return q.Mode == weightOnlyMode && (strings.HasPrefix(q.Scheme, "fp8") || strings.HasSuffix(q.Scheme, "int16"))
}

// checkStored fills in the defaults of stored weights and refuses values that make no sense.
func (q *Quantize) checkStored() error {
	if err := q.noGroups(); err != nil {
		return err
	}
	if err := q.noStatic(); err != nil {
		return err
	}
	setDefault(&q.Granularity, string(quantize.PerChannel))
	if q.Ops == nil {
		q.Ops = quantize.QDQWeightOps
	}
	if q.Storage != "" {
		return faultf("quantize.storage", "%s has none", q.Scheme)
	}
	s := q.storedWeights()
	if err := s.Check(); err != nil {
		return faultf("quantize", "%s", strings.TrimPrefix(err.Error(), "quantize: "))
	}
	return nil
}

func (q *Quantize) storedWeights() quantize.QDQWeights {
	return quantize.QDQWeights{DType: q.dtype(), Symmetric: q.Scheme == "int16", Granularity: quantize.Granularity(q.Granularity), Ops: q.Ops, Exclude: q.Exclude}
}

// calibrateAuto and calibrateNone are words of the key calibration of fp16 graphs.
const (
	calibrateAuto = "auto" // the inputs of the recipe where they can be made, else random ones, else none
	calibrateNone = "none"
)

// checkHalf fills in the defaults of half precision and refuses values that make no sense.
func (q *Quantize) checkHalf() error {
	setDefault(&q.Storage, "weights")
	if q.Storage != "weights" && q.Storage != "graph" {
		return faultf("quantize.storage", "%q: want weights or graph", q.Storage)
	}
	if q.Mode != "" || q.Granularity != "" || q.Ops != nil {
		return faultf("quantize", "scheme %s takes storage and exclude only, and for graphs calibration and samples", q.Scheme)
	}
	rest := *q
	if q.Storage == "graph" {
		if q.Scheme == "fp16" {
			setDefault(&q.Calibration, calibrateAuto)
			if q.Samples == 0 {
				q.Samples = 16
			}
			if q.Samples < 1 || q.Samples > 1<<20 {
				return faultf("quantize.samples", "%d: want 1 to %d", q.Samples, 1<<20)
			}
			if q.Calibration == calibrateFree {
				return faultf("quantize.calibration", "%s: fp16 graphs take auto, none, data, random or a file of texts", calibrateFree)
			}
			rest.Calibration, rest.Samples = "", 0
		}
		half := quantize.Half{DType: q.dtype(), Exclude: q.Exclude}
		if err := half.Check(); err != nil {
			return faultf("quantize.exclude", "%s", strings.TrimPrefix(err.Error(), "quantize: "))
		}
	}
	return rest.noStatic()
}

// halfOptions are the settings of half precision with every default explicit.
func (q *Quantize) halfOptions() map[string]any {
	o := map[string]any{"scheme": q.Scheme, "storage": q.Storage}
	if q.Storage == "graph" && q.Scheme == "fp16" {
		o["calibration"], o["samples"] = q.Calibration, q.Samples
	}
	return o
}

// applyHalf stores or computes in half precision.
func (q *Quantize) applyHalf(ctx context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error) {
	if q.Storage != "graph" {
		notes, err := quantize.HalfWeights(g, q.dtype(), q.Exclude...)
		return g, notes, err
	}
	if q.Scheme == "bf16" && env.Runtime == "ort" && env.Provider == "cpu" {
		return nil, nil, fmt.Errorf("quantize: %s: %w", bf16OnCPU, model.ErrUnsupported)
	}
	h := quantize.Half{DType: q.dtype(), Exclude: q.Exclude, State: env.State, Threads: env.Threads}
	if q.Scheme == "fp16" && q.Calibration != calibrateNone {
		from := q.Calibration
		if from == calibrateAuto {
			from = calibrateData
		}
		err := quantize.ErrNoFeeds
		var feeds engine.Feeds
		if env.Calibrating != nil {
			if feeds, h.Source, err = env.Calibrating(from, q.Samples); err != nil && q.Calibration == calibrateAuto {
				feeds, h.Source, err = env.Calibrating(calibrateRandom, q.Samples)
			}
		}
		switch {
		case err == nil:
			h.Feeds = feeds
		case q.Calibration == calibrateAuto:
			h.Unseen = err.Error()
		default:
			return nil, nil, fmt.Errorf("quantize: calibration %q: %w", q.Calibration, err)
		}
	}
	notes, err := h.Apply(ctx, g)
	return g, notes, err
}

// dynamic are the settings of dynamic quantization.
func (q *Quantize) dynamic() quantize.Dynamic {
	return quantize.Dynamic{DType: q.dtype(), Granularity: quantize.Granularity(q.Granularity), Ops: q.Ops, Exclude: q.Exclude, ReduceRange: q.reduceRange(), CPU: quantize.CPU(q.TargetCPU)}
}

// reduceRange is what the key reduce_range asks for, nil for auto.
func (q *Quantize) reduceRange() *bool {
	if q.ReduceRange != "on" && q.ReduceRange != "off" {
		return nil
	}
	on := q.ReduceRange == "on"
	return &on
}

// checkCPU fills in the defaults of reduce_range and target_cpu and refuses other words.
func (q *Quantize) checkCPU() error {
	setDefault(&q.ReduceRange, "auto")
	setDefault(&q.TargetCPU, string(quantize.HostCPU))
	if !slices.Contains([]string{"auto", "on", "off"}, q.ReduceRange) {
		return faultf("quantize.reduce_range", "%q: want auto, on or off", q.ReduceRange)
	}
	if !slices.Contains(quantize.CPUs, quantize.CPU(q.TargetCPU)) {
		return faultf("quantize.target_cpu", "%q: want one of %v", q.TargetCPU, quantize.CPUs)
	}
	return nil
}

// checkDynamic fills in the defaults of dynamic quantization and refuses values that make no sense.
func (q *Quantize) checkDynamic() error {
	rest := *q
	rest.ReduceRange, rest.TargetCPU = "", ""
	if err := rest.noStatic(); err != nil {
		return err
	}
	if err := q.checkCPU(); err != nil {
		return err
	}
	setDefault(&q.Granularity, string(quantize.PerChannel))
	if q.Mode != "dynamic" {
		return faultf("quantize.mode", "%q: want dynamic, static or %s", q.Mode, weightOnlyMode)
	}
	if q.Storage != "" {
		return faultf("quantize.storage", "%s has none", q.Scheme)
	}
	if g := quantize.Granularity(q.Granularity); g != quantize.PerChannel && g != quantize.PerTensor {
		return faultf("quantize.granularity", "%q: want per-channel or per-tensor", q.Granularity)
	}
	if q.Ops == nil {
		q.Ops = quantize.DynamicOps
	}
	for _, op := range q.Ops {
		if !slices.Contains(quantize.DynamicOps, op) {
			return faultf("quantize.ops", "%q: want some of %s", op, strings.Join(quantize.DynamicOps, ", "))
		}
	}
	return nil
}
