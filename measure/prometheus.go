package measure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// promMetric is what a known metric means.
type promMetric struct {
	scope   Scope
	counter bool
	unit    float64 // joules or watts of 1
	key     string  // label that tells units of the same metric apart
	name    string  // label that names the device
}

// promMetrics are the metrics of the exporters that are known: DCGM, Kepler, Scaphandre, node_exporter, ipmi_exporter. What they
// say is taken as it is, defects included.
var promMetrics = map[string]promMetric{
	"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": {ScopeGPU, true, 1e-3, "UUID", "modelName"},
	"DCGM_FI_DEV_POWER_USAGE":              {ScopeGPU, false, 1, "UUID", "modelName"},
	"kepler_node_package_joules_total":     {ScopePackage, true, 1, "", ""},
	"kepler_node_dram_joules_total":        {ScopeDRAM, true, 1, "", ""},
	"kepler_node_core_joules_total":        {ScopeCore, true, 1, "", ""},
	"kepler_node_uncore_joules_total":      {ScopeUncore, true, 1, "", ""},
	"kepler_node_gpu_joules_total":         {ScopeGPU, true, 1, "", ""},
	"kepler_node_platform_joules_total":    {ScopePlatform, true, 1, "", ""},
	"kepler_node_cpu_joules_total":         {"", true, 1, "", "zone"},
	"node_rapl_package_joules_total":       {ScopePackage, true, 1, "", ""},
	"node_rapl_dram_joules_total":          {ScopeDRAM, true, 1, "", ""},
	"node_rapl_core_joules_total":          {ScopeCore, true, 1, "", ""},
	"node_rapl_uncore_joules_total":        {ScopeUncore, true, 1, "", ""},
	"node_rapl_psys_joules_total":          {ScopePlatform, true, 1, "", ""},
	"scaph_host_energy_microjoules":        {ScopePlatform, true, 1e-6, "", ""},
	"scaph_host_power_microwatts":          {ScopePlatform, false, 1e-6, "", ""},
	"ipmi_dcmi_power_consumption_watts":    {ScopePlatform, false, 1, "", ""},
}

// promUnits are the units that the end of a metric's name tells, longest first.
var promUnits = []struct {
	suffix  string
	counter bool
	unit    float64
}{
	{"_microjoules_total", true, 1e-6}, {"_millijoules_total", true, 1e-3}, {"_kilowatt_hours_total", true, JoulesPerKWh},
	{"_watt_hours_total", true, 3600}, {"_joules_total", true, 1}, {"_microwatts", false, 1e-6}, {"_milliwatts", false, 1e-3},
	{"_watts", false, 1}, {"_joules", true, 1},
}

// PromOptions are the injected parts of the Prometheus meter.
type PromOptions struct {
	ExternalOptions
	Client *http.Client // default: one with a time limit
}

// NewPrometheus scrapes an exporter at address, such as DCGM's http://host:9400/metrics. Known metrics tell their scope; a
// fragment (#my_plug_watts) names another metric, whose unit its name must end in and whose scope is the platform.
func NewPrometheus(address string, o PromOptions) (*External, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("measure: prometheus: %.80q is no http address", address)
	}
	only := u.Fragment
	if only != "" {
		if _, ok := promCustom(only); !ok {
			return nil, fmt.Errorf("measure: prometheus: metric %.80q: its name ends in no known unit of energy or power", only)
		}
	}
	u.Fragment = ""
	if o.Client == nil {
		o.Client = &http.Client{Timeout: pollTimeout}
	}
	spec := externalSpec{name: "prometheus", uAbs: 0.1, uRatio: 0.05, most: 100_000, every: time.Second, note: "as the exporter says"}
	return newExternal(spec, o.ExternalOptions, func(ctx context.Context) ([]probe, error) {
		b, err := httpGet(ctx, o.Client, u.String(), "", "")
		if err != nil {
			return nil, err
		}
		return parsePrometheus(b, only)
	}), nil
}

// promCustom is the meaning of a metric that the user names.
func promCustom(name string) (promMetric, bool) {
	if m, ok := promMetrics[name]; ok {
		return m, true
	}
	for _, u := range promUnits {
		if strings.HasSuffix(name, u.suffix) {
			return promMetric{scope: ScopePlatform, counter: u.counter, unit: u.unit}, true
		}
	}
	return promMetric{}, false
}

// parsePrometheus reads the text format and keeps the metrics that are known, or the one called only. Where a device has a
// counter its power is dropped. Slices of one board (MIG) repeat the board's energy: the board is kept once, and says so.
func parsePrometheus(text []byte, only string) ([]probe, error) {
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("measure: prometheus: %d bytes", len(text))
	}
	var out []probe
	at := map[string]int{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		end := strings.IndexAny(line, "{ \t")
		if end <= 0 {
			return nil, fmt.Errorf("measure: prometheus: line %d: %.60q", n, line)
		}
		name := line[:end]
		m, known := promMetrics[name]
		if only != "" {
			m, known = promCustom(name)
			known = known && name == only
		}
		if !known {
			continue
		}
		labels, value, stamp, err := parsePromLine(line[end:])
		if err != nil {
			return nil, fmt.Errorf("measure: prometheus: line %d: %w", n, err)
		}
		p := promProbe(name, m, labels, value*m.unit, stamp)
		if p.scope == "" {
			continue
		}
		i, had := at[p.zone]
		switch {
		case !had && len(out) == maxProbes:
			return nil, fmt.Errorf("measure: prometheus: more than %d figures", maxProbes)
		case !had:
			at[p.zone] = len(out)
			out = append(out, p)
		case p.counter && !out[i].counter:
			out[i] = p
		case labels["GPU_I_ID"] != "":
			out[i].note = "board is split by MIG: energy of the whole board, shared by all slices"
		}
	}
	return out, nil
}

// promProbe names the zone and the scope of one line.
func promProbe(name string, m promMetric, labels map[string]string, value float64, stamp int64) probe {
	p := probe{scope: m.scope, counter: m.counter, value: value, stamp: stamp, name: name}
	if labels["GPU_I_ID"] != "" {
		p.note = "board is split by MIG: energy of the whole board, shared by all slices"
	}
	if m.key != "" && labels[m.key] != "" {
		p.zone = labels[m.key]
	} else {
		p.zone = name
		for _, k := range slices.Sorted(maps.Keys(labels)) {
			p.zone += "," + k + "=" + labels[k]
		}
	}
	if d := labels[m.name]; m.name != "" && d != "" {
		p.name = d
	}
	if m.scope == "" { // Kepler names the zone of RAPL in a label
		p.scope = zoneScope(labels["zone"])
	}
	return p
}

// parsePromLine reads "{label="value",...} value [timestamp]".
func parsePromLine(s string) (labels map[string]string, value float64, stamp int64, err error) {
	labels = map[string]string{}
	if strings.HasPrefix(s, "{") {
		if s, err = parsePromLabels(s[1:], labels); err != nil {
			return nil, 0, 0, err
		}
	}
	f := strings.Fields(s)
	if len(f) < 1 || len(f) > 2 {
		return nil, 0, 0, fmt.Errorf("%.60q is not a value", s)
	}
	if value, err = strconv.ParseFloat(f[0], 64); err != nil {
		if !errors.Is(err, strconv.ErrRange) {
			return nil, 0, 0, fmt.Errorf("value %.40q", f[0])
		}
		value = math.NaN()
	}
	if len(f) == 2 {
		if stamp, err = strconv.ParseInt(f[1], 10, 64); err != nil {
			return nil, 0, 0, fmt.Errorf("timestamp %.40q", f[1])
		}
	}
	return labels, value, stamp, nil
}

// parsePromLabels reads up to the closing brace and returns the rest of the line.
func parsePromLabels(s string, into map[string]string) (string, error) {
	for {
		s = strings.TrimLeft(s, " \t,")
		if rest, ok := strings.CutPrefix(s, "}"); ok {
			return rest, nil
		}
		key, rest, ok := strings.Cut(s, "=")
		rest, quoted := strings.CutPrefix(strings.TrimLeft(rest, " \t"), `"`)
		if !ok || !quoted {
			return "", fmt.Errorf("labels %.60q", s)
		}
		var v strings.Builder
		i := 0
		for ; i < len(rest) && rest[i] != '"'; i++ {
			if rest[i] == '\\' && i+1 < len(rest) {
				i++
				if rest[i] == 'n' {
					v.WriteByte('\n')
					continue
				}
			}
			v.WriteByte(rest[i])
		}
		if i == len(rest) {
			return "", fmt.Errorf("label %.40q has no end", key)
		}
		into[strings.TrimSpace(key)] = v.String()
		s = rest[i+1:]
	}
}
