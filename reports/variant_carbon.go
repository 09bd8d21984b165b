package reports

import "time"

// Carbon is in grams of CO2 equivalent per inference. CI95 is that of Total, from N draws of all inputs together; Tornado
// is what each input alone does to Total, the largest first. Source is that of the energy under it. Ratio is paired
// like the energy's. WaterL is in litres.
type Carbon struct {
	Operational    *float64     `json:"operational,omitempty"`
	Embodied       *float64     `json:"embodied,omitempty"`
	Total          *float64     `json:"total,omitempty"`
	Intensity      *Intensity   `json:"intensity,omitempty"`
	PUE            *float64     `json:"pue,omitempty"`
	PUESource      string       `json:"pue_source,omitempty"`
	CI95           *Interval    `json:"ci95,omitempty"`
	OperationalCI  *Interval    `json:"operational_ci95,omitempty"`
	EmbodiedCI     *Interval    `json:"embodied_ci95,omitempty"`
	WaterCI        *Interval    `json:"water_l_ci95,omitempty"`
	N              int          `json:"n,omitempty"`
	Source         string       `json:"source,omitempty"`
	EmbodiedSource string       `json:"embodied_source,omitempty"`
	Ratio          *EnergyRatio `json:"ratio,omitempty"`
	Tornado        []Swing      `json:"tornado,omitempty"`
	SCI            *SCI         `json:"sci,omitempty"`
	WaterL         *float64     `json:"water_l,omitempty"`
	PUERange       *Interval    `json:"pue_ci95,omitempty"` // what the PUE may be
}

// Swing is the total with one input at the ends of its 95 % interval and all others at their value.
type Swing struct {
	Input string  `json:"input"` // energy, intensity, pue, embodied or lifetime
	Lo    float64 `json:"lo"`
	Hi    float64 `json:"hi"`
}

// SCI is the software carbon intensity (ISO/IEC 21031:2024) in grams per unit: 1,000 inferences, 1,000 tokens of input, one
// correct answer. Boundary says what is in it.
type SCI struct {
	Per1000Inferences *Figure `json:"per_1000_inferences,omitempty"`
	Per1000Tokens     *Figure `json:"per_1000_tokens,omitempty"`
	PerCorrect        *Figure `json:"per_correct,omitempty"`
	Boundary          string  `json:"boundary,omitempty"`
}

// Figure is a value with its 95 % interval, from N draws of all inputs together.
type Figure struct {
	Value float64   `json:"value"`
	CI95  *Interval `json:"ci95,omitempty"`
	N     int       `json:"n,omitempty"`
}

// Intensity is the grid factor that was used, with its origin. SD is its standard deviation in g/kWh: that of the last five
// years, or 5 % where Assumed. Stale marks a factor older than three years.
type Intensity struct {
	GPerKWh float64 `json:"g_per_kwh"`
	SD      float64 `json:"sd_g_per_kwh,omitempty"`
	Assumed bool    `json:"sd_assumed,omitempty"`
	Stale   bool    `json:"stale,omitempty"`
	Zone    string  `json:"zone,omitempty"`
	Year    int     `json:"year,omitempty"`
	Source  string  `json:"source,omitempty"`
	Licence string  `json:"licence,omitempty"`
	Basis   string  `json:"basis,omitempty"`

	Live *LiveIntensity `json:"live,omitempty"` // where a live service was asked for it
}

// LiveIntensity says which live service gave an intensity, and of what time it is. Stale: the service did not answer, this is its last
// answer, of Fetched. Late: its newest figure ended before the run. Where it gave none, Failed says why, and the intensity is that of
// the yearly table.
type LiveIntensity struct {
	Service   string    `json:"service"`
	Zone      string    `json:"zone,omitempty"`
	From      time.Time `json:"from,omitzero"`
	To        time.Time `json:"to,omitzero"`
	Fetched   time.Time `json:"fetched,omitzero"`
	Stale     bool      `json:"stale,omitempty"`
	Late      bool      `json:"late,omitempty"`
	Estimated bool      `json:"estimated,omitempty"`
	Forecast  bool      `json:"forecast,omitempty"`
	Notes     []string  `json:"notes,omitempty"`
	Failed    string    `json:"failed,omitempty"`
}

// Cost is what making the variant took, measured once (N) while it was made; the intervals are those of the energy source and the
// factors. Either Breakeven tells after how many inferences the joules are saved again, or NoneDemonstrated says that no
// saving was shown; the same for the grams.
type Cost struct {
	Seconds                *float64   `json:"seconds,omitempty"`
	Joules                 *float64   `json:"joules,omitempty"`
	JoulesCI95             *Interval  `json:"joules_ci95,omitempty"`
	GCO2e                  *float64   `json:"gco2e,omitempty"`
	GCO2eCI95              *Interval  `json:"gco2e_ci95,omitempty"`
	Source                 string     `json:"source,omitempty"`
	N                      int        `json:"n,omitempty"`
	Breakeven              *Breakeven `json:"breakeven_inferences,omitempty"`
	NoneDemonstrated       bool       `json:"none_demonstrated,omitempty"`
	BreakevenCarbon        *Breakeven `json:"breakeven_inferences_carbon,omitempty"`
	NoneDemonstratedCarbon bool       `json:"none_demonstrated_carbon,omitempty"`
}

// Breakeven counts inferences; the interval is Fieller's over N pairs, in which the cost varies by what does not cancel between two
// energies of one meter (method "fieller"). Where the energies are modelled both rest on assumptions that need not cancel, and the interval is
// widened by them ("fieller_model").
type Breakeven struct {
	Value  float64   `json:"value"`
	CI95   *Interval `json:"ci95,omitempty"`
	N      int       `json:"n,omitempty"`
	Method string    `json:"method,omitempty"`
	Source string    `json:"source,omitempty"`
}
