package recipe

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrUnfinished is wrapped when the output folder holds a run that was interrupted and Resume was not set.
var ErrUnfinished = errors.New("holds an unfinished run")

// ErrOtherRun is wrapped when the run to resume is one of another recipe, model or version.
var ErrOtherRun = errors.New("is a run of something else")

const journalName = "journal.jsonl"

// journal is the record of finished work of a run: one JSON line per piece, on disk before the next
// piece starts. A last line that was cut off by a kill is dropped.
type journal struct {
	f       *os.File
	entries map[string]json.RawMessage // by kind/key, for kinds that are written once
	blocks  []json.RawMessage          // in order
}

type journalLine struct {
	Kind string          `json:"kind"`
	Key  string          `json:"key,omitempty"`
	Data json.RawMessage `json:"data"`
}

// Kinds of journal lines.
const (
	kindIdentity = "identity"
	kindVariant  = "variant"
	kindScore    = "score"
	kindMemory   = "memory"
	kindIdle     = "idle"
	kindBlock    = "block"
	kindFinished = "finished"
)

// identity is what must agree between a run and its continuation.
type identity struct {
	Recipe  string `json:"recipe_sha256"`
	Model   string `json:"model_sha256"`
	Version string `json:"version"`
}

// openJournal starts a journal in dir, or continues the one that is there. It refuses to overwrite an
// unfinished run without resume, and to continue one of another identity.
func openJournal(dir string, id identity, resume bool) (*journal, error) {
	path := filepath.Join(dir, journalName)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	j := &journal{entries: map[string]json.RawMessage{}}
	whole := 0
	if len(b) > 0 {
		if whole, err = j.load(b); err != nil {
			return nil, fmt.Errorf("recipe: %s: %w", path, err)
		}
	}
	var have identity
	found := j.get(kindIdentity, "", &have)
	_, finished := j.entries[kindFinished+"/"]
	switch {
	case found && resume && have != id:
		return nil, fmt.Errorf("recipe: folder %q %w: recipe, model or version differ", dir, ErrOtherRun)
	case found && !resume && !finished:
		return nil, fmt.Errorf("recipe: folder %q %w", dir, ErrUnfinished)
	case !found || !resume:
		return startJournal(dir, path, id)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	if err := errors.Join(f.Truncate(int64(whole)), seekEnd(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("recipe: %s: %w", path, err)
	}
	j.f = f
	return j, nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, io.SeekEnd)
	return err
}

// startJournal begins anew: what an earlier, finished run left for resuming is removed.
func startJournal(dir, path string, id identity) (*journal, error) {
	if err := os.RemoveAll(filepath.Join(dir, checkpointsName)); err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	j := &journal{f: f, entries: map[string]json.RawMessage{}}
	if err := j.put(kindIdentity, "", id); err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// load reads the lines and returns the length of the whole ones.
func (j *journal) load(b []byte) (int, error) {
	r := bufio.NewReader(bytes.NewReader(b))
	whole := 0
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return whole, nil // a cut-off line ends without a newline
		}
		var l journalLine
		if err := json.Unmarshal(line, &l); err != nil {
			return 0, fmt.Errorf("line at byte %d is damaged: %w", whole, err)
		}
		j.add(l)
		whole += len(line)
	}
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
	line, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("recipe: journal: %w", err)
	}
	if j.f == nil {
		j.add(l)
		return nil
	}
	if _, err := j.f.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("recipe: journal: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("recipe: journal: %w", err)
	}
	j.add(l)
	return nil
}

// get reads the entry of kind and key into v and reports whether there is a readable one.
func (j *journal) get(kind, key string, v any) bool {
	raw, ok := j.entries[kind+"/"+key]
	return ok && json.Unmarshal(raw, v) == nil
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	return j.f.Close()
}

// memoryJournal keeps nothing: for work that is not resumed.
func memoryJournal() *journal { return &journal{entries: map[string]json.RawMessage{}} }

// writeFile puts b in the place of the file at path, all or nothing.
func writeFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".wattshed-*")
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
