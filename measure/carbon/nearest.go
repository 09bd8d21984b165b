package carbon

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// distance is the number of single-character edits between two short strings (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost++
			}
			prev, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// maxQuery bounds what is compared: longer input has no near neighbour anyway.
const maxQuery = 64

// nearest returns up to n distinct names by edit distance, joined.
func nearest(s string, names []string, n int) string {
	s = strings.ToLower(s[:min(len(s), maxQuery)])
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	slices.SortStableFunc(names, func(a, b string) int {
		return distance(s, strings.ToLower(a)) - distance(s, strings.ToLower(b))
	})
	return strings.Join(names[:min(n, len(names))], ", ")
}

// nearestZones returns the zones whose code or name is nearest to what was asked for, as CODE (name).
func nearestZones(s string, all []Factor) []string {
	s = strings.ToLower(s[:min(len(s), maxQuery)])
	d := func(f Factor) int {
		code, name := strings.ToLower(f.Zone), strings.ToLower(f.Name)
		best := min(2*distance(s, code), 2*distance(s, name))
		if s != "" && (strings.HasPrefix(code, s) || strings.HasPrefix(name, s)) {
			best = min(best, 1)
		}
		return best
	}
	type ranked struct {
		Factor
		d int
	}
	sorted := make([]ranked, len(all))
	for i, f := range all {
		sorted[i] = ranked{f, d(f)}
	}
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].d < sorted[j].d })
	var out []string
	for _, f := range sorted[:min(3, len(sorted))] {
		if f.Name == f.Zone {
			out = append(out, f.Zone)
		} else {
			out = append(out, fmt.Sprintf("%s (%s)", f.Zone, f.Name))
		}
	}
	return out
}
