//go:build static

package ort

import (
	"context"
	"fmt"

	"github.com/wattshed/wattshed/engine"
)

// Static tells that this build has no ONNX Runtime.
const Static = true

// Runtime is not part of a static build.
type Runtime struct{ Library string }

var _ engine.Runtime = (*Runtime)(nil)

// Name returns "ort".
func (*Runtime) Name() string { return "ort" }

// Load always fails: a static binary cannot load a shared library.
func (*Runtime) Load(context.Context, engine.Artifact, engine.Options) (engine.Session, error) {
	return nil, fmt.Errorf("ort: %w: this is a static build", ErrNotFound)
}

// Find always fails in a static build.
func Find() (string, error) { return "", fmt.Errorf("ort: %w: this is a static build", ErrNotFound) }

// Path always fails in a static build.
func (*Runtime) Path() (string, error) { return Find() }

// Version always fails in a static build.
func (*Runtime) Version() (string, error) { return "", ErrNotFound }

// Providers always fails in a static build.
func (*Runtime) Providers() ([]string, error) { return nil, ErrNotFound }

// Candidate is a library that was found, and by what.
type Candidate struct{ Path, Source string }

// Candidates finds nothing in a static build.
func Candidates() ([]Candidate, error) { _, err := Find(); return nil, err }
