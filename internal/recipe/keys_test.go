package recipe

import "testing"

// TestNearestWord: what people mistype, and what nobody meant.
func TestNearestWord(t *testing.T) {
	commands := []string{"run", "search", "prune", "quantize", "measure", "eval", "report"}
	for typed, want := range map[string]string{"rnu": "run", "qantize": "quantize", "quant": "quantize", "Prune": "prune", "mesure": "measure", "evla": "eval",
		"measurements": "measure", "reporting": "report", "frobnicate": "", "x": "", "": "", "compress": "", "running": ""} {
		if got := Nearest(typed, commands); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
