package engine

import (
	"fmt"
	"unsafe"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// OpFunc computes the outputs of one node from its inputs: it reads c.Node, c.Opset and c.In and calls Alloc or Set for
// every output that is wanted. It may be called from several goroutines at once, each with its own Call. It returns an
// error, without the node's name, when inputs do not fit; wrapping model.ErrUnsupported where a type is the reason.
type OpFunc func(c *Call) error

// Call is one execution of one node.
type Call struct {
	Node  *model.Node
	Opset int64           // version of the operator set of the node's domain
	In    []*model.Tensor // the inputs; nil where one is omitted (or is a sequence, see Seq)

	in    []slot
	out   []slot
	st    *step
	arena *arena
	pool  *kernel.Pool
	bufs  []*buffer // scratch of this call
	eval  *eval     // nil while constants are folded
	seen  note
	caps  map[int]slot // values that the bodies read

	narrow bool // the inputs are float32 copies of half types

	work []int // what ints gave away, of workInts; nil for none yet
}

// note is what a kernel says about itself for the profile.
type note struct {
	kernel string
	macs   int64
	bytes  int64
}

// Pool returns the session's threads; nil (serial) is possible.
func (c *Call) Pool() *kernel.Pool { return c.pool }

// Note records for the profile which kernel ran, its multiply-accumulates and the bytes of weights it read.
func (c *Call) Note(kernel string, macs, bytes int64) { c.seen = note{kernel, macs, bytes} }

// profiled reports whether somebody will read what Note records.
func (c *Call) profiled() bool { return c.eval != nil && c.eval.profile }

// NoteISA is Note of the kernel of the active instruction set.
func (c *Call) NoteISA(kind string, macs, bytes int64) {
	if c.profiled() {
		c.Note(kind+"-"+kernel.Active().String(), macs, bytes)
	}
}

// NumIn returns the number of inputs that the node lists, omitted ones included.
func (c *Call) NumIn() int { return len(c.In) }

// Arg returns input i, nil when the node does not have it.
func (c *Call) Arg(i int) *model.Tensor {
	if i < len(c.In) {
		return c.In[i]
	}
	return nil
}

// Need returns input i, or an error when it is omitted.
func (c *Call) Need(i int) (*model.Tensor, error) {
	if t := c.Arg(i); t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("input %d is missing", i)
}

// Wants reports whether the node names output i.
func (c *Call) Wants(i int) bool { return c.Node.Out(i) != "" }

// maxTensorBytes bounds one tensor, whatever a file claims.
const maxTensorBytes = 1 << 34

// Alloc makes output i, of any type but String, and returns it. Its memory is not zeroed and is recycled after the last
// node that reads it. The caller writes it through model.Data before it returns.
func (c *Call) Alloc(i int, dtype model.DType, shape []int) (*model.Tensor, error) {
	n, err := model.NumElements(shape)
	if err != nil {
		return nil, err
	}
	if n > maxTensorBytes/8*8/max(1, (dtype.Bits()+7)/8) {
		return nil, fmt.Errorf("output %d of shape %v is too large", i, shape)
	}
	size := dtype.Size(n)
	if c.arena.limit > 0 && size > c.arena.limit {
		return nil, errFoldSize
	}
	b, err := c.arena.tryGet(size)
	if err != nil {
		return nil, fmt.Errorf("output %d of shape %v: %w", i, shape, err)
	}
	t, err := model.NewTensor(dtype, shape, b.mem[:size:size])
	if err != nil {
		return nil, err
	}
	c.put(i, slot{t: t, buf: b})
	return t, nil
}

// AllocLike is Alloc, but takes over the memory of input j when that input has the same size in bytes and is read
// here for the last time; the function must then allow its output to be its input.
func (c *Call) AllocLike(i int, dtype model.DType, shape []int, inputs ...int) (*model.Tensor, error) {
	for _, j := range inputs {
		if j >= len(c.in) || c.st == nil || !c.st.over[j] {
			continue
		}
		s := c.in[j]
		if s.buf == nil || s.buf.refs != 1 || s.t == nil || s.t.DType().Bits() != dtype.Bits() || !sameShape(s.t.Shape(), shape) {
			continue
		}
		t := s.t
		if dtype != t.DType() {
			var err error
			if t, err = t.View(dtype); err != nil {
				return nil, err
			}
		}
		s.buf.refs++
		c.put(i, slot{t: t, buf: s.buf})
		return t, nil
	}
	return c.Alloc(i, dtype, shape)
}

// put stores output i, dropping what a previous call stored there.
func (c *Call) put(i int, s slot) {
	for len(c.out) <= i {
		c.out = append(c.out, slot{})
	}
	if old := c.out[i].buf; old != nil {
		c.arena.release(old)
	}
	c.out[i] = s
}

// Set makes t output i. t may share memory with an input.
func (c *Call) Set(i int, t *model.Tensor) {
	s := slot{t: t}
	if p := base(t); p != nil {
		for _, in := range c.in {
			if in.buf != nil && in.buf.holds(p) {
				s.buf = in.buf
				in.buf.refs++
				break
			}
		}
	}
	c.put(i, s)
}

// base returns the address of the first byte of t, nil when it has none or has memory of its owner's.
func base(t *model.Tensor) unsafe.Pointer {
	if t == nil || t.DType() == model.String || t.Len() == 0 || t.Owner() != nil {
		return nil
	}
	b, err := t.Bytes()
	if err != nil || len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(&b[0])
}

// Scratch returns n elements of memory that is not zeroed and is the call's own until it returns. A panic that the engine
// turns into the operator's error, wrapping ErrMemory, ends a call that asks for too much.
func Scratch[T model.Element](c *Call, n int) []T {
	if n == 0 {
		return nil
	}
	var z T
	if n < 0 || n > maxTensorBytes {
		panic(fmt.Errorf("scratch of %d elements: %w", n, ErrMemory))
	}
	size := n * int(unsafe.Sizeof(z))
	b := c.arena.get(size)
	c.bufs = append(c.bufs, b)
	return unsafe.Slice((*T)(unsafe.Pointer(&b.mem[0])), n)
}

// Out makes output i of the type that is T's and returns its elements.
func Out[T model.Element](c *Call, i int, shape []int) ([]T, error) {
	t, err := c.Alloc(i, dtypeFor[T](), shape)
	if err != nil {
		return nil, err
	}
	return model.Data[T](t)
}

func dtypeFor[T model.Element]() model.DType {
	var z T
	switch any(z).(type) {
	case float32:
		return model.Float32
	case float64:
		return model.Float64
	case int8:
		return model.Int8
	case int16:
		return model.Int16
	case int32:
		return model.Int32
	case int64:
		return model.Int64
	case uint8:
		return model.Uint8
	case uint16:
		return model.Uint16
	case uint32:
		return model.Uint32
	case uint64:
		return model.Uint64
	}
	return model.Bool
}

// typeError says that an operator has no kernel for a type.
func typeError(t *model.Tensor) error {
	return fmt.Errorf("element type %s: %w", t.DType(), model.ErrUnsupported)
}

func sameShape(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// product returns the number of elements of a shape that is known to be one of a tensor.
func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
