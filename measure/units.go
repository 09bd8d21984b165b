package measure

import (
	"math"
	"time"
)

// Exact conversion constants between units.
const (
	JoulesPerKWh  = 3.6e6         // 1 kWh = 3 600 000 J, exact
	GramsPerPound = 453.59237     // international pound, exact
	MicroPerUnit  = 1_000_000     // µJ in one joule
	maxMicro      = math.MaxInt64 // cap of a conversion from float64
)

// Microjoules is an exact count of 1e-6 J: what counters are added up in.
type Microjoules uint64

// Joules converts to joules. It is exact to float64 rounding (1 part in 9e15).
func (u Microjoules) Joules() Joules {
	return Joules(u/MicroPerUnit) + Joules(u%MicroPerUnit)/MicroPerUnit
}

// Joules is an amount of energy in J.
type Joules float64

// KWh returns j / 3.6e6, in kilowatt-hours.
func (j Joules) KWh() float64 { return float64(j) / JoulesPerKWh }

// Over returns the mean power j/d. It is 0 when d is not positive.
func (j Joules) Over(d time.Duration) Watts {
	if d <= 0 {
		return 0
	}
	return Watts(float64(j) / d.Seconds())
}

// Micro rounds to whole microjoules; negative amounts and NaN become 0, amounts beyond int64 are capped.
func (j Joules) Micro() Microjoules {
	f := math.Round(float64(j) * MicroPerUnit)
	switch {
	case !(f > 0):
		return 0
	case f >= maxMicro:
		return maxMicro
	}
	return Microjoules(f)
}

// Grams returns the emission of this energy at intensity i: J / 3.6e6 · g/kWh.
func (j Joules) Grams(i Intensity) GramsCO2e { return GramsCO2e(j.KWh() * float64(i)) }

// Watts is a power in W.
type Watts float64

// For returns the energy w·d.
func (w Watts) For(d time.Duration) Joules { return Joules(float64(w) * d.Seconds()) }

// Intensity is a carbon intensity of electricity in gCO2e/kWh.
type Intensity float64

// PoundsPerMWh converts an intensity given in lb/MWh: x · 453.59237 / 1000 g/kWh.
func PoundsPerMWh(x float64) Intensity { return Intensity(x * GramsPerPound / 1000) }

// GramsCO2e is a mass of greenhouse gas in grams of CO2 equivalent.
type GramsCO2e float64
