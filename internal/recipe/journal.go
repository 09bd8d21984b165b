package recipe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Errors of opening an output folder.
var (
	// ErrUnfinished is wrapped when the folder holds a run that was interrupted and Resume was not set.
	ErrUnfinished = errors.New("holds an unfinished run")
	// ErrOtherRun is wrapped when the run to resume is one of something else.
	ErrOtherRun = errors.New("is a run of something else")
	// ErrJournal is wrapped when the journal in the folder is not one of ours, or damaged.
	ErrJournal = errors.New("journal is damaged")
)

const journalName = "journal.jsonl"

// journal is the record of finished work of a run: one JSON line per piece, on disk before the next piece starts. A last
// line that a kill or a power cut left unreadable is dropped. A later line replaces an earlier one of the same kind and
// key, but for blocks, which are all kept.
type journal struct {
	f       *os.File // nil for work that is not resumed
	started time.Time
	entries map[string]json.RawMessage // by kind/key
	blocks  []json.RawMessage          // in order

	replaced time.Time // when the finished run began whose files made room for this one; zero where none did
}

type journalLine struct {
	Kind string          `json:"kind"`
	Key  string          `json:"key,omitempty"`
	Data json.RawMessage `json:"data"`
}

// Kinds of journal lines.
const (
	kindIdentity = "identity" // the first line
	kindEpoch    = "epoch"    // variant/stage/epoch: what an epoch of training took
	kindVariant  = "variant"  // a written file
	kindScore    = "score"
	kindMemory   = "memory"
	kindIdle     = "idle"
	kindBlock    = "block"
	kindOverhead = "overhead"
	kindUnfused  = "unfused" // runs that fell back to a plan without fusions, in sentences
	kindProfile  = "profile"
	kindTask     = "task"
	kindRoofline = "roofline"
	kindLive     = "live"     // what a live service said of the grid, or why it said nothing
	kindTrial    = "trial"    // of a search: a mix and what it showed
	kindHarm     = "harm"     // likewise: the error of one unit under one scheme
	kindShares   = "shares"   // likewise: of the time of the units
	kindProbe    = "probe"    // likewise: the seconds of loading the model and running the samples
	kindSearched = "searched" // no trials come after
	kindFinished = "finished" // the last line: the reports are written
)

// identity is what must agree between a run and its continuation.
type identity struct {
	Recipe  string `json:"recipe_sha256"`
	Model   string `json:"model_sha256"`
	Data    string `json:"data_sha256"` // of tokenizer and all data sets
	Version string `json:"version"`
	Host    string `json:"host"`  // pairs of blocks from two machines say nothing
	Meter   string `json:"meter"` // nor do those of two energy sources
}

// journalHead is the data of the first line.
type journalHead struct {
	identity
	Started time.Time `json:"started"`
}

// differs names what differs between two identities, "" when nothing does.
func (id identity) differs(other identity) string {
	for _, c := range []struct{ what, a, b string }{{"the recipe", id.Recipe, other.Recipe}, {"the model", id.Model, other.Model},
		{"the data", id.Data, other.Data}, {"the version of wattshed", id.Version, other.Version}, {"the machine", id.Host, other.Host},
		{"the energy source", id.Meter, other.Meter}} {
		if c.a != c.b {
			return c.what
		}
	}
	return ""
}

// openJournal starts a journal in dir, or with resume continues the one that is there. It refuses to overwrite an
// unfinished run without resume (ErrUnfinished), and to continue one of another identity (ErrOtherRun). What a
// finished run left, but for the file at model, is set aside before a new one starts.
func openJournal(dir, model string, id identity, resume bool) (*journal, error) {
	path := filepath.Join(dir, journalName)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	j := &journal{entries: map[string]json.RawMessage{}}
	whole, err := j.load(b)
	if err != nil {
		return nil, fmt.Errorf("recipe: %s: %w", path, err)
	}
	head, found := lookup[journalHead](j, kindIdentity, "")
	if !found {
		return startJournal(path, id)
	}
	_, finished := j.entries[kindFinished+"/"]
	switch what := head.differs(id); {
	case !resume && !finished:
		return nil, fmt.Errorf("recipe: folder %q %w", dir, ErrUnfinished)
	case !resume:
		if err := j.setAside(dir, model); err != nil {
			return nil, err
		}
		next, err := startJournal(path, id)
		if err == nil {
			next.replaced = head.Started
		}
		return next, err
	case what != "":
		return nil, fmt.Errorf("recipe: folder %q %w: %s differs", dir, ErrOtherRun, what)
	}
	j.started = head.Started
	if j.f, err = os.OpenFile(path, os.O_WRONLY, 0o644); err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	_, err = j.f.Seek(int64(whole), io.SeekStart)
	if err = errors.Join(j.f.Truncate(int64(whole)), err); err != nil {
		j.f.Close()
		return nil, fmt.Errorf("recipe: %s: %w", path, err)
	}
	return j, nil
}

// setAside moves what the finished run of this journal wrote in dir to its folder replacedName, where it stays until the next run is
// finished; the journal itself goes last, so that a run interrupted here goes on with it. The model of the next run, at path, stays.
func (j *journal) setAside(dir, path string) error {
	names := []string{"result.json", "result.csv", "report.md", "report.html", "modelcard.md", "gates.junit.xml", "bom.cdx.json", searchName}
	for _, pattern := range []string{"plots/*.svg", "plots/*.png", variantsName + "/*.onnx", variantsName + "/*.onnx.data"} {
		found, err := filepath.Glob(filepath.Join(globEscape(dir), filepath.FromSlash(pattern)))
		if err != nil {
			return fmt.Errorf("recipe: %w", err)
		}
		for _, f := range found {
			if rel, err := filepath.Rel(dir, f); err == nil && !sameFile(f, path) && !sameFile(f, path+".data") {
				names = append(names, rel)
			}
		}
	}
	for _, name := range append(names, journalName) {
		to := filepath.Join(dir, replacedName, name)
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			continue
		}
		err := os.MkdirAll(filepath.Dir(to), 0o755)
		if err == nil {
			err = os.Rename(filepath.Join(dir, name), to)
		}
		if err != nil {
			return fmt.Errorf("recipe: %w", err)
		}
	}
	return nil
}

// sameFile tells whether two paths lead to one file that exists.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// globEscape makes a pattern that matches dir alone.
func globEscape(dir string) string {
	var b bytes.Buffer
	for _, r := range dir {
		if r == '*' || r == '?' || r == '[' {
			b.WriteString("[" + string(r) + "]")
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// startJournal begins anew.
func startJournal(path string, id identity) (*journal, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	j := memoryJournal()
	j.f = f
	if err := j.put(kindIdentity, "", journalHead{id, j.started}); err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// memoryJournal keeps nothing beyond the process: for work that is not resumed.
func memoryJournal() *journal {
	return &journal{started: time.Now().UTC().Truncate(time.Second), entries: map[string]json.RawMessage{}}
}

// load reads the lines and returns the length of the whole ones. The first must be the identity. A line that is not
// readable is an error, unless it is the last.
func (j *journal) load(b []byte) (int, error) {
	whole := 0
	for n := 1; whole < len(b); n++ {
		end := bytes.IndexByte(b[whole:], '\n')
		if end < 0 {
			return whole, nil // cut off
		}
		var l journalLine
		err := json.Unmarshal(b[whole:whole+end], &l)
		switch {
		case err == nil && (l.Kind == kindIdentity) == (n == 1):
		case n > 1 && whole+end+1 == len(b):
			return whole, nil
		case err != nil:
			return 0, fmt.Errorf("%w: line %d: %v", ErrJournal, n, err)
		default:
			return 0, fmt.Errorf("%w: line %d is of kind %.40q", ErrJournal, n, l.Kind)
		}
		j.add(l)
		whole += end + 1
	}
	return whole, nil
}

func (j *journal) add(l journalLine) {
	if l.Kind == kindBlock {
		j.blocks = append(j.blocks, l.Data)
		return
	}
	j.entries[l.Kind+"/"+l.Key] = l.Data
}

// put appends a line and waits until it is on disk.
func (j *journal) put(kind, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("recipe: journal: %w", err)
	}
	l := journalLine{kind, key, data}
	if j.f != nil {
		line, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("recipe: journal: %w", err)
		}
		if _, err := j.f.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("recipe: journal: %w", err)
		}
		if err := j.f.Sync(); err != nil {
			return fmt.Errorf("recipe: journal: %w", err)
		}
	}
	j.add(l)
	return nil
}

// lookup returns the entry of kind and key, false where there is none that can be read.
func lookup[T any](j *journal, kind, key string) (v T, ok bool) {
	raw, ok := j.entries[kind+"/"+key]
	if !ok || json.Unmarshal(raw, &v) != nil {
		var none T
		return none, false
	}
	return v, true
}

// remember returns the entry of kind and key; where there is none it does the work and records it.
func remember[T any](j *journal, kind, key string, work func() (T, error)) (T, error) {
	if v, ok := lookup[T](j, kind, key); ok {
		return v, nil
	}
	v, err := work()
	if err == nil {
		err = j.put(kind, key, v)
	}
	return v, err
}

// done counts the pieces of work that are recorded.
func (j *journal) done() int { return max(0, len(j.entries)-1) + len(j.blocks) }

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	return j.f.Close()
}
