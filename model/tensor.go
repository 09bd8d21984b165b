package model

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// ErrType is wrapped by errors of access to a Tensor as another element type than its own.
var ErrType = errors.New("wrong element type")

// Tensor is an immutable n-dimensional array in row-major order. Its bytes may be a window of a
// memory-mapped file or be decoded on first use; they are little-endian, packed for types below 8 bits,
// one byte per Bool, and not necessarily aligned. Change a weight by making another Tensor.
type Tensor struct {
	dtype DType
	n     int
	shape []int
	dims  [4]int // where shape lies if it has room there
	raw   []byte
	strs  []string
	mem   *Mapping // the file that raw lies in, or nil
	base  *Tensor  // the tensor that this one is another shape or type of, or nil
	lazy  *lazy    // nil when raw (or strs) holds the data from the start
}

// lazy is how a tensor gets its data on first use.
type lazy struct {
	load func() ([]byte, []string, error)
	once sync.Once
	err  error
	// window is where raw is going to lie in mem, known before it is touched; nil where load makes something of it.
	window []byte
	owner  any
	// forgotten counts how often the bytes in the file were given back, touched is the count at which they were last touched.
	forgotten, touched atomic.Int64
}

// newTensor returns a tensor without data.
func newTensor(dtype DType, shape []int, n int) *Tensor {
	t := &Tensor{dtype: dtype, n: n}
	t.shape = slices.Clip(append(t.dims[:0], shape...)) // who appends to it does not write to dims
	return t
}

// NewTensor returns a Tensor over raw without copying it. It fails when the number of bytes does not
// fit shape and dtype.
func NewTensor(dtype DType, shape []int, raw []byte) (*Tensor, error) {
	n, err := checkShape(dtype, shape)
	if err != nil {
		return nil, err
	}
	if dtype == String {
		return nil, fmt.Errorf("model: a string tensor has no raw bytes: use NewStrings")
	}
	if want := dtype.Size(n); len(raw) != want {
		return nil, fmt.Errorf("model: %s tensor of shape %v needs %d bytes, has %d", dtype, shape, want, len(raw))
	}
	t := newTensor(dtype, shape, n)
	t.raw = raw
	return t, nil
}

// NewLazy returns a Tensor whose bytes (or strings) come from load on first use, once. The result of
// load is checked like the argument of NewTensor.
func NewLazy(dtype DType, shape []int, load func() ([]byte, []string, error)) (*Tensor, error) {
	n, err := checkShape(dtype, shape)
	if err != nil {
		return nil, err
	}
	t := newTensor(dtype, shape, n)
	t.lazy = &lazy{load: load}
	return t, nil
}

// NewOwned is NewLazy for a tensor whose elements owner keeps in a form of its own: whoever knows that form finds it with
// Owner and need not have it decoded.
func NewOwned(dtype DType, shape []int, owner any, load func() ([]byte, []string, error)) (*Tensor, error) {
	t, err := NewLazy(dtype, shape, load)
	if err == nil {
		t.lazy.owner = owner
	}
	return t, err
}

// Owner returns what NewOwned was given, or nil.
func (t *Tensor) Owner() any {
	if t.lazy == nil {
		return nil
	}
	return t.lazy.owner
}

// NewStrings returns a String tensor over s without copying it.
func NewStrings(shape []int, s []string) (*Tensor, error) {
	n, err := checkShape(String, shape)
	if err != nil {
		return nil, err
	}
	if len(s) != n {
		return nil, fmt.Errorf("model: string tensor of shape %v needs %d strings, has %d", shape, n, len(s))
	}
	t := newTensor(String, shape, n)
	t.strs = s
	return t, nil
}

func checkShape(dtype DType, shape []int) (int, error) {
	if !dtype.Valid() {
		return 0, fmt.Errorf("model: %s is no element type", dtype)
	}
	n, err := NumElements(shape)
	if err != nil {
		return 0, err
	}
	if b := dtype.Bits(); b > 0 && n > (1<<62)/b {
		return 0, fmt.Errorf("model: shape %v of %s is too large", shape, dtype)
	}
	return n, nil
}

// Element lists the Go types whose slices are the memory of a Tensor: Float32, Float64, the integers
// of 8 to 64 bits, and bool. Float16 and BFloat16 read as uint16, the 8-bit floats and packed types as uint8.
type Element interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | bool
}

// FromSlice returns a Tensor over data without copying it; the DType follows from the Go type. It
// panics when len(data) does not fit shape, which is a programmer's error.
func FromSlice[T Element](shape []int, data []T) *Tensor {
	t, err := NewTensor(dtypeOf[T](), shape, bytesOf(data))
	if err != nil {
		panic(err.Error())
	}
	return t
}

// Scalar returns a rank-0 Tensor holding v.
func Scalar[T Element](v T) *Tensor { return FromSlice([]int{}, []T{v}) }

func dtypeOf[T Element]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	}
	return Bool
}

func bytesOf[T Element](data []T) []byte {
	if len(data) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*int(unsafe.Sizeof(data[0])))
}

// DType returns the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Shape returns the sizes of the dimensions; it must not be changed.
func (t *Tensor) Shape() []int { return t.shape }

// Rank returns the number of dimensions.
func (t *Tensor) Rank() int { return len(t.shape) }

// Len returns the number of elements.
func (t *Tensor) Len() int { return t.n }

// ByteSize returns the number of bytes of the packed elements; for String the sum of lengths when loaded.
func (t *Tensor) ByteSize() int {
	if t.dtype == String {
		n := 0
		for _, s := range t.strs {
			n += len(s)
		}
		return n
	}
	return t.dtype.Size(t.n)
}

// Mapping returns the memory-mapped file that the tensor's bytes come from, or nil.
func (t *Tensor) Mapping() *Mapping { return t.mem }

func (t *Tensor) force() error {
	if t.mem != nil {
		if err := t.mem.alive(); err != nil {
			return err
		}
	}
	if l := t.lazy; l != nil {
		l.once.Do(func() { l.err = t.decode() })
		if l.err != nil {
			return l.err
		}
		if n := l.forgotten.Load(); n != l.touched.Load() {
			if err := t.mem.Touch(l.window); err != nil {
				return err
			}
			l.touched.Store(n)
		}
	}
	if t.base != nil {
		return t.base.force()
	}
	return nil
}

// decode sets the data of a lazy tensor.
func (t *Tensor) decode() error {
	if t.lazy.load == nil { // nobody reads it
		return nil
	}
	raw, strs, err := t.lazy.load()
	switch {
	case err != nil:
		return err
	case t.dtype == String && len(strs) != t.n:
		return fmt.Errorf("model: string tensor of shape %v needs %d strings, has %d", t.shape, t.n, len(strs))
	case t.dtype != String && len(raw) != t.dtype.Size(t.n):
		return fmt.Errorf("model: %s tensor of shape %v needs %d bytes, has %d", t.dtype, t.shape, t.dtype.Size(t.n), len(raw))
	}
	t.raw, t.strs = raw, strs
	return nil
}

// Bytes returns the little-endian packed bytes, which must not be changed. It fails for String and
// when a lazily decoded tensor cannot be read.
func (t *Tensor) Bytes() ([]byte, error) {
	if t.dtype == String {
		return nil, fmt.Errorf("model: string tensor: %w: it has no bytes", ErrType)
	}
	if err := t.force(); err != nil {
		return nil, err
	}
	return t.raw, nil
}

// Strings returns the elements of a String tensor.
func (t *Tensor) Strings() ([]string, error) {
	if t.dtype != String {
		return nil, fmt.Errorf("model: %s tensor read as strings: %w", t.dtype, ErrType)
	}
	if err := t.force(); err != nil {
		return nil, err
	}
	return t.strs, nil
}

// Data returns the elements as a slice over the tensor's own memory, which must not be changed and may
// not be aligned. T must be the Go type of the DType (see Element).
func Data[T Element](t *Tensor) ([]T, error) {
	if want := dtypeOf[T](); !viewable(t.dtype, want) {
		return nil, fmt.Errorf("model: %s tensor read as %s: %w", t.dtype, want, ErrType)
	}
	raw, err := t.Bytes()
	if err != nil || len(raw) == 0 {
		return nil, err
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(&raw[0])), len(raw)/int(unsafe.Sizeof(z))), nil
}

func viewable(have, want DType) bool {
	switch want {
	case Uint16:
		return have == Uint16 || have == Float16 || have == BFloat16
	case Uint8:
		return have == Uint8 || have.Bits() > 0 && have.Bits() < 8 || have.IsFloat() && have.Bits() == 8
	}
	return have == want
}

// Reshape returns a Tensor of another shape over the same memory.
func (t *Tensor) Reshape(shape []int) (*Tensor, error) {
	n, err := NumElements(shape)
	if err != nil {
		return nil, err
	}
	if n != t.n {
		return nil, fmt.Errorf("model: shape %v does not hold the %d elements of shape %v", shape, t.n, t.shape)
	}
	if err := t.force(); err != nil {
		return nil, err
	}
	y := newTensor(t.dtype, shape, n)
	y.raw, y.strs, y.mem, y.base = t.raw, t.strs, t.mem, t
	return y, nil
}

// View returns a Tensor of another type of the same width and the same shape over the same memory, such
// as Uint16 bits read as Float16.
func (t *Tensor) View(dtype DType) (*Tensor, error) {
	if dtype.Bits() != t.dtype.Bits() || dtype.Bits() == 0 {
		return nil, fmt.Errorf("model: %s tensor viewed as %s: %w", t.dtype, dtype, ErrType)
	}
	if err := t.force(); err != nil {
		return nil, err
	}
	return &Tensor{dtype: dtype, shape: t.shape, n: t.n, raw: t.raw, mem: t.mem, base: t}, nil
}
