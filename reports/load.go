package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Caps of Load and Validate: a result larger than these is not one of ours.
const (
	MaxBytes    = 256 << 20
	MaxVariants = 1000
)

// ErrSchema is wrapped by Load when the file carries another schema or none.
var ErrSchema = errors.New("unknown schema")

// Load reads one result.json. It refuses more than MaxBytes, another schema (ErrSchema), unknown
// keys, anything after the object, and values that Validate refuses.
func Load(r io.Reader) (*Result, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reports: result: %w", err)
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("reports: result: more than %d bytes", MaxBytes)
	}
	var head struct {
		Schema *string `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("reports: result: not a result.json: %w", err)
	}
	switch {
	case head.Schema == nil:
		return nil, fmt.Errorf("reports: result: no \"schema\" key, want %q: %w", Schema, ErrSchema)
	case *head.Schema != Schema:
		return nil, fmt.Errorf("reports: result: schema %q, this version reads %q: %w", clip(*head.Schema, 80), Schema, ErrSchema)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var res Result
	if err := d.Decode(&res); err != nil {
		return nil, fmt.Errorf("reports: result: %w", err)
	}
	if err := res.Validate(); err != nil {
		return nil, err
	}
	return &res, nil
}

// Validate checks what the types cannot: schema, unique variant names, finite numbers, intervals
// with low before high, counts that are not negative, known words for actions, sources and bases.
func (r *Result) Validate() error {
	if r.Schema != Schema {
		return fmt.Errorf("reports: result: schema %q, want %q: %w", r.Schema, Schema, ErrSchema)
	}
	if len(r.Variants) > MaxVariants {
		return fmt.Errorf("reports: result: %d variants, at most %d", len(r.Variants), MaxVariants)
	}
	seen := make(map[string]bool, len(r.Variants))
	for i := range r.Variants {
		v := &r.Variants[i]
		if v.Name == "" {
			return fmt.Errorf("reports: variants[%d]: no name", i)
		}
		if seen[v.Name] {
			return fmt.Errorf("reports: variants[%d]: name %q is used twice", i, v.Name)
		}
		seen[v.Name] = true
		if err := v.validate(); err != nil {
			return fmt.Errorf("reports: variants[%d] %q: %w", i, v.Name, err)
		}
	}
	for i, g := range r.Gates {
		if g.Verdict != Pass && g.Verdict != Fail && g.Verdict != Inconclusive {
			return fmt.Errorf("reports: gates[%d]: verdict %q, want pass, fail or inconclusive", i, g.Verdict)
		}
	}
	if err := checkNumbers("", reflect.ValueOf(r).Elem()); err != nil {
		return fmt.Errorf("reports: %w", err)
	}
	return nil
}

func (v *Variant) validate() error {
	for i, n := range v.Notes {
		switch {
		case n.Action != Touched && n.Action != Left && n.Action != Remark:
			return fmt.Errorf("notes[%d]: action %q, want touched, left or remark", i, n.Action)
		case n.Action != Remark && n.Weight == "":
			return fmt.Errorf("notes[%d]: %s names no weight", i, n.Action)
		case n.Action == Left && n.Why == "":
			return fmt.Errorf("notes[%d]: weight %q was left without a reason", i, n.Weight)
		}
	}
	if e := v.Energy; e != nil {
		if e.PerInference != nil && e.Source == "" {
			return errors.New("energy_j: per_inference without a source")
		}
		if e.Source != "" && e.Source != SourceMeasured && e.Source != SourceModelled && e.Source != SourceMixed {
			return fmt.Errorf("energy_j: source %q, want measured, modelled or mixed", e.Source)
		}
		if e.Ratio != nil && e.Ratio.Basis != BasisCounter && e.Ratio.Basis != BasisCPUTime {
			return fmt.Errorf("energy_j: ratio basis %q, want counter or cpu_time", e.Ratio.Basis)
		}
	}
	return nil
}

// checkNumbers walks v and names the first number that a result may not hold: NaN, infinity, a
// negative count, or an interval whose ends are in the wrong order.
func checkNumbers(path string, v reflect.Value) error {
	if iv, ok := v.Interface().(Interval); ok {
		if finite(iv[0]) && finite(iv[1]) && iv[0] > iv[1] {
			return fmt.Errorf("%s: low %v above high %v", path, iv[0], iv[1])
		}
	}
	if xs, ok := v.Interface().([]float64); ok {
		if i := slices.IndexFunc(xs, func(x float64) bool { return !finite(x) }); i >= 0 {
			return fmt.Errorf("%s[%d]: %v is not a figure; leave it absent", path, i, xs[i])
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Float64:
		if !finite(v.Float()) {
			return fmt.Errorf("%s: %v is not a figure; leave it absent", path, v.Float())
		}
	case reflect.Int, reflect.Int64:
		if v.Int() < 0 {
			return fmt.Errorf("%s: %d is negative", path, v.Int())
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return checkNumbers(path, v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := checkNumbers(fmt.Sprintf("%s[%d]", path, i), v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := checkNumbers(path+"."+it.Key().String(), it.Value()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		return checkFields(path, v)
	}
	return nil
}

func checkFields(path string, v reflect.Value) error {
	t := v.Type()
	if t.PkgPath() == "time" {
		return nil
	}
	if s, ok := v.Interface().(Stage); ok {
		// Options are free: a negative option is fine, NaN is not.
		return checkOptions(path+"."+s.Name, s.Options)
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		switch {
		case t.Field(i).Anonymous:
			name = path
		case path != "":
			name = path + "." + name
		}
		if err := checkNumbers(name, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func checkOptions(path string, o any) error {
	switch o := o.(type) {
	case float64:
		if !finite(o) {
			return fmt.Errorf("%s: %v is not a figure", path, o)
		}
	case map[string]any:
		for k, v := range o {
			if err := checkOptions(path+"."+k, v); err != nil {
				return err
			}
		}
	case []any:
		for i, v := range o {
			if err := checkOptions(fmt.Sprintf("%s[%d]", path, i), v); err != nil {
				return err
			}
		}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// clip shortens s to at most n bytes, at a rune boundary, with an ellipsis.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
