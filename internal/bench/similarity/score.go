package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/wattshed/wattshed/internal/task/sts"
)

// scores are what one model makes of the data.
type scores struct {
	bytes   int64
	vectors [][]float64 // of the sentences
	cosines []float64   // of the pairs
}

func scored(ctx context.Context, e *sts.Encoder, lines []string, pairs []sts.Pair) (*scores, error) {
	s := &scores{}
	var err error
	if s.vectors, err = e.EmbedAll(ctx, lines); err != nil {
		return nil, err
	}
	s.cosines, err = e.Cosines(ctx, pairs)
	return s, err
}

func (s *scores) print(w io.Writer, name string, first *scores, pairs []sts.Pair) {
	fmt.Fprintf(w, "%s\t%d\t%.4f", name, s.bytes, float64(s.bytes)/float64(first.bytes))
	var cos []float64
	mean := 0.0
	for i, v := range s.vectors {
		cos = append(cos, sts.Dot(v, first.vectors[i]))
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
	human := sts.Human(pairs)
	rho := sts.Spearman(s.cosines, human)
	d := sts.Difference(s.cosines, first.cosines, human)
	fmt.Fprintf(w, "\t%.4f\t%+.4f [%+.4f, %+.4f]\t%.4f\n", rho, rho-sts.Spearman(first.cosines, human), d.Lo, d.Hi, sts.Pearson(s.cosines, human))
}
