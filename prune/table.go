package prune

import (
	"fmt"
	"strconv"
	"strings"
)

// Criteria are the criteria by their recipe word.
var Criteria = map[string]Criterion{
	"magnitude": Magnitude{},
}

// ParsePattern returns the pattern of a recipe word: "unstructured", "global", or N:M such as "2:4".
func ParsePattern(word string) (Pattern, error) {
	switch word {
	case "", "unstructured":
		return Unstructured{}, nil
	case "global":
		return Global{}, nil
	}
	if n, m, ok := strings.Cut(word, ":"); ok {
		a, err1 := strconv.Atoi(n)
		b, err2 := strconv.Atoi(m)
		if err1 == nil && err2 == nil && a > 0 && b > a && b <= 64 {
			return NM{a, b}, nil
		}
	}
	return nil, fmt.Errorf("prune: pattern %q: want unstructured, global or N:M such as 2:4", word)
}
