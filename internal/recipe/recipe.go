// Package recipe runs the whole pipeline of a recipe: it makes the variants of a model, writes each to
// disk and reads it back, scores and measures them against the baseline, and fills one reports.Result. It
// is the one place where formats, data sets, stages and meters meet.
package recipe

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/wattshed/wattshed/reports"
)

// maxRecipe is the largest recipe that is read, in bytes.
const maxRecipe = 1 << 20

// Recipe is the content of a recipe file, version 1.
type Recipe struct {
	Version  int            `yaml:"version"`
	Model    string         `yaml:"model"`
	Task     *TaskSpec      `yaml:"task"`
	Inputs   InputsSpec     `yaml:"inputs"`
	Target   TargetSpec     `yaml:"target"`
	Measure  MeasureSpec    `yaml:"measure"`
	Carbon   CarbonSpec     `yaml:"carbon"`
	Variants []VariantSpec  `yaml:"variants"`
	Gates    map[string]any `yaml:"gates"`

	SHA256 string        `yaml:"-"` // of the file's bytes
	Judged reports.Gates `yaml:"-"` // Gates, parsed
	Dir    string        `yaml:"-"` // folder that relative paths start from
}

// TaskSpec says what accuracy means. Kind is "classification" or "fidelity".
type TaskSpec struct {
	Kind       string `yaml:"kind"`
	Data       string `yaml:"data"`       // .jsonl, .txt (one text a line) or builtin:spam
	Train      string `yaml:"train"`      // training split, for stages that train
	Validation string `yaml:"validation"` // validation split, likewise
	Text       string `yaml:"text"`
	Label      string `yaml:"label"`
	Limit      int    `yaml:"limit"` // score the first n examples only; 0 = all
}

// InputsSpec says how examples become model inputs.
type InputsSpec struct {
	Tokenizer string            `yaml:"tokenizer"`
	Text      string            `yaml:"text"`
	MaxLength int               `yaml:"max_length"`
	Pooling   string            `yaml:"pooling"`
	Output    string            `yaml:"output"`
	Random    *RandomSpec       `yaml:"random"`
	Shapes    map[string][]int  `yaml:"shapes"`
	State     map[string]string `yaml:"state"`
}

// RandomSpec asks for random inputs.
type RandomSpec struct {
	Seed uint64 `yaml:"seed"`
	N    int    `yaml:"n"`
}

// TargetSpec says what the measurements run on.
type TargetSpec struct {
	Runtime  string `yaml:"runtime"`
	Provider string `yaml:"provider"`
	Threads  int    `yaml:"threads"`
	Batch    int    `yaml:"batch"`
	Sequence int    `yaml:"sequence"`
}

// MeasureSpec are the settings of the measurements.
type MeasureSpec struct {
	Pairs        int     `yaml:"pairs"`
	Precision    float64 `yaml:"precision"`
	MaxSeconds   float64 `yaml:"max_seconds"`
	IdleSeconds  float64 `yaml:"idle_seconds"`
	BlockSeconds float64 `yaml:"block_seconds"`
	MaxPairs     int     `yaml:"max_pairs"`
	Inputs       int     `yaml:"inputs"` // different inputs that a block runs over
	Seed         uint64  `yaml:"seed"`
}

// CarbonSpec says which grid and building the energy comes from.
type CarbonSpec struct {
	Zone     string   `yaml:"zone"`
	PUE      *float64 `yaml:"pue"`
	Embodied bool     `yaml:"embodied"`
}

// VariantSpec is a named list of stages.
type VariantSpec struct {
	Name      string      `yaml:"name"`
	Stages    []StageSpec `yaml:"stages"`
	AllowNoop bool        `yaml:"allow_noop"`
}

// StageSpec holds exactly one stage.
type StageSpec struct {
	Prune    *Prune    `yaml:"prune"`
	Quantize *Quantize `yaml:"quantize"`
	Distill  *Distill  `yaml:"distill"`
}

// stage returns the one stage that is set.
func (s StageSpec) stage() (Stage, error) {
	var set []Stage
	if s.Prune != nil {
		set = append(set, s.Prune)
	}
	if s.Quantize != nil {
		set = append(set, s.Quantize)
	}
	if s.Distill != nil {
		set = append(set, s.Distill)
	}
	if len(set) != 1 {
		return nil, fmt.Errorf("a stage holds one of prune, quantize, distill; this one holds %d", len(set))
	}
	return set[0], nil
}

// Error is a fault in a recipe with its place; Key is the unknown key and Nearest the closest known one,
// where that is the fault.
type Error struct {
	Name         string
	Line, Column int
	Key, Nearest string
	Reason       string
}

func (e *Error) Error() string {
	at := e.Name
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", e.Name, e.Line, e.Column)
	}
	return at + ": " + e.Reason
}

// Parse reads a recipe called name; its relative paths start from dir. Unknown keys are refused with
// line, column and the nearest known key (*Error).
func Parse(r io.Reader, name, dir string) (*Recipe, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRecipe+1))
	if err != nil {
		return nil, fmt.Errorf("recipe: %s: %w", name, err)
	}
	if len(b) > maxRecipe {
		return nil, &Error{Name: name, Reason: fmt.Sprintf("a recipe has at most %d bytes", maxRecipe)}
	}
	rec := &Recipe{}
	if err := decode(b, rec); err != nil {
		return nil, place(err, name)
	}
	sum := sha256.Sum256(b)
	rec.SHA256, rec.Dir = hex.EncodeToString(sum[:]), dir
	if err := rec.check(); err != nil {
		return nil, &Error{Name: name, Reason: err.Error()}
	}
	return rec, nil
}

// decode guards against panics of the YAML library on hostile input: they become errors.
func decode(b []byte, rec *Recipe) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not YAML: %v", p)
		}
	}()
	err = yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(rec)
	if errors.Is(err, io.EOF) {
		return errors.New("the recipe is empty")
	}
	return err
}

func place(err error, name string) error {
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return &Error{Name: name, Reason: err.Error()}
	}
	out := &Error{Name: name, Reason: ye.GetMessage()}
	if t := ye.GetToken(); t != nil && t.Position != nil {
		out.Line, out.Column = t.Position.Line, t.Position.Column
		var unknown *yaml.UnknownFieldError
		if errors.As(err, &unknown) {
			out.Key = strings.TrimSpace(t.Value)
			out.Nearest = nearest(out.Key, knownKeys())
			out.Reason = fmt.Sprintf("unknown key %q", out.Key)
			if later[out.Key] {
				out.Reason = fmt.Sprintf("key %q is not in this version", out.Key)
				out.Nearest = ""
			}
		}
	}
	return out
}

// later are the keys of the recipe format that a later version will read.
var later = map[string]bool{"npz": true, "images": true, "size": true, "mean": true, "std": true, "layout": true,
	"channels": true, "group": true, "calibration": true}
