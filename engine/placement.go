package engine

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wattshed/wattshed/model"
)

// maxPieces bounds the pieces of memory of one run that a placement is made for: finding one takes time that grows with
// their square. A loop of many iterations asks for more, and goes on recycling buffers.
const maxPieces = 4096

// maxPlacements bounds the sets of input shapes whose placements a Plan keeps.
const maxPlacements = 64

// maxMisses is how many runs may do something else than the run did that the placement is made from, as those with a
// condition or data-dependent sizes may, before no run follows it any more.
const maxMisses = 3

// trace is what one run asked of its arena: in events n > 0 for a piece of n bytes, which is numbered, and ^k where piece k
// was free again.
type trace struct {
	events []int
	on     []int  // the number of the buffer that piece k lay in
	sizes  []int  // its bytes
	kept   []bool // piece k left the arena with an output
	full   bool   // there were too many
}

// ask records a piece of n bytes and returns its number.
func (t *trace) ask(n int, b *buffer) int {
	if t.full = t.full || len(t.on) == maxPieces; t.full {
		return -1
	}
	t.events, t.on, t.sizes, t.kept = append(t.events, n), append(t.on, b.serial), append(t.sizes, len(b.mem)), append(t.kept, false)
	return len(t.on) - 1
}

// free records that a piece is free again.
func (t *trace) free(piece int) {
	if !t.full {
		t.events = append(t.events, ^piece)
	}
}

// keep records that a piece leaves the arena.
func (t *trace) keep(piece int) {
	if piece >= 0 {
		t.kept[piece] = true
	}
}

// placement says where the pieces of memory of a run lie for inputs of certain shapes: piece k from byte at[k] on in block
// in[k]. Two pieces have bytes in common only where one is free before the other is asked for, so a run may follow it for
// as long as its events are the recorded ones.
type placement struct {
	events []int
	in, at []int
	blocks []int // sizes in bytes, the largest first

	sum, size int64 // bytes of all pieces but those that are kept, and of the blocks
}

// keptPiece is the block of a piece that leaves the arena: it has memory of its own.
const keptPiece = -1

// align is the alignment of pieces in a block: a cache line.
const align = 64

func alignUp(n int) int { return (n + align - 1) &^ (align - 1) }

// piece is a piece of memory with the events between which it is in use.
type piece struct {
	k, size, from, to int
	at                int
}

// place finds a placement into buffers that the recorded run already has, so that no memory is added to what the arena
// holds: the largest piece first, at the lowest free place of a block in use, else at the start of the smallest of the
// other blocks that it fits into (greedy by size: Pisarchyk and Lee, "Efficient memory management for deep neural net
// inference", 2020). Where that ends with more bytes than the recorded run had, its placement is kept.
func place(t *trace) *placement {
	n := len(t.on)
	p := &placement{events: t.events, in: make([]int, n), at: make([]int, n)}
	pieces := make([]piece, 0, n)
	ends := make([]int, n)
	for i, e := range t.events {
		if e < 0 {
			ends[^e] = i
		}
	}
	index := map[int]int{}
	var sizes []int            // bytes of the buffers
	recorded := make([]int, n) // of every piece, its buffer
	k := 0
	for i, e := range t.events {
		if e < 0 {
			continue
		}
		if p.in[k] = keptPiece; !t.kept[k] {
			b, ok := index[t.on[k]]
			if !ok {
				b = len(sizes)
				index[t.on[k]], sizes = b, append(sizes, t.sizes[k])
			}
			recorded[k] = b
			q := piece{k: k, size: e, from: i, to: len(t.events)}
			if ends[k] > 0 {
				q.to = ends[k]
			}
			pieces = append(pieces, q)
			p.sum += int64(e)
		}
		k++
	}
	sort.SliceStable(pieces, func(i, j int) bool { return pieces[i].size > pieces[j].size })
	if !p.pack(pieces, sizes) {
		p.blocks = sizes
		for _, q := range pieces {
			p.in[q.k], p.at[q.k] = recorded[q.k], 0
		}
	}
	for _, b := range p.blocks {
		p.size += int64(b)
	}
	p.order()
	return p
}

// order puts the largest block first.
func (p *placement) order() {
	old := make([]int, len(p.blocks)) // by new number, the old one
	for i := range old {
		old[i] = i
	}
	sort.SliceStable(old, func(i, j int) bool { return p.blocks[old[i]] > p.blocks[old[j]] })
	sizes, now := make([]int, len(old)), make([]int, len(old))
	for i, b := range old {
		sizes[i], now[b] = p.blocks[b], i
	}
	p.blocks = sizes
	for k, b := range p.in {
		if b != keptPiece {
			p.in[k] = now[b]
		}
	}
}

// pack places pieces, the largest first, into some of the blocks that there are. It reports whether they fit.
func (p *placement) pack(pieces []piece, sizes []int) bool {
	spare := slices.Clone(sizes)
	slices.Sort(spare)
	var blocks [][]piece // by block, those placed in it, by their place
	for _, q := range pieces {
		b := 0
		for ; b < len(blocks); b++ {
			if q.at = gap(blocks[b], q, p.blocks[b]); q.at >= 0 {
				break
			}
		}
		if b == len(blocks) {
			i, _ := slices.BinarySearch(spare, q.size)
			if i == len(spare) {
				return false
			}
			blocks, p.blocks, q.at = append(blocks, nil), append(p.blocks, spare[i]), 0
			spare = slices.Delete(spare, i, i+1)
		}
		i, _ := slices.BinarySearchFunc(blocks[b], q, func(x, y piece) int { return cmp.Compare(x.at, y.at) })
		blocks[b] = slices.Insert(blocks[b], i, q)
		p.in[q.k], p.at[q.k] = b, q.at
	}
	return true
}

// gap returns the lowest place of a block of the given size where q is in nobody's way, or -1. The pieces of the block are
// ordered by their places.
func gap(placed []piece, q piece, size int) int {
	at := 0
	for _, o := range placed {
		if o.to < q.from || q.to < o.from {
			continue
		}
		if o.at-at >= q.size {
			break
		}
		at = max(at, alignUp(o.at+o.size))
	}
	if at+q.size > size {
		return -1
	}
	return at
}

// placed is the placement of one set of input shapes, found when such a run comes for the second time.
type placed struct {
	inputs string
	once   sync.Once
	t      *trace
	p      *placement
	misses atomic.Int32
	used   int // which run of the plan was the last with such inputs
}

func (e *placed) get() *placement {
	e.once.Do(func() { e.p, e.t = place(e.t), nil })
	return e.p
}

// acquire returns an arena that nobody uses, whose run may use so many bytes. What an earlier run left beyond them is let go of.
func (p *Plan) acquire(most int64) *arena {
	p.mu.Lock()
	defer p.mu.Unlock()
	var a *arena
	if n := len(p.arenas); n > 0 {
		a = p.arenas[n-1]
		p.arenas = p.arenas[:n-1]
	} else {
		a = new(arena)
	}
	if a.most = most; most > 0 && a.held > most {
		a.trim()
	}
	return a
}

// arenaBytes is the size of the largest arena as it stands, of those that no run has now, or, where the last run cut its batch, of as many as it had
// at a time; where none is idle, of the largest that there was.
func (p *Plan) arenaBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var held []int64
	for _, a := range p.arenas {
		held = append(held, a.held)
	}
	if len(held) == 0 {
		return p.peak.Load()
	}
	slices.Sort(held)
	n := int64(0)
	for _, h := range held[max(0, len(held)-max(1, int(p.side.Load()))):] {
		n += h
	}
	return n
}

func (p *Plan) giveBack(a *arena) {
	if a.held > p.peak.Load() {
		p.peak.Store(a.held)
	}
	a.away, a.run = 0, eval{} // which would keep the context
	p.mu.Lock()
	p.arenas = append(p.arenas, a)
	p.mu.Unlock()
}

// signature names what the pieces of memory of a run depend on, data aside: types and shapes of the inputs and the number
// of threads. It is "" where an input is no tensor.
func (p *Plan) signature(in map[string]any, threads int) string {
	b := make([]byte, 0, 64)
	b = strconv.AppendInt(b, int64(threads), 10)
	for _, pi := range p.inputs {
		v, ok := in[pi.value.Name]
		if !ok {
			b = append(b, " -"...)
			continue
		}
		t, ok := v.(*model.Tensor)
		if !ok {
			return ""
		}
		b = append(b, ' ', byte('A'+int(t.DType())), byte(t.Rank()))
		for _, d := range t.Shape() {
			b = append(b, byte(d), byte(d>>8), byte(d>>16), byte(d>>24), byte(d>>32))
		}
	}
	return string(b)
}

// begin prepares an arena for a run: it follows the placement of such inputs where there is one, else it records.
func (p *Plan) begin(a *arena, sig string) {
	if sig == "" || p.opts.skips(passMemory) {
		return
	}
	p.mu.Lock()
	e := p.placed[sig]
	if p.runs++; e != nil {
		e.used = p.runs
	}
	p.mu.Unlock()
	switch {
	case e == nil:
		a.rec = &trace{}
	case e.misses.Load() < maxMisses:
		a.follow(e.get())
	}
}

// finish ends a run that began so: it keeps what was recorded, and counts a run that did not follow.
func (p *Plan) finish(a *arena, sig string, in map[string]any) {
	rec, strayed := a.rec, a.strayed
	a.end()
	if rec == nil && !strayed {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.placed[sig]
	if strayed && e != nil {
		e.misses.Add(1)
	}
	if rec == nil || e != nil {
		return
	}
	if p.placed == nil {
		p.placed = map[string]*placed{}
	}
	if len(p.placed) >= maxPlacements {
		p.forget()
	}
	var names []string
	for _, pi := range p.inputs {
		if t, ok := in[pi.value.Name].(*model.Tensor); ok {
			names = append(names, fmt.Sprint(pi.value.Name, t.Shape()))
		}
	}
	e = &placed{inputs: strings.Join(names, " "), t: rec, used: p.runs}
	if rec.full {
		e.t = nil // no run is going to follow it
		e.misses.Store(maxMisses)
	}
	p.placed[sig] = e
}

// forget drops one placement: one that no run follows any more, if there is such, and of those the one that was not asked
// for longest. p.mu is held.
func (p *Plan) forget() {
	before := func(e, o *placed) bool {
		x, y := e.misses.Load() >= maxMisses, o.misses.Load() >= maxMisses
		return x && !y || x == y && e.used < o.used
	}
	out := ""
	for sig, e := range p.placed {
		if o := p.placed[out]; o == nil || before(e, o) {
			out = sig
		}
	}
	delete(p.placed, out)
}
