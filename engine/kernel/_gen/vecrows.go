package main

import (
	"fmt"
	"math"
	"strings"
)

// rowProgram is a routine over rows of n elements: several loops over each row, and scalar code between them.
type rowProgram struct {
	name, doc string
	ptrs      []string // "name step": step is row (advances by n elements), none, or step (by the argument step, in elements)
	params    []string // float32 arguments
	scalars   int      // computed in the phases; they follow the params
	phases    []rowPhase
}

// rowPhase is one loop over a row and what is made of its result.
type rowPhase struct {
	acc   string // kind of the accumulator, "" for none
	lanes int
	body  func(b *vb)
	glue  []glueStep // on the folded result
	sets  int        // the scalar that becomes the result
}

// glueStep is one scalar operation on a result r: "div" r/scalar, "add" r+scalar, "sqrt" or "recip" 1/r.
type glueStep struct {
	op     string
	scalar int
}

// glueAVX emits a step on X0; it may use X1.
func glueAVX(op func(format string, args ...any), g glueStep, x func(i int) string, one string) {
	switch g.op {
	case "div":
		op("VDIVSS %s, X0, X0", x(g.scalar))
	case "add":
		op("VADDSS %s, X0, X0", x(g.scalar))
	case "sqrt":
		op("VSQRTSS X0, X0, X0")
	case "recip":
		op("VMOVSS %s, X1", one)
		op("VDIVSS X0, X1, X0")
	}
}

func (p *rowProgram) names() []string {
	var out []string
	for _, x := range p.ptrs {
		out = append(out, strings.Fields(x)[0])
	}
	return out
}

func (p *rowProgram) signature() string {
	s := "(" + strings.Join(p.names(), ", ") + " *float32, n, rows, step int"
	if len(p.params) > 0 {
		s += ", " + strings.Join(p.params, ", ") + " float32"
	}
	return s + ")"
}

// code emits the routine for one instruction set. R12 holds n, R10 the rows, R11 the bytes of a row.
func (p *rowProgram) code(a *asm, isa isaVec, pool *constPool) {
	args := 8*len(p.ptrs) + 24 + 4*len(p.params)
	a.text(fmt.Sprintf("func %s%s%s\n%s", p.name, isa.suffix, p.signature(), p.doc), p.name+isa.suffix, args)
	for i, name := range p.names() {
		a.op("MOVQ %s+%d(FP), %s", name, 8*i, gprs[i])
	}
	o := 8 * len(p.ptrs)
	a.op("MOVQ n+%d(FP), R12", o)
	a.op("MOVQ rows+%d(FP), R10", o+8)
	a.op("LEAQ (R12*4), R11")
	total := len(p.params) + p.scalars
	top := isa.regs - 1
	x := func(i int) string { return fmt.Sprintf("X%d", top-i) }
	for i, name := range p.params {
		a.op("VBROADCASTSS %s+%d(FP), %c%d", name, o+24+4*i, isa.name, top-i)
	}
	a.label("row")
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
		e.plan()
		e.out = a.op
		a.op("MOVQ R12, BX")
		e.phase(a, fmt.Sprint(k))
		if ph.acc == "" {
			continue
		}
		e.foldAcc(0)
		for _, g := range ph.glue {
			glueAVX(a.op, g, x, fmt.Sprintf("vecConst<>+%d(SB)", pool.at(math.Float32bits(1))))
		}
		a.op("VBROADCASTSS X0, %c%d", isa.name, top-ph.sets)
	}
	for i, ptr := range p.ptrs {
		switch strings.Fields(ptr)[1] {
		case "row":
			a.op("ADDQ R11, %s", gprs[i])
		case "step":
			a.op("MOVQ step+%d(FP), BX", o+16)
			a.op("LEAQ (%s)(BX*4), %s", gprs[i], gprs[i])
		}
	}
	a.op("DECQ R10")
	a.op("JNZ row")
	a.op("VZEROUPPER")
	a.op("RET")
}

// goCode writes the stubs and the dispatching wrapper.
func (p *rowProgram) goCode(stubs *strings.Builder, isas []isaVec) {
	for _, isa := range isas {
		fmt.Fprintf(stubs, "\n//go:noescape\nfunc %s%s%s\n", p.name, isa.suffix, p.signature())
	}
	args := strings.Join(append(append(p.names(), "n", "rows", "step"), p.params...), ", ")
	fmt.Fprintf(stubs, "\nfunc %sVec%s bool {\n\tswitch isa := Active(); {\n", p.name, p.signature())
	for _, isa := range isas {
		fmt.Fprintf(stubs, "\tcase isa >= %s:\n\t\t%s%s(%s)\n", isa.suffix, p.name, isa.suffix, args)
	}
	fmt.Fprintf(stubs, "\tdefault:\n\t\treturn false\n\t}\n\treturn true\n}\n")
}

// noasmCode writes the wrapper's twin without assembly.
func (p *rowProgram) noasmCode(noasm *strings.Builder) {
	fmt.Fprintf(noasm, "\nfunc %sVec%s bool { return false }\n", p.name, p.signature())
}

// rowTable lists the row programs.
func rowTable() []*rowProgram {
	var out []*rowProgram
	for _, mask := range []bool{false, true} {
		p := &rowProgram{name: "softmax", doc: "SoftmaxRows without a mask; rows >= 1",
			ptrs: []string{"dst row", "src row"}, params: []string{"scale"}, scalars: 2}
		first := func(b *vb) v { return b.Mul(b.load(1), b.param(0)) }
		if mask {
			p.name, p.doc = "softmaxMask", "SoftmaxRows; the mask advances by step; rows >= 1"
			p.ptrs = append(p.ptrs, "mask step")
			first = func(b *vb) v { return b.Fma(b.load(1), b.param(0), b.load(2)) }
		}
		p.phases = []rowPhase{
			{acc: "max", lanes: 64, sets: 1, body: func(b *vb) { t := first(b); b.store(0, t); b.accMM(0, t) }},
			{acc: "add", lanes: 16, sets: 2, body: func(b *vb) {
				e := b.expNeg(b.Sub(b.load(0), b.param(1)))
				b.store(0, e)
				b.accAdd(0, e)
			}, glue: []glueStep{{op: "recip"}}},
			{body: func(b *vb) { b.store(0, b.Mul(b.load(0), b.param(2))) }},
		}
		out = append(out, p)
	}
	for _, residual := range []bool{false, true} {
		p := &rowProgram{name: "layerNorm", doc: "LayerNormRows without a residual; nf is n; rows >= 1",
			ptrs: []string{"dst row", "src row", "gamma none", "beta none"}, params: []string{"nf", "eps"}, scalars: 2}
		x := 1
		body := func(b *vb) { b.accAdd(0, b.load(1)) }
		if residual {
			p.name, p.doc = "layerNormResidual", "LayerNormRows with a residual and sum; nf is n; rows >= 1"
			p.ptrs = append(p.ptrs, "residual row", "sum row")
			x = 5
			body = func(b *vb) { t := b.Add(b.load(1), b.load(4)); b.store(5, t); b.accAdd(0, t) }
		}
		p.phases = []rowPhase{
			{acc: "add", lanes: 64, sets: 2, body: body, glue: []glueStep{{"div", 0}}},
			{acc: "add", lanes: 64, sets: 3, body: func(b *vb) { d := b.Sub(b.load(x), b.param(2)); b.accFma(0, d, d) },
				glue: []glueStep{{"div", 0}, {"add", 1}, {op: "sqrt"}, {op: "recip"}}},
			{body: func(b *vb) {
				b.store(0, b.Fma(b.Mul(b.Sub(b.load(x), b.param(2)), b.param(3)), b.load(2), b.load(3)))
			}},
		}
		out = append(out, p)
	}
	return out
}
