package measure

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// NVML is the part of NVIDIA's management library that the meter reads; LoadNVML gives the real one. Errors are
// per call: a board that falls off the bus fails alone.
type NVML interface {
	Count() (int, error)
	Name(i int) (string, error)
	UUID(i int) (string, error)
	TotalEnergy(i int) (millijoules uint64, err error) // since driver load, Volta and newer
	Power(i int) (milliwatts uint32, err error)
	EnforcedLimit(i int) (milliwatts uint32, err error)
	MIG(i int) (bool, error)                       // whether the board is split
	Utilization(i int) (percent uint32, err error) // share of time in which some kernel ran
	Close() error
}

// NVIDIAOptions are the injected parts of the NVIDIA meter. The zero value is usable.
type NVIDIAOptions struct {
	Now     func() time.Duration // clock that counts suspend; default Boottime
	Devices []int                // indices to count
	UUIDs   []string             // or boards by UUID, in full or its beginning; nothing of both: all
	// Infer is how long the counters are watched to find their update periods, which the library does not tell; 0: they are
	// taken to be 100 ms. Wait sleeps between the reads, default time.Sleep.
	Infer time.Duration
	Wait  func(time.Duration)
}

// NVIDIA reads the energy of boards. Work must be finished (the device synchronised) before a window is closed, or its
// energy falls outside. Where the total-energy counter is missing the power sensor is integrated, which needs a Guard; where that
// is missing too the energy is modelled from utilisation, and says so.
type NVIDIA struct {
	lib    NVML
	now    func() time.Duration
	boards []nvidiaBoard
}

type nvidiaBoard struct {
	index   int
	domain  Domain
	source  Source
	count   counter
	sensor  powerSensor
	byPower bool
	model   *GPUPower // by utilisation: no sensor at all
	limit   Watts
}

const (
	nvmlName    = "nvml"
	nvmlPeriod  = 100 * time.Millisecond // of the energy counter, 20 to 100 ms
	sensorHold  = 2 * time.Second
	sensorGuard = 100 * time.Millisecond // power sensors are read at 10 Hz at most
)

// NewNVIDIA opens the boards. ErrNoCounter when there is none. A board split by MIG is counted as a whole and says so: its
// slices have no energy of their own.
func NewNVIDIA(lib NVML, o NVIDIAOptions) (*NVIDIA, error) {
	n, err := lib.Count()
	if err != nil {
		return nil, fmt.Errorf("%w: nvml: %w", ErrNoCounter, err)
	}
	m := &NVIDIA{lib: lib, now: o.Now}
	if m.now == nil {
		m.now = Boottime
	}
	for _, d := range o.Devices {
		if d < 0 || d >= n {
			return nil, fmt.Errorf("measure: nvml: no device %d, there are %d", d, n)
		}
	}
	byUUID, err := findBoards(lib, n, o.UUIDs)
	if err != nil {
		return nil, err
	}
	for i := range min(n, maxZones) {
		if len(o.Devices)+len(o.UUIDs) > 0 && !slices.Contains(o.Devices, i) && !slices.Contains(byUUID, i) {
			continue
		}
		m.boards = append(m.boards, newNVIDIABoard(lib, i))
	}
	if len(m.boards) == 0 {
		return nil, fmt.Errorf("%w: nvml: no device", ErrNoCounter)
	}
	if o.Infer > 0 {
		if o.Wait == nil {
			o.Wait = time.Sleep
		}
		m.inferPeriods(o.Infer, o.Wait)
	}
	return m, nil
}

// findBoards returns the indices of the boards that the UUIDs name. A slice, "MIG-GPU-<uuid>/1/0", stands for its board, whose energy
// is all that there is; the newer "MIG-<uuid>" names no board.
func findBoards(lib NVML, n int, uuids []string) ([]int, error) {
	var out []int
	for _, want := range uuids {
		id, _ := strings.CutPrefix(want, "MIG-")
		id, _, _ = strings.Cut(id, "/")
		found := -1
		for i := range min(n, maxZones) {
			if u, err := lib.UUID(i); err == nil && len(id) > len("GPU-") && strings.HasPrefix(u, id) {
				if found >= 0 {
					return nil, fmt.Errorf("measure: nvml: %q names devices %d and %d", want, found, i)
				}
				found = i
			}
		}
		if found < 0 {
			return nil, fmt.Errorf("measure: nvml: no device %q; a MIG slice has no energy of its own, name its board", want)
		}
		out = append(out, found)
	}
	return out, nil
}

func newNVIDIABoard(lib NVML, i int) nvidiaBoard {
	name, err := lib.Name(i)
	if err != nil || name == "" {
		name = fmt.Sprintf("gpu%d", i)
	}
	zone, err := lib.UUID(i)
	if err != nil || zone == "" {
		zone = fmt.Sprintf("index-%d", i)
	}
	b := nvidiaBoard{index: i, domain: Domain{Scope: ScopeGPU, Name: name, Zone: "nvml/" + zone, Headline: true},
		source: Source{Name: nvmlName, Kind: Measured, UAbs: 0.05, URatio: 0.02, Resolution: 1000, Period: nvmlPeriod}}
	limit := Watts(1500)
	if mw, err := lib.EnforcedLimit(i); err == nil && mw > 0 && mw < 4_000_000 {
		limit = Watts(mw) / 1000
	}
	if split, err := lib.MIG(i); err == nil && split {
		b.source.Note = "board is split by MIG: energy of the whole board, shared by all slices"
	}
	b.limit = limit
	if _, err := lib.TotalEnergy(i); err != nil {
		b.byPower = true
		b.source.UAbs, b.source.URatio = 0.1, 0.05
		b.source.Note = joinNote(b.source.Note, "no energy counter ("+err.Error()+"): power sensor integrated")
		if _, err := lib.Power(i); err != nil {
			b.modelled(err)
		}
	}
	b.count.spec = counterSpec{perJoule: 1000, pmax: 2 * limit, period: nvmlPeriod, moves: true, wide: true}
	b.sensor = powerSensor{hold: sensorHold, limit: 2 * limit}
	return b
}

// modelled turns to P_idle + (P_limit − P_idle)·utilisation: some kernel ran, nobody says how hard.
func (b *nvidiaBoard) modelled(why error) {
	row, ok := LookupGPU(b.domain.Name)
	if !ok {
		return // the power sensor goes on failing, and the domain is unreadable
	}
	if row.Idle <= 0 {
		row.Idle = 0.1 * row.TDP
	}
	b.model = &row
	b.source.Name, b.source.Kind, b.source.UAbs, b.source.URatio = "model", Modelled, gpuModelUncertainty, 1
	b.source.Note = fmt.Sprintf("no energy counter and no power sensor (%v): %g W idle to %g W at full utilisation (%s)", why,
		float64(row.Idle), float64(b.limit), row.Name)
}

// gpuModelUncertainty is u_abs of a power that is taken from utilisation.
const gpuModelUncertainty = 0.4

// power is the present power of a board without energy counter.
func (m *NVIDIA) power(b *nvidiaBoard) (float64, error) {
	if b.model == nil {
		mw, err := m.lib.Power(b.index)
		return float64(mw) / 1000, err
	}
	u, err := m.lib.Utilization(b.index)
	if err != nil || u > 100 {
		return 0, errors.Join(err, errGarbage)
	}
	return float64(b.model.Idle + max(0, b.limit-b.model.Idle)*Watts(u)/100), nil
}

// byPower is the same boards by their power sensors alone, nil where a board has none.
func (m *NVIDIA) byPower() *NVIDIA {
	p := &NVIDIA{lib: m.lib, now: m.now}
	for _, b := range m.boards {
		if _, err := m.lib.Power(b.index); err != nil || b.byPower {
			return nil
		}
		c := nvidiaBoard{index: b.index, domain: b.domain, source: b.source, limit: b.limit, byPower: true}
		c.sensor = powerSensor{hold: sensorHold, limit: 2 * b.limit}
		p.boards = append(p.boards, c)
	}
	return p
}

// Read reads every board once.
func (m *NVIDIA) Read() (Reading, error) {
	r := Reading{At: m.now(), Domains: make([]DomainReading, len(m.boards))}
	var errs []error
	for i := range m.boards {
		b := &m.boards[i]
		d := DomainReading{Domain: b.domain, Source: b.source}
		var err error
		if b.byPower {
			var w float64
			w, err = m.power(b)
			b.sensor.read(r.At, w, err)
			d.Energy = Microjoules(b.sensor.sum)
			b.sensor.tell(&d)
		} else {
			var mj uint64
			mj, err = m.lib.TotalEnergy(b.index)
			b.count.read(r.At, mj, err)
			d.Energy = Microjoules(min(b.count.sum, maxMicro/1000) * 1000)
			b.count.tell(&d)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("nvml: %s: %w", b.domain.Name, err))
		}
		r.Domains[i] = d
	}
	if len(errs) == len(m.boards) {
		return r, errors.Join(errs...)
	}
	return r, nil
}

// Period returns the longest update period of the boards, and 100 ms at least: a window is 50 periods, and one of NVML lasts 5 s
// however fast its counter seems to be, since it looks at a part of the time only (arXiv 2312.02741). Each Source has its own period.
func (m *NVIDIA) Period() time.Duration {
	most := nvmlPeriod
	for _, b := range m.boards {
		most = max(most, b.source.Period)
	}
	return most
}

// GuardPeriod is 100 ms where a power sensor has to be integrated; a 64-bit counter needs no guard.
func (m *NVIDIA) GuardPeriod() time.Duration {
	for _, b := range m.boards {
		if b.byPower {
			return sensorGuard
		}
	}
	return 0
}

// Describe names the boards.
func (m *NVIDIA) Describe() string {
	var s []string
	for _, b := range m.boards {
		how := "energy counter"
		switch {
		case b.model != nil:
			how = "modelled from utilisation"
		case b.byPower:
			how = "power sensor"
		}
		s = append(s, b.domain.Name+" ("+how+")")
	}
	return "NVML: " + strings.Join(s, ", ")
}

// Close ends the use of the library.
func (m *NVIDIA) Close() error { return m.lib.Close() }
