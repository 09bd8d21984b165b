package onnx

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// externalTensor finds the bytes of a tensor in another file of the model's folder.
func (s *source) externalTensor(p *tensorProto) (*model.Tensor, error) {
	if p.dtype == model.String {
		return nil, errors.New("a string tensor has external data")
	}
	var location string
	offset, length := uint64(0), uint64(0)
	hasLength := false
	for _, kv := range p.external {
		var err error
		switch kv.Key {
		case "location":
			location = kv.Value
		case "offset":
			offset, err = strconv.ParseUint(kv.Value, 10, 63)
		case "length":
			length, err = strconv.ParseUint(kv.Value, 10, 63)
			hasLength = true
		}
		if err != nil {
			return nil, fmt.Errorf("external data: %s %q is no number", kv.Key, kv.Value)
		}
	}
	mem, err := s.externalFile(location)
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	size := uint64(len(mem.Bytes()))
	if offset > size {
		return nil, fmt.Errorf("external data: offset %d is behind the end of %q, which has %d bytes", offset, location, size)
	}
	if !hasLength {
		n, _ := model.NumElements(p.dims)
		length = min(uint64(p.dtype.Size(n)), size-offset)
	}
	if length > size-offset {
		return nil, fmt.Errorf("external data: offset %d and length %d exceed the %d bytes of %q", offset, length, size, location)
	}
	return s.window(mem, p.dtype, p.dims, mem.Bytes()[offset:offset+length:offset+length])
}

// externalFile maps the file that location names inside the model's folder, once.
func (s *source) externalFile(location string) (*model.Mapping, error) {
	if s.dir == "" {
		return nil, fmt.Errorf("location %q: a model in memory has no folder", location)
	}
	if m := s.external[location]; m != nil {
		return m, nil
	}
	path, err := insideFolder(s.dir, location)
	if err != nil {
		return nil, err
	}
	m, err := model.MapFile(path)
	if err != nil {
		return nil, err
	}
	if s.external == nil {
		s.external = map[string]*model.Mapping{}
	}
	s.external[location] = m
	return m, nil
}

// insideFolder returns the path of location in dir. It refuses absolute paths, "..", and symbolic links that lead
// out of dir.
func insideFolder(dir, location string) (string, error) {
	for _, part := range strings.FieldsFunc(location, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part == ".." {
			return "", fmt.Errorf("location %q leads out of the model's folder", location)
		}
	}
	if !filepath.IsLocal(filepath.FromSlash(location)) || strings.HasPrefix(location, `\`) {
		return "", fmt.Errorf("location %q is not a path inside the model's folder", location)
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	path, err := filepath.EvalSymlinks(filepath.Join(root, filepath.FromSlash(location)))
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("location %q is a link out of the model's folder", location)
	}
	return path, nil
}
