package baseline

import "fmt"

// NaiveBayes is the multinomial naive Bayes classifier:
//
//	score(c) = ln P(c) + sum over tokens t of count(t) ln P(t|c)
//	P(c) = n_c / n,  P(t|c) = (count(t, c) + alpha) / (count(c) + alpha Features)
//
// (Manning, Raghavan and Schuetze, Introduction to Information Retrieval, section 13.2). A class without examples has
// the prior ln 0 and is never chosen.
type NaiveBayes struct {
	features int
	prior    []float64 // ln P(c)
	token    []float64 // ln P(t|c), class by class
}

// TrainNaiveBayes counts the tokens of s; alpha > 0 is the smoothing (1 is Laplace's).
func TrainNaiveBayes(s Set, alpha float64) (*NaiveBayes, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if !(alpha > 0) {
		return nil, fmt.Errorf("baseline: naive Bayes: alpha %v is not positive", alpha)
	}
	nb := &NaiveBayes{features: s.Features, prior: make([]float64, s.Classes), token: make([]float64, s.Classes*s.Features)}
	total := make([]float64, s.Classes)
	for i, b := range s.Bags {
		c := s.Labels[i]
		nb.prior[c]++
		for j, id := range b.IDs {
			nb.token[c*s.Features+id] += b.Counts[j]
			total[c] += b.Counts[j]
		}
	}
	for c := range nb.prior {
		nb.prior[c] = ln(nb.prior[c] / float64(len(s.Bags)))
		all := ln(total[c] + float64(alpha*float64(s.Features)))
		row := nb.token[c*s.Features : (c+1)*s.Features]
		for t, count := range row {
			row[t] = ln(count+alpha) - all
		}
	}
	return nb, nil
}

// Scores returns the joint log-likelihood of b with every class; ids beyond the features count nothing.
func (nb *NaiveBayes) Scores(b Bag) []float64 {
	scores := make([]float64, len(nb.prior))
	for c := range scores {
		sum := nb.prior[c]
		row := nb.token[c*nb.features : (c+1)*nb.features]
		for j, id := range b.IDs {
			if id < len(row) {
				sum += float64(b.Counts[j] * row[id])
			}
		}
		scores[c] = sum
	}
	return scores
}

// Predict returns the class with the highest score.
func (nb *NaiveBayes) Predict(b Bag) int { return best(nb.Scores(b)) }
