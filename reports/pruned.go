package reports

import (
	"slices"
	"strings"
)

// Pruned says which weights of the variant were pruned, how many of them, and how much of the whole model that is: "pruning set
// 50 % of the weights of LSTM and Gemm to zero, 6.7 % of all weights". It is empty where no stage pruned what the variant still is.
func Pruned(v *Variant) string {
	share, ok := prunedShare(v)
	if !ok {
		return ""
	}
	s := "pruning set " + percent(share) + " of the weights of " + listed(prunedOps(v)) + " to zero"
	if w := v.Weights; w != nil && w.Sparsity != nil {
		s += ", " + percent(*w.Sparsity) + " of all weights"
	}
	return s
}

// prunedShare is the share that the last pruning stage set to zero of the weights that it touched.
func prunedShare(v *Variant) (float64, bool) {
	share, ok := 0.0, false
	for _, st := range v.Stages {
		switch st.Name {
		case "prune":
			share, ok = st.Options["sparsity"].(float64)
		case "distill":
			if st.Options["student"] != nil { // another model from here on
				ok = false
			}
		}
	}
	return share, ok && share > 0 && len(prunedOps(v)) > 0
}

// prunedOps are the operators that read the pruned weights, those with most bytes first.
func prunedOps(v *Variant) []string {
	size := map[string]int64{}
	var ops []string
	for _, n := range v.Notes {
		if n.Stage != "prune" || n.Action != Touched {
			continue
		}
		op := plain(n.Op)
		if op == "" {
			op = "other operators"
		}
		if _, seen := size[op]; !seen {
			ops = append(ops, op)
		}
		size[op] += n.BytesBefore
	}
	slices.SortStableFunc(ops, func(a, b string) int { return int(min(1, max(-1, size[b]-size[a]))) })
	return ops
}

// listed writes "A", "A and B" or "A, B and C".
func listed(s []string) string {
	if len(s) < 2 {
		return strings.Join(s, "")
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}
