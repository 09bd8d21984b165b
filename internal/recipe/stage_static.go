package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// Words of the key calibration; anything else is a file.
const (
	calibrateData   = "data"      // the inputs of the recipe
	calibrateRandom = "random"    // random inputs
	calibrateFree   = "data-free" // none: ranges from the weights alone
)

// Calibrating makes the inputs of calibration: at most n runs of what source names, with a description of them.
type Calibrating func(source string, n int) (feeds engine.Feeds, describe string, err error)

// static reports whether the stage quantizes activations with ranges known beforehand.
func (q *Quantize) static() bool { return q.Mode == "static" && !q.half() }

// activationTypes are the types of quantized activations by the recipe's words.
var activationTypes = map[string]model.DType{"uint8": model.Uint8, "int8": model.Int8, "uint16": model.Uint16, "int16": model.Int16}

// checkStatic fills in the defaults of static int8 and refuses values that make no sense.
func (q *Quantize) checkStatic() error {
	setDefault(&q.Granularity, string(quantize.PerChannel))
	setDefault(&q.Method, string(quantize.MinMax))
	setDefault(&q.Calibration, calibrateData)
	setDefault(&q.Format, string(quantize.QDQ))
	setDefault(&q.Target, string(quantize.ONNXRuntimeCPU))
	setDefault(&q.Rounding, "nearest")
	if err := q.checkCPU(); err != nil {
		return err
	}
	if q.dtype().Bits() == 16 {
		setDefault(&q.Activations, q.Scheme)
	}
	if q.Samples == 0 {
		q.Samples = 64
	}
	if q.Method == string(quantize.Percentile) && q.Percentile == 0 {
		q.Percentile = 99.99
	}
	switch {
	case q.Storage != "":
		return faultf("quantize.storage", "%s has none", q.Scheme)
	case q.Samples < 1 || q.Samples > 1<<20:
		return faultf("quantize.samples", "%d: want 1 to %d", q.Samples, 1<<20)
	case !slices.Contains(quantize.Methods, quantize.Method(q.Method)):
		return faultf("quantize.method", "%q: want one of %v", q.Method, quantize.Methods)
	case q.Percentile != 0 && q.Method != string(quantize.Percentile):
		return faultf("quantize.percentile", "only the method percentile has one")
	case !slices.Contains(quantize.Targets, quantize.Target(q.Target)):
		return faultf("quantize.target", "%q: want one of %v", q.Target, quantize.Targets)
	case q.Activations != "" && activationTypes[q.Activations] == model.Invalid:
		return faultf("quantize.activations", "%q: want uint8, int8, uint16 or int16", q.Activations)
	case q.dtype().Bits() == 16 && q.Activations != q.Scheme:
		return faultf("quantize.activations", "%q: scheme %s has its own", q.Activations, q.Scheme)
	case q.Calibration == calibrateFree && (q.Smooth != 0 || q.BiasCorrection || q.Rounding == "adaptive" || q.Cache != ""):
		return faultf("quantize.calibration", "data-free: smooth, bias_correction, rounding: adaptive and cache need data")
	case q.Rounding != "nearest" && q.Rounding != "adaptive":
		return faultf("quantize.rounding", "%q: want nearest or adaptive", q.Rounding)
	}
	placed := quantize.Target(q.Target).Placed()
	if q.Ops == nil {
		q.Ops = placed
	}
	for _, op := range q.Ops {
		if !slices.Contains(placed, op) {
			return faultf("quantize.ops", "%q: want some of %s", op, strings.Join(placed, ", "))
		}
	}
	s := q.settings(&Env{})
	if err := s.Check(); err != nil {
		return faultf("quantize", "%s", strings.TrimPrefix(err.Error(), "quantize: "))
	}
	return nil
}

// noStatic refuses the keys of static int8 where the scheme is another.
func (q *Quantize) noStatic() error {
	for key, set := range map[string]bool{"method": q.Method != "", "calibration": q.Calibration != "", "samples": q.Samples != 0, "percentile": q.Percentile != 0,
		"format": q.Format != "", "target": q.Target != "", "reduce_range": q.ReduceRange != "", "target_cpu": q.TargetCPU != "", "activations": q.Activations != "", "cache": q.Cache != "", "smooth": q.Smooth != 0, "equalize": q.Equalize,
		"bias_correction": q.BiasCorrection, "rounding": q.Rounding != ""} {
		if set {
			return faultf("quantize."+key, "only schemes with mode static have it")
		}
	}
	return nil
}

// settings are those of package quantize.
func (q *Quantize) settings(env *Env) quantize.Static {
	s := quantize.Static{Target: quantize.Target(q.Target), Format: quantize.Format(q.Format), Granularity: quantize.Granularity(q.Granularity),
		Method: quantize.Method(q.Method), Percentile: q.Percentile, Ops: q.Ops, Exclude: q.Exclude, Threads: env.Threads, State: env.State,
		Smooth: q.Smooth, Equalize: q.Equalize, BiasCorrection: q.BiasCorrection, AdaptRounding: q.Rounding == "adaptive",
		Activations: activationTypes[q.Activations], ReduceRange: q.reduceRange(), CPU: quantize.CPU(q.TargetCPU)}
	if q.Scheme == "uint8" {
		s.Weights = model.Uint8
	}
	return s
}

// staticOptions are the settings of static int8 with every default explicit.
func (q *Quantize) staticOptions() map[string]any {
	o := map[string]any{"scheme": q.Scheme, "mode": q.Mode, "granularity": q.Granularity, "ops": q.Ops, "method": q.Method, "calibration": q.Calibration,
		"samples": q.Samples, "format": q.Format, "target": q.Target, "reduce_range": q.ReduceRange, "target_cpu": q.TargetCPU, "rounding": q.Rounding,
		"equalize": q.Equalize, "bias_correction": q.BiasCorrection, "smooth": q.Smooth}
	if q.Percentile != 0 {
		o["percentile"] = q.Percentile
	}
	if q.Activations != "" {
		o["activations"] = q.Activations
	}
	if q.Cache != "" {
		o["cache"] = q.Cache
	}
	return o
}

// applyStatic quantizes g in place with ranges from the cache where there is one, else from the calibration inputs.
func (q *Quantize) applyStatic(ctx context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error) {
	if q.Calibration == calibrateFree {
		s := q.settings(env)
		s.DataFree = true
		notes, err := s.Apply(ctx, g, engine.Feeds{})
		return g, notes, err
	}
	if env.Calibrating == nil {
		return nil, nil, fmt.Errorf("quantize: static %s: %w", q.Scheme, quantize.ErrNoFeeds)
	}
	s := q.settings(env)
	feeds, describe, err := env.Calibrating(q.Calibration, q.Samples)
	if err != nil {
		return nil, nil, fmt.Errorf("quantize: calibration %q: %w", q.Calibration, err)
	}
	notes, err := s.ApplyWith(ctx, g, func(ctx context.Context, prepared *model.Graph, names []string) (*quantize.Calibration, error) {
		var made map[string]string
		if q.Cache != "" {
			var err error
			if made, err = s.Origin(prepared, feeds); err != nil {
				return nil, err
			}
			c, err := readCalibration(resolve(env.Dir, q.Cache))
			if err != nil {
				return nil, err
			}
			if c != nil {
				if err := c.Fits(made); err != nil {
					return nil, fmt.Errorf("%w: remove %s to calibrate again", err, q.Cache)
				}
				return c, nil
			}
		}
		key := q.rangesKey()
		if c := env.Calibrated[key]; c != nil && key != "" && !slices.ContainsFunc(names, func(n string) bool { _, ok := c.Ranges[n]; return !ok }) {
			return c, nil
		}
		if env.Progress != nil {
			env.Progress("calibrating", 0, feeds.N)
		}
		c, err := s.Calibrate(ctx, prepared, names, feeds)
		if err != nil {
			return nil, err
		}
		c.Source, c.Made = fmt.Sprintf("%d runs of %s", c.Runs, describe), made
		if env.Calibrated != nil && key != "" {
			env.Calibrated[key] = c
		}
		if q.Cache != "" {
			err = writeCalibration(resolve(env.Dir, q.Cache), c)
		}
		return c, err
	}, feeds)
	return g, notes, err
}

// rangesKey names the settings that the ranges of activations depend on; "" where they depend on what is left in float too.
func (q *Quantize) rangesKey() string {
	if q.Smooth != 0 || q.Equalize {
		return ""
	}
	return fmt.Sprintf("%s %v %s %d %s", q.Method, q.Percentile, q.Calibration, q.Samples, q.Target)
}

// readCalibration reads the ranges in a file; nil when there is none.
func readCalibration(path string) (*quantize.Calibration, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("quantize: calibration file: %w", err)
	}
	defer f.Close()
	c, err := quantize.ReadCalibration(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.Source = fmt.Sprintf("%s, read from %s", c.Source, filepath.Base(path))
	if c.Made == nil {
		c.Source += ", which does not say what it was made from"
	}
	return c, nil
}

// writeCalibration writes the ranges, whole or not at all.
func writeCalibration(path string, c *quantize.Calibration) error {
	var b strings.Builder
	if err := c.Write(&b); err != nil {
		return err
	}
	return writeFile(path, []byte(b.String()))
}

// from sets the inputs to the file or folder name at path: arrays, a folder of images, or texts.
func (in *InputsSpec) from(name, path string) {
	in.Random, in.NPZ, in.Images, in.Text = nil, "", "", ""
	info, err := os.Stat(path)
	switch {
	case strings.EqualFold(filepath.Ext(name), ".npz"):
		in.NPZ, in.Tokenizer, in.MaxLength = name, "", 0
	case err == nil && info.IsDir():
		in.Images, in.Tokenizer, in.MaxLength = name, "", 0
	default:
		in.Text = name
	}
}

// calibrating returns the source of calibration inputs of a model with the inputs of the recipe.
func (r *Recipe) calibrating(src *source, builtin fs.FS) Calibrating {
	return func(from string, n int) (engine.Feeds, string, error) {
		c := *r
		c.Measure.Inputs = 1 // the inputs to time are of no interest here
		switch from {
		case calibrateData:
		case calibrateRandom:
			c.Task, c.Inputs = nil, InputsSpec{Random: &RandomSpec{Seed: r.Measure.Seed, N: n}, Shapes: r.Inputs.Shapes, State: r.Inputs.State, Output: r.Inputs.Output}
		default:
			c.Task = nil
			c.Inputs.from(from, resolve(r.Dir, from))
			if err := c.checkInputs(); err != nil {
				return engine.Feeds{}, "", err
			}
		}
		b, err := c.bind(src, builtin)
		if err != nil {
			return engine.Feeds{}, "", err
		}
		feeds := task.Feeds(b.inputs, 1)
		return firstFeeds(feeds, min(n, feeds.N)), b.describe, nil
	}
}
