package baseline

import (
	"fmt"
	"math"
)

// Logistic is multinomial logistic regression on x = v / |v|, v(t) = ln(1 + count(t)): the class scores are W x + b, the
// probabilities their softmax.
type Logistic struct {
	classes, features int
	weight            []float64 // features x classes
	bias              []float64
}

// maxSteps bounds the training of Logistic; the gradient criterion is met far earlier on texts.
const maxSteps = 500

// TrainLogistic minimises
//
//	mean over texts of -ln p(label | text) + l2/2 |W|^2
//
// (the bias is not penalised) by accelerated gradient descent (Nesterov) with the step 1/L, L = 1 + l2, and adaptive
// restart (O'Donoghue and Candes 2015), until the largest component of the gradient is below 1e-6 or 500 steps are
// done. L bounds the curvature: 1/2 for softmax, times |(x, 1)|^2 = 2. l2 must be positive.
func TrainLogistic(s Set, l2 float64) (*Logistic, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if !(l2 > 0) || math.IsInf(l2, 0) {
		return nil, fmt.Errorf("baseline: logistic regression: l2 %v is not positive", l2)
	}
	rows := make([]Bag, len(s.Bags))
	for i, b := range s.Bags {
		rows[i] = normalized(b)
	}
	size := s.Features*s.Classes + s.Classes
	w, look, grad := make([]float64, size), make([]float64, size), make([]float64, size)
	step := 1 / (1 + l2)
	momentum := 1.0
	for range maxSteps {
		gradient(s, rows, look, l2, grad)
		largest, along := 0.0, 0.0
		for i, g := range grad {
			largest = max(largest, math.Abs(g))
			next := look[i] - float64(step*g)
			along += float64(g * (next - w[i]))
			look[i] = next
		}
		if largest < 1e-6 {
			copy(w, look)
			break
		}
		if along > 0 { // the momentum points uphill: start it again
			momentum = 1
		}
		next := (1 + math.Sqrt(1+4*float64(momentum*momentum))) / 2
		beta := (momentum - 1) / next
		momentum = next
		for i, v := range look {
			look[i] = v + float64(beta*(v-w[i]))
			w[i] = v
		}
	}
	at := s.Features * s.Classes
	return &Logistic{classes: s.Classes, features: s.Features, weight: w[:at], bias: w[at:]}, nil
}

// gradient fills grad with the gradient of the objective at w.
func gradient(s Set, rows []Bag, w []float64, l2 float64, grad []float64) {
	k, at := s.Classes, s.Features*s.Classes
	for i := range grad {
		grad[i] = 0
	}
	p := make([]float64, k)
	for i, x := range rows {
		scores(p, x, w[:at], w[at:])
		softmax(p)
		p[s.Labels[i]]--
		for j, id := range x.IDs {
			g := grad[id*k : id*k+k]
			for c := range g {
				g[c] += float64(p[c] * x.Counts[j])
			}
		}
		for c, v := range p {
			grad[at+c] += v
		}
	}
	n := float64(len(rows))
	for i := range grad {
		grad[i] /= n
		if i < at {
			grad[i] += float64(l2 * w[i])
		}
	}
}

// scores sets out to W x + b.
func scores(out []float64, x Bag, weight, bias []float64) {
	copy(out, bias)
	k := len(out)
	for j, id := range x.IDs {
		if id*k >= len(weight) {
			break // the ids rise
		}
		for c, v := range weight[id*k : id*k+k] {
			out[c] += float64(v * x.Counts[j])
		}
	}
}

// softmax turns scores into probabilities, in place.
func softmax(p []float64) {
	top := p[best(p)]
	sum := 0.0
	for c := range p {
		p[c] = exp(p[c] - top)
		sum += p[c]
	}
	for c := range p {
		p[c] /= sum
	}
}

// normalized returns ln(1 + count) scaled to length 1; an empty bag stays empty.
func normalized(b Bag) Bag {
	x := Bag{IDs: b.IDs, Counts: make([]float64, len(b.Counts))}
	sum := 0.0
	for j, count := range b.Counts {
		x.Counts[j] = ln(1 + count)
		sum += float64(x.Counts[j] * x.Counts[j])
	}
	if length := math.Sqrt(sum); length > 0 {
		for j := range x.Counts {
			x.Counts[j] /= length
		}
	}
	return x
}

// Probabilities returns the probability of every class; ids beyond the features count nothing.
func (l *Logistic) Probabilities(b Bag) []float64 {
	p := make([]float64, l.classes)
	scores(p, normalized(b), l.weight, l.bias)
	softmax(p)
	return p
}

// Predict returns the class with the highest probability.
func (l *Logistic) Predict(b Bag) int { return best(l.Probabilities(b)) }
