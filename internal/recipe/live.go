package recipe

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/wattshed/wattshed/measure/carbon"
	"github.com/wattshed/wattshed/reports"
)

// liveTimeout bounds what asking a live service may cost a run, retries included.
const liveTimeout = 20 * time.Second

// live reports whether the factor is one of a live service.
func (f *carbonFactor) live() bool { return f.grid.Live != nil && f.grid.Live.Failed == "" }

// liveFactor asks the service that the recipe names for the intensity of the grid now, once in a run: the answer is in the journal. It
// never fails a run: where there is no figure it returns table, the factor of the yearly table, with the reason in Live, and the result
// warns that this is what the grams are computed with. The only error is the context's.
func (r *run) liveFactor(ctx context.Context, table carbon.Factor) (carbon.Factor, error) {
	service, zone, err := carbon.ParseLive(r.recipe.Carbon.Live)
	if err != nil {
		return carbon.Factor{}, under("carbon.live", err)
	}
	type answer struct {
		Factor carbon.Factor
		At     time.Time // when it was used
	}
	a, err := remember(r.journal, kindLive, "", func() (answer, error) {
		r.progress("asking "+service+" for the intensity of the grid", 0, 0)
		now := time.Now().UTC()
		f, err := r.askLive(ctx, service, zone, now)
		if err := canceled(ctx, "live intensity"); err != nil {
			return answer{}, err
		}
		if err != nil {
			f = table
			f.Live = &carbon.Live{Service: service, Zone: zone, Failed: strings.Join(strings.Fields(err.Error()), " ")}
		}
		return answer{f, now}, nil
	})
	if err != nil {
		return carbon.Factor{}, err
	}
	f := a.Factor
	if f.Live.Failed != "" {
		r.warn("no live intensity (%s): grams are computed with the yearly table, %s in %d, %.4g g/kWh", f.Live.Failed, f.Zone, f.Year, float64(f.Intensity))
		return f, nil
	}
	r.warn("grams are of the live intensity of %s (%s): %.4g g/kWh from %s to %s; another hour gives other grams", f.Zone, service, float64(f.Intensity),
		f.Live.From.UTC().Format(time.RFC3339), f.Live.To.UTC().Format(time.RFC3339))
	for _, d := range f.Live.Doubts(a.At) {
		r.warn("live intensity of %s: %s", service, d)
	}
	return f, nil
}

// askLive returns the factor of a service for the time now.
func (r *run) askLive(ctx context.Context, service, zone string, now time.Time) (carbon.Factor, error) {
	if r.opt.Live == nil {
		return carbon.Factor{}, errors.New("no service can be asked here")
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	s, err := r.opt.Live(ctx, service, zone)
	if err != nil {
		return carbon.Factor{}, err
	}
	return s.Factor(service, zone, now)
}

// liveOf restates what a service said of a factor; nil where none was asked.
func liveOf(l *carbon.Live) *reports.LiveIntensity {
	if l == nil {
		return nil
	}
	return &reports.LiveIntensity{Service: l.Service, Zone: l.Zone, From: l.From, To: l.To, Fetched: l.Fetched, Stale: l.Stale, Late: l.Late,
		Estimated: l.Estimated, Forecast: l.Forecast, Notes: l.Notes, Failed: l.Failed}
}
