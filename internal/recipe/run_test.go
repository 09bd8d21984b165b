package recipe

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/reports"
)

// whole runs the tiny recipe without interruption, once.
func whole(t testing.TB) (dir string, res *reports.Result) {
	t.Helper()
	dir = t.TempDir()
	res, err := Run(context.Background(), tiny(t), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	return dir, res
}

func TestRunWhole(t *testing.T) {
	dir, res := whole(t)
	for _, name := range []string{"result.json", "result.csv", "report.md", "report.html", "variants/half.onnx", "variants/student-int8.onnx", journalName} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, checkpointsName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("checkpoints are left: %v", err)
	}
	if len(res.Variants) != 6 || res.Variants[0].Name != "baseline" {
		t.Fatalf("%d variants", len(res.Variants))
	}
	for i, v := range res.Variants {
		a := v.Accuracy
		if a == nil || a.N != 64 || a.CI95 == nil || (a.Delta == nil) != (i == 0) {
			t.Errorf("%s: accuracy %+v", v.Name, a)
		}
		if v.Latency == nil || len(v.Latency.Samples) != v.Latency.N || (v.Latency.Ratio == nil) != (i == 0) {
			t.Errorf("%s: latency", v.Name)
		}
		if v.Ops["LSTM"]+v.Ops["com.microsoft.DynamicQuantizeLSTM"] == 0 {
			t.Errorf("%s: operators %v", v.Name, v.Ops)
		}
		if v.Energy != nil || v.Carbon != nil {
			t.Errorf("%s: energy without a meter", v.Name)
		}
		if (v.Cost == nil) != (i == 0) || v.Cost != nil && (v.Cost.Joules != nil || v.Cost.Breakeven != nil || v.Cost.NoneDemonstrated) {
			t.Errorf("%s: cost %+v", v.Name, v.Cost)
		}
		if n, sum, err := fileDigest(filepath.Join(dir, "variants", v.Name+".onnx")); i > 0 && (err != nil || n != v.File.Bytes || sum != v.File.SHA256) {
			t.Errorf("%s: file %+v: %v", v.Name, v.File, err)
		}
		if i > 0 && len(v.Stages) == 0 || i > 0 && len(v.Notes) == 0 {
			t.Errorf("%s: stages %v, %d notes", v.Name, v.Stages, len(v.Notes))
		}
	}
	if s := res.Variants[3].Weights.Sparsity; s == nil || *s < 0.2 {
		t.Errorf("sparsity of the pruned variant %v", s)
	}
	if res.Impact != nil {
		t.Error("an impact without energy")
	}
	if len(res.Task.Baselines) != 3 {
		t.Errorf("simple methods %v", res.Task.Baselines)
	}
	f, err := os.Open(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read, err := reports.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := steady(t, res), steady(t, read); a != b {
		t.Errorf("result.json is not the result: %s", diff(a, b))
	}
	again(t, dir, read)
}

// again resumes the finished run: it must render the same result without working again.
func again(t *testing.T, dir string, first *reports.Result) {
	t.Helper()
	before, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"result.json", "report.html"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	o := options(dir)
	o.Resume = true
	o.Progress = func(what string, _, _ int) {
		for _, work := range []string{"training", "scoring", "measuring", "time by operator", "ceilings"} {
			if strings.Contains(what, work) {
				t.Errorf("a finished run is %s again", what)
			}
		}
	}
	res, err := Run(context.Background(), tiny(t), o)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the journal of a finished run has changed")
	}
	if !res.Finished.Equal(first.Finished) || !res.Started.Equal(first.Started) {
		t.Errorf("times %v to %v, were %v to %v", res.Started, res.Finished, first.Started, first.Finished)
	}
	for i := range res.Variants {
		a, b := first.Variants[i].Latency, res.Variants[i].Latency
		if a.P50 != b.P50 || a.N != b.N {
			t.Errorf("%s: latency %v of %d, was %v of %d", res.Variants[i].Name, b.P50, b.N, a.P50, a.N)
		}
	}
	for _, name := range []string{"result.json", "report.html"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// cancelAt runs the tiny recipe in dir and cancels it when match has held n times. It reports whether it came so far.
func cancelAt(t *testing.T, dir, match string, n int, resume bool) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := 0
	o := options(dir)
	o.Resume = resume
	o.Progress = func(what string, _, _ int) {
		if strings.Contains(what, match) {
			if seen++; seen == n {
				cancel()
			}
		}
	}
	_, err := Run(ctx, tiny(t), o)
	if err == nil && seen < n {
		return false
	}
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled at %q %d: %v", match, n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "result.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("canceled at %q %d: a result is left", match, n)
	}
	noPartials(t, dir)
	return true
}

// noPartials checks that no half-written file is left.
func noPartials(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".partial") || strings.Contains(filepath.Base(path), ".wattshed-")) {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestResumeAfterCancel(t *testing.T) {
	_, want := whole(t)
	for _, c := range []struct {
		match string
		n     int
	}{{"making half", 1}, {"sparse: training", 1}, {"sparse: training", 9}, {"student: training", 14}, {"loading", 2},
		{"scoring baseline", 1}, {"scoring student", 3}, {"measuring half", 1}, {"measuring", 5}, {"measuring", 9}, {"time by operator", 3}, {"simple methods", 1}, {"ceilings", 1}, {"writing", 1}} {
		dir := t.TempDir()
		if !cancelAt(t, dir, c.match, c.n, false) {
			t.Errorf("%q did not happen %d times", c.match, c.n)
			continue
		}
		if _, err := Run(context.Background(), tiny(t), options(dir)); !errors.Is(err, ErrUnfinished) {
			t.Errorf("%q: run again without resume: %v", c.match, err)
		}
		o := options(dir)
		o.Resume = true
		res, err := Run(context.Background(), tiny(t), o)
		if err != nil {
			t.Errorf("%q %d: %v", c.match, c.n, err)
			continue
		}
		if a, b := steady(t, want), steady(t, res); a != b {
			t.Errorf("%q %d: %s", c.match, c.n, diff(a, b))
		}
	}
}

func TestRunAnew(t *testing.T) {
	dir, first := whole(t)
	stray := filepath.Join(dir, "variants", "mine.txt")
	if err := os.WriteFile(stray, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if !cancelAt(t, dir, "scoring", 1, false) {
		t.Fatal("did not start anew")
	}
	for _, name := range []string{"result.json", "report.html", "result.csv", "report.md"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s of the earlier run is left beside an unfinished one", name)
		}
	}
	if _, err := os.Stat(stray); err != nil {
		t.Error(err)
	}
	o := options(dir)
	o.Resume = true
	res, err := Run(context.Background(), tiny(t), o)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := steady(t, first), steady(t, res); a != b {
		t.Error(diff(a, b))
	}
}

func TestRunOther(t *testing.T) {
	dir, _ := whole(t)
	o := options(dir)
	o.Resume = true
	other := parseIn(t, fixtureDir(t), tinyRecipe+"# another\n")
	if _, err := Run(context.Background(), other, o); !errors.Is(err, ErrOtherRun) || !strings.Contains(err.Error(), "the recipe differs") {
		t.Errorf("another recipe: %v", err)
	}
	o.Tool.Version = "next"
	if _, err := Run(context.Background(), tiny(t), o); !errors.Is(err, ErrOtherRun) || !strings.Contains(err.Error(), "version") {
		t.Errorf("another version: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, checkpointsName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused run leaves %v", err)
	}
}

func TestRunInUse(t *testing.T) {
	dir := t.TempDir()
	o := options(dir)
	busy := false
	o.Progress = func(what string, _, _ int) {
		if !busy && strings.HasPrefix(what, "making") {
			busy = true
			if _, err := Run(context.Background(), tiny(t), options(dir)); !errors.Is(err, ErrInUse) {
				t.Errorf("second run in the same folder: %v", err)
			}
		}
	}
	if _, err := Run(context.Background(), tiny(t), o); err != nil {
		t.Fatal(err)
	}
	if !busy {
		t.Error("not tried")
	}
}
