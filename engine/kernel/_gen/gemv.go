package main

import (
	"fmt"
	"strings"
)

// vecTile is a kernel for one to three rows: many columns at once, so that the loads of B, which come from far away, run
// in several streams and the chains of additions hide each other's latency. It covers whole panels of 32 columns: four
// of them on AVX-512, two on AVX2.
type vecTile struct {
	name, isa, elem string
	load, bc, fma   string
	acc, dot        bool // as in tile
	half            halfKind
}

func (t vecTile) panels() int { return map[string]int{"Z": 4, "Y": 2}[t.isa] }

func (t vecTile) maxRows() int { return map[string]int{"Z": 3, "Y": 1}[t.isa] }

// kernel writes the kernel with mr rows. Registers: DX k, SI a, R8 lda, DI b, R9 ps, R15 3*ps, R10 bs, BX c, R13 ldc.
func (t vecTile) kernel(a *asm, stubs *strings.Builder, mr int) {
	aT, bT, cT := "float32", "float32", "float32"
	if t.elem == "int8" {
		aT, bT, cT = "uint8", "int8", "int32"
	}
	if t.half != whole {
		bT = "uint16"
	}
	if t.dot {
		aT, bT = "uint16", "uint16"
	}
	args, n := "k int, a *"+aT+", lda int, b *"+bT+", bs, ps int, c *"+cT+", ldc int", 64
	if t.acc {
		args, n = args+", acc int", 72
	}
	decl := fmt.Sprintf("func %s%d(%s)", t.name, mr, args)
	fmt.Fprintf(stubs, "\n// %s%d is the kernel for %d row(s) of a and %d whole panels of b, ps bytes apart.\n//\n//go:noescape\n%s\n", t.name, mr, mr, t.panels(), decl)
	a.text(decl, fmt.Sprintf("%s%d", t.name, mr), n)
	for _, l := range []string{"k+0(FP), DX", "a+8(FP), SI", "lda+16(FP), R8", "b+24(FP), DI", "bs+32(FP), R10", "ps+40(FP), R9", "c+48(FP), BX", "ldc+56(FP), R13"} {
		a.op("MOVQ %s", l)
	}
	a.op("LEAQ (R9)(R9*2), R15")
	w, vecs, sum := t.width(), t.vecs(), t.sum
	t.half.loadMask(a, t.highMask())
	if t.dot {
		a.op("MOVQ acc+64(FP), CX")
		a.op("TESTQ CX, CX")
		a.op("JNE  load")
	}
	for i := range mr * vecs {
		r := sum(0, i)
		a.op("%s %s, %s, %s", map[string]string{"Z": "VPXORD", "Y": "VPXOR"}[t.isa], r, r, r)
	}
	if t.dot {
		a.op("JMP  loop")
		a.label("load")
		a.op("MOVQ BX, CX")
		for i := range mr {
			for v := range vecs {
				a.op("%s %d(CX), %s", t.load, v*w, sum(i, v))
			}
			if i < mr-1 {
				a.op("ADDQ R13, CX")
			}
		}
	}
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	t.step(a, mr, 0)
	if t.half == bf16 {
		a.op("DECQ DX")
		a.op("JEQ  store")
		t.step(a, mr, 1)
	}
	a.op("ADDQ $%d, SI", 4*t.half.perRow())
	a.op("ADDQ R10, DI")
	a.op("DECQ DX")
	a.op("JNE  loop")
	if t.half == bf16 {
		a.label("store")
	}
	if t.acc && !t.dot {
		a.op("MOVQ acc+64(FP), CX")
		a.op("TESTQ CX, CX")
		a.op("JEQ  alone")
		a.op("MOVQ BX, CX")
		for i := range mr {
			for v := range vecs {
				a.op("VADDPS %d(CX), %s, %s", v*w, sum(i, v), sum(i, v))
			}
			if i < mr-1 {
				a.op("ADDQ R13, CX")
			}
		}
		a.label("alone")
	}
	for i := range mr {
		for v := range vecs {
			a.op("%s %s, %d(BX)", t.load, sum(i, v), v*w)
		}
		if i < mr-1 {
			a.op("ADDQ R13, BX")
		}
	}
	a.op("VZEROUPPER")
	a.op("RET")
}

func (t vecTile) width() int { return map[string]int{"Z": 64, "Y": 32}[t.isa] }

// vecs is the number of vectors of a row of C.
func (t vecTile) vecs() int { return t.panels() * 128 / t.width() }

func (t vecTile) sum(i, v int) string { return fmt.Sprintf("%s%d", t.isa, t.vecs()*i+v) }

// highMask is the register of the mask that bfloat16 needs.
func (t vecTile) highMask() string { return map[string]string{"Z": "Z28", "Y": "Y14"}[t.isa] }

// step is one k; of bfloat16, whose rows hold two, number u of the pair.
func (t vecTile) step(a *asm, mr, u int) {
	x := func(i int) string { return fmt.Sprintf("%s%d", t.isa, map[string]int{"Z": 29, "Y": 13}[t.isa]+i) }
	at := ""
	if u > 0 {
		at = fmt.Sprint(4 * u)
	}
	for i := range mr {
		a.op("%s %s%s, %s", t.bc, at, []string{"(SI)", "(SI)(R8*1)", "(SI)(R8*2)"}[i], x(i))
	}
	perPanel := 128 / t.width()
	for v := range t.vecs() {
		off := ""
		if v%perPanel > 0 {
			off = fmt.Sprint(v % perPanel * t.half.bytes(t.width()))
		}
		from := off + []string{"(DI)", "(DI)(R9*1)", "(DI)(R9*2)", "(DI)(R15*1)"}[v/perPanel]
		if mr == 1 && t.dot {
			at := []mem{{base: "DI"}, {base: "DI", index: "R9", scale: 1}, {base: "DI", index: "R9", scale: 2}, {base: "DI", index: "R15", scale: 1}}[v/perPanel]
			at.disp = v % perPanel * t.width()
			a.inst(dotBF16(t.isa, vecNum(t.sum(0, v)), vecNum(x(0)), at, false))
			continue
		}
		if mr == 1 && t.half == whole {
			a.op("%s %s, %s, %s", t.fma, from, x(0), t.sum(0, v))
			continue
		}
		b := fmt.Sprintf("%s%d", t.isa, map[string]int{"Z": 24, "Y": 8}[t.isa]+v%4)
		if t.half == whole {
			a.op("%s %s, %s", t.load, from, b)
		} else {
			t.half.widen(a, t.isa, from, t.highMask(), b, u)
		}
		for i := range mr {
			tile{isa: t.isa, fma: t.fma, dot: t.dot}.mul(a, b, x(i), t.sum(i, v))
		}
	}
}
