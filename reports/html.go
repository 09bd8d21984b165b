package reports

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed report.html.tmpl
var pageSource string

// page is what the template sees.
type page struct {
	view
	Plots []pagePlot
	Tool  string
}

type pagePlot struct {
	Name string
	SVG  template.HTML
}

// HTML writes the report as one self-contained page: no script, no network, plots as inline SVG,
// light and dark, printable.
func HTML(w io.Writer, r *Result) error {
	if err := r.Validate(); err != nil {
		return err
	}
	t, err := template.New("report").Parse(pageSource)
	if err != nil {
		return fmt.Errorf("reports: html: %w", err)
	}
	p := page{view: newView(r), Tool: "wattshed " + plain(r.Tool.Version)}
	for _, plot := range Plots(r) {
		if plot.Missing != "" {
			continue
		}
		svg, err := plot.inlineSVG()
		if err != nil {
			return err
		}
		// The drawing library escapes every text, see TestHTMLEscapes.
		p.Plots = append(p.Plots, pagePlot{plot.Name, template.HTML(svg)})
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return fmt.Errorf("reports: html: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}
