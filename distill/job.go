package distill

import (
	"context"
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/grad"
	"github.com/wattshed/wattshed/model"
)

// job is one training run: the compiled training graph, the data and everything that changes with the steps.
type job struct {
	t       *Trainer
	base    *model.Graph
	session engine.Session
	lossOut string
	params  []string
	index   map[string]int
	shapes  [][]int
	decays  []bool
	grads   []string // name of the derivative by each parameter
	keep    []*model.Bits
	opt     grad.Optimizer
	plan    grad.Schedule
	batch   int
	data    *dataset
	inputs  []string // names fed from the data
	print   [32]byte // fingerprint of settings, weights and data

	step      int
	weights   [][]float32
	forward   [][]float32 // in use during one step, nil where it is the weight itself
	slots     [][][]float32
	best      [][]float32
	bestScore float64
	bestEpoch int
	bad       int // epochs since the best
	history   []EpochReport
	loss      float32
}

const (
	defaultLabels = "labels"
	teacherLogits = "distill/teacher_logits"
)

// newJob builds the training graph, loads the data and asks the teacher.
func (t *Trainer) newJob(ctx context.Context, g *model.Graph) (*job, error) {
	j := &job{t: t, base: g, opt: t.Optimizer, plan: t.Schedule, batch: t.Batch, index: map[string]int{}}
	if j.opt == nil {
		j.opt = grad.AdamW{}
	}
	if j.plan == nil {
		j.plan = grad.Constant{}
	}
	if j.batch == 0 {
		j.batch = 32
	}
	labels := t.Labels
	if labels == "" {
		labels = defaultLabels
	}
	tg, err := j.trainingGraph(labels)
	if err != nil {
		return nil, err
	}
	if j.data, err = loadDataset(ctx, t.Examples, j.inputs); err != nil {
		return nil, err
	}
	if err := j.initWeights(); err != nil {
		return nil, err
	}
	if t.Teacher != nil && t.Alpha > 0 {
		if err := j.askTeacher(ctx); err != nil {
			return nil, err
		}
	}
	j.print = j.fingerprint()
	// Unfused, so that what training computes does not change with the engine's optimisations.
	j.session, err = t.Runtime.Load(ctx, engine.Artifact{Graph: tg}, engine.Options{Threads: t.Threads, Ops: grad.Ops(), NoFusion: true})
	if err != nil {
		return nil, fmt.Errorf("distill: %w", err)
	}
	return j, nil
}

// trainingGraph adds the losses and the backward pass to a copy of the model, in which the trained weights are inputs.
func (j *job) trainingGraph(labels string) (*model.Graph, error) {
	t, g := j.t, j.base.Clone()
	output := t.Output
	if output == "" {
		if len(g.Outputs) == 0 {
			return nil, fmt.Errorf("distill: the model has no output")
		}
		output = g.Outputs[0].Name
	}
	for _, v := range g.Inputs {
		if g.Initializer(v.Name) == nil {
			j.inputs = append(j.inputs, v.Name)
		}
	}
	loss := ""
	if t.Alpha < 1 || t.Teacher == nil {
		if t.Loss == BinaryCrossEntropy {
			loss = grad.BinaryCrossEntropy(g, output, labels)
		} else {
			loss = grad.CrossEntropy(g, output, labels)
		}
		g.Inputs = append(g.Inputs, &model.Value{Name: labels})
		j.inputs = append(j.inputs, labels)
	}
	if t.Teacher != nil && t.Alpha > 0 {
		temp := t.Temperature
		if temp == 0 {
			temp = 1
		}
		kd := grad.KLDivergence(g, output, teacherLogits, temp)
		g.Inputs = append(g.Inputs, &model.Value{Name: teacherLogits, Type: model.Type{DType: model.Float32}})
		if loss == "" {
			loss = kd
		} else {
			loss = grad.WeightedSum(g, kd, t.Alpha, loss, 1-t.Alpha)
		}
	}
	if j.params = t.Params; j.params == nil {
		j.params = grad.Params(g, loss)
	}
	if len(j.params) == 0 {
		return nil, fmt.Errorf("distill: the loss depends on no float32 initializer of the model")
	}
	for _, p := range j.params {
		if w := j.base.Initializer(p); w == nil || w.DType() != model.Float32 {
			return nil, fmt.Errorf("distill: parameter %q is no float32 initializer", p)
		}
	}
	tg, grads, err := grad.Gradient(g, loss, j.params)
	if err != nil {
		return nil, fmt.Errorf("distill: %w", err)
	}
	j.lossOut = loss
	for i, p := range j.params {
		w := j.base.Initializer(p)
		j.index[p] = i
		j.shapes = append(j.shapes, w.Shape())
		j.decays = append(j.decays, grad.Decays(j.base, p))
		j.grads = append(j.grads, grads[p])
		tg.RemoveInitializer(p)
		input := &model.Value{Name: p, Type: model.Type{DType: model.Float32, Shape: model.FixedShape(w.Shape()...)}}
		replaced := false
		for k, v := range tg.Inputs {
			if v.Name == p {
				tg.Inputs[k], replaced = input, true
			}
		}
		if !replaced {
			tg.Inputs = append(tg.Inputs, input)
		}
	}
	return tg, nil
}

// initWeights copies the weights out of the model and applies the mask.
func (j *job) initWeights() error {
	j.keep = make([]*model.Bits, len(j.params))
	for name, bits := range j.t.Mask {
		i, ok := j.index[name]
		if !ok {
			if j.base.Initializer(name) == nil {
				return fmt.Errorf("distill: mask of %q: the model has no such initializer", name)
			}
			continue // not trained: it stays as it is
		}
		j.keep[i] = &bits
	}
	for i, p := range j.params {
		x, err := model.Data[float32](j.base.Initializer(p))
		if err != nil {
			return fmt.Errorf("distill: weight %q: %w", p, err)
		}
		w := append([]float32(nil), x...)
		if j.keep[i] != nil {
			if err := j.keep[i].Apply(w); err != nil {
				return fmt.Errorf("distill: weight %q: %w", p, err)
			}
		}
		j.weights = append(j.weights, w)
		slots := make([][]float32, j.opt.Slots())
		for k := range slots {
			slots[k] = make([]float32, len(w))
		}
		j.slots = append(j.slots, slots)
	}
	j.forward = make([][]float32, len(j.params))
	return nil
}

// train does one step on the given examples and returns the loss before it.
func (j *job) train(ctx context.Context, rows []int) (float32, error) {
	t := j.t
	clear(j.forward)
	if t.Constraint != nil {
		if err := t.Constraint(j.step, Weights{j}); err != nil {
			return 0, err
		}
	}
	feed := j.data.feed(rows)
	if err := t.WordDropout.apply(feed, newRandom(t.Seed, streamDrop+uint64(j.step))); err != nil {
		return 0, err
	}
	for i, p := range j.params {
		w := j.weights[i]
		if j.forward[i] != nil {
			w = j.forward[i]
		}
		feed[p] = model.FromSlice(j.shapes[i], w)
	}
	out, err := j.session.Run(ctx, feed)
	if err != nil {
		return 0, err
	}
	grads := make([][]float32, len(j.params))
	for i, name := range j.grads {
		if grads[i], err = model.Data[float32](out[name]); err != nil {
			return 0, err
		}
		if j.keep[i] != nil {
			if err := j.keep[i].Apply(grads[i]); err != nil {
				return 0, err
			}
		}
	}
	loss, err := model.Data[float32](out[j.lossOut])
	if err != nil {
		return 0, err
	}
	if _, err := grad.ClipNorm(grads, t.Clip); err != nil {
		return 0, err
	}
	j.step++
	lr := t.LearningRate * j.plan.Factor(j.step, t.Epochs*j.stepsPerEpoch())
	for i := range j.params {
		j.opt.Update(j.weights[i], grads[i], j.slots[i], lr, j.step, j.decays[i])
	}
	j.loss = loss[0]
	return j.loss, nil
}

func (j *job) stepsPerEpoch() int { return (j.data.n + j.batch - 1) / j.batch }

// graph returns the model with the given weights, which it copies.
func (j *job) graph(weights [][]float32) *model.Graph {
	g := j.base.Clone()
	for i, p := range j.params {
		g.SetInitializer(p, model.FromSlice(j.shapes[i], append([]float32(nil), weights[i]...)))
	}
	return g
}

// askTeacher adds the teacher's logits to the data, asked in batches of a fixed composition.
func (j *job) askTeacher(ctx context.Context) error {
	outs := j.t.Teacher.Outputs()
	if len(outs) == 0 {
		return fmt.Errorf("distill: the teacher has no output")
	}
	name := j.t.Output
	if name == "" || !has(outs, name) {
		name = outs[0].Name
	}
	takes := map[string]bool{}
	for _, v := range j.t.Teacher.Inputs() {
		takes[v.Name] = true
	}
	col := column{dtype: model.Float32, rows: make([][]byte, j.data.n), shapes: make([][]int, j.data.n)}
	for _, rows := range j.data.byLength(64) {
		if err := ctx.Err(); err != nil {
			return err
		}
		feed := j.data.feed(rows)
		for in := range feed {
			if !takes[in] {
				delete(feed, in)
			}
		}
		out, err := j.t.Teacher.Run(ctx, feed, name)
		if err != nil {
			return fmt.Errorf("distill: teacher: %w", err)
		}
		logits := out[name]
		raw, err := logits.Bytes()
		if err != nil || logits.DType() != model.Float32 || logits.Rank() < 1 || logits.Shape()[0] != len(rows) {
			return fmt.Errorf("distill: teacher: output %q is %s of shape %v for %d examples", name, logits.DType(), logits.Shape(), len(rows))
		}
		size := len(raw) / len(rows)
		for i, r := range rows {
			col.rows[r] = append([]byte(nil), raw[i*size:(i+1)*size]...)
			col.shapes[r] = logits.Shape()[1:]
		}
	}
	j.data.add(teacherLogits, col)
	return nil
}

func has(vs []*model.Value, name string) bool {
	for _, v := range vs {
		if v.Name == name {
			return true
		}
	}
	return false
}
