package carbon

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParseLive(t *testing.T) {
	for spec, want := range map[string][2]string{"electricitymaps:DE": {"electricitymaps", "DE"}, "neso": {"neso", ""}, "neso:RG10": {"neso", "RG10"},
		"entsoe:10YFR-RTE------C": {"entsoe", "10YFR-RTE------C"}, "eia:CISO": {"eia", "CISO"}} {
		if s, z, err := ParseLive(spec); err != nil || s != want[0] || z != want[1] {
			t.Errorf("%s: %q %q, %v", spec, s, z, err)
		}
	}
	for spec, want := range map[string]string{"watttime:CAISO_NORTH": "marginal", "electricitymaps": "electricitymaps:ZONE", "eia:": "eia:ZONE", "": "want neso", "grid:DE": "want neso",
		"eia:" + strings.Repeat("x", 99): "no zone"} {
		if _, _, err := ParseLive(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

// TestLatestFactor: the figure that covers the time, one that ended before it, and none; and never a marginal one.
func TestLatestFactor(t *testing.T) {
	now := at("2026-01-10T18:20:00Z")
	c := Client{Base: server(t).URL, User: "ali", Key: "sesame", Backoff: time.Millisecond, Now: func() time.Time { return now }}
	ctx := context.Background()
	s, err := c.Latest(ctx, "electricitymaps", "DE")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Factor("electricitymaps", "DE", now)
	if err != nil || f.Intensity != 302 || f.Year != 2026 || f.Zone != "DE" || f.Live == nil || f.Live.Late || !f.Live.Estimated || !f.Live.Fetched.Equal(now) || !strings.Contains(f.Source, "live: 2026-01-10 18:00 to 19:00 UTC") {
		t.Errorf("%+v, %+v, %v", f, f.Live, err)
	}
	if d := strings.Join(f.Live.Doubts(now), "; "); !strings.Contains(d, "estimated") {
		t.Errorf("doubts %q", d)
	}
	f, err = s.Factor("electricitymaps", "DE", at("2026-01-11T19:00:00Z"))
	if err != nil || !f.Live.Late || !strings.Contains(strings.Join(f.Live.Doubts(at("2026-01-11T19:00:00Z")), ";"), "ended 24h0m0s before") {
		t.Errorf("a day later: %+v, %v", f, err)
	}
	if f, err = s.Factor("electricitymaps", "DE", at("2026-01-13T19:00:00Z")); !errors.Is(err, ErrLive) {
		t.Errorf("three days later: %+v, %v", f, err)
	}
	if s, err = c.Latest(ctx, "eia", "CISO"); err != nil {
		t.Fatal(err)
	}
	// Solar alone: 18 to 180 g/kWh in the literature, a quarter of which is the standard deviation.
	if f, err = s.Factor("eia", "CISO", at("2026-01-10T12:30:00Z")); err != nil || f.Intensity != 48 || f.SD != 40.5 || !f.Live.Late || f.Licence == "" {
		t.Errorf("%+v, %v", f, err)
	}
	if sd, assumed := f.Spread(); sd != 40.5 || assumed {
		t.Error(sd, assumed)
	}
	if s, err = c.WattTime(ctx, "CAISO_NORTH"); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Factor("watttime", "CAISO_NORTH", s.Points[0].From); !errors.Is(err, ErrLive) || !strings.Contains(err.Error(), "marginal") {
		t.Errorf("a marginal intensity was taken for an average: %v", err)
	}
	if _, err := c.Latest(ctx, "watttime", "CAISO_NORTH"); !errors.Is(err, ErrLive) {
		t.Error(err)
	}
}
