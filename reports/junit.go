package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"time"
)

// JUnit writes the gates of r for a CI server: a test suite per variant, a test case per gate. A
// failed gate is a failure, an inconclusive one is skipped with its reason. A result without gates
// gives an empty document.
func JUnit(w io.Writer, r *Result) error {
	if err := r.Validate(); err != nil {
		return err
	}
	doc := junitDoc{Name: "wattshed gates"}
	index := map[string]int{}
	for _, g := range r.Gates {
		i, ok := index[g.Variant]
		if !ok {
			i = len(doc.Suites)
			index[g.Variant] = i
			s := junitSuite{Name: plain(g.Variant)}
			if !r.Finished.IsZero() {
				s.Timestamp = r.Finished.UTC().Format(time.RFC3339)
			}
			doc.Suites = append(doc.Suites, s)
		}
		s := &doc.Suites[i]
		c := junitCase{Class: "wattshed.gate." + plain(g.Gate), Name: plain(g.Expr)}
		prop := func(name string, x float64) {
			c.Properties = append(c.Properties, junitProperty{name, strconv.FormatFloat(x, 'g', -1, 64)})
		}
		if g.Value != nil {
			prop("value", *g.Value)
		}
		if g.CI95 != nil {
			prop("ci95_low", g.CI95[0])
			prop("ci95_high", g.CI95[1])
		}
		switch g.Verdict {
		case Fail:
			c.Failure = &junitOutcome{Type: "gate", Message: plain(g.Message)}
			s.Failures++
			doc.Failures++
		case Inconclusive:
			c.Skipped = &junitOutcome{Message: plain("inconclusive: " + g.Message)}
			s.Skipped++
			doc.Skipped++
		}
		s.Tests++
		doc.Tests++
		s.Cases = append(s.Cases, c)
	}
	b, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("reports: junit: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	return err
}

type junitDoc struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Timestamp string      `xml:"timestamp,attr,omitempty"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class      string          `xml:"classname,attr"`
	Name       string          `xml:"name,attr"`
	Properties []junitProperty `xml:"properties>property,omitempty"`
	Failure    *junitOutcome   `xml:"failure"`
	Skipped    *junitOutcome   `xml:"skipped"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitOutcome struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
}
