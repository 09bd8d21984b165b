// Package recipe runs the whole pipeline of a recipe: it makes the variants of a model, writes each to
// disk and reads it back, scores and measures them against the baseline, and fills one reports.Result. It
// is the one place where formats, data sets, stages and meters meet.
package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/reports"
)

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
	Search   *SearchSpec    `yaml:"search"`

	SHA256 string        `yaml:"-"` // of the file's bytes
	Judged reports.Gates `yaml:"-"` // Gates, parsed
	Dir    string        `yaml:"-"` // folder that relative paths start from
}

// TaskSpec says what accuracy means. Kind is "classification", "fidelity" or "agreement". Data may be left out where the inputs
// bring labels: folders of images, or an array called Label.
type TaskSpec struct {
	Kind       string `yaml:"kind"`
	Data       string `yaml:"data"`       // .jsonl, .txt (one text a line) or builtin:spam
	Train      string `yaml:"train"`      // training split, for stages that train
	Validation string `yaml:"validation"` // validation split, likewise
	Text       string `yaml:"text"`
	Label      string `yaml:"label"`
	Limit      int    `yaml:"limit"` // score the first n examples only; 0 = all

	Labels    []string `yaml:"labels"`    // in the order of the model's outputs; none: the model's metadata, else sorted
	Threshold float64  `yaml:"threshold"` // between the two classes of an output of one value
}

// InputsSpec says how examples become model inputs: one of texts (Tokenizer), arrays (NPZ), Images and Random. Text is the field
// of the text where the task has data, else a file with one text a line (.txt) or a JSON object with a field "text" a line
// (.jsonl). State names outputs that the next run takes as inputs, by input; a sequence of runs starts from zeros.
type InputsSpec struct {
	Tokenizer string            `yaml:"tokenizer"`
	Text      string            `yaml:"text"`
	MaxLength int               `yaml:"max_length"`
	Pooling   string            `yaml:"pooling"`
	Output    string            `yaml:"output"`
	Random    *RandomSpec       `yaml:"random"`
	Shapes    map[string][]int  `yaml:"shapes"`
	State     map[string]string `yaml:"state"`
	NPZ       string            `yaml:"npz"` // arrays by input name

	// Of images, see task.Images.
	Images   string    `yaml:"images"` // a folder
	Size     int       `yaml:"size"`
	Resize   int       `yaml:"resize"`
	Fit      string    `yaml:"fit"` // crop (default) or stretch
	Mean     []float64 `yaml:"mean"`
	Std      []float64 `yaml:"std"`
	Layout   string    `yaml:"layout"`   // nchw or nhwc; default what the model's input says
	Channels string    `yaml:"channels"` // rgb (default), bgr or gray
}

// plain reports whether examples bring no texts: arrays, images or random inputs.
func (in *InputsSpec) plain() bool { return in.NPZ != "" || in.Images != "" || in.Random != nil }

// RandomSpec asks for random inputs.
type RandomSpec struct {
	Seed *uint64 `yaml:"seed"` // see seedOf
	N    int     `yaml:"n"`
}

// TargetSpec says what the measurements run on.
type TargetSpec struct {
	Runtime  string `yaml:"runtime"`
	Provider string `yaml:"provider"`
	Threads  int    `yaml:"threads"`
	Batch    int    `yaml:"batch"`
	Sequence int    `yaml:"sequence"`

	Exact           bool              `yaml:"exact"`            // no transformation of the native runtime that changes results beyond rounding order
	Spinning        string            `yaml:"spinning"`         // "on" (default) or "off": do idle threads wait actively?
	ProviderOptions map[string]string `yaml:"provider_options"` // of the execution provider, in its own words: {device_id: "1"}
	Optimization    string            `yaml:"optimization"`     // of ONNX Runtime: none, basic, extended or all (default)
}

// Options returns the engine's options of the target.
func (t TargetSpec) Options(threads int) engine.Options {
	o := engine.Options{Threads: threads, Provider: t.Provider, Exact: t.Exact, Optimize: t.Optimization, ProviderOptions: t.ProviderOptions}
	if t.Spinning == "off" {
		o.Spin = -1
	}
	return o
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
	Seed         *uint64 `yaml:"seed"`   // see seedOf
}

// CarbonSpec says which grid and building the energy comes from.
type CarbonSpec struct {
	Zone     string   `yaml:"zone"`
	PUE      *float64 `yaml:"pue"`
	Provider string   `yaml:"provider"` // whose mean PUE is taken where pue is not given: aws, azure, gcp ..., unknown
	Embodied bool     `yaml:"embodied"`
	WUE      *float64 `yaml:"wue"`  // litres of water per kWh of the computer, at the site
	EWIF     *float64 `yaml:"ewif"` // litres of water behind a kWh of its grid
	Live     string   `yaml:"live"` // service, and zone of it, that is asked for the intensity of the present hour: see carbon.ParseLive; zone is what is taken where it does not answer

	assumed bool // no zone was given
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

// ErrValue is what errors.Is recognises a value by that makes no sense where it was given, as an option or in a Recipe
// that was not parsed from a file.
var ErrValue = errors.New("makes no sense")

// Error is a fault in a recipe with its place; Key is the unknown key or word and Nearest the closest known one,
// where that is the fault.
type Error struct {
	Name         string
	Line, Column int
	Key, Nearest string
	Reason       string
}

// Error gives the place, as NAME:LINE:COLUMN where it is known, and the reason.
func (e *Error) Error() string {
	at := e.Name
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", e.Name, e.Line, e.Column)
	}
	return at + ": " + e.Reason
}

// Parse reads a recipe called name; its relative paths start from dir. Unknown keys, wrong types and values that make
// no sense are refused with line and column (*Error), an unknown key with the nearest known one of its level. A recipe
// has at most 64 KiB and no anchors, aliases or tags.
func Parse(r io.Reader, name, dir string) (*Recipe, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRecipe+1))
	if err != nil {
		return nil, fmt.Errorf("recipe: %s: %w", name, err)
	}
	if len(b) > maxRecipe {
		return nil, &Error{Name: name, Reason: fmt.Sprintf("a recipe has at most %d bytes", maxRecipe)}
	}
	rec := &Recipe{}
	d, err := decode(b, rec)
	if err == nil {
		err = d.locate(rec.check())
	}
	var e *Error
	if errors.As(err, &e) {
		e.Name = name
		return nil, e
	}
	if err != nil {
		return nil, &Error{Name: name, Reason: err.Error()}
	}
	sum := sha256.Sum256(b)
	rec.SHA256, rec.Dir = hex.EncodeToString(sum[:]), dir
	return rec, nil
}

// fault is a value that makes no sense, at the path of its key; nearest is what an unknown word there most likely stands for.
type fault struct{ path, reason, word, nearest string }

func (f *fault) Error() string { return f.path + ": " + f.reason }

// Is makes every fault an ErrValue.
func (f *fault) Is(target error) bool { return target == ErrValue }

func faultf(path, format string, args ...any) error {
	return &fault{path: path, reason: fmt.Sprintf(format, args...)}
}

// FaultOf takes an ErrValue apart: the path of its key with dots between, such as distill.learning_rate, and what is wrong with its value.
func FaultOf(err error) (path, reason string, ok bool) {
	var f *fault
	if !errors.As(err, &f) {
		return "", "", false
	}
	return f.path, f.reason, true
}

// under puts the path of a fault below a parent's; other errors become faults of the parent.
func under(parent string, err error) error {
	var f *fault
	if errors.As(err, &f) {
		return &fault{join(parent, f.path), f.reason, f.word, f.nearest}
	}
	return &fault{path: parent, reason: strings.TrimPrefix(err.Error(), "recipe: ")}
}

// locate gives a fault its place: that of its key, or of the nearest key above it that is in the file.
func (d *decoder) locate(err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	out := &Error{Reason: f.Error(), Key: f.word, Nearest: f.nearest}
	for path := f.path; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if at, ok := d.places[path]; ok {
			out.Line, out.Column = at.line, at.column
			break
		}
	}
	return out
}
