// Package conformance runs the ONNX operator tests on the native runtime and scores them by tier.
package conformance

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Case is one test: a small model with its inputs and the outputs that it must give. A value is a *model.Tensor, a
// sequence ([]*model.Tensor) or nil (an optional without a value).
type Case struct {
	Name            string
	Model           []byte
	Inputs, Outputs [][]byte // protobuf messages in the order of graph.input and graph.output
}

// maxCorpus bounds what is unpacked from an archive.
const maxCorpus = 256 << 20

// ReadCorpus unpacks the archive of tests at file (see testdata/PROVENANCE.md) into memory, sorted by name.
func ReadCorpus(file string) ([]*Case, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	byName := map[string]*Case{}
	tr := tar.NewReader(io.LimitReader(z, maxCorpus))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, h.Name, err)
		}
		parts := strings.Split(path.Clean(h.Name), "/")
		c := byName[parts[0]]
		if c == nil {
			c = &Case{Name: parts[0]}
			byName[parts[0]] = c
		}
		if err := c.add(parts[1:], b); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, h.Name, err)
		}
	}
	cases := make([]*Case, 0, len(byName))
	for _, c := range byName {
		cases = append(cases, c)
	}
	sort.Slice(cases, func(i, j int) bool { return cases[i].Name < cases[j].Name })
	return cases, nil
}

// add stores one file of the case.
func (c *Case) add(parts []string, b []byte) error {
	if len(parts) == 1 && parts[0] == "model.onnx" {
		c.Model = b
		return nil
	}
	if len(parts) != 2 || parts[0] != "test_data_set_0" {
		return fmt.Errorf("unexpected file")
	}
	kind, number, _ := strings.Cut(strings.TrimSuffix(parts[1], ".pb"), "_")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i > 1000 {
		return fmt.Errorf("unexpected file")
	}
	list := &c.Inputs
	if kind == "output" {
		list = &c.Outputs
	}
	for len(*list) <= i {
		*list = append(*list, nil)
	}
	(*list)[i] = b
	return nil
}

// kinds of ONNX TypeProto, by field number.
const (
	typeTensor   = 1
	typeSequence = 4
	typeOptional = 9
)

// decode reads the message that a value of the given declaration has in a test.
func decode(v *model.Value, b []byte) (any, error) {
	kind := typeTensor
	if v.Type.Raw != nil {
		if f, _, _, err := field(v.Type.Raw); err == nil {
			kind = f
		}
	}
	switch kind {
	case typeSequence:
		return decodeSequence(b)
	case typeOptional:
		return decodeOptional(b)
	}
	t, _, err := onnx.ParseTensor(b)
	return t, err
}

// decodeSequence reads a SequenceProto of tensors.
func decodeSequence(b []byte) (any, error) {
	seq := []*model.Tensor{}
	err := eachField(b, func(num int, data []byte) error {
		if num == 3 {
			t, _, err := onnx.ParseTensor(data)
			seq = append(seq, t)
			return err
		}
		return nil
	})
	return seq, err
}

// decodeOptional reads an OptionalProto.
func decodeOptional(b []byte) (any, error) {
	var out any
	err := eachField(b, func(num int, data []byte) (err error) {
		switch num {
		case 3:
			out, _, err = onnx.ParseTensor(data)
		case 5:
			out, err = decodeSequence(data)
		}
		return err
	})
	return out, err
}

// eachField calls f for the length-delimited fields of a protobuf message.
func eachField(b []byte, f func(num int, data []byte) error) error {
	for len(b) > 0 {
		num, data, rest, err := field(b)
		if err != nil {
			return err
		}
		if data != nil {
			if err := f(num, data); err != nil {
				return err
			}
		}
		b = rest
	}
	return nil
}

// field splits the first field off a protobuf message; data is nil unless it is length-delimited.
func field(b []byte) (num int, data, rest []byte, err error) {
	bad := fmt.Errorf("conformance: malformed protobuf message")
	key, n := uvarint(b)
	if n <= 0 {
		return 0, nil, nil, bad
	}
	b = b[n:]
	switch key & 7 {
	case 0:
		if _, n = uvarint(b); n <= 0 {
			return 0, nil, nil, bad
		}
		return int(key >> 3), nil, b[n:], nil
	case 2:
		size, n := uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return 0, nil, nil, bad
		}
		return int(key >> 3), b[n : n+int(size) : n+int(size)], b[n+int(size):], nil
	case 1, 5:
		w := 8
		if key&7 == 5 {
			w = 4
		}
		if len(b) >= w {
			return int(key >> 3), nil, b[w:], nil
		}
	}
	return 0, nil, nil, bad
}

func uvarint(b []byte) (uint64, int) {
	var v uint64
	for i, c := range b {
		if i == 10 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
