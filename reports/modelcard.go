package reports

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ModelCard writes a Hugging Face model card: YAML front matter, then a short body. As the format
// wants it, co2_eq_emissions are the grams that making the variants took, all of them together; the
// saving per inference stands in model-index and the body. Keys that only a person can know, such as
// the licence of the base model, are left out. Source: the hub's model card specification.
func ModelCard(w io.Writer, r *Result) error {
	if err := r.Validate(); err != nil {
		return err
	}
	var b bytes.Buffer
	b.WriteString("---\n")
	cardEmissions(&b, r)
	base := "model"
	if r.Model != nil {
		base = cmp.Or(r.Model.Name, r.Model.Path, base)
	}
	var entries bytes.Buffer
	for i := range r.Variants {
		cardEntry(&entries, r, &r.Variants[i], base)
	}
	if entries.Len() > 0 {
		b.WriteString("model-index:\n")
		b.Write(entries.Bytes())
	}
	b.WriteString("---\n\n")
	v := newView(r)
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", md(v.Title), md(v.Subtitle))
	for _, row := range v.Rows {
		fmt.Fprintf(&b, "- **%s**: %s\n", md(row.Name), md(row.Sentence))
	}
	b.WriteString("\n")
	for _, t := range trustLines(r) {
		fmt.Fprintf(&b, "- %s\n", md(t))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// yamlString quotes s; a JSON string is a YAML double-quoted one.
func yamlString(s string) string {
	b, err := json.Marshal(plain(s))
	if err != nil {
		return `""`
	}
	return string(b)
}

// decimal writes x without an exponent.
func decimal(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func cardEmissions(b *bytes.Buffer, r *Result) {
	grams, known := 0.0, false
	kind := ""
	for i := range r.Variants {
		if c := r.Variants[i].Cost; c != nil && c.GCO2e != nil {
			grams += *c.GCO2e
			known = true
			switch kind {
			case "", c.Source:
				kind = c.Source
			default:
				kind = SourceMixed
			}
		}
	}
	if !known {
		return
	}
	source := "wattshed " + r.Tool.Version
	switch kind {
	case SourceMeasured:
		source += ", measured by counters"
	case SourceModelled:
		source += ", " + modelledWords
	case SourceMixed:
		source += ", modelled in part"
	}
	place := ""
	for i := range r.Variants {
		if c := r.Variants[i].Carbon; c != nil && c.Intensity != nil {
			source += ", grid " + intensityWords(c.Intensity)
			place = c.Intensity.Zone
			break
		}
	}
	fmt.Fprintf(b, "co2_eq_emissions:\n  emissions: %s\n  source: %s\n  training_type: fine-tuning\n", decimal(grams), yamlString(source))
	if place != "" {
		fmt.Fprintf(b, "  geographical_location: %s\n", yamlString(place))
	}
	if r.Host != nil && r.Host.CPU != "" {
		fmt.Fprintf(b, "  hardware_used: %s\n", yamlString(r.Host.CPU))
	}
}

func cardEntry(b *bytes.Buffer, r *Result, v *Variant, base string) {
	var metrics []string
	add := func(typ string, x float64, name string) {
		metrics = append(metrics, fmt.Sprintf("    - type: %s\n      value: %s\n      name: %s\n", yamlString(typ), decimal(x), yamlString(name)))
	}
	with := func(name string, ci *Interval, n int, kind string) string {
		var p []string
		if ci != nil {
			p = append(p, "95 % CI "+num(ci[0])+" to "+num(ci[1]))
		}
		if n > 0 {
			p = append(p, fmt.Sprintf("n=%d", n))
		}
		if kind != "" {
			p = append(p, "kind: "+kind)
		}
		if len(p) == 0 {
			return name
		}
		return name + " (" + strings.Join(p, ", ") + ")"
	}
	if a := v.Accuracy; a != nil {
		add(a.Metric, a.Value, with(a.Metric, a.CI95, a.N, ""))
	}
	if l := v.Latency; l != nil {
		add("latency_p50", l.P50, with("seconds per run, median", l.CI95, l.N, SourceMeasured))
	}
	if e := v.Energy; e != nil && e.PerInference != nil {
		kind := e.Source
		if e.Source == SourceModelled {
			kind = modelledWords
		}
		add("energy_per_inference", *e.PerInference, with("J per inference", e.CI95, e.N, kind))
	}
	if f := v.File; f != nil {
		add("file_bytes", float64(f.Bytes), "bytes of the file")
	}
	if len(metrics) == 0 {
		return
	}
	task, data := "other", "unknown"
	if t := r.Task; t != nil {
		task = t.Kind
		if t.Data != "" {
			data = t.Data
		}
	}
	fmt.Fprintf(b, "- name: %s\n  results:\n  - task:\n      type: %s\n    dataset:\n      type: %s\n      name: %s\n    metrics:\n%s",
		yamlString(base+" "+v.Name), yamlString(task), yamlString(data), yamlString(data), strings.Join(metrics, ""))
	fmt.Fprintf(b, "    source:\n      name: %s\n", yamlString("wattshed "+r.Tool.Version))
}
