package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattshed/wattshed/internal/recipe"
)

// searchKillRecipe has more trials than kills, and steps in both directions: no scheme keeps the accuracy by its interval.
const searchKillRecipe = `version: 1
model: small.onnx
task: {kind: classification, data: test.jsonl, train: train.jsonl}
target: {threads: 1}
measure: {pairs: 4, max_pairs: 4, precision: 1, max_seconds: 2, block_seconds: 0.02, inputs: 4}
search: {max_seconds: 60, max_trials: 12, keep: 3, schemes: [{scheme: fp16}, {scheme: int8}]}
variants:
  - {name: given, stages: [{quantize: {scheme: int8}}]}
gates: {accuracy_drop: "<= 0.5"}
`

// TestSearchKill kills a search with SIGKILL while it makes trials, three times, and goes on with --resume: no finished trial is
// made again or changed, the decisions that rest on them are repeated, and the end is that of a search that nobody disturbed: a
// best trial, the models of the Pareto set and the report. A variant of the recipe that is one of the schemes is tried once.
func TestSearchKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for seconds")
	}
	dir := t.TempDir()
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "search.yaml"), []byte(searchKillRecipe), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "found")
	rng := rand.New(rand.NewPCG(12, 3))
	var before []byte // whole lines of the journal
	args := []string{"search", "search.yaml", "--out", "found", "--quiet"}
	for kill := range 3 {
		var output bytes.Buffer
		cmd := wattshed(dir, args...)
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		limit := time.After(time.Minute)
		for bytes.Count(wholeLines(out), []byte(`{"kind":"trial"`)) <= kill {
			select {
			case err := <-ended:
				t.Fatalf("the search ended before kill %d: %v\n%s", kill, err, &output)
			case <-limit:
				t.Fatalf("no trial in a minute\n%s", &output)
			case <-time.After(time.Millisecond):
			}
		}
		time.Sleep(time.Duration(rng.Int64N(int64(40 * time.Millisecond))))
		cmd.Process.Kill()
		<-ended
		now := wholeLines(out)
		if !bytes.HasPrefix(now, before) {
			t.Fatalf("kill %d: the journal lost lines", kill)
		}
		before = now
		args = []string{"search", "search.yaml", "--out", "found", "--quiet", "--resume"}
	}
	if b, err := wattshed(dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("last resume: %v\n%s", err, b)
	}
	if !bytes.HasPrefix(wholeLines(out), before) {
		t.Error("the journal lost lines")
	}
	b, err := os.ReadFile(filepath.Join(out, "search.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state recipe.SearchState
	if err := json.Unmarshal(b, &state); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, tr := range state.Trials {
		key := fmt.Sprint(tr.Mix)
		if tr.Mix == nil {
			key = tr.Name
		}
		if seen[key] {
			t.Errorf("trial %d, %s %v, was made twice", i, tr.Name, tr.Mix)
		}
		seen[key] = true
	}
	mixes := 0
	for _, tr := range state.Trials {
		if tr.Name == "int8" {
			t.Error("int8 was tried, which the variant given is")
		}
		if len(tr.Name) > 4 && tr.Name[:4] == "mix-" {
			mixes++
		}
	}
	if mixes == 0 {
		t.Errorf("no mix was tried: %d trials, ended: %s", len(state.Trials), state.Stopped)
	}
	if state.Best == "" || state.Winner == "" {
		t.Errorf("best %q, winner %q", state.Best, state.Winner)
	}
	for _, name := range append([]string{state.Best}, state.Pareto...) {
		if _, err := os.Stat(filepath.Join(out, "variants", name+".onnx")); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "report.html")); err != nil {
		t.Error(err)
	}
}

// wholeLines returns the finished lines of the journal of a folder.
func wholeLines(out string) []byte {
	b, _ := os.ReadFile(filepath.Join(out, "journal.jsonl"))
	return b[:bytes.LastIndexByte(b, '\n')+1]
}
