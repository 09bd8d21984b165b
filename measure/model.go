package measure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// PowerModel is the power of this host, or of its share of one, over the load of its CPUs. It is an
// assumption with an interval, never a measurement.
type PowerModel struct {
	Threads    int       // logical CPUs that Load counts
	Limit      float64   // CPUs that the control group allows, less than Threads; 0: all
	Watts      [11]Watts // at loads 0, 0.1 ... 1
	UAbs       float64   // relative half-width of a 95 % interval
	Assumption string    // in words, with the source of the figures
	DRAM       Watts     // memory beside the curve; 0 where the curve contains it
	DRAMUAbs   float64
}

// At interpolates linearly in the load u, held within 0..1.
func (m PowerModel) At(u float64) Watts {
	u = min(max(u, 0), 1) * 10
	i := min(int(u), 9)
	return m.Watts[i] + Watts(u-float64(i))*(m.Watts[i+1]-m.Watts[i])
}

// ModelOf chooses the model for a host:
//
//	server CPU of known TDP, not a guest   P(u) = TDP · chips · r · c(u), SPECpower quantiles, whole server at the wall
//	other CPU of known TDP                 idle 0.15 TDP, full load 1.25 TDP (0.05-0.3 and 0.8-2), u_abs 60 %
//	guest of a known provider and CPU      W per vCPU of the provider's generation (Cloud Carbon Footprint), u_abs 60 %
//	guest                                  per vCPU 0.68 + u·(4.11-0.68) W, u_abs 60 %: the host's size is not visible
//	anything else                          10 W (5-15) per physical core at full load, the servers' curve, u_abs 60 %,
//	                                       and 0.3 W (0.1-0.5) per GB of memory
//
// Where a control group limits the CPUs, all of it is scaled to that share, and memory is that of the group.
func ModelOf(h HostFacts) (PowerModel, error) {
	m := PowerModel{Threads: max(1, h.Threads), UAbs: 0.6}
	curve, err := loadCurve()
	if err != nil {
		return m, err
	}
	tdp, known := TDP(h.CPU)
	switch {
	case h.Virtualized:
		provider, generation := cloudOf(h)
		lo, hi, knownHost := vcpuPrior(provider, generation)
		m.linear(lo*Watts(m.Threads), hi*Watts(m.Threads))
		what := "guest of an unknown host"
		if knownHost {
			what = fmt.Sprintf("guest of %s on %s", provider, generation)
		}
		m.Assumption = fmt.Sprintf("%s: %d vCPU, each %.2f W idle to %.2f W at full load (Cloud Carbon Footprint, Apache-2.0), memory included", what, m.Threads, float64(lo), float64(hi))
	case known && serverCPU(cpuKey(h.CPU)):
		ratio, err := fullLoadRatio()
		if err != nil {
			return m, err
		}
		full := tdp * Watts(max(1, h.Sockets)) * Watts(ratio.at(0.5))
		for i := range m.Watts {
			m.Watts[i] = full * Watts(curve[i].at(0.5))
		}
		m.UAbs = modelSpread(curve[5], ratio)
		m.Assumption = fmt.Sprintf("%d x %s of %g W TDP, median curve of 212 SPECpower results from 2017 on, whole server at the wall", max(1, h.Sockets), h.CPU, float64(tdp))
	case known:
		m.linear(0.15*tdp, 1.25*tdp)
		m.Assumption = fmt.Sprintf("%s of %g W TDP (CodeCarbon list, MIT): idle 0.15 TDP (0.05-0.3), full load 1.25 TDP (0.8-2)", h.CPU, float64(tdp))
		m.memory(h)
	default:
		full := 10 * Watts(max(1, h.Cores))
		for i := range m.Watts {
			m.Watts[i] = full * Watts(curve[i].at(0.5))
		}
		m.Assumption = fmt.Sprintf("unknown CPU %q: 10 W (5-15) per core at full load, %d cores, median server load curve", h.CPU, max(1, h.Cores))
		m.memory(h)
	}
	share, note := h.share()
	if share < 1 {
		m.Limit = h.CPULimit
		for i := range m.Watts {
			m.Watts[i] *= Watts(share)
		}
		m.Assumption += note
	}
	return m, nil
}

// cpus is what a load of 1 means.
func (m PowerModel) cpus() float64 {
	if m.Limit > 0 {
		return m.Limit
	}
	return float64(m.Threads)
}

func (m *PowerModel) linear(lo, hi Watts) {
	for i := range m.Watts {
		m.Watts[i] = lo + Watts(i)*(hi-lo)/10
	}
}

// memory adds the DRAM prior of 0.1-0.5 W per GB.
func (m *PowerModel) memory(h HostFacts) {
	m.DRAM, m.DRAMUAbs = Watts(0.3*float64(h.MemoryBytes)/(1<<30)), 0.67
}

// modelSpread is half the width of the central 95 % of r·c over its median: independent draws of both
// quantile functions, 10,000 of them with a fixed seed.
func modelSpread(c, r quantiles) float64 {
	rng := rand.New(rand.NewPCG(1, 1))
	x := make([]float64, bootstrapDraws)
	for i := range x {
		x[i] = c.at(rng.Float64()) * r.at(rng.Float64())
	}
	slices.Sort(x)
	return (quantileSorted(x, 0.975) - quantileSorted(x, 0.025)) / 2 / quantileSorted(x, 0.5)
}

// ModelOptions are the injected parts of the modelled meter. The zero value is usable.
type ModelOptions struct {
	Now     func() time.Duration          // default Boottime
	CPUTime func() (time.Duration, error) // CPU time of the work; default ProcessCPU
}

// Model is the meter of last resort: energy from CPU time and a PowerModel. All it says is Modelled. The ratio of
// two of its energies is a ratio of times and utilisations and proves no saving; Compare reports CPU time
// instead.
type Model struct {
	model   PowerModel
	o       ModelOptions
	started bool
	at      time.Duration
	cpu     time.Duration
	joules  float64
	dram    float64
	full    PowerModel // with the machine's idle power
	left    bool       // to another process of this machine
}

// NewModel makes the meter.
func NewModel(m PowerModel, o ModelOptions) *Model {
	if o.Now == nil {
		o.Now = Boottime
	}
	if o.CPUTime == nil {
		o.CPUTime = ProcessCPU
	}
	return &Model{model: m, full: m, o: o}
}

// leaveIdle takes the idle power out of the model: another process of this machine counts it.
func (m *Model) leaveIdle() {
	idle := m.model.Watts[0]
	for i := range m.model.Watts {
		m.model.Watts[i] -= min(idle, m.model.Watts[i])
	}
	m.model.DRAM, m.left = 0, true
}

// takeIdle puts it back.
func (m *Model) takeIdle() { m.model, m.left = m.full, false }

// Read adds P(u)·Δt since the last Read, with u = ΔCPU / (Δt · CPUs).
func (m *Model) Read() (Reading, error) {
	now := m.o.Now()
	cpu, err := m.o.CPUTime()
	if err != nil {
		return Reading{At: now}, fmt.Errorf("model: %w", err)
	}
	if dt := (now - m.at).Seconds(); m.started && dt > 0 {
		u := (cpu - m.cpu).Seconds() / (dt * m.model.cpus())
		m.joules += float64(m.model.At(u)) * dt
		m.dram += float64(m.model.DRAM) * dt
	}
	m.started, m.at, m.cpu = true, now, cpu
	src := Source{Name: "model", Kind: Modelled, UAbs: m.model.UAbs, URatio: 1, Note: m.model.Assumption}
	if m.left {
		src.Note = joinNote(src.Note, "without the machine's idle power and its memory")
	}
	r := Reading{At: now, Domains: []DomainReading{{
		Domain: Domain{Scope: ScopePackage, Name: "cpu", Zone: "model/cpu", Headline: true},
		Source: src, Energy: floorMicro(m.joules), Status: StatusOK}}}
	if m.full.DRAM > 0 {
		src.UAbs, src.Note = m.model.DRAMUAbs, "0.3 W (0.1-0.5) per GB of memory"
		r.Domains = append(r.Domains, DomainReading{
			Domain: Domain{Scope: ScopeDRAM, Name: "dram", Zone: "model/dram", Headline: true},
			Source: src, Energy: floorMicro(m.dram), Status: StatusOK})
	}
	return r, nil
}

func floorMicro(j float64) Microjoules { return Microjoules(math.Floor(j * MicroPerUnit)) }

// Describe says what is assumed.
func (m *Model) Describe() string { return "modelled, no counter: " + m.model.Assumption }
