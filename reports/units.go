package reports

import (
	"math"
	"strconv"
	"strings"
)

// unit is a display unit: a figure in SI times mul is the number before name.
type unit struct {
	name string
	mul  float64
}

// in formats x, an SI figure, in the unit: "1.84 ms".
func (u unit) in(x float64) string { return digits(x*u.mul, 3) + " " + u.name }

// siUnit chooses the prefix of base so that x, in base units, has one to three digits before the point.
func siUnit(x float64, base string) unit {
	x = math.Abs(x)
	if !(x > 0) || !finite(x) {
		return unit{base, 1}
	}
	for _, p := range []unit{{"G", 1e-9}, {"M", 1e-6}, {"k", 1e-3}, {"", 1}, {"m", 1e3}, {"µ", 1e6}, {"n", 1e9}} {
		if x*p.mul >= 0.9995 {
			return unit{p.name + base, p.mul}
		}
	}
	return unit{"p" + base, 1e12}
}

// show formats x in its own best unit.
func show(x float64, base string) string { return siUnit(x, base).in(x) }

// Size formats a number of bytes with the units of reports: "3.1 MB", 1 MB being 1e6 bytes.
func Size(n int64) string { return showBytes(n) }

// Score formats a value of a metric with its interval, which may be nil, as reports do: "97.59 % [96.52, 98.34]".
func Score(metric string, x float64, ci *Interval) string {
	return strings.TrimSpace(scoreIn(metric, x, ci) + " " + scoreCI(metric, ci))
}

// scoreIn formats a value of a metric beside its interval as scoreCI writes it.
func scoreIn(metric string, x float64, ci *Interval) string {
	if isPercent(metric) {
		return within(100*x, style{'f', percentDecimals, false}, ci, 100, percentDecimals) + " %"
	}
	return within(x, scoreStyle(x), ci, 1, 0)
}

// Number formats an integer with commas between thousands, as reports do.
func Number(n int64) string { return group(n) }

// showBytes uses decimal prefixes: 1 MB is 1e6 bytes.
func showBytes(n int64) string { return show(float64(n), "B") }

// num formats a figure with four significant digits, without exponent between 1e-4 and 1e7.
func num(x float64) string { return digits(x, 4) }

// numIn formats a figure with its interval in as many significant digits, from four on, as tell the ends apart.
func numIn(x float64, ci Interval) string {
	for n := 4; ; n++ {
		lo, hi := digits(ci[0], n), digits(ci[1], n)
		if lo != hi || n == 9 || ci[0] == ci[1] { // digits shows eight decimals at most
			return digits(x, n) + " [" + lo + ", " + hi + "]"
		}
	}
}

// style is how a number is written: the format and the precision of strconv, with or without the zeros at the end of its decimals.
type style struct {
	verb byte
	prec int
	trim bool
}

// text writes x, a negative one with a real minus sign.
func (s style) text(x float64) string { return minus(s.plain(x)) }

func (s style) plain(x float64) string {
	t := strconv.FormatFloat(x, s.verb, s.prec, 64)
	if s.shows(x) == 0 {
		t = strings.TrimPrefix(t, "-")
		if s.verb == 'e' {
			return "0"
		}
	}
	if s.trim && strings.Contains(t, ".") {
		t = strings.TrimRight(strings.TrimRight(t, "0"), ".")
	}
	return t
}

// shows is the number that a reader of text(x) sees: x, rounded.
func (s style) shows(x float64) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(x, s.verb, s.prec, 64), 64)
	if err != nil {
		return x
	}
	return v
}

// digitsStyle is that of digits.
func digitsStyle(x float64, n int) style {
	a := math.Abs(x)
	switch {
	case x == 0:
		return style{'f', 0, true}
	case a < 1e-4 || a >= 1e7:
		return style{'e', n - 2, false}
	}
	return style{'f', max(0, min(n-1-int(math.Floor(math.Log10(a))), 8)), true}
}

// endStyle is that of both ends of an interval from a to b: as many decimals as its width deserves, two significant digits of it, and at least least.
func endStyle(a, b float64, least int) style {
	w, most := b-a, max(math.Abs(a), math.Abs(b))
	places := func(x float64) int { return int(math.Floor(math.Log10(x) + 1e-6)) }
	switch {
	case !(w > 0) || !finite(w):
		return digitsStyle(a, 3)
	case most >= 1e7 || most < 1e-4 && w <= 1e-8:
		return style{'e', max(0, min(8, 1+places(most)-places(w))), false}
	}
	return style{'f', max(least, min(8, 1-places(w))), false}
}

// within writes x, in the style s, beside the interval ci as bracketAt writes it: where the reader would see it outside of its interval, because one of the two
// is rounded more coarsely, it takes the digits of the ends. x and least count times mul, as the ends do.
func within(x float64, s style, ci *Interval, mul float64, least int) string {
	if bracketAt(ci, mul, least) == "" {
		return s.text(x)
	}
	a, b := ci[0]*mul, ci[1]*mul
	e := endStyle(a, b, least)
	if v := s.shows(x); a <= x && x <= b && (v < e.shows(a) || v > e.shows(b)) {
		return e.text(x)
	}
	return s.text(x)
}

// digits formats x with n significant digits, no trailing zeros.
func digits(x float64, n int) string { return digitsStyle(x, n).plain(x) }

// times formats a ratio: "0.47×".
func times(x float64) string {
	if x >= 0.0995 && x < 99.5 {
		return strconv.FormatFloat(x, 'f', 2, 64) + "×"
	}
	return digits(x, 3) + "×"
}

// bracket formats an interval times mul with as many decimals as its width deserves, two
// significant digits of it: "[0.463, 0.478]".
func bracket(ci *Interval, mul float64) string { return bracketAt(ci, mul, 0) }

// bracketAt is bracket with at least least decimals, those of the value beside it.
func bracketAt(ci *Interval, mul float64, least int) string {
	if ci == nil {
		return ""
	}
	a, b := ci[0]*mul, ci[1]*mul
	e := endStyle(a, b, least)
	lo, hi := e.text(a), e.text(b)
	if lo == hi && a != b { // narrower than what is shown
		return ""
	}
	return "[" + lo + ", " + hi + "]"
}

// minus gives a negative number a real minus sign, which does not break from it in a line.
func minus(s string) string {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return "−" + rest
	}
	return s
}

// isPercent tells whether a metric reads best as a percentage.
func isPercent(metric string) bool {
	m := strings.ToLower(metric)
	for _, w := range []string{"accuracy", "agreement", "decisions", "precision", "recall", "exact_match", "top1", "top5"} {
		if strings.Contains(m, w) {
			return true
		}
	}
	return false
}

// percentDecimals are those of percentages.
const percentDecimals = 2

// scoreStyle is that of the value of a metric which is no percentage: nearly all of 1 is not 1.
func scoreStyle(x float64) style {
	if s := digitsStyle(x, 5); s.shows(x) != 1 || x >= 1 {
		return s
	}
	return style{'f', 8, true}
}

// score formats a value of a metric.
func score(metric string, x float64) string { return scoreIn(metric, x, nil) }

// scoreCI formats an interval of a metric, or of a difference of it.
func scoreCI(metric string, ci *Interval) string {
	if isPercent(metric) {
		return bracketAt(ci, 100, percentDecimals)
	}
	return bracket(ci, 1)
}

// scoreDelta formats a difference of a metric with its sign; percentages differ by points.
func scoreDelta(metric string, d float64) string {
	s := ""
	if isPercent(metric) {
		s = strconv.FormatFloat(100*d, 'f', 2, 64)
		if z, _ := strconv.ParseFloat(s, 64); z == 0 {
			return "±0 points"
		}
		s += " points"
	} else {
		s = digits(d, 3)
	}
	if d > 0 {
		s = "+" + s
	}
	return minus(s)
}

// percent formats a fraction: "53 %", with a decimal below 10 %.
func percent(x float64) string {
	p := 100 * x
	switch a := math.Abs(p); {
	case a == 0:
		return "0 %"
	case a < 0.1:
		return "less than 0.1 %"
	case a < 9.95:
		return strings.TrimSuffix(strconv.FormatFloat(p, 'f', 1, 64), ".0") + " %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}

// count formats a number of things: "23,600", "4.1 million".
func count(x float64) string {
	switch {
	case !finite(x):
		return "?"
	case x >= 1e9:
		return digits(x/1e9, 3) + " billion"
	case x >= 1e6:
		return digits(x/1e6, 3) + " million"
	}
	if x > 1000 {
		// Three significant digits are all that such a figure has.
		m := math.Pow(10, math.Floor(math.Log10(x))-2)
		x = math.Round(x/m) * m
	}
	return group(int64(math.Round(x)))
}

// group writes an integer with commas between thousands.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// seconds formats a duration: "1.84 ms", "3 min 41 s".
func seconds(x float64) string {
	switch {
	case !finite(x) || x < 0:
		return "?"
	case x < 120:
		return show(x, "s")
	case x < 7200:
		return strconv.Itoa(int(x/60)) + " min " + strconv.Itoa(int(math.Mod(x, 60))) + " s"
	}
	return digits(x/3600, 3) + " h"
}
