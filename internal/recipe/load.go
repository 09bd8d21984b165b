package recipe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/internal/tokenize"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Keys of metadata_props that let a model be scored on its own.
const (
	MetaTokenizer = "wattshed.tokenizer"  // tokenizer.json
	MetaLabels    = "wattshed.labels"     // JSON array of class names
	MetaMaxLength = "wattshed.max_length" // decimal
)

// source is the model a run starts from.
type source struct {
	name   string
	path   string // "" for a built-in model
	graph  *model.Graph
	bytes  int64
	sha256 string
	close  func() error
	raw    []byte // of a built-in model
}

// openModel opens the model of a recipe: a path or builtin:spam-lstm.
func openModel(spec, dir string, builtin fs.FS) (*source, error) {
	packed, err := builtinFile(wantModel, spec)
	if err != nil {
		return nil, err
	}
	if packed != "" {
		b, err := task.Unpack(builtin, packed)
		if err != nil {
			return nil, fmt.Errorf("recipe: model %q: %w", spec, err)
		}
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			return nil, fmt.Errorf("recipe: model %q: %w", spec, err)
		}
		sum := sha256.Sum256(b)
		return &source{name: "spam-lstm", graph: g, bytes: int64(len(b)), sha256: hex.EncodeToString(sum[:]), raw: b,
			close: func() error { return nil }}, nil
	}
	path := resolve(dir, spec)
	f, err := onnx.Open(path)
	if err != nil {
		return nil, err
	}
	if err := model.CheckOperators(f.Graph()); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	size, sum, err := fileDigest(modelFiles(path, f.Graph())...)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &source{name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), path: path, graph: f.Graph(),
		bytes: size, sha256: sum, close: f.Close}, nil
}

func resolve(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// openData reads a data set: a .jsonl or .txt file, or builtin:spam and builtin:spam/SPLIT.
func openData(spec, dir, text, label string, builtin fs.FS) (*task.Dataset, error) {
	packed, err := builtinFile(wantData, spec)
	if err != nil {
		return nil, err
	}
	if packed != "" {
		if builtin == nil {
			return nil, fmt.Errorf("recipe: data %q: the built-in data cannot be read here", spec)
		}
		b, err := task.Unpack(builtin, packed)
		if err != nil {
			return nil, fmt.Errorf("recipe: data %q: %w", spec, err)
		}
		return task.ReadJSONL(bytes.NewReader(b), spec, text, label)
	}
	path := resolve(dir, spec)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	name := filepath.Base(path)
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl":
		return task.ReadJSONL(f, name, text, label)
	case ".txt":
		if label != "" {
			return nil, fmt.Errorf("recipe: data %q: a text file has no labels", spec)
		}
		return task.ReadText(f, name)
	}
	return nil, fmt.Errorf("recipe: data %q: want a .jsonl or .txt file", spec)
}

// openTokenizer reads the tokenizer of the recipe, or the one in the model's metadata; nil when there
// is none.
func openTokenizer(spec, dir string, g *model.Graph) (*tokenize.Tokenizer, error) {
	if spec != "" {
		path := resolve(dir, spec)
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		t, err := tokenize.Load(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return t, nil
	}
	if s, ok := metadata(g, MetaTokenizer); ok {
		t, err := tokenize.Load(strings.NewReader(s))
		if err != nil {
			return nil, fmt.Errorf("recipe: metadata %s: %w", MetaTokenizer, err)
		}
		return t, nil
	}
	return nil, nil
}

func metadata(g *model.Graph, key string) (string, bool) {
	if g.Model == nil {
		return "", false
	}
	for _, kv := range g.Model.Meta {
		if kv.Key == key {
			return kv.Value, true
		}
	}
	return "", false
}

// labelsOf returns the class names in the model's metadata, or nil.
func labelsOf(g *model.Graph) ([]string, error) {
	s, ok := metadata(g, MetaLabels)
	if !ok {
		return nil, nil
	}
	var labels []string
	if err := json.Unmarshal([]byte(s), &labels); err != nil {
		return nil, fmt.Errorf("recipe: metadata %s: %w", MetaLabels, err)
	}
	return labels, nil
}

// canceled returns the context's error wrapped with what was going on.
func canceled(ctx context.Context, what string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
