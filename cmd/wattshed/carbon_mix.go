package main

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/measure/carbon"
)

// mixService is a service that tells generation by fuel, of the past only.
type mixService struct {
	env   string
	parse func(body []byte, zone string) (carbon.Series, error)
	ask   func(c *cli.Context, client carbon.Client, zone string) (carbon.Series, error)
}

// mixServiceOf returns the service of that name; false where none of them has it.
func mixServiceOf(name string) (mixService, bool) {
	switch name {
	case "eia":
		return mixService{envEIA, carbon.EIASeries, func(c *cli.Context, client carbon.Client, zone string) (carbon.Series, error) {
			return client.EIA(c.Context, zone)
		}}, true
	case "entsoe":
		return mixService{envENTSOE, carbon.ENTSOESeries, func(c *cli.Context, client carbon.Client, zone string) (carbon.Series, error) {
			to := time.Now().UTC().Truncate(time.Hour)
			return client.ENTSOE(c.Context, zone, to.Add(-24*time.Hour), to)
		}}, true
	}
	return mixService{}, false
}

// mixView is the newest figure of a mix as --json shows it.
type mixView struct {
	Service string    `json:"service"`
	Zone    string    `json:"zone"`
	Basis   string    `json:"basis"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	GPerKWh float64   `json:"g_per_kwh"`
	Lo      float64   `json:"lo_g_per_kwh"` // every fuel at its least in the literature
	Hi      float64   `json:"hi_g_per_kwh"`
	Covered float64   `json:"covered"` // share of generation whose fuel has a figure
	Points  int       `json:"n"`       // periods in the answer
	Fetched time.Time `json:"fetched,omitzero"`
	Stale   bool      `json:"stale,omitempty"`
	Notes   []string  `json:"notes,omitempty"`
}

// printMix prints what a kWh emitted in the newest period that the service tells of.
func printMix(c *cli.Context, m mixService) error {
	service, zone := c.String("service"), c.Args().First()
	for _, name := range []string{"work", "within", "from", "joules", "pue"} {
		if c.IsSet(name) {
			return usagef("--%s: %s has no forecast: it tells what was generated", name, service)
		}
	}
	if zone == "" {
		return usagef("carbon: ZONE: missing: %s wants one, such as CISO for eia, 10YFR-RTE------C for entsoe", service)
	}
	s, err := mixOf(c, m, service, zone)
	if err != nil {
		return err
	}
	p := s.Points[0]
	v := mixView{Service: s.Source, Zone: s.Zone, Basis: s.Basis, From: p.From, To: p.To, GPerKWh: float64(p.Intensity), Lo: float64(p.Lo), Hi: float64(p.Hi),
		Covered: p.Covered, Points: len(s.Points), Fetched: s.Fetched, Stale: s.Stale, Notes: s.Notes}
	if c.Bool("json") {
		return printJSON(c, v)
	}
	w := c.App.Writer
	fmt.Fprintf(w, "%s  %.4g gCO2e/kWh, %s to %s; %.4g to %.4g by the range of every fuel\n", v.Zone, v.GPerKWh, v.From.UTC().Format("2006-01-02 15:04"),
		v.To.UTC().Format("2006-01-02 15:04 MST"), v.Lo, v.Hi)
	fmt.Fprintf(w, "from %s: %s; %.0f %% of the generation has a known fuel\n", v.Service, v.Basis, 100*v.Covered)
	if v.Stale {
		fmt.Fprintf(w, "note: the service did not answer; its last answer is of %s\n", v.Fetched.UTC().Format(time.RFC3339))
	}
	for _, n := range v.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
	return nil
}

// mixOf asks the service, or reads its saved answer.
func mixOf(c *cli.Context, m mixService, service, zone string) (carbon.Series, error) {
	if file := c.String("forecast"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return carbon.Series{}, err
		}
		s, err := m.parse(b, zone)
		if err != nil {
			return s, fmt.Errorf("%s: %w", file, err)
		}
		return s, nil
	}
	client := liveClient()
	var err error
	if client.Key, err = key(service, m.env); err != nil {
		return carbon.Series{}, err
	}
	return m.ask(c, client, zone)
}
