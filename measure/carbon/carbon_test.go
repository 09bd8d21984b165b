package carbon

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// TestZones compares with rows of the published tables.
func TestZones(t *testing.T) {
	for code, want := range map[string]struct {
		g    float64
		year int
	}{"AFG": {123.71, 2023}, "usa": {383.55, 2024}, "World": {472.99, 2024}, "EU": {213.31, 2024}, "US-CA": {0, 2024}, "gcp:asia-east1": {439.29, 2024}} {
		f, err := Zone(code, 2026, false)
		if err != nil {
			t.Errorf("%s: %v", code, err)
			continue
		}
		if want.g > 0 && float64(f.Intensity) != want.g || f.Year != want.year || f.Source == "" || f.Licence == "" || f.Basis == "" || f.Stale {
			t.Errorf("%s: %+v", code, f)
		}
	}
	all, err := Zones()
	if err != nil || len(all) != 222+53+44 {
		t.Errorf("%d zones, %v", len(all), err)
	}
	seen := map[string]bool{}
	for _, f := range all {
		sd, _ := f.Spread() // every row has year, source, licence and an uncertainty
		if seen[f.Zone] || f.Intensity > 1500 || f.Year < 2015 || f.Source == "" || f.Licence == "" || f.Basis == "" || f.Intensity > 0 && !(sd > 0) {
			t.Errorf("zone %+v", f)
		}
		seen[f.Zone] = true
	}
}

func TestZoneErrors(t *testing.T) {
	for code, hint := range map[string]string{"DEX": "DEU (Germany)", "DE": "DEU (Germany)", "Germny": "DEU (Germany)", "Georgia": "GEO (Georgia)", "US-CAL": "US-CA (California)",
		"gcp:europe-west99": "gcp:europe-west9", strings.Repeat("x", 1000): ""} {
		_, err := Zone(code, 2026, false)
		if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%.20s: %v, want a hint at %s", code, err, hint)
		}
	}
	for name, code := range map[string]string{"Germany": "DEU", "germany": "DEU", "California": "US-CA", "world": "World"} {
		if f, err := Zone(name, 2026, true); err != nil || f.Zone != code {
			t.Errorf("%s: %q, %v, want %s", name, f.Zone, err, code)
		}
	}
	if _, err := Zone("AFG", 2030, false); !errors.Is(err, ErrOld) {
		t.Errorf("a factor seven years old: %v", err)
	}
	if f, err := Zone("AFG", 2030, true); err != nil || !f.Stale {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := Zone("AFG", 2027, false); err != nil || !f.Stale {
		t.Errorf("a factor four years old: %+v, %v", f, err)
	}
}

func TestPUE(t *testing.T) {
	for _, c := range []struct {
		provider, set string
		want          float64
	}{{"unknown", "", 1.56}, {"aws", "", 1.2}, {"aws", "ccf", 1.135}, {"on_premise_device", "", 1}} {
		p, err := ProviderPUE(c.provider, c.set, 2026)
		if err != nil || p.Value != c.want || p.Lo > p.Value || p.Hi < p.Value || p.Source == "" || p.Licence == "" || p.Stale {
			t.Errorf("%s %s: %+v, %v", c.provider, c.set, p, err)
		}
	}
	if _, err := ProviderPUE("azur", "", 2026); err == nil || !strings.Contains(err.Error(), "azure") {
		t.Errorf("azur: %v", err)
	}
	if p, err := ProviderPUE("aws", "", 2027); err != nil || !p.Stale {
		t.Errorf("a PUE of 2023 in 2027: %+v, %v", p, err)
	}
	if _, err := SitePUE(0.9); err == nil {
		t.Error("a PUE below 1 was accepted")
	}
}

func TestFuel(t *testing.T) {
	f, err := Fuel("coal", "ipcc_ar5", 2026)
	if err != nil || f.Intensity != 820 || f.Lo != 740 || f.Hi != 910 || f.Year != 2014 || !f.Stale || f.Licence == "" || !strings.Contains(f.Source, "IPCC AR5") {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := Fuel("coal", "codecarbon", 2026); err != nil || f.Intensity != 995 || f.Stale || f.Licence != "MIT" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := Fuel("coal", "own", 2026); err == nil {
		t.Error("a set that does not exist")
	}
}

// TestServerAgainstPublished checks the formula against totals that Cloud Carbon Footprint publishes.
func TestServerAgainstPublished(t *testing.T) {
	text, err := os.ReadFile("data/embodied_instance_platform.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := measure.ReadTable(text, "provider", "family", "instance", "microarchitecture", "memory_kg", "storage_kg", "cpu_kg", "gpu_kg", "platform_total_kgco2e")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, r := range rows {
		ours, ok := map[string]float64{"m5.metal": Server(2, 384, 0, 0, 0), "a1.medium": Server(1, 32, 0, 0, 0)}[r[2]]
		if !ok || r[0] != "aws" {
			continue
		}
		found++
		if kg, err := amount(r[8]); err != nil || math.Abs(kg-ours) > 0.01 { // published to two digits
			t.Errorf("%s: %v kg, our formula %v, %v", r[2], kg, ours, err)
		}
	}
	if found < 2 {
		t.Errorf("%d of the two instances are in the table", found)
	}
}

func TestAssess(t *testing.T) {
	grid := Factor{Intensity: 300, SD: 30}
	pue := PUE{Value: 1.5, Lo: 1.5, Hi: 1.5}
	hw := &Hardware{Total: 35040 * 3600, Reserved: 1, Of: 2, U: 0.5} // 1 g per second of life, half of the machine
	f, err := Assess(Work{Energy: 3600, EnergyU: 0.1, Time: time.Second, Grid: grid, PUE: pue, Hardware: hw}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(float64(f.Operational)-0.45) > 1e-12 || math.Abs(float64(*f.Embodied)-0.5) > 1e-12 || math.Abs(float64(f.Total)-0.95) > 1e-12 {
		t.Errorf("%+v, embodied %v", f, *f.Embodied)
	}
	if !f.CI95.Contains(0.95) || f.Tornado[0].Input != "embodied" {
		t.Errorf("%+v", f)
	}
	// Without hardware the operational product has one random factor of weight: sd 10 % of the intensity. The
	// 97.5 % quantile of 10,000 draws has a standard error of 0.0012 here; 5 of them.
	f, err = Assess(Work{Energy: 3600, Grid: grid, PUE: pue}, 1)
	if err != nil || f.Embodied != nil || math.Abs(f.CI95.Hi-0.45*1.196) > 0.006 || math.Abs(f.CI95.Lo-0.45*0.804) > 0.006 {
		t.Errorf("%+v, %v", f, err)
	}
	again, _ := Assess(Work{Energy: 3600, Grid: grid, PUE: pue}, 1)
	if again.CI95 != f.CI95 {
		t.Error("the same seed gave another interval")
	}
	for _, bad := range []Work{{Energy: -1, Grid: grid, PUE: pue}, {Energy: measure.Joules(math.NaN()), Grid: grid, PUE: pue}, {Energy: 1, Grid: grid},
		{Energy: 1, Grid: grid, PUE: pue, Hardware: &Hardware{Total: 1, Reserved: 3, Of: 2}}} {
		if _, err := Assess(bad, 1); err == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}

func TestSCIAndWater(t *testing.T) {
	if g, err := SCI(2, 500, 1000); err != nil || g != 4 {
		t.Error(g, err)
	}
	if _, err := SCI(2, 0, 1000); err == nil {
		t.Error("per nothing")
	}
	if l := Water(3.6e6, 1.8, 3.1, PUE{Value: 1.2}); math.Abs(l-(1.8+1.2*3.1)) > 1e-12 {
		t.Error(l)
	}
}

func TestRankingFlips(t *testing.T) {
	hw := HardwareOf(measure.HostFacts{Sockets: 1, MemoryBytes: 64 << 30})
	slowButLean := Ranked{"lean", 1, time.Second}
	fastButHungry := Ranked{"hungry", 120, 100 * time.Millisecond}
	orders, flips := Ranking([]Ranked{slowButLean, fastButHungry}, &hw)
	if !flips || len(orders) != 12 {
		t.Errorf("flips %v, %v", flips, orders)
	}
	if _, flips := Ranking([]Ranked{slowButLean, fastButHungry}, nil); flips {
		t.Error("a ranking by energy alone flips with the grid")
	}
}

func TestHardwareOf(t *testing.T) {
	h := HardwareOf(measure.HostFacts{Virtualized: true, Threads: 2})
	// 1,610.79 kg · 2/96 over 35,040 h
	if g := h.Share(time.Hour); math.Abs(float64(g)-1610791.67*2/96/35040) > 1e-3 {
		t.Errorf("%v g per hour", g)
	}
}

func FuzzZone(f *testing.F) {
	f.Add("DEU")
	f.Add("\xff\x00")
	f.Add("DE\t+5230+01322\tEurope/Berlin\tmost of Germany\n")
	f.Add("Europe/Berlin")
	f.Add(" EU")
	f.Add("GermAnY ")
	f.Add("Belgium")
	f.Fuzz(func(t *testing.T, code string) {
		if len(code) > 64<<10 {
			return
		}
		if fac, err := Zone(code, 2026, false); err == nil {
			if asked := strings.TrimSpace(code); !strings.EqualFold(fac.Zone, asked) && !strings.EqualFold(fac.Name, asked) {
				t.Fatalf("%q gave %q (%s)", code, fac.Zone, fac.Name)
			}
		}
		for _, root := range []fstest.MapFS{{"etc/timezone": {Data: []byte("Europe/Berlin\n")}, "usr/share/zoneinfo/zone.tab": {Data: []byte(code)}},
			{"etc/timezone": {Data: []byte(code)}, "usr/share/zoneinfo/zone.tab": {Data: []byte("DE\t+5230+01322\tEurope/Berlin\n")}}} {
			if c, how, err := DetectZone(root); err == nil && (len(c) != 3 || how == "") {
				t.Fatalf("country %q by %q", c, how)
			}
		}
	})
}
