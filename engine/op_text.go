package engine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// textOps work on strings.
func textOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"StringNormalizer": plain(opStringNormalizer), "StringSplit": plain(opStringSplit),
		"RegexFullMatch": plain(opRegexFullMatch), "TfIdfVectorizer": plain(opTfIdf),
	})
}

// strs returns the strings of input i.
func (c *Call) strs(i int) (*model.Tensor, []string, error) {
	t, err := c.Need(i)
	if err != nil {
		return nil, nil, err
	}
	if t.DType() != model.String {
		return nil, nil, typeError(t)
	}
	s, err := t.Strings()
	return t, s, err
}

// attrStrings returns the strings of an attribute.
func attrStrings(n *model.Node, name string) []string {
	a := n.Attr(name)
	if a == nil {
		return nil
	}
	out := make([]string, len(a.Strings))
	for i, s := range a.Strings {
		out[i] = string(s)
	}
	return out
}

// opStringNormalizer removes stop words from [C] or [1, C] and changes the case of the rest.
func opStringNormalizer(c *Call) error {
	t, in, err := c.strs(0)
	if err != nil {
		return err
	}
	if t.Rank() != 1 && (t.Rank() != 2 || t.Shape()[0] != 1) {
		return errShape("input", t, "[C] or [1 C]")
	}
	action, exact := c.Node.Str("case_change_action", "NONE"), c.Node.Int("is_case_sensitive", 0) != 0
	stop := map[string]bool{}
	for _, s := range attrStrings(c.Node, "stopwords") {
		if !exact {
			s = strings.ToLower(s)
		}
		stop[s] = true
	}
	out := []string{}
	for _, s := range in {
		key := s
		if !exact {
			key = strings.ToLower(s)
		}
		if stop[key] {
			continue
		}
		switch action {
		case "LOWER":
			s = strings.ToLower(s)
		case "UPPER":
			s = strings.ToUpper(s)
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		out = []string{""}
	}
	shape := []int{len(out)}
	if t.Rank() == 2 {
		shape = []int{1, len(out)}
	}
	r, err := model.NewStrings(shape, out)
	if err == nil {
		c.Set(0, r)
	}
	return err
}

// splitText splits s at delimiter, or at white space where that is empty, at most most times.
func splitText(s, delimiter string, most int) []string {
	if delimiter != "" {
		return strings.SplitN(s, delimiter, most+1)
	}
	const space = " \t\n\v\f\r"
	out := []string{}
	for s = strings.TrimLeft(s, space); s != ""; s = strings.TrimLeft(s, space) {
		i := strings.IndexAny(s, space)
		if len(out) == most {
			return append(out, s)
		}
		if i < 0 {
			i = len(s)
		}
		out, s = append(out, s[:i]), s[i:]
	}
	return out
}

// opStringSplit splits every string; the parts are filled up with "" to the longest list.
func opStringSplit(c *Call) error {
	t, in, err := c.strs(0)
	if err != nil {
		return err
	}
	most := int(c.Node.Int("maxsplit", 1<<31-2))
	if most < 0 || most > 1<<31-2 {
		most = 1<<31 - 2
	}
	delimiter := c.Node.Str("delimiter", "")
	parts, longest := make([][]string, len(in)), 0
	counts, err := Out[int64](c, 1, t.Shape())
	if err != nil {
		return err
	}
	for i, s := range in {
		parts[i] = splitText(s, delimiter, most)
		counts[i], longest = int64(len(parts[i])), max(longest, len(parts[i]))
	}
	dst, done, err := c.outElems(0, model.String, append(append([]int(nil), t.Shape()...), longest))
	if err != nil {
		return err
	}
	for i, p := range parts {
		copy(dst.s[i*longest:], p)
	}
	return done()
}

// opRegexFullMatch tells for every string whether the whole of it matches a pattern of RE2.
func opRegexFullMatch(c *Call) error {
	t, in, err := c.strs(0)
	if err != nil {
		return err
	}
	re, err := regexp.Compile(`\A(?:` + c.Node.Str("pattern", "") + `)\z`)
	if err != nil {
		return err
	}
	out, err := Out[bool](c, 0, t.Shape())
	if err != nil {
		return err
	}
	for i, s := range in {
		out[i] = re.MatchString(s)
	}
	return nil
}

// tokens returns the elements of integers or strings as keys.
func tokens(t *model.Tensor) ([]string, error) {
	if t.DType() == model.String {
		return t.Strings()
	}
	v, err := ints(t)
	out := make([]string, len(v))
	for i, e := range v {
		out[i] = strconv.Itoa(e)
	}
	return out, err
}

// gram joins tokens to one key; lengths keep two lists apart.
func gram(list []string) string {
	var b strings.Builder
	for _, s := range list {
		fmt.Fprintf(&b, "%d:%s", len(s), s)
	}
	return b.String()
}

// opTfIdf counts the n-grams of a pool in every row of [C] or [N, C], with up to max_skip_count tokens left out between
// those of an n-gram.
func opTfIdf(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if x.Rank() != 1 && x.Rank() != 2 {
		return errShape("input", x, "[C] or [N C]")
	}
	n := c.Node
	pool := attrStrings(n, "pool_strings")
	if pool == nil {
		for _, v := range n.Ints("pool_int64s") {
			pool = append(pool, strconv.FormatInt(v, 10))
		}
	}
	counts, place := attrInts(n, "ngram_counts"), attrInts(n, "ngram_indexes")
	shortest, longest, skip := int(n.Int("min_gram_length", 1)), int(n.Int("max_gram_length", 1)), int(n.Int("max_skip_count", 0))
	width, column := 0, map[string]int{}
	for _, p := range place {
		if p < 0 || p > 1<<28 {
			return fmt.Errorf("ngram_indexes holds %d", p)
		}
		width = max(width, p+1)
	}
	id := 0
	for i, lo := range counts {
		hi, size := len(pool), i+1
		if i+1 < len(counts) {
			hi = counts[i+1]
		}
		if lo < 0 || lo > hi || hi > len(pool) || (hi-lo)%size != 0 {
			return fmt.Errorf("ngram_counts %v do not fit a pool of %d", counts, len(pool))
		}
		for at := lo; at < hi; at, id = at+size, id+1 {
			if id >= len(place) {
				return fmt.Errorf("%d ngram_indexes for more n-grams", len(place))
			}
			if key := gram(pool[at : at+size]); size >= shortest && size <= longest {
				if _, known := column[key]; !known {
					column[key] = place[id]
				}
			}
		}
	}
	words, err := tokens(x)
	if err != nil {
		return err
	}
	shape, rows, cols := []int{width}, 1, len(words)
	if x.Rank() == 2 {
		rows, cols = x.Shape()[0], x.Shape()[1]
		shape = []int{rows, width}
	}
	out, err := c.zeros(shape...)
	if err != nil {
		return err
	}
	if shortest < 1 || longest > len(counts) || skip < 0 {
		return fmt.Errorf("n-grams of %d to %d words, %d left out, with %d counts", shortest, longest, skip, len(counts))
	}
	for r := range rows {
		row := words[r*cols : (r+1)*cols]
		for size := shortest; size <= longest; size++ {
			for gap := 1; gap <= min(skip, cols)+1 && (gap == 1 || size > 1); gap++ {
				list := make([]string, size)
				for at := 0; at+gap*(size-1) < cols; at++ {
					for k := range list {
						list[k] = row[at+k*gap]
					}
					if p, ok := column[gram(list)]; ok {
						out[r*width+p]++
					}
				}
			}
		}
	}
	if err := weigh(n, out, width); err != nil {
		return err
	}
	return c.result(0, model.Float32, shape, out)
}

// weigh turns counts into what the attribute mode asks for.
func weigh(n *model.Node, out []float64, width int) error {
	mode := n.Str("mode", "TF")
	var weights []float32
	if a := n.Attr("weights"); a != nil {
		if weights = a.Floats; len(weights) < width {
			return fmt.Errorf("%d weights for %d columns", len(weights), width)
		}
	}
	for i, v := range out {
		if mode == "IDF" {
			v = min(v, 1)
		}
		if mode != "TF" && weights != nil {
			v *= float64(weights[i%width])
		}
		out[i] = v
	}
	if mode != "TF" && mode != "IDF" && mode != "TFIDF" {
		return fmt.Errorf("mode %q: %w", mode, model.ErrUnsupported)
	}
	return nil
}
