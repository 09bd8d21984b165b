package reports

import (
	"math"
	"strconv"
	"strings"
)

// num formats a figure with four significant digits, without exponent between 1e-4 and 1e7.
func num(x float64) string {
	if x == 0 {
		return "0"
	}
	a := math.Abs(x)
	if a < 1e-4 || a >= 1e7 {
		return strconv.FormatFloat(x, 'e', 2, 64)
	}
	digits := 3 - int(math.Floor(math.Log10(a)))
	s := strconv.FormatFloat(x, 'f', max(0, min(digits, 7)), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}
