package onnx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/wattshed/wattshed/model"
)

// ErrSource is wrapped by the error of Save about a path that the graph's own weights are read from.
var ErrSource = errors.New("the file is the source of the model")

// Save writes the model to path: under a temporary name in the same folder, synced and renamed, so that path holds
// either what it held before or the whole model. External data, where there is any, goes to path + ".data" in the same
// way, first. It refuses to replace a file that weights of the graph are mapped from, and fails with model.ErrTruncated when such
// a file has lost its end.
func Save(path string, g *model.Graph, o WriteOptions) error {
	o.External = o.External || tooLarge(g)
	if err := notSource(path, g, o.External); err != nil {
		return err
	}
	main, err := createPartial(path)
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	defer main.discard()
	if !o.External {
		if err := writeWhole(main.file, g, WriteOptions{}); err != nil {
			return fmt.Errorf("%w (writing %s)", err, path)
		}
		return main.commit()
	}
	data, err := createPartial(path + ".data")
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	defer data.discard()
	o.Data, o.Location = io.Writer(data.file), filepath.Base(path)+".data"
	if err := writeWhole(main.file, g, o); err != nil {
		return fmt.Errorf("%w (writing %s)", err, path)
	}
	if err := data.commit(); err != nil {
		return err
	}
	return main.commit()
}

// writeWhole is Write of what is still there when it is written: a file that tensors are mapped from may have been truncated meanwhile.
func writeWhole(w io.Writer, g *model.Graph, o WriteOptions) error {
	files := g.Mappings()
	return model.Guard(func() []*model.Mapping { return files }, func() error {
		if err := Write(w, g, o); err != nil {
			return err
		}
		return model.Whole(files)
	})
}

// partial is a file under a temporary name.
type partial struct {
	file *os.File
	path string
	done bool
}

// createPartial refuses a path that is something else than a file: renaming over it would put a file in the place of a device.
func createPartial(path string) (*partial, error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file but %s", path, kindOf(st.Mode()))
	}
	sweep(path)
	for i := 0; ; i++ {
		name := path + "." + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(i) + ".partial"
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) && i < 1000 {
			continue
		}
		if err != nil {
			return nil, err
		}
		lock(f)
		return &partial{file: f, path: path}, nil
	}
}

// kindOf names what is not a regular file.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "a special file"
}

// commit syncs the file and gives it its name.
func (p *partial) commit() error {
	err := p.file.Sync()
	if e := p.file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(p.file.Name(), p.path)
	}
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	p.done = true
	return nil
}

// discard removes the file unless commit has succeeded.
func (p *partial) discard() {
	if !p.done {
		p.file.Close()
		os.Remove(p.file.Name())
	}
}
