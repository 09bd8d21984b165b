package task

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// Caps on arrays from outside.
const (
	maxArrayBytes  = 1 << 30  // of the elements of one file
	maxNPYHeader   = 64 << 10 // NumPy itself refuses more than 10,000 without being told to
	maxNPYRank     = 16       // half of NumPy's own limit
	npyMagic       = "\x93NUMPY"
	maxArchiveSize = 4 << 30
)

// npyTypes are the element types that are read, by NumPy's descr: little-endian ones and single bytes.
var npyTypes = map[string]model.DType{
	"<f2": model.Float16, "<f4": model.Float32, "<f8": model.Float64, "|b1": model.Bool,
	"|i1": model.Int8, "<i2": model.Int16, "<i4": model.Int32, "<i8": model.Int64,
	"|u1": model.Uint8, "<u2": model.Uint16, "<u4": model.Uint32, "<u8": model.Uint64,
}

// ReadNPY reads one array of at most limit bytes in NumPy's format 1.0, 2.0 or 3.0 (numpy.lib.format): the magic, the
// version, the length of a header, the header (a Python dictionary with descr, fortran_order and shape), the elements in C
// order. Elements are read as far as they are there: what a shape merely claims is not allocated. Errors: another format,
// Fortran order, big-endian or structured elements (wrapping model.ErrUnsupported), fewer or more elements than the shape says.
func ReadNPY(r io.Reader, limit int64) (*model.Tensor, error) {
	dtype, shape, err := readNPYHeader(r)
	if err != nil {
		return nil, err
	}
	n, err := model.NumElements(shape)
	if err != nil {
		return nil, err
	}
	size := int64(dtype.Bits() / 8)
	if int64(n) > limit/size {
		return nil, fmt.Errorf("shape %v of %s takes more than %d bytes", shape, dtype, limit)
	}
	want := int64(n) * size
	var b bytes.Buffer
	got, err := io.Copy(&b, io.LimitReader(r, want+1))
	if err != nil {
		return nil, err
	}
	if got != want {
		return nil, fmt.Errorf("shape %v of %s takes %d bytes, the array has %s", shape, dtype, want, atLeast(got, want))
	}
	if dtype == model.Bool && bytes.ContainsFunc(b.Bytes(), func(r rune) bool { return r > 1 }) {
		return nil, errors.New("a boolean that is neither 0 nor 1")
	}
	return model.NewTensor(dtype, shape, b.Bytes())
}

func atLeast(got, want int64) string {
	if got > want {
		return "more"
	}
	return fmt.Sprint(got)
}

func readNPYHeader(r io.Reader) (model.DType, []int, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("no NumPy array: %w", err)
	}
	if string(head[:6]) != npyMagic {
		return 0, nil, fmt.Errorf("no NumPy array: it starts with %q", head[:6])
	}
	length, err := 0, error(nil)
	switch head[6] {
	case 1:
		var b [2]byte
		_, err = io.ReadFull(r, b[:])
		length = int(binary.LittleEndian.Uint16(b[:]))
	case 2, 3:
		var b [4]byte
		_, err = io.ReadFull(r, b[:])
		length = int(min(binary.LittleEndian.Uint32(b[:]), maxNPYHeader+1))
	default:
		return 0, nil, fmt.Errorf("NumPy format %d.%d: want 1.0, 2.0 or 3.0: %w", head[6], head[7], model.ErrUnsupported)
	}
	if err == nil && length > maxNPYHeader {
		err = fmt.Errorf("a header of more than %d bytes", maxNPYHeader)
	}
	if err != nil {
		return 0, nil, err
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return 0, nil, fmt.Errorf("header: %w", err)
	}
	return parseNPYHeader(string(text))
}

// parseNPYHeader reads the dictionary, such as {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
func parseNPYHeader(text string) (dtype model.DType, shape []int, err error) {
	p := &npyParser{rest: text}
	var descr, order string
	seen := map[string]bool{}
	p.want("{")
	for p.err == nil && !p.take("}") {
		key := p.quoted()
		if seen[key] {
			p.fail("key %q is given twice", key)
		}
		seen[key] = true
		p.want(":")
		switch key {
		case "descr":
			descr = p.quoted()
		case "fortran_order":
			order = p.word()
		case "shape":
			shape = p.tuple()
		default:
			p.fail("key %.20q is none of descr, fortran_order, shape", key)
		}
		if !p.take(",") {
			p.want("}")
			break
		}
	}
	dtype, known := npyTypes[descr]
	switch {
	case p.err != nil:
	case len(seen) != 3:
		p.fail("want descr, fortran_order and shape")
	case strings.TrimSpace(p.rest) != "":
		p.fail("%.20q behind the dictionary", p.rest)
	case order != "True" && order != "False":
		p.fail("fortran_order %.20q", order)
	case !known:
		p.err = fmt.Errorf("elements of type %.20q: want little-endian floats, integers or booleans: %w", descr, model.ErrUnsupported)
	case order == "True" && len(shape) > 1:
		p.err = fmt.Errorf("elements in the order of Fortran: want C order, as numpy.ascontiguousarray gives it: %w", model.ErrUnsupported)
	}
	return dtype, shape, p.err
}

// npyParser takes the few tokens of a header from the left; after an error it takes nothing.
type npyParser struct {
	rest string
	err  error
}

func (p *npyParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("header: "+format, args...)
	}
}

func (p *npyParser) take(token string) bool {
	s := strings.TrimLeft(p.rest, " \n")
	if p.err != nil || !strings.HasPrefix(s, token) {
		return false
	}
	p.rest = s[len(token):]
	return true
}

func (p *npyParser) want(token string) {
	if !p.take(token) {
		p.fail("want %q before %.20q", token, p.rest)
	}
}

func (p *npyParser) quoted() string {
	for _, quote := range []string{"'", `"`} {
		if p.take(quote) {
			s, rest, ok := strings.Cut(p.rest, quote)
			if !ok {
				p.fail("a text without end")
			}
			p.rest = rest
			return s
		}
	}
	p.fail("want a text before %.20q", p.rest)
	return ""
}

// word takes letters and digits.
func (p *npyParser) word() string {
	s := strings.TrimLeft(p.rest, " \n")
	end := strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end <= 0 {
		p.fail("want a word before %.20q", p.rest)
		return ""
	}
	p.rest = s[end:]
	return s[:end]
}

func (p *npyParser) tuple() []int {
	shape := []int{}
	p.want("(")
	for p.err == nil && !p.take(")") {
		w := p.word()
		n, err := strconv.Atoi(strings.TrimSuffix(w, "L")) // Python 2 wrote 3L
		if err != nil || n < 0 {
			p.fail("%.20q is no size", w)
		}
		if shape = append(shape, n); len(shape) > maxNPYRank {
			p.fail("more than %d dimensions", maxNPYRank)
		}
		if !p.take(",") {
			p.want(")")
			break
		}
	}
	return slices.Clip(shape)
}
