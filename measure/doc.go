// Package measure reads energy counters, models energy where no counter exists, and compares variants in
// randomised interleaved blocks with intervals that hold. It knows functions that do fixed work, not
// models. Every joule carries its Source; a gap in a counter stays a gap.
package measure
