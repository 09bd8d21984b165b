package recipe

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
)

// Agreement is how far two runtimes are apart on one input: of the output that differs most, as a share of its largest magnitude.
type Agreement struct {
	Sequence   int     `json:"sequence,omitempty"` // length, 0 = the model's own
	Output     string  `json:"output"`
	Difference float64 `json:"max_difference"` // max|a - b|
	Largest    float64 `json:"largest"`        // max|b|
}

// Share is Difference / Largest: 0 of outputs that are the same, infinite where the second are all zero and the first are not.
func (a Agreement) Share() float64 {
	if a.Difference == 0 {
		return 0
	}
	return a.Difference / a.Largest
}

// MarshalJSON writes null for an infinite difference, which JSON has no number for.
func (a Agreement) MarshalJSON() ([]byte, error) {
	type plain Agreement
	known := &a.Difference
	if math.IsInf(a.Difference, 0) {
		known = nil
	}
	return json.Marshal(struct {
		plain
		Difference *float64 `json:"max_difference"`
	}{plain(a), known})
}

// Agree runs two sessions of the model g on the same random input, once for every length of sequences (0: the model's own), and compares their
// outputs. Values that only one has, other shapes and values that are no number in one of both are errors or an infinite difference; strings must be equal.
func Agree(ctx context.Context, a, b engine.Session, g *model.Graph, inputs task.Random, lengths []int) ([]Agreement, error) {
	if len(lengths) == 0 {
		lengths = []int{0}
	}
	known, err := ModelLength(g)
	if err != nil {
		return nil, err
	}
	var out []Agreement
	for _, n := range lengths {
		r := inputs
		if r.N, r.Sequence = 1, int64(n); n == 0 {
			r.Known = int64(known)
		}
		if err := r.Bind(g); err != nil {
			return nil, err
		}
		feed, _, err := r.Feed(0, 1)
		if err != nil {
			return nil, err
		}
		x, err := a.Run(ctx, feed)
		if err != nil {
			return nil, err
		}
		y, err := b.Run(ctx, feed)
		if err != nil {
			return nil, err
		}
		worst, err := farthest(x, y, g.Outputs)
		if err != nil {
			return nil, err
		}
		worst.Sequence = n
		out = append(out, worst)
	}
	return out, nil
}

// farthest returns the output of which a and b differ most.
func farthest(a, b engine.Feed, outputs []*model.Value) (worst Agreement, err error) {
	for i, v := range outputs {
		x, y := a[v.Name], b[v.Name]
		if x == nil || y == nil || x.DType() != y.DType() || !slices.Equal(x.Shape(), y.Shape()) {
			return worst, fmt.Errorf("output %q: the runtimes give other types or shapes, or one gives none", v.Name)
		}
		d := Agreement{Output: v.Name}
		if x.DType() == model.String {
			p, err := x.Strings()
			if err != nil {
				return worst, err
			}
			q, err := y.Strings()
			if err != nil {
				return worst, err
			}
			if !slices.Equal(p, q) {
				d.Difference = math.Inf(1)
			}
		} else if d.Difference, d.Largest, err = apart(x, y); err != nil {
			return worst, fmt.Errorf("output %q: %w", v.Name, err)
		}
		if i == 0 || d.Share() > worst.Share() {
			worst = d
		}
	}
	return worst, nil
}

// apart returns max|x-y| and max|y| over two tensors of one shape; infinities and values that are no number differ from all but their like.
func apart(x, y *model.Tensor) (difference, largest float64, err error) {
	p, err := x.Float32()
	if err != nil {
		return 0, 0, err
	}
	q, err := y.Float32()
	if err != nil {
		return 0, 0, err
	}
	for i := range p {
		u, v := float64(p[i]), float64(q[i])
		if m := math.Abs(v); m <= math.MaxFloat32 {
			largest = max(largest, m)
		}
		switch d := math.Abs(u - v); {
		case u == v || u != u && v != v:
		case d != d:
			difference = math.Inf(1)
		default:
			difference = max(difference, d)
		}
	}
	return difference, largest, nil
}
