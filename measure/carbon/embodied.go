package carbon

import (
	"fmt"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Lifetime is the expected life of hardware where none is given: 4 years of 8,760 hours.
const Lifetime = 35040 * time.Hour

// Hardware is what was emitted to make a machine, and the part of it that a run has reserved.
type Hardware struct {
	Total    measure.GramsCO2e // of the whole machine
	Life     time.Duration     // expected; default Lifetime
	Reserved float64           // resources reserved ...
	Of       float64           // ... of this many: vCPUs of the threads of the host
	U        float64           // relative half-width of the 95 % interval of Total; default 0.5
	// LifeLo and LifeHi are the range of Life; at 0 they are 3 and 6 years where Life is the default, else Life itself.
	LifeLo, LifeHi time.Duration
	Source         string
}

// life returns Life and its range.
func (h Hardware) life() (life, lo, hi time.Duration) {
	const year = 8760 * time.Hour
	life, lo, hi = h.Life, h.LifeLo, h.LifeHi
	if life <= 0 {
		life = Lifetime
		if lo <= 0 && hi <= 0 {
			lo, hi = 3*year, 6*year
		}
	}
	if lo <= 0 || lo > life {
		lo = life
	}
	return life, lo, max(hi, life)
}

// Share returns M = TE · (t/EL) · (RR/ToR), the embodied emission of a run that takes time t.
func (h Hardware) Share(t time.Duration) measure.GramsCO2e {
	life, _, _ := h.life()
	part := 1.0
	if h.Of > 0 {
		part = h.Reserved / h.Of
	}
	return h.Total * measure.GramsCO2e(t.Seconds()/life.Seconds()*part)
}

// check refuses what has no meaning.
func (h Hardware) check() error {
	if h.Total < 0 || h.Life < 0 || h.Reserved < 0 || h.Of < 0 || h.U < 0 || h.Reserved > h.Of && h.Of > 0 {
		return fmt.Errorf("carbon: hardware of %g g, life %v, %g of %g reserved", float64(h.Total), h.Life, h.Reserved, h.Of)
	}
	return nil
}

// Server returns the embodied emission of a generic server in kg: 1,000 for one CPU and 16 GB, 100 per further CPU,
// 533/384 per further GB, 50 per hard disk, 100 per SSD, 150 per GPU (the coefficients of Cloud Carbon Footprint).
func Server(cpus, gigabytes, disks, ssds, gpus int) float64 {
	return 1000 + 100*float64(max(0, cpus-1)) + 533.0/384*float64(max(0, gigabytes-16)) +
		50*float64(disks) + 100*float64(ssds) + 150*float64(gpus)
}

// HardwareOf returns an estimate for a host. A guest is taken for its vCPUs' share of a 96-thread server with two
// CPUs and 384 GB; anything else for a server with its own sockets and memory, which overstates a laptop.
func HardwareOf(h measure.HostFacts) Hardware {
	const u = 0.5
	if h.Virtualized {
		return Hardware{Total: measure.GramsCO2e(1000 * Server(2, 384, 0, 0, 0)), Reserved: min(float64(max(1, h.Threads)), 96), Of: 96, U: u,
			Source: ccfSource + ": share of a two-socket server with 96 threads and 384 GB, since the host is not visible"}
	}
	gb := int(h.MemoryBytes >> 30)
	return Hardware{Total: measure.GramsCO2e(1000 * Server(max(1, h.Sockets), gb, 0, 0, 0)), Reserved: 1, Of: 1, U: u,
		Source: fmt.Sprintf("%s: generic server, %d CPU, %d GB", ccfSource, max(1, h.Sockets), gb)}
}
