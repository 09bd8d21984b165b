package tokenize

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// bertNormalizer is the text normalisation of BERT (the BertNormalizer of tokenizer.json), applied in this order: remove
// control characters and turn white space into blanks; put blanks around CJK ideographs; decompose and remove
// nonspacing marks; lower case.
type bertNormalizer struct {
	cleanText    bool
	chineseChars bool
	stripAccents bool
	lowercase    bool
}

func (n bertNormalizer) normalize(s string) string {
	if n.ascii(s) {
		return n.normalizeASCII(s)
	}
	if n.cleanText {
		s = strings.Map(func(r rune) rune {
			switch {
			case unicode.IsSpace(r) && (!unicode.Is(dropped, r)):
				return ' '
			case unicode.Is(dropped, r):
				return -1
			}
			return r
		}, s)
	}
	if n.chineseChars {
		var b strings.Builder
		for _, r := range s {
			if chinese(r) {
				b.WriteByte(' ')
				b.WriteRune(r)
				b.WriteByte(' ')
				continue
			}
			b.WriteRune(r)
		}
		s = b.String()
	}
	if n.stripAccents {
		s = decompose(s, func(r rune) bool { return !unicode.Is(marks, r) })
	}
	if n.lowercase {
		s = lower(s)
	}
	return s
}

// ascii tells whether every byte of s is ASCII.
func (n bertNormalizer) ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// normalizeASCII is normalize for ASCII text, where only cleaning and lower case do anything.
func (n bertNormalizer) normalizeASCII(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if n.cleanText {
			if c == '\t' || c == '\n' || c == '\r' {
				c = ' '
			} else if c < ' ' || c == 0x7f {
				continue
			}
		}
		if n.lowercase && c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return string(b)
}

// chinese tells whether r counts as a CJK ideograph for BERT. The block that starts at 2B820 starts at 2B920 in the
// reference, so it does here.
func chinese(r rune) bool {
	return r >= 0x3400 && (r <= 0x4dbf ||
		r >= 0x4e00 && r <= 0x9fff || r >= 0xf900 && r <= 0xfaff ||
		r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2b73f || r >= 0x2b740 && r <= 0x2b81f ||
		r >= 0x2b920 && r <= 0x2ceaf || r >= 0x2f800 && r <= 0x2fa1f)
}

// decompose returns the canonical decomposition (NFD, Unicode Standard Annex 15) of s, less the characters for which
// keep is false. It is not norm.NFD.String, which breaks runs of more than 30 marks (the stream-safe format) where the
// reference does not, and it leaves alone what the reference's Unicode version does not know.
func decompose(s string, keep func(rune) bool) string {
	type mark struct {
		r     rune
		class uint8
	}
	var out strings.Builder
	var run []mark // the marks since the last starter, to be sorted by combining class
	flush := func() {
		slices.SortStableFunc(run, func(a, b mark) int { return int(a.class) - int(b.class) })
		for _, m := range run {
			if keep(m.r) {
				out.WriteRune(m.r)
			}
		}
		run = run[:0]
	}
	add := func(r rune) {
		class := uint8(0)
		if r >= 0x300 && !unicode.Is(late, r) {
			class = norm.NFD.PropertiesString(string(r)).CCC()
		}
		if class != 0 {
			run = append(run, mark{r, class})
			return
		}
		flush()
		if keep(r) {
			out.WriteRune(r)
		}
	}
	for _, r := range s {
		switch {
		case r < 0xc0 || unicode.Is(late, r):
			add(r)
		case r >= 0xac00 && r <= 0xd7a3: // Hangul syllables decompose by arithmetic
			i := r - 0xac00
			add(0x1100 + i/(21*28))
			add(0x1161 + i%(21*28)/28)
			if t := i % 28; t != 0 {
				add(0x11a7 + t)
			}
		default:
			d := norm.NFD.PropertiesString(string(r)).Decomposition()
			if d == nil {
				add(r)
				continue
			}
			for _, c := range string(d) {
				add(c)
			}
		}
	}
	flush()
	return out.String()
}

// lower maps every character to lower case by itself (no final sigma), with the two characters of U+0130 and the pairs
// that Unicode 16 and 17 added, which the reference knows.
func lower(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		switch {
		case r < 0x80:
			if r >= 'A' && r <= 'Z' {
				r += 'a' - 'A'
			}
		case r == 0x130:
			b.WriteRune('i')
			r = 0x307
		case r >= 0x10d50 && r <= 0x10d65:
			r += 0x20
		case r >= 0x16ea0 && r <= 0x16eb8:
			r += 0x1b
		case r == 0x1c89, r >= 0xa7cb && r <= 0xa7dc:
			r = lowerLatin(r)
		default:
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// lowerLatin holds the scattered pairs of Unicode 16 and 17.
func lowerLatin(r rune) rune {
	switch r {
	case 0x1c89, 0xa7cc, 0xa7ce, 0xa7d2, 0xa7d4, 0xa7da:
		return r + 1
	case 0xa7cb:
		return 0x264
	case 0xa7dc:
		return 0x19b
	}
	return unicode.ToLower(r)
}
