package main

import "testing"

func TestSpanText(t *testing.T) {
	for _, c := range []struct {
		least, most float64
		want        string
	}{
		{5, 12, "5 to 12 s"}, {4.96, 12.3, "5 to 12 s"}, {0.31, 0.72, "0.3 to 0.7 s"}, {3.04, 3.01, "3.0 s"}, {3, 7, "3 to 7 s"}, {2, 2, "2 s"}, {9.96, 9.97, "10 s"},
		{8.26, 9.94, "8.3 to 9.9 s"}, {8.26, 9.96, "8 to 10 s"}, {0.1, 40, "0 to 40 s"}, {119.6, 1e4, "120 to 10000 s"},
	} {
		if got := spanText(c.least, c.most); got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.least, c.most, got, c.want)
		}
	}
}
