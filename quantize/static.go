package quantize

import (
	"context"
	"fmt"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// QOperator is the Format of integer operators themselves: QLinearConv, QGemm and the like. QDQ, the other Format of static
// quantization, is QuantizeLinear and DequantizeLinear around float operators, which runtimes fuse.
const QOperator Format = "qoperator"

// Static are the settings of static int8 quantization: weights are 8-bit integers, symmetric, and activations are quantized
// with parameters chosen from calibration data. The zero value is usable.
type Static struct {
	Target      Target      // "" means ONNXRuntimeCPU
	Format      Format      // "" means QDQ
	Weights     model.DType // Int8, or Uint8 with zero point 128; 0 means Int8
	Activations model.DType // Uint8, Int8, or, with format QDQ, Uint16 or Int16; 0 means what the target computes with
	Granularity Granularity // of weights; "" means PerChannel
	Method      Method      // of choosing the ranges of activations; "" means MinMax
	Percentile  float64     // of the method Percentile; 0 means 99.99
	Ops         []string    // operators to quantize; nil means Target.Placed()
	Exclude     []string    // nodes left in float, by name, by output, by weight or by operator; path.Match patterns
	ReduceRange *bool       // int8 weights of 7 bits; nil means what CPU needs
	CPU         CPU         // that the file is for; "" means HostCPU
	Threads     int         // of calibration runs; 0 = all processors

	// State names, by input of the model, the output of a calibration run that the next one takes there: the state of a
	// recurrent model, which starts from the first feed's.
	State map[string]string

	// DataFree takes the ranges of activations from the statistics that normalizations hold and from the weights, without
	// running the model. It is for models whose data are not at hand: less accurate than any calibration.
	DataFree bool

	// Accuracy helpers, each off unless set.
	Smooth         float64 // SmoothQuant's alpha, in 0..1: how much of the range moves from activations to weights
	Equalize       bool    // cross-layer equalization
	BiasCorrection bool    // moves the mean error of the weights' rounding into the biases
	AdaptRounding  bool    // rounds each weight up or down so that the outputs change least, instead of to nearest
}

// Check completes the settings and refuses those that make no sense.
func (s *Static) Check() error {
	if s.Target == "" {
		s.Target = ONNXRuntimeCPU
	}
	if s.Weights == model.Invalid {
		s.Weights = model.Int8
	}
	rules, err := s.rules()
	if err != nil {
		return err
	}
	if err := s.CPU.Check(); err != nil {
		return err
	}
	if s.Format == "" {
		s.Format = QDQ
	}
	if s.Granularity == "" {
		s.Granularity = PerChannel
	}
	if s.Method == "" {
		s.Method = MinMax
	}
	switch {
	case s.Format != QDQ && s.Format != QOperator:
		return fmt.Errorf("quantize: format %q: want %s or %s", s.Format, QDQ, QOperator)
	case s.Format == QOperator && s.Target != ONNXRuntimeCPU:
		return fmt.Errorf("quantize: format %s for %s: only onnxruntime-cpu runs these operators: %w", QOperator, s.Target, model.ErrUnsupported)
	case s.Granularity != PerChannel && s.Granularity != PerTensor:
		return fmt.Errorf("quantize: granularity %q: want %s or %s", s.Granularity, PerTensor, PerChannel)
	case !(s.Smooth >= 0 && s.Smooth <= 1):
		return fmt.Errorf("quantize: smooth %v: want a number in 0..1", s.Smooth)
	}
	if _, err := s.newObserver(); err != nil {
		return err
	}
	if err := checkExclude(s.Exclude); err != nil {
		return err
	}
	for _, op := range s.Ops {
		if rules.place(op) == float {
			return fmt.Errorf("quantize: static quantization of operator %q for %s: want some of %s: %w", op, s.Target, strings.Join(s.Target.Placed(), ", "), model.ErrUnsupported)
		}
	}
	return nil
}

// Apply rewrites g in place. Constants are folded, BatchNormalization is folded into convolutions, the ranges of the
// activations that the target's placement rules quantize are read from the native engine while it runs feeds, and the
// quantized operators are written in the chosen format. A model below opset 13, of 16-bit activations below 21, is raised to it.
//
// The notes say for every float weight what was done or why it was left, and for the model which range, which BatchNormalization and which
// helper was applied and why. Apply fails with ErrQuantized on a model that is quantized already and with ErrNothing (notes still given) when
// less than MinShare of the weight bytes would change; g is unchanged after an error.
func (s Static) Apply(ctx context.Context, g *model.Graph, feeds engine.Feeds) ([]model.Note, error) {
	return s.ApplyWith(ctx, g, func(ctx context.Context, prepared *model.Graph, names []string) (*Calibration, error) {
		return s.Calibrate(ctx, prepared, names, feeds)
	}, feeds)
}

// ApplyWith is Apply with another source of ranges, such as a calibration read from a file: ranges is called with the
// prepared graph and the values that need parameters. Helpers that need activations themselves read feeds.
func (s Static) ApplyWith(ctx context.Context, g *model.Graph, ranges func(context.Context, *model.Graph, []string) (*Calibration, error), feeds engine.Feeds) ([]model.Note, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := refuse(g, nil); err != nil {
		return nil, err
	}
	need, what := s.opset()
	return withOpset(g, need, what, func(g *model.Graph) ([]model.Note, error) {
		c := g.Clone()
		before, err := s.prepare(c)
		if err != nil {
			return nil, err
		}
		p, err := s.plan(c, before)
		if err != nil {
			return nil, err
		}
		if err := p.early(); err != nil {
			return p.notes(), err
		}
		changed, err := p.improve(ctx, feeds)
		if err == nil && changed {
			p, err = s.plan(c, before)
		}
		if err != nil {
			return nil, err
		}
		if names := p.observed(); len(names) > 0 {
			if s.DataFree {
				p.ranges, err = p.dataFree(names)
			} else {
				p.ranges, err = ranges(ctx, c, names)
			}
			if err != nil {
				return nil, err
			}
		}
		if err := p.quantize(ctx, feeds); err != nil {
			return p.notes(), err
		}
		notes := p.notes()
		if err := check(s.scheme(), notes); err != nil {
			return notes, err
		}
		if err := p.write(); err != nil {
			return notes, err
		}
		*g = *c
		return notes, nil
	})
}

// scheme describes the settings in errors.
func (s *Static) scheme() string { return "static " + s.Weights.String() }
