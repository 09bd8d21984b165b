package main

import (
	"html"
	"strings"
)

// looksLikeHTML tells whether a text sent as plain is an HTML document.
func looksLikeHTML(text string) bool {
	head := strings.ToLower(text[:min(len(text), 2000)])
	return strings.Contains(head, "<html") || strings.Contains(head, "<body") ||
		strings.Contains(head, "<!doctype html") || strings.Count(head, "<font")+strings.Count(head, "<td")+strings.Count(head, "<br>")+strings.Count(head, "<p>") > 2
}

// silent holds the elements whose content is no text for a reader.
var silent = map[string]bool{"script": true, "style": true, "title": true, "noscript": true, "select": true}

// block holds the elements that start a new line.
var block = map[string]bool{
	"p": true, "br": true, "div": true, "tr": true, "table": true, "li": true, "ul": true, "ol": true, "hr": true,
	"h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "center": true, "blockquote": true,
	"pre": true, "dt": true, "dd": true, "form": true, "body": true, "head": true,
}

// htmlText reduces HTML to the text that a reader sees: tags and comments dropped, entities resolved, white space
// collapsed, block elements on lines of their own. A link leaves its target before its text, as "http://..." or as the
// address of a mailto, so that cleaning turns it into a token. "<" that starts no tag is text.
func htmlText(src string) string {
	var out strings.Builder
	for len(src) > 0 {
		at := strings.IndexByte(src, '<')
		if at < 0 {
			at = len(src)
		}
		if at > 0 {
			out.WriteString(html.UnescapeString(spaces(src[:at])))
		}
		if at == len(src) {
			break
		}
		src = src[at:]
		tag, rest, ok := cutTag(src)
		if !ok {
			out.WriteByte('<')
			src = src[1:]
			continue
		}
		src = rest
		name, closing := tagName(tag)
		switch {
		case silent[name] && !closing:
			src = src[endOf(name, src):]
		case block[name]:
			out.WriteByte('\n')
		case name == "td" || name == "th":
			out.WriteByte(' ')
		case name == "a" && !closing:
			if target := linkTarget(tag); target != "" {
				out.WriteString(" " + target + " ")
			}
		}
	}
	return strings.ReplaceAll(out.String(), "\u00a0", " ")
}

// endOf returns where the closing tag of an element starts, or the end of src. The search is by ASCII case only, so
// that offsets stay those of src.
func endOf(name, src string) int {
	mark := "</" + name
	for at := 0; at+len(mark) <= len(src); at++ {
		if src[at] == '<' && strings.EqualFold(src[at:at+len(mark)], mark) {
			return at
		}
	}
	return len(src)
}

// spaces turns every run of white space into one blank: line ends mean nothing in HTML.
func spaces(s string) string {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return " "
	}
	out := strings.Join(fields, " ")
	if strings.ContainsAny(s[:1], " \t\n\r") {
		out = " " + out
	}
	if strings.ContainsAny(s[len(s)-1:], " \t\n\r") {
		out += " "
	}
	return out
}

// cutTag returns the inside of the tag or comment at the start of src and what follows it. ok is false where "<" starts
// none. A tag that never ends takes the rest.
func cutTag(src string) (tag, rest string, ok bool) {
	if strings.HasPrefix(src, "<!--") {
		if end := strings.Index(src[4:], "-->"); end >= 0 {
			return "", src[4+end+3:], true
		}
	}
	if len(src) < 2 || !isTagStart(src[1]) {
		return "", src, false
	}
	end := strings.IndexByte(src, '>')
	if end < 0 {
		return src[1:], "", true
	}
	return src[1:end], src[end+1:], true
}

func isTagStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '/' || c == '!' || c == '?'
}

// tagName returns the lower-case element name and whether the tag closes it.
func tagName(tag string) (string, bool) {
	closing := strings.HasPrefix(tag, "/")
	tag = strings.TrimPrefix(tag, "/")
	end := strings.IndexFunc(tag, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	})
	if end >= 0 {
		tag = tag[:end]
	}
	return strings.ToLower(tag), closing
}

// linkTarget returns what the href of an anchor stands for: an address, a link, or nothing.
func linkTarget(tag string) string {
	lower := strings.ToLower(tag)
	switch {
	case strings.Contains(lower, "mailto:"):
		return "mailto:x@x.com"
	case strings.Contains(lower, "href"):
		return "http://x.com"
	}
	return ""
}
