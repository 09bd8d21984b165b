// Package baseline holds the plain text classifiers that a trained model has to beat before its accuracy means
// anything: the majority class, multinomial naive Bayes and logistic regression, all on counts of tokens.
//
// Training is deterministic to the bit on every machine: one order of summation, no fused multiply-add, and logarithm
// and exponential of its own.
package baseline

import (
	"fmt"
	"math"
	"slices"
)

// Bag is a text as a bag of tokens: the distinct ids in rising order, and how often each occurs.
type Bag struct {
	IDs    []int
	Counts []float64
}

// NewBag counts ids, leaving out those in skip (padding, unknown) and negative ones.
func NewBag(ids []int64, skip ...int64) Bag {
	sorted := make([]int, 0, len(ids))
	for _, id := range ids {
		if id >= 0 && !slices.Contains(skip, id) {
			sorted = append(sorted, int(id))
		}
	}
	slices.Sort(sorted)
	var b Bag
	for i, id := range sorted {
		if i == 0 || id != sorted[i-1] {
			b.IDs = append(b.IDs, id)
			b.Counts = append(b.Counts, 0)
		}
		b.Counts[len(b.Counts)-1]++
	}
	return b
}

// Classifier says which class a text belongs to.
type Classifier interface {
	// Predict returns the class with the highest score, the lowest of equal ones.
	Predict(Bag) int
}

// Set is a labelled set of texts: the class of Bags[i] is Labels[i], in 0 to Classes-1; ids are in 0 to Features-1.
type Set struct {
	Bags              []Bag
	Labels            []int
	Classes, Features int
}

// Check returns an error that names the first label or id that is out of range; it also refuses an empty set.
func (s Set) Check() error {
	if len(s.Bags) == 0 || len(s.Bags) != len(s.Labels) {
		return fmt.Errorf("baseline: %d texts with %d labels", len(s.Bags), len(s.Labels))
	}
	if s.Classes < 1 || s.Features < 1 {
		return fmt.Errorf("baseline: %d classes and %d features, want at least 1 of each", s.Classes, s.Features)
	}
	for i, b := range s.Bags {
		if s.Labels[i] < 0 || s.Labels[i] >= s.Classes {
			return fmt.Errorf("baseline: text %d: label %d is outside 0 to %d", i, s.Labels[i], s.Classes-1)
		}
		for _, id := range b.IDs {
			if id < 0 || id >= s.Features {
				return fmt.Errorf("baseline: text %d: id %d is outside 0 to %d", i, id, s.Features-1)
			}
		}
	}
	return nil
}

// Outcomes tells for each text of s whether c is right: what a paired test takes.
func Outcomes(c Classifier, s Set) []bool {
	out := make([]bool, len(s.Bags))
	for i, b := range s.Bags {
		out[i] = c.Predict(b) == s.Labels[i]
	}
	return out
}

// Accuracy is the fraction of s on which c is right, NaN for an empty set.
func Accuracy(c Classifier, s Set) float64 {
	right := 0
	for _, ok := range Outcomes(c, s) {
		if ok {
			right++
		}
	}
	if len(s.Bags) == 0 {
		return math.NaN()
	}
	return float64(right) / float64(len(s.Bags))
}

// Majority always answers with one class.
type Majority struct {
	Class int
}

// TrainMajority returns the most frequent class of s, the lowest of equally frequent ones.
func TrainMajority(s Set) (Majority, error) {
	if err := s.Check(); err != nil {
		return Majority{}, err
	}
	counts := make([]float64, s.Classes)
	for _, label := range s.Labels {
		counts[label]++
	}
	return Majority{best(counts)}, nil
}

// Predict returns the class.
func (m Majority) Predict(Bag) int { return m.Class }

// best is the index of the largest score, the first of equal ones.
func best(scores []float64) int {
	at := 0
	for i, s := range scores {
		if s > scores[at] {
			at = i
		}
	}
	return at
}
