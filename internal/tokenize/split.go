package tokenize

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isPunctuation tells whether the BERT pre-tokenizer makes r a piece of its own.
func isPunctuation(r rune) bool {
	if r < 0x80 {
		return r > ' ' && r < 0x7f && !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z')
	}
	return unicode.Is(punctuation, r)
}

// splitWords calls yield for each piece of s: white space separates and is dropped, every punctuation character is a
// piece (BertPreTokenizer).
func splitWords(s string, yield func(string)) {
	start := -1
	for i, r := range s {
		space, punct := unicode.IsSpace(r), isPunctuation(r)
		if !space && !punct {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			yield(s[start:i])
			start = -1
		}
		if punct {
			yield(s[i : i+utf8.RuneLen(r)])
		}
	}
	if start >= 0 {
		yield(s[start:])
	}
}

// addedToken is a token that is found in the text before it is split into words.
type addedToken struct {
	content    string // as it is looked for: normalised where normalized is set
	id         int64
	singleWord bool
	lstrip     bool
	rstrip     bool
}

// addedTokens finds added tokens, the longest first where several start at the same place.
type addedTokens struct {
	byFirst [256][]addedToken
	n       int
}

func (a *addedTokens) add(t addedToken) {
	if t.content == "" {
		return
	}
	list := append(a.byFirst[t.content[0]], t)
	sort.SliceStable(list, func(i, j int) bool { return len(list[i].content) > len(list[j].content) })
	a.byFirst[t.content[0]] = list
	a.n++
}

// split calls text for the stretches between added tokens and token for the tokens, in order.
func (a *addedTokens) split(s string, text func(string), token func(id int64)) {
	if a.n == 0 {
		if s != "" {
			text(s)
		}
		return
	}
	done := 0
	for at := 0; at < len(s); {
		t := a.match(s, at)
		if t == nil {
			at++
			continue
		}
		start, stop := at, at+len(t.content)
		at = stop
		if t.singleWord && (endsInWord(s[:start]) || startsInWord(s[stop:])) {
			continue
		}
		if t.lstrip {
			start = max(done, len(strings.TrimRightFunc(s[:start], unicode.IsSpace)))
		}
		if t.rstrip {
			stop = len(s) - len(strings.TrimLeftFunc(s[stop:], unicode.IsSpace))
		}
		if start > done {
			text(s[done:start])
		}
		token(t.id)
		done = stop
		at = max(at, stop)
	}
	if done < len(s) {
		text(s[done:])
	}
}

func (a *addedTokens) match(s string, at int) *addedToken {
	list := a.byFirst[s[at]]
	for i := range list {
		if strings.HasPrefix(s[at:], list[i].content) {
			return &list[i]
		}
	}
	return nil
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && wordRune(r)
}

func startsInWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && wordRune(r)
}

// wordRune is \w of Unicode Technical Standard 18: letters, marks, decimal digits, connectors and joiners.
func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || unicode.Is(unicode.Pc, r) ||
		unicode.Is(unicode.Other_Alphabetic, r) || r == 0x200c || r == 0x200d
}
