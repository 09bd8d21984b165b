package onnx

import (
	"errors"
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// tensorProto is a TensorProto whose data has been found but not read.
type tensorProto struct {
	dtype    model.DType
	dims     []int
	raw      []byte
	hasRaw   bool
	location int64
	external []model.KV
	extra    model.TensorExtra
	typed    [12]int // elements in each of the typed data fields, by field number
}

// tensor reads a TensorProto. Values are left in place, or decoded when they are first used.
func (s *source) tensor(b []byte) (*model.Tensor, model.TensorExtra, error) {
	var p tensorProto
	if err := each(b, p.field); err != nil {
		_ = each(b, func(f field) error { // the name comes late in the message
			if f.num == 8 {
				p.extra.Name = string(f.b)
			}
			return nil
		})
		return nil, p.extra, err
	}
	if err := s.count(); err != nil {
		return nil, p.extra, err
	}
	t, err := s.values(&p, b)
	return t, p.extra, err
}

func (p *tensorProto) field(f field) error {
	var err error
	switch f.num {
	case 1:
		err = f.varints(func(v uint64) error {
			if len(p.dims) == maxRank {
				return fmt.Errorf("a shape of more than %d dimensions", maxRank)
			}
			if int64(v) < 0 || uint64(int(v)) != v {
				return fmt.Errorf("dimension %d of its shape is %d", len(p.dims), int64(v))
			}
			p.dims = append(p.dims, int(v))
			return nil
		})
	case 2:
		p.dtype, err = dtype(f.int())
	case 4:
		b, e := f.fixed(4)
		p.typed[4], err = p.typed[4]+len(b)/4, e
	case 10:
		b, e := f.fixed(8)
		p.typed[10], err = p.typed[10]+len(b)/8, e
	case 5, 7, 11:
		p.typed[f.num] += f.countVarints()
	case 6:
		p.typed[6]++
	case 8:
		p.extra.Name = f.str()
	case 9:
		p.raw, p.hasRaw = f.bytes(), true
	case 12:
		p.extra.Doc = f.str()
	case 13:
		p.external, err = addKV(p.external, f)
	case 14:
		p.location = f.int()
	case 16:
		p.extra.Meta, err = addKV(p.extra.Meta, f)
	default:
		p.extra.Extra = append(p.extra.Extra, f.rec...)
	}
	return err
}

func (s *source) values(p *tensorProto, b []byte) (*model.Tensor, error) {
	if p.dims == nil {
		p.dims = []int{}
	}
	n, err := model.NumElements(p.dims)
	if err != nil {
		return nil, err
	}
	if p.dtype == model.Invalid {
		return nil, errors.New("it has no element type")
	}
	if n > 1<<54 {
		return nil, fmt.Errorf("shape %v of %s is too large", p.dims, p.dtype)
	}
	if p.location == 1 {
		return s.externalTensor(p)
	}
	if p.location != 0 {
		return nil, fmt.Errorf("data location %d: %w", p.location, model.ErrUnsupported)
	}
	if p.hasRaw && (len(p.raw) > 0 || n == 0) {
		if p.dtype == model.String {
			return nil, errors.New("a string tensor has raw data")
		}
		return s.window(s.mem, p.dtype, p.dims, p.raw)
	}
	num, per := typedField(p.dtype)
	want := n * per
	if bits := p.dtype.Bits(); bits > 0 && bits < 8 {
		want = p.dtype.Size(n)
	}
	if have := p.typed[num]; have != want {
		return nil, fmt.Errorf("%s tensor of shape %v needs %d values in field %d, has %d", p.dtype, p.dims, want, num, have)
	}
	dt := p.dtype
	load := func() ([]byte, []string, error) { return decode(b, dt, n) }
	if s.mem != nil {
		return s.mem.Lazy(p.dtype, p.dims, load)
	}
	return model.NewLazy(p.dtype, p.dims, load)
}

// window returns a tensor over b, a part of mem, or ordinary memory where mem is nil.
func (s *source) window(mem *model.Mapping, dt model.DType, dims []int, b []byte) (*model.Tensor, error) {
	if mem != nil {
		return mem.Tensor(dt, dims, b)
	}
	if b == nil {
		b = []byte{}
	}
	return model.NewTensor(dt, dims, b)
}

// typedField returns the number of the TensorProto field that holds values of dt outside raw_data, and
// how many entries of it make one element.
func typedField(dt model.DType) (num, per int) {
	switch dt {
	case model.Float32:
		return 4, 1
	case model.Complex64:
		return 4, 2
	case model.Float64:
		return 10, 1
	case model.Complex128:
		return 10, 2
	case model.Int64:
		return 7, 1
	case model.Uint32, model.Uint64:
		return 11, 1
	case model.String:
		return 6, 1
	}
	return 5, 1 // int32_data: everything of at most 32 bits; below 8 bits an entry is a packed byte
}

// decode reads the typed data field of a TensorProto whose number of values has been checked.
func decode(b []byte, dt model.DType, n int) ([]byte, []string, error) {
	num, _ := typedField(dt)
	if dt == model.String {
		strs := make([]string, 0, n)
		err := each(b, func(f field) error {
			if f.num == 6 {
				strs = append(strs, f.str())
			}
			return nil
		})
		return nil, strs, err
	}
	out := make([]byte, 0, dt.Size(n))
	width := max(dt.Bits()/8, 1)
	err := each(b, func(f field) error {
		if int(f.num) != num {
			return nil
		}
		if num == 4 || num == 10 {
			v, err := f.fixed(4 + 4*(num/10))
			out = append(out, v...)
			return err
		}
		return f.varints(func(v uint64) error {
			for i := 0; i < width; i++ {
				out = append(out, byte(v>>(8*i)))
			}
			return nil
		})
	})
	return out, nil, err
}
