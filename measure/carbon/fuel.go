package carbon

import (
	"fmt"

	"github.com/wattshed/wattshed/measure"
)

// FuelFactor is the lifecycle intensity of electricity from one fuel, with where it comes from.
type FuelFactor struct {
	Fuel      string
	Intensity measure.Intensity
	Lo, Hi    measure.Intensity // least and most in the literature; 0 where the set has no range
	Set       string
	Year      int
	Source    string
	Licence   string
	Stale     bool // older than three years
}

// fuelSets are the sets of figures with the year in which each appeared and its licence.
var fuelSets = map[string]struct {
	year    int
	licence string
}{"ipcc_ar5": {2014, "facts"}, "codecarbon": {2024, "MIT"}}

// Fuel returns the lifecycle intensity of a fuel from one set of figures: "ipcc_ar5" (medians with minimum and maximum) or
// "codecarbon" (no range). The sets are never mixed. thisYear tells how old the figure is.
func Fuel(fuel, set string, thisYear int) (FuelFactor, error) {
	rows, err := measure.ReadTable(fuelTable, "fuel", "gco2e_per_kwh", "min", "max", "set", "source")
	if err != nil {
		return FuelFactor{}, err
	}
	var names []string
	for _, r := range rows {
		if r[4] != set {
			continue
		}
		names = append(names, r[0])
		if r[0] != fuel {
			continue
		}
		f := FuelFactor{Fuel: fuel, Set: set, Year: fuelSets[set].year, Licence: fuelSets[set].licence, Source: r[5]}
		f.Stale = thisYear-f.Year > staleAfter
		v, err := amount(r[1])
		if err != nil {
			return FuelFactor{}, err
		}
		l, _ := amount(r[2]) // absent without a range
		h, _ := amount(r[3])
		f.Intensity, f.Lo, f.Hi = measure.Intensity(v), measure.Intensity(l), measure.Intensity(h)
		return f, nil
	}
	return FuelFactor{}, fmt.Errorf("%w fuel %q in set %q; nearest: %s", ErrUnknown, fuel, set, nearest(fuel, names, 3))
}
