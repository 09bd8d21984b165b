package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// PowercapOptions are the facts that sysfs does not tell. The zero value is usable.
type PowercapOptions struct {
	Now  func() time.Duration // clock that counts suspend; default Boottime
	PMax map[string]Watts     // most power by zone key, where known better than from the constraint files
	TDP  Watts                // of one package; used where a zone has no constraint files
	AMD  bool                 // the package domain is less well documented: u_abs 10 % instead of 5 %
	VM   bool                 // inside a guest: u_abs 50 %, counters are whatever the hypervisor shows
	SGX  bool                 // the CPU may filter its readings: said in the notes
}

// Powercap is the RAPL meter of Linux's powercap sysfs (Intel, and AMD since kernel 5.8).
type Powercap struct {
	fsys  fs.FS
	now   func() time.Duration
	zones []powercapZone
}

type powercapZone struct {
	zone
	file   string
	domain Domain
	source Source
	count  counter
}

// powercapPeriod is the update period of RAPL counters, about 1 ms.
const powercapPeriod = time.Millisecond

// PowercapFix is the command that makes the counters readable until the next boot and after it.
const PowercapFix = `echo 'SUBSYSTEM=="powercap", RUN+="/bin/chmod -R a+r /sys/devices/virtual/powercap"' | sudo tee /etc/udev/rules.d/70-powercap.rules && sudo udevadm trigger -c add -s powercap`

// NewPowercap finds the energy zones below fsys, the root of sysfs (os.DirFS("/sys")). Zones are keyed by
// canonical device path; "package" and its "dram" make the headline scope cpu+dram; core and uncore are breakdown
// and psys is a scope of its own. It returns ErrNoCounter when there is no zone. Zones that cannot be read are
// kept: Read reports them.
func NewPowercap(fsys fs.FS, o PowercapOptions) (*Powercap, error) {
	zones, err := discoverZones(fsys)
	if len(zones) == 0 {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s: %w", ErrNoCounter, powercapClass, err)
		}
		return nil, fmt.Errorf("%w: %s holds no RAPL zone", ErrNoCounter, powercapClass)
	}
	p := &Powercap{fsys: fsys, now: o.Now}
	if p.now == nil {
		p.now = Boottime
	}
	for _, z := range zones {
		if w, ok := o.PMax[z.key]; ok && w > 0 {
			z.pmax = w
		}
		if z.pmax <= 0 {
			z.pmax = defaultPower(z.scope, o.TDP)
		}
		src := Source{Name: "powercap", Kind: Measured, UAbs: raplUncertainty(z.scope, o), URatio: 0.002,
			Resolution: 61, Period: powercapPeriod, Note: z.note}
		if z.rng == 0 {
			src.Note = joinNote(src.Note, "max_energy_range_uj is missing: a wrap is a gap")
		}
		src.Note = joinNote(src.Note, raplNote(o))
		p.zones = append(p.zones, powercapZone{zone: z, file: path.Join(z.dir, "energy_uj"),
			domain: Domain{Scope: z.scope, Name: z.name, Zone: z.key, Headline: z.counted}, source: src,
			count: counter{spec: counterSpec{rng: z.rng, perJoule: MicroPerUnit, pmax: z.pmax, period: powercapPeriod,
				moves: z.scope == ScopePackage || z.scope == ScopeDRAM || z.scope == ScopePlatform}}})
	}
	return p, nil
}

// joinNote puts two notes into one; either may be empty.
func joinNote(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// defaultPower is P_max where no constraint file tells it: 2 × TDP for a package, else generous figures.
func defaultPower(s Scope, tdp Watts) Watts {
	switch {
	case s == ScopeDRAM:
		return 150
	case s == ScopePlatform:
		return 1500
	case tdp > 0:
		return 2 * tdp
	}
	return 700
}

// raplNote says what may be wrong with every RAPL domain of this machine.
func raplNote(o PowercapOptions) string {
	note := ""
	if o.VM {
		note = "counter as a guest sees it, unverified"
	}
	if o.SGX {
		note = joinNote(note, "the CPU has SGX, which may filter readings")
	}
	return note
}

// raplUncertainty is u_abs of a RAPL domain.
func raplUncertainty(s Scope, o PowercapOptions) float64 {
	switch {
	case o.VM:
		return 0.5
	case s == ScopeDRAM:
		return 0.2
	case o.AMD:
		return 0.1
	}
	return 0.05
}

// Read reads every zone once. The error wraps ErrPermission when no zone at all could be read this time; the
// Reading is valid even then.
func (p *Powercap) Read() (Reading, error) {
	r := Reading{At: p.now(), Domains: make([]DomainReading, len(p.zones))}
	ok := 0
	var firstErr error
	for i := range p.zones {
		z := &p.zones[i]
		v, err := readCount(p.fsys, z.file)
		if err == nil {
			ok++
		} else if firstErr == nil {
			firstErr = fmt.Errorf("powercap: zone %s (%s): %w", z.key, z.name, err)
		}
		z.count.read(r.At, v, err)
		r.Domains[i] = DomainReading{Domain: z.domain, Source: z.source, Energy: Microjoules(z.count.sum)}
		z.count.tell(&r.Domains[i])
	}
	switch {
	case ok > 0:
		return r, nil
	case errors.Is(firstErr, fs.ErrPermission):
		return r, fmt.Errorf("%w: %w", ErrPermission, firstErr)
	}
	return r, firstErr
}

// Period returns the update period of the counters.
func (p *Powercap) Period() time.Duration { return powercapPeriod }

// GuardPeriod returns the longest safe time between two reads, so that no counter wraps twice.
func (p *Powercap) GuardPeriod() time.Duration {
	g := 60 * time.Second
	for i := range p.zones {
		g = min(g, p.zones[i].count.guard())
	}
	return g
}

// Describe names the zones that the headline counts.
func (p *Powercap) Describe() string {
	n, pk, dr := 0, 0, 0
	for _, z := range p.zones {
		n++
		if z.counted && z.scope == ScopePackage {
			pk++
		} else if z.counted {
			dr++
		}
	}
	return fmt.Sprintf("RAPL by powercap: %d zones, headline cpu+dram = %d package + %d dram", n, pk, dr)
}
