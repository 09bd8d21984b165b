package recipe

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// Settings of the measurement of the machine's ceilings.
const (
	rooflineTime  = 10 * time.Millisecond
	rooflineBytes = 96 << 20 // of all threads together
	rooflineN     = 6        // rounds: lowest to highest of six holds the median with 96.9 % (1 - 2/2^6)
)

// roofline measures the ceilings of this machine with the run's threads at once, and adds to the method what that
// means; nil where the kernels have no such loop.
func (r *run) roofline(ctx context.Context, m *reports.Method) (*reports.Roofline, error) {
	if err := canceled(ctx, "ceilings"); err != nil {
		return nil, err
	}
	f, err := remember(r.journal, kindRoofline, "", func() (reports.Roofline, error) {
		r.progress("ceilings of this machine", 0, 0)
		var flops, bytes []float64
		look := r.opt.Ceilings
		if look == nil {
			look = ceilings
		}
		for range rooflineN {
			sum := look(r.threads)
			flops, bytes = append(flops, sum.F32Flops/1e9), append(bytes, sum.ReadBps/1e9)
			if err := canceled(ctx, "ceilings"); err != nil {
				return reports.Roofline{}, err
			}
		}
		return reports.Roofline{GFLOPS: measure.Percentile(flops, 0.5), GBytesS: measure.Percentile(bytes, 0.5), N: r.threads, Rounds: rooflineN,
			GFLOPSCI:  intervalOf(measure.Interval{Lo: slices.Min(flops), Hi: slices.Max(flops)}),
			GBytesSCI: intervalOf(measure.Interval{Lo: slices.Min(bytes), Hi: slices.Max(bytes)}),
			Source:    "median of rounds, each the best of several loops on every thread: a lower bound of what the machine can"}, nil
	})
	if err != nil || f.GFLOPS == 0 {
		return nil, err
	}
	m.Notes = append(m.Notes, fmt.Sprintf("Ceilings of the machine: %d threads at once, each at nothing but float32 multiply-adds, then each reading %d MiB of its own; "+
		"the sum of the best rates of each, the median of %d rounds. A machine that was busy then shows less than it can.", r.threads, rooflineBytes/r.threads>>20, f.Rounds))
	return &f, nil
}

// ceilings is the sum of the best rates of so many threads at once.
func ceilings(threads int) kernel.Peak {
	peaks := make([]kernel.Peak, threads)
	var wg sync.WaitGroup
	for i := range peaks {
		wg.Go(func() { peaks[i] = kernel.MeasurePeak(rooflineTime, rooflineBytes/threads) })
	}
	wg.Wait()
	var sum kernel.Peak
	for _, p := range peaks {
		sum.F32Flops += p.F32Flops
		sum.ReadBps += p.ReadBps
	}
	return sum
}
