package measure

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed data/cpu_tdp.csv
var cpuTDPTable []byte

//go:embed data/specpower_curve.csv
var specCurveTable []byte

//go:embed data/specpower_tdp_ratio.csv
var specRatioTable []byte

//go:embed data/cpu_vcpu_watts.csv
var vcpuTable []byte

//go:embed data/gpu_power.csv
var gpuTable []byte

// quantiles are the 5, 25, 50, 75 and 95 % quantiles of a figure.
type quantiles [5]float64

var quantileAt = [5]float64{0.05, 0.25, 0.5, 0.75, 0.95}

// at interpolates linearly between the known quantiles and stays within the outer ones.
func (q quantiles) at(p float64) float64 {
	for i := 1; i < len(q); i++ {
		if p <= quantileAt[i] {
			f := (p - quantileAt[i-1]) / (quantileAt[i] - quantileAt[i-1])
			return q[i-1] + max(0, f)*(q[i]-q[i-1])
		}
	}
	return q[len(q)-1]
}

// specYear is the hardware generation that the model draws on: available from 2017, 212 published results.
const specYear = "2017"

// loadCurve returns the quantiles of P(load)/P(100 %) at loads 0, 10 ... 100 %.
func loadCurve() ([11]quantiles, error) {
	var out [11]quantiles
	rows, err := ReadTable(specCurveTable, "hw_available_from", "n", "load_pct", "p05", "p25", "median", "p75", "p95", "mean")
	if err != nil {
		return out, err
	}
	found := 0
	for _, r := range rows {
		load, err := strconv.Atoi(r[2])
		if r[0] != specYear || err != nil || load < 0 || load > 100 || load%10 != 0 {
			continue
		}
		if out[load/10], err = parseQuantiles(r[3:8]); err != nil {
			return out, err
		}
		found++
	}
	if found != len(out) {
		return out, fmt.Errorf("measure: load curve: %d of %d points", found, len(out))
	}
	return out, nil
}

// fullLoadRatio returns the quantiles of P100/(TDP·chips).
func fullLoadRatio() (quantiles, error) {
	rows, err := ReadTable(specRatioTable, "hw_available_from", "chips", "n", "quantity", "p05", "p25", "median", "p75", "p95")
	if err != nil {
		return quantiles{}, err
	}
	for _, r := range rows {
		if r[0] == specYear && r[1] == "any" && r[3] == "P100/(TDP*chips)" {
			return parseQuantiles(r[4:9])
		}
	}
	return quantiles{}, fmt.Errorf("measure: no full-load ratio for %s", specYear)
}

func parseQuantiles(f []string) (quantiles, error) {
	var q quantiles
	for i := range q {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil || !(v > 0) || i > 0 && v < q[i-1] {
			return q, fmt.Errorf("measure: %q are not rising quantiles", f)
		}
		q[i] = v
	}
	return q, nil
}

// TDP looks a CPU up by its exact name, spaces, case, (R), (TM) and the clock after @ aside. Generic names of
// guests ("AMD EPYC Processor") are never matched, and no near neighbour is taken instead.
func TDP(cpu string) (Watts, bool) {
	want := cpuKey(cpu)
	if want == "" || genericCPU(want) {
		return 0, false
	}
	w, ok := cpuTDPs()[want]
	return w, ok
}

// cpuTDPs is the embedded table by key, read once; of equal keys the first row counts.
var cpuTDPs = sync.OnceValue(func() map[string]Watts {
	out := map[string]Watts{}
	rows, _ := ReadTable(cpuTDPTable, "name", "tdp_watts", "note")
	for _, r := range rows {
		key := cpuKey(r[0])
		if v, err := strconv.ParseFloat(r[1], 64); err == nil && v > 0 && out[key] == 0 {
			out[key] = Watts(v)
		}
	}
	return out
})

// cpuKey reduces a CPU name to what identifies it.
func cpuKey(s string) string {
	s, _, _ = strings.Cut(strings.ToLower(s), "@")
	s = strings.NewReplacer("(r)", " ", "(tm)", " ", "®", " ", "™", " ").Replace(s)
	words := strings.Fields(s)
	words = slices.DeleteFunc(words, func(w string) bool {
		return w == "cpu" || w == "processor" || strings.HasSuffix(w, "-core") || w == "with" || w == "gen" ||
			w == "11th" || w == "12th" || w == "13th" || w == "14th"
	})
	for i, w := range words { // integrated graphics are no part of the name
		if w == "radeon" && i > 0 {
			words = words[:i]
			break
		}
	}
	return strings.Join(words, " ")
}

// genericCPU reports a name that many different CPUs share: it has no digit.
func genericCPU(key string) bool { return !strings.ContainsAny(key, "0123456789") }

// serverCPU reports a name of a server line.
func serverCPU(key string) bool {
	return strings.Contains(key, "xeon") || strings.Contains(key, "epyc") || strings.Contains(key, "opteron") ||
		strings.Contains(key, "ampere") || strings.Contains(key, "graviton")
}

// GPUPower is one row of the table of accelerators.
type GPUPower struct {
	Name, Vendor, Scope, Confidence string
	TDP, Idle                       Watts // Idle is 0 when it is not known
}

// LookupGPU finds the row whose words appear as a run in the device name; the longest match wins. Mobile parts
// are not matched with their desktop namesakes.
func LookupGPU(device string) (GPUPower, bool) {
	words := strings.FieldsFunc(strings.ToLower(device), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	name := " " + strings.Join(words, " ") + " "
	if strings.Contains(name, " laptop ") || strings.Contains(name, " mobile ") {
		return GPUPower{}, false
	}
	rows, err := ReadTable(gpuTable, "name", "vendor", "scope", "tdp_watts", "tdp_min_watts", "idle_watts", "idle_source",
		"source_note", "confidence", "match")
	if err != nil {
		return GPUPower{}, false
	}
	best, length := GPUPower{}, 0
	for _, r := range rows {
		if m := r[9]; len(m) > length && strings.Contains(name, " "+m+" ") {
			tdp, err := strconv.ParseFloat(r[3], 64)
			if err != nil {
				continue
			}
			idle, _ := strconv.ParseFloat(r[5], 64)
			best = GPUPower{Name: r[0], Vendor: r[1], Scope: r[2], Confidence: r[8], TDP: Watts(tdp), Idle: Watts(idle)}
			length = len(m)
		}
	}
	return best, length > 0
}

// vcpuPrior returns the watts per vCPU at idle and at full load of a provider's generation ("aws", "EPYC 2nd
// Gen"), or the published means where the generation is not known.
func vcpuPrior(provider, architecture string) (lo, hi Watts, known bool) {
	rows, err := ReadTable(vcpuTable, "provider", "architecture", "min_w_per_vcpu", "max_w_per_vcpu", "gb_per_chip", "note")
	if err == nil {
		for _, r := range rows {
			if r[0] != provider || r[1] != architecture {
				continue
			}
			a, err1 := strconv.ParseFloat(r[2], 64)
			b, err2 := strconv.ParseFloat(r[3], 64)
			if err1 == nil && err2 == nil {
				return Watts(a), Watts(b), true
			}
		}
	}
	return 0.68, 4.11, false
}

// cloudOf tells the provider from the DMI strings and the CPU's generation, as the table of W per vCPU names them. Both are ""
// where they are not certain: a generic CPU name tells no generation.
func cloudOf(h HostFacts) (provider, generation string) {
	for _, p := range []struct{ word, name string }{{"Amazon EC2", "aws"}, {"Google", "gcp"}, {"Microsoft Corporation", "azure"}} {
		if strings.HasPrefix(h.Product, p.word) {
			provider = p.name
		}
	}
	for w := range strings.FieldsSeq(cpuKey(h.CPU)) {
		if g := generationOf(cpuKey(h.CPU), w); g != "" {
			return provider, g
		}
	}
	return provider, ""
}

// generationOf reads the model number w of a server CPU called key: EPYC 7xx1 to 7xx3, Xeon E5 v2 to v4, Xeon 81xx and 82xx.
func generationOf(key, w string) string {
	four := len(w) >= 4 && w[0] >= '1' && w[0] <= '9' && w[1] >= '0' && w[1] <= '9'
	switch {
	case strings.Contains(key, "epyc") && four && w[0] == '7' && w[3] >= '1' && w[3] <= '3':
		return map[byte]string{'1': "EPYC 1st Gen", '2': "EPYC 2nd Gen", '3': "EPYC 3rd Gen"}[w[3]]
	case strings.Contains(key, "xeon") && four && w[1] == '1':
		return "Skylake"
	case strings.Contains(key, "xeon") && four && w[1] == '2':
		return "Cascade Lake"
	case strings.Contains(key, "xeon") && w == "v2":
		return "Ivy Bridge"
	case strings.Contains(key, "xeon") && w == "v3":
		return "Haswell"
	case strings.Contains(key, "xeon") && w == "v4":
		return "Broadwell"
	}
	return ""
}
