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
	block *buffer // what it is a part of, nil for none
	piece int     // its number in this run's trace or placement, -1 for none

	serial int // which one of its arena it is
}

func (b *buffer) holds(p unsafe.Pointer) bool {
	lo := uintptr(unsafe.Pointer(&b.mem[0]))
	return uintptr(p) >= lo && uintptr(p) < lo+uintptr(len(b.mem))
}

// arena recycles buffers by size class within one run at a time; it is kept for the next run. Classes are a quarter of a
// power of two apart, so at most a fifth of a new buffer is unused. A run whose placement is known gets pieces of few blocks
// instead, which are such buffers too.
type arena struct {
	free  [4 * 64][]*buffer
	idle  int   // buffers in free
	held  int64 // bytes of all buffers made and not given away
	limit int   // largest tensor allowed while folding constants; 0 = none
	away  int64 // bytes given away during this run
	most  int64 // bytes that held and away may reach together; 0 = no bound

	made    int        // buffers
	rec     *trace     // of this run, nil for none
	plan    *placement // that this run follows, nil for none or where it has strayed from it
	event   int        // of the placement: the next one
	asked   int        // pieces of the placement that were asked for
	blocks  []*buffer  // of the placement
	pieces  []buffer   // of the placement
	last    *placement // that an earlier run followed
	strayed bool
	spare   []*buffer // for pieces of the placement that leave the arena

	calls []*Call // of earlier runs, to be used again
	run   eval
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
	a.trim()
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
	n = max(n, 1)
	k := -1
	if a.plan != nil {
		if k = a.next(n); k >= 0 && a.plan.in[k] != keptPiece {
			b, block := &a.pieces[k], a.blocks[a.plan.in[k]]
			at := a.plan.at[k]
			*b = buffer{mem: block.mem[at : at+n : at+n], refs: 1, block: block, piece: k}
			return b, nil
		}
	}
	wider := widerClasses
	if k >= 0 {
		wider = 0 // it is about to leave, with all of its memory
		if b := a.spared(n); b != nil {
			b.piece = k
			return b, nil
		}
	}
	b, err := a.fresh(n, wider)
	if err != nil {
		return nil, err
	}
	if b.piece = k; a.rec != nil {
		b.piece = a.rec.ask(n, b)
	}
	return b, nil
}

// widerClasses is how many size classes larger than needed a free buffer may be and still be taken in the place of a new one: a
// factor of 4. It matters until a placement is known; a run of PP-LCNet then takes 3.9 MB in the place of 5.3.
const widerClasses = 8

// fresh returns a buffer of at least n bytes that nobody uses, of the smallest class from that of n on, or a new one.
func (a *arena) fresh(n, wider int) (*buffer, error) {
	class, size := sizeClass(n)
	for k := class; k <= min(class+wider, len(a.free)-1); k++ {
		if l := a.free[k]; len(l) > 0 {
			b := l[len(l)-1]
			l[len(l)-1] = nil // it may leave the arena
			a.free[k] = l[:len(l)-1]
			b.refs = 1
			a.idle--
			return b, nil
		}
	}
	if err := a.room(size); err != nil {
		return nil, err
	}
	a.held += int64(size)
	a.made++
	return &buffer{mem: make([]byte, size), refs: 1, class: class, serial: a.made}, nil
}

// widest returns the size of the largest free buffer that is at most twice as large as n needs; n where there is none.
func (a *arena) widest(n int) int {
	class, _ := sizeClass(max(n, 1))
	for k := min(class+turnClasses, len(a.free)-1); k > class; k-- {
		if l := a.free[k]; len(l) > 0 {
			return len(l[0].mem)
		}
	}
	return n
}

// next is the number of the piece of n bytes that the placement foresees now; -1 and the end of it where it foresees
// something else.
func (a *arena) next(n int) int {
	if a.event >= len(a.plan.events) || a.plan.events[a.event] != n {
		a.stray()
		return -1
	}
	a.event++
	a.asked++
	return a.asked - 1
}

func (a *arena) stray() { a.plan, a.strayed = nil, true }

// release drops one reference.
func (a *arena) release(b *buffer) {
	if b.refs--; b.refs > 0 {
		return
	}
	switch {
	case a.rec != nil:
		a.rec.free(b.piece)
	case a.plan != nil && a.event < len(a.plan.events) && a.plan.events[a.event] == ^b.piece:
		a.event++
	case a.plan != nil:
		a.stray()
	}
	if b.block == nil {
		a.rest(b)
	}
}

// rest puts a buffer among the free ones.
func (a *arena) rest(b *buffer) {
	a.free[b.class] = append(a.free[b.class], b)
	a.idle++
}

// turnClasses is how many size classes larger than needed a block may be that an earlier placement left: a factor of 2.
const turnClasses = 4

// follow makes the next run follow a placement, if there is room for its blocks. A second such run in a row lets go of
// whatever else the arena holds; so does one that finds more than twice the blocks of the larger of its placement and the one
// before, which leaves two in turn what both need. Of more in turn each takes the largest blocks of others that are up to twice too large.
func (a *arena) follow(p *placement) {
	for _, size := range p.blocks {
		from := size
		if a.last != nil && a.last != p {
			from = a.widest(size)
		}
		b, err := a.fresh(from, 0)
		if err != nil {
			a.end()
			return
		}
		b.piece = -1
		a.blocks = append(a.blocks, b)
	}
	if a.last == p || a.last != nil && a.held > 2*max(p.size, a.last.size) {
		a.trim()
	}
	if len(a.pieces) < len(p.in) {
		a.pieces = make([]buffer, len(p.in))
	}
	a.plan, a.last = p, p
}

// end takes the blocks of a run back.
func (a *arena) end() {
	for _, b := range a.blocks {
		if b.refs < 1<<30 {
			b.refs = 0
			a.rest(b)
		}
	}
	clear(a.blocks)
	clear(a.pieces[:a.asked]) // they would keep blocks that the arena has let go of
	clear(a.spare)
	a.rec, a.plan, a.event, a.asked, a.blocks, a.strayed, a.spare = nil, nil, 0, 0, a.blocks[:0], false, a.spare[:0]
}

// trim drops the free buffers.
func (a *arena) trim() {
	if a.idle == 0 {
		return
	}
	a.idle = 0
	for i, list := range a.free {
		if len(list) == 0 {
			continue
		}
		for _, b := range list {
			a.held -= int64(len(b.mem))
		}
		clear(list)
		a.free[i] = list[:0]
	}
}

// giveAway takes a buffer out of the arena for good: it belongs to the caller or to a sequence. A block goes with its piece,
// whose time the placement may have ended earlier.
func (a *arena) giveAway(b *buffer) {
	if b.refs >= 1<<30 {
		return
	}
	b.refs += 1 << 30
	if a.rec != nil {
		a.rec.keep(b.piece)
	}
	if b.block != nil {
		if a.plan != nil {
			a.stray()
		}
		if b = b.block; b.refs >= 1<<30 {
			return
		}
		b.refs += 1 << 30
	}
	a.held -= int64(len(b.mem))
	a.away += int64(len(b.mem))
}
