package recipe

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// keysOf returns the keys of a struct of the recipe format with the index of their fields.
func keysOf(t reflect.Type) map[string]int {
	keys := map[string]int{}
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" && key != "-" {
			keys[key] = i
		}
	}
	return keys
}

func sortedKeys(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }

// laterKeys are the keys of the recipe format that a later version will read, by the path of the map they stand in.
var laterKeys = map[string][]string{
	"variants[].stages[].prune": {"schedule", "groups"},
}

var indexPattern = regexp.MustCompile(`\[\d+\]`)

func isLater(path, key string) bool {
	return slices.Contains(laterKeys[indexPattern.ReplaceAllString(path, "[]")], key)
}

// nearest returns the word of the list with the smallest edit distance to s, the first of equals, or "" when all are
// further than half its length.
func nearest(s string, words []string) string { return within(s, words, (len(s)+2)/2) }

// Nearest returns the word that s most likely stands for: one that begins with it, or else the one with the smallest edit distance, a third
// of the length of s at most, or else the longest one of four letters and more that s begins with. It is "" where none is as near.
func Nearest(s string, words []string) string {
	if i := slices.IndexFunc(words, func(w string) bool { return len(s) > 1 && strings.HasPrefix(w, strings.ToLower(s)) }); i >= 0 {
		return words[i]
	}
	if near := within(s, words, (len(s)+2)/3); near != "" {
		return near
	}
	longest := ""
	for _, w := range words {
		if len(w) > max(3, len(longest)) && strings.HasPrefix(strings.ToLower(s), w) {
			longest = w
		}
	}
	return longest
}

// within returns the word with the smallest edit distance to s, best at most.
func within(s string, words []string, best int) string {
	if len(s) > 64 {
		return ""
	}
	at := ""
	for _, w := range words {
		if d := distance(strings.ToLower(s), w); d <= best && (at == "" || d < best) {
			best, at = d, w
		}
	}
	return at
}

// distance is the Levenshtein distance in bytes, two neighbours that are swapped counting once (optimal string alignment).
func distance(a, b string) int {
	prev, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := row[j]
			if a[i] != b[j] {
				cost++
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cost = min(cost, prev[j-1]+1)
			}
			next[j+1] = min(cost, next[j]+1, row[j+1]+1)
		}
		prev, row, next = row, next, prev
	}
	return row[len(b)]
}
