package measure

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ledgerName is the file beside the machine's lock; one older file is kept as ledgerName.1.
const (
	ledgerName = "wattshed-ledger.jsonl"
	maxLedger  = 8 << 20
)

// Entry kinds of a ledger beside Measured and Modelled.
const kindGap Kind = "gap"

// Entry is one line of the ledger: what one domain took, or that nobody knows, between two readings.
type Entry struct {
	From    time.Time     `json:"from"`
	Length  time.Duration `json:"length_ns"`
	Process int           `json:"process"`
	Scope   Scope         `json:"scope"`
	Zone    string        `json:"zone"`
	Source  string        `json:"source"`
	Kind    Kind          `json:"kind"`    // measured, modelled or gap
	Counted bool          `json:"counted"` // part of the machine's total
	Energy  Microjoules   `json:"energy_uj"`
	UAbs    float64       `json:"u_abs"`
	URatio  float64       `json:"u_ratio"`
	Period  time.Duration `json:"period_ns,omitempty"`
	Reason  string        `json:"reason,omitempty"` // of a gap
	Errors  []string      `json:"errors,omitempty"`
}

// Ledger is the machine's append-only account of joules: one line per interval and domain, written before the reading is
// used, so that a killed process loses none. Only the process that holds the machine's lock writes.
type Ledger struct {
	f    *os.File
	name string
	size int64
	prev *Reading
}

// OpenLedger opens the ledger in dir (HostDir() for "") for appending; where it is another user's, one of this user beside it. A
// line that a killed process left unfinished is closed off.
func OpenLedger(dir string) (*Ledger, error) {
	name := LedgerPath(dir)
	f, err := openAppend(name)
	if errors.Is(err, fs.ErrPermission) {
		name = strings.TrimSuffix(name, ".jsonl") + "-" + strconv.Itoa(os.Getuid()) + ".jsonl"
		f, err = openAppend(name)
	}
	if err != nil {
		return nil, fmt.Errorf("measure: ledger: %w", err)
	}
	l := &Ledger{f: f, name: name}
	if l.size, err = f.Seek(0, io.SeekEnd); err == nil && l.size > 0 {
		var b [1]byte
		if _, err = f.ReadAt(b[:], l.size-1); err == nil && b[0] != '\n' {
			err = l.write([]byte{'\n'})
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("measure: ledger: %w", err), f.Close())
	}
	return l, nil
}

// openAppend opens a file for appending, or makes it.
func openAppend(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND|noFollow, 0o666)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(name, os.O_RDWR|os.O_APPEND|os.O_CREATE|noFollow, 0o666)
	}
	return f, err
}

// LedgerPath is the ledger's file in dir (HostDir() for "").
func LedgerPath(dir string) string {
	if dir == "" {
		dir = HostDir()
	}
	return filepath.Join(dir, ledgerName)
}

// Add enters what every domain took since the last Add. The first one sets the zero.
func (l *Ledger) Add(r Reading) error {
	prev := l.prev
	l.prev = &r
	if prev == nil {
		return nil
	}
	w, err := Between(*prev, r)
	if err != nil || w.Duration == 0 {
		return err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	from := time.Now().Add(-w.Duration).UTC()
	for _, d := range w.Domains {
		e := Entry{From: from, Length: w.Duration, Process: os.Getpid(), Scope: d.Domain.Scope, Zone: d.Domain.Zone, Source: d.Source.Name,
			Kind: d.Source.Kind, Counted: d.Domain.Headline, Energy: d.Energy, UAbs: d.Source.UAbs, URatio: d.Source.URatio, Period: d.Source.Period}
		if d.Energy > 0 || len(d.Gaps) == 0 {
			err = errors.Join(err, enc.Encode(e))
		}
		for _, g := range d.Gaps {
			e.From, e.Length = from.Add(g.From-prev.At), g.To-g.From
			e.Kind, e.Energy, e.Reason, e.Errors = kindGap, 0, g.Reason, d.Errors
			err = errors.Join(err, enc.Encode(e))
		}
	}
	if err != nil {
		return fmt.Errorf("measure: ledger: %w", err)
	}
	if l.size+int64(b.Len()) > maxLedger {
		if err := l.turn(); err != nil {
			return err
		}
	}
	return l.write(b.Bytes())
}

func (l *Ledger) write(b []byte) error {
	n, err := l.f.Write(b)
	l.size += int64(n)
	if err != nil {
		return fmt.Errorf("measure: ledger: %w", err)
	}
	return nil
}

// turn starts a new file and keeps the full one.
func (l *Ledger) turn() error {
	err := errors.Join(l.f.Close(), os.Rename(l.name, l.name+".1"))
	if err == nil {
		l.f, err = os.OpenFile(l.name, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL|noFollow, 0o666)
	}
	l.size = 0
	if err != nil {
		return fmt.Errorf("measure: ledger: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.f.Close() }

// Account is what a ledger says of the machine. Its columns are never added to each other.
type Account struct {
	Intervals int           `json:"intervals"`
	Measured  Microjoules   `json:"measured_uj"` // counted domains only
	Modelled  Microjoules   `json:"modelled_uj"`
	Gaps      time.Duration `json:"gaps_ns"` // summed over counted domains
	First     time.Time     `json:"first"`
	Last      time.Time     `json:"last"`
	Spoilt    int           `json:"spoilt,omitempty"` // lines that are none
}

// ReadLedger adds a ledger up. Lines that are no entries are counted and passed over: the rest of the account stands.
func ReadLedger(r io.Reader) (Account, error) {
	var a Account
	sc := bufio.NewReaderSize(io.LimitReader(r, 2*maxLedger), 64<<10)
	for {
		line, whole, err := replayLine(sc)
		if err != nil {
			return a, fmt.Errorf("measure: ledger: %w", err)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			var e Entry
			if json.Unmarshal(line, &e) != nil || e.Length < 0 || e.Energy > maxMicro {
				a.Spoilt++
			} else {
				a.add(e)
			}
		}
		if !whole {
			return a, nil
		}
	}
}

func (a *Account) add(e Entry) {
	a.Intervals++
	if a.First.IsZero() || e.From.Before(a.First) {
		a.First = e.From
	}
	if end := e.From.Add(e.Length); end.After(a.Last) {
		a.Last = end
	}
	switch {
	case !e.Counted:
	case e.Kind == Measured:
		a.Measured = saturate(a.Measured, e.Energy)
	case e.Kind == Modelled:
		a.Modelled = saturate(a.Modelled, e.Energy)
	case e.Kind == kindGap && a.Gaps+e.Length > a.Gaps:
		a.Gaps += e.Length
	}
}

func saturate(a, b Microjoules) Microjoules {
	if s := a + b; s >= a {
		return s
	}
	return ^Microjoules(0)
}
