package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/quantize"
)

// TestSensedHow: the number of verify is claimed for weights that a file has, and for no others.
func TestSensedHow(t *testing.T) {
	stored, grid := quantize.Sensitivity{Weight: "a", SQNR: 41, Stored: true}, quantize.Sensitivity{Weight: "b", SQNR: 42}
	for _, c := range []struct {
		s         recipe.Sensed
		want, not string
	}{
		{recipe.Sensed{Weights: []quantize.Sensitivity{stored}}, "verify --against says of the file", "grid"},
		{recipe.Sensed{Weights: []quantize.Sensitivity{stored, grid}}, "verify --against says of the file;\nnot so where it is marked grid (1 of 2): as int8, quantize leaves", "of the one operator"},
		{recipe.Sensed{Weights: []quantize.Sensitivity{stored}, NoFile: "too little"}, "of the file of the one operator; of the whole model there is none: too little", "grid"},
		{recipe.Sensed{Weights: []quantize.Sensitivity{grid}}, "on a grid of int8: quantize stores none of them so", "verify"},
		{recipe.Sensed{Weights: []quantize.Sensitivity{grid}, NoOps: "no stage"}, "each weight alone, the one most harmful", "verify"},
	} {
		if got := sensedHow(&c.s, "int8"); !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%+v: %s", c.s, got)
		}
	}
	var b bytes.Buffer
	printSensitivity(&b, []quantize.Sensitivity{stored, grid})
	if got := b.String(); !strings.Contains(got, " 41.0  ") || !strings.Contains(got, " 42.0 grid ") {
		t.Errorf("the table is\n%s", got)
	}
}
