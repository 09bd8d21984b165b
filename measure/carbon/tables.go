// Package carbon turns energy into grams of CO2 equivalent: grid intensity, PUE, embodied share, with the
// interval of the whole. Factors are embedded with year, source and licence; none is ever guessed or silently
// replaced. Formulas follow SCI (ISO/IEC 21031:2024): C = E·PUE·I + M.
package carbon

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

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
	Live      *Live  // what a live service says of it, or why it gave none; nil where none was asked
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
// Google Cloud region ("gcp:europe-west3"), or an aggregate by name ("World", "EU"). The name of a zone ("Germany")
// stands for its code where no other zone has it; a country or state goes before a region of the same name ("Belgium").
// Spaces around it do not count. thisYear tells how old the factor is: one older than six years is refused with ErrOld
// unless allowOld is set. A zone that is not in the tables is ErrUnknown, and the error names the nearest ones; no
// neighbour is ever used instead.
func Zone(code string, thisYear int, allowOld bool) (Factor, error) {
	all, err := zones()
	if err != nil {
		return Factor{}, err
	}
	asked := strings.TrimSpace(code)
	var places, regions []Factor
	for _, f := range all {
		switch {
		case strings.EqualFold(f.Zone, asked):
			return f.aged(thisYear, allowOld)
		case !strings.EqualFold(f.Name, asked):
		case strings.HasPrefix(f.Zone, regionPrefix):
			regions = append(regions, f)
		default:
			places = append(places, f)
		}
	}
	called := places
	if len(called) == 0 {
		called = regions
	}
	switch len(called) {
	case 1:
		return called[0].aged(thisYear, allowOld)
	case 0:
		return Factor{}, fmt.Errorf("%w zone %q; nearest: %s", ErrUnknown, code, strings.Join(nearestZones(asked, all), ", "))
	}
	return Factor{}, fmt.Errorf("%w zone %q: several are called so: %s", ErrUnknown, code, strings.Join(nearestZones(asked, called), ", "))
}

// regionPrefix is before the name of a Google Cloud region.
const regionPrefix = "gcp:"

// Zones returns every factor of the embedded tables.
func Zones() ([]Factor, error) {
	all, err := zones()
	return slices.Clone(all), err
}

// zones reads the embedded tables once.
var zones = sync.OnceValues(readZones)

func readZones() ([]Factor, error) {
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
		out = append(out, Factor{Intensity: measure.Intensity(v), Zone: regionPrefix + r[0], Name: r[1], Year: 2024,
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
