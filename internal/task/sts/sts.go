// Package sts scores sentence encoders: embeddings, and the rank correlation of their similarity with that which people give to pairs of
// sentences (STS Benchmark).
package sts

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/tokenize"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
)

// Pair is two sentences and how alike people find them, 0 to 5.
type Pair struct {
	Score float64
	A, B  string
}

// ReadPairs reads the benchmark's file: tab-separated, without quotes, score and sentences in columns 5 to 7.
func ReadPairs(path string) ([]Pair, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []Pair
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		col := strings.Split(sc.Text(), "\t")
		if len(col) < 7 {
			return nil, fmt.Errorf("%s: line %d has %d columns, want 7", path, len(out)+1, len(col))
		}
		score, err := strconv.ParseFloat(col[4], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, len(out)+1, err)
		}
		out = append(out, Pair{score, col[5], col[6]})
	}
	return out, sc.Err()
}

// Encoder turns texts into vectors: the mean of the vectors of at most Max tokens, of length 1.
type Encoder struct {
	Session   engine.Session
	Tokenizer *tokenize.Tokenizer
	Max       int
}

// Embed returns the vector of a text.
func (e *Encoder) Embed(ctx context.Context, text string) ([]float64, error) {
	ids, types, mask := e.Tokenizer.Encode(text, e.Max)
	n := len(ids)
	feed := engine.Feed{}
	for _, in := range e.Session.Inputs() {
		switch {
		case strings.Contains(in.Name, "mask"):
			feed[in.Name] = model.FromSlice([]int{1, n}, mask)
		case strings.Contains(in.Name, "type"):
			feed[in.Name] = model.FromSlice([]int{1, n}, types)
		default:
			feed[in.Name] = model.FromSlice([]int{1, n}, ids)
		}
	}
	name := e.Session.Outputs()[0].Name
	out, err := e.Session.Run(ctx, feed, name)
	if err != nil {
		return nil, err
	}
	x, err := out[name].Float32()
	if err != nil {
		return nil, err
	}
	if len(x) == 0 || len(x)%n != 0 {
		return nil, fmt.Errorf("output %q has shape %v, want a vector per token", name, out[name].Shape())
	}
	v := make([]float64, len(x)/n)
	for i, f := range x {
		v[i%len(v)] += float64(f)
	}
	norm := math.Sqrt(Dot(v, v))
	for i := range v {
		v[i] /= norm
	}
	return v, nil
}

// EmbedAll returns the vectors of all texts.
func (e *Encoder) EmbedAll(ctx context.Context, texts []string) ([][]float64, error) {
	var out [][]float64
	for _, t := range texts {
		v, err := e.Embed(ctx, t)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Cosines returns the similarity of the two sentences of every pair.
func (e *Encoder) Cosines(ctx context.Context, pairs []Pair) ([]float64, error) {
	var out []float64
	for _, p := range pairs {
		a, err := e.Embed(ctx, p.A)
		if err != nil {
			return nil, err
		}
		b, err := e.Embed(ctx, p.B)
		if err != nil {
			return nil, err
		}
		out = append(out, Dot(a, b))
	}
	return out, nil
}

// Dot is the inner product.
func Dot(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// Human returns the scores that people gave.
func Human(pairs []Pair) []float64 {
	out := make([]float64, len(pairs))
	for i, p := range pairs {
		out[i] = p.Score
	}
	return out
}

// resamples of the bootstrap over the pairs.
const resamples = 1000

// Difference returns the 95 % percentile interval of the difference of the rank correlations of a and b with human, by
// resampling pairs; both see the same resamples.
func Difference(a, b, human []float64) measure.Interval {
	d := resampled(human, func(idx []int, h []float64) float64 {
		return Pearson(Ranks(take(a, idx)), h) - Pearson(Ranks(take(b, idx)), h)
	})
	return measure.Interval{Lo: d[resamples*25/1000], Hi: d[resamples*975/1000-1]}
}

// Interval returns the 95 % percentile interval of Spearman's correlation of a with human.
func Interval(a, human []float64) measure.Interval {
	d := resampled(human, func(idx []int, h []float64) float64 { return Pearson(Ranks(take(a, idx)), h) })
	return measure.Interval{Lo: d[resamples*25/1000], Hi: d[resamples*975/1000-1]}
}

func resampled(human []float64, stat func(idx []int, ranks []float64) float64) []float64 {
	return measure.Bootstrap(len(human), resamples, 1500, func(idx []int) float64 { return stat(idx, Ranks(take(human, idx))) })
}

func take(x []float64, idx []int) []float64 {
	out := make([]float64, len(idx))
	for i, j := range idx {
		out[i] = x[j]
	}
	return out
}

// Spearman is the rank correlation of x and y.
func Spearman(x, y []float64) float64 { return Pearson(Ranks(x), Ranks(y)) }

// Ranks returns the ranks of x from 1 on, equal values with the mean of theirs.
func Ranks(x []float64) []float64 {
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

// Pearson is the linear correlation of x and y.
func Pearson(x, y []float64) float64 {
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
