package task

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// WriteNPZ writes arrays as a .npz file (stored, in the order of their names): the same arrays give the same bytes. Elements of a
// type that NumPy has not are an error.
func WriteNPZ(w io.Writer, arrays map[string]*model.Tensor) error {
	z := zip.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		t := arrays[name]
		descr := ""
		for d, dtype := range npyTypes {
			if dtype == t.DType() {
				descr = d
			}
		}
		b, err := t.Bytes()
		if err == nil && descr == "" {
			err = fmt.Errorf("NumPy has no %s: %w", t.DType(), model.ErrUnsupported)
		}
		var f io.Writer
		if err == nil {
			f, err = z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		}
		if err == nil {
			_, err = f.Write(append(npyHeader(descr, t.Shape()), b...))
		}
		if err != nil {
			return fmt.Errorf("task: array %q: %w", name, err)
		}
	}
	return z.Close()
}

// npyHeader is the beginning of an array in format 1.0; elements start at a multiple of 64 bytes.
func npyHeader(descr string, shape []int) []byte {
	var s strings.Builder
	for _, d := range shape {
		fmt.Fprintf(&s, "%d, ", d)
	}
	dims := s.String()
	if len(shape) != 1 {
		dims = strings.TrimSuffix(dims, ", ")
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims)
	text += strings.Repeat(" ", 63-(len(npyMagic)+4+len(text))%64) + "\n"
	b := binary.LittleEndian.AppendUint16(append([]byte(npyMagic), 1, 0), uint16(len(text)))
	return append(b, text...)
}
