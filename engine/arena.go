package engine

import (
	"errors"
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/wattshed/wattshed/model"
)

// slot holds the value of one name during a run: a tensor, a sequence, or nothing (an empty optional).
type slot struct {
	t   *model.Tensor
	seq []*model.Tensor
	is  slotKind
	buf *buffer // the arena memory under t; nil when it is not the arena's
}

type slotKind uint8

const (
	isTensor slotKind = iota
	isSequence
	isEmpty // an optional without a value
)

// buffer is a piece of arena memory with the number of slots that use it.
type buffer struct {
	mem   []byte
	refs  int
	class int
}

func (b *buffer) holds(p unsafe.Pointer) bool {
	lo := uintptr(unsafe.Pointer(&b.mem[0]))
	return uintptr(p) >= lo && uintptr(p) < lo+uintptr(len(b.mem))
}

// arena recycles buffers by size class within one run at a time; it is kept for the next run. Classes are a quarter of a
// power of two apart, so at most a fifth of a buffer is unused.
type arena struct {
	free  [4 * 64][]*buffer
	held  int64 // bytes of all buffers made and not given away
	limit int   // largest tensor allowed while folding constants; 0 = none
	away  int64 // bytes given away during this run
	most  int64 // bytes that held and away may reach together; 0 = no bound
}

const minBuffer = 64

// sizeClass returns the class of a size and the bytes of a buffer of that class.
func sizeClass(n int) (class, size int) {
	if n <= minBuffer {
		return 0, minBuffer
	}
	e := bits.Len(uint(n-1)) - 1 // 2^e < n <= 2^(e+1)
	step := 1 << (e - 2)
	q := (n - 1<<e + step - 1) / step // 1..4
	return 4*e + q - 1, 1<<e + q*step
}

// ErrMemory is wrapped by errors of runs that would need more memory than Options.Memory.
var ErrMemory = errors.New("out of the memory that a run may use")

// room makes sure that n more bytes may be made, dropping what is free when that helps.
func (a *arena) room(n int) error {
	if n < 0 || n > maxTensorBytes*5/4 {
		return fmt.Errorf("%d bytes: %w", n, ErrMemory)
	}
	if a.most == 0 || int64(n) <= a.most-a.held-a.away {
		return nil
	}
	for i, list := range a.free {
		for _, b := range list {
			a.held -= int64(len(b.mem))
		}
		a.free[i] = nil
	}
	if int64(n) > a.most-a.held-a.away {
		return fmt.Errorf("%d bytes, of %d in all, are used and %d more are wanted: %w", a.held+a.away, a.most, n, ErrMemory)
	}
	return nil
}

// bound is the number of bytes that may be in use, for operators that allocate outside of the arena.
func (a *arena) bound() int64 {
	if a.most == 0 {
		return maxTensorBytes
	}
	return a.most
}

// get is tryGet for scratch: it panics with the error, which becomes that of the operator.
func (a *arena) get(n int) *buffer {
	b, err := a.tryGet(n)
	if err != nil {
		panic(err)
	}
	return b
}

// tryGet returns a buffer of at least n bytes with one reference.
func (a *arena) tryGet(n int) (*buffer, error) {
	if n < 0 || n > maxTensorBytes {
		return nil, a.room(n)
	}
	class, size := sizeClass(n)
	if l := a.free[class]; len(l) > 0 {
		b := l[len(l)-1]
		a.free[class] = l[:len(l)-1]
		b.refs = 1
		return b, nil
	}
	if err := a.room(size); err != nil {
		return nil, err
	}
	a.held += int64(size)
	return &buffer{mem: make([]byte, size), refs: 1, class: class}, nil
}

// release drops one reference.
func (a *arena) release(b *buffer) {
	if b.refs--; b.refs == 0 {
		a.free[b.class] = append(a.free[b.class], b)
	}
}

// giveAway takes a buffer out of the arena for good: it belongs to the caller or to a sequence.
func (a *arena) giveAway(b *buffer) {
	if b.refs < 1<<30 {
		b.refs += 1 << 30
		a.held -= int64(len(b.mem))
		a.away += int64(len(b.mem))
	}
}
