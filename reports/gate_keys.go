package reports

import (
	"fmt"
	"math"
	"strings"
)

// gateKey is a figure that gates limit: what it is in words, between which values it lies whatever the model, and the figure of a variant
// against the baseline, false when absent.
type gateKey struct {
	key, what   string
	least, most float64
	figure      func(v, base *Variant) (figure, bool)
}

// gateKeys is the table of gates, in the order in which they are listed. A new gate is one line here.
func gateKeys() []gateKey {
	inf := math.Inf(1)
	return []gateKey{
		{"accuracy", "the score; without labels the fidelity: cosine to the original's outputs, or share of its decisions", -1, 1, accuracyValue},
		{"accuracy_drop", "by how much it is below the original's, 0.01 is a point", -2, 2, accuracyDrop},
		{"size_ratio", "bytes of the file over those of the original", 0, inf, sizeRatio},
		{"memory_ratio", "peak memory over the original's", 0, inf, memoryRatio},
		{"latency_ratio", "time of a run over the original's, in pairs", 0, inf, latencyRatio},
		{"latency_p95_s", "95th percentile of a run, in seconds", 0, inf, latencyP95},
		{"energy_ratio", "energy over the original's, in pairs", 0, inf, energyRatio},
		{"energy_j", "joules per inference", 0, inf, energyValue},
		{"carbon_ratio", "carbon over the original's", 0, inf, carbonRatio},
		{"breakeven_inferences", "inferences after which the energy of making the variant is saved again", 0, inf, breakeven},
	}
}

// gateNames are words that people look for, and the key that they stand for.
var gateNames = map[string]string{
	"fidelity": "accuracy", "cosine": "accuracy", "agreement": "accuracy", "score": "accuracy", "similarity": "accuracy", "fidelity_drop": "accuracy_drop",
	"cosine_drop": "accuracy_drop", "loss": "accuracy_drop", "p95": "latency_p95_s", "speedup": "latency_ratio", "joules": "energy_j",
}

// GateFor is the key that another word for a figure stands for; "" where none is known.
func GateFor(word string) string { return gateNames[strings.ToLower(word)] }

// GateKeys lists the keys that gates may have, in the order of GateWords.
func GateKeys() []string {
	var out []string
	for _, g := range gateKeys() {
		out = append(out, g.key)
	}
	return out
}

// GateWords are all gates with what they limit, as "accuracy (the score on the task ...)", between which sep stands.
func GateWords(sep string) string {
	var out []string
	for _, g := range gateKeys() {
		out = append(out, g.key+" ("+g.what+")")
	}
	return strings.Join(out, sep)
}

// GateTable is the same with a line for each, for a help text.
func GateTable() string {
	var b strings.Builder
	for _, g := range gateKeys() {
		fmt.Fprintf(&b, "  %-21s %s\n", g.key, g.what)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// fewValuesWords say what the cosine of outputs with n values shows; of so few, where n is 0.
func fewValuesWords(n int) string {
	what := "so few values"
	if n > 0 {
		what = plural(n, "value")
	}
	return "the cosine of outputs with " + what + " shows little but their signs (labelled data or `task: {kind: agreement}` show more)"
}

// possible is an error where the limit decides nothing: no value of the figure keeps it, or every one does. A cosine is -1 to 1, a share 0
// to 1, a drop the difference of two of them; the other figures are not below 0.
func (g Gate) possible() error {
	for _, k := range gateKeys() {
		if k.key != g.Key {
			continue
		}
		span := "at least " + num(k.least)
		if finite(k.most) {
			span = num(k.least) + " to " + num(k.most)
		}
		switch low, high := holds(g, k.least), holds(g, k.most); { // values between keep it if one end does
		case !low && !high:
			return fmt.Errorf("no value keeps it: %s is %s", g.Key, span)
		case low && high:
			return fmt.Errorf("every value keeps it: %s is %s", g.Key, span)
		}
	}
	return nil
}

// gateFigure is the figure that a key names; nil where there is no such gate.
func gateFigure(key string) func(v, base *Variant) (figure, bool) {
	for _, g := range gateKeys() {
		if g.key == key {
			return g.figure
		}
	}
	return nil
}
