package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// CrossEntropy adds to g the mean over the rows of logits [n, classes] of -log softmax(logits)[label] and returns the name of that
// scalar. labels is int64 or int32 [n].
func CrossEntropy(g *model.Graph, logits, labels string) string {
	return addLoss(g, "CrossEntropy", []string{logits, labels})
}

// BinaryCrossEntropy adds to g the mean over the n elements of logits of log(1+e^x) - x y, the negative logarithm of the
// Bernoulli likelihood of the targets y at probability sigmoid(x). targets are float32 in [0, 1], or integers, of n elements.
func BinaryCrossEntropy(g *model.Graph, logits, targets string) string {
	return addLoss(g, "BinaryCrossEntropy", []string{logits, targets})
}

// KLDivergence adds to g T^2 times the mean over the rows of KL(softmax(teacher/T) || softmax(student/T)), both logits
// [n, classes]: the loss of Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), whose factor T^2
// keeps the size of the gradient independent of the temperature. No derivative flows into teacher.
func KLDivergence(g *model.Graph, student, teacher string, temperature float32) string {
	return addLoss(g, "KLDivergence", []string{student, teacher}, model.FloatAttr("temperature", temperature))
}

// WeightedSum adds to g the scalar wa*a + wb*b.
func WeightedSum(g *model.Graph, a string, wa float32, b string, wb float32) string {
	bl := newBuilder(g)
	s := bl.onnx("Add", bl.onnx("Mul", a, bl.scalar(wa)), bl.onnx("Mul", b, bl.scalar(wb)))
	g.Nodes = append(g.Nodes, bl.nodes...)
	return s
}

func addLoss(g *model.Graph, op string, in []string, attrs ...model.Attr) string {
	b := newBuilder(g)
	name := b.fresh("loss/" + op)
	g.Nodes = append(g.Nodes, &model.Node{Name: name, Op: op, Domain: Domain, Inputs: in, Outputs: []string{name}, Attrs: attrs})
	if g.Model != nil {
		g.SetOpset(Domain, 1)
	}
	return name
}

// lossRules holds the derivatives of the losses by the logits.
var lossRules = map[string]rule{
	"CrossEntropy":       lossRule("CrossEntropyGrad"),
	"BinaryCrossEntropy": lossRule("BinaryCrossEntropyGrad"),
	"KLDivergence":       lossRule("KLDivergenceGrad"),
}

func lossRule(op string) rule {
	return func(b *builder, n *model.Node, dy []string) ([]string, error) {
		if b.wants(n, 1) {
			return nil, fmt.Errorf("the targets depend on the parameters: %w", model.ErrUnsupported)
		}
		return []string{b.own(op, []string{dy[0], n.Inputs[0], n.Inputs[1]}, n.Attrs...)}, nil
	}
}

// classInputs returns logits [n, classes] and labels [n] of a cross-entropy node, from input first on.
func classInputs(c *engine.Call, first int) (x []float32, shape []int, labels []int64, err error) {
	if x, shape, err = f32(c, first); err != nil {
		return nil, nil, nil, err
	}
	if labels, err = ints(c, first+1); err != nil {
		return nil, nil, nil, err
	}
	if len(shape) != 2 || len(labels) != shape[0] || len(x) == 0 {
		return nil, nil, nil, fmt.Errorf("logits of shape %v with %d labels", shape, len(labels))
	}
	for _, l := range labels {
		if l < 0 || l >= int64(shape[1]) {
			return nil, nil, nil, fmt.Errorf("label %d of %d classes", l, shape[1])
		}
	}
	return x, shape, labels, nil
}

// lossGrad returns the derivative by the loss, input 0 of the gradient of a loss.
func lossGrad(c *engine.Call) (float32, error) {
	d, shape, err := f32(c, 0)
	if err == nil && len(d) != 1 {
		err = fmt.Errorf("derivative of the loss has shape %v, want one element", shape)
	}
	if err != nil {
		return 0, err
	}
	return d[0], nil
}

func crossEntropy(c *engine.Call) error {
	x, shape, labels, err := classInputs(c, 0)
	if err != nil {
		return err
	}
	n, classes := shape[0], shape[1]
	l := engine.Scratch[float32](c, len(x))
	kernel.LogSoftmaxRows(l, x, n, classes, 1, nil)
	picked := engine.Scratch[float32](c, n)
	for i, label := range labels {
		picked[i] = -l[i*classes+int(label)]
	}
	return outMean(c, picked)
}

// outMean makes output 0 the mean of x, a scalar.
func outMean(c *engine.Call, x []float32) error {
	y, err := engine.Out[float32](c, 0, []int{})
	if err != nil {
		return err
	}
	y[0] = kernel.Sum(x) / float32(len(x))
	return nil
}

// crossEntropyGrad: dx = dloss (softmax(x) - onehot) / n.
func crossEntropyGrad(c *engine.Call) error {
	x, shape, labels, err := classInputs(c, 1)
	if err != nil {
		return err
	}
	d, err := lossGrad(c)
	if err != nil {
		return err
	}
	dx, err := engine.Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	kernel.SoftmaxRows(dx, x, shape[0], shape[1], 1, nil)
	for i, label := range labels {
		dx[i*shape[1]+int(label)]--
	}
	kernel.MulS(dx, dx, d/float32(shape[0]))
	return nil
}

// binaryInputs returns the logits and the targets, from input first on.
func binaryInputs(c *engine.Call, first int) (x []float32, shape []int, y []float32, err error) {
	if x, shape, err = f32(c, first); err != nil {
		return nil, nil, nil, err
	}
	t, err := c.Need(first + 1)
	if err != nil {
		return nil, nil, nil, err
	}
	if t.Len() != len(x) || len(x) == 0 {
		return nil, nil, nil, fmt.Errorf("logits of shape %v with %d targets", shape, t.Len())
	}
	if t.DType() == model.Float32 {
		y, err = model.Data[float32](t)
		return x, shape, y, err
	}
	v, err := ints(c, first+1)
	y = make([]float32, len(v))
	for i := range v {
		y[i] = float32(v[i])
	}
	return x, shape, y, err
}

func binaryCrossEntropy(c *engine.Call) error {
	x, _, y, err := binaryInputs(c, 0)
	if err != nil {
		return err
	}
	l := engine.Scratch[float32](c, len(x))
	kernel.Softplus(l, x)
	for i := range l {
		l[i] -= float32(x[i] * y[i])
	}
	return outMean(c, l)
}

// binaryCrossEntropyGrad: dx = dloss (sigmoid(x) - y) / n.
func binaryCrossEntropyGrad(c *engine.Call) error {
	x, shape, y, err := binaryInputs(c, 1)
	if err != nil {
		return err
	}
	d, err := lossGrad(c)
	if err != nil {
		return err
	}
	dx, err := engine.Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	kernel.Sigmoid(dx, x)
	kernel.Sub(dx, dx, y)
	kernel.MulS(dx, dx, d/float32(len(x)))
	return nil
}

// klInputs returns the logits of student and teacher, from input first on.
func klInputs(c *engine.Call, first int) (s, t []float32, shape []int, temperature float32, err error) {
	if s, shape, err = f32(c, first); err != nil {
		return
	}
	var ts []int
	if t, ts, err = f32(c, first+1); err != nil {
		return
	}
	temperature = c.Node.Float("temperature", 1)
	switch {
	case len(shape) != 2 || !equal(shape, ts) || len(s) == 0:
		err = fmt.Errorf("logits of shape %v, teacher's of %v", shape, ts)
	case !(temperature > 0):
		err = fmt.Errorf("temperature %g, want more than 0", temperature)
	}
	return
}

func klDivergence(c *engine.Call) error {
	s, t, shape, temp, err := klInputs(c, 0)
	if err != nil {
		return err
	}
	n, classes := shape[0], shape[1]
	ls, lt := engine.Scratch[float32](c, len(s)), engine.Scratch[float32](c, len(s))
	kernel.LogSoftmaxRows(ls, s, n, classes, 1/temp, nil)
	kernel.LogSoftmaxRows(lt, t, n, classes, 1/temp, nil)
	kernel.Sub(ls, lt, ls)
	kernel.Exp(lt, lt)
	rows := engine.Scratch[float32](c, n)
	for i := range rows {
		rows[i] = float32(temp*temp) * kernel.Dot(lt[i*classes:(i+1)*classes], ls[i*classes:(i+1)*classes])
	}
	return outMean(c, rows)
}

// klDivergenceGrad: dx = dloss T (softmax(s/T) - softmax(t/T)) / n.
func klDivergenceGrad(c *engine.Call) error {
	s, t, shape, temp, err := klInputs(c, 1)
	if err != nil {
		return err
	}
	d, err := lossGrad(c)
	if err != nil {
		return err
	}
	dx, err := engine.Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	q := engine.Scratch[float32](c, len(s))
	kernel.SoftmaxRows(dx, s, shape[0], shape[1], 1/temp, nil)
	kernel.SoftmaxRows(q, t, shape[0], shape[1], 1/temp, nil)
	kernel.Sub(dx, dx, q)
	kernel.MulS(dx, dx, float32(d*temp)/float32(shape[0]))
	return nil
}
