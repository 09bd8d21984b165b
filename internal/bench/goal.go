package main

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
)

// goal is what a row should reach: ORT/native, or the share of the bandwidth of reading. The zero value stands for a row without one.
type goal struct {
	Floor     float64 `json:"floor,omitempty"` // 0 = only an aim
	Aim       float64 `json:"aim,omitempty"`
	Bandwidth bool    `json:"of_bandwidth,omitempty"`
	Cosine    float64 `json:"least_cosine,omitempty"` // below it the figure is no figure of that model
}

// recurrent is the goal of the recurrent models.
var recurrent = goal{Floor: 1, Aim: 1.5}

// leastRounds is the number of paired rounds that a verdict takes.
const leastRounds = 20

// equalCosine is how much farther from the float model than ONNX Runtime's a quantized result may be and still count as equal: a last-bit
// difference moves an activation to the next of its 256 steps, which turns embeddings by less than that either way.
const equalCosine = 1e-3

// String prints floor and aim.
func (g goal) String() string {
	format := func(x float64) string {
		switch {
		case x == 0:
			return "-"
		case g.Bandwidth:
			return fmt.Sprintf("%.0f %%", 100*x)
		}
		return fmt.Sprintf("%g", x)
	}
	if g == (goal{}) {
		return "-"
	}
	return format(g.Floor) + ", " + format(g.Aim)
}

// verdict says whether the goal holds: whether the lower end of the 95 % interval is at or above it.
func (g goal) verdict(r *result) string {
	if g == (goal{}) || len(r.Ratios) == 0 {
		return "-"
	}
	lo := r.Ratios[0].Lo
	if g.Bandwidth {
		lo = r.RoofLo
	}
	switch {
	case r.Rounds < leastRounds:
		return fmt.Sprintf("open: fewer than %d rounds", leastRounds)
	case r.Cosine < g.Cosine:
		return fmt.Sprintf("open: the cosine is below %g", g.Cosine)
	case r.CosineORT != 0 && r.Cosine < r.CosineORT-equalCosine:
		return "open: the cosine is below that of ONNX Runtime"
	case lo >= g.Aim:
		return "holds, the aim too"
	case g.Floor == 0:
		return "below the aim"
	case lo >= g.Floor:
		return "holds"
	}
	return "open"
}

// withoutTiles is for rows about hosts with AMX.
func withoutTiles() string {
	if kernel.Active() == kernel.AMX {
		return ""
	}
	return "which lacks AMX"
}

// withoutVectorsOfBF16 is for rows about hosts that multiply bfloat16 on vectors and have no AMX.
func withoutVectorsOfBF16() string {
	f := kernel.Features()
	switch {
	case slices.Contains(f, "amxbf16"):
		return "which has AMX"
	case !slices.Contains(f, "avx512bf16"):
		return "which lacks AVX-512 BF16"
	case !kernel.BF16Fast():
		return "where products of bfloat16 are not in use"
	}
	return ""
}

// withoutVNNIOnly is for rows about hosts that multiply bytes with VNNI (on arm64 with its dot products) and have no AMX. Limiting the native
// engine would not make one of a host with AMX, which ONNX Runtime would still use.
func withoutVNNIOnly() string {
	f := kernel.Features()
	switch {
	case slices.Contains(f, "amxint8"):
		return "which has AMX"
	case slices.ContainsFunc([]string{"avx512vnni", "avxvnni", "asimddp"}, func(s string) bool { return slices.Contains(f, s) }):
		return ""
	}
	return "which lacks VNNI"
}

// withoutAVX2Only is for rows about hosts with AVX2 that have neither VNNI nor AMX.
func withoutAVX2Only() string {
	if s := withoutVNNIOnly(); s != "which lacks VNNI" {
		return "which has VNNI or AMX"
	}
	if !slices.Contains(kernel.Features(), "avx2") {
		return "which lacks AVX2"
	}
	return ""
}
