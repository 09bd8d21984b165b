package recipe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

var someID = identity{Recipe: "r", Model: "m", Data: "d", Version: "v", Host: "h"}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	j, err := openJournal(dir, "", someID, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := j.put(kindBlock, "", measure.Block{Round: i}); err != nil {
			t.Fatal(err)
		}
		if err := j.put(kindScore, "a", scores{Outcomes: []float64{float64(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.put(kindVariant, "a", func() {}); err == nil {
		t.Error("a value that is no JSON is recorded")
	}
	j.close()
	if _, err := openJournal(dir, "", someID, false); !errors.Is(err, ErrUnfinished) {
		t.Errorf("an unfinished journal is begun anew: %v", err)
	}
	k, err := openJournal(dir, "", someID, true)
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	if len(k.blocks) != 3 || k.done() != 4 || !k.started.Equal(j.started) {
		t.Errorf("%d blocks, %d pieces, started %v; want 3, 4, %v", len(k.blocks), k.done(), k.started, j.started)
	}
	if s, ok := lookup[scores](k, kindScore, "a"); !ok || s.Outcomes[0] != 2 {
		t.Errorf("score %v %v, want the last one", s, ok)
	}
	if _, ok := lookup[scores](k, kindScore, "b"); ok {
		t.Error("a score that was never recorded")
	}
	if _, ok := lookup[[]int](k, kindScore, "a"); ok {
		t.Error("a score read as something else")
	}
	calls := 0
	for range 2 {
		v, err := remember(k, kindProfile, "x", func() (int, error) { calls++; return 7, nil })
		if err != nil || v != 7 {
			t.Errorf("remember %v, %v", v, err)
		}
	}
	if _, err := remember(k, kindProfile, "y", func() (int, error) { return 0, errors.New("no") }); err == nil || k.done() != 5 || calls != 1 {
		t.Errorf("failed work is recorded: %v, %d pieces, %d calls", err, k.done(), calls)
	}
}

func TestJournalIdentity(t *testing.T) {
	dir := t.TempDir()
	j, err := openJournal(dir, "", someID, true)
	if err != nil {
		t.Fatal(err)
	}
	j.close()
	for what, change := range map[string]func(*identity){"recipe": func(i *identity) { i.Recipe = "x" }, "model": func(i *identity) { i.Model = "x" },
		"data": func(i *identity) { i.Data = "x" }, "version": func(i *identity) { i.Version = "x" }, "machine": func(i *identity) { i.Host = "x" }} {
		id := someID
		change(&id)
		if _, err := openJournal(dir, "", id, true); !errors.Is(err, ErrOtherRun) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestJournalDamage(t *testing.T) {
	head := `{"kind":"identity","data":{"recipe_sha256":"r","model_sha256":"m","data_sha256":"d","version":"v","host":"h","started":"2026-01-02T03:04:05Z"}}` + "\n"
	line := `{"kind":"score","key":"a","data":{"outcomes":[1]}}` + "\n"
	for name, c := range map[string]struct {
		text  string
		done  int
		fails bool
	}{
		"empty": {"", 0, false}, "head": {head, 0, false}, "torn head": {head[:20], 0, false}, "one": {head + line, 1, false},
		"twice": {head + line + line, 1, false}, "torn": {head + line + line[:9], 1, false}, "last unreadable": {head + line + "\x00\x00\x00\n", 1, false},
		"middle unreadable": {head + "\x00\x00\n" + line, 0, true}, "blank line": {head + "\n" + line, 0, true}, "no head": {line + line, 0, true},
		"two heads": {head + head + line, 0, true}, "another file": {"hello\nworld\n", 0, true}, "array": {head + "[1]\n" + line, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, journalName), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			j, err := openJournal(dir, "", someID, true)
			if c.fails {
				if !errors.Is(err, ErrJournal) {
					t.Errorf("error %v", err)
				}
				if b, _ := os.ReadFile(filepath.Join(dir, journalName)); string(b) != c.text {
					t.Error("a file that is not understood was changed")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if j.done() != c.done {
				t.Errorf("%d pieces, want %d", j.done(), c.done)
			}
			if err := j.put(kindScore, "b", scores{}); err != nil {
				t.Fatal(err)
			}
			j.close()
			k, err := openJournal(dir, "", someID, true)
			if err != nil || k.done() != c.done+1 {
				t.Fatalf("after one more: %v", err)
			}
			k.close()
		})
	}
}

func TestSetAsideKeepsOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd [name] *")
	for _, d := range []string{"variants", "plots"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"result.json", "mine.json", "variants/a.onnx", "variants/b.onnx", "variants/a.txt", "plots/x.png", "plots/x.txt", journalName} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := memoryJournal().setAside(dir, filepath.Join(dir, "variants", "b.onnx")); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, p := range []string{"*", "*/*"} {
		found, _ := filepath.Glob(filepath.Join(globEscape(dir), p))
		for _, f := range found {
			if info, err := os.Stat(f); err == nil && !info.IsDir() && filepath.Base(filepath.Dir(f)) != replacedName {
				left = append(left, filepath.Base(f))
			}
		}
	}
	if fmt.Sprint(left) != "[mine.json x.txt a.txt b.onnx]" {
		t.Errorf("left %v", left)
	}
	for _, name := range []string{"result.json", "variants/a.onnx", "plots/x.png", journalName} {
		if _, err := os.Stat(filepath.Join(dir, replacedName, name)); err != nil {
			t.Errorf("%s is not set aside: %v", name, err)
		}
	}
}

// compute runs all phases but the reports.
func compute(ctx context.Context, rec *Recipe, o Options) (*reports.Result, error) {
	r := newRun(rec, o)
	defer r.close()
	for _, phase := range []func(context.Context) error{r.open, r.makeAll, r.loadAll, r.scoreAll, r.memoryAll} {
		if err := phase(ctx); err != nil {
			return nil, err
		}
	}
	cmp, err := r.measureAll(ctx)
	if err != nil {
		return nil, err
	}
	return r.result(ctx, cmp)
}

// TestResumeAtEveryLine cuts the journal of a finished run after every line and in the middle of every line, and wants
// the same result each time; the lines that were whole stay as they are.
func TestResumeAtEveryLine(t *testing.T) {
	const text = `version: 1
model: model.onnx
task: {kind: classification, data: test.jsonl, train: train.jsonl, validation: validation.jsonl}
target: {threads: 1}
measure: {pairs: 2, max_pairs: 2, max_seconds: 5, block_seconds: 0.002, idle_seconds: 0.002, inputs: 2}
variants:
  - name: sparse
    stages: [{prune: {sparsity: 0.5}}, {distill: {epochs: 2, batch: 32}}]
  - name: student
    stages: [{distill: {student: {embedding: 4, hidden: 4, pooling: max}, epochs: 2, batch: 32}}]
`
	rec := parseIn(t, fixtureDir(t), text)
	dir := t.TempDir()
	want, err := compute(context.Background(), rec, options(dir))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, journalName)
	full, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(full, []byte("\n"))
	lines = lines[:len(lines)-1]
	if len(lines) < 20 {
		t.Fatalf("%d lines", len(lines))
	}
	at := 0
	for i, line := range lines {
		at += len(line)
		cuts := []int{at, at - len(line)/2}
		if testing.Short() && i%4 != 0 {
			continue
		}
		for _, cut := range cuts {
			if err := os.WriteFile(path, full[:cut], 0o644); err != nil {
				t.Fatal(err)
			}
			o := options(dir)
			o.Resume = true
			got, err := compute(context.Background(), rec, o)
			if err != nil {
				t.Fatalf("cut in line %d: %v", i+1, err)
			}
			if a, b := steady(t, want), steady(t, got); a != b {
				t.Errorf("cut in line %d: %s", i+1, diff(a, b))
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			whole := full[:cut][:bytes.LastIndexByte(full[:cut], '\n')+1]
			if !bytes.HasPrefix(b, whole) {
				t.Errorf("cut in line %d: finished work is recorded anew", i+1)
			}
			if n := repeated(t, b); n != "" && len(whole) > 0 {
				t.Errorf("cut in line %d: %s is done twice", i+1, n)
			}
		}
	}
}

// repeated returns a piece of work that the journal has twice, "" for none. Lines that grow with the idle before and
// after are left out.
func repeated(t *testing.T, journal []byte) string {
	t.Helper()
	seen := map[string]bool{}
	for line := range bytes.Lines(journal) {
		var l journalLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		key := l.Kind + "/" + l.Key
		if l.Kind == kindBlock {
			var b measure.Block
			if err := json.Unmarshal(l.Data, &b); err != nil {
				t.Fatal(err)
			}
			key = fmt.Sprintf("block %d %s %d", b.Round, b.Variant, b.Position)
		}
		if seen[key] && l.Kind != kindIdle {
			return key
		}
		seen[key] = true
	}
	return ""
}

func FuzzJournal(f *testing.F) {
	head := `{"kind":"identity","data":{"recipe_sha256":"r","model_sha256":"m","data_sha256":"d","version":"v","host":"h","started":"2026-01-02T03:04:05Z"}}` + "\n"
	f.Add([]byte(head + `{"kind":"score","key":"a","data":{"outcomes":[1]}}` + "\n"))
	f.Add([]byte(head + `{"kind":"block","data":{"round":1}}` + "\n" + `{"kind":"block","data":null}` + "\n{"))
	f.Add([]byte(head + head))
	f.Add([]byte("\n\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		j := memoryJournal()
		whole, err := j.load(b)
		if err != nil {
			if !errors.Is(err, ErrJournal) {
				t.Errorf("error %v", err)
			}
			return
		}
		if whole > len(b) || whole > 0 && b[whole-1] != '\n' {
			t.Fatalf("%d whole bytes of %d", whole, len(b))
		}
		k := memoryJournal()
		if again, err := k.load(b[:whole]); err != nil || again != whole || k.done() != j.done() {
			t.Fatalf("the whole lines read again: %d bytes, %d pieces, %v; were %d, %d", again, k.done(), err, whole, j.done())
		}
		lookup[journalHead](j, kindIdentity, "")
		lookup[*made](j, kindVariant, "a")
		lookup[scores](j, kindScore, "a")
		lookup[[]reports.OpProfile](j, kindProfile, "a")
	})
}

// BenchmarkJournalBlock is what recording a block costs between blocks: 1 s of a model of 0.5 ms.
func BenchmarkJournalBlock(b *testing.B) {
	j, err := openJournal(b.TempDir(), "", someID, false)
	if err != nil {
		b.Fatal(err)
	}
	defer j.close()
	block := measure.Block{Variant: "int8", Passes: 125, Inferences: 2000, Wall: time.Second}
	for i := range 2000 {
		block.Samples = append(block.Samples, 500*time.Microsecond+time.Duration(i)*time.Nanosecond)
	}
	for b.Loop() {
		if err := j.put(kindBlock, "", block); err != nil {
			b.Fatal(err)
		}
	}
	info, err := j.f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/float64(len(j.blocks)), "B/block")
}
