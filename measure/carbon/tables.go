// Package carbon turns energy into grams of CO2 equivalent: grid intensity, PUE, embodied share, with the
// interval of the whole. Factors are embedded with year, source and licence; none is ever guessed or silently
// replaced. Formulas follow SCI (ISO/IEC 21031:2024): C = E·PUE·I + M.
package carbon

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/measure"
)

//go:embed data/grid_country.csv
var countryTable []byte

//go:embed data/grid_us_state.csv
var stateTable []byte

//go:embed data/cloud_gcp_region_2024.csv
var gcpTable []byte

//go:embed data/pue.csv
var pueTable []byte

//go:embed data/fuel_intensity.csv
var fuelTable []byte

//go:embed data/embodied_instance_platform.csv
var platformTable []byte

// Licence and source lines of the embedded tables, as they must be shown.
const (
	emberSource   = "Ember yearly electricity data (ember-climate/ember-data-api @02ce82d), compacted to the latest year"
	emberLicence  = "CC BY 4.0"
	googleSource  = "Google Cloud region carbon data 2024 (GoogleCloudPlatform/region-carbon-info @49f3f26), columns renamed"
	googleLicence = "Apache-2.0"
	ccfSource     = "Cloud Carbon Footprint coefficients @dda7621"
	basisAverage  = "location-based, yearly average, lifecycle"
)

// Sentinel errors of look-ups.
var (
	ErrUnknown = errors.New("carbon: unknown")
	ErrOld     = errors.New("carbon: factor too old")
)

// Factor is a grid intensity with where it comes from.
type Factor struct {
	Intensity measure.Intensity // gCO2e/kWh
	SD        float64           // g/kWh: standard deviation of the last five years; 0 where not known
	Zone      string            // DEU, US-CA, gcp:europe-west3, World
	Name      string            // Germany
	Year      int
	Source    string
	Licence   string
	Basis     string // what kind of figure: average and not marginal, location-based and not market-based
	Stale     bool   // older than three years
}

// Spread returns the standard deviation of the factor in g/kWh: that of its last five years, or 5 % of it where the series is too
// short or absent, which assumed tells.
func (f Factor) Spread() (sd float64, assumed bool) {
	if f.SD > 0 {
		return f.SD, false
	}
	return 0.05 * float64(f.Intensity), true
}

// Ages of a factor in years.
const (
	staleAfter   = 3
	refusedAfter = 6
)

// aged sets Stale and refuses what is older than six years unless allowed.
func (f Factor) aged(thisYear int, allowOld bool) (Factor, error) {
	age := thisYear - f.Year
	f.Stale = age > staleAfter
	if age > refusedAfter && !allowOld {
		return Factor{}, fmt.Errorf("%w: zone %q: the factor is of %d, more than %d years before %d", ErrOld, f.Zone, f.Year, refusedAfter, thisYear)
	}
	return f, nil
}

// Zone returns the intensity of a zone: a country by ISO 3166-1 alpha-3 code ("DEU"), a US state ("US-CA"), a
// Google Cloud region ("gcp:europe-west3"), or an aggregate by name ("World", "EU"). thisYear tells how old the factor
// is; a factor older than six years is refused with ErrOld unless allowOld is set. A zone that is not in the tables is
// ErrUnknown, and the error names the nearest ones; no neighbour is ever used instead.
func Zone(code string, thisYear int, allowOld bool) (Factor, error) {
	all, err := zones()
	if err != nil {
		return Factor{}, err
	}
	for _, f := range all {
		if strings.EqualFold(f.Zone, code) {
			return f.aged(thisYear, allowOld)
		}
	}
	return Factor{}, fmt.Errorf("%w zone %q; nearest: %s", ErrUnknown, code, strings.Join(nearestZones(code, all), ", "))
}

// Zones returns every factor of the embedded tables.
func Zones() ([]Factor, error) { return zones() }

func zones() ([]Factor, error) {
	var out []Factor
	for _, t := range []struct {
		data []byte
		code string
	}{{countryTable, "iso3"}, {stateTable, "iso3166_2"}} {
		rows, err := measure.ReadTable(t.data, "name", t.code, "year", "gco2e_per_kwh", "prev_year_gco2e_per_kwh", "sd_last5y")
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			f := Factor{Zone: r[1], Name: r[0], Source: emberSource, Licence: emberLicence, Basis: basisAverage}
			if f.Zone == "" {
				f.Zone = r[0] // aggregates have no code
			}
			if f.Year, err = strconv.Atoi(r[2]); err != nil {
				return nil, fmt.Errorf("carbon: zone %q: year %q", f.Zone, r[2])
			}
			v, err := amount(r[3])
			if err != nil {
				return nil, fmt.Errorf("carbon: zone %q: %w", f.Zone, err)
			}
			f.Intensity = measure.Intensity(v)
			f.SD, _ = amount(r[5]) // absent for short series
			out = append(out, f)
		}
	}
	rows, err := measure.ReadTable(gcpTable, "region", "location", "cfe_share", "gco2e_per_kwh")
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		v, err := amount(r[3])
		if err != nil {
			return nil, fmt.Errorf("carbon: region %q: %w", r[0], err)
		}
		out = append(out, Factor{Intensity: measure.Intensity(v), Zone: "gcp:" + r[0], Name: r[1], Year: 2024,
			Source: googleSource, Licence: googleLicence, Basis: "location-based, yearly average"})
	}
	return out, nil
}

// amount parses a finite figure that is not negative.
func amount(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("carbon: %.40q is not an amount", s)
	}
	return v, nil
}

// PUE is a power usage effectiveness, the energy of the site over that of its computers.
type PUE struct {
	Value    float64
	Lo, Hi   float64 // what it may be, as a 95 % interval
	Provider string
	Year     int // 0: a rule, not a survey
	Source   string
	Set      string // which of the tables that disagree
}

// SitePUE is a value that the user knows. It must be at least 1.
func SitePUE(v float64) (PUE, error) {
	if !(v >= 1) || v > 10 {
		return PUE{}, fmt.Errorf("carbon: PUE %g: want 1 to 10", v)
	}
	return PUE{Value: v, Lo: v, Hi: v, Provider: "site", Source: "given by the user", Set: "user"}, nil
}

// ProviderPUE returns the PUE of a provider ("aws", "azure", "gcp", "OVHcloud", "Oracle"), of an "unknown" data
// centre (1.56, 1.1 to 1.8) or of an "on_premise_device" (exactly 1). set picks one of the tables that disagree:
// "greenalgorithms" (the default), "ccf", "fact", "rule".
func ProviderPUE(provider, set string) (PUE, error) {
	rows, err := measure.ReadTable(pueTable, "provider", "pue", "year", "source", "set")
	if err != nil {
		return PUE{}, err
	}
	var names []string
	for _, r := range rows {
		names = append(names, r[0])
		if !strings.EqualFold(r[0], provider) || set != "" && r[4] != set {
			continue
		}
		v, err := amount(r[1])
		if err != nil || v < 1 {
			return PUE{}, fmt.Errorf("carbon: PUE of %q: %q", provider, r[1])
		}
		p := PUE{Value: v, Lo: max(1, v-0.1), Hi: v + 0.1, Provider: r[0], Source: r[3], Set: r[4]}
		p.Year, _ = strconv.Atoi(r[2])
		switch p.Provider {
		case "unknown":
			p.Lo, p.Hi = 1.1, 1.8
		case "on_premise_device":
			p.Lo, p.Hi = 1, 1
		}
		return p, nil
	}
	return PUE{}, fmt.Errorf("%w provider %q (set %q); nearest: %s", ErrUnknown, provider, set, nearest(provider, names, 3))
}

// Fuel returns the lifecycle intensity of a fuel and its range, from one set of figures: "ipcc_ar5" (medians with
// minimum and maximum) or "codecarbon" (no range). The sets are never mixed.
func Fuel(fuel, set string) (value, lo, hi measure.Intensity, err error) {
	rows, err := measure.ReadTable(fuelTable, "fuel", "gco2e_per_kwh", "min", "max", "set", "source")
	if err != nil {
		return 0, 0, 0, err
	}
	var names []string
	for _, r := range rows {
		if r[4] != set {
			continue
		}
		names = append(names, r[0])
		if r[0] != fuel {
			continue
		}
		v, err := amount(r[1])
		if err != nil {
			return 0, 0, 0, err
		}
		l, _ := amount(r[2])
		h, _ := amount(r[3])
		return measure.Intensity(v), measure.Intensity(l), measure.Intensity(h), nil
	}
	return 0, 0, 0, fmt.Errorf("%w fuel %q in set %q; nearest: %s", ErrUnknown, fuel, set, nearest(fuel, names, 3))
}
