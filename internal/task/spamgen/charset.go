package main

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// metaCharset finds the charset that an HTML document declares for itself.
var metaCharset = regexp.MustCompile(`(?i)<meta[^>]{0,200}charset\s*=\s*["']?([a-z0-9_-]+)`)

// decodeCharset returns body as UTF-8: valid UTF-8 as it is (unless a charset with escape sequences is named), else by
// the charset named in the header, in the document, or guessed from the bytes, else by windows-1252, the superset of
// latin-1 that unlabelled mail of 2002 mostly is.
func decodeCharset(charset string, body []byte) string {
	charset = strings.ToLower(strings.Trim(strings.TrimSpace(charset), `"'`))
	escapes := strings.HasPrefix(charset, "iso-2022") || strings.HasPrefix(charset, "hz") || strings.HasPrefix(charset, "utf-16")
	if !escapes && utf8.Valid(body) {
		return string(body)
	}
	if western(charset) {
		if m := metaCharset.FindSubmatch(body[:min(len(body), 4096)]); m != nil && !western(strings.ToLower(string(m[1]))) {
			charset = strings.ToLower(string(m[1]))
		} else {
			charset = guess(body)
		}
	}
	if enc, err := htmlindex.Get(charset); err == nil && charset != "utf-8" {
		if out, err := enc.NewDecoder().Bytes(body); err == nil {
			return strings.ToValidUTF8(string(out), " ")
		}
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(body)
	if err != nil {
		return strings.ToValidUTF8(string(body), " ")
	}
	return string(out)
}

// western tells whether a label is one that mailers put on any text: nothing, ASCII, latin-1, or no charset at all.
func western(charset string) bool {
	if _, err := htmlindex.Get(charset); err != nil {
		return true
	}
	switch charset {
	case "us-ascii", "ascii", "iso-8859-1", "iso8859-1", "windows-1252", "utf-8":
		return true
	}
	return false
}

// guess tells the double-byte charsets of East Asia from windows-1252 by their lead and trail bytes: where most bytes
// above ASCII come in pairs, trail bytes in the ASCII range mean Big5, lead bytes almost all in the Hangul rows
// (B0 to C8) mean EUC-KR, others GBK.
func guess(body []byte) string {
	high, pairs, rows, hangul, low := 0, 0, 0, 0, 0
	for i := 0; i < len(body); i++ {
		lead := body[i]
		if lead < 0x80 {
			continue
		}
		high++
		if lead < 0xa1 || lead == 0xff || i+1 == len(body) {
			continue
		}
		trail := body[i+1]
		switch {
		case trail >= 0xa1:
			high++
		case lead <= 0xf9 && trail >= 0x40 && trail <= 0x7e:
			low++
		default:
			continue
		}
		pairs++
		i++
		if lead >= 0xb0 {
			rows++
			if lead <= 0xc8 && trail >= 0xa1 {
				hangul++
			}
		}
	}
	switch {
	case high < 40 || high*5 < len(body) || pairs*5 < high*2:
		return "windows-1252"
	case low*5 > pairs:
		return "big5"
	case hangul*10 > rows*9:
		return "euc-kr"
	}
	return "gbk"
}
