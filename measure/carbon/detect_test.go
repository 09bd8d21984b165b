package carbon

import (
	"errors"
	"testing"
	"testing/fstest"
)

func TestDetectZone(t *testing.T) {
	tab := "# comment\nDE\t+5230+01322\tEurope/Berlin\tmost of Germany\nGB\t+513030-0000731\tEurope/London\nXX\t+0+0\tNo/Where\n"
	tree := func(tz string) fstest.MapFS {
		return fstest.MapFS{"etc/timezone": {Data: []byte(tz + "\n")}, "usr/share/zoneinfo/zone.tab": {Data: []byte(tab)}}
	}
	for tz, want := range map[string]string{"Europe/Berlin": "DEU", "Europe/London": "GBR"} {
		code, how, err := DetectZone(tree(tz))
		if err != nil || code != want || how != "time zone "+tz {
			t.Errorf("%s: %q, %q, %v", tz, code, how, err)
		}
		if _, err := Zone(code, 2026, false); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	for _, root := range []fstest.MapFS{tree("Etc/UTC"), tree("No/Where"), {}, {"etc/timezone": {Data: []byte("Europe/Berlin")}}} {
		if code, _, err := DetectZone(root); !errors.Is(err, ErrPlace) || code != "" {
			t.Errorf("guessed %q, %v", code, err)
		}
	}
}
