package distill

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/grad"
	"github.com/wattshed/wattshed/model"
)

// Loss names a loss on hard labels.
type Loss string

// The losses.
const (
	CrossEntropy       Loss = "cross-entropy"        // integer labels, one class per example
	BinaryCrossEntropy Loss = "binary-cross-entropy" // targets in [0, 1], one per logit
)

// Trainer fits the weights of a model to examples. Zero fields take the default stated; Runtime, Examples, Epochs and LearningRate
// must be set. A Trainer may be used again; it is not changed.
type Trainer struct {
	Runtime engine.Runtime // the native runtime: deployment runtimes do not know the operators of grad.Domain
	Threads int            // 0 = all processors; the weights do not depend on it

	Examples engine.Feeds // inputs of the model and labels, examples along axis 0; sequences along axis 1 may differ in length
	Labels   string       // name of the labels in Examples; "" = "labels"
	Output   string       // the logits; "" = the model's first output
	Loss     Loss         // "" = CrossEntropy

	Teacher     engine.Session // gives logits for the inputs of Examples; nil trains on labels alone
	Temperature float32        // of the softmax that student and teacher are compared in; 0 = 1
	Alpha       float32        // weight of the teacher's loss; 1-Alpha is that of the labels

	Epochs       int
	Batch        int // examples per step; 0 = 32
	Seed         uint64
	LearningRate float32
	Optimizer    grad.Optimizer // nil = grad.AdamW{}
	Schedule     grad.Schedule  // nil = grad.Constant{}
	Clip         float32        // bound of the gradient's norm; 0 = none

	WordDropout WordDropout // words hidden from the model in training; the zero value hides none

	Params     []string                                                   // the initializers to train; nil = all that the loss depends on
	Mask       model.Mask                                                 // weights to keep at exactly zero where a bit is clear
	Constraint func(step int, w Weights) error                            // called before every step, from 0 on
	Validate   func(ctx context.Context, g *model.Graph) (float64, error) // score of the weights after an epoch, higher is better; the best are kept
	Patience   int                                                        // stop after that many epochs without a better score; 0 = never
	Checkpoint Checkpoint                                                 // saved after every epoch, resumed from at the start; nil = none
	Progress   func(Progress)                                             // called after every step and every epoch
}

// WordDropout replaces every id but 0 of an integer input, each with probability Rate, by another id, such as that of the
// unknown word, anew at every step (Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods", ACL 2015). A teacher has seen the
// whole text.
type WordDropout struct {
	Input string // "" = InputIDs
	Rate  float32
	ID    int64
}

// Progress tells how far training is.
type Progress struct {
	Epoch, Epochs int     // Epoch counts from 1
	Step, Steps   int     // steps done and to do, over all epochs
	Loss          float32 // of the last step
	EpochDone     *EpochReport
}

// EpochReport is what one epoch came to.
type EpochReport struct {
	Epoch      int
	Steps      int
	Loss       float64  // mean over the steps
	Validation *float64 // nil without Validate
	Seconds    float64  // wall time of its steps
}

// Report says how training went.
type Report struct {
	Epochs         []EpochReport
	Steps          int     // all steps of all epochs, resumed ones included
	Best           int     // the epoch whose weights were kept, from 1
	Resumed        int     // epochs that a checkpoint spared
	Unused         string  // why the saved state that was found was not used, "" if it was or there was none
	Parameters     int     // trained numbers
	StepsPerSecond float64 // of the steps done now
}

// Weights are the trained weights at one step, as a Constraint sees them.
type Weights struct{ job *job }

// Names returns the names of the trained weights in the graph's order.
func (w Weights) Names() []string { return w.job.params }

// Shape returns the shape of a weight.
func (w Weights) Shape(name string) []int { return w.job.shapes[w.job.index[name]] }

// Master returns the weight itself. What is changed in it stays changed: masks and projections go here.
func (w Weights) Master(name string) []float32 { return w.job.weights[w.job.index[name]] }

// Forward returns a copy of the weight that this step's forward and backward pass read in its place, while the optimiser changes
// the master: fake quantization goes here (a straight-through estimator; Bengio et al., 2013).
func (w Weights) Forward(name string) []float32 {
	i := w.job.index[name]
	if w.job.forward[i] == nil {
		w.job.forward[i] = append([]float32(nil), w.job.weights[i]...)
	}
	return w.job.forward[i]
}

// Train returns a copy of g with trained weights: those of the best epoch when Validate is set, those of the last otherwise. It
// stops between steps when ctx is done, and returns its error; what the checkpoint holds is then one of the epochs done.
func (t *Trainer) Train(ctx context.Context, g *model.Graph) (*model.Graph, Report, error) {
	if err := t.check(); err != nil {
		return nil, Report{}, err
	}
	j, err := t.newJob(ctx, g)
	if err != nil {
		return nil, Report{}, err
	}
	defer j.session.Close()
	resumed, unused, err := j.resume()
	if err != nil {
		return nil, Report{}, err
	}
	var seconds float64
	for !j.finished() {
		ep, err := j.epoch(ctx)
		if err != nil {
			return nil, Report{}, err
		}
		seconds += ep.Seconds
		if err := j.save(); err != nil {
			return nil, Report{}, err
		}
		if t.Progress != nil {
			t.Progress(Progress{Epoch: ep.Epoch, Epochs: t.Epochs, Step: j.step, Steps: t.Epochs * j.stepsPerEpoch(), Loss: j.loss, EpochDone: &ep})
		}
	}
	rep := Report{Epochs: j.history, Steps: j.step, Best: j.bestEpoch, Resumed: resumed}
	if unused != nil {
		rep.Unused = "the saved state " + unused.Error()
	}
	for _, w := range j.weights {
		rep.Parameters += len(w)
	}
	if seconds > 0 {
		rep.StepsPerSecond = float64((len(j.history)-resumed)*j.stepsPerEpoch()) / seconds
	}
	w := j.weights
	if t.Validate != nil {
		w = j.best
	}
	return j.graph(w), rep, nil
}

func (t *Trainer) check() error {
	switch {
	case t.Runtime == nil:
		return fmt.Errorf("distill: no runtime")
	case t.Examples.All == nil:
		return fmt.Errorf("distill: no examples")
	case t.Epochs < 1:
		return fmt.Errorf("distill: epochs %d, want 1 or more", t.Epochs)
	case t.Batch < 0:
		return fmt.Errorf("distill: batch %d, want 1 or more", t.Batch)
	case !(t.LearningRate > 0):
		return fmt.Errorf("distill: learning rate %g, want more than 0", t.LearningRate)
	case !(t.Alpha >= 0 && t.Alpha <= 1):
		return fmt.Errorf("distill: alpha %g, want 0 to 1", t.Alpha)
	case t.Alpha > 0 && t.Teacher == nil:
		return fmt.Errorf("distill: alpha %g without a teacher", t.Alpha)
	case !(t.WordDropout.Rate >= 0 && t.WordDropout.Rate < 1):
		return fmt.Errorf("distill: word dropout %g, want 0 to less than 1", t.WordDropout.Rate)
	case !(t.Temperature >= 0):
		return fmt.Errorf("distill: temperature %g, want more than 0", t.Temperature)
	case t.Loss != "" && t.Loss != CrossEntropy && t.Loss != BinaryCrossEntropy:
		return fmt.Errorf("distill: loss %q, want %q or %q", t.Loss, CrossEntropy, BinaryCrossEntropy)
	}
	return nil
}

// epoch goes once through the examples and scores the weights.
func (j *job) epoch(ctx context.Context) (EpochReport, error) {
	t := j.t
	ep := EpochReport{Epoch: len(j.history) + 1}
	start := time.Now()
	for _, rows := range j.data.batches(t.Seed, ep.Epoch, j.batch) {
		if err := ctx.Err(); err != nil {
			return ep, err
		}
		loss, err := j.train(ctx, rows)
		if err != nil {
			return ep, fmt.Errorf("distill: step %d: %w", j.step+1, err)
		}
		if l := float64(loss); math.IsNaN(l) || math.IsInf(l, 0) {
			return ep, fmt.Errorf("distill: step %d: the loss is %g: training diverged at learning rate %g", j.step, l, t.LearningRate)
		}
		ep.Steps++
		ep.Loss += float64(loss)
		if t.Progress != nil {
			t.Progress(Progress{Epoch: ep.Epoch, Epochs: t.Epochs, Step: j.step, Steps: t.Epochs * j.stepsPerEpoch(), Loss: loss})
		}
	}
	ep.Seconds = time.Since(start).Seconds()
	ep.Loss /= float64(ep.Steps)
	j.bad++
	if t.Validate != nil {
		score, err := t.Validate(ctx, j.graph(j.weights))
		if err != nil {
			return ep, fmt.Errorf("distill: validation after epoch %d: %w", ep.Epoch, err)
		}
		if math.IsNaN(score) || math.IsInf(score, 0) {
			return ep, fmt.Errorf("distill: validation after epoch %d: the score is %g", ep.Epoch, score)
		}
		ep.Validation = &score
		if j.best == nil || score > j.bestScore {
			j.best, j.bestScore, j.bestEpoch, j.bad = copySlices(j.weights), score, ep.Epoch, 0
		}
	} else {
		j.bestEpoch = ep.Epoch
	}
	j.history = append(j.history, ep)
	return ep, nil
}

// finished reports whether all epochs are done, or enough of them brought nothing.
func (j *job) finished() bool {
	return len(j.history) >= j.t.Epochs || j.t.Validate != nil && j.t.Patience > 0 && j.bad >= j.t.Patience && len(j.history) > 0
}

func copySlices(x [][]float32) [][]float32 {
	out := make([][]float32, len(x))
	for i := range x {
		out[i] = append([]float32(nil), x[i]...)
	}
	return out
}

// Recover trains a pruned model back towards its accuracy: what mask leaves out is set to zero and stays exactly zero, in the weights
// and in the optimiser's moments. Settings are t's, with mask in the place of t.Mask; with a Teacher, usually the model before
// pruning, it is distillation (Sanh, Wolf and Rush, "Movement Pruning", 2020).
func Recover(ctx context.Context, t Trainer, pruned *model.Graph, mask model.Mask) (*model.Graph, Report, error) {
	t.Mask = mask
	return t.Train(ctx, pruned)
}
