package onnx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/wattshed/wattshed/model"
)

// Layout says where the tensors of a model lie in the files that are being written.
type Layout struct {
	ModelBytes, DataBytes int64 // sizes of the model's file and of its external data, 0 for none
	places                map[*model.Tensor][]place
	header                []place // the bytes between the tensors, in order
	order                 []*model.Tensor
	files                 [2]*os.File
	written               [2]atomic.Int64 // bytes since the files were opened
}

// place is a stretch of one of the two files.
type place struct {
	data bool // in the external data
	at   int64
	b    []byte // what is written there, nil for the bytes of a tensor
}

// Plan lays out g as SaveStream would write it. Bytes of tensors are not touched.
func Plan(g *model.Graph, o WriteOptions, location string) (*Layout, error) {
	e := encoder{}
	if o.External || tooLarge(g) {
		e.external = &layout{location: location, seen: map[*model.Tensor]int64{}}
	}
	m, err := e.model(g)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	if m.size >= 1<<31 {
		return nil, fmt.Errorf("onnx: the model takes %d bytes besides its external data; protobuf stops at %d", m.size, int64(1)<<31)
	}
	l := &Layout{ModelBytes: m.size, places: map[*model.Tensor][]place{}}
	at := int64(0)
	for _, p := range m.parts {
		if p.t == nil {
			l.header = append(l.header, place{at: at, b: p.b})
			at += int64(len(p.b))
			continue
		}
		l.put(p.t, place{at: at})
		at += int64(p.t.ByteSize())
	}
	if e.external != nil {
		l.DataBytes = e.external.end
		for _, t := range e.external.tensors {
			l.put(t, place{data: true, at: e.external.seen[t]})
		}
	}
	return l, nil
}

func (l *Layout) put(t *model.Tensor, p place) {
	if l.places[t] == nil {
		l.order = append(l.order, t)
	}
	l.places[t] = append(l.places[t], p)
}

// WriteAt writes b as the bytes of t from off on, wherever t stands in the model. It may be called from several
// goroutines at once.
func (l *Layout) WriteAt(t *model.Tensor, b []byte, off int64) error {
	if off < 0 || off+int64(len(b)) > int64(t.ByteSize()) {
		return fmt.Errorf("onnx: bytes %d to %d of a tensor of %d bytes", off, off+int64(len(b)), t.ByteSize())
	}
	for _, p := range l.places[t] {
		i := 0
		if p.data {
			i = 1
		}
		if _, err := l.files[i].WriteAt(b, p.at+off); err != nil {
			return fmt.Errorf("onnx: %w", err)
		}
		if n := l.written[i].Add(int64(len(b))); n/flushBytes != (n-int64(len(b)))/flushBytes {
			flush(l.files[i])
		}
	}
	return nil
}

// flushBytes are written before the system is asked to bring them to the disk: it works at that while more is made.
const flushBytes = 16 << 20

// CopyTo writes the files as they are now to w, the model and then its external data.
func (l *Layout) CopyTo(w io.Writer) error {
	for i, size := range []int64{l.ModelBytes, l.DataBytes} {
		if size == 0 {
			continue
		}
		flush(l.files[i])
		b := make([]byte, 1<<18)
		n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{io.NewSectionReader(l.files[i], 0, size)}, b)
		if err == nil && n < size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("onnx: %w", err)
		}
	}
	return nil
}

// Replace writes text of the same length over old, which stands once between the tensors of the model's file: for what is
// only known when the tensors are written.
func (l *Layout) Replace(old, text string) error {
	at := int64(-1)
	for _, p := range l.header {
		i := bytes.Index(p.b, []byte(old))
		if i < 0 {
			continue
		}
		if at >= 0 || bytes.Contains(p.b[i+1:], []byte(old)) {
			return errors.New("onnx: text to replace stands there twice")
		}
		at = p.at + int64(i)
	}
	if at < 0 || len(text) != len(old) || old == "" {
		return fmt.Errorf("onnx: text of %d bytes to replace by %d bytes: want the same length, and to be there", len(old), len(text))
	}
	if _, err := l.files[0].WriteAt([]byte(text), at); err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	return nil
}

// Tensors returns the tensors of the model in the order in which they are laid out.
func (l *Layout) Tensors() []*model.Tensor { return l.order }

// SaveStream writes the model to path like Save, the structure first and then the bytes of its tensors, which fill
// writes with Layout.WriteAt, in any order: g's tensors need no bytes of their own. The files have their names only when
// fill has returned nil and everything is on disk; after any error nothing is left.
func SaveStream(path string, g *model.Graph, o WriteOptions, fill func(*Layout) error) (err error) {
	l, err := Plan(g, o, filepath.Base(path)+".data")
	if err != nil {
		return err
	}
	if err := notSource(path, g, l.DataBytes > 0); err != nil {
		return err
	}
	parts := make([]*partial, 0, 2)
	open := func(path string, size int64) error {
		p, err := createPartial(path)
		if err != nil {
			return fmt.Errorf("onnx: %w", err)
		}
		parts = append(parts, p)
		l.files[len(parts)-1] = p.file
		if err := reserve(p.file, size); err != nil {
			return fmt.Errorf("onnx: %s: %d bytes: %w", path, size, err)
		}
		return nil
	}
	defer func() {
		for _, p := range parts {
			p.discard()
		}
	}()
	if err := open(path, l.ModelBytes); err != nil {
		return err
	}
	if l.DataBytes > 0 {
		if err := open(path+".data", l.DataBytes); err != nil {
			return err
		}
	}
	for _, p := range l.header {
		if _, err := l.files[0].WriteAt(p.b, p.at); err != nil {
			return fmt.Errorf("onnx: %w", err)
		}
	}
	if err := fill(l); err != nil {
		return fmt.Errorf("%w (writing %s)", err, path)
	}
	for i := len(parts) - 1; i >= 0; i-- { // the model, which names the data, last
		if err := parts[i].commit(); err != nil {
			return err
		}
	}
	return nil
}

// notSource refuses to replace a file that weights of the graph are mapped from.
func notSource(path string, g *model.Graph, external bool) error {
	targets := []string{path}
	if external {
		targets = append(targets, path+".data")
	}
	var err error
	seen := map[*model.Mapping]bool{}
	eachTensor(g, func(t *model.Tensor) {
		m := t.Mapping()
		if m == nil || seen[m] {
			return
		}
		seen[m] = true
		for _, target := range targets {
			if m.SameFile(target) {
				err = fmt.Errorf("onnx: %s: %w: write to another name", target, ErrSource)
			}
		}
	})
	return err
}

// reserve gives the file its size, with the disk blocks for it where the system can, so that a full disk is found out
// before any work.
func reserve(f *os.File, size int64) error {
	if err := allocate(f, size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return f.Truncate(size)
}
