package task

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Caps on data sets from outside.
const (
	maxExamples = 10_000_000
	maxLine     = 16 << 20
)

// Example is one labelled or unlabelled text.
type Example struct {
	ID    string
	Text  string
	Label string
}

// Dataset is a list of examples with the digest of the bytes it was read from.
type Dataset struct {
	Name     string
	SHA256   string
	Examples []Example
}

// ReadJSONL reads one JSON object a line and takes its text and label fields (strings; a number or a
// boolean as label is written out). label may be "". Field "id" is kept where there is one.
func ReadJSONL(r io.Reader, name, text, label string) (*Dataset, error) {
	d := &Dataset{Name: name}
	err := d.lines(r, func(line int, b []byte) error {
		if len(strings.TrimSpace(string(b))) == 0 {
			return nil
		}
		var row map[string]json.RawMessage
		if err := json.Unmarshal(b, &row); err != nil {
			return fmt.Errorf("task: %s: line %d: %w", name, line, err)
		}
		ex := Example{}
		raw, ok := row[text]
		if !ok {
			return fmt.Errorf("task: %s: line %d: no field %q", name, line, text)
		}
		if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &ex.Text) != nil {
			return fmt.Errorf("task: %s: line %d: field %q is no string", name, line, text)
		}
		if raw, ok := row[label]; label != "" && !ok {
			return fmt.Errorf("task: %s: line %d: no field %q", name, line, label)
		} else if label != "" {
			if ex.Label, ok = scalar(raw); !ok {
				return fmt.Errorf("task: %s: line %d: field %q is no string, number or boolean", name, line, label)
			}
		}
		if raw, ok := row["id"]; ok {
			ex.ID, _ = scalar(raw)
		}
		d.Examples = append(d.Examples, ex)
		return nil
	})
	return d, err
}

// ReadText reads one text a line, leaving out blank lines.
func ReadText(r io.Reader, name string) (*Dataset, error) {
	d := &Dataset{Name: name}
	err := d.lines(r, func(_ int, b []byte) error {
		if s := strings.TrimSpace(string(b)); s != "" {
			d.Examples = append(d.Examples, Example{Text: s})
		}
		return nil
	})
	return d, err
}

// scalar returns a string as it is and a number or boolean as it is written; false for null, lists and objects.
func scalar(raw json.RawMessage) (string, bool) {
	var s string
	switch {
	case len(raw) == 0 || strings.ContainsRune("n[{", rune(raw[0])):
		return "", false
	case raw[0] == '"':
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	}
	return string(raw), true
}

func (d *Dataset) lines(r io.Reader, use func(line int, b []byte) error) error {
	h := sha256.New()
	sc := bufio.NewScanner(io.TeeReader(r, h))
	sc.Buffer(make([]byte, 0, 64<<10), maxLine)
	line := 1
	for ; sc.Scan(); line++ {
		if len(d.Examples) >= maxExamples {
			return fmt.Errorf("task: %s: more than %d examples", d.Name, maxExamples)
		}
		b := sc.Bytes()
		if line == 1 {
			b = bytes.TrimPrefix(b, []byte("\ufeff"))
		}
		if err := use(line, b); err != nil {
			return err
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("task: %s: line %d: %w", d.Name, line, err)
	}
	if len(d.Examples) == 0 {
		return fmt.Errorf("task: %s: no examples", d.Name)
	}
	d.SHA256 = hex.EncodeToString(h.Sum(nil))
	return nil
}

// Labels returns the distinct labels in order: decimal numbers by value, then words.
func (d *Dataset) Labels() []string {
	var out []string
	seen := map[string]bool{}
	for _, e := range d.Examples {
		if !seen[e.Label] {
			seen[e.Label] = true
			out = append(out, e.Label)
		}
	}
	slices.SortFunc(out, compareLabels)
	return out
}

// Classes returns for every example the index of its label in labels; a label that is not there is an
// error that names it.
func (d *Dataset) Classes(labels []string) ([]int, error) {
	out := make([]int, len(d.Examples))
	for i, e := range d.Examples {
		c := slices.Index(labels, e.Label)
		if c < 0 {
			return nil, fmt.Errorf("task: %s: example %d: label %q is none of %q", d.Name, i+1, e.Label, labels)
		}
		out[i] = c
	}
	return out, nil
}

// Texts returns the texts in order.
func (d *Dataset) Texts() []string {
	out := make([]string, len(d.Examples))
	for i, e := range d.Examples {
		out[i] = e.Text
	}
	return out
}
