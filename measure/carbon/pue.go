package carbon

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/measure"
)

// PUE is a power usage effectiveness, the energy of the site over that of its computers.
type PUE struct {
	Value    float64
	Lo, Hi   float64 // what it may be, as a 95 % interval
	Provider string
	Year     int // 0: a rule, not a survey
	Source   string
	Licence  string
	Set      string // which of the tables that disagree
	Stale    bool   // older than three years
}

// SitePUE is a value that the user knows. It must be at least 1.
func SitePUE(v float64) (PUE, error) {
	if !(v >= 1) || v > 10 {
		return PUE{}, fmt.Errorf("carbon: PUE %g: want 1 to 10", v)
	}
	return PUE{Value: v, Lo: v, Hi: v, Provider: "site", Source: "given by the user", Set: "user"}, nil
}

// ProviderPUE returns the PUE of a provider ("aws", "azure", "gcp", "OVHcloud", "Oracle"), of an "unknown" data
// centre (1.56, 1.1 to 1.8) or of an "on_premise_device" (exactly 1). thisYear tells how old it is. set picks one of the tables
// that disagree: "greenalgorithms" (the default), "ccf", "fact", "rule".
func ProviderPUE(provider, set string, thisYear int) (PUE, error) {
	rows, err := measure.ReadTable(pueTable, "provider", "pue", "year", "source", "set")
	if err != nil {
		return PUE{}, err
	}
	var names []string
	for _, r := range rows {
		names = append(names, r[0])
		if !strings.EqualFold(r[0], provider) || set != "" && r[4] != set {
			continue
		}
		v, err := amount(r[1])
		if err != nil || v < 1 {
			return PUE{}, fmt.Errorf("carbon: PUE of %q: %q", provider, r[1])
		}
		p := PUE{Value: v, Lo: max(1, v-0.1), Hi: v + 0.1, Provider: r[0], Source: r[3], Set: r[4]}
		p.Licence = map[string]string{"greenalgorithms": "CC BY 4.0", "ccf": "Apache-2.0", "fact": "facts", "rule": "facts"}[p.Set]
		if p.Year, err = strconv.Atoi(r[2]); err == nil {
			p.Stale = thisYear-p.Year > staleAfter
		}
		switch p.Provider {
		case "unknown":
			p.Lo, p.Hi = 1.1, 1.8
		case "on_premise_device":
			p.Lo, p.Hi = 1, 1
		}
		return p, nil
	}
	return PUE{}, fmt.Errorf("%w provider %q (set %q); nearest: %s", ErrUnknown, provider, set, nearest(provider, names, 3))
}
