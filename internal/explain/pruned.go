package explain

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/wattshed/wattshed/reports"
)

// leastGain is what leaving out half of the zeros must be able to save for pruning to promise anything.
const leastGain = 0.03

// zeros are what pruning made, of 1: the zeros among all weights that the baseline did not have, and the part of a run's time that
// multiplies by them. Both are 0 where quantization followed, or where another model has taken the place of the pruned one.
type zeros struct{ file, time float64 }

func (f *facts) zeros() zeros {
	var z zeros
	if reports.Pruned(f.Variant) == "" || f.scheme != "" {
		return z
	}
	share, _ := f.stage("prune").Options["sparsity"].(float64)
	touched, of := f.prunedPart()
	if w := f.Variant.Weights; w != nil && w.Sparsity != nil {
		z.file = *w.Sparsity
		if b := f.Baseline.Weights; b != nil && b.Sparsity != nil {
			z.file = max(z.file-*b.Sparsity, 0)
			if touched > 0 && b.Bytes > 0 { // of the pruned weights some may have been zero before
				share = min(share, z.file*float64(b.Bytes)/float64(touched))
			}
		}
	}
	z.time = share * of
	return z
}

// prunedPart returns the bytes of the weights that pruning touched and the part of the time that multiplies by them: of each operator's
// time as much as it touched of the operator's weights, and without a profile what it touched of the weights of all products.
func (f *facts) prunedPart() (touched int64, part float64) {
	type weight struct {
		op      string
		bytes   int64
		touched bool
	}
	weights := map[string]weight{}
	for _, n := range f.Variant.Notes {
		if n.Stage == "prune" && n.Weight != "" && n.Action != reports.Remark {
			weights[n.Weight] = weight{n.Op, max(n.BytesBefore, 1), n.Action == reports.Touched || weights[n.Weight].touched}
		}
	}
	own, all := map[string]int64{}, map[string]int64{}
	for _, w := range weights {
		if slices.Contains(products, w.op) {
			all[w.op] += w.bytes
		}
		if w.touched {
			touched += w.bytes
			own[w.op] += w.bytes
		}
	}
	if len(f.share) == 0 {
		var sum int64
		for _, n := range all {
			sum += n
		}
		return touched, min(1, float64(touched)/float64(max(sum, 1)))
	}
	for _, op := range slices.Sorted(maps.Keys(own)) {
		n, time := own[op], f.share[op]
		if op == "Conv" {
			time += f.share["BlockedConv"]
		}
		part += time * float64(n) / float64(max(all[op], n))
	}
	return touched, min(1, part)
}

// pruning is what a format and a runtime that left out half of the zeros, room for their places taken off, would make of size and time;
// each is +Inf, no promise, where that is little.
func (f *facts) pruning() promise {
	z, p := f.zeros(), promise{math.Inf(1), math.Inf(1)}
	if z.file/2 >= leastGain {
		p.size = 1 - z.file/2
	}
	if z.time/2 >= leastGain {
		p.latency = 1 - z.time/2
	}
	return p
}

func zerosInDense(f *facts) *Cause {
	if math.IsInf(f.pruning().latency, 1) {
		return nil
	}
	return &Cause{Slower, "zeros in dense kernels", 0.95,
		fmt.Sprintf("multiplying by weights that pruning set to zero takes about %.0f %% of the time: dense kernels leave none out", 100*f.zeros().time),
		"remove whole channels, or use hardware or a runtime with sparse kernels"}
}

func zerosInFile(f *facts) *Cause {
	if math.IsInf(f.pruning().size, 1) {
		return nil
	}
	return &Cause{Larger, "zeros in a dense file", 0.94,
		fmt.Sprintf("pruning set %.0f %% of all weights to zero, and the format stores them like others", 100*f.zeros().file),
		"quantize as well, remove whole channels, or compress the file for the way"}
}
