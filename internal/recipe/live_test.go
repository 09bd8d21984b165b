package recipe

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure/carbon"
)

// liveServer answers like Electricity Maps with the fixture, moved to the hour that contains now; it can be told to fail.
func liveServer(t *testing.T, hour func() time.Time) (client carbon.Client, fail *bool, asked *int) {
	t.Helper()
	body, err := os.ReadFile("../../testdata/energy/api/electricitymaps_v3_latest.json")
	if err != nil {
		t.Fatal(err)
	}
	fail, asked = new(bool), new(int)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked++
		if *fail || r.Header.Get("auth-token") != "sesame" {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(strings.ReplaceAll(string(body), "2026-01-10T18:00:00.000Z", hour().UTC().Format("2006-01-02T15:04:05.000Z"))))
	}))
	t.Cleanup(s.Close)
	return carbon.Client{Base: s.URL, Key: "sesame", Dir: t.TempDir(), TTL: time.Nanosecond, Retries: 1, Backoff: time.Millisecond}, fail, asked
}

// TestLive: a recipe without carbon.live asks nobody. With it the grams are of the service's figure, and where that fails of its last
// answer or of the yearly table; the result says which, and its source, time and age.
func TestLive(t *testing.T) {
	hour := time.Now().Truncate(time.Hour)
	client, fail, asked := liveServer(t, func() time.Time { return hour })
	begin := func(spec string) *run {
		return &run{recipe: &Recipe{Carbon: CarbonSpec{Zone: "DEU", Live: spec}}, journal: memoryJournal(), bound: &bound{},
			opt: Options{Live: client.Latest}}
	}
	factor := func(r *run) *carbonFactor {
		t.Helper()
		f, err := r.carbonFactor(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	table, err := carbon.Zone("DEU", hour.Year(), true)
	if err != nil {
		t.Fatal(err)
	}
	r := begin("")
	if f := factor(r); f.grid.Intensity != table.Intensity || f.intensity().Live != nil || *asked != 0 {
		t.Errorf("without carbon.live: %+v, asked %d times", f.grid, *asked)
	}
	r = begin("electricitymaps:DE")
	f := factor(r)
	got := f.intensity()
	if got.GPerKWh != 302 || got.Zone != "DE" || got.Live == nil || got.Live.Failed != "" || got.Live.Service != "electricitymaps" || !got.Live.From.Equal(hour) ||
		got.Live.Fetched.IsZero() || got.Live.Stale || !got.Live.Estimated || !strings.Contains(got.Source, "live: ") {
		t.Errorf("live: %+v, %+v", got, got.Live)
	}
	if w := strings.Join(r.warnings, "; "); !strings.Contains(w, "302 g/kWh from") || !strings.Contains(w, "estimated") {
		t.Errorf("warnings %q", w)
	}
	n := *asked
	if f := factor(r); f.grid.Intensity != 302 || *asked != n { // rendered again, or resumed
		t.Errorf("the service was asked anew: %d, then %d times", n, *asked)
	}
	*fail = true
	r = begin("electricitymaps:DE")
	if got := factor(r).intensity(); got.GPerKWh != 302 || !got.Live.Stale || !strings.Contains(strings.Join(r.warnings, "; "), "its last answer") {
		t.Errorf("outage with a cache: %+v, %q", got.Live, r.warnings)
	}
	client.Dir = ""
	r = begin("electricitymaps:DE")
	got = factor(r).intensity()
	if got.GPerKWh != float64(table.Intensity) || got.Zone != "DEU" || got.Year != table.Year || got.Live == nil || !strings.Contains(got.Live.Failed, "503") || strings.Contains(got.Live.Failed, "sesame") {
		t.Errorf("outage without a cache: %+v, %+v", got, got.Live)
	}
	if w := strings.Join(r.warnings, "; "); !strings.Contains(w, "no live intensity") || !strings.Contains(w, "yearly table, DEU") {
		t.Errorf("warnings %q", w)
	}
	r.opt.Live, r.journal = nil, memoryJournal()
	if got := factor(r).intensity(); got.GPerKWh != float64(table.Intensity) || got.Live.Failed == "" {
		t.Errorf("nobody to ask: %+v", got.Live)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	r.journal = memoryJournal()
	if _, err := r.carbonFactor(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, known := lookup[struct{}](r.journal, kindLive, ""); known {
		t.Error("a canceled question is in the journal as an answer")
	}
}

// TestLiveNeverBlocks: a service that does not answer costs a run no more than its time-out.
func TestLiveNeverBlocks(t *testing.T) {
	r := &run{recipe: &Recipe{Carbon: CarbonSpec{Zone: "DEU", Live: "neso"}}, journal: memoryJournal(), bound: &bound{}}
	r.opt.Live = func(ctx context.Context, _, _ string) (carbon.Series, error) {
		d, ok := ctx.Deadline()
		if !ok || time.Until(d) > liveTimeout {
			t.Errorf("deadline %v, %v", d, ok)
		}
		return carbon.Series{}, context.DeadlineExceeded // as after waiting for it
	}
	f, err := r.carbonFactor(context.Background())
	if err != nil || f.grid.Zone != "DEU" || !strings.Contains(f.grid.Live.Failed, "deadline") {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestLiveSpec: what cannot be asked is refused before any work is done.
func TestLiveSpec(t *testing.T) {
	for spec, want := range map[string]string{"watttime:CAISO_NORTH": "marginal", "electricitymaps": "electricitymaps:ZONE", "weather:DE": "want neso"} {
		r := Recipe{Carbon: CarbonSpec{Live: spec}}
		if err := r.checkCarbon(); err == nil || !strings.Contains(err.Error(), "carbon.live") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}
