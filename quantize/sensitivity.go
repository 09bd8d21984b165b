package quantize

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
)

// Sensitivity says what happens when one weight alone is quantized.
type Sensitivity struct {
	Weight   string   `json:"weight"`
	Reader   string   `json:"reader,omitempty"` // see model.Weight
	Ops      []string `json:"ops"`              // that read it
	Elements int      `json:"elements"`
	SQNR     float64  `json:"sqnr_db"`         // of the weight: 10*log10(sum w^2 / sum (w-w')^2), at most 200
	Output   float64  `json:"output_sqnr_db"`  // the same of all float outputs over the feeds
	KL       float64  `json:"kl"`              // mean KL divergence, in nats, of the softmax of the first float output over its last axis
	Score    *Change  `json:"score,omitempty"` // of the score against the float model; nil without one
	Share    float64  `json:"time_share"`      // of the run's time: see TimeShares
	Stored   bool     `json:"stored"`          // Sensing.Stored says what the weight is in a file; else it is put on the scheme's own grid
}

// Change is a difference of the mean outcome of examples, with its paired interval of 95 %; nil where there are too few examples.
type Change struct {
	Value float64     `json:"value"`
	CI95  *[2]float64 `json:"ci95,omitempty"`
	N     int         `json:"n"`
}

// ScoreChange compares the outcomes of the same examples: that of proportions where all are 0 or 1, that of means else.
func ScoreChange(base, own []float64) (*Change, error) {
	if len(base) == 0 || len(base) != len(own) {
		return nil, fmt.Errorf("%d outcomes, %d of the float model", len(own), len(base))
	}
	c := &Change{N: len(own)}
	right := [2][]bool{}
	binary := true
	for i, list := range [][]float64{base, own} {
		for _, v := range list {
			right[i] = append(right[i], v == 1)
			binary = binary && (v == 0 || v == 1)
		}
	}
	for i := range own {
		c.Value += (own[i] - base[i]) / float64(len(own))
	}
	var d measure.Difference
	var err error
	switch {
	case binary:
		d, err = measure.AccuracyDelta(right[0], right[1])
	case len(own) > 1:
		d, err = measure.MeanDelta(base, own, 1)
	default:
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	c.Value, c.CI95 = d.Value, &[2]float64{d.CI95.Lo, d.CI95.Hi}
	return c, nil
}

// Sensing are the settings of Sensitivities.
type Sensing struct {
	// Scheme quantizes the weights; its Axis is set per weight: output channels for PerChannel, inputs for PerGroup.
	Scheme Scheme
	// Stored returns what a weight is in the file that is written, in its own order and scale, with the ratio of what is stored there to
	// its noise; nil for what Scheme makes of it. May be nil.
	Stored   func(*model.Weight) (values []float32, sqnr float64)
	Ops      []string // operators whose weights are looked at; nil means MatMul, Gemm, Conv, ConvTranspose, LSTM, GRU, Gather
	Feeds    engine.Feeds
	Load     func(context.Context, *model.Graph) (engine.Session, error)
	Score    func(context.Context, engine.Session) ([]float64, error) // one outcome per example; may be nil
	Progress func(done, total int)                                    // may be nil
}

// sensedOps are the operators whose weights are looked at by default, with the input that is the weight.
var sensedOps = map[string][]int{"MatMul": {0, 1}, "Gemm": {0, 1}, "Conv": {1}, "ConvTranspose": {1}, "LSTM": {1, 2}, "GRU": {1, 2}, "Gather": {0}}

// Sensitivities quantizes each weight of two and more dimensions alone, to and from the scheme's grid, and compares the outputs
// of the model over the feeds with those of the float model. It returns one entry per weight, the most harmful output
// first. g is not changed. It fails where the model, a weight or a feed does.
func (s Sensing) Sensitivities(ctx context.Context, g *model.Graph) ([]Sensitivity, error) {
	base, err := s.Load(ctx, g)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	want, err := s.outputs(ctx, base)
	if err != nil {
		return nil, err
	}
	var score []float64
	if s.Score != nil {
		if score, err = s.Score(ctx, base); err != nil {
			return nil, err
		}
	}
	c := g.Clone()
	list := s.Weights(c)
	share, err := TimeShares(base.Profile(), g, list, s.Feeds)
	if err != nil {
		return nil, err
	}
	out := make([]Sensitivity, 0, len(list))
	for i, w := range list {
		if s.Progress != nil {
			s.Progress(i, len(list))
		}
		one, err := s.one(ctx, c, w, want, score)
		if err != nil {
			return nil, fmt.Errorf("quantize: weight %q: %w", w.Name, err)
		}
		one.Share = share[i]
		out = append(out, one)
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Output < out[j].Output })
	return out, nil
}

// Weights lists the weights of g that are looked at: float32 ones of two and more dimensions that an operator multiplies by or looks up.
func (s Sensing) Weights(g *model.Graph) []*model.Weight {
	var list []*model.Weight
	for _, w := range g.Weights() {
		if w.Tensor.DType() != model.Float32 || w.Tensor.Rank() < 2 || w.Tensor.Len() == 0 {
			continue
		}
		if slices.ContainsFunc(w.Uses, func(u model.Use) bool {
			return slices.Contains(sensedOps[u.Node.Op], u.Input) && (s.Ops == nil || slices.Contains(s.Ops, u.Node.Op))
		}) {
			list = append(list, w)
		}
	}
	return list
}

// channelAxis returns the axis of output channels of a weight as its first reader takes it, and that of its inputs.
func channelAxis(w *model.Weight) (out, in int) {
	r := w.Tensor.Rank()
	u := w.Uses[0]
	switch u.Node.Op {
	case "Conv", "Gather":
		return 0, r - 1
	case "ConvTranspose":
		return 1, 0
	case "LSTM", "GRU":
		return r - 2, r - 1
	case "Gemm":
		if trans := u.Node.Int("transB", 0) != 0; u.Input == 1 && trans {
			return 0, 1
		}
	}
	if u.Input == 0 { // the left-hand side: rows are the output channels
		return r - 2, r - 1
	}
	return r - 1, r - 2
}

// one quantizes w in g, compares, and puts the old weight back.
func (s Sensing) one(ctx context.Context, g *model.Graph, w *model.Weight, want []engine.Feed, score []float64) (Sensitivity, error) {
	r := Sensitivity{Weight: w.Name, Reader: w.Reader(), Ops: newNote(w).Ops, Elements: w.Tensor.Len()}
	x, err := w.Tensor.Float32()
	if err != nil {
		return r, err
	}
	var y []float32
	if y, r.SQNR, r.Stored, err = s.restored(w, x); err != nil {
		return r, err
	}
	old := w.Tensor
	w.Set(model.FromSlice(old.Shape(), y))
	defer w.Set(old)
	session, err := s.Load(ctx, g)
	if err != nil {
		return r, err
	}
	defer session.Close()
	got, err := s.outputs(ctx, session)
	if err != nil {
		return r, err
	}
	if r.Output, r.KL, err = OutputNoise(g, want, got); err != nil {
		return r, err
	}
	if s.Score != nil {
		v, err := s.Score(ctx, session)
		if err != nil {
			return r, err
		}
		if r.Score, err = ScoreChange(score, v); err != nil {
			return r, err
		}
	}
	return r, nil
}

// restored returns what quantizing makes of x, the elements of w, its signal-to-noise ratio, and whether that is what Stored says.
func (s Sensing) restored(w *model.Weight, x []float32) (y []float32, db float64, stored bool, err error) {
	if s.Stored != nil {
		if y, db := s.Stored(w); len(y) == len(x) {
			return y, db, true, nil
		}
	}
	sc := s.Scheme
	out, in := channelAxis(w)
	if sc.Axis = out; sc.Granularity == PerGroup {
		sc.Axis = in
	}
	grid, err := sc.ChooseParams(x, w.Tensor.Shape())
	if err != nil {
		return nil, 0, false, err
	}
	q, err := grid.Quantize(x)
	if err != nil {
		return nil, 0, false, err
	}
	if y, err = grid.Dequantize(q); err != nil {
		return nil, 0, false, err
	}
	return y, SQNR(x, y), false, nil
}

// SQNR returns the signal-to-quantization-noise ratio of got for want, of equal length, in dB: 10*log10(sum w^2 / sum (w-w')^2) over
// all elements of the tensor in float64, 200 at most, which is that of no difference. Infinities that are equal, as in masks, and what is no
// number in both do not count.
func SQNR(want, got []float32) float64 {
	var n noiseSum
	n.add(want, got)
	return n.db()
}

// outputs runs all feeds and keeps what comes out.
func (s Sensing) outputs(ctx context.Context, session engine.Session) ([]engine.Feed, error) {
	var list []engine.Feed
	for f, err := range s.Feeds.All() {
		if err != nil {
			return nil, err
		}
		out, err := session.Run(ctx, f)
		if err != nil {
			return nil, err
		}
		list = append(list, out)
	}
	return list, nil
}

// noiseSum accumulates signal and error.
type noiseSum struct{ signal, error float64 }

func (n *noiseSum) add(want, got []float32) {
	for i, v := range want {
		d := float64(v) - float64(got[i])
		if v-v != 0 && (v == got[i] || v != v && got[i] != got[i]) { // equal infinities, such as masks, and what was no number before
			continue
		}
		n.signal += float64(v) * float64(v)
		n.error += d * d
	}
}

func (n *noiseSum) db() float64 {
	if n.error == 0 {
		return 200
	}
	return min(200, 10*math.Log10(n.signal/n.error))
}

// OutputNoise returns the signal-to-noise ratio of all float outputs and the divergence of the first one.
func OutputNoise(g *model.Graph, want, got []engine.Feed) (db, kl float64, err error) {
	var noise noiseSum
	first, rows := "", 0
	for i, w := range want {
		for _, o := range g.Outputs {
			a, b := w[o.Name], got[i][o.Name]
			if a == nil || b == nil || !a.DType().IsFloat() {
				continue
			}
			x, err := a.Float32()
			if err != nil {
				return 0, 0, err
			}
			y, err := b.Float32()
			if err != nil {
				return 0, 0, err
			}
			if len(x) != len(y) {
				return 0, 0, fmt.Errorf("output %q has %d elements, %d before", o.Name, len(y), len(x))
			}
			noise.add(x, y)
			if first == "" {
				first = o.Name
			}
			if o.Name == first && a.Rank() > 0 && a.Shape()[a.Rank()-1] > 1 {
				n := a.Shape()[a.Rank()-1]
				for at := 0; at < len(x); at += n {
					kl += divergence(x[at:at+n], y[at:at+n])
					rows++
				}
			}
		}
	}
	if rows > 0 {
		kl /= float64(rows)
	}
	return noise.db(), kl, nil
}

// divergence returns KL(softmax(x) || softmax(y)) in nats.
func divergence(x, y []float32) float64 {
	logSum := func(v []float32) float64 {
		most := float64(slices.Max(v))
		s := 0.0
		for _, e := range v {
			s += math.Exp(float64(e) - most)
		}
		return most + math.Log(s)
	}
	lx, ly := logSum(x), logSum(y)
	d := 0.0
	for i := range x {
		if p := math.Exp(float64(x[i]) - lx); p > 0 {
			d += p * ((float64(x[i]) - lx) - (float64(y[i]) - ly))
		}
	}
	return max(d, 0)
}
