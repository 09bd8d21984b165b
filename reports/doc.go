// Package reports holds the Result of a run, judges gates on it, and renders it: JSON, CSV,
// Markdown, a self-contained HTML page and plots as PNG and SVG.
//
// The Result is plain data and the only truth: every other format is rendered from it, the same
// Result always gives the same bytes, and a figure that nobody measured is absent, never 0.
// Adding a format is one new file with an Exporter and one line in the table of exporters.go.
package reports
