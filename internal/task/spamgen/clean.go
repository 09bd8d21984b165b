package main

import (
	"regexp"
	"strings"
	"unicode"
)

// maxRunes is the length at which a text is cut, at the last blank before it.
const maxRunes = 2000

// tlds are the top-level domains by which a bare host name is recognised; two-letter endings that are as often file
// names or abbreviations (pl, py, sh, cc, so, is, it, in, me, to, at, no) count only after "www." or a scheme.
const tlds = `com|net|org|edu|gov|mil|int|info|biz|ie|uk|de|fr|jp|cn|tw|kr|ru|br|mx|es|nl|be|ch|se|dk|fi|au|nz|ca|us|hk|sg|za|ar|pt|gr|cz|hu|il|tv|ws`

var (
	listTag    = regexp.MustCompile(`(?i)^((?:(?:re|fw|fwd|aw|antwort)(?:\[\d+\])?:\s*)*)\[[^\]]{1,40}\]\s*`)
	knownTag   = regexp.MustCompile(`(?i)\[(?:ilug(?:-social)?|razor-users|satalk|sadev|sacvs|spambayes|zzzzteana|use perl|iiu|webdev|void|vulnwatch|sa|scoop|dgc\.chat|ximian updates|camram-spam|gst-devel|avfs|python-dev)\]\s*`)
	feedHead   = regexp.MustCompile(`\A\s*URL: \S+\n(?:Date: .*\n)?`)
	replyCount = regexp.MustCompile(`(?i)\b(re|fw|fwd)\[\d+\]:`)

	pgpHead    = regexp.MustCompile(`(?m)^-----BEGIN PGP SIGNED MESSAGE-----\n(?:Hash:.*\n)?`)
	pgpBlock   = regexp.MustCompile(`(?s)-----BEGIN PGP (?:SIGNATURE|PUBLIC KEY BLOCK|MESSAGE)-----.*?(?:-----END PGP [A-Z ]+-----|\z)`)
	uuencode   = regexp.MustCompile(`(?ms)^begin [0-7]{3} \S+\n.*?(?:^end$|\z)`)
	groupAd    = regexp.MustCompile(`(?s)-{5,} Yahoo! Groups Sponsor -{5,}.*?-{40,}~->`)
	groupTail  = regexp.MustCompile(`(?s)To unsubscribe from this group, send an email to:.{0,160}?Your use of Yahoo! Groups is subject to \S+`)
	listLine   = regexp.MustCompile(`(?m)^.*(?:/mailman/listinfo/|/lists/listinfo/|for \(un\)subscription information).*$`)
	listBlock  = regexp.MustCompile(`(?i)listinfo|mailing list|sf\.net email|sponsored by|geek heaven|list maintainer|listmaster|egroups|yahoo! groups|do you yahoo|get your free e-?mail|msn photos|hotmail\.com`)
	original   = regexp.MustCompile(`(?mi)^[ >]*-{2,} ?(?:original message|forwarded message|begin forwarded text|forwarded by)\b.*$`)
	attributed = regexp.MustCompile(`(?mi)^(?:on .{0,200}\n?.{0,100}|.{0,120}) (?:wrote|writes|said|schrieb):?[ \t]*$`)
	delimiter  = regexp.MustCompile(`^(?:-- ?|[_=*-]{10,}.*)$`)

	email   = regexp.MustCompile(`(?i)<?(?:mailto:\s*)?[a-z0-9._%+#=&'-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:\?[^\s<>"]*)?>?`)
	link    = regexp.MustCompile(`(?i)<?(?:url:\s*)?(?:(?:https?|ftp|mms|news|telnet|file):/{1,3}|www\d?\.)[^\s<>"')\]]+>?`)
	host    = regexp.MustCompile(`(?i)\b(?:[a-z0-9-]+\.)+(?:` + tlds + `)\b(?:/[^\s<>"')\]]*)?`)
	address = regexp.MustCompile(`\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b(?::\d+)?(?:/[^\s<>"')\]]*)?`)
	phone   = regexp.MustCompile(`\+\d[\d ().-]{7,}\d|(?:\b1[-. ]?)?(?:\(\d{3}\) ?|\b\d{3}[-. ])\d{3}[-. ]\d{4}\b|\b1[-. ]?8\d\d[-. ][A-Z0-9]{3,4}[-. ]?[A-Z0-9]{3,4}\b|\b\d{3}-\d{4}\b`)
	word    = regexp.MustCompile(`[A-Za-z0-9_]{10,}`)
	number  = regexp.MustCompile(`\d+(?:[.,]\d+)*`)
	rule    = regexp.MustCompile(`([-_=*~#+.!?$<>|/\\])[-_=*~#+.!?$<>|/\\]{3,}`)
	tokens  = regexp.MustCompile(`(<(?:email|url|host)>)(?:\s*<(?:email|url|host)>)+`)
	blank   = regexp.MustCompile(`[ \t]+`)
	empty   = regexp.MustCompile(`\n{3,}`)
)

// clean reduces a mail to "subject\nbody": list tags, the head lines of news feeds, list footers, quoted text and PGP blocks removed, signature
// blocks, addresses, links, hosts, phone numbers, long numbers and machine-made words replaced by <...> tokens, white
// space collapsed, at most maxRunes characters. The result is empty where the mail holds no text.
func clean(m mail) string {
	subject := blank.ReplaceAllString(replaceTokens(cleanSubject(m.Subject)), " ")
	body := feedHead.ReplaceAllString(plain(m.Body), "")
	body = pgpBlock.ReplaceAllString(pgpHead.ReplaceAllString(body, ""), "")
	body = uuencode.ReplaceAllString(body, "")
	body = groupTail.ReplaceAllString(groupAd.ReplaceAllString(body, ""), "")
	body = unquote(body)
	body = trimBlocks(body)
	body = listLine.ReplaceAllString(body, "")
	body = replaceTokens(body)
	lines := strings.Split(blank.ReplaceAllString(body, " "), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	body = strings.TrimSpace(empty.ReplaceAllString(strings.Join(lines, "\n"), "\n\n"))
	return shorten(strings.TrimSpace(strings.TrimSpace(subject) + "\n" + body))
}

// cleanSubject removes list tags such as "[ILUG]" from the front, also behind "Re:".
func cleanSubject(s string) string {
	s = strings.Join(strings.Fields(plain(s)), " ")
	s = knownTag.ReplaceAllString(replyCount.ReplaceAllString(s, "$1:"), "")
	for {
		t := listTag.ReplaceAllString(s, "$1")
		if t == s {
			return s
		}
		s = t
	}
}

// plain drops control and format characters and turns every kind of blank into a space.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\r':
			return '\n'
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
}

// unquote removes what a mail repeats of another mail (lines that start with ">", and all that follows "Original
// Message"), since a reply would otherwise carry text across the splits. A mail that has fewer than 40 bytes of its own
// keeps its quotations, without the marks.
func unquote(body string) string {
	own := attributed.ReplaceAllString(body, "")
	if at := original.FindStringIndex(own); at != nil {
		own = own[:at[0]]
	}
	var kept, all []string
	for line := range strings.SplitSeq(own, "\n") {
		if !quoted(line) {
			kept = append(kept, line)
		}
	}
	text := strings.Join(kept, "\n")
	if len(strings.TrimSpace(trimBlocks(text))) >= 40 {
		return text
	}
	for line := range strings.SplitSeq(body, "\n") {
		all = append(all, strings.TrimLeft(line, "> |"))
	}
	return strings.Join(all, "\n")
}

func quoted(line string) bool {
	line = strings.TrimLeft(line, " ")
	return strings.HasPrefix(line, ">") || strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "|>")
}

// trimBlocks takes the blocks at the end of a mail that follow a delimiter line and are short (at most 20 lines and
// 1,500 bytes): a mailing list's footer is removed, a signature ("--") becomes <signature>; anything else stays.
func trimBlocks(body string) string {
	lines := strings.Split(strings.TrimRight(body, " \n"), "\n")
	signed := false
	for {
		at := len(lines) - 1
		for size := 0; at >= 0 && !delimiter.MatchString(lines[at]); at-- {
			if size += len(lines[at]); size > 1500 || len(lines)-at > 20 {
				at = -1
				break
			}
		}
		if at < 0 {
			break
		}
		text := strings.Join(lines[at:], "\n")
		bare := strings.TrimSpace(strings.Join(lines[at+1:], "")) == ""
		dashes := strings.TrimSpace(lines[at]) == "--"
		switch {
		case listBlock.MatchString(text) || bare:
		case dashes:
			signed = true
		default:
			return finish(lines, signed)
		}
		lines = lines[:at]
	}
	return finish(lines, signed)
}

func finish(lines []string, signed bool) string {
	text := strings.TrimRight(strings.Join(lines, "\n"), " \n")
	if signed {
		text += "\n<signature>"
	}
	return text
}

// replaceTokens puts tokens in the place of what identifies a person, a machine or one sending: addresses, links,
// hosts, phone numbers, numbers of four digits or more, and words of ten or more letters and digits mixed. Runs of
// address tokens become one; runs of punctuation become three marks.
func replaceTokens(s string) string {
	s = email.ReplaceAllString(s, " <email> ")
	s = link.ReplaceAllString(s, " <url> ")
	s = host.ReplaceAllString(s, " <host> ")
	s = address.ReplaceAllString(s, " <host> ")
	s = phone.ReplaceAllString(s, " <phone> ")
	s = word.ReplaceAllStringFunc(s, func(w string) string {
		digits := 0
		for _, c := range w {
			if c >= '0' && c <= '9' {
				digits++
			}
		}
		if digits == 0 || digits == len(w) {
			return w
		}
		return " <id> "
	})
	s = number.ReplaceAllStringFunc(s, func(n string) string {
		digits := 0
		for _, c := range n {
			if c >= '0' && c <= '9' {
				digits++
			}
		}
		if digits < 4 {
			return n
		}
		return " <num> "
	})
	s = tokens.ReplaceAllString(s, "$1")
	return rule.ReplaceAllString(s, "$1$1$1")
}

// shorten cuts s to maxRunes characters, at the last blank in the final tenth where there is one.
func shorten(s string) string {
	n := 0
	for i := range s {
		if n == maxRunes {
			cut := s[:i]
			if at := strings.LastIndexAny(cut, " \n"); at > len(cut)*9/10 {
				cut = cut[:at]
			}
			return strings.TrimSpace(cut)
		}
		n++
	}
	return s
}
