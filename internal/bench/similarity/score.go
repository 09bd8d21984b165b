package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
)

// scores are what one model makes of the data.
type scores struct {
	bytes   int64
	vectors [][]float64 // of the sentences
	cosines []float64   // of the pairs
}

func (e *encoder) scores(ctx context.Context, lines []string, pairs []pair) (*scores, error) {
	s := &scores{}
	for _, l := range lines {
		v, err := e.embed(ctx, l)
		if err != nil {
			return nil, err
		}
		s.vectors = append(s.vectors, v)
	}
	for _, p := range pairs {
		a, err := e.embed(ctx, p.a)
		if err != nil {
			return nil, err
		}
		b, err := e.embed(ctx, p.b)
		if err != nil {
			return nil, err
		}
		s.cosines = append(s.cosines, dot(a, b))
	}
	return s, nil
}

func dot(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// resamples of the bootstrap over the pairs.
const resamples = 1000

func (s *scores) print(w io.Writer, name string, first *scores, pairs []pair) {
	fmt.Fprintf(w, "%s\t%d\t%.4f", name, s.bytes, float64(s.bytes)/float64(first.bytes))
	var cos []float64
	mean := 0.0
	for i, v := range s.vectors {
		cos = append(cos, dot(v, first.vectors[i]))
		mean += cos[i] / float64(len(s.vectors))
	}
	slices.Sort(cos)
	if len(cos) > 0 {
		fmt.Fprintf(w, "\t%.6f\t%.6f", mean, cos[len(cos)/100])
	} else {
		fmt.Fprint(w, "\t\t")
	}
	if len(pairs) < 2 {
		fmt.Fprintln(w)
		return
	}
	human := make([]float64, len(pairs))
	for i, p := range pairs {
		human[i] = p.score
	}
	rho := pearson(ranks(s.cosines), ranks(human))
	lo, hi := difference(s.cosines, first.cosines, human)
	fmt.Fprintf(w, "\t%.4f\t%+.4f [%+.4f, %+.4f]\t%.4f\n", rho, rho-pearson(ranks(first.cosines), ranks(human)), lo, hi, pearson(s.cosines, human))
}

// difference returns the 95 % percentile interval of the difference of the rank correlations of a and b with human, by
// resampling pairs; both models see the same resamples.
func difference(a, b, human []float64) (lo, hi float64) {
	rng := rand.New(rand.NewPCG(1, 1500))
	n := len(human)
	ra, rb, rh := make([]float64, n), make([]float64, n), make([]float64, n)
	d := make([]float64, resamples)
	for k := range d {
		for i := range n {
			j := rng.IntN(n)
			ra[i], rb[i], rh[i] = a[j], b[j], human[j]
		}
		h := ranks(rh)
		d[k] = pearson(ranks(ra), h) - pearson(ranks(rb), h)
	}
	slices.Sort(d)
	return d[resamples*25/1000], d[resamples*975/1000-1]
}

// ranks returns the ranks of x from 1 on, equal values with the mean of theirs.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return 0
	})
	r := make([]float64, len(x))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && x[order[j]] == x[order[i]] {
			j++
		}
		for _, at := range order[i:j] {
			r[at] = float64(i+j+1) / 2
		}
		i = j
	}
	return r
}

func pearson(x, y []float64) float64 {
	n := float64(len(x))
	var mx, my float64
	for i := range x {
		mx += x[i] / n
		my += y[i] / n
	}
	var xy, xx, yy float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
		yy += (y[i] - my) * (y[i] - my)
	}
	return xy / math.Sqrt(xx*yy)
}
