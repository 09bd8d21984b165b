package carbon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Live says of a factor which service gave it, and of what time it is. Where the service gave none, Failed says why, and the factor
// beside it is one of the embedded tables.
type Live struct {
	Service   string
	Zone      string // as it was asked for
	From, To  time.Time
	Fetched   time.Time // when the answer was given
	Stale     bool      // the service did not answer: this is its last answer
	Late      bool      // From to To ended before the time that it is used for
	Estimated bool      // the service filled it in
	Forecast  bool
	Notes     []string
	Failed    string
}

// averageServices are the services whose figures are averages, with their licences. Only with such ones grams are reported.
var averageServices = map[string]string{
	"electricitymaps": "Electricity Maps' terms of use, share-alike",
	"neso":            "CC BY 4.0",
	"eia":             "public domain (US government)",
	"entsoe":          "ENTSO-E Transparency Platform's terms",
}

// AverageServices lists the services that Latest asks, for messages.
const AverageServices = "neso[:POSTCODE], electricitymaps:ZONE, eia:RESPONDENT, entsoe:DOMAIN"

// ParseLive reads "SERVICE:ZONE", such as "electricitymaps:DE" or "neso". A service of marginal intensities is refused: those are
// for deciding when to run, and never stand in a sum with averages.
func ParseLive(spec string) (service, zone string, err error) {
	service, zone, _ = strings.Cut(spec, ":")
	switch _, ok := averageServices[service]; {
	case service == "watttime":
		return "", "", fmt.Errorf("%q: its intensities are marginal, for deciding when to run; grams are reported with averages: %s", spec, AverageServices)
	case !ok:
		return "", "", fmt.Errorf("%q: want %s", spec, AverageServices)
	case zone == "" && service != "neso":
		return "", "", fmt.Errorf("%q: want %s:ZONE", spec, service)
	case len(zone) > 80:
		return "", "", fmt.Errorf("%.80q...: no zone has such a name", spec)
	}
	return service, zone, nil
}

// Latest asks a service of AverageServices for its newest figures.
func (c Client) Latest(ctx context.Context, service, zone string) (Series, error) {
	switch service {
	case "electricitymaps":
		return c.ElectricityMaps(ctx, zone, false)
	case "neso":
		return c.NESO(ctx, zone, false)
	case "eia":
		return c.EIA(ctx, zone)
	case "entsoe":
		to := c.now().UTC().Truncate(time.Hour)
		return c.ENTSOE(ctx, zone, to.Add(-24*time.Hour), to)
	}
	return Series{}, fmt.Errorf("%w: service %q: want %s", ErrLive, service, AverageServices)
}

// lateMost is how long before its use a figure may have ended: services of generation by fuel tell it a day later.
const lateMost = 48 * time.Hour

// Factor returns the figure of the series for time t: the point that covers it, else the newest one that ended at most 48 hours before,
// which is marked Late. service and zone are what was asked. The standard deviation is a quarter of the range of the fuels where the
// series has one. Errors wrap ErrLive: marginal intensities, and series without such a point.
func (s Series) Factor(service, zone string, t time.Time) (Factor, error) {
	if strings.HasPrefix(s.Basis, "marginal") {
		return Factor{}, fmt.Errorf("%w: %s: marginal intensities are never reported as averages", ErrLive, s.Source)
	}
	p, err := s.At(t)
	late := err != nil
	if late {
		past := slices.DeleteFunc(slices.Clone(s.Points), func(p Point) bool { return p.To.IsZero() || p.To.After(t) || t.Sub(p.To) > lateMost })
		if len(past) == 0 {
			return Factor{}, fmt.Errorf("%w, nor of the %v before", err, lateMost)
		}
		p = slices.MaxFunc(past, func(a, b Point) int { return a.To.Compare(b.To) })
	}
	f := Factor{Intensity: p.Intensity, Zone: s.Zone, Name: s.Zone, Year: p.From.UTC().Year(), Licence: averageServices[service], Basis: s.Basis,
		Source: fmt.Sprintf("%s, live: %s to %s", s.Source, p.From.UTC().Format("2006-01-02 15:04"), p.To.UTC().Format("15:04 MST")),
		Live: &Live{Service: service, Zone: zone, From: p.From, To: p.To, Fetched: s.Fetched.UTC(), Stale: s.Stale, Late: late,
			Estimated: p.Estimated, Forecast: p.Forecast, Notes: s.Notes}}
	if p.Hi > p.Lo {
		f.SD = float64(p.Hi-p.Lo) / 4
	}
	return f, nil
}

// Doubts are what a reader must know of a live figure, in sentences.
func (l Live) Doubts(used time.Time) []string {
	var out []string
	add := func(yes bool, format string, args ...any) {
		if yes {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(l.Stale, "the service did not answer: its last answer, of %s, is used", l.Fetched.Format(time.RFC3339))
	add(l.Late, "its newest figure ended %v before", used.Sub(l.To).Round(time.Minute))
	add(l.Estimated, "the service estimated it")
	add(l.Forecast, "it is the service's forecast of that time")
	return append(out, l.Notes...)
}
