package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// nearNames is the number of names that a remark about one that there is not proposes.
const nearNames = 3

// mostLost is the number of patterns without a match that a remark names.
const mostLost = 8

// warning begins a remark that belongs among a result's warnings too.
const warning = "warning: "

// excludeRemark warns of what a stage is to leave and neither of the graphs has, with the names most like it; "" where there is
// nothing to say. It is no error: mixes of stages go on to name what an earlier one replaced.
func excludeRemark(st Stage, graphs ...*model.Graph) string {
	q, ok := st.(*Quantize)
	if !ok || len(q.Exclude) == 0 {
		return ""
	}
	lost := quantize.Unmatched(q.Exclude, graphs...)
	if len(lost) == 0 {
		return ""
	}
	more := len(lost) - mostLost
	lost = lost[:min(len(lost), mostLost)]
	names := quantize.Names(graphs...)
	for i, pattern := range lost {
		near := alike(pattern, names)
		stops := strings.Contains(pattern, "*") && slices.ContainsFunc(near, func(n string) bool { return strings.Contains(n, "/") })
		for k := range near {
			near[k] = fmt.Sprintf("%q", near[k])
		}
		if lost[i] = fmt.Sprintf("%q", pattern); len(near) > 0 {
			lost[i] += " (did you mean " + strings.Join(near, " or ") + "?)"
		}
		if stops {
			lost[i] += " (* ends at a /)"
		}
	}
	s := warning + "exclude names what the model has no node, operator, value or weight of, and leaves nothing out by it: " + strings.Join(lost, ", ")
	if more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// alike returns the names that s most likely stands for, nearNames at most, the likeliest first: those that hold it, then those that
// few edits make of it, a third of its length at most.
func alike(s string, names []string) []string {
	s = strings.ToLower(strings.Trim(s, "*"))
	if s == "" || len(s) > 128 {
		return nil
	}
	type candidate struct {
		name string
		far  int
	}
	var list []candidate
	for _, n := range names {
		low := strings.ToLower(n)
		most := (len(s) + 2) / 3
		switch extra := len(low) - len(s); {
		case strings.Contains(low, s):
			list = append(list, candidate{n, -1<<20 + extra})
		case max(extra, -extra) <= most:
			if d := distance(s, low); d <= most {
				list = append(list, candidate{n, d})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return a.far - b.far })
	var out []string
	for _, c := range list[:min(len(list), nearNames)] {
		out = append(out, c.name)
	}
	return out
}
