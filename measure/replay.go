package measure

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// replaySchema marks the first line of a session file.
const replaySchema = "wattshed.readings/1"

// ErrReplayEnd is returned by Replay.Read when the recorded session is over.
var ErrReplayEnd = errors.New("measure: the recorded session is over")

type replayHeader struct {
	Schema string `json:"schema"`
	About  string `json:"about,omitempty"`
}

// Recorder passes a Meter's readings on and writes each of them to a session file at once, one JSON line per
// reading: a process that is killed loses none already taken.
type Recorder struct {
	m   Meter
	w   io.Writer
	err error
}

// NewRecorder writes the header line and returns the recording Meter. about is free text: the host, the run.
func NewRecorder(m Meter, w io.Writer, about string) (*Recorder, error) {
	b, err := json.Marshal(replayHeader{replaySchema, about})
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("measure: record: %w", err)
	}
	return &Recorder{m: m, w: w}, nil
}

// Read reads the meter. A reading that comes with an error, since nothing could be read this time, is written too: its domains say so. A
// reading that cannot be written is returned all the same; Err tells.
func (r *Recorder) Read() (Reading, error) {
	reading, err := r.m.Read()
	if (err == nil || len(reading.Domains) > 0) && r.err == nil {
		b, werr := json.Marshal(reading)
		if werr == nil {
			_, werr = r.w.Write(append(b, '\n'))
		}
		r.err = werr
	}
	return reading, err
}

// Err returns the first error of writing.
func (r *Recorder) Err() error { return r.err }

// Period passes on the period of the recorded meter; 0 when it has none.
func (r *Recorder) Period() time.Duration {
	if p, ok := r.m.(Perioder); ok {
		return p.Period()
	}
	return 0
}

// GuardPeriod passes on how often the recorded meter must be read; 0 when it need not be.
func (r *Recorder) GuardPeriod() time.Duration {
	if g, ok := r.m.(Guarded); ok {
		return g.GuardPeriod()
	}
	return 0
}

// Describe passes on what the recorded meter says of itself.
func (r *Recorder) Describe() string {
	if d, ok := r.m.(Describer); ok {
		return d.Describe()
	}
	return ""
}

// Close closes the recorded meter where it can be closed, and returns the first error of writing.
func (r *Recorder) Close() error {
	if c, ok := r.m.(io.Closer); ok {
		return errors.Join(r.err, c.Close())
	}
	return r.err
}

// Replay is a Meter that plays a recorded session.
type Replay struct {
	About    string
	readings []Reading
	next     int
	now      func() time.Duration
	start    time.Duration
	started  bool
}

// Bounds of a session file.
const (
	maxReplayLine = 1 << 20
	maxReplay     = 1_000_000
)

// NewReplay reads a whole session. Readings are handed out one per Read, in order. A last line that is cut off
// (the recording process was killed) is dropped; any other fault is an error that names the line: bad JSON,
// time that runs backwards, energy that falls, a zone given twice, uncertainties that are not finite.
func NewReplay(r io.Reader) (*Replay, error) {
	sc := bufio.NewReaderSize(r, 64<<10)
	p := &Replay{}
	energy := map[string]Microjoules{}
	for n := 1; ; n++ {
		line, whole, err := replayLine(sc)
		if err != nil {
			return nil, fmt.Errorf("measure: session line %d: %w", n, err)
		}
		switch {
		case len(line) == 0 && !whole:
			if n == 1 {
				return nil, errors.New("measure: the session file is empty")
			}
			return p, nil
		case n == 1:
			var h replayHeader
			if err := json.Unmarshal(line, &h); err != nil || h.Schema != replaySchema {
				return nil, fmt.Errorf("measure: session line 1: schema %q, want %q", h.Schema, replaySchema)
			}
			p.About = h.About
			continue
		case len(bytes.TrimSpace(line)) == 0:
			continue
		}
		var reading Reading
		if err := json.Unmarshal(line, &reading); err != nil {
			if !whole {
				return p, nil // cut off in the middle of a line
			}
			return nil, fmt.Errorf("measure: session line %d: %w", n, err)
		}
		if err := p.add(reading, energy); err != nil {
			return nil, fmt.Errorf("measure: session line %d: %w", n, err)
		}
	}
}

// replayLine returns the next line without its end; whole is false when the input ended before a line feed.
func replayLine(r *bufio.Reader) (line []byte, whole bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxReplayLine:
			return nil, false, fmt.Errorf("longer than %d bytes", maxReplayLine)
		case err == nil:
			return line[:len(line)-1], true, nil
		case errors.Is(err, io.EOF):
			return line, false, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
	}
}

// add checks a reading against those before it and keeps it.
func (p *Replay) add(r Reading, energy map[string]Microjoules) error {
	if len(p.readings) == maxReplay {
		return fmt.Errorf("more than %d readings", maxReplay)
	}
	if n := len(p.readings); n > 0 && r.At < p.readings[n-1].At {
		return fmt.Errorf("time runs back from %v to %v", p.readings[n-1].At, r.At)
	}
	seen := map[string]bool{}
	for _, d := range r.Domains {
		z := d.Domain.Zone
		if seen[z] {
			return fmt.Errorf("zone %q appears twice", z)
		}
		seen[z] = true
		if d.Energy < energy[z] {
			return fmt.Errorf("zone %q: energy falls from %d to %d µJ", z, energy[z], d.Energy)
		}
		energy[z] = d.Energy
		if !(d.Source.UAbs >= 0) || !(d.Source.URatio >= 0) || math.IsInf(d.Source.UAbs+d.Source.URatio, 0) {
			return fmt.Errorf("zone %q: uncertainties %g and %g", z, d.Source.UAbs, d.Source.URatio)
		}
		if d.Source.Kind != Measured && d.Source.Kind != Modelled {
			return fmt.Errorf("zone %q: kind %q", z, d.Source.Kind)
		}
	}
	p.readings = append(p.readings, r)
	return nil
}

// InTime makes Read answer by the clock instead: the last reading whose time, counted from the first one, is not
// later than the time since the first Read; what a counter says between two changes.
func (p *Replay) InTime(now func() time.Duration) *Replay {
	p.now = now
	return p
}

// Period returns the longest update period of the recorded sources.
func (p *Replay) Period() time.Duration {
	var most time.Duration
	for _, r := range p.readings {
		for _, d := range r.Domains {
			most = max(most, d.Source.Period)
			if d.Source.Name == nvmlName {
				most = max(most, nvmlPeriod) // as NVIDIA.Period
			}
		}
	}
	return most
}

// Describe says that nothing is measured now.
func (p *Replay) Describe() string {
	return fmt.Sprintf("replay of %d recorded readings: %s", len(p.readings), p.About)
}

// Len returns the number of readings.
func (p *Replay) Len() int { return len(p.readings) }

// Read returns the next reading, or ErrReplayEnd. With InTime the last reading is repeated up to one second after its
// time, then ErrReplayEnd follows.
func (p *Replay) Read() (Reading, error) {
	if len(p.readings) == 0 {
		return Reading{}, ErrReplayEnd
	}
	if p.now == nil {
		if p.next == len(p.readings) {
			return Reading{}, ErrReplayEnd
		}
		p.next++
		return p.readings[p.next-1], nil
	}
	now := p.now()
	if !p.started {
		p.started, p.start = true, now
	}
	at := p.readings[0].At + now - p.start
	for p.next+1 < len(p.readings) && p.readings[p.next+1].At <= at {
		p.next++
	}
	r := p.readings[p.next]
	if p.next+1 == len(p.readings) && at > r.At+time.Second {
		return Reading{}, ErrReplayEnd
	}
	r.At = at
	return r, nil
}
