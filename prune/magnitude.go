package prune

// Magnitude scores an element by its absolute value (Han et al. 2015, "Learning both Weights and
// Connections for Efficient Neural Networks").
type Magnitude struct{}

var _ Criterion = Magnitude{}

// Name returns "magnitude".
func (Magnitude) Name() string { return "magnitude" }

// Score returns |w| for every element; it needs no statistics.
func (Magnitude) Score(w Weight, _ Stats) ([]float32, error) {
	s := make([]float32, len(w.Data))
	for i, v := range w.Data {
		if v < 0 {
			v = -v
		}
		s[i] = v
	}
	return s, nil
}
