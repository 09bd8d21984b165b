package reports

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExportersSameBytes(t *testing.T) {
	for name, make := range map[string]func() *Result{"demo": demoResult, "nasty": nastyResult, "fidelity": fidelityResult, "empty": emptyResult, "none": func() *Result { return &Result{Schema: Schema} }} {
		for _, f := range Formats() {
			var a, b bytes.Buffer
			if err := f.Export(&a, make()); err != nil {
				t.Fatalf("%s: %s: %v", name, f.Name, err)
			}
			if err := f.Export(&b, make()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.Bytes(), b.Bytes()) {
				t.Errorf("%s: %s: two renderings differ", name, f.Name)
			}
			if strings.Contains(a.String(), "NaN") || strings.Contains(a.String(), "%!") {
				t.Errorf("%s: %s: NaN or a formatting error in the text", name, f.Name)
			}
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if _, err := FormatByName("boamps"); err == nil || !strings.Contains(err.Error(), "not in this version") {
		t.Errorf("got %v", err)
	}
	if _, _, err := WriteDir(context.Background(), t.TempDir(), emptyResult(), "json", "boamps"); err == nil {
		t.Error("no error")
	}
}

func TestHTMLEscapes(t *testing.T) {
	var b bytes.Buffer
	if err := HTML(&b, nastyResult()); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	for _, bad := range []string{"<script", "a<b", "</details><b>", "<d>", "http://", "https://", "\x00", "\x1b", "src=", "ZgotmplZ"} {
		t.Run(bad, func(t *testing.T) {
			if i := strings.Index(strings.ReplaceAll(s, `xmlns="http://www.w3.org/2000/svg"`, ""), bad); i >= 0 {
				t.Errorf("page holds %q", bad)
			}
		})
	}
	for _, want := range []string{"a&lt;b&amp;", "&lt;script&gt;", "日本語の名前"} {
		if !strings.Contains(s, want) {
			t.Errorf("page lacks %q", want)
		}
	}
}

func TestModelledWording(t *testing.T) {
	for _, f := range []Format{{"html", "", HTML}, {"md", "", Markdown}} {
		var b bytes.Buffer
		if err := f.Export(&b, demoResult()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "estimated from CPU time, no counter on this host"); n < 8 {
			t.Errorf("%s: the wording stands %d times, want it in the headline and at each of 7 variants", f.Name, n)
		}
		b.Reset()
		r := nastyResult()
		if err := f.Export(&b, r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "estimated from CPU time") {
			t.Errorf("%s: measured energy is called estimated", f.Name)
		}
	}
}

func TestMarkdownTable(t *testing.T) {
	var b bytes.Buffer
	if err := Markdown(&b, nastyResult()); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, l := range strings.Split(b.String(), "\n") {
		if !strings.HasPrefix(l, "| **") {
			continue
		}
		rows++
		// Unescaped bars are the columns: 8 columns have 9.
		if n := strings.Count(strings.ReplaceAll(l, `\|`, ""), "|"); n != 9 {
			t.Errorf("%d bars in %s", n, l)
		}
	}
	if rows != 8 {
		t.Errorf("%d rows", rows)
	}
	for _, bad := range []string{"<script", "</details><b>", "a<b"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("holds %q", bad)
		}
	}
}

// Figures of the sentences are checked against the inputs, computed by hand.
func TestSentences(t *testing.T) {
	r := demoResult()
	for name, wants := range map[string][]string{
		"int8":                     {"3.8 times smaller", "53 % less time [52.2, 53.7]", "−0.14 points [−0.74, 0.46]", "no change shown by 905 examples", "39 % lower"},
		"sparse-2:4-with-recovery": {"as large as before", "6 % more time [4.4, 7.7]", "worse: −0.89 points"},
		"fp16":                     {"no change of run time shown, 1.00×"},
		"student-int8":             {"19.2 times smaller", "83 % less time"},
	} {
		for i := range r.Variants {
			if r.Variants[i].Name != name {
				continue
			}
			s := sentence(r, &r.Variants[i])
			for _, w := range wants {
				if !strings.Contains(s, w) {
					t.Errorf("%s: %q lacks %q", name, s, w)
				}
			}
		}
	}
}

func TestCSV(t *testing.T) {
	var b bytes.Buffer
	r := nastyResult()
	if err := CSV(&b, r); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, row := range rows {
		if len(row) != 8 {
			t.Fatalf("%d fields: %q", len(row), row)
		}
		if row[0] == r.Variants[1].Name && row[1] == "latency_ratio" {
			found = row[3] == "1.004" && row[6] == "12" && row[7] == SourceMeasured
		}
	}
	if !found {
		t.Error("no line for the latency ratio of the first variant")
	}
}

func TestJUnit(t *testing.T) {
	r := nastyResult()
	var b bytes.Buffer
	if err := JUnit(&b, r); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Skipped  int `xml:"skipped,attr"`
			Cases    []struct {
				Name    string    `xml:"name,attr"`
				Failure *struct{} `xml:"failure"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	tests := 0
	for _, s := range doc.Suites {
		fails, skips := 0, 0
		for _, c := range s.Cases {
			if c.Failure != nil {
				fails++
			}
			if c.Skipped != nil {
				skips++
			}
		}
		if len(s.Cases) != s.Tests || fails != s.Failures || skips != s.Skipped {
			t.Errorf("counts of %+v do not match", s)
		}
		tests += s.Tests
	}
	if tests != len(r.Gates) {
		t.Errorf("%d cases, want %d", tests, len(r.Gates))
	}
}

func TestModelCard(t *testing.T) {
	var b bytes.Buffer
	r := demoResult()
	if err := ModelCard(&b, r); err != nil {
		t.Fatal(err)
	}
	// 3 + 3 + 8 + 1900 + 1900 + 4200 + 4210 J at 344 g/kWh and PUE 1.15: 12224 / 3.6e6 * 344 * 1.15 g.
	for _, want := range []string{"---\n", "emissions: 1.343", "type: \"accuracy\"", "value: 0.9698", "95 % CI", "kind: estimated from CPU time"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("card lacks %q:\n%s", want, b.String()[:1500])
		}
	}
	if strings.Contains(b.String(), "verified") {
		t.Error("the card says verified, which only the hub may")
	}
	if look := os.Getenv("REPORTS_LOOK"); look != "" {
		_ = os.WriteFile(filepath.Join(look, "card.md"), b.Bytes(), 0o666)
		b.Reset()
		_ = ModelCard(&b, nastyResult())
		_ = os.WriteFile(filepath.Join(look, "nasty-card.md"), b.Bytes(), 0o666)
	}
}

// One known run, by hand: 3600 J are 0.001 kWh, and at 300 g/kWh 0.3 g, 3e-7 t.
func TestCycloneDXUnits(t *testing.T) {
	r := &Result{Schema: Schema, Tool: Tool{Version: "0.1.0"}, Variants: []Variant{{Name: "baseline",
		Energy: &Energy{PerInference: ptr(3600.0), Source: SourceMeasured},
		Carbon: &Carbon{Operational: ptr(0.3), Intensity: &Intensity{GPerKWh: 300, Zone: "XYZ"}}}}}
	var b bytes.Buffer
	if err := CycloneDX(&b, r); err != nil {
		t.Fatal(err)
	}
	var bom cdxBOM
	if err := json.Unmarshal(b.Bytes(), &bom); err != nil {
		t.Fatal(err)
	}
	e := bom.Components[0].Card.Considerations.Environment.Energy[0]
	if e.Activity != "inference" || e.Cost != (cdxAmount{0.001, "kWh"}) || e.Providers[0].Provided != e.Cost {
		t.Errorf("energy %+v", e)
	}
	if math.Abs(e.CO2.Value-3e-7) > 1e-20 || e.CO2.Unit != "tCO2eq" { // one rounding of the division
		t.Errorf("carbon %+v", *e.CO2)
	}
	if look := os.Getenv("REPORTS_LOOK"); look != "" {
		for name, r := range map[string]*Result{"demo": demoResult(), "nasty": nastyResult(), "empty": emptyResult()} {
			b.Reset()
			_ = CycloneDX(&b, r)
			_ = os.WriteFile(filepath.Join(look, name+".cdx.json"), b.Bytes(), 0o666)
		}
	}
}

func TestWriteDir(t *testing.T) {
	dir := t.TempDir()
	paths, missing, err := WriteDir(context.Background(), dir, demoResult())
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != 4+2*11 || len(missing) != 1 {
		t.Errorf("%d files, missing %v", len(paths), missing)
	}
	n := 0
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if n != len(paths) {
		t.Errorf("%d files in the folder, %d reported", n, len(paths))
	}
	if look := os.Getenv("REPORTS_LOOK"); look != "" {
		for name, r := range map[string]*Result{"demo": demoResult(), "nasty": nastyResult(), "empty": emptyResult(), "fidelity": fidelityResult()} {
			d := filepath.Join(look, name)
			_ = os.MkdirAll(d, 0o777)
			if _, _, err := WriteDir(context.Background(), d, r); err != nil {
				t.Error(err)
			}
		}
	}
	if _, _, err := WriteDir(context.Background(), filepath.Join(dir, "none"), demoResult(), "json"); err == nil {
		t.Error("a folder that does not exist gave no error")
	}
	bad := demoResult()
	bad.Variants[0].Name = ""
	empty := t.TempDir()
	if _, _, err := WriteDir(context.Background(), empty, bad); err == nil {
		t.Error("an invalid result gave no error")
	}
	if left, _ := os.ReadDir(empty); len(left) > 0 {
		t.Errorf("%d files left after an error", len(left))
	}
}
