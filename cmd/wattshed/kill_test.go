package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killRecipe trains in two variants and measures three: long enough to be killed in the middle of either.
const killRecipe = `version: 1
model: small.onnx
task: {kind: classification, data: test.jsonl, train: train.jsonl, validation: test.jsonl}
target: {threads: 1}
measure: {pairs: 16, max_pairs: 16, precision: 1, max_seconds: 60, block_seconds: 0.03, inputs: 4}
variants:
  - {name: int8, stages: [{quantize: {scheme: int8}}]}
  - {name: sparse, stages: [{prune: {sparsity: 0.5}}, {distill: {epochs: 30, batch: 1, seed: 7}}]}
  - {name: student, stages: [{distill: {student: {embedding: 16, hidden: 24}, epochs: 30, batch: 1}}, {quantize: {scheme: int8}}]}
gates: {size_ratio: "<= 1.5"}
`

// phases in which a run is killed.
const (
	inTraining  = "training"
	inMeasuring = "measuring"
	anywhere    = "anywhere"
)

// TestKill kills one run with SIGKILL again and again, at random moments inside training, inside measuring and
// anywhere, resumes it each time, and wants the files and the result of a run that nobody disturbed. Ten kills, or
// as many as WATTSHED_KILLS says, a third of them in training and a third in measuring.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for seconds")
	}
	kills := 10
	if s := os.Getenv("WATTSHED_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil || kills < 1 {
			t.Fatalf("WATTSHED_KILLS: %q: want a number", s)
		}
	}
	dir := t.TempDir()
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kill.yaml"), []byte(killRecipe), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := wattshed(dir, "run", "kill.yaml", "--out", "whole", "--quiet").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	k := killer{t: t, dir: dir, out: filepath.Join(dir, "killed"), rng: rand.New(rand.NewPCG(11, uint64(kills)))}
	for i := range kills {
		k.kill(phaseOf(i, kills))
	}
	if out, err := wattshed(dir, "run", "kill.yaml", "--out", "killed", "--resume", "--quiet").CombinedOutput(); err != nil {
		t.Fatalf("last resume: %v\n%s", err, out)
	}
	k.checkJournal("after the last resume")
	k.checkOnce()
	want, got := digests(t, filepath.Join(dir, "whole", "variants")), digests(t, filepath.Join(dir, "killed", "variants"))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("written models\n%v\nwant\n%v", got, want)
	}
	if got, want := lasting(t, k.out), lasting(t, filepath.Join(dir, "whole")); !bytes.Equal(got, want) {
		t.Errorf("result without times and energy:\n%s", differing(got, want))
	}
}

// phaseOf spreads the kills over the run: first training, then anything, then measuring.
func phaseOf(i, kills int) string {
	switch third := (kills + 2) / 3; {
	case i < third:
		return inTraining
	case i >= kills-third:
		return inMeasuring
	}
	return anywhere
}

func wattshed(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("wattshed", args...) // TestMain put it into PATH
	cmd.Dir = dir
	return cmd
}

// killer kills one run several times.
type killer struct {
	t       *testing.T
	dir     string
	out     string // of the run
	rng     *rand.Rand
	journal []byte         // at the last look
	epochs  map[string]int // finished epochs by stage, at the last look
}

// kill starts or resumes the run, waits until it did one more piece of work of the phase, waits for a random time
// and kills it.
func (k *killer) kill(phase string) {
	k.t.Helper()
	args := []string{"run", "kill.yaml", "--out", "killed", "--quiet"}
	if k.journal != nil {
		args = append(args, "--resume")
	}
	var output bytes.Buffer
	cmd := wattshed(k.dir, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	blocks, epochs := k.blocks(), total(k.look())
	limit := time.After(time.Minute)
	for phase != anywhere && !(phase == inTraining && total(k.look()) > epochs || phase == inMeasuring && k.blocks() > blocks) {
		select {
		case err := <-ended:
			k.t.Fatalf("the run ended before a kill in %s: %v\n%s", phase, err, &output)
		case <-limit:
			k.t.Fatalf("no %s in a minute\n%s", phase, &output)
		case <-time.After(time.Millisecond):
		}
	}
	span := 60 * time.Millisecond
	if phase == anywhere {
		span = 400 * time.Millisecond
	}
	time.Sleep(time.Duration(k.rng.Int64N(int64(span))))
	cmd.Process.Kill()
	<-ended
	if cmd.ProcessState.Success() {
		k.t.Fatalf("the run ended before it was killed\n%s", &output)
	}
	k.checkJournal("after a kill in " + phase)
	if phase == inTraining && bytes.Contains(k.journal, []byte(`{"kind":"variant","key":"student"`)) {
		k.t.Fatalf("the kill came after training: the recipe trains for too short a time")
	}
	k.t.Logf("killed in %s: %d journal lines, %d blocks, finished epochs %v", phase, bytes.Count(k.journal, []byte("\n")), k.blocks(), k.epochs)
}

// blocks counts the finished blocks in the journal on disk.
func (k *killer) blocks() int {
	b, _ := os.ReadFile(filepath.Join(k.out, "journal.jsonl"))
	return bytes.Count(b, []byte(`{"kind":"block"`))
}

// look reads how many epochs of each stage are finished, from the saved states.
func (k *killer) look() map[string]int {
	out := map[string]int{}
	paths, _ := filepath.Glob(filepath.Join(k.out, "checkpoints", "*", "trainer.state"))
	for _, p := range paths {
		b, err := os.ReadFile(p)
		_, b, found := bytes.Cut(b, []byte("\n"))
		if err != nil || !found || len(b) < 4 {
			continue
		}
		n := binary.LittleEndian.Uint32(b)
		var head struct{ History []json.RawMessage }
		if uint64(n) <= uint64(len(b)-4) && json.Unmarshal(b[4:4+n], &head) == nil {
			out[filepath.Base(filepath.Dir(p))] = len(head.History)
		}
	}
	return out
}

func total(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// checkJournal wants that nothing that was finished at the last look is undone: the whole lines of the journal are
// the beginning of the new one, and no stage has fewer finished epochs.
func (k *killer) checkJournal(when string) {
	k.t.Helper()
	b, err := os.ReadFile(filepath.Join(k.out, "journal.jsonl"))
	if err != nil && k.journal != nil {
		k.t.Fatal(err)
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	if !bytes.HasPrefix(b, k.journal) {
		k.t.Errorf("%s: the journal lost lines: it has %d, had %d", when, bytes.Count(b, []byte("\n")), bytes.Count(k.journal, []byte("\n")))
	}
	epochs := k.look()
	for stage, n := range k.epochs {
		if now, ok := epochs[stage]; ok && now < n {
			k.t.Errorf("%s: stage %s has %d finished epochs, had %d", when, stage, now, n)
		}
	}
	k.journal, k.epochs = b, epochs
}

// checkOnce wants that every variant, score and block is in the journal once, and as many blocks as the recipe asks for.
func (k *killer) checkOnce() {
	seen, blocks := map[string]int{}, 0
	for line := range bytes.Lines(k.journal) {
		var l struct {
			Kind, Key string
			Data      json.RawMessage
		}
		var b struct {
			Round    int
			Variant  string
			Position int
		}
		if err := json.Unmarshal(line, &l); err != nil {
			k.t.Fatal(err)
		}
		id := l.Kind + " " + l.Key
		if l.Kind == "block" {
			blocks++
			if err := json.Unmarshal(l.Data, &b); err != nil {
				k.t.Fatal(err)
			}
			id = fmt.Sprintf("block of %s, round %d, position %d", b.Variant, b.Round, b.Position)
		}
		if seen[id]++; seen[id] > 1 {
			k.t.Errorf("the journal has %s twice", id)
		}
	}
	if want := 3 * 16 * 2; blocks != want { // variants, pairs, blocks of a pair
		k.t.Errorf("%d blocks were measured, want %d", blocks, want)
	}
}

// digests returns the sha256 of every file of the folder.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.Name(), ".onnx") {
			out[f.Name()] = fmt.Sprintf("%x", sha256.Sum256(b))
		}
	}
	return out
}

// noise matches the warnings that tell how steady this one run was.
var noise = regexp.MustCompile(`pairs|MAD|correlated|drifts|blocks|MHz|°C|idle|energy of a block|reading the meter|break-even|not steady|counts this machine|counting this machine`)

// keep is what lasts of an object whose other values come from time, energy or memory.
func keep(o map[string]any, keys ...string) map[string]any {
	out := map[string]any{}
	for _, k := range keys {
		if v, ok := o[k]; ok {
			out[k] = v
		}
	}
	return out
}

// lasting returns result.json without what depends on time, energy or memory: the figures themselves, the statistics that their noise
// chose, and the warnings about it. What they rest on stays: sources, factors, weights, notes on the method, gates.
func lasting(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var res map[string]any
	if err := json.Unmarshal(b, &res); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"started", "finished", "roofline", "blocks", "idle"} {
		delete(res, key)
	}
	if list, ok := res["warnings"].([]any); ok {
		res["warnings"] = slices.DeleteFunc(list, func(w any) bool { return noise.MatchString(w.(string)) })
	}
	if o, ok := res["impact"].(map[string]any); ok {
		res["impact"] = keep(o, "weights", "missing", "source", "carbon_g_per_kwh")
	}
	if m, ok := res["meter"].(map[string]any); ok {
		res["meter"] = keep(m, "describe")
	}
	if m, ok := res["method"].(map[string]any); ok {
		delete(m, "statistic") // which interval the noise of this run asked for
		if list, ok := m["notes"].([]any); ok {
			m["notes"] = slices.DeleteFunc(list, func(n any) bool { return strings.HasPrefix(n.(string), "Reading the meter took") })
		}
	}
	for _, v := range res["variants"].([]any) {
		v := v.(map[string]any)
		for key, stay := range map[string][]string{"latency_s": nil, "throughput_per_s": nil, "throughput": nil, "energy_j": {"source"},
			"carbon_g": {"intensity", "pue", "source", "embodied_source"}, "cost": {"source"}, "memory_bytes": {"weights", "arena"}} {
			if o, ok := v[key].(map[string]any); ok && stay != nil {
				v[key] = keep(o, stay...)
			} else if stay == nil {
				delete(v, key)
			}
		}
		ops := map[string]any{}
		for _, p := range v["profile"].([]any) { // sorted by time
			p := p.(map[string]any)
			delete(p, "seconds")
			delete(p, "share")
			delete(p, "ci95")
			ops[fmt.Sprint(p["op"], p["kernel"])] = p
		}
		v["profile"] = ops
	}
	out, err := json.MarshalIndent(res, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// differing lists the lines that are not the same.
func differing(got, want []byte) string {
	var out strings.Builder
	a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y && out.Len() < 2000 {
			fmt.Fprintf(&out, "line %d: %s, want %s\n", i+1, strings.TrimSpace(x), strings.TrimSpace(y))
		}
	}
	return out.String()
}
