package reports

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wellFormed reads all of b with an XML parser and fails on the first error.
func wellFormed(t *testing.T, name string, b []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestPlots(t *testing.T) {
	for name, r := range map[string]*Result{"demo": demoResult(), "nasty": nastyResult(), "fidelity": fidelityResult()} {
		for i, p := range Plots(r) {
			if p.Missing != "" {
				if p.Name != "energy-by-op" && p.Name != "memory" {
					t.Errorf("%s: %s: %s", name, p.Name, p.Missing)
				}
				continue
			}
			var a, b, c, d bytes.Buffer
			again := Plots(r)[i]
			for _, err := range []error{p.SVG(&a), again.SVG(&b), p.PNG(&c)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if name == "demo" {
				if err := again.PNG(&d); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(a.Bytes(), b.Bytes()) || name == "demo" && !bytes.Equal(c.Bytes(), d.Bytes()) {
				t.Errorf("%s: %s: two renderings differ", name, p.Name)
			}
			wellFormed(t, p.Name, a.Bytes())
			in, err := p.inlineSVG()
			if err != nil {
				t.Fatal(err)
			}
			wellFormed(t, p.Name+" inline", []byte(in))
			cfg, err := png.DecodeConfig(bytes.NewReader(c.Bytes()))
			if err != nil || cfg.Width < int(plotWidth)*PlotDPI/72 {
				t.Errorf("%s: png %v %v", p.Name, cfg, err)
			}
			if dir := os.Getenv("REPORTS_LOOK"); dir != "" {
				_ = os.WriteFile(filepath.Join(dir, name+"-"+p.Name+".png"), c.Bytes(), 0o666)
			}
		}
	}
}

func TestPlotsMissing(t *testing.T) {
	for name, r := range map[string]*Result{"empty": emptyResult(), "none": {Schema: Schema}} {
		for _, p := range Plots(r) {
			if p.Missing == "" {
				t.Errorf("%s: %s was drawn from nothing", name, p.Name)
			}
			if err := p.SVG(io.Discard); err == nil {
				t.Errorf("%s: %s: no error", name, p.Name)
			}
		}
	}
}

// Zeros, equal values, single variants, huge spans, NaN that skipped Validate: nothing panics.
func TestPlotsOddFigures(t *testing.T) {
	for name, mut := range map[string]func(*Result){
		"zero": func(r *Result) {
			for i := range r.Variants {
				v := &r.Variants[i]
				v.File.Bytes, v.Accuracy.Value, *v.Energy.PerInference, *v.Carbon.Operational = 0, 0, 0, 0
				v.Latency = &Latency{Samples: make([]float64, 5)}
				*v.Memory.PeakRSS = 0
				v.Profile = []OpProfile{{Op: "X"}}
			}
		},
		"nan": func(r *Result) {
			for i := range r.Variants {
				v := &r.Variants[i]
				v.Accuracy.Value, *v.Energy.PerInference, v.Latency.P50 = math.NaN(), math.Inf(1), math.NaN()
				v.Latency.Samples[0] = math.NaN()
				v.Accuracy.CI95 = &Interval{math.NaN(), math.Inf(1)}
				v.Profile[0].Seconds = math.NaN()
			}
		},
		"tiny and huge": func(r *Result) {
			*r.Variants[1].Energy.PerInference, *r.Variants[2].Energy.PerInference = 5e-324, 1e300
			r.Variants[1].Latency.P50, r.Variants[2].Latency.P50 = 5e-324, 1e300
			r.Variants[1].Latency.Samples[0], r.Variants[2].Latency.Samples[0] = 5e-324, 1e300
			r.Variants[3].Accuracy.Value = -1e308
			r.Variants[3].Accuracy.CI95 = &Interval{-1.7e308, 1.7e308}
		},
		"hundreds": func(r *Result) {
			for len(r.Variants) < 300 {
				r.Variants = append(r.Variants, r.Variants[1])
				r.Variants[len(r.Variants)-1].Name = strings.Repeat("long name ", 40)
			}
		},
		"one":  func(r *Result) { r.Variants = r.Variants[:1] },
		"many": func(r *Result) { r.Variants = append(r.Variants, r.Variants[1:5]...) },
	} {
		r := demoResult()
		mut(r)
		for _, p := range Plots(r) {
			if p.Missing != "" {
				continue
			}
			var b bytes.Buffer
			if err := p.SVG(&b); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			wellFormed(t, name+" "+p.Name, b.Bytes())
			if bytes.Contains(b.Bytes(), []byte("NaN")) || bytes.Contains(b.Bytes(), []byte("Inf")) {
				t.Errorf("%s: %s: NaN or Inf in the SVG", name, p.Name)
			}
			if name != "nan" {
				continue
			}
			if err := p.PNG(io.Discard); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The values come from a table that can be checked by eye; the point is the front, not our code's taste.
func TestParetoFront(t *testing.T) {
	ps := []point{{variant: 0, x: 10, y: 5}, {variant: 1, x: 8, y: 5}, {variant: 2, x: 6, y: 4}, {variant: 3, x: 7, y: 3}, {variant: 4, x: 12, y: 6}, {variant: 5, x: 6, y: 3.5}}
	check := func(lower bool, want ...int) {
		got := paretoFront(ps, lower)
		if len(got) != len(want) {
			t.Fatalf("lower %v: %v", lower, got)
		}
		for i := range want {
			if got[i].variant != want[i] {
				t.Errorf("lower %v: %v, want %v", lower, got, want)
			}
		}
	}
	check(false, 2, 1, 4)
	check(true, 5, 3)
}

func TestAxes(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		n      int
	}{{0, 1, 5}, {0, 0, 5}, {3, 3, 5}, {-1, 1, 4}, {0.47, 1.06, 4}, {1e-12, 1e-11, 5}, {-2.1, 0.3, 4}, {0, 97.35, 5}, {math.NaN(), 1, 3}, {2, 1, 3}} {
		a := linearAxis(c.lo, c.hi, c.n)
		if !(a.hi > a.lo) || len(a.ticks) == 0 || len(a.ticks) > c.n+2 {
			t.Errorf("%v: %+v", c, a)
		}
		for _, x := range a.ticks {
			if x < a.lo-1e-9*math.Abs(a.lo)-1e-300 || x > a.hi*(1+1e-9)+1e-300 {
				t.Errorf("%v: tick %v outside", c, x)
			}
		}
	}
	if got := linearAxis(0, 1, 5); got.label(got.ticks[1]) != "0.2" || len(got.ticks) != 6 {
		t.Errorf("%+v", got)
	}
}

// Long names of rows stand in two lines that fit and are told apart by their ends, whole where two lines hold them.
func TestNameLines(t *testing.T) {
	const w = 200
	seen := map[string]bool{}
	for i := range 30 {
		for _, path := range []string{"/encoder/layer.%d/attention/output/dense/MatMul", "onnx::MatMul_8%02d (/encoder/layer/attention/output/dense/MatMul)",
			strings.Repeat("/a/very/deep/block.of/layers", 6) + "/%d/weight", strings.Repeat("x", 90) + "%d", "w%d", strings.Repeat("重", 60) + "%d"} {
			name := fmt.Sprintf(path, i)
			lines, sty := nameLines(name, w)
			if len(lines) > 2 || len(lines) == 2 && 2.2*sty.Font.Size > rowHeight {
				t.Errorf("%q: %d lines of %v do not fit a row", name, len(lines), sty.Font.Size)
			}
			for _, s := range lines {
				if sty.Width(s) > w {
					t.Errorf("%q: %q is %v wide", name, s, sty.Width(s))
				}
			}
			whole := strings.Join(lines, "\n")
			if seen[whole] {
				t.Errorf("%q looks like another name: %q", name, whole)
			}
			if seen[whole] = true; len(name) < 66 && strings.Contains(whole, "…") && !strings.Contains(name, "重") {
				t.Errorf("%q is cut to %q", name, whole)
			}
		}
	}
}
