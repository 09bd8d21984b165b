package carbon

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/energy/api/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// server answers with the fixtures and checks the credentials that each service wants.
func server(t *testing.T) *httptest.Server {
	serve := func(w http.ResponseWriter, ok bool, file string) {
		if !ok {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(fixture(t, file))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v3/carbon-intensity/latest", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r.Header.Get("auth-token") == "sesame" && r.FormValue("zone") == "DE", "electricitymaps_v3_latest.json")
	})
	mux.HandleFunc("/v3/carbon-intensity/forecast", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r.Header.Get("auth-token") == "sesame", "electricitymaps_v3_forecast.json")
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		serve(w, u == "ali" && p == "sesame", "watttime_login.json")
	})
	mux.HandleFunc("/v3/forecast", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r.Header.Get("Authorization") == "Bearer abcdef0123456789yourtoken", "watttime_v3_forecast.json")
	})
	mux.HandleFunc("/intensity", func(w http.ResponseWriter, r *http.Request) { serve(w, true, "neso_intensity.json") })
	mux.HandleFunc("/regional/postcode/RG10", func(w http.ResponseWriter, r *http.Request) { serve(w, true, "neso_regional_postcode.json") })
	mux.HandleFunc("/v2/electricity/rto/fuel-type-data/data/", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r.FormValue("api_key") == "sesame" && r.FormValue("facets[respondent][]") == "CISO", "eia_v2_fuel_type_data.json")
	})
	mux.HandleFunc("/api", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r.FormValue("securityToken") == "sesame" && r.FormValue("periodStart") == "202601101000", "entsoe_a75.xml")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestServices(t *testing.T) {
	c := Client{Base: server(t).URL, User: "ali", Key: "sesame", Backoff: time.Millisecond}
	ctx := context.Background()
	check := func(name string, s Series, err error, basis string, want ...float64) {
		t.Helper()
		var got []float64
		for _, p := range s.Points {
			got = append(got, math.Round(float64(p.Intensity)*1000)/1000)
		}
		if err != nil || !slices.Equal(got, want) || !strings.HasPrefix(s.Basis, basis) || s.Fetched.IsZero() || s.Stale {
			t.Errorf("%s: %v, want %v; %+v, %v", name, got, want, s, err)
		}
	}
	s, err := c.ElectricityMaps(ctx, "DE", false)
	check("electricitymaps", s, err, "average", 302)
	if !s.Points[0].Estimated || len(s.Notes) == 0 {
		t.Errorf("the estimate is not marked: %+v", s)
	}
	s, err = c.ElectricityMaps(ctx, "DE", true)
	check("electricitymaps forecast", s, err, "average", 302, 281)
	s, err = c.WattTime(ctx, "CAISO_NORTH")
	check("watttime", s, err, "marginal", 394.625, 391.995)
	s, err = c.NESO(ctx, "", false)
	check("neso", s, err, "average", 266)
	if !s.Points[0].Forecast || len(s.Notes) == 0 {
		t.Errorf("the forecast is not marked: %+v", s)
	}
	s, err = c.NESO(ctx, "RG10", false)
	check("neso regional", s, err, "average", 126)
	if !strings.Contains(strings.Join(s.Notes, ""), "91.4") {
		t.Errorf("the mix that does not add up is not mentioned: %q", s.Notes)
	}
	s, err = c.EIA(ctx, "CISO")
	check("eia", s, err, "average, production-based", 48) // solar alone: IPCC median 48, 18 to 180
	if mixes := s.Mixes; len(mixes) != 1 || mixes[0].MWh["SUN"] != 10123 || mixes[0].MWh["NG"] != -3 || !mixes[0].To.Equal(at("2026-01-10T11:00:00Z")) {
		t.Errorf("eia: %+v", mixes)
	} else if p := s.Points[0]; p.Lo != 18 || p.Hi != 180 || p.Covered != 1 || s.Zone != "CISO" || !strings.Contains(strings.Join(s.Notes, ""), "imports are not in it") {
		t.Errorf("eia intensity %+v, %+v", p, s)
	}
	s, err = c.ENTSOE(ctx, "10YFR-RTE------C", at("2026-01-10T10:00:00Z"), at("2026-01-10T11:00:00Z"))
	if err != nil || len(s.Mixes) != 1 || s.Mixes[0].MWh["B14"] != 40900 || len(s.Points) != 1 { // 41000, 41000, 40800, 40800 MW for a quarter of an hour each
		t.Errorf("entsoe: %+v, %v", s, err)
	}
}

// TestMixOutage: a mix that is answered from the cache since the service is down is marked stale, with the time of the answer.
func TestMixOutage(t *testing.T) {
	down := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case down:
			http.Error(w, "no", http.StatusServiceUnavailable)
		case r.URL.Path == "/api":
			_, _ = w.Write(fixture(t, "entsoe_a75.xml"))
		default:
			_, _ = w.Write(fixture(t, "eia_v2_fuel_type_data.json"))
		}
	}))
	defer s.Close()
	start := at("2026-01-10T12:00:00Z")
	now := start
	c := Client{Base: s.URL, Key: "k", Dir: t.TempDir(), Retries: 1, Backoff: time.Millisecond, Now: func() time.Time { return now }}
	ctx := context.Background()
	for _, ask := range []func() (Series, error){
		func() (Series, error) { return c.EIA(ctx, "CISO") },
		func() (Series, error) { return c.ENTSOE(ctx, "10YFR-RTE------C", start, start.Add(time.Hour)) },
	} {
		down, now = false, start
		if s, err := ask(); err != nil || s.Stale || !s.Fetched.Equal(start) {
			t.Errorf("%+v, %v", s, err)
		}
		down, now = true, start.AddDate(9, 0, 0)
		if s, err := ask(); err != nil || !s.Stale || !s.Fetched.Equal(start) {
			t.Errorf("nine years later: %+v, %v", s, err)
		}
	}
}

func TestWrongKeyIsToldButNotShown(t *testing.T) {
	c := Client{Base: server(t).URL, User: "ali", Key: "sesam-oeffne-dich", Retries: 1, Backoff: time.Millisecond}
	ctx := context.Background()
	_, e1 := c.ElectricityMaps(ctx, "DE", false)
	_, e2 := c.EIA(ctx, "CISO")
	_, e3 := c.WattTime(ctx, "X")
	c.Base = "http://127.0.0.1:1" // nobody there: the error of the transport holds the whole address
	_, e4 := c.EIA(ctx, "CISO")
	for i, err := range []error{e1, e2, e3, e4} {
		if !errors.Is(err, ErrLive) || strings.Contains(err.Error(), "sesam") {
			t.Errorf("%d: %v", i, err)
		}
	}
	if !strings.Contains(e1.Error(), "401") || !strings.Contains(e1.Error(), "who are you?") {
		t.Error(e1)
	}
}

// TestCacheAndOutage: a fresh answer comes from the cache, a failing service leaves the last answer, marked stale; without
// one there is an error and no figure.
func TestCacheAndOutage(t *testing.T) {
	down, hits := false, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		if down {
			w.Header().Set("Retry-After", "0")
			http.Error(w, "busy", http.StatusTooManyRequests)
			return
		}
		_, _ = w.Write(fixture(t, "neso_intensity.json"))
	}))
	defer s.Close()
	now := at("2026-01-10T12:10:00Z")
	c := Client{Base: s.URL, Dir: t.TempDir(), TTL: time.Hour, Backoff: time.Millisecond, Retries: 2, Now: func() time.Time { return now }}
	ctx := context.Background()
	for range 3 {
		if r, err := c.NESO(ctx, "", false); err != nil || r.Stale || hits != 1 {
			t.Fatalf("%+v, %v, %d requests", r, err, hits)
		}
	}
	down = true
	now = now.Add(2 * time.Hour)
	r, err := c.NESO(ctx, "", false)
	if err != nil || !r.Stale || now.Sub(r.Fetched) != 2*time.Hour || hits != 4 {
		t.Errorf("%+v, %v, %d requests", r, err, hits)
	}
	if _, err := r.At(now); err == nil {
		t.Error("a figure was stretched over a time that it was not given for")
	}
	c.Dir = t.TempDir()
	if r, err := c.NESO(ctx, "", false); !errors.Is(err, ErrLive) || len(r.Points) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.NESO(stopped, "", false); err == nil {
		t.Error("a cancelled request gave an answer")
	}
}

func TestRedirectRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusFound)
	}))
	defer s.Close()
	c := Client{Base: s.URL, Key: "sesame", Retries: 1, Backoff: time.Millisecond}
	if _, err := c.ElectricityMaps(context.Background(), "DE", false); err == nil || !strings.Contains(err.Error(), "redirect") {
		t.Error(err)
	}
}

func TestGreenest(t *testing.T) {
	start := at("2026-01-10T00:00:00Z")
	s := Series{Source: "test", Basis: "marginal"}
	for i, v := range []float64{400, 300, 100, 200, 500} {
		from := start.Add(time.Duration(i) * time.Hour)
		if err := s.add(from, time.Hour, &v, true, false); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Greenest(s, 90*time.Minute, start, start.Add(5*time.Hour))
	// the best 90 minutes are all of the hour at 100 and half of the one at 200
	if err != nil || !a.Start.Equal(start.Add(2*time.Hour)) || math.Abs(float64(a.Best)-400.0/3) > 1e-9 || math.Abs(float64(a.Now)-1100.0/3) > 1e-9 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := Greenest(s, time.Hour, start.Add(-time.Hour), start.Add(5*time.Hour)); err == nil {
		t.Error("advice without a figure for now")
	}
	if _, err := Greenest(s, 3*time.Hour, start, start.Add(time.Hour)); err == nil {
		t.Error("advice for work that does not fit")
	}
}

func FuzzServices(f *testing.F) {
	for i, name := range []string{"electricitymaps_v3_latest.json", "electricitymaps_v3_forecast.json", "watttime_v3_forecast.json", "neso_intensity.json",
		"neso_regional_postcode.json", "eia_v2_fuel_type_data.json", "entsoe_a75.xml", "watttime_login.json"} {
		f.Add(fixture(f, name), i)
	}
	f.Fuzz(func(t *testing.T, body []byte, _ int) {
		if len(body) > 64<<10 {
			return
		}
		for _, parse := range []func([]byte) (Series, error){ParseElectricityMaps, ParseWattTime, ParseNESO} {
			s, err := parse(body)
			if err != nil {
				continue
			}
			for _, p := range s.Points {
				if !(p.Intensity >= 0) || math.IsInf(float64(p.Intensity), 0) || !p.To.After(p.From) {
					t.Fatalf("%+v", p)
				}
			}
		}
		if token, err := parseWattTimeLogin(body); err == nil && (token == "" || strings.ContainsAny(token, "\r\n")) {
			t.Fatalf("token %q", token)
		}
		if ms, err := ParseEIA(body); err == nil {
			for _, m := range ms {
				_, _ = m.Intensity()
			}
		}
		if m, err := ParseENTSOE(body); err == nil {
			_, _ = m.Intensity()
		}
	})
}

// TestGreenestFromNow: a forecast whose first point is the next hour answers for work that could begin now.
func TestGreenestFromNow(t *testing.T) {
	hour := time.Date(2026, 1, 10, 18, 0, 0, 0, time.UTC)
	s := Series{Source: "test", Basis: "average", Points: []Point{
		{From: hour, To: hour.Add(time.Hour), Intensity: 300}, {From: hour.Add(time.Hour), To: hour.Add(2 * time.Hour), Intensity: 200}}}
	a, err := Greenest(s, time.Hour, hour.Add(-4*time.Minute), hour.Add(24*time.Hour))
	if err != nil || !a.Start.Equal(hour.Add(time.Hour)) || a.Now != 300 || a.Best != 200 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := Greenest(s, time.Hour, hour.Add(-2*time.Hour), hour.Add(24*time.Hour)); err == nil {
		t.Error("an answer for hours before the forecast")
	}
}
