package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// JSON writes r as result.json: two-space indent, keys in schema order, arrays of numbers on one
// line. It refuses what Validate refuses, NaN and infinity among it, and then writes nothing.
func JSON(w io.Writer, r *Result) error {
	if err := r.Validate(); err != nil {
		return err
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("reports: json: %w", err)
	}
	_, err := w.Write(joinNumbers(buf.Bytes()))
	return err
}

// joinNumbers puts every array that holds only numbers on one line. It works on the output of the
// encoder, where a line break never occurs inside a string: "[\n" always opens an array.
func joinNumbers(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for {
		i := bytes.Index(b, []byte("[\n"))
		if i < 0 {
			return append(out, b...)
		}
		out = append(out, b[:i+1]...)
		b = b[i+1:]
		end := bytes.IndexByte(b, ']')
		if end < 0 || !numbersOnly(b[:end]) {
			continue
		}
		for j, f := range bytes.Fields(b[:end]) {
			if j > 0 {
				out = append(out, ' ')
			}
			out = append(out, f...)
		}
		b = b[end:]
	}
}

func numbersOnly(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9', c == ' ', c == '\n', c == ',', c == '.', c == '-', c == '+', c == 'e':
		default:
			return false
		}
	}
	return true
}
