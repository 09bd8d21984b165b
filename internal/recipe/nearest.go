package recipe

import (
	"reflect"
	"slices"
	"strings"
)

// knownKeys returns every key of the recipe format, sorted.
func knownKeys() []string {
	seen := map[string]bool{}
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
				if key == "" || key == "-" {
					continue
				}
				seen[key] = true
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Recipe]())
	keys := make([]string, 0, len(seen))
	for k := range seen {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// nearest returns the word of the list with the smallest edit distance to s, or "" when all are further
// than half its length.
func nearest(s string, words []string) string {
	best, at := (len(s)+2)/2, ""
	for _, w := range words {
		if d := distance(s, w); d <= best && (at == "" || d < best) {
			best, at = d, w
		}
	}
	return at
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	return row[len(b)]
}
