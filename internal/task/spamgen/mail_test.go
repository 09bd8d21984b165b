package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// mails are hand-written messages with the text that a person reads in them.
var mails = []struct{ name, raw, subject, body string }{
	{"plain with mbox line", "From a@b Thu Aug 22\nSubject: Hi\n there\nX:y\n\nbody\n", "Hi there", "body\n"},
	{"crlf", "Subject: Hi\r\n\r\na\r\nb", "Hi", "a\nb"},
	{"no body", "Subject: only", "only", ""},
	{"quoted-printable", "Content-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=iso-8859-1\n\ncaf=E9 =\nau lait 1=2 =zz", "", "café au lait 1=2 =zz"},
	{"base64, cut and with noise", "Content-Transfer-Encoding: BASE64\n\naGVs!bG8g\nd29ybGQ", "", "hello world"},
	{"base64 one digit too many", "Content-Transfer-Encoding: base64\n\naGVsbG8gd", "", "hello "},
	{"encoded words", "Subject: =?iso-8859-1?Q?caf=E9?= =?gb2312?B?1tDOxA==?=\n\n", "café中文", ""},
	{"alternative takes plain", "Content-Type: multipart/alternative; boundary=\"b\"\n\npreamble\n--b\nContent-Type: text/plain\n\nThis is the plain text.\n--b\nContent-Type: text/html\n\n<p>html</p>\n--b--\n", "", "This is the plain text."},
	{"alternative with an empty plain part", "Content-Type: multipart/alternative; boundary=b\n\n--b\n\n.\n--b\nContent-Type: text/html\n\n<p>the html &amp; more</p>\n", "", "the html & more"},
	{"mixed leaves attachments", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: image/gif\n\nGIF89\n--b\nContent-Disposition: attachment; filename=x\n\nsecret\n--b\n\ntwo\n--b--\nepilogue", "", "one\n\ntwo"},
	{"boundary that never comes", "Content-Type: multipart/mixed; boundary=b\n\njust text", "", "just text"},
	{"forwarded message", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ntext\n--b--", "", "inner\ntext"},
	{"html sent as plain", "Content-Type: text/plain\n\n<html><body>x<br>y</body></html>", "", "\nx\ny"},
	{"broken content type", "Content-Type: text/plain; charset=\"iso-8859-1\"; =;\n\ncaf\xe9", "", "café"},
	{"unlabelled latin-1", "\ncaf\xe9 \x93quoted\x94", "", "café “quoted”"},
	{"big5", "Content-Type: text/plain; charset=big5\n\n\xa4\xa4\xa4\xe5", "", "中文"},
}

func TestParseMail(t *testing.T) {
	for _, c := range mails {
		m := parseMail([]byte(c.raw))
		if m.Subject != c.subject || strings.TrimSpace(m.Body) != strings.TrimSpace(c.body) {
			t.Errorf("%s: got subject %q body %q, want %q and %q", c.name, m.Subject, m.Body, c.subject, c.body)
		}
	}
}

func TestGuessCharset(t *testing.T) {
	korean := strings.Repeat("\xbe\xc8\xb3\xe7\xc7\xcf\xbc\xbc\xbf\xe4 ", 6) // 안녕하세요 in EUC-KR
	chinese := strings.Repeat("\xd6\xd0\xce\xc4\xcf\xfb\xcf\xa2 ", 8)        // 中文消息 in GB 2312
	taiwan := strings.Repeat("\xa4\xa4\xa4\xe5\xb0\x54\xae\xa7 ", 8)         // 中文訊息 in Big5
	french := strings.Repeat("Les \xe9l\xe8ves \xe9taient \xe0 l'\xe9cole ", 8)
	for body, want := range map[string]string{korean: "안녕하세요", chinese: "中文消息", taiwan: "中文訊息", french: "élèves étaient"} {
		if got := decodeCharset("us-ascii", []byte(body)); !strings.Contains(got, want) {
			t.Errorf("decodeCharset(%.20q) = %.40q, want it to hold %q", body, got, want)
		}
	}
}

func TestHTMLText(t *testing.T) {
	for src, want := range map[string]string{
		"a<b>b</b>\n c":                              "ab c",
		"<p>one<p>two<br/>three":                     "\none\ntwo\nthree",
		"<style>p{}</style><script>x<y</script>kept": "kept",
		"<!-- a > b -->x<!-- never closed":           "x",
		"1 < 2 &lt; 3 &eacute;&nbsp;x":               "1 < 2 < 3 é x",
		`<a href="http://e.com/?q">here</a>`:         " http://x.com here",
		`<a href='mailto:me@e.com'>me</a>`:           " mailto:x@x.com me",
		"<td>a<td>b":                                 " a b",
	} {
		if got := htmlText(src); got != want {
			t.Errorf("htmlText(%q) = %q, want %q", src, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, c := range mails {
		f.Add([]byte(c.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			t.Skip()
		}
		text := clean(parseMail(raw))
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxRunes {
			t.Fatalf("clean: %d characters, valid UTF-8 %v", utf8.RuneCountInString(text), utf8.ValidString(text))
		}
	})
}
