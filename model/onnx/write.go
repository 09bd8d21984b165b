package onnx

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/wattshed/wattshed/model"
)

// Sizes that decide where the bytes of weights go.
const (
	maxInline     = 3 << 29 // 1.5 GB: protobuf stops at 2 GiB
	minExternal   = 1024    // smaller tensors stay in the model file
	externalAlign = 4096    // so that tensors can be mapped
)

// WriteOptions are the settings of Write and Save. The zero value writes one file as long as the weights have at
// most 1.5 GB.
type WriteOptions struct {
	External bool // put initializers of at least 1 KiB into a second file, whatever their size

	// Write only: where external data goes and the name that the model gives it. Save sets both.
	Data     io.Writer
	Location string
}

// Write writes the model. The structure is encoded in memory, weights are streamed. The operator sets are those of
// the graph; the IR version is raised only where an element type needs it. The same graph gives the same bytes.
func Write(w io.Writer, g *model.Graph, o WriteOptions) error {
	e := encoder{}
	if o.External || tooLarge(g) {
		if o.Data == nil || o.Location == "" {
			return errors.New("onnx: the weights need a file of their own, and there is none to write to")
		}
		e.external = &layout{location: o.Location, seen: map[*model.Tensor]int64{}}
	}
	m, err := e.model(g)
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	if m.size >= 1<<31 {
		return fmt.Errorf("onnx: the model takes %d bytes besides its external data; protobuf stops at %d", m.size, int64(1)<<31)
	}
	if err := e.external.write(o.Data); err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	bw := bufio.NewWriterSize(w, 1<<16)
	for _, p := range m.parts {
		b := p.b
		if p.t != nil {
			if b, err = p.t.Bytes(); err != nil {
				return fmt.Errorf("onnx: %w", err)
			}
		}
		if _, err := bw.Write(b); err != nil {
			return fmt.Errorf("onnx: %w", err)
		}
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	return nil
}

// tooLarge reports whether the weights exceed what one file may hold.
func tooLarge(g *model.Graph) bool {
	total := 0
	eachTensor(g, func(t *model.Tensor) { total += t.ByteSize() })
	return total > maxInline
}

// eachTensor calls fn for every tensor of the graph, its bodies and its functions.
func eachTensor(g *model.Graph, fn func(t *model.Tensor)) {
	for _, name := range g.Initializers() {
		fn(g.Initializer(name))
	}
	eachAttrTensor(g.Nodes, fn)
	if g.Model != nil {
		for _, f := range g.Model.Functions {
			eachAttrTensor(f.Nodes, fn)
		}
	}
}

func eachAttrTensor(nodes []*model.Node, fn func(t *model.Tensor)) {
	for _, n := range nodes {
		for i := range n.Attrs {
			if t := n.Attrs[i].T; t != nil {
				fn(t)
			}
			for _, t := range n.Attrs[i].Tensors {
				fn(t)
			}
		}
		for _, sub := range n.Subgraphs() {
			eachTensor(sub, fn)
		}
	}
}

// layout places tensors in an external data file, each once, in the order in which they come.
type layout struct {
	location string
	seen     map[*model.Tensor]int64
	tensors  []*model.Tensor
	end      int64
}

// place returns the offset of t, or false when it stays inside the model. A nil layout takes nothing.
func (l *layout) place(t *model.Tensor) (int64, bool) {
	if l == nil || t.DType() == model.String || t.ByteSize() < minExternal {
		return 0, false
	}
	if off, ok := l.seen[t]; ok {
		return off, true
	}
	off := align(l.end)
	l.seen[t] = off
	l.tensors = append(l.tensors, t)
	l.end = off + int64(t.ByteSize())
	return off, true
}

func align(n int64) int64 { return (n + externalAlign - 1) &^ (externalAlign - 1) }

func (l *layout) write(w io.Writer) error {
	if l == nil {
		return nil
	}
	var pad [externalAlign]byte
	at := int64(0)
	for _, t := range l.tensors {
		if _, err := w.Write(pad[:align(at)-at]); err != nil {
			return err
		}
		b, err := t.Bytes()
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		at = align(at) + int64(len(b))
	}
	return nil
}

// AppendTensor appends t as a TensorProto called name, the form of the .pb files of the ONNX node tests.
func AppendTensor(b []byte, t *model.Tensor, name string) ([]byte, error) {
	m, err := (&encoder{}).tensor(t, model.TensorExtra{Name: name}, nil)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	for _, p := range m.parts {
		raw := p.b
		if p.t != nil {
			if raw, err = p.t.Bytes(); err != nil {
				return nil, fmt.Errorf("onnx: %w", err)
			}
		}
		b = append(b, raw...)
	}
	return b, nil
}
