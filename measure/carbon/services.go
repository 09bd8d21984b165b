package carbon

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/wattshed/wattshed/measure"
)

// ElectricityMaps returns the latest figure of a zone ("DE"), or the forecast of the coming hours. Its data licence is
// share-alike: use it, do not embed it.
func (c Client) ElectricityMaps(ctx context.Context, zone string, forecast bool) (Series, error) {
	kind := "latest"
	if forecast {
		kind = "forecast"
	}
	a, err := c.get(ctx, c.base("https://api.electricitymaps.com")+"/v3/carbon-intensity/"+kind+"?zone="+url.QueryEscape(zone), nil,
		http.Header{"Auth-Token": {c.Key}})
	if err != nil {
		return Series{}, err
	}
	return a.series(ParseElectricityMaps)
}

// ParseElectricityMaps reads a body of /v3/carbon-intensity/latest or /forecast.
func ParseElectricityMaps(body []byte) (Series, error) {
	type point struct {
		CarbonIntensity *float64  `json:"carbonIntensity"`
		Datetime        time.Time `json:"datetime"`
	}
	var in struct {
		point
		Zone               string  `json:"zone"`
		EmissionFactorType string  `json:"emissionFactorType"`
		IsEstimated        bool    `json:"isEstimated"`
		EstimationMethod   string  `json:"estimationMethod"`
		Forecast           []point `json:"forecast"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return Series{}, fmt.Errorf("electricitymaps: %w", err)
	}
	kind := in.EmissionFactorType
	if kind == "" {
		kind = "lifecycle unless set otherwise"
	}
	s := Series{Zone: in.Zone, Source: "Electricity Maps v3", Basis: "average, consumption-based, " + kind}
	if in.IsEstimated {
		s.Notes = append(s.Notes, "estimated by the service: "+in.EstimationMethod)
	}
	for _, p := range in.Forecast {
		if err := s.add(p.Datetime, time.Hour, p.CarbonIntensity, true, false); err != nil {
			return Series{}, fmt.Errorf("electricitymaps: %w", err)
		}
	}
	if in.CarbonIntensity != nil {
		if err := s.add(in.Datetime, time.Hour, in.CarbonIntensity, false, in.IsEstimated); err != nil {
			return Series{}, fmt.Errorf("electricitymaps: %w", err)
		}
	}
	return s.some("electricitymaps")
}

// add appends a point; a missing, negative or infinite figure is an error, never 0.
func (s *Series) add(from time.Time, length time.Duration, v *float64, forecast, estimated bool) error {
	if v == nil || !(*v >= 0) || math.IsInf(*v, 0) || from.IsZero() {
		return fmt.Errorf("no figure at %s", from.Format(time.RFC3339))
	}
	s.Points = append(s.Points, Point{From: from.UTC(), To: from.UTC().Add(length), Intensity: measure.Intensity(*v), Forecast: forecast, Estimated: estimated})
	return nil
}

func (s Series) some(who string) (Series, error) {
	if len(s.Points) == 0 {
		return Series{}, fmt.Errorf("%s: the answer holds no figure", who)
	}
	return s, nil
}

// WattTime returns the forecast of the marginal intensity of a region ("CAISO_NORTH"). It logs in with User and Key. A marginal
// figure is for deciding when to run and is never mixed with an average one.
func (c Client) WattTime(ctx context.Context, region string) (Series, error) {
	base := c.base("https://api.watttime.org")
	basic := http.Header{}
	req := http.Request{Header: basic}
	req.SetBasicAuth(c.User, c.Key)
	noCache := c
	noCache.Dir = "" // a token is not kept on disk
	a, err := noCache.get(ctx, base+"/login", nil, basic)
	if err != nil {
		return Series{}, err
	}
	token, err := parseWattTimeLogin(a.body)
	if err != nil {
		return Series{}, err
	}
	a, err = c.get(ctx, base+"/v3/forecast?signal_type=co2_moer&region="+url.QueryEscape(region), nil,
		http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return Series{}, err
	}
	return a.series(ParseWattTime)
}

// parseWattTimeLogin reads the token of a login; one that is no text of one line is none.
func parseWattTimeLogin(body []byte) (string, error) {
	var login struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(body, &login); err != nil || login.Token == "" || strings.ContainsFunc(login.Token, unicode.IsControl) {
		return "", fmt.Errorf("%w: watttime: the login gave no token", ErrLive)
	}
	return login.Token, nil
}

// ParseWattTime reads a body of /v3/forecast: pounds per MWh become g/kWh.
func ParseWattTime(body []byte) (Series, error) {
	var in struct {
		Data []struct {
			PointTime time.Time `json:"point_time"`
			Value     *float64  `json:"value"`
		} `json:"data"`
		Meta struct {
			Region string `json:"region"`
			Units  string `json:"units"`
			Signal string `json:"signal_type"`
			Period int    `json:"data_point_period_seconds"`
		} `json:"meta"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return Series{}, fmt.Errorf("watttime: %w", err)
	}
	if in.Meta.Units != "lbs_co2_per_mwh" || in.Meta.Signal != "co2_moer" {
		return Series{}, fmt.Errorf("watttime: signal %q in %q, want co2_moer in lbs_co2_per_mwh", in.Meta.Signal, in.Meta.Units)
	}
	if in.Meta.Period <= 0 || in.Meta.Period > 86400 {
		return Series{}, fmt.Errorf("watttime: points of %d s", in.Meta.Period)
	}
	s := Series{Zone: in.Meta.Region, Source: "WattTime v3", Basis: "marginal, direct CO2"}
	for _, p := range in.Data {
		if p.Value != nil {
			g := float64(measure.PoundsPerMWh(*p.Value))
			p.Value = &g
		}
		if err := s.add(p.PointTime, time.Duration(in.Meta.Period)*time.Second, p.Value, true, false); err != nil {
			return Series{}, fmt.Errorf("watttime: %w", err)
		}
	}
	return s.some("watttime")
}

// NESO returns the intensity of Great Britain now (forecast: the next 48 hours), or of the region of an outward postcode
// ("RG10"). CC BY 4.0, no key.
func (c Client) NESO(ctx context.Context, postcode string, forecast bool) (Series, error) {
	base := c.base("https://api.carbonintensity.org.uk")
	address := base + "/intensity"
	switch {
	case postcode != "":
		address = base + "/regional/postcode/" + url.PathEscape(postcode)
	case forecast:
		address = base + "/intensity/" + c.now().UTC().Truncate(30*time.Minute).Format(nesoTime) + "/fw48h"
	}
	a, err := c.get(ctx, address, nil, nil)
	if err != nil {
		return Series{}, err
	}
	return a.series(ParseNESO)
}

// nesoTime has no seconds, which RFC 3339 asks for.
const nesoTime = "2006-01-02T15:04Z"

type nesoPeriod struct {
	From      string `json:"from"`
	To        string `json:"to"`
	Intensity struct {
		Forecast *float64 `json:"forecast"`
		Actual   *float64 `json:"actual"`
	} `json:"intensity"`
	Mix []struct {
		Fuel string  `json:"fuel"`
		Perc float64 `json:"perc"`
	} `json:"generationmix"`
}

// ParseNESO reads a body of /intensity or /regional/postcode. Where the actual figure is null the forecast is used, and
// the series says so.
func ParseNESO(body []byte) (Series, error) {
	var in struct {
		Data []struct {
			nesoPeriod
			Region string       `json:"shortname"`
			Data   []nesoPeriod `json:"data"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return Series{}, fmt.Errorf("neso: %w", err)
	}
	s := Series{Zone: "GBR", Source: "NESO Carbon Intensity API, CC BY 4.0", Basis: "average, operational only"}
	forecasts := 0
	for _, d := range in.Data {
		periods := d.Data
		if d.From != "" {
			periods = append(periods, d.nesoPeriod)
		}
		if d.Region != "" {
			s.Zone = "GBR " + d.Region
		}
		for _, p := range periods {
			from, err := time.Parse(nesoTime, p.From)
			if err != nil {
				return Series{}, fmt.Errorf("neso: time %.40q", p.From)
			}
			to, err := time.Parse(nesoTime, p.To)
			if err != nil || !to.After(from) {
				return Series{}, fmt.Errorf("neso: period %.40q to %.40q", p.From, p.To)
			}
			v, forecast := p.Intensity.Actual, false
			if v == nil {
				v, forecast = p.Intensity.Forecast, true
				forecasts++
			}
			if err := s.add(from, to.Sub(from), v, forecast, false); err != nil {
				return Series{}, fmt.Errorf("neso: %w", err)
			}
			sum := 0.0
			for _, m := range p.Mix {
				sum += m.Perc
			}
			if len(p.Mix) > 0 && math.Abs(sum-100) > 1 {
				s.Notes = append(s.Notes, fmt.Sprintf("the generation mix adds up to %.1f %%, not normalised", sum))
			}
		}
	}
	if forecasts > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%d of %d figures are forecasts", forecasts, len(s.Points)))
	}
	return s.some("neso")
}
