package recipe

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wattshed/wattshed/reports"
)

// How many processes a peak is the median of. Two that do the same differ by some 0.3 MB, which is much of what a small model takes, so there are
// more of them until the interval of what the model takes is within memoryPrecision of it on either side, there are memoryMost, or
// memoryTime is over.
const (
	MemoryProcesses = 3 // the least
	memoryMost      = 9
	memoryPrecision = 0.05
	memoryTime      = 5 * time.Second
)

// peaks are the answers to one request.
type peaks struct {
	key     string
	request *MemoryRequest
	answers []MemoryAnswer
	all     []int64 // peaks, in order of size
}

// memoryRounds asks one process after another for every request, the empty process first, and begins anew, so that what changes on the machine
// meanwhile changes all. Those that are known well enough are not asked again.
func (r *run) memoryRounds(ctx context.Context, list []*peaks) error {
	begin := time.Now()
	empty := list[0]
	for round := 0; round < memoryMost; round++ {
		done := true
		for _, p := range list {
			if round >= MemoryProcesses && p != empty && p.settled(empty) {
				continue
			}
			if err := p.ask(ctx, r); err != nil {
				return err
			}
			done = done && p == empty
		}
		if done || round+1 >= MemoryProcesses && time.Since(begin) > memoryTime {
			return nil
		}
	}
	return nil
}

func (p *peaks) ask(ctx context.Context, r *run) error {
	a, err := r.child(ctx, p.request)
	if err != nil {
		return err
	}
	p.answers = append(p.answers, a)
	i, _ := slices.BinarySearch(p.all, a.PeakRSS)
	p.all = slices.Insert(p.all, i, a.PeakRSS)
	return nil
}

// settled tells whether what the model takes beside the empty process is known to memoryPrecision.
func (p *peaks) settled(empty *peaks) bool {
	a, e := p.answer(), empty.answer()
	lo, hi := a.beside(e)
	takes := float64(a.PeakRSS - e.PeakRSS)
	return takes > 0 && math.Max(hi-takes, takes-lo) <= memoryPrecision*takes
}

// answer is the median with its interval.
func (p *peaks) answer() MemoryAnswer {
	a := p.answers[0]
	n := len(p.all)
	k := medianRank(n)
	a.PeakRSS, a.Low, a.High, a.N = p.all[n/2], p.all[k], p.all[n-1-k], n
	return a
}

// medianRank is how many of the least and of the most of n readings lie outside the 95 % interval of their median between order statistics; 0,
// the whole range, below nine readings.
func medianRank(n int) int {
	k, tail, term := 0, 0.0, math.Pow(0.5, float64(n))
	for i := 0; i < n/2; i++ {
		if tail += term; 2*tail > 0.05 {
			break
		}
		k = i
		term *= float64(n-i) / float64(i+1)
	}
	return k
}

// beside is the interval of what a takes more than the empty process, of which both ends have their own noise.
func (a MemoryAnswer) beside(empty MemoryAnswer) (lo, hi float64) {
	takes := float64(a.PeakRSS - empty.PeakRSS)
	lo = takes - math.Hypot(float64(a.PeakRSS-a.Low), float64(empty.High-empty.PeakRSS))
	hi = takes + math.Hypot(float64(a.High-a.PeakRSS), float64(empty.PeakRSS-empty.Low))
	return math.Max(0, lo), hi
}

// readings fills in the peak of a variant from the answers of its processes and of the empty ones.
func readings(out *reports.Memory, peak, empty MemoryAnswer) {
	rss := peak.PeakRSS - empty.PeakRSS
	if rss <= 0 { // a small model may be within the noise of the empty process
		return
	}
	lo, hi := peak.beside(empty)
	out.PeakRSS, out.EmptyProcess = &rss, &empty.PeakRSS
	if out.N = peak.N; out.N == 0 { // of a journal that did not say
		out.N = MemoryProcesses
	}
	out.Range = &reports.Interval{lo, hi}
	out.Source = fmt.Sprintf("high-water mark (VmHWM) of processes of its own: load and %d inferences, the median", MemoryRuns)
}
