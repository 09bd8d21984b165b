package recipe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// streamAbove is the size of a model, external data included, from which a stage that can passes it through memory in
// blocks instead of loading it.
const streamAbove = 1 << 30

// PlanStage says what a stage that quantizes would need to write Out, block by block where it can, and refuses what cannot fit.
// It fails as the stage itself would where there are no inputs to calibrate on. Other stages are an error wrapping model.ErrUnsupported.
// Nothing is written.
func PlanStage(ctx context.Context, s Single) (*quantize.StreamPlan, error) {
	if err := s.Stage.check(); err != nil {
		return nil, err
	}
	if err := distinct(s.In, s.Out, s.Reads...); err != nil {
		return nil, err
	}
	q, ok := s.Stage.(*Quantize)
	if !ok {
		return nil, fmt.Errorf("%s: only quantize has a plan: %w", s.Stage.Name(), model.ErrUnsupported)
	}
	if err := checkFile(s.In); err != nil {
		return nil, err
	}
	if st, ok := streamOf(s); ok {
		return st.Plan(ctx)
	}
	m := inMemory(s, q)
	f, err := onnx.Open(s.In)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	feeds, err := s.calibration(q, f.Graph(), m.Runs)
	if err != nil {
		return nil, err
	}
	p, err := m.Plan(ctx)
	if err == nil && p.CalibrationRuns > 0 {
		p.CalibrationSeconds = s.calibrating(ctx, q, f.Graph(), feeds, p.CalibrationRuns)
	}
	return p, err
}

// calibration makes the inputs that the stage would calibrate on, runs at most, and fails as it would where they cannot be made. There are
// none without Inputs, nor where the stage goes without.
func (s Single) calibration(q *Quantize, g *model.Graph, runs int) (engine.Feeds, error) {
	if s.Inputs == nil || runs == 0 || q.Calibration == calibrateAuto { // auto goes without them
		return engine.Feeds{}, nil
	}
	feeds, _, err := s.Inputs.calibrating(&source{name: s.In, path: s.In, graph: g}, s.Builtin)(q.Calibration, runs)
	if err != nil {
		return feeds, withCustom(fmt.Errorf("quantize: calibration %q: %w", q.Calibration, err), g)
	}
	return feeds, nil
}

// calibrating guesses how long calibration takes, from one run of g on the first of its inputs: 0 where there are none, where the model is
// too large to try it or cannot be run.
func (s Single) calibrating(ctx context.Context, q *Quantize, g *model.Graph, feeds engine.Feeds, runs int) float64 {
	if feeds.All == nil || ctx.Err() != nil || modelBytes(s.In, g) > streamAbove {
		return 0
	}
	start := time.Now()
	session, err := engine.Native{}.Load(ctx, engine.Artifact{Graph: g}, engine.Options{Threads: s.Threads})
	if err != nil {
		return 0
	}
	defer session.Close()
	load, once := time.Since(start), time.Duration(0)
	for feed, err := range feeds.All() {
		if err != nil {
			return 0
		}
		for range 2 { // the first run is slower
			start = time.Now()
			if _, err := session.Run(ctx, feed); err != nil {
				return 0
			}
			once = time.Since(start)
		}
		break
	}
	return float64(q.passes()) * (load.Seconds() + calibrationTimes*float64(min(runs, feeds.N))*once.Seconds())
}

// calibrationTimes is how many times as long as a plain run one takes whose activations are looked at.
const calibrationTimes = 1.5

// passes is the number of times that the calibration inputs are run through the model.
func (q *Quantize) passes() int {
	n := 1
	for _, more := range []bool{q.Smooth != 0, q.BiasCorrection, q.Rounding == "adaptive"} {
		if more {
			n++
		}
	}
	return n
}

// inMemory is the plan of a stage that does not work block by block.
func inMemory(s Single, q *Quantize) quantize.InMemory {
	m := quantize.InMemory{In: s.In, Out: s.Out, Runs: q.Samples, Disk: s.Disk}
	switch {
	case q.static():
		o := q.settings(&Env{Threads: s.Threads})
		if o.DataFree = q.Calibration == calibrateFree; o.DataFree {
			m.Runs = 0
		}
		m.Static = &o
	case q.weightOnly():
		o := q.weights()
		m.WeightOnly = &o
	case q.stored():
		o := q.storedWeights()
		m.Stored = &o
	case q.half():
		if m.Half = q.dtype(); q.Calibration == calibrateNone || q.Calibration == "" {
			m.Runs = 0
		}
	}
	return m
}

// streamOf returns the stage as one that works block by block, where there is such a form.
func streamOf(s Single) (quantize.Stream, bool) {
	st := quantize.Stream{In: s.In, Out: s.Out, Workers: s.Threads, Disk: s.Disk}
	if s.Progress != nil {
		st.Progress = func(done, total int64) { s.Progress("quantizing", int(done>>20), int(total>>20)) }
	}
	q, ok := s.Stage.(*Quantize)
	switch {
	case !ok:
	case q.static():
	case q.weightOnly():
		o := q.weights()
		st.WeightOnly = &o
		return st, o.Algorithm == quantize.RTN
	case q.stored():
	case q.Mode == "dynamic":
		d := q.dynamic()
		st.Dynamic = &d
		return st, true
	case q.Storage == "weights" && q.Exclude == nil:
		if st.Half = model.Float16; q.Scheme == "bf16" {
			st.Half = model.BFloat16
		}
		return st, true
	}
	return st, false
}

// streams reports whether the stage is to work block by block.
func (s Single) streams(f *onnx.File) bool {
	if _, ok := streamOf(s); !ok {
		return false
	}
	return s.Stream || modelBytes(s.In, f.Graph()) > streamAbove
}

// stream applies the stage block by block.
func (s Single) stream(ctx context.Context, f *onnx.File) (*Outcome, error) {
	st, _ := streamOf(s)
	out := &Outcome{BytesBefore: modelBytes(s.In, f.Graph()), Remarks: said(customRemark(f.Graph()), excludeRemark(s.Stage, f.Graph()))}
	h := sha256.New()
	if s.Digest {
		st.Digest = h
	}
	p, err := st.Run(ctx)
	if p != nil {
		out.Notes = p.Notes
	}
	if err != nil {
		return out, err
	}
	if changed, _ := model.Touched(p.Notes); changed == 0 {
		return out, fmt.Errorf("%s touched nothing", s.Stage.Name())
	}
	if out.BytesAfter = p.ModelBytes + p.DataBytes; s.Digest {
		out.SHA256 = hex.EncodeToString(h.Sum(nil))
	}
	return out, nil
}
