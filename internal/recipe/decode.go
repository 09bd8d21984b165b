package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Caps of a recipe file. A recipe is written by hand; what is larger or deeper is none.
const (
	maxRecipe = 64 << 10 // bytes
	maxDepth  = 32       // of nested lists and maps
)

// position is where a key stands in the file, counted from 1.
type position struct{ line, column int }

func positionOf(n ast.Node) position {
	if n == nil {
		return position{}
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return position{t.Position.Line, t.Position.Column}
	}
	return position{}
}

// decoder fills a Recipe from a syntax tree. It knows the place of every key and expands nothing: anchors, aliases,
// tags and merge keys are refused.
type decoder struct {
	places map[string]position // by path: target.threads, variants[0].name
}

// decode reads the recipe in b into rec. Faults are of type *Error without a name.
func decode(b []byte, rec *Recipe) (d *decoder, err error) {
	d = &decoder{places: map[string]position{}}
	defer func() {
		if p := recover(); p != nil { // of the YAML library on hostile input
			err = &Error{Reason: fmt.Sprintf("not YAML: %v", p)}
		}
	}()
	if line := deepLine(b); line > 0 {
		return d, &Error{Line: line, Column: 1, Reason: fmt.Sprintf("lists and maps nested deeper than %d", maxDepth)}
	}
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return d, syntaxError(err)
	}
	var body ast.Node
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			return d, d.fault(positionOf(doc.Body), "a recipe is one document, here a second one starts")
		default:
			body = doc.Body
		}
	}
	if body == nil {
		return d, &Error{Reason: "the recipe is empty"}
	}
	return d, d.value(body, reflect.ValueOf(rec).Elem(), "")
}

func (d *decoder) fault(p position, format string, args ...any) *Error {
	return &Error{Line: p.line, Column: p.column, Reason: fmt.Sprintf(format, args...)}
}

func syntaxError(err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return &Error{Reason: err.Error()}
	}
	out := &Error{Reason: "not YAML: " + ye.GetMessage()}
	if t := ye.GetToken(); t != nil && t.Position != nil {
		out.Line, out.Column = t.Position.Line, t.Position.Column
	}
	return out
}

// deepLine returns the first line on which brackets or list dashes nest deeper than maxDepth, 0 when none does. It
// counts every bracket, those in strings too, so that it bounds what the parser will recurse into.
func deepLine(b []byte) int {
	depth := 0
	for i, line := range bytes.Split(b, []byte("\n")) {
		marks := 0
		for _, field := range bytes.Fields(line) {
			if len(field) != 1 || !strings.ContainsRune("-?:", rune(field[0])) {
				break
			}
			marks++
		}
		for _, c := range line {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			if depth+marks > maxDepth {
				return i + 1
			}
		}
		indent := len(line) - len(bytes.TrimLeft(line, " "))
		if indent > 4*maxDepth && len(bytes.TrimSpace(line)) > 0 && depth == 0 {
			return i + 1
		}
	}
	return 0
}

// value decodes n into v, which stands at path.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) error {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.DirectiveNode, *ast.MergeKeyNode, *ast.MappingKeyNode:
		return d.fault(positionOf(n), "%sanchors, aliases, tags and complex keys are no part of a recipe", prefix(path))
	case *ast.NullNode:
		return d.fault(positionOf(n), "%shas no value", prefix(path))
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(n, v.Elem(), path)
	case reflect.Struct:
		return d.mapping(n, path, func(key string, at position) (reflect.Value, error) { return d.field(v, path, key, at) }, nil)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		return d.mapping(n, path, func(string, position) (reflect.Value, error) { return reflect.New(v.Type().Elem()).Elem(), nil },
			func(key string, x reflect.Value) { v.SetMapIndex(reflect.ValueOf(key), x) })
	case reflect.Slice:
		return d.list(n, v, path)
	}
	return d.scalar(n, v, path)
}

func prefix(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

// mapping decodes every entry of n: slot gives the place of a key's value, done is called with it where it is set.
func (d *decoder) mapping(n ast.Node, path string, slot func(string, position) (reflect.Value, error), done func(string, reflect.Value)) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return d.fault(positionOf(n), "%swant keys with values, not %s", prefix(path), describeNode(n))
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		at := positionOf(it.Key())
		key, err := d.key(it.Key(), path)
		if err != nil {
			return err
		}
		if seen[key] {
			return d.fault(at, "%skey %q is given twice", prefix(path), key)
		}
		seen[key] = true
		v, err := slot(key, at)
		if err != nil {
			return err
		}
		sub := join(path, key)
		d.places[sub] = at
		if err := d.value(it.Value(), v, sub); err != nil {
			return err
		}
		if done != nil {
			done(key, v)
		}
	}
	return nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *decoder) key(n ast.MapKeyNode, path string) (string, error) {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value, nil
	}
	if s, ok := n.(ast.ScalarNode); ok && !n.IsMergeKey() {
		return s.GetToken().Value, nil
	}
	return "", d.fault(positionOf(n), "%smerge keys and complex keys are no part of a recipe", prefix(path))
}

// field returns the field of the struct v that key names. An unknown key is an error with the nearest known one.
func (d *decoder) field(v reflect.Value, path, key string, at position) (reflect.Value, error) {
	known := keysOf(v.Type())
	if i, ok := known[key]; ok {
		return v.Field(i), nil
	}
	e := d.fault(at, "%sunknown key %q", prefix(path), key)
	e.Key = key
	if isLater(path, key) {
		e.Reason = fmt.Sprintf("%skey %q is not in this version", prefix(path), key)
	} else {
		e.Nearest = nearest(key, sortedKeys(known))
	}
	return reflect.Value{}, e
}

func (d *decoder) list(n ast.Node, v reflect.Value, path string) error {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		return d.fault(positionOf(n), "%swant a list, not %s", prefix(path), describeNode(n))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, item := range s.Values {
		sub := fmt.Sprintf("%s[%d]", path, i)
		if item == nil {
			return d.fault(positionOf(n), "%shas no value", prefix(sub))
		}
		d.places[sub] = positionOf(item)
		if err := d.value(item, v.Index(i), sub); err != nil {
			return err
		}
	}
	return nil
}

// scalar decodes a string, number or boolean.
func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) error {
	wrong := func(want string) error {
		return d.fault(positionOf(n), "%swant %s, not %s", prefix(path), want, describeNode(n))
	}
	switch v.Kind() {
	case reflect.String:
		s, ok := text(n)
		if !ok {
			return wrong("a text")
		}
		v.SetString(s)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return wrong("true or false")
		}
		v.SetBool(b.Value)
	case reflect.Int:
		x, ok := integer(n)
		if !ok || x < math.MinInt32 || x > math.MaxInt32 {
			return wrong("a whole number")
		}
		v.SetInt(x)
		return d.counted(n, x == 0, path)
	case reflect.Uint64:
		x, ok := integer(n)
		if !ok || x < 0 {
			return wrong("a whole number, 0 or more")
		}
		v.SetUint(uint64(x))
	case reflect.Float64:
		if x, ok := integer(n); ok {
			v.SetFloat(float64(x))
		} else if f, ok := n.(*ast.FloatNode); ok {
			v.SetFloat(f.Value)
		} else {
			return wrong("a number")
		}
		return d.counted(n, v.Float() == 0, path)
	case reflect.Interface: // a gate: its own parser judges the text, or the list of variants
		if list, ok := n.(*ast.SequenceNode); ok {
			var all []any
			for _, item := range list.Values {
				s, ok := text(item)
				if !ok {
					return wrong("a list of names")
				}
				all = append(all, s)
			}
			v.Set(reflect.ValueOf(all))
			return nil
		}
		if b, ok := n.(*ast.BoolNode); ok {
			v.Set(reflect.ValueOf(b.Value))
		} else if s, ok := text(n); ok {
			v.Set(reflect.ValueOf(s))
		} else {
			return wrong("a text")
		}
	}
	return nil
}

// counts are the keys whose value counts something that there must be some of. A zero stands for a key that was not given, so one that was
// given is refused. Of the others 0 says something: threads, limit, max_pairs, sequence, idle_seconds, smooth, alpha, threshold.
var counts = []string{"batch", "epochs", "max_length", "size", "resize", "n", "pairs", "precision", "max_seconds", "block_seconds", "inputs", "percentile", "samples", "group",
	"temperature", "learning_rate", "embedding", "hidden", "max_trials", "units", "keep"}

// counted refuses a zero where the key at path counts something.
func (d *decoder) counted(n ast.Node, zero bool, path string) error {
	if zero && slices.Contains(counts, path[strings.LastIndexByte(path, '.')+1:]) {
		return d.fault(positionOf(n), "%s0: want more than 0; without the key there is a default", prefix(path))
	}
	return nil
}

// text returns the text of a scalar; numbers and booleans as they are written.
func text(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func integer(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch x := i.Value.(type) {
	case int64:
		return x, true
	case uint64:
		return int64(x), x <= math.MaxInt64
	}
	return 0, false
}

func describeNode(n ast.Node) string {
	switch n := n.(type) {
	case ast.MapNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	default:
		t := n.GetToken()
		if t == nil {
			return "nothing"
		}
		if t.Type == token.SequenceEntryType {
			return "a list"
		}
		return fmt.Sprintf("%.40q", t.Value)
	}
}
