package grad

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// Optimizer changes weights by their gradients. Its settings are constants; what it remembers of a weight is in slots that the caller
// keeps, zero before the first step, so that they can be saved.
type Optimizer interface {
	// Slots returns the number of remembered values per weight element.
	Slots() int
	// Update does step number step (from 1) on one weight w with gradient g at learning rate lr; slots are Slots() slices as
	// long as w. decay says whether weight decay is meant for this weight: not for biases and normalisation scales.
	Update(w, g []float32, slots [][]float32, lr float32, step int, decay bool)
}

// Decays reports whether weight decay is meant for the initializer called name of g: for matrices and embeddings, not for vectors
// (biases, normalisation scales) and the biases of recurrent nodes, which have two dimensions.
func Decays(g *model.Graph, name string) bool {
	if t := g.Initializer(name); t == nil || t.Rank() < 2 {
		return false
	}
	for _, n := range g.Nodes {
		if (n.Op == "LSTM" || n.Op == "GRU") && n.In(3) == name {
			return false
		}
	}
	return true
}

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019). Zero
// fields take the usual values: 0.9, 0.999 and 1e-8; without WeightDecay it is Adam (Kingma and Ba, ICLR 2015).
type AdamW struct{ Beta1, Beta2, Epsilon, WeightDecay float32 }

var _ Optimizer = AdamW{}

// Slots returns 2: the first and the second moment.
func (o AdamW) Slots() int { return 2 }

// Update does one step, see kernel.AdamW for the formula.
func (o AdamW) Update(w, g []float32, slots [][]float32, lr float32, step int, decay bool) {
	p := kernel.AdamWParams{LR: lr, Beta1: orDefault(o.Beta1, 0.9), Beta2: orDefault(o.Beta2, 0.999), Eps: orDefault(o.Epsilon, 1e-8), Step: step}
	if decay {
		p.WeightDecay = o.WeightDecay
	}
	kernel.AdamW(w, g, slots[0], slots[1], p)
}

// Adam is Adam with L2 regularisation: L2 times the weight is added to its gradient before the moments see it.
type Adam struct{ Beta1, Beta2, Epsilon, L2 float32 }

var _ Optimizer = Adam{}

// Slots returns 2: the first and the second moment.
func (o Adam) Slots() int { return 2 }

// Update does one step; g is changed where L2 is not 0.
func (o Adam) Update(w, g []float32, slots [][]float32, lr float32, step int, decay bool) {
	if decay && o.L2 != 0 {
		kernel.Axpy(o.L2, w, g)
	}
	AdamW{o.Beta1, o.Beta2, o.Epsilon, 0}.Update(w, g, slots, lr, step, false)
}

// SGD is gradient descent with momentum and decoupled weight decay: v = Momentum v + g, w = w (1 - lr WeightDecay) - lr v.
type SGD struct{ Momentum, WeightDecay float32 }

var _ Optimizer = SGD{}

// Slots returns 1, the velocity, or 0 without momentum.
func (o SGD) Slots() int {
	if o.Momentum == 0 {
		return 0
	}
	return 1
}

// Update does one step.
func (o SGD) Update(w, g []float32, slots [][]float32, lr float32, _ int, decay bool) {
	var v []float32
	if len(slots) > 0 {
		v = slots[0]
	}
	wd := o.WeightDecay
	if !decay {
		wd = 0
	}
	kernel.SGD(w, g, v, lr, o.Momentum, wd)
}

func orDefault(v, def float32) float32 {
	if v == 0 {
		return def
	}
	return v
}

// ClipNorm scales grads so that the Euclidean norm over all of them is at most limit, and returns the norm before. A limit of
// 0 scales nothing. Squares are added in float64, tensor by tensor. A gradient that is not finite is an error.
func ClipNorm(grads [][]float32, limit float32) (float64, error) {
	var sq float64
	for _, g := range grads {
		sq += kernel.SumSquares64(g)
	}
	if sq-sq != 0 {
		return sq, fmt.Errorf("grad: the gradient is not finite")
	}
	if limit > 0 {
		if s := kernel.ClipScale(sq, limit); s != 1 {
			for _, g := range grads {
				kernel.MulS(g, g, s)
			}
		}
	}
	return math.Sqrt(sq), nil
}
