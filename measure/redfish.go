package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// RedfishOptions are the injected parts of the Redfish meter.
type RedfishOptions struct {
	ExternalOptions
	Client         *http.Client // default: one with a time limit; its TLS settings are the user's
	User, Password string       // from the user only; sent over https, or to this machine itself
}

// maxChassis is how many chassis of one controller are asked.
const maxChassis = 16

// redfishSpec: controllers average over seconds and round to watts.
var redfishSpec = externalSpec{name: "redfish", uAbs: 0.1, uRatio: 0.05, most: 100_000, every: 2 * time.Second,
	note: "whole chassis; supplies may be shared with other servers"}

// NewRedfish reads the chassis below base (https://controller): EnvironmentMetrics where there is one (energy counter before
// power), else the older Power resource. Passwords are refused over plain http except to this machine.
func NewRedfish(base string, o RedfishOptions) (*External, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("measure: redfish: %.80q is no http address", base)
	}
	if h := u.Hostname(); u.Scheme == "http" && o.Password != "" && h != "localhost" && h != "127.0.0.1" && h != "::1" {
		return nil, fmt.Errorf("measure: redfish: %s: a password is sent over https only", u.Redacted())
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: pollTimeout}
	}
	r := &redfish{root: u.Scheme + "://" + u.Host, o: o}
	return newExternal(redfishSpec, o.ExternalOptions, r.poll), nil
}

type redfish struct {
	root    string
	o       RedfishOptions
	chassis []string // found by the first poll
}

// poll asks every chassis that answered the first time.
func (r *redfish) poll(ctx context.Context) ([]probe, error) {
	if r.chassis == nil {
		b, err := r.get(ctx, "/redfish/v1/Chassis")
		if err != nil {
			return nil, err
		}
		if r.chassis, err = parseMembers(b); err != nil {
			return nil, err
		}
	}
	var out []probe
	var errs []error
	for _, c := range r.chassis {
		p, err := r.one(ctx, c)
		out = append(out, p...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(out) == 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// one asks one chassis: the new resource, then the old one.
func (r *redfish) one(ctx context.Context, chassis string) ([]probe, error) {
	var first error
	for _, part := range []string{"/EnvironmentMetrics", "/Power"} {
		b, err := r.get(ctx, chassis+part)
		if err == nil {
			var p probe
			if p, err = parseRedfish(b); err == nil {
				p.zone, p.name = chassis, chassis[strings.LastIndexByte(chassis, '/')+1:]
				return []probe{p}, nil
			}
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (r *redfish) get(ctx context.Context, path string) ([]byte, error) {
	return httpGet(ctx, r.o.Client, r.root+path, r.o.User, r.o.Password)
}

// httpGet fetches a body of at most maxAnswer bytes. The password appears in no error.
func httpGet(ctx context.Context, client *http.Client, address, user, password string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	if user != "" || password != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		err := fmt.Errorf("measure: %s answers %s", req.URL.Redacted(), res.Status)
		if res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
			err = fmt.Errorf("%w: %w", ErrPermission, err)
		}
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(b) > maxAnswer {
		err = fmt.Errorf("measure: %s: more than %d bytes", req.URL.Redacted(), maxAnswer)
	}
	return b, err
}

// parseMembers returns the resources of a collection.
func parseMembers(b []byte) ([]string, error) {
	var c struct {
		Members []struct {
			ID string `json:"@odata.id"`
		}
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("measure: redfish: chassis: %w", err)
	}
	var out []string
	for _, m := range c.Members[:min(len(c.Members), maxChassis)] {
		if id := strings.TrimSuffix(m.ID, "/"); strings.HasPrefix(id, "/redfish/") {
			out = append(out, id)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: redfish: no chassis", ErrNoCounter)
	}
	return out, nil
}

// parseRedfish returns what an EnvironmentMetrics or a Power resource says of the power of a chassis: EnergyJoules, else
// PowerWatts, else PowerControl[0].PowerConsumedWatts. EnergykWh is left alone: its steps are too coarse. A resource without
// a figure, and one whose figure is null, are errors.
func parseRedfish(b []byte) (probe, error) {
	type sensor struct {
		Reading *float64
		Units   string `json:"ReadingUnits"`
	}
	var r struct {
		EnergyJoules *sensor
		PowerWatts   *sensor
		PowerControl []struct{ PowerConsumedWatts *float64 }
	}
	p := probe{scope: ScopePlatform}
	if err := json.Unmarshal(b, &r); err != nil {
		return p, fmt.Errorf("measure: redfish: %w", err)
	}
	switch {
	case r.EnergyJoules != nil && r.EnergyJoules.Reading != nil:
		if u := r.EnergyJoules.Units; u != "" && u != "J" {
			return p, fmt.Errorf("measure: redfish: EnergyJoules in %.20q: %w", u, errGarbage)
		}
		p.counter, p.value = true, *r.EnergyJoules.Reading
	case r.PowerWatts != nil && r.PowerWatts.Reading != nil:
		if u := r.PowerWatts.Units; u != "" && u != "W" {
			return p, fmt.Errorf("measure: redfish: PowerWatts in %.20q: %w", u, errGarbage)
		}
		p.value = *r.PowerWatts.Reading
	case len(r.PowerControl) > 0 && r.PowerControl[0].PowerConsumedWatts != nil:
		p.value = *r.PowerControl[0].PowerConsumedWatts
	default:
		return p, fmt.Errorf("%w: redfish: the resource has no power and no energy", ErrNoCounter)
	}
	if !(p.value > 0) {
		return p, fmt.Errorf("measure: redfish: %v: %w", p.value, errGarbage)
	}
	return p, nil
}
