package measure

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// PowermetricsFix lets the tool run without a password.
const PowermetricsFix = `echo "$USER ALL=(root) NOPASSWD: /usr/bin/powermetrics" | sudo tee /etc/sudoers.d/powermetrics`

// powermetricsEvery is the interval that the tool is asked for.
const powermetricsEvery = 200 * time.Millisecond

// powermetricsMost is more than any Mac draws.
const powermetricsMost = 1000

// Powermetrics reads Apple's powermetrics, which writes one property list per interval: energy of CPU, GPU and neural engine
// in mJ, package energy in J on Intel. On Apple silicon the figures are the system's own model, without display and memory.
type Powermetrics struct {
	mu    sync.Mutex
	now   func() time.Duration
	rows  []*externalRow
	index map[string]*externalRow
	last  time.Duration // end of the last interval
	begun time.Duration
	err   error
	stop  func() error
	wg    sync.WaitGroup
}

// NewPowermetrics reads the documents of stream, which stop closes, in the background.
func NewPowermetrics(stream io.Reader, stop func() error, o SensorOptions) *Powermetrics {
	m := newPowermetrics(stop, o)
	m.wg.Go(func() { m.fail(m.consume(stream)) })
	return m
}

func newPowermetrics(stop func() error, o SensorOptions) *Powermetrics {
	m := &Powermetrics{now: o.clock(), index: map[string]*externalRow{}, stop: stop}
	m.begun = m.now()
	m.last = m.begun
	return m
}

// openPowermetrics starts the tool, through sudo without a password where this process is not root.
func openPowermetrics(o OpenOptions) (Meter, error) {
	if runtime.GOOS != "darwin" {
		return nil, fmt.Errorf("%w: powermetrics is a part of macOS", ErrNoCounter)
	}
	args := []string{"powermetrics", "-f", "plist", "-i", strconv.Itoa(int(powermetricsEvery.Milliseconds())), "--samplers", "cpu_power,gpu_power"}
	if os.Geteuid() != 0 {
		args = append([]string{"sudo", "-n"}, args...)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%w: powermetrics: %w", ErrNoCounter, err)
	}
	m := NewPowermetrics(out, func() error { cancel(); _ = cmd.Wait(); return nil }, SensorOptions{Now: o.Now}) // it is killed
	for range 50 {
		if r, err := m.Read(); err == nil && len(r.Domains) > 0 {
			return headlineReads(m)
		}
		time.Sleep(powermetricsEvery / 4)
	}
	return nil, errors.Join(fmt.Errorf("%w: powermetrics says nothing (it needs root)", ErrPermission), m.Close())
}

// consume takes in documents, which end with a NUL byte, until the stream ends.
func (m *Powermetrics) consume(stream io.Reader) error {
	r := bufio.NewReaderSize(stream, 64<<10)
	var doc []byte
	for {
		part, err := r.ReadSlice(0)
		if doc = append(doc, part...); len(doc) > maxAnswer {
			return fmt.Errorf("measure: powermetrics: a document of more than %d bytes", maxAnswer)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil, errors.Is(err, io.EOF) && len(bytes.TrimSpace(doc)) > 0:
			if ferr := m.feed(bytes.Trim(doc, "\x00 \r\n\t"), m.now()); ferr != nil {
				m.fail(ferr)
			}
			doc = doc[:0]
		}
		if err != nil {
			return err
		}
	}
}

func (m *Powermetrics) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && m.err == nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
}

// powermetricsRails are the energies of a document: key of energy, its unit in J, key of power, its unit in W.
var powermetricsRails = []struct {
	name, energy string
	joule        float64
	power        string
	watt         float64
	scope        Scope
}{
	{"cpu", "processor.cpu_energy", 1e-3, "processor.cpu_power", 1e-3, ScopePackage},
	{"gpu", "processor.gpu_energy", 1e-3, "processor.gpu_power", 1e-3, ScopeGPU},
	{"ane", "processor.ane_energy", 1e-3, "processor.ane_power", 1e-3, ScopeOther},
	{"package", "processor.package_joules", 1, "processor.package_watts", 1, ScopePackage},
}

// feed takes in one document that ended at t. Its energies belong to the elapsed_ns before t; what an energy and its power
// do not agree on (a wrong unit) is a gap, and so is a time that no document covers.
func (m *Powermetrics) feed(doc []byte, t time.Duration) error {
	v, err := parsePlist(doc)
	if err != nil {
		return err
	}
	elapsed := time.Duration(v["elapsed_ns"])
	if elapsed <= 0 || elapsed > time.Hour {
		return fmt.Errorf("measure: powermetrics: elapsed_ns of %v", v["elapsed_ns"])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range powermetricsRails {
		j, had := v[x.energy]
		w, hasPower := v[x.power]
		j, w = j*x.joule, w*x.watt
		if !had {
			if !hasPower {
				continue
			}
			j = w * elapsed.Seconds()
		}
		row := m.row(x.name, x.scope)
		c := &row.count
		if lost := t - elapsed - m.last; lost > max(elapsed/2, 100*time.Millisecond) && len(c.gaps) < maxGaps && m.last > m.begun {
			c.gap(m.last, t-elapsed, GapUnreadable)
		}
		mean := j / elapsed.Seconds()
		switch {
		case !(j >= 0), mean > powermetricsMost, had && hasPower && math.Abs(mean-w) > 0.2*max(mean, w)+0.1:
			c.gap(t-elapsed, t, GapImplausible)
			c.fail(errGarbage)
		default:
			row.sensor.rest += j * MicroPerUnit
			whole := uint64(row.sensor.rest)
			row.sensor.rest -= float64(whole)
			c.add(whole)
		}
		c.have, c.last, c.lastOK, c.t0 = true, t, t, t
	}
	m.last = t
	return nil
}

func (m *Powermetrics) row(name string, scope Scope) *externalRow {
	if r := m.index[name]; r != nil {
		return r
	}
	r := &externalRow{domain: Domain{Scope: scope, Name: name, Zone: "powermetrics/" + name, Headline: true},
		source: Source{Name: "powermetrics", Kind: Measured, UAbs: 0.2, URatio: 0.05, Resolution: 1000, Period: powermetricsEvery,
			Note: "estimate of the system, without display and memory"}}
	m.rows = append(m.rows, r)
	m.index[name] = r
	return r
}

// Read returns what the documents said so far.
func (m *Powermetrics) Read() (Reading, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := Reading{At: m.now(), Domains: make([]DomainReading, len(m.rows))}
	for i, x := range m.rows {
		d := DomainReading{Domain: x.domain, Source: x.source, Energy: Microjoules(x.count.sum)}
		x.count.tell(&d)
		if r.At-m.last > 5*powermetricsEvery {
			d.Gaps, d.Status, d.Stale = append(d.Gaps, Gap{m.last, r.At, GapUnreadable}), StatusPartial, true
		}
		r.Domains[i] = d
	}
	switch {
	case m.err != nil && (len(m.rows) == 0 || r.At-m.last > 5*powermetricsEvery):
		return r, m.err
	case len(m.rows) == 0:
		return r, fmt.Errorf("%w: powermetrics has not said anything yet", ErrNoCounter)
	}
	return r, nil
}

// Close ends the tool.
func (m *Powermetrics) Close() error {
	var err error
	if m.stop != nil {
		err = m.stop()
	}
	m.wg.Wait()
	return err
}

// Period returns the interval of the documents.
func (m *Powermetrics) Period() time.Duration { return powermetricsEvery }

// Describe names what is read.
func (m *Powermetrics) Describe() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s []string
	for _, r := range m.rows {
		s = append(s, r.domain.Name)
	}
	return "powermetrics: " + strings.Join(s, ", ")
}

// maxPlistDepth bounds nesting, maxPlistKeys what is kept.
const (
	maxPlistDepth = 64
	maxPlistKeys  = 4096
)

// parsePlist returns the numbers of an XML property list by their path of keys, "processor.cpu_energy". Lists are passed over.
func parsePlist(doc []byte) (map[string]float64, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	out := map[string]float64{}
	var path []string // keys of the dicts around
	key, depth, lists, plist := "", 0, 0, false
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("measure: plist: %w", err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			if depth++; depth > maxPlistDepth {
				return nil, fmt.Errorf("measure: plist: more than %d levels", maxPlistDepth)
			}
			switch e.Name.Local {
			case "plist":
				plist = true
			case "dict":
				path, key = append(path, key), ""
			case "array":
				lists++
			case "key", "integer", "real":
				var text string
				if err := d.DecodeElement(&text, &e); err != nil {
					return nil, fmt.Errorf("measure: plist: %w", err)
				}
				depth--
				if text = strings.TrimSpace(text); e.Name.Local == "key" {
					key = text
					continue
				}
				v, err := strconv.ParseFloat(text, 64)
				if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
					return nil, fmt.Errorf("measure: plist: key %.40q: %.40q is no number", key, text)
				}
				if lists == 0 && len(out) < maxPlistKeys {
					out[strings.TrimPrefix(strings.Join(append(path, key), "."), ".")] = v
				}
			}
		case xml.EndElement:
			depth--
			switch e.Name.Local {
			case "dict":
				if len(path) > 0 {
					key, path = path[len(path)-1], path[:len(path)-1]
				}
			case "array":
				lists = max(0, lists-1)
			}
		}
	}
	if !plist {
		return nil, errors.New("measure: plist: no plist element")
	}
	return out, nil
}
