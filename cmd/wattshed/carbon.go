package main

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/measure/carbon"
)

// The environment variables that hold the keys of live services.
const (
	envElectricityMaps = "ELECTRICITYMAPS_TOKEN"
	envWattTimeUser    = "WATTTIME_USER"
	envWattTimeKey     = "WATTTIME_PASSWORD"
	envEIA             = "EIA_API_KEY"
	envENTSOE          = "ENTSOE_TOKEN"
)

func carbonCommand() *cli.Command {
	return &cli.Command{
		Name: "carbon", Usage: "grid intensity of a zone, and the greenest time for planned work", ArgsUsage: "[ZONE]",
		Description: "Example: wattshed carbon DEU\n\n" +
			"Without --service it prints the built-in yearly average of ZONE with year, source, licence and uncertainty; ZONE is a country\n" +
			"(DEU), a US state (US-CA), a Google Cloud region (gcp:europe-west3), an aggregate (World), or \"detect\": the country of this\n" +
			"machine's time zone. With --service it asks a live service for its forecast and finds the start within --within at which work of\n" +
			"length --work meets the least intensity, beside what starting at once would mean. ZONE is then a zone of the service:\n" +
			"DE for electricitymaps, CAISO_NORTH for watttime, none for neso (Great Britain). The services eia (CISO) and entsoe\n" +
			"(10YFR-RTE------C) have no forecast: they tell what was generated from which fuel in the last day, and so what a kWh emitted.\n" +
			"Keys come from " + envElectricityMaps + ", " + envWattTimeUser + " and " + envWattTimeKey + ", " + envEIA + ", " + envENTSOE + ".\n" +
			"Only a marginal intensity (watttime) tells what the grid emits less; an average\n" +
			"one describes its mix. The two are never mixed, and no figure of a run changes by this command.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "service", Usage: serviceNames},
			&cli.StringFlag{Name: "forecast", Usage: "`FILE` with an answer of the service, instead of asking it"},
			&cli.DurationFlag{Name: "work", Value: time.Hour, Usage: "length of the planned work"},
			&cli.DurationFlag{Name: "within", Value: 24 * time.Hour, Usage: "time within which it must be done, up to 48h"},
			&cli.TimestampFlag{Name: "from", Layout: time.RFC3339, Usage: "earliest start", DefaultText: "now"},
			&cli.Float64Flag{Name: "joules", Usage: "energy of the planned work, such as cost.joules of a result"},
			&cli.Float64Flag{Name: "pue", Value: 1, Usage: "power usage effectiveness of the site"},
			jsonFlag(), quietFlag()},
		Action: func(c *cli.Context) error {
			if c.Args().Len() > 1 {
				return usagef("carbon: %d arguments: want at most one zone", c.Args().Len())
			}
			if c.String("service") == "" {
				for _, name := range []string{"forecast", "work", "within", "from", "joules", "pue"} {
					if c.IsSet(name) {
						return withHint(usagef("--%s: goes with --service: a yearly average has no hours to choose from", name), "the services are "+serviceNames)
					}
				}
				return printFactor(c, c.Args().First())
			}
			if m, ok := mixServiceOf(c.String("service")); ok {
				return printMix(c, m)
			}
			return advise(c)
		},
	}
}

// factorView is a built-in factor as --json shows it.
type factorView struct {
	Zone     string  `json:"zone"`
	Name     string  `json:"name"`
	GPerKWh  float64 `json:"g_per_kwh"`
	SD       float64 `json:"sd_last_5_years,omitempty"`
	Year     int     `json:"year"`
	Stale    bool    `json:"stale,omitempty"`
	Basis    string  `json:"basis"`
	Source   string  `json:"source"`
	Licence  string  `json:"licence"`
	Detected string  `json:"detected_by,omitempty"`
}

func printFactor(c *cli.Context, zone string) error {
	how := ""
	switch zone {
	case "":
		zone = "World"
	case "detect":
		var err error
		if zone, how, err = carbon.DetectZone(os.DirFS("/")); err != nil {
			return withHint(err, "give the zone: wattshed carbon DEU")
		}
	}
	f, err := carbon.Zone(zone, time.Now().Year(), false)
	if err != nil {
		return usageError{err}
	}
	v := factorView{Zone: f.Zone, Name: f.Name, GPerKWh: float64(f.Intensity), SD: f.SD, Year: f.Year, Stale: f.Stale, Basis: f.Basis, Source: f.Source, Licence: f.Licence, Detected: how}
	if c.Bool("json") {
		return printJSON(c, v)
	}
	w := c.App.Writer
	fmt.Fprintf(w, "%s (%s)  %.4g gCO2e/kWh, %d, %s\n", v.Zone, v.Name, v.GPerKWh, v.Year, v.Basis)
	if v.SD > 0 {
		fmt.Fprintf(w, "standard deviation of the last five years: %.3g g/kWh\n", v.SD)
	} else {
		fmt.Fprintln(w, "spread over the years: not known, 5 % is assumed")
	}
	fmt.Fprintf(w, "source: %s; %s\n", v.Source, v.Licence)
	if v.Stale {
		fmt.Fprintf(w, "note: the figure is more than three years old\n")
	}
	if how != "" {
		fmt.Fprintf(w, "note: the zone is that of the %s\n", how)
	}
	return nil
}

// adviceView is the advice as --json shows it.
type adviceView struct {
	Service   string    `json:"service"`
	Zone      string    `json:"zone"`
	Basis     string    `json:"basis"`
	Marginal  bool      `json:"marginal"`
	From      time.Time `json:"from"`
	Start     time.Time `json:"start"`
	WorkS     float64   `json:"work_s"`
	WithinS   float64   `json:"within_s"`
	Now       float64   `json:"now_g_per_kwh"`
	Best      float64   `json:"best_g_per_kwh"`
	Saving    float64   `json:"saving"`
	NowG      *float64  `json:"now_g,omitempty"`
	BestG     *float64  `json:"best_g,omitempty"`
	Points    int       `json:"n"`
	Forecasts int       `json:"forecasts"`
	Fetched   time.Time `json:"fetched,omitzero"`
	Stale     bool      `json:"stale,omitempty"`
	Notes     []string  `json:"notes,omitempty"`
}

func advise(c *cli.Context) error {
	from := time.Now()
	if t := c.Timestamp("from"); t != nil {
		from = *t
	}
	work, within := c.Duration("work"), c.Duration("within")
	if work <= 0 || within < work || within > 48*time.Hour {
		return usagef("carbon: work of %v within %v: want work that fits, within at most 48h", work, within)
	}
	if j, p := c.Float64("joules"), c.Float64("pue"); !(j >= 0) || j > 1e18 || !(p >= 1 && p <= 10) {
		return usagef("carbon: %g joules, PUE %g", j, p)
	}
	s, err := forecastOf(c)
	if err != nil {
		return err
	}
	a, err := carbon.Greenest(s, work, from, from.Add(within))
	if err != nil {
		return err
	}
	v := adviceView{Service: s.Source, Zone: s.Zone, Basis: a.Basis, Marginal: a.Marginal(), From: from, Start: a.Start, WorkS: work.Seconds(),
		WithinS: within.Seconds(), Now: float64(a.Now), Best: float64(a.Best), Saving: a.Saving, Points: len(s.Points), Fetched: s.Fetched, Stale: s.Stale, Notes: s.Notes}
	for _, p := range s.Points {
		if p.Forecast {
			v.Forecasts++
		}
	}
	if c.IsSet("joules") {
		it := measure.Joules(c.Float64("joules") * c.Float64("pue"))
		now, best := float64(it.Grams(a.Now)), float64(it.Grams(a.Best))
		v.NowG, v.BestG = &now, &best
	}
	if c.Bool("json") {
		return printJSON(c, v)
	}
	printAdvice(c, v)
	return nil
}

func printAdvice(c *cli.Context, v adviceView) {
	w := c.App.Writer
	line := func(name string, at time.Time, i float64, g *float64) {
		fmt.Fprintf(w, "%s  %s  %.4g gCO2e/kWh", name, at.UTC().Format("2006-01-02 15:04 MST"), i)
		if g != nil {
			fmt.Fprintf(w, "  %.4g g for the work", *g)
		}
		fmt.Fprintln(w)
	}
	line("start at once  ", v.From, v.Now, v.NowG)
	line("greenest start ", v.Start, v.Best, v.BestG)
	if v.Saving > 0 {
		fmt.Fprintf(w, "waiting takes %.3g %% less, by forecast\n", 100*v.Saving)
	} else {
		fmt.Fprintln(w, "waiting saves nothing, by forecast")
	}
	fmt.Fprintf(w, "from %s, zone %s: %s; %d figures, %d of them forecasts\n", v.Service, v.Zone, v.Basis, v.Points, v.Forecasts)
	if !v.Marginal {
		fmt.Fprintln(w, "note: an average intensity describes the mix; only a marginal one tells what the grid emits less")
	}
	if v.Stale {
		fmt.Fprintf(w, "note: the service did not answer; its last answer is of %s\n", v.Fetched.UTC().Format(time.RFC3339))
	}
	for _, n := range v.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

// serviceNames are the live services.
const serviceNames = "neso, electricitymaps, watttime, eia or entsoe"

// key is a service's key from the environment.
func key(service, name string) (string, error) {
	v := os.Getenv(name)
	if v == "" {
		return "", withHint(usagef("carbon: %s needs a key", service), "set "+name)
	}
	return v, nil
}

// forecastOf asks the service, or reads its saved answer.
func forecastOf(c *cli.Context) (carbon.Series, error) {
	service, zone := c.String("service"), c.Args().First()
	parse, known := map[string]func([]byte) (carbon.Series, error){
		"neso": carbon.ParseNESO, "electricitymaps": carbon.ParseElectricityMaps, "watttime": carbon.ParseWattTime}[service]
	if !known {
		return carbon.Series{}, usagef("--service: %q: want %s", service, serviceNames)
	}
	if file := c.String("forecast"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return carbon.Series{}, err
		}
		s, err := parse(b)
		if err != nil {
			return s, fmt.Errorf("%s: %w", file, err)
		}
		return s, nil
	}
	client := liveClient()
	need := func(name string) (string, error) { return key(service, name) }
	var err error
	switch service {
	case "neso":
		return client.NESO(c.Context, zone, true)
	case "electricitymaps":
		if client.Key, err = need(envElectricityMaps); err != nil {
			return carbon.Series{}, err
		}
		return client.ElectricityMaps(c.Context, zone, true)
	}
	if client.User, err = need(envWattTimeUser); err != nil {
		return carbon.Series{}, err
	}
	if client.Key, err = need(envWattTimeKey); err != nil {
		return carbon.Series{}, err
	}
	return client.WattTime(c.Context, zone)
}
