package reports

// Saving is the verdict on the energy of a variant against the baseline in the report's words: "less", "more", "undecided", "no change shown",
// that pairs are too few, or "" where the result has no ratio. shown is true for "less" alone.
func Saving(r *Result, name string) (word string, shown bool) {
	for i := range r.Variants {
		v := &r.Variants[i]
		if i == 0 || v.Name != name {
			continue
		}
		if f, ok := energyRatio(v, &r.Variants[0]); ok {
			word, tone := change(f, "less", "more")
			return word, tone == "better"
		}
	}
	return "", false
}
