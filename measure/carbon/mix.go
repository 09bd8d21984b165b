package carbon

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Mix is generation by fuel in MWh over one period. Raw figures are kept as they came, negative ones too.
type Mix struct {
	From, To time.Time
	MWh      map[string]float64
}

// fuelSet is the set of fuel intensities that mixes are weighed with.
const fuelSet = "ipcc_ar5"

// MixIntensity is what a mix emits per kWh.
type MixIntensity struct {
	Value   measure.Intensity
	Lo, Hi  measure.Intensity // with every fuel at the least and at the most of the literature
	Covered float64           // share of generation whose fuel has a figure
}

// Intensity returns Σ MWh·I(fuel) / Σ MWh with the IPCC lifecycle medians, negative figures (storage, own use) as 0. It is
// production-based: imports are not in it. Below 95 % covered it is an error.
func (m Mix) Intensity() (MixIntensity, error) {
	var sum, known, grams, lo, hi float64
	for _, fuel := range slices.Sorted(maps.Keys(m.MWh)) {
		e := max(0, m.MWh[fuel])
		sum += e
		if name, ok := ipccFuel[fuel]; ok {
			f, err := Fuel(name, fuelSet, m.To.Year())
			if err != nil {
				return MixIntensity{}, err
			}
			known += e
			grams += e * float64(f.Intensity)
			lo += e * float64(f.Lo)
			hi += e * float64(f.Hi)
		}
	}
	if !(sum > 0) || math.IsInf(sum, 0) || known/sum < 0.95 {
		return MixIntensity{}, fmt.Errorf("%w: %.0f of %.0f MWh have a known fuel", ErrLive, known, sum)
	}
	return MixIntensity{measure.Intensity(grams / known), measure.Intensity(lo / known), measure.Intensity(hi / known), known / sum}, nil
}

// ofMixes turns mixes into a series, the newest first. A period of which too much has no known fuel is left out and counted in a note;
// a series without any is an error.
func ofMixes(source, zone string, mixes []Mix) (Series, error) {
	f, err := Fuel("coal", fuelSet, time.Now().Year()) // all of a set are of one year
	if err != nil {
		return Series{}, err
	}
	s := Series{Zone: zone, Source: source, Basis: "average, production-based, lifecycle", Mixes: mixes}
	s.Notes = append(s.Notes, "generation by fuel, weighed with "+f.Source+fmt.Sprintf(" (%d); imports are not in it", f.Year))
	if f.Stale {
		s.Notes = append(s.Notes, fmt.Sprintf("the intensities of the fuels are of %d: more than %d years old", f.Year, staleAfter))
	}
	var last error
	left := 0
	for _, m := range mixes {
		i, err := m.Intensity()
		if err != nil {
			left, last = left+1, err
			continue
		}
		s.Points = append(s.Points, Point{From: m.From.UTC(), To: m.To.UTC(), Intensity: i.Value, Lo: i.Lo, Hi: i.Hi, Covered: i.Covered})
	}
	if len(s.Points) == 0 {
		return Series{}, last
	}
	if left > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%d of %d periods are left out: less than 95 %% of their generation has a known fuel", left, len(mixes)))
	}
	sort.SliceStable(s.Points, func(i, j int) bool { return s.Points[i].To.After(s.Points[j].To) })
	return s, nil
}

// ipccFuel maps the services' fuel codes to the fuels of the IPCC table. Oil has no row there and stays unknown.
var ipccFuel = map[string]string{
	"COL": "coal", "NG": "gas_combined_cycle", "NUC": "nuclear", "WAT": "hydro", "SUN": "solar_pv_utility", "WND": "wind_onshore", "GEO": "geothermal",
	"B01": "biomass_dedicated", "B02": "coal", "B04": "gas_combined_cycle", "B05": "coal", "B09": "geothermal", "B10": "hydro", "B11": "hydro",
	"B12": "hydro", "B14": "nuclear", "B16": "solar_pv_utility", "B18": "wind_offshore", "B19": "wind_onshore",
}

// EIA returns the hourly intensity of a US balancing authority ("CISO") from its generation by fuel, the newest hour first; about a
// day late.
func (c Client) EIA(ctx context.Context, respondent string) (Series, error) {
	q := url.Values{"frequency": {"hourly"}, "data[0]": {"value"}, "facets[respondent][]": {respondent}, "sort[0][column]": {"period"},
		"sort[0][direction]": {"desc"}, "length": {"500"}}
	a, err := c.get(ctx, c.base("https://api.eia.gov")+"/v2/electricity/rto/fuel-type-data/data/?"+q.Encode(), url.Values{"api_key": {c.Key}}, nil)
	if err != nil {
		return Series{}, err
	}
	return a.series(func(b []byte) (Series, error) { return EIASeries(b, respondent) })
}

// EIASeries reads a body of fuel-type-data as a series of a balancing authority.
func EIASeries(body []byte, respondent string) (Series, error) {
	mixes, err := ParseEIA(body)
	if err != nil {
		return Series{}, err
	}
	return ofMixes("EIA v2, hourly generation by fuel", respondent, mixes)
}

// ParseEIA reads a body of fuel-type-data: value is a string or a number, the period is the hour that ends then, in UTC.
func ParseEIA(body []byte) ([]Mix, error) {
	var in struct {
		Response struct {
			Data []struct {
				Period string          `json:"period"`
				Fuel   string          `json:"fueltype"`
				Value  json.RawMessage `json:"value"`
				Units  string          `json:"value-units"`
			} `json:"data"`
		} `json:"response"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("%w: eia: %w", ErrLive, err)
	}
	var out []Mix
	index := map[string]int{}
	for _, d := range in.Response.Data {
		end, err := time.Parse("2006-01-02T15", d.Period)
		if err != nil {
			return nil, fmt.Errorf("%w: eia: period %.40q", ErrLive, d.Period)
		}
		v, err := strconv.ParseFloat(strings.Trim(string(d.Value), `"`), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || d.Units != "megawatthours" {
			return nil, fmt.Errorf("%w: eia: %s: value %.40s %.20q", ErrLive, d.Fuel, d.Value, d.Units)
		}
		i, had := index[d.Period]
		if !had {
			i = len(out)
			index[d.Period] = i
			out = append(out, Mix{From: end.Add(-time.Hour), To: end, MWh: map[string]float64{}})
		}
		out[i].MWh[d.Fuel] += v
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: eia: the answer holds no figure", ErrLive)
	}
	return out, nil
}

// ENTSOE returns the intensity of a bidding zone ("10YFR-RTE------C") between two times from its generation by type, as one figure
// of the whole period.
func (c Client) ENTSOE(ctx context.Context, domain string, from, to time.Time) (Series, error) {
	const layout = "200601021504"
	q := url.Values{"documentType": {"A75"}, "processType": {"A16"}, "in_Domain": {domain},
		"periodStart": {from.UTC().Format(layout)}, "periodEnd": {to.UTC().Format(layout)}}
	a, err := c.get(ctx, c.base("https://web-api.tp.entsoe.eu")+"/api?"+q.Encode(), url.Values{"securityToken": {c.Key}}, nil)
	if err != nil {
		return Series{}, err
	}
	return a.series(func(b []byte) (Series, error) { return ENTSOESeries(b, domain) })
}

// ENTSOESeries reads an A75 document as a series of a bidding zone.
func ENTSOESeries(body []byte, domain string) (Series, error) {
	m, err := ParseENTSOE(body)
	if err != nil {
		return Series{}, err
	}
	return ofMixes("ENTSO-E Transparency Platform, generation by type", domain, []Mix{m})
}

// maxPositions bounds one period of a time series: a month of quarter hours.
const maxPositions = 32 * 96

type entsoeDocument struct {
	XMLName xml.Name `xml:"GL_MarketDocument"`
	Series  []struct {
		Out    string `xml:"outBiddingZone_Domain.mRID"`
		Unit   string `xml:"quantity_Measure_Unit.name"`
		Curve  string `xml:"curveType"`
		Type   string `xml:"MktPSRType>psrType"`
		Period []struct {
			Start      string `xml:"timeInterval>start"`
			End        string `xml:"timeInterval>end"`
			Resolution string `xml:"resolution"`
			Point      []struct {
				Position int     `xml:"position"`
				Quantity float64 `xml:"quantity"`
			} `xml:"Point"`
		} `xml:"Period"`
	} `xml:"TimeSeries"`
}

// ParseENTSOE reads an A75 document. A curve of type A03 leaves out positions that repeat the one before: they are filled
// forward to the end of the period. MW times the resolution are MWh; consumption (storage that charges) is not generation.
func ParseENTSOE(body []byte) (Mix, error) {
	var doc entsoeDocument
	dec := xml.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&doc); err != nil {
		return Mix{}, fmt.Errorf("%w: entsoe: %w", ErrLive, err)
	}
	m := Mix{MWh: map[string]float64{}}
	for _, s := range doc.Series {
		if s.Out != "" {
			continue
		}
		if s.Unit != "MAW" {
			return Mix{}, fmt.Errorf("%w: entsoe: unit %.20q", ErrLive, s.Unit)
		}
		for _, p := range s.Period {
			start, err1 := time.Parse(nesoTime, p.Start)
			end, err2 := time.Parse(nesoTime, p.End)
			step, ok := map[string]time.Duration{"PT15M": 15 * time.Minute, "PT30M": 30 * time.Minute, "PT60M": time.Hour}[p.Resolution]
			if err1 != nil || err2 != nil || !ok || !end.After(start) || end.Sub(start)/step > maxPositions {
				return Mix{}, fmt.Errorf("%w: entsoe: period %.40q to %.40q by %.10q", ErrLive, p.Start, p.End, p.Resolution)
			}
			n := int(end.Sub(start) / step)
			at := map[int]float64{}
			for _, pt := range p.Point {
				if pt.Position < 1 || pt.Position > n || math.IsNaN(pt.Quantity) || math.IsInf(pt.Quantity, 0) {
					return Mix{}, fmt.Errorf("%w: entsoe: %s: position %d of %d", ErrLive, s.Type, pt.Position, n)
				}
				at[pt.Position] = pt.Quantity
			}
			last, known := 0.0, false
			for i := 1; i <= n; i++ {
				if v, ok := at[i]; ok {
					last, known = v, true
				} else if !known || s.Curve != "A03" {
					return Mix{}, fmt.Errorf("%w: entsoe: %s: position %d is missing", ErrLive, s.Type, i)
				}
				m.MWh[s.Type] += last * step.Hours()
			}
			if m.From.IsZero() || start.Before(m.From) {
				m.From = start
			}
			if end.After(m.To) {
				m.To = end
			}
		}
	}
	if len(m.MWh) == 0 {
		return Mix{}, fmt.Errorf("%w: entsoe: the answer holds no generation", ErrLive)
	}
	return m, nil
}
