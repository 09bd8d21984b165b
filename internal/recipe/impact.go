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
		var sum reports.Roofline
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

// impactOf sums up the variant that takes the least energy: per correct answer where all variants have that figure, per
// inference otherwise. It is nil without energy and multiply-accumulates of that variant. No index is made of figures
// with different units.
func impactOf(res *reports.Result) *reports.Impact {
	perCorrect := true
	for _, v := range res.Variants {
		perCorrect = perCorrect && v.Energy != nil && v.Energy.PerCorrect != nil
	}
	best, least := -1, 0.0
	for i, v := range res.Variants {
		if v.Energy == nil || v.Energy.PerInference == nil {
			continue
		}
		e := *v.Energy.PerInference
		if perCorrect {
			e = *v.Energy.PerCorrect
		}
		if best < 0 || e < least {
			best, least = i, e
		}
	}
	if best < 0 {
		return nil
	}
	v := &res.Variants[best]
	if v.Weights == nil || v.Weights.MACs == nil || *v.Weights.MACs <= 0 {
		return nil
	}
	perMAC := *v.Energy.PerInference / float64(*v.Weights.MACs)
	out := &reports.Impact{Variant: v.Name, EnergyIntensity: &perMAC}
	if c := v.Carbon; c != nil && c.Intensity != nil {
		g := c.Intensity.GPerKWh
		out.CarbonIntensity = &g
	}
	return out
}
