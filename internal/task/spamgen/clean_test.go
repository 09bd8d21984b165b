package main

import (
	"strings"
	"testing"
)

func TestCleanSubject(t *testing.T) {
	for in, want := range map[string]string{
		"[ILUG] Sun Solaris..":                    "Sun Solaris..",
		"Re: [SAtalk] Re: [Razor-users] spam":     "Re: Re: spam",
		"Re[2]: lunch":                            "Re: lunch",
		"Fwd:  [SAdev] a":                         "Fwd: a",
		"Irish language (was Re: [ILUG] Fwd: Hi)": "Irish language (was Re: Fwd: Hi)",
		"Free money [w1ypq]":                      "Free money [w1ypq]",
		"a\x00b\u200bc\td":                        "abc d",
	} {
		if got := cleanSubject(in); got != want {
			t.Errorf("cleanSubject(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestReplaceTokens(t *testing.T) {
	for in, want := range map[string]string{
		"write to joe.doe+x@mail.example.co.uk today": "write to <email> today",
		"<mailto:a@b.com?subject=x> me":               "<email> me",
		"see http://a.b/c?d=e&f and www.x.y/z":        "see <url> and <url>",
		"on lists.example.com or 10.0.0.1:80":         "on <host> or <host>",
		"main.c and e.g. setup.py":                    "main.c and e.g. setup.py",
		"call 1-800-555-1234 or (212) 555-1234":       "call <phone> or <phone>",
		"fax +353 1 234 5678 now":                     "fax <phone> now",
		"1-800-CALL-NOW":                              "<phone>",
		"$1,000,000 in 2002, 30 days, 99.9 %":         "$ <num> in <num> , 30 days, 99.9 %",
		"id a1b2c3d4e5f6 end":                         "id <id> end",
		"============ stop!!!!!!":                     "=== stop!!!",
		"a@b.c http://x.y":                            "<email>",
	} {
		if got := strings.Join(strings.Fields(replaceTokens(in)), " "); got != want {
			t.Errorf("replaceTokens(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCleanBody(t *testing.T) {
	long := "This is what the writer of this mail has to say about it."
	for name, c := range map[string][2]string{
		"list footer":   {long + "\n\n-- \nIrish Linux Users' Group: ilug@linux.ie\nhttp://www.linux.ie/mailman/listinfo/ilug for (un)subscription information.\n", long},
		"sf footer":     {long + "\n\n-------------------------------------------------------\nThis sf.net email is sponsored by:ThinkGeek\nWelcome to geek heaven.\nhttp://thinkgeek.com/sf\n_______________________________________________\nRazor-users mailing list\nRazor-users@lists.sourceforge.net\n", long},
		"signature":     {long + "\n-- \nJoe Doe\nTel. 123\n", long + "\n<signature>"},
		"both":          {long + "\n-- \nJoe\n\n____________________\nX mailing list\nx@y.z\n", long + "\n<signature>"},
		"quotes":        {"On Monday, Joe wrote:\n> old\n> text\n\n" + long, long},
		"original":      {long + "\n-----Original Message-----\nFrom: joe\nold", long},
		"only quotes":   {"> nothing but\n> quotes", "nothing but\nquotes"},
		"pgp":           {"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA1\n\n" + long + "\n-----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----\n", long},
		"white space":   {"a  b\t\tc   \n\n\n\n\nd", "a b c\n\nd"},
		"rule in spam":  {"Buy now\n---------------\nlast chance to buy", "Buy now\n---\nlast chance to buy"},
		"feed":          {"URL: http://x.y/1\nDate: Not supplied\n\n" + long, long},
		"uuencode":      {long + "\nbegin 644 a.gif\nM123\nend\n", long},
		"group sponsor": {long + "\n------------------------ Yahoo! Groups Sponsor ---------------------~-->\n4 DVDs\n---------------------------------------------------------------------~->\n\nTo unsubscribe from this group, send an email to:\nx@y.com\n\n\nYour use of Yahoo! Groups is subject to http://docs.yahoo.com/info/terms/", long},
	} {
		if got := clean(mail{Body: c[0]}); got != c[1] {
			t.Errorf("%s: got %q, want %q", name, got, c[1])
		}
	}
}

func TestShorten(t *testing.T) {
	got := clean(mail{Subject: "Subject", Body: strings.Repeat("wörd ", 1000)})
	if n := len([]rune(got)); n > maxRunes || n < maxRunes-10 || !strings.HasSuffix(got, "wörd") {
		t.Errorf("got %d characters ending in %q", n, got[len(got)-10:])
	}
}

func TestGroups(t *testing.T) {
	words := func(from, n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(string(rune('a'+(from+i)%26)) + string(rune('a'+(from+i)/26)) + " ")
		}
		return b.String()
	}
	texts := []string{
		words(0, 100),
		"other words here",
		words(4, 100),  // 94 of 102 shingles shared with the first: 0.92
		words(30, 100), // 68 of 128 shared with the first: 0.53; 0.57 with the third
		"Other  words here 2002",
		words(0, 100) + "zz",
	}
	want := []int{0, 1, 0, 3, 1, 0}
	for i, got := range groups(texts) {
		if got != want[i] {
			t.Errorf("text %d is in group %d, want %d", i, got, want[i])
		}
	}
}
