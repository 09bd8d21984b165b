package carbon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/text/language"
)

// ErrPlace is wrapped where the machine does not tell in which country it is.
var ErrPlace = errors.New("carbon: the place of this machine is not known")

// maxZoneTab bounds the table of time zones; the real one has 20 KB.
const maxZoneTab = 1 << 20

// DetectZone returns the country code (ISO 3166-1 alpha-3) of the time zone that this machine is set to, and how it was
// found. It reads etc/timezone or the link etc/localtime, and usr/share/zoneinfo/zone.tab, below root; nothing is
// asked over a network. A guest in a data centre is often set to UTC: then, and for every zone without one country, the
// error wraps ErrPlace. It is only called where the user asks for it, and never replaces a zone that was given.
func DetectZone(root fs.FS) (code, how string, err error) {
	tz := ""
	if b, err := readSome(root, "etc/timezone", 4096); err == nil {
		tz = strings.TrimSpace(string(b))
	} else if link, err := fs.ReadLink(root, "etc/localtime"); err == nil {
		_, tz, _ = strings.Cut(link, "zoneinfo/")
	}
	if tz == "" {
		return "", "", fmt.Errorf("%w: no time zone is set", ErrPlace)
	}
	tab, err := readSome(root, "usr/share/zoneinfo/zone.tab", maxZoneTab)
	if err != nil {
		return "", "", fmt.Errorf("%w: time zone %.60q: %w", ErrPlace, tz, err)
	}
	sc := bufio.NewScanner(bytes.NewReader(tab))
	for sc.Scan() {
		f := strings.Split(sc.Text(), "\t")
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || f[2] != tz {
			continue
		}
		region, err := language.ParseRegion(f[0])
		if err != nil || !region.IsCountry() || strings.HasPrefix(region.ISO3(), "X") { // X.. are no codes of countries
			return "", "", fmt.Errorf("%w: time zone %q is of %.20q", ErrPlace, tz, f[0])
		}
		return region.ISO3(), "time zone " + tz, nil
	}
	return "", "", fmt.Errorf("%w: time zone %.60q has no country", ErrPlace, tz)
}

func readSome(root fs.FS, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	return b, err
}
