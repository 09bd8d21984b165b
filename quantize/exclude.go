package quantize

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// excludedBy begins the reason of a weight that the settings leave.
const excludedBy = "excluded by "

// readerExcluded ends the reason of a weight that is left since a node that reads it is.
const readerExcluded = ", which is excluded"

// checkExclude refuses patterns that path.Match cannot read.
func checkExclude(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("quantize: exclude %q: %w", pattern, err)
		}
	}
	return nil
}

// excludes returns which pattern names the node: by its name, its operator, or a value that it reads or makes; or "".
func excludes(patterns []string, n *model.Node) string {
	return named(patterns, slices.Concat([]string{n.Name, n.Op}, n.Inputs, n.Outputs))
}

// excludesWeight returns which pattern names the weight or one of the nodes that read it, or "".
func excludesWeight(patterns []string, w *model.Weight) string {
	if by := named(patterns, []string{w.Name, w.Value}); by != "" {
		return by
	}
	for _, u := range w.Uses {
		if by := excludes(patterns, u.Node); by != "" {
			return by
		}
	}
	return ""
}

// named returns the pattern that one of the names matches, or is.
func named(patterns, names []string) string {
	for _, pattern := range patterns {
		for _, name := range names {
			if ok, _ := path.Match(pattern, name); name != "" && (ok || pattern == name) {
				return pattern
			}
		}
	}
	return ""
}

// Unmatched returns the patterns that name nothing in any of the graphs and their bodies: no node, operator, value or weight.
func Unmatched(patterns []string, graphs ...*model.Graph) []string {
	names := Names(graphs...)
	var lost []string
	for _, pattern := range patterns {
		if _, exact := slices.BinarySearch(names, pattern); !exact && named([]string{pattern}, names) == "" && !slices.Contains(lost, pattern) {
			lost = append(lost, pattern)
		}
	}
	return lost
}

// Names lists all that exclude can name in the graphs and their bodies, sorted, each once.
func Names(graphs ...*model.Graph) []string {
	seen := map[string]bool{}
	var visit func(g *model.Graph)
	visit = func(g *model.Graph) {
		for _, n := range g.Nodes {
			for _, name := range slices.Concat([]string{n.Name, n.Op}, n.Inputs, n.Outputs) {
				seen[name] = true
			}
			for _, sub := range n.Subgraphs() {
				visit(sub)
			}
		}
	}
	for _, g := range graphs {
		visit(g)
		for _, w := range g.Weights() {
			seen[w.Name], seen[w.Value] = true, true
		}
	}
	delete(seen, "")
	return slices.Sorted(maps.Keys(seen))
}

// Literal returns the pattern that matches name alone.
func Literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// included are the notes of the weights that the settings do not exclude: the share of weights that change is theirs.
func included(notes []model.Note) []model.Note {
	return slices.DeleteFunc(slices.Clone(notes), func(n model.Note) bool {
		return strings.HasPrefix(n.Reason, excludedBy) || strings.HasSuffix(n.Reason, readerExcluded)
	})
}
