package reports

import (
	"bytes"
	"strings"
	"testing"
)

// TestDomainsAreShown: zones, what counts, and what sources say of themselves are in every report, and intervals in the CSV.
func TestDomainsAreShown(t *testing.T) {
	r := demoResult()
	r.Meter = &Meter{Describe: "powercap: 2 packages", CountedBy: "process 42", Reads: 8}
	v := &r.Variants[0]
	v.Energy.Source, v.Energy.Coverage, v.Energy.NetAbsent, v.Energy.NetPerInference = SourceMeasured, ptr(0.9), "idle power was not measured", nil
	v.Energy.Domains = []Domain{
		{Domain: "package-0", Zone: "intel-rapl:0", Scope: "package", Headline: true, Kind: SourceMeasured, Source: "powercap", Status: "partial", Joules: 0.03, UAbs: ptr(0.0015), N: 500, Note: "SGX may blur it"},
		{Domain: "core", Zone: "intel-rapl:0:0", Scope: "core", Kind: SourceMeasured, Source: "powercap", Status: "ok", Joules: 0.02, UAbs: ptr(0.001), N: 500}}
	v.Latency.P99CI, v.Rate = &Interval{v.Latency.P99 * 0.9, v.Latency.P99 * 1.1}, &Rate{CI95: &Interval{*v.Throughput * 0.9, *v.Throughput * 1.1}, N: 24}
	for name, export := range map[string]func(*bytes.Buffer) error{"markdown": func(b *bytes.Buffer) error { return Markdown(b, r) }, "html": func(b *bytes.Buffer) error { return HTML(b, r) }} {
		var b bytes.Buffer
		if err := export(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"intel-rapl:0:0", "partial", "SGX may blur it", "counted by process 42, another measurement by wattshed", "the meter saw 90", "idle power was not measured", "99th percentile"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is missing", name, want)
			}
		}
	}
	var b bytes.Buffer
	if err := CSV(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"baseline,energy_package-0,J,0.03,0.028", "baseline,energy_core_not_counted,J,0.02,", "baseline,energy_coverage,1,0.9,", ",24,measured"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("csv: %q is missing", want)
		}
	}
}
