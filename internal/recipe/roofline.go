package recipe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/reports"
)

// Settings of the measurement of the machine's ceilings.
const (
	rooflineTime  = 10 * time.Millisecond
	rooflineBytes = 96 << 20 // of all threads together
)

// roofline measures the ceilings of this machine with the run's threads at once, and adds to the method what that
// means; nil where the kernels have no such loop.
func (r *run) roofline(ctx context.Context, m *reports.Method) (*reports.Roofline, error) {
	if err := canceled(ctx, "ceilings"); err != nil {
		return nil, err
	}
	f, err := remember(r.journal, kindRoofline, "", func() (reports.Roofline, error) {
		r.progress("ceilings of this machine", 0, 0)
		peaks := make([]kernel.Peak, r.threads)
		var wg sync.WaitGroup
		for i := range peaks {
			wg.Go(func() { peaks[i] = kernel.MeasurePeak(rooflineTime, rooflineBytes/r.threads) })
		}
		wg.Wait()
		sum := reports.Roofline{N: len(peaks), Source: "best of several loops on every thread: a lower bound of what the machine can"}
		for _, p := range peaks {
			sum.GFLOPS += p.F32Flops / 1e9
			sum.GBytesS += p.ReadBps / 1e9
		}
		return sum, nil
	})
	if err != nil || f.GFLOPS == 0 {
		return nil, err
	}
	m.Notes = append(m.Notes, fmt.Sprintf("Ceilings of the machine: %d threads at once, each at nothing but float32 multiply-adds, then each reading %d MiB of its own; "+
		"the sum of the best rates of each. A machine that was busy then shows less than it can.", r.threads, rooflineBytes/r.threads>>20))
	return &f, nil
}
