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
	b := scoreCI(metric, ci)
	return strings.TrimSpace(scoreIn(metric, x, b) + " " + b)
}

// scoreIn formats a value of a metric beside its interval as scoreCI wrote it.
func scoreIn(metric string, x float64, interval string) string {
	s := score(metric, x)
	if p, ok := strings.CutSuffix(s, " %"); ok {
		return within(p, 100*x, interval) + " %"
	}
	return within(s, x, interval)
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

// within is s, which shows the figure x, or x with the decimals of the interval beside it, as bracket wrote that, where s would lie
// outside of it.
func within(s string, x float64, interval string) string {
	plain := strings.NewReplacer("−", "-", "[", "", "]", "").Replace(interval)
	lo, hi, ok := strings.Cut(plain, ", ")
	if !ok {
		return s
	}
	outside := func(s string) bool {
		v, err := strconv.ParseFloat(strings.ReplaceAll(s, "−", "-"), 64)
		a, errA := strconv.ParseFloat(lo, 64)
		b, errB := strconv.ParseFloat(hi, 64)
		return err == nil && errA == nil && errB == nil && (v < a || v > b)
	}
	_, decimals, _ := strings.Cut(lo, ".")
	if finer := minus(strconv.FormatFloat(x, 'f', len(decimals), 64)); outside(s) && !outside(finer) {
		return finer
	}
	return s
}

// digits formats x with n significant digits, no trailing zeros.
func digits(x float64, n int) string {
	if x == 0 {
		return "0"
	}
	a := math.Abs(x)
	if a < 1e-4 || a >= 1e7 {
		return strconv.FormatFloat(x, 'e', n-2, 64)
	}
	s := strconv.FormatFloat(x, 'f', max(0, min(n-1-int(math.Floor(math.Log10(a))), 8)), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

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
	end := func(x float64) string { return minus(digits(x, 3)) }
	if w := b - a; w > 1e-8 && math.Abs(a) < 1e7 && math.Abs(b) < 1e7 {
		dec := max(least, min(8, 1-int(math.Floor(math.Log10(w)+1e-6))))
		end = func(x float64) string {
			s := strconv.FormatFloat(x, 'f', dec, 64)
			if z, _ := strconv.ParseFloat(s, 64); z == 0 {
				s = strings.TrimPrefix(s, "-")
			}
			return minus(s)
		}
	}
	if end(a) == end(b) && a != b { // narrower than what is shown
		return ""
	}
	return "[" + end(a) + ", " + end(b) + "]"
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

// score formats a value of a metric.
func score(metric string, x float64) string {
	if isPercent(metric) {
		return strconv.FormatFloat(100*x, 'f', 2, 64) + " %"
	}
	s := digits(x, 5)
	if s == "1" && x < 1 { // nearly all of 1 is not 1
		return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(x, 'f', 8, 64), "0"), ".")
	}
	return s
}

// scoreCI formats an interval of a metric, or of a difference of it.
func scoreCI(metric string, ci *Interval) string {
	if isPercent(metric) {
		return bracketAt(ci, 100, 2)
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
