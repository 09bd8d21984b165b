package quantize

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/wattshed/wattshed/model"
)

// probeSize is the number of inputs and outputs of the matrix that probe takes.
const probeSize = 256

// labour is what a stage in memory has to do: units of the work of probe, and units of probeSize x probeSize elements of tables, which have
// algorithms of their own.
type labour struct {
	units, tables float64
	how           WeightOnly    // with its defaults
	largest       *model.Tensor // that is no table
	form          form
	part          tile // of largest
}

// add counts a weight in one of its forms: units of the algorithm, unless it is a table.
func (l *labour) add(w *weightPlan, s *stored, units float64) {
	switch {
	case s.rows8 != nil: // rounded once
	case s.form == table:
		l.tables += float64(s.n) * float64(s.nbits.k) / (probeSize * probeSize)
	default:
		if l.units += units; l.largest == nil || w.Tensor.Len() > l.largest.Len() {
			l.largest, l.form = w.Tensor, s.form
		}
	}
}

// look reads a part of the largest weight: how often HQQ goes over a weight depends on its values. What cannot be read, or is small, is left out.
func (l *labour) look() {
	if l.largest == nil || l.largest.Rank() != 2 {
		return
	}
	enough := errors.New("enough")
	g := grid{t: l.largest, rows: l.largest.Shape()[0], cols: l.largest.Shape()[1], high: probeSize, wide: probeSize}
	_ = g.strip(0, func(t tile) error {
		if t.rows*t.cols >= probeSize*probeSize/16 {
			l.part = t
			l.part.x = append([]float32{}, t.x...)
		}
		return enough
	})
}

// probes returns the least and the most seconds of the work, by a few probes; the first ones, which find nothing in the caches, do not count.
func (s InMemory) probes(work labour) (least, most float64) {
	for _, kind := range []struct {
		n     float64
		probe func() float64
	}{{work.units, func() float64 { return s.probe(work) }}, {work.tables, work.probeTable}} {
		if kind.n == 0 {
			continue
		}
		kind.probe()
		start := time.Now()
		lo := kind.probe()
		hi := lo
		for n := 1; n < 8 && time.Since(start) < 200*time.Millisecond; n++ {
			t := kind.probe()
			lo, hi = min(lo, t), max(hi, t)
		}
		least, most = least+lo*kind.n, most+hi*kind.n
	}
	return least, most
}

// probe returns the seconds that the settings take for a matrix of probeSize inputs and outputs.
func (s InMemory) probe(work labour) float64 {
	x, h := probeWeights(), make([]float64, probeSize*probeSize)
	rng := rand.New(rand.NewPCG(1, 3))
	for i := range probeSize {
		h[i*probeSize+i] = 1 + rng.Float64()
	}
	start := time.Now()
	var err error
	f := nbits{k: probeSize, n: probeSize, group: 32, bits: 4}
	switch {
	case s.WeightOnly == nil:
		_, _, err = matrix{x, probeSize, probeSize}.quantizeCols(true, codesOf(model.Int8, false))
	case s.WeightOnly.Algorithm == GPTQ:
		_, _, _, err = f.gptq(x, true, &moments{k: probeSize, rows: probeSize, h: h})
	case s.WeightOnly.Algorithm == HQQ:
		t := tile{rows: probeSize, cols: probeSize, x: x}
		if work.part.x != nil {
			t = work.part
		}
		if f = work.how.block(t.cols, t.rows); work.form == columns {
			f = work.how.block(t.rows, t.cols)
		}
		_, err = f.hqq(t.x, work.form == columns, work.how.wholeZeros())
		if err == nil {
			return time.Since(start).Seconds() * probeSize * probeSize / float64(t.rows*t.cols)
		}
	default:
		for range awqSteps + 1 {
			b, e := f.quantize(x, false)
			if err = errors.Join(err, e); e == nil {
				f.errors(x, b, h)
			}
		}
	}
	if err != nil {
		return 0
	}
	return time.Since(start).Seconds()
}

// probeTable returns the seconds that a table of probeSize rows and columns takes.
func (l labour) probeTable() float64 {
	x, start := probeWeights(), time.Now()
	if _, err := l.how.block(probeSize, probeSize).leastSquares(x); err != nil {
		return 0
	}
	return time.Since(start).Seconds()
}

// probeWeights are normal numbers for a matrix of probeSize inputs and outputs.
func probeWeights() []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, probeSize*probeSize)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}
