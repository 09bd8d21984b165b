package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/reports"
)

// TestMeasureLive: measure --live asks the service at another address, with the key from the environment, and its result has the
// figure with source and time; without the key, or where the service fails, the yearly table's figure with the reason.
func TestMeasureLive(t *testing.T) {
	body, err := os.ReadFile("../../testdata/energy/api/electricitymaps_v3_latest.json")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Hour).Format("2006-01-02T15:04:05.000Z")
	down := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down || r.Header.Get("auth-token") != "sesame" || r.FormValue("zone") != "DE" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(strings.ReplaceAll(string(body), "2026-01-10T18:00:00.000Z", now)))
	}))
	defer s.Close()
	t.Setenv(envIntensityURL, s.URL)
	t.Setenv(envLockDir, t.TempDir())
	measured := func() *reports.Intensity {
		t.Helper()
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		var out, errw bytes.Buffer
		if code := run(context.Background(), []string{"wattshed", "measure", "../../testdata/spam/model.onnx", "--sequence", "8", "--pairs", "6", "--precision", "1", "--block-seconds", "0.01",
			"--max-seconds", "1", "--zone", "DEU", "--live", "electricitymaps:DE", "--json", "--quiet"}, nil, &out, &errw); code != exitOK {
			t.Fatalf("exit %d: %s", code, errw.String())
		}
		res, err := reports.Load(&out)
		if err != nil || res.Variants[0].Carbon == nil {
			t.Fatalf("%v: %s", err, errw.String())
		}
		return res.Variants[0].Carbon.Intensity
	}
	t.Setenv(envElectricityMaps, "sesame")
	if got := measured(); got.GPerKWh != 302 || got.Live == nil || got.Live.Failed != "" || !strings.Contains(got.Source, "Electricity Maps v3, live") {
		t.Errorf("%+v, %+v", got, got.Live)
	}
	down = true
	if got := measured(); got.Zone != "DEU" || got.Live == nil || !strings.Contains(got.Live.Failed, "403") {
		t.Errorf("%+v, %+v", got, got.Live)
	}
	t.Setenv(envElectricityMaps, "")
	if got := measured(); got.Zone != "DEU" || got.Live == nil || !strings.Contains(got.Live.Failed, "set "+envElectricityMaps) {
		t.Errorf("%+v, %+v", got, got.Live)
	}
}
