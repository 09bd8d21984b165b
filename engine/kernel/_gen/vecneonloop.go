package main

import (
	"fmt"
	"math"
	"strings"
)

// neonVecFiles generates the vector programs for arm64: vec_neon_arm64.s and its Go side.
func neonVecFiles() []file {
	a := newARM("vecneonloop.go")
	pool := newPool(4)
	isas := []isaVec{isaNEON}
	var stubs strings.Builder
	stubs.WriteString(armHead("vecneonloop.go"))
	for _, p := range vecPrograms() {
		newEm(p, isaNEON, pool).neonFunction(a)
		p.goCode(&stubs, isas)
	}
	for _, p := range rowTable() {
		p.neonCode(a, pool)
		p.goCode(&stubs, isas)
	}
	a.data("neonConst", pool.words)
	a.data("neonMask", []uint32{math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32, 0, 0, 0, 0})
	return []file{a.file("vec_neon_arm64.s"), goFile("vec_neon_arm64.go", stubs.String())}
}

// neonFunction emits the whole routine.
func (e *em) neonFunction(a *asm) {
	e.neonPlan()
	e.out, e.label = a.op, a.label
	p := e.p
	size := p.resultOffset()
	if len(p.accs) > 0 {
		size += 4 * len(p.accs)
	} else {
		size = 8*len(p.ptrs) + 8 + 4*len(p.params)
	}
	a.text(fmt.Sprintf("func %s%s%s %s\n%s", p.name, e.isa.suffix, p.signature(), p.results(), p.doc), p.name+e.isa.suffix, size)
	for i, arg := range p.ptrs {
		a.op("MOVD %s+%d(FP), R%d", strings.Fields(arg)[0], 8*i, i)
	}
	a.op("MOVD n+%d(FP), R9", 8*len(p.ptrs))
	a.op("MOVD $neonConst<>(SB), %s", neonConst)
	for i, name := range p.params {
		if x, ok := e.ps[i]; ok {
			r := e.held[x]
			a.op("FMOVS %s+%d(FP), F%d", name, 8*len(p.ptrs)+8+4*i, r)
			a.op("VDUP V%d.S[0], V%d.S4", r, r)
		}
	}
	e.neonPhase(a, "")
	for i := range p.accs {
		e.neonFold(i)
		a.op("FMOVS F%d, r%d+%d(FP)", i*e.copies, i, p.resultOffset()+4*i)
	}
	a.op("RET")
}

// neonPlan is plan, with four chunks in a turn of a short loop.
func (e *em) neonPlan() {
	e.plan()
	if len(e.p.accs) == 0 && e.weave == 1 && len(e.nodes) < 24 {
		e.chunks = 4
	}
}

// advance moves the pointers by n elements.
func (e *em) advance(n int) {
	for i, arg := range e.p.ptrs {
		size := 4
		switch f := strings.Fields(arg); f[len(f)-1] {
		case "*uint16":
			size = 2
		case "*uint8", "*int8":
			size = 1
		}
		e.out("ADD $%d, R%d", n*size, i)
	}
}

// neonPhase emits the constants, the loop and the tail over R9 elements, with labels that end in at.
func (e *em) neonPhase(a *asm, at string) {
	p := e.p
	for x := range e.nodes {
		if r, ok := e.held[x]; ok && e.nodes[x].op == "const" {
			a.op("FMOVQ %d(%s), F%d", e.pool.at(e.nodes[x].bits), neonConst, r)
		}
	}
	for i, kind := range p.accs {
		for c := range e.copies {
			switch r := i*e.copies + c; kind {
			case "add":
				a.clear(r)
			case "max":
				a.op("FMOVQ %d(%s), F%d", e.pool.at(0xff800000), neonConst, r)
			case "min":
				a.op("FMOVQ %d(%s), F%d", e.pool.at(0x7f800000), neonConst, r)
			}
		}
	}
	block := e.chunks * e.isa.w
	a.op("SUBS $%d, R9, R9", block)
	a.op("BLT tail%s", at)
	a.label("loop" + at)
	e.tail = false
	for c := 0; c < e.chunks; c += e.weave {
		e.body(c, e.weave)
	}
	e.advance(block)
	a.op("SUBS $%d, R9, R9", block)
	a.op("BGE loop%s", at)
	a.label("tail" + at)
	switch {
	case p.noTail:
	case len(p.accs) > 0:
		e.accTail(a, block, at)
	default:
		e.plainTail(a, block, at)
	}
	a.label("done" + at)
	e.first = len(p.accs) * e.copies
	e.free = make([]bool, 31-e.first)
	for i := range e.free {
		e.free[i] = true
	}
}

// plainTail goes on by single vectors.
func (e *em) plainTail(a *asm, block int, at string) {
	a.op("ADDS $%d, R9, R9", block)
	a.op("BEQ done%s", at)
	if block > e.isa.w {
		a.op("SUBS $4, R9, R9")
		a.op("BLT rest%s", at)
		a.label("vector" + at)
		e.body(0, 1)
		e.advance(4)
		a.op("SUBS $4, R9, R9")
		a.op("BGE vector%s", at)
		a.label("rest" + at)
		a.op("ADDS $4, R9, R9")
		a.op("BEQ done%s", at)
	}
	e.tail = true
	a.op("CMP $2, R9")
	e.body(0, 1)
}

// accTail takes the vectors that are left one by one, each into its own accumulator.
func (e *em) accTail(a *asm, block int, at string) {
	a.op("ADDS $%d, R9, R9", block)
	a.op("BEQ done%s", at)
	a.op("MOVD $neonMask<>(SB), R11")
	for c := range e.chunks {
		if c+1 < e.chunks {
			a.op("CMP $4, R9")
			a.op("BLT less%d%s", c, "_"+at)
			e.tail = false
			e.body(c, 1)
			a.op("SUBS $4, R9, R9")
			a.op("BEQ done%s", at)
			continue
		}
		e.lastVector(a, c)
	}
	for c := range e.chunks - 1 {
		a.op("B done%s", at)
		a.label(fmt.Sprintf("less%d_%s", c, at))
		e.lastVector(a, c)
	}
}

// lastVector takes one, two or three elements into accumulator c.
func (e *em) lastVector(a *asm, c int) {
	a.op("SUB R9<<2, R11, R11")
	a.op("FMOVQ 16(R11), F%d", neonMask)
	a.op("CMP $2, R9")
	e.tail = true
	e.body(c, 1)
}

// neonCode emits a routine over rows: R13 holds n, R14 the rows, R15 the bytes of a row, R16 those of a step, R19 on the rows' pointers.
func (p *rowProgram) neonCode(a *asm, pool *constPool) {
	isa := isaNEON
	args := 8*len(p.ptrs) + 24 + 4*len(p.params)
	a.text(fmt.Sprintf("func %s%s%s\n%s", p.name, isa.suffix, p.signature(), p.doc), p.name+isa.suffix, args)
	for i, name := range p.names() {
		a.op("MOVD %s+%d(FP), R%d", name, 8*i, 19+i)
	}
	o := 8 * len(p.ptrs)
	a.op("MOVD n+%d(FP), R13", o)
	a.op("MOVD rows+%d(FP), R14", o+8)
	a.op("MOVD step+%d(FP), R16", o+16)
	a.op("LSL $2, R13, R15")
	a.op("LSL $2, R16, R16")
	a.op("MOVD $neonConst<>(SB), %s", neonConst)
	total := len(p.params) + p.scalars
	top := isa.regs - 1
	for i, name := range p.params {
		a.op("FMOVS %s+%d(FP), F%d", name, o+24+4*i, top-i)
		a.op("VDUP V%d.S[0], V%d.S4", top-i, top-i)
	}
	a.label("row")
	labels := 0
	for k, ph := range p.phases {
		prog := &program{name: p.name, ptrs: p.ptrs, lanes: ph.lanes, body: ph.body}
		if ph.acc != "" {
			prog.accs = []string{ph.acc}
		}
		less := isa
		less.regs -= total
		e := newEm(prog, less, pool)
		for i, v := range e.ps {
			e.held[v] = top - i
		}
		e.neonPlan()
		e.out, e.label, e.labels = a.op, a.label, labels
		for i := range p.ptrs {
			a.op("MOVD R%d, R%d", 19+i, i)
		}
		a.op("MOVD R13, R9")
		e.neonPhase(a, fmt.Sprint(k))
		labels = e.labels
		if ph.acc == "" {
			continue
		}
		e.neonFold(0)
		for _, g := range ph.glue {
			p.neonGlue(a, g, top)
		}
		a.op("VDUP V0.S[0], V%d.S4", top-ph.sets)
	}
	for i, ptr := range p.ptrs {
		switch strings.Fields(ptr)[1] {
		case "row":
			a.op("ADD R15, R%d", 19+i)
		case "step":
			a.op("ADD R16, R%d", 19+i)
		}
	}
	a.op("SUBS $1, R14, R14")
	a.op("BNE row")
	a.op("RET")
}

// neonGlue emits a step on F0; it may use F1.
func (p *rowProgram) neonGlue(a *asm, g glueStep, top int) {
	switch g.op {
	case "div":
		a.op("FDIVS F%d, F0, F0", top-g.scalar)
	case "add":
		a.op("FADDS F%d, F0, F0", top-g.scalar)
	case "sqrt":
		a.op("FSQRTS F0, F0")
	case "recip":
		a.op("FMOVS $1.0, F1")
		a.op("FDIVS F0, F1, F0")
	}
}
