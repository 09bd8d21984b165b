package reports

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// profileRows is how many operators of a variant the table shows.
const profileRows = 12

func profileSection(r *Result) section {
	s := section{Title: "Time by operator", Head: []string{"Variant", "Operator", "Kernel", "Nodes", "Time in the profile", "Share", "MACs", "Weights read", "Energy, attributed"}, Collapsed: true}
	for i := range r.Variants {
		ops := slices.Clone(r.Variants[i].Profile)
		sort.SliceStable(ops, func(i, j int) bool { return ops[i].Seconds > ops[j].Seconds })
		for j, o := range ops {
			if j == profileRows {
				rest := 0.0
				for _, o := range ops[j:] {
					rest += o.Seconds
				}
				s.Rows = append(s.Rows, []string{plain(r.Variants[i].Name), fmt.Sprintf("%d others", len(ops)-j), "", "", show(rest, "s"), "", "", "", ""})
				break
			}
			row := []string{plain(r.Variants[i].Name), plain(o.Op), plain(o.Kernel), group(int64(o.Count)), opTime(o), percent(o.Share), "", "", ""}
			if o.MACs != nil {
				row[6] = count(float64(*o.MACs))
			}
			if o.Bytes != nil {
				row[7] = showBytes(*o.Bytes)
			}
			if o.Joules != nil {
				row[8] = show(*o.Joules, "J")
			}
			s.Rows = append(s.Rows, row)
		}
	}
	if len(s.Rows) > 0 {
		s.Notes = []string{"Kernel, MACs and weights are told of the operators that multiply; the others only move or combine elements.", profileWords(r)}
	}
	return s
}

// opTime is the time of an operator with the half-width of its 95 % interval and the profiled runs.
func opTime(o OpProfile) string {
	u := siUnit(o.Seconds, "s")
	s := show(o.Seconds, "s")
	if o.CI95 != nil {
		s += " ± " + digits((o.CI95[1]-o.CI95[0])/2*u.mul, 2)
	}
	if o.N > 0 {
		s += fmt.Sprintf(" (n = %d)", o.N)
	}
	return s
}

// profileWords sets the sum of all operators beside the time of a run without the profiler, which it need not equal.
func profileWords(r *Result) string {
	var sums []string
	for i := range r.Variants {
		v := &r.Variants[i]
		sum, _ := profiled(v)
		if t, ok := timesOf(r, v); ok && sum > 0 {
			sums = append(sums, plain(v.Name)+" "+show(sum, "s")+" of operators, "+show(t.Own, "s")+" a run")
		}
	}
	s := "The operators are timed one by one in a few runs of their own, one variant after the other, so their sum may differ from what a run takes: what they tell is which share goes where, and the chart splits the time of a run by those shares"
	if len(sums) > 0 {
		s += " (" + strings.Join(sums, "; ") + ")"
	}
	return s + "."
}

// profiled is the sum of a profile's operators in seconds, and the half-widths of their 95 % intervals added up.
func profiled(v *Variant) (sum, half float64) {
	for _, o := range v.Profile {
		if !(o.Seconds >= 0) || !finite(o.Seconds) {
			continue
		}
		sum += o.Seconds
		if o.CI95 != nil {
			half += (o.CI95[1] - o.CI95[0]) / 2
		}
	}
	return sum, half
}
