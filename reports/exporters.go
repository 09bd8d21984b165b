package reports

import (
	"fmt"
	"io"
	"strings"
)

// Exporter renders a result in one format. It writes nothing when it returns an error that
// Validate could have found, and the same bytes for the same result.
type Exporter func(w io.Writer, r *Result) error

// Format is one row of the table of formats.
type Format struct {
	Name   string // as in report --format
	File   string // the file name beside result.json
	Export Exporter
}

// Formats is the table of formats. A new format is one file and one line here.
func Formats() []Format {
	return []Format{
		{"json", "result.json", JSON},
		{"csv", "result.csv", CSV},
		{"md", "report.md", Markdown},
		{"html", "report.html", HTML},
		{"junit", "gates.junit.xml", JUnit},
		{"modelcard", "modelcard.md", ModelCard},
		{"cyclonedx", "bom.cdx.json", CycloneDX},
	}
}

// FormatByName finds a format; a name that is not in the table is refused.
func FormatByName(name string) (Format, error) {
	for _, f := range Formats() {
		if f.Name == name {
			return f, nil
		}
	}
	var known []string
	for _, f := range Formats() {
		known = append(known, f.Name)
	}
	return Format{}, fmt.Errorf("reports: format %q: not in this version, which has %s", name, strings.Join(known, ", "))
}
