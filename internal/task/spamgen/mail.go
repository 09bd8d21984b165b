package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of multipart and message parts that is followed.
const maxDepth = 8

// mail is what is kept of one message: the decoded subject and the decoded text, before cleaning.
type mail struct {
	Subject string
	Body    string
}

// parseMail reads one message of an mbox (RFC 5322, MIME of RFC 2045 to 2047). Nothing is refused: these are mails as
// they arrived, with wrong boundaries, wrong charsets and truncated encodings, so every step takes what it can decode
// and leaves the rest.
func parseMail(raw []byte) mail {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	head, body := splitHeader(raw)
	return mail{
		Subject: decodeWords(head["subject"]),
		Body:    partText(head, body, 0),
	}
}

// splitHeader cuts raw at the first blank line and returns the fields (lower-case names, unfolded values, the first of
// each name) and the body. Lines that are no field, such as the mbox "From " line, are ignored.
func splitHeader(raw []byte) (map[string]string, []byte) {
	head := map[string]string{}
	last := ""
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		text := strings.TrimRight(string(line), " \t\r")
		if text == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if last != "" {
				head[last] += " " + strings.TrimSpace(text)
			}
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		last = ""
		if !ok || strings.ContainsAny(name, " \t") {
			continue
		}
		if _, seen := head[name]; !seen {
			head[name] = strings.TrimSpace(value)
			last = name
		}
	}
	return head, raw
}

// partText returns the readable text of one MIME part: plain text as it is, HTML reduced to text, of alternatives the
// plain one where it says anything, of other multiparts all texts in order, of attachments nothing.
func partText(head map[string]string, body []byte, depth int) string {
	kind, params := mediaType(head["content-type"])
	if strings.HasPrefix(strings.ToLower(head["content-disposition"]), "attachment") || depth > maxDepth {
		return ""
	}
	switch {
	case strings.HasPrefix(kind, "multipart/") && params["boundary"] != "":
		return multipartText(kind, params["boundary"], body, depth)
	case kind == "message/rfc822":
		inner, rest := splitHeader(decodeTransfer(head["content-transfer-encoding"], body))
		return decodeWords(inner["subject"]) + "\n" + partText(inner, rest, depth+1)
	case kind == "text/html":
		return htmlText(decodeCharset(params["charset"], decodeTransfer(head["content-transfer-encoding"], body)))
	case strings.HasPrefix(kind, "text/") || strings.HasPrefix(kind, "multipart/"):
		text := decodeCharset(params["charset"], decodeTransfer(head["content-transfer-encoding"], body))
		if looksLikeHTML(text) {
			return htmlText(text)
		}
		return text
	}
	return ""
}

// multipartText joins the texts of the parts; of multipart/alternative it takes the first part with at least 20 bytes
// of plain text, else the longest.
func multipartText(kind, boundary string, body []byte, depth int) string {
	var texts []string
	longest := ""
	for _, part := range splitParts(body, boundary) {
		head, rest := splitHeader(part)
		text := strings.TrimSpace(partText(head, rest, depth+1))
		if text == "" {
			continue
		}
		if kind == "multipart/alternative" {
			if k, _ := mediaType(head["content-type"]); k == "text/plain" && len(text) >= 20 {
				return text
			}
			if len(text) > len(longest) {
				longest = text
			}
			continue
		}
		texts = append(texts, text)
	}
	if kind == "multipart/alternative" {
		return longest
	}
	return strings.Join(texts, "\n\n")
}

// splitParts cuts a multipart body at its "--boundary" lines (RFC 2046, section 5.1); a missing closing line ends the
// last part at the end of the body. A body without any boundary line is one part without a header.
func splitParts(body []byte, boundary string) [][]byte {
	mark := []byte("--" + boundary)
	var parts [][]byte
	start := -1
	for at := 0; at < len(body); {
		end := bytes.IndexByte(body[at:], '\n')
		next := len(body)
		if end >= 0 {
			next = at + end + 1
		}
		if line := body[at:next]; bytes.HasPrefix(line, mark) {
			tail := strings.TrimSpace(string(line[len(mark):]))
			if tail == "" || tail == "--" {
				if start >= 0 {
					parts = append(parts, body[start:at])
				}
				start = next
				if tail == "--" {
					return parts
				}
			}
		}
		at = next
	}
	if start >= 0 {
		return append(parts, body[start:])
	}
	return [][]byte{append([]byte("\n"), body...)}
}

// mediaType is mime.ParseMediaType for broken values: the type alone where the parameters do not parse, text/plain
// where there is none.
func mediaType(value string) (string, map[string]string) {
	kind, params, err := mime.ParseMediaType(value)
	if err == nil && strings.Contains(kind, "/") {
		return kind, params
	}
	params = map[string]string{}
	fields := strings.Split(value, ";")
	for _, field := range fields[1:] {
		if name, v, ok := strings.Cut(field, "="); ok {
			params[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	kind = strings.ToLower(strings.TrimSpace(fields[0]))
	if !strings.Contains(kind, "/") {
		kind = "text/plain"
	}
	return kind, params
}

// decodeTransfer undoes a content transfer encoding; what does not decode is kept as it stands.
func decodeTransfer(encoding string, body []byte) []byte {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		return decodeQuoted(body)
	case "base64":
		return decodeBase64(body)
	}
	return body
}

// decodeQuoted decodes quoted-printable (RFC 2045, section 6.7), leaving "=" that starts no code as it is.
func decodeQuoted(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); i++ {
		if body[i] != '=' {
			out = append(out, body[i])
			continue
		}
		j := i + 1
		for j < len(body) && (body[j] == ' ' || body[j] == '\t') {
			j++
		}
		if j < len(body) && body[j] == '\n' { // soft line break
			i = j
			continue
		}
		if i+2 < len(body) {
			hi, ok1 := hexDigit(body[i+1])
			lo, ok2 := hexDigit(body[i+2])
			if ok1 && ok2 {
				out = append(out, hi<<4|lo)
				i += 2
				continue
			}
		}
		out = append(out, '=')
	}
	return out
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// decodeBase64 decodes every byte of the base64 alphabet before the first padding and ignores all others; an
// incomplete last group gives the bytes that it does hold.
func decodeBase64(body []byte) []byte {
	kept := make([]byte, 0, len(body))
	for _, c := range body {
		if c == '=' {
			break
		}
		if c == '+' || c == '/' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			kept = append(kept, c)
		}
	}
	if len(kept)%4 == 1 {
		kept = kept[:len(kept)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(kept)))
	n, _ := base64.RawStdEncoding.Decode(out, kept)
	return out[:n]
}

// decodeWords decodes the encoded words of a header value (RFC 2047), leaving what does not decode.
func decodeWords(value string) string {
	dec := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		b, err := io.ReadAll(r)
		return strings.NewReader(decodeCharset(charset, b)), err
	}}
	out, err := dec.DecodeHeader(value)
	if err != nil {
		out = value
	}
	if !utf8.ValidString(out) {
		out = decodeCharset("", []byte(out))
	}
	return out
}
