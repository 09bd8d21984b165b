package measure_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure"
)

func external(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/energy/external/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answers is a Fetcher that says what it is told.
type answers struct {
	body []byte
	err  error
}

func (a *answers) fetch(context.Context) ([]byte, error) { return a.body, a.err }

// TestIPMI: 220 W for 10 s, then a controller that does not answer for 30 s, one whose measurement is off, one that gives milliwatts.
func TestIPMI(t *testing.T) {
	a, c := &answers{body: external(t, "ipmi_dcmi.txt")}, &clock{}
	m := measure.NewIPMI(a.fetch, measure.ExternalOptions{Now: c.now})
	if _, err := m.Read(); !errors.Is(err, measure.ErrNoCounter) {
		t.Errorf("read before the first answer: %v", err)
	}
	poll := func(d time.Duration) (measure.Reading, error) {
		t.Helper()
		c.t += d
		perr := m.Poll(context.Background())
		r, err := m.Read()
		return r, errors.Join(perr, err)
	}
	for range 6 {
		if _, err := poll(2 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := m.Read()
	if j := joules(r, "server"); j != 2200 || !r.Domains[0].Domain.Headline || r.Domains[0].Status != measure.StatusOK {
		t.Errorf("220 W for 10 s: %v J, %+v", j, r.Domains[0])
	}
	a.err = context.DeadlineExceeded
	for range 15 {
		if _, err := poll(2 * time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	a.err = nil
	r, err := poll(2 * time.Second)
	if j := joules(r, "server"); err != nil || j != 2200 || r.Domains[0].Gaps[0].Reason != measure.GapUnreadable {
		t.Errorf("32 s without an answer were filled in: %v J, %+v, %v", j, r.Domains[0].Gaps, err)
	}
	for file, want := range map[string]string{"ipmi_deactivated.txt": "deactivated", "ipmi_unit.txt": "mW", "redfish_null.json": "no power reading"} {
		a.body = external(t, file)
		if _, err := poll(time.Second); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if w, err := measure.ParseDCMI(external(t, "ipmi_freeipmi.txt")); err != nil || w != 164 {
		t.Errorf("FreeIPMI: %v, %v", w, err)
	}
	c.t += time.Minute // nobody polls any more
	if r, _ := m.Read(); r.Domains[0].Status != measure.StatusPartial {
		t.Errorf("a minute without polls passes for measured: %+v", r.Domains[0])
	}
}

// TestRedfish talks to a controller with one chassis of each generation, which wants a password.
func TestRedfish(t *testing.T) {
	power := external(t, "redfish_environment.json")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "me" || p != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/redfish/v1/Chassis":
			w.Write(external(t, "redfish_chassis.json"))
		case "/redfish/v1/Chassis/1U/EnvironmentMetrics":
			w.Write(power)
		case "/redfish/v1/Chassis/Old/Power":
			w.Write(external(t, "redfish_power.json"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	c := &clock{}
	o := measure.RedfishOptions{ExternalOptions: measure.ExternalOptions{Now: c.now}, User: "me", Password: "secret"}
	m, err := measure.NewRedfish(srv.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	poll := func() measure.Reading {
		t.Helper()
		if err := m.Poll(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.t += time.Second
		r, _ := m.Read()
		return r
	}
	for range 11 {
		poll()
	}
	r, _ := m.Read()
	if joules(r, "1U") != 3740 || joules(r, "Old") != 3440 {
		t.Errorf("10 s of 374 W and of 344 W: %v and %v J", joules(r, "1U"), joules(r, "Old"))
	}
	if names, _ := headline(r); names != "1U" {
		t.Errorf("counted %q: chassis may share their supplies, the first one counts", names)
	}
	power = external(t, "redfish_unit.json") // milliwatts; the other chassis goes on
	r = poll()
	if joules(r, "1U") != 3740 || joules(r, "Old") != 3784 || r.Domains[0].Errors[0] != "gone" {
		t.Errorf("374 kW were believed: %v J, %+v", joules(r, "1U"), r.Domains[0])
	}
	if m, err = measure.NewRedfish(srv.URL, measure.RedfishOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Poll(context.Background()); !errors.Is(err, measure.ErrPermission) || strings.Contains(err.Error(), "secret") {
		t.Errorf("no password: %v", err)
	}
	if _, err := measure.NewRedfish("http://bmc.example", o); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("a password over plain http: %v", err)
	}
}

// TestPrometheus scrapes what DCGM's exporter says: a board with a counter in mJ, an older one with power only.
func TestPrometheus(t *testing.T) {
	text, status := external(t, "dcgm.prom"), http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		w.Write(text)
	}))
	defer srv.Close()
	c := &clock{}
	open := func(suffix string) *measure.External {
		t.Helper()
		m, err := measure.NewPrometheus(srv.URL+"/metrics"+suffix, measure.PromOptions{ExternalOptions: measure.ExternalOptions{Now: c.now}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open("")
	poll := func(body string, d time.Duration) (measure.Reading, error) {
		text = []byte(body)
		c.t += d
		err := m.Poll(context.Background())
		r, _ := m.Read()
		return r, err
	}
	base := string(external(t, "dcgm.prom"))
	poll(base, 0)
	r, err := poll(strings.Replace(base, "5551899580", "5551999580", 1), 2*time.Second) // 100 J
	if j, k := joules(r, "NVIDIA L40S"), joules(r, "Tesla P4"); err != nil || j != 100 || k != 46 {
		t.Errorf("%v and %v J, want 100 (counter) and 46 (23 W for 2 s): %v", j, k, err)
	}
	r, _ = poll(strings.Replace(base, "5551899580", "5", 1), 2*time.Second) // driver reload
	if j := joules(r, "NVIDIA L40S"); j != 100 || r.Domains[0].Gaps[0].Reason != measure.GapReset {
		t.Errorf("reset: %v J, %+v", j, r.Domains[0].Gaps)
	}
	r, _ = poll(strings.Replace(base, "5551899580", "9551899580", 1), time.Second) // µJ, or a wrong unit
	if j := joules(r, "NVIDIA L40S"); j != 100 || r.Domains[0].Gaps[1].Reason != measure.GapImplausible {
		t.Errorf("9.5 MJ in a second were believed: %v J", j)
	}
	for range 25 {
		r, _ = poll(strings.Replace(base, "5551899580", "9551899580", 1), time.Second)
	}
	if g := r.Domains[0].Gaps; g[len(g)-1].Reason != measure.GapStuck {
		t.Errorf("an exporter that repeats itself passes for measured: %+v", g)
	}
	r, _ = poll(strings.SplitAfter(base, "# HELP DCGM_FI_DEV_TOTAL")[0]+"_X x\n", time.Second) // the counter is gone, its power is not
	if d := r.Domains[0]; d.Errors[0] != "gone" || joules(r, "NVIDIA L40S") != 100 {
		t.Errorf("watts were added to joules: %+v", d)
	}
	if status = http.StatusInternalServerError; m.Poll(context.Background()) == nil {
		t.Error("an error page was read")
	}
	status = http.StatusOK
	m = open("#home_plug_power_watts")
	poll(string(external(t, "plug.prom")), time.Second)
	r, err = poll(strings.Replace(string(external(t, "plug.prom")), "1795470000000", "1795470002000", 1), 2*time.Second)
	if names, j := headline(r); err != nil || names != "home_plug_power_watts" || j != 175 {
		t.Errorf("87.5 W for 2 s: %s %v J, %v", names, j, err)
	}
	if r, _ = poll(strings.Replace(string(external(t, "plug.prom")), "1795470000000", "1795470002000", 1), time.Second); r.Domains[0].Errors[0] != "stale" {
		t.Errorf("a value of the past was taken for a new one: %+v", r.Domains[0])
	}
	for _, bad := range []string{"ftp://x", "x", srv.URL + "#home_plug_celsius"} {
		if _, err := measure.NewPrometheus(bad, measure.PromOptions{}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// TestPrometheusScopes: parts count and the platform around them does not; slices of one board count once.
func TestPrometheusScopes(t *testing.T) {
	for file, want := range map[string]struct {
		counted string
		n       int
	}{
		"kepler.prom":   {"kepler_node_package_joules_total, kepler_node_package_joules_total, kepler_node_dram_joules_total", 5},
		"dcgm_mig.prom": {"NVIDIA A800-SXM4-80GB", 1},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(external(t, file)) }))
		m, err := measure.NewPrometheus(srv.URL, measure.PromOptions{})
		if err == nil {
			err = m.Poll(context.Background())
		}
		srv.Close()
		if err != nil {
			t.Fatal(err)
		}
		r, _ := m.Read()
		if names, _ := headline(r); names != want.counted || len(r.Domains) != want.n {
			t.Errorf("%s: %d domains, counted %s", file, len(r.Domains), names)
		}
		if mig := strings.Contains(r.Domains[0].Source.Note, "MIG"); mig != (file == "dcgm_mig.prom") {
			t.Errorf("%s: note %q", file, r.Domains[0].Source.Note)
		}
	}
}

// stepped hands out documents and moves the clock on by the time that each took.
type stepped struct {
	docs [][]byte
	took []time.Duration
	c    *clock
	rest []byte
}

func (s *stepped) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		if len(s.docs) == 0 {
			return 0, io.EOF
		}
		s.rest = append(bytes.Clone(s.docs[0]), 0)
		s.c.t += s.took[0]
		s.docs, s.took = s.docs[1:], s.took[1:]
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// TestPowermetrics plays documents of one second each: 1.923 J of CPU and 0.580 J of GPU, one second of which is lost, one whose
// unit contradicts its power, and one that is cut off.
func TestPowermetrics(t *testing.T) {
	doc := external(t, "powermetrics_m1.plist")
	wrong := bytes.Replace(doc, []byte("<integer>1923<"), []byte("<integer>1923000<"), 1) // µJ
	s := &stepped{c: &clock{}, docs: [][]byte{doc, doc, doc, wrong, doc[:len(doc)/2]}}
	for _, d := range []float64{1, 1, 2, 1, 1} {
		s.took = append(s.took, time.Duration(d*1e9))
	}
	closed := false
	m := measure.NewPowermetrics(s, func() error { closed = true; return nil }, measure.SensorOptions{Now: s.c.now})
	if err := m.Close(); err != nil || !closed {
		t.Fatal(err)
	}
	r, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	if j := joules(r, "cpu"); math.Abs(j-3*1.923) > 1e-9 {
		t.Errorf("cpu %v J, want %v", j, 3*1.923)
	}
	if j := joules(r, "gpu"); math.Abs(j-4*0.580) > 1e-9 {
		t.Errorf("gpu %v J", j)
	}
	var reasons []string
	for _, g := range r.Domains[0].Gaps {
		reasons = append(reasons, g.Reason)
	}
	if got := strings.Join(reasons, " "); got != "unreadable implausible" {
		t.Errorf("gaps of the cpu: %s", got)
	}
	if len(r.Domains) != 3 || r.Domains[0].Source.UAbs != 0.2 {
		t.Errorf("%+v", r.Domains)
	}
	intel := &stepped{c: &clock{}, docs: [][]byte{external(t, "powermetrics_intel.plist")}, took: []time.Duration{time.Second}}
	m = measure.NewPowermetrics(intel, nil, measure.SensorOptions{Now: intel.c.now})
	m.Close()
	if r, err = m.Read(); err != nil || joules(r, "package") != 12.25 {
		t.Errorf("Intel: %v J, %v", joules(r, "package"), err)
	}
	empty := measure.NewPowermetrics(strings.NewReader("password: "), nil, measure.SensorOptions{})
	empty.Close()
	if _, err := empty.Read(); err == nil {
		t.Error("no document and no error")
	}
}
