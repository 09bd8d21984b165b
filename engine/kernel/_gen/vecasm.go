package main

import (
	"fmt"
	"math"
	"sort"
)

// A vector program is written once as straight-line code on values (see vecfuncs.go) and emitted for AVX-512 and AVX2.
// The emitter wraps it in a loop over the elements with a masked tail, allocates registers in one pass and keeps the
// most used constants in the registers that are left.

// isaVec describes one instruction set to the emitter.
type isaVec struct {
	suffix string // of the function names
	w      int    // lanes of a register
	regs   int    // usable vector registers
	name   byte   // Z or Y, V for NEON
}

var vecISAs = []isaVec{{"AVX512", 16, 32, 'Z'}, {"AVX2", 8, 15, 'Y'}} // Y15 is the tail mask

// program is one generated routine.
type program struct {
	name   string
	doc    string   // its Go loop
	ptrs   []string // "name type" of the pointer arguments
	params []string // float32 arguments
	accs   []string // "add", "max" or "min" for each result
	lanes  int      // partial results per accumulator; 0 without accumulators
	noTail bool     // n is a multiple of 16
	bands  int      // pointers may have so many bands of n elements, one after the other; 0 is one
	body   func(b *vb)
}

// node is one value of a program.
type node struct {
	op   string
	a    []int
	imm  int
	bits uint32
	disp int  // elements, of a load
	band int  // of a load: see program.bands
	mask bool // lives in a mask register on AVX-512
	last int  // index of the last node that uses it
	uses int
}

// vb builds a program's nodes.
type vb struct {
	p     *program
	isa   isaVec
	nodes []node
	cs    map[uint32]int
	ps    map[int]int
}

// v is a value in a program.
type v int

func (b *vb) add(op string, imm int, a ...v) v {
	n := node{op: op, imm: imm}
	for _, x := range a {
		n.a = append(n.a, int(x))
	}
	b.nodes = append(b.nodes, n)
	return v(len(b.nodes) - 1)
}

// c is a float32 constant, ci an integer one.
func (b *vb) c(f float64) v { return b.ci(math.Float32bits(float32(f))) }

func (b *vb) ci(u uint32) v {
	if x, ok := b.cs[u]; ok {
		return v(x)
	}
	x := b.add("const", 0)
	b.nodes[x].bits = u
	b.cs[u] = int(x)
	return x
}

// param is a scalar argument in all lanes.
func (b *vb) param(i int) v {
	if x, ok := b.ps[i]; ok {
		return v(x)
	}
	x := b.add("param", i)
	b.ps[i] = int(x)
	return x
}

func (b *vb) load(ptr int) v { return b.add("load", ptr) }

// loadAt loads from disp elements further on.
func (b *vb) loadAt(ptr, disp int) v {
	x := b.add("load", ptr)
	b.nodes[x].disp = disp
	return x
}

// loadBand loads from a band.
func (b *vb) loadBand(ptr, band int) v {
	x := b.add("load", ptr)
	b.nodes[x].band = band
	return x
}
func (b *vb) loadAs(kind string, ptr int) v { return b.add("load"+kind, ptr) }
func (b *vb) store(ptr int, x v)            { b.add("store", ptr, x) }
func (b *vb) storeAs(k string, ptr int, x v) {
	b.add("store"+k, ptr, x)
}
func (b *vb) accAdd(i int, x v)    { b.add("accadd", i, x) }
func (b *vb) accFma(i int, x, y v) { b.add("accfma", i, x, y) }
func (b *vb) accMM(i int, x v)     { b.add("acc"+b.p.accs[i], i, x) }

func (b *vb) Add(x, y v) v     { return b.add("VADDPS", 0, x, y) }
func (b *vb) Sub(x, y v) v     { return b.add("VSUBPS", 0, x, y) }
func (b *vb) Mul(x, y v) v     { return b.add("VMULPS", 0, x, y) }
func (b *vb) Div(x, y v) v     { return b.add("VDIVPS", 0, x, y) }
func (b *vb) Min(x, y v) v     { return b.add("VMINPS", 0, x, y) }
func (b *vb) Max(x, y v) v     { return b.add("VMAXPS", 0, x, y) }
func (b *vb) And(x, y v) v     { return b.add("VANDPS", 0, x, y) }
func (b *vb) Or(x, y v) v      { return b.add("VORPS", 0, x, y) }
func (b *vb) Xor(x, y v) v     { return b.add("VXORPS", 0, x, y) }
func (b *vb) AddI(x, y v) v    { return b.add("VPADDD", 0, x, y) }
func (b *vb) SubI(x, y v) v    { return b.add("VPSUBD", 0, x, y) }
func (b *vb) MulI(x, y v) v    { return b.add("VPMULLD", 0, x, y) }
func (b *vb) Sqrt(x v) v       { return b.add("VSQRTPS", 0, x) }
func (b *vb) CvtI2F(x v) v     { return b.add("VCVTDQ2PS", 0, x) }
func (b *vb) CvtF2I(x v) v     { return b.add("VCVTPS2DQ", 0, x) }
func (b *vb) Sra(x v, n int) v { return b.add("VPSRAD", n, x) }
func (b *vb) Srl(x v, n int) v { return b.add("VPSRLD", n, x) }
func (b *vb) Sll(x v, n int) v { return b.add("VPSLLD", n, x) }
func (b *vb) Fma(x, y, z v) v  { return b.add("VFMADD", 0, x, y, z) }

// Fnma is z - x*y rounded once, Fma(-x, y, z).
func (b *vb) Fnma(x, y, z v) v { return b.add("VFNMADD", 0, x, y, z) }

// Round rounds to integral values: 8 to nearest even, 9 down, 10 up.
func (b *vb) Round(x v, mode int) v {
	if b.isa.name == 'Z' {
		return b.add("VRNDSCALEPS", mode, x)
	}
	return b.add("VROUNDPS", mode, x)
}

// Compare predicates of VCMPPS.
const (
	cmpEQ    = 0x00
	cmpLT    = 0x11
	cmpUnord = 0x03
	cmpGT    = 0x1e
	cmpNotGE = 0x19
)

// Cmp compares into a mask; Sel returns m ? x : y per lane.
func (b *vb) Cmp(pred int, x, y v) v {
	r := b.add("VCMPPS", pred, x, y)
	b.nodes[r].mask = true
	return r
}
func (b *vb) Sel(m, x, y v) v { return b.add("sel", 0, m, x, y) }

func (b *vb) Neg(x v) v { return b.Xor(x, b.ci(1<<31)) }
func (b *vb) Abs(x v) v { return b.And(x, b.ci(1<<31-1)) }

// Scalef is x * 2^k for an integral k.
func (b *vb) Scalef(x, k v) v {
	if b.isa.name == 'Z' {
		return b.add("VSCALEFPS", 0, x, k)
	}
	i := b.CvtF2I(k)
	h := b.Sra(i, 1)
	bias := b.ci(127)
	x = b.Mul(x, b.Sll(b.AddI(h, bias), 23))
	return b.Mul(x, b.Sll(b.AddI(b.SubI(i, h), bias), 23))
}

// gprs are the registers of pointer arguments; AX is the element index, BX the count, R13 the loop limit and the tail mask.
var gprs = []string{"DI", "SI", "DX", "CX", "R8", "R9", "R10", "R11", "R12"}

// bandIndex are the registers of the element index in each band.
var bandIndex = []string{"AX", "R11", "R12", "R15"}

// constPool is the read-only table: each constant eight times, so that AVX2 can use it as an operand, or as often as a register holds it.
type constPool struct {
	off   map[uint32]int
	words []uint32
	times int
}

func newPool(times int) *constPool { return &constPool{off: map[uint32]int{}, times: times} }

func (p *constPool) at(u uint32) int {
	o, ok := p.off[u]
	if !ok {
		o = 4 * len(p.words)
		p.off[u] = o
		for range p.times {
			p.words = append(p.words, u)
		}
	}
	return o
}

// em emits one program for one instruction set.
type em struct {
	*vb
	out    func(format string, args ...any)
	pool   *constPool
	copies int         // registers per accumulator
	chunks int         // registers' worth of elements in a turn of the loop, a multiple of copies
	weave  int         // how many of them are computed side by side, to hide the latency of long bodies
	held   map[int]int // params and hoisted constants: node -> register
	first  int         // first temporary register
	free   []bool
	kfree  []bool
	reg    map[int]int
	peak   int
	copy   int // the chunk being emitted
	tail   bool
	label  func(name string) // NEON
	labels int
}

func newEm(p *program, isa isaVec, pool *constPool) *em {
	b := &vb{p: p, isa: isa, cs: map[uint32]int{}, ps: map[int]int{}}
	p.body(b)
	for i := range b.nodes {
		for _, x := range b.nodes[i].a {
			b.nodes[x].last = i
			b.nodes[x].uses++
		}
	}
	e := &em{vb: b, pool: pool, copies: 1, held: map[int]int{}}
	if p.lanes > 0 {
		e.copies = p.lanes / isa.w
	}
	e.first = len(p.accs) * e.copies
	for i := range p.params { // a row program has its own place for them
		if x, ok := b.ps[i]; ok {
			e.held[x] = e.first
			e.first++
		}
	}
	return e
}

// plan chooses how many chunks are woven, and puts constants into the registers that a dry run leaves over.
func (e *em) plan() {
	e.out = func(string, ...any) {}
	e.label = func(string) {}
	e.chunks, e.weave = e.copies, 1
	if len(e.nodes) >= 24 {
		if e.fits(2) { // more gains little and lengthens the tail
			e.weave = 2
		}
		e.chunks = max(e.copies, e.weave)
	}
	if !e.fits(e.weave) {
		panic(e.p.name + ": out of registers on " + e.isa.suffix)
	}
	var list []int
	for _, x := range e.cs {
		if e.nodes[x].uses > 0 {
			list = append(list, x)
		}
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := e.nodes[list[i]], e.nodes[list[j]]
		if a.uses != b.uses {
			return a.uses > b.uses
		}
		return list[i] < list[j]
	})
	for _, x := range list {
		if e.first+e.peak+1 >= e.isa.regs {
			break
		}
		e.held[x] = e.first
		e.first++
	}
}

// errRegisters is the panic of a dry run that does not fit.
const errRegisters = "out of registers"

// fits tells whether the body woven from w chunks finds registers, and notes how many.
func (e *em) fits(w int) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != errRegisters {
				panic(r)
			}
			ok = false
		}
	}()
	e.peak = 0
	e.tail = false
	e.body(0, w)
	e.tail = true
	e.body(0, 1)
	return true
}

func (e *em) r(i int) string { return fmt.Sprintf("%c%d", e.isa.name, i) }

func (e *em) acc(i int) string { return e.r(i*e.copies + e.copy%e.copies) }

func (e *em) alloc() int {
	for i := range e.free {
		if e.free[i] {
			e.free[i] = false
			e.peak = max(e.peak, i+1)
			return e.first + i
		}
	}
	panic(errRegisters)
}

func (e *em) release(r int) { e.free[r-e.first] = true }

func (e *em) allocK() int {
	for i := range e.kfree {
		if e.kfree[i] {
			e.kfree[i] = false
			return i + 2
		}
	}
	panic(errRegisters)
}

// mem is the memory operand of a stream, size bytes per element.
func (e *em) mem(ptr, size, disp int) string {
	return e.memIn(ptr, size, disp, 0)
}

// memIn is mem in a band.
func (e *em) memIn(ptr, size, disp, band int) string {
	return fmt.Sprintf("%d(%s)(%s*%d)", (e.copy*e.isa.w+disp)*size, gprs[ptr], bandIndex[band], size)
}

// get returns the register of a value; a constant that has none is loaded, and tmp tells to release it.
func (e *em) get(x int) (reg int, tmp bool) {
	if r, ok := e.held[x]; ok {
		return r, false
	}
	if e.nodes[x].op == "const" {
		r := e.alloc()
		if e.isa.name == 'V' {
			e.out("FMOVQ %d(%s), F%d", e.pool.at(e.nodes[x].bits), neonConst, r)
			return r, true
		}
		e.out("VBROADCASTSS vecConst<>+%d(SB), %s", e.pool.at(e.nodes[x].bits), e.r(r))
		return r, true
	}
	return e.reg[x], false
}

// inMem tells whether a value is a constant without a register.
func (e *em) inMem(x int) bool {
	_, held := e.held[x]
	return e.nodes[x].op == "const" && !held
}

// src returns x as the operand that may be memory, and the suffix of the instruction.
func (e *em) src(x int) (operand, suffix string) {
	if e.inMem(x) {
		s := ""
		if e.isa.name == 'Z' {
			s = ".BCST"
		}
		return fmt.Sprintf("vecConst<>+%d(SB)", e.pool.at(e.nodes[x].bits)), s
	}
	r, _ := e.get(x)
	return e.r(r), ""
}

// drop releases the registers of operands whose last use is node i.
func (e *em) drop(i int, ops ...int) {
	for k, x := range ops {
		dup := false
		for _, y := range ops[:k] {
			dup = dup || x == y
		}
		if dup || !e.dies(i, x) {
			continue
		}
		if e.nodes[x].mask && e.isa.name == 'Z' {
			e.kfree[e.reg[x]-2] = true
		} else {
			e.release(e.reg[x])
		}
	}
}

// dies tells whether node i is the last use of x and x has a temporary register.
func (e *em) dies(i, x int) bool {
	_, held := e.held[x]
	n := e.nodes[x]
	return !held && n.last == i && n.op != "const" && n.op != "param"
}

// body emits the body for n chunks from one on, node by node.
func (e *em) body(from, n int) {
	e.free = make([]bool, e.isa.regs-e.first)
	for i := range e.free {
		e.free[i] = true
	}
	e.kfree = []bool{true, true, true, true, true} // K2 to K6
	regs := make([]map[int]int, n)
	for c := range regs {
		regs[c] = map[int]int{}
	}
	for i := range e.nodes {
		for c := range n {
			e.copy, e.reg = from+c, regs[c]
			e.node(i)
		}
	}
}
