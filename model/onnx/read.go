package onnx

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/wattshed/wattshed/model"
)

// Limits on what a file may make this package do. Real models stay far below them.
const (
	maxDepth   = 64      // graphs within graphs
	maxObjects = 1 << 23 // nodes, attributes, values and tensors together
	maxRank    = 64
	maxOpset   = 28 // of the default domain
)

// File is an open ONNX file. Its graph's weights are windows of the file's memory map.
type File struct {
	graph *model.Graph
	src   *source
}

// Open maps the file and parses its structure; weights are not touched. External data is looked for in the file's
// folder. Errors name what is wrong, with its value; one of a file that is cut off wraps model.ErrTruncated
// when that happened after it was mapped.
func Open(path string) (*File, error) {
	mem, err := model.MapFile(path)
	if err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	s := &source{mem: mem, dir: filepath.Dir(path)}
	var g *model.Graph
	err = mem.Guard(func() (e error) { g, e = s.model(mem.Bytes()); return e })
	if err != nil {
		s.close()
		return nil, fmt.Errorf("onnx: %s: %w", path, err)
	}
	return &File{g, s}, nil
}

// Graph returns the model. It is usable, with its clones, until Close.
func (f *File) Graph() *model.Graph { return f.graph }

// Close unmaps the file and its external data. Tensors of the graph that lie in the file give an error from then on;
// byte slices taken from them must not be used any more.
func (f *File) Close() error { return f.src.close() }

// Load opens the file for the rest of the life of the process: Open without a Close.
func Load(path string) (*model.Graph, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	return f.Graph(), nil
}

// Options are the settings of Parse.
type Options struct {
	Dir string // the folder of external data; a model that has some is refused without
}

// Parse reads a model in memory. Tensors are windows of b, which must not be changed afterwards.
func Parse(b []byte, o Options) (*model.Graph, error) {
	s := &source{dir: o.Dir}
	g, err := s.model(b)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("onnx: %w", err)
	}
	return g, nil
}

// ParseTensor reads a TensorProto in memory, such as the .pb files of the ONNX node tests, and returns it with its
// name. External data is refused.
func ParseTensor(b []byte) (*model.Tensor, string, error) {
	s := &source{}
	t, x, err := s.tensor(b)
	if err != nil {
		return nil, "", fmt.Errorf("onnx: %w", err)
	}
	return t, x.Name, nil
}

// source is where the bytes of a model come from.
type source struct {
	mem      *model.Mapping // nil for bytes in memory
	dir      string
	external map[string]*model.Mapping
	objects  int
	depth    int
}

func (s *source) close() error {
	var err error
	if s.mem != nil {
		err = s.mem.Close()
	}
	for _, m := range s.external {
		err = errors.Join(err, m.Close())
	}
	return err
}

// count notes one more object and fails when there are too many.
func (s *source) count() error {
	if s.objects++; s.objects > maxObjects {
		return fmt.Errorf("more than %d nodes, attributes, values and tensors", maxObjects)
	}
	return nil
}

func (s *source) model(b []byte) (*model.Graph, error) {
	if len(b) == 0 {
		return nil, errors.New("the file is empty")
	}
	info := &model.Info{}
	var g *model.Graph
	err := each(b, func(f field) error {
		var err error
		switch f.num {
		case 1:
			info.IRVersion = f.int()
		case 2:
			info.Producer = f.str()
		case 3:
			info.ProducerVersion = f.str()
		case 4:
			info.Domain = f.str()
		case 5:
			info.Version = f.int()
		case 6:
			info.Doc = f.str()
		case 7:
			if g != nil {
				return errors.New("the model has two graphs")
			}
			g, err = s.graph(f.bytes())
		case 8:
			var o model.Opset
			o, err = opset(f.bytes())
			info.Opsets = append(info.Opsets, o)
		case 14:
			info.Meta, err = addKV(info.Meta, f)
		case 25:
			var fn *model.Function
			if fn, err = s.function(f.bytes()); err != nil {
				return err
			}
			info.Functions = append(info.Functions, fn)
		default:
			info.Extra = append(info.Extra, f.rec...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, errors.New("no graph: this is not an ONNX model")
	}
	g.Model = info
	for _, o := range info.Opsets {
		if (o.Domain == "" || o.Domain == "ai.onnx") && (o.Version < 1 || o.Version > maxOpset) {
			return nil, fmt.Errorf("opset %d: %w: 1 to %d are read", o.Version, model.ErrUnsupported, maxOpset)
		}
	}
	return g, nil
}

func opset(b []byte) (model.Opset, error) {
	var o model.Opset
	err := each(b, func(f field) error {
		switch f.num {
		case 1:
			o.Domain = f.str()
		case 2:
			o.Version = f.int()
		}
		return nil
	})
	return o, err
}

func addKV(to []model.KV, f field) ([]model.KV, error) {
	var kv model.KV
	err := each(f.bytes(), func(f field) error {
		switch f.num {
		case 1:
			kv.Key = f.str()
		case 2:
			kv.Value = f.str()
		}
		return nil
	})
	return append(to, kv), err
}

func (s *source) function(b []byte) (*model.Function, error) {
	fn := &model.Function{}
	err := each(b, func(f field) error {
		var err error
		switch f.num {
		case 1:
			fn.Name = f.str()
		case 4:
			fn.Inputs = append(fn.Inputs, f.str())
		case 5:
			fn.Outputs = append(fn.Outputs, f.str())
		case 6:
			fn.Attrs = append(fn.Attrs, f.str())
		case 7:
			var n *model.Node
			n, err = s.node(f.bytes())
			fn.Nodes = append(fn.Nodes, n)
		case 8:
			fn.Doc = f.str()
		case 9:
			var o model.Opset
			o, err = opset(f.bytes())
			fn.Opsets = append(fn.Opsets, o)
		case 10:
			fn.Domain = f.str()
		case 11:
			var a model.Attr
			a, err = s.attr(f.bytes())
			fn.Defaults = append(fn.Defaults, a)
		case 12:
			var v *model.Value
			v, err = s.value(f.bytes())
			fn.Values = append(fn.Values, v)
		case 13:
			fn.Overload = f.str()
		case 14:
			fn.Meta, err = addKV(fn.Meta, f)
		default:
			fn.Extra = append(fn.Extra, f.rec...)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", fn.Name, err)
	}
	return fn, s.count()
}
