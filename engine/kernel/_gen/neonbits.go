package main

import (
	"fmt"
	"strings"
)

// neonBits is a kernel for block-wise quantized weights of 4 or 8 bits, as nbTile is: rows of A in one or three signed digits, a panel of 32 columns,
// all blocks of K, sixteen rows of B at a time. The columns of a block are done in parts of nv registers of four, whose sums fit the registers. One row
// takes several panels, one after the other as they lie in memory.
//
// Weights of 4 bits, 0 to 15, are signed bytes as they are. Those of 8 bits are so less 128, which is also their middle: their sums start at 0.
//
// Without dot products, of one row alone, products fit 16 bits, and so do sums of four by weights of 4 bits, 4*15*128, and of two by weights of 8
// bits of digits that do not reach -128, 2*128*127: those of a single one. Pairs are then added to 32 bits, two sums for each column.
//
// Registers: R0 args, R1 blocks left, R2 weights, R3 digits, R4 lda, R5 terms, R6 ldt, R7 C, R8 ldc, R9 zeros, R10 sixteens of a block, R11 and R12
// the places of the digits, R13 C of the part, R14 weights of the part and then its scales, R15 sixteens left, R16 and R17 C and terms of a row, R19
// panels left, R20 to R23 digits of the rows, R24 parts left, R26 bytes from the end of the parts to the next block.
type neonBits struct {
	bits, parts, rows int
	dot               bool
}

func (t neonBits) name() string {
	return fmt.Sprintf("nbits%dp%dm%d%s", t.bits, t.parts, t.rows, map[bool]string{true: "sdot", false: "smull"}[t.dot])
}

// nv is the number of registers of four columns in a part.
func (t neonBits) nv() int {
	switch n := t.rows * t.parts; {
	case !t.dot && n == 3 || n > 4:
		return 2
	case n == 4:
		return 4
	}
	return 8
}

// halves is the number of registers of sums of four columns.
func (t neonBits) halves() int {
	if t.dot {
		return 1
	}
	return 2
}

// acc is the register of the sums of a digit, the lower two columns' where there are two.
func (t neonBits) acc(r, p, v int) int { return ((r*t.parts+p)*t.nv() + v) * t.halves() }

// held tells whether the sums of the blocks stay in registers, from V8 on; otherwise they are in C.
func (t neonBits) held() bool { return t.dot && t.rows*t.parts == 1 }

// free is the first register that holds no sums.
func (t neonBits) free() int {
	if t.held() {
		return 16
	}
	return t.acc(t.rows, 0, 0)
}

// digits is the first of the registers of digits, between which and the last there is room for weights.
func (t neonBits) digits() int { return t.free() }

// temps is the first register after those of the digits.
func (t neonBits) temps() int {
	if t.dot {
		return t.digits() + t.rows*t.parts
	}
	return t.digits() + 4*t.parts
}

// fixed is the register of the mask of the lower nibbles, or of 128 in every byte.
const fixed = 31

func (t neonBits) code(a *asm, stubs *strings.Builder) {
	decl := fmt.Sprintf("func %s(x *nbitsArgs)", t.name())
	panels := "a panel"
	if t.rows == 1 {
		panels = "panels"
	}
	fmt.Fprintf(stubs, "\n// %s is the product of %d row(s) in %d digit(s) with %s of weights of %d bits.\n//\n//go:noescape\n%s\n", t.name(), t.rows, t.parts, panels, t.bits, decl)
	a.text(decl+"\nfields: "+nbArgs, t.name(), 8)
	a.op("MOVD x+0(FP), R0")
	for _, f := range [][2]string{{"8", "R10"}, {"16", "R2"}, {"32", "R4"}, {"48", "R6"}, {"56", "R7"}, {"64", "R8"}, {"72", "R9"}, {"272", "R19"}} {
		a.op("MOVD %s(R0), %s", f[0], f[1])
	}
	a.op("LSR $1, R10, R10")
	a.op("MOVD $%d, R26", 64*t.bits)
	a.op("MUL R10, R26, R26")
	a.op("ADD R9<<7, R26, R26")
	if t.parts == 3 {
		a.op("MOVD $0x43800000, R11") // 256
		a.op("MOVD $0x47800000, R12") // 65536
	}
	if t.rows == 1 {
		a.label("panel")
	}
	for _, f := range [][2]string{{"0", "R1"}, {"24", "R3"}, {"40", "R5"}} {
		a.op("MOVD %s(R0), %s", f[0], f[1])
	}
	t.begin(a)
	a.label("block")
	if t.nv() < 8 {
		a.op("MOVD R7, R13")
		a.op("MOVD $%d, R24", 8/t.nv())
		a.label("part")
	}
	a.op("MOVD R2, R14")
	a.op("MOVD R3, R20")
	for r := 1; r < t.rows; r++ {
		a.op("ADD R4, R%d, R%d", 19+r, 20+r)
	}
	a.op("MOVD R10, R15")
	t.start(a)
	if t.bits == 4 {
		a.op("VMOVI $15, V%d.B16", fixed)
	} else {
		a.op("VMOVI $128, V%d.B16", fixed)
	}
	a.label("sixteen")
	if t.dot {
		t.dots(a)
	} else {
		t.products(a)
	}
	a.op("ADD $%d, R14", 64*t.bits)
	a.op("SUBS $1, R15, R15")
	a.op("BNE sixteen")
	t.scale(a)
	a.op("ADD $%d, R2", 16*t.nv())
	if t.nv() < 8 {
		a.op("ADD $%d, R13", 16*t.nv())
		a.op("SUBS $1, R24, R24")
		a.op("BNE part")
	}
	a.op("ADD R26, R2")
	a.op("MOVD R20, R3")
	a.op("ADD $32, R5")
	a.op("SUBS $1, R1, R1")
	a.op("BNE block")
	if t.held() {
		for v := 0; v < 8; v += 2 {
			a.op("FSTPQ (F%d, F%d), %d(R7)", 8+v, 9+v, 16*v)
		}
	}
	if t.rows == 1 {
		a.op("ADD $128, R7")
		a.op("SUBS $1, R19, R19")
		a.op("BNE panel")
	}
	a.op("RET")
}

// begin clears the sums of the blocks.
func (t neonBits) begin(a *asm) {
	if t.held() {
		for v := range 8 {
			a.clear(8 + v)
		}
		return
	}
	a.clear(0)
	a.op("MOVD R7, R16")
	for r := range t.rows {
		for v := 0; v < 8; v += 2 {
			a.op("FSTPQ (F0, F0), %d(R16)", 16*v)
		}
		if r < t.rows-1 {
			a.op("ADD R8, R16")
		}
	}
}

// start sets the sums of a block to where they start; those in two registers get that later.
func (t neonBits) start(a *asm) {
	if t.bits == 8 || !t.dot {
		for i := range t.acc(t.rows, 0, 0) {
			a.clear(i)
		}
		return
	}
	terms := t.free()
	for r := range t.rows {
		t.terms(a, r, terms)
		for p := range t.parts {
			for v := range t.nv() {
				a.op("VDUP V%d.S[%d], V%d.S4", terms, p, t.acc(r, p, v))
			}
		}
	}
}

// terms loads the starts and the scale of row r to v, and leaves R17 at them.
func (t neonBits) terms(a *asm, r, v int) {
	if r == 0 {
		a.op("MOVD R5, R17")
	} else {
		a.op("ADD R6, R17")
	}
	a.op("FMOVQ (R17), F%d", v)
}

// neonNibbles splits the weights of a register: the lower ones stay where they are.
func neonNibbles(a *asm, w, upper int) {
	a.op("VUSHR $4, V%d.B16, V%d.B16", w, upper)
	a.three("VAND", "B16", w, w, fixed)
}

// dots multiplies sixteen rows of the part.
func (t neonBits) dots(a *asm) {
	per := t.parts // registers of digits of a row
	for r := range t.rows {
		if per == 1 {
			a.op("FMOVQ.P 16(R%d), F%d", 20+r, t.digits()+r)
		} else {
			a.op("VLD1.P 48(R%d), %s", 20+r, vregs(t.digits()+3*r, 3))
		}
	}
	next, room := 0, (fixed-t.temps())&^1
	pick := func(n int) int { // n registers side by side
		if next%room+n > room {
			next += room - next%room
		}
		next += n
		return t.temps() + (next-n)%room
	}
	dot := func(w, v, g int) {
		for r := range t.rows {
			for p := range t.parts {
				at := g*t.parts + p
				a.neon("sdotlan", t.acc(r, p, v), w, t.digits()+r*per+at/4, at%4)
			}
		}
	}
	for g := range 4 {
		if t.bits == 4 && g%2 == 1 {
			continue
		}
		for v := 0; v < t.nv(); v += 2 {
			w := pick(2)
			a.op("FLDPQ %d(R14), (F%d, F%d)", 32*t.bits*(g/2)+128*(g%2)+16*v, w, w+1)
			if t.bits == 4 {
				upper := pick(2)
				neonNibbles(a, w, upper)
				neonNibbles(a, w+1, upper+1)
				for i := range 2 {
					dot(w+i, v+i, g)
				}
				for i := range 2 {
					dot(upper+i, v+i, g+1)
				}
				continue
			}
			for i := range 2 {
				a.three("VEOR", "B16", w+i, w+i, fixed)
			}
			for i := range 2 {
				dot(w+i, v+i, g)
			}
		}
	}
}

// products is dots without dot products: the weights of four columns at a time in four registers, the sums of products in those after them.
func (t neonBits) products(a *asm) {
	for i := range 4 * t.parts {
		a.op("VLD1R.P 4(R20), [V%d.S4]", t.digits()+i)
	}
	chain := 4 // products that are added in 16 bits
	if t.bits == 8 {
		chain = 2
		if t.parts == 3 {
			chain = 1
		}
	}
	w, sums, next := t.temps(), t.temps()+4, 0
	for v := range t.nv() {
		if t.bits == 4 {
			for g := 0; g < 4; g += 2 {
				a.op("FMOVQ %d(R14), F%d", 64*g+16*v, w+g)
				neonNibbles(a, w+g, w+g+1)
			}
		} else {
			for g := range 4 {
				a.op("FMOVQ %d(R14), F%d", 128*g+16*v, w+g)
				a.three("VEOR", "B16", w+g, w+g, fixed)
			}
		}
		for g := 0; g < 4; g += chain {
			for p := range t.parts {
				var s [2]int
				for half := range 2 {
					s[half] = sums + next%(fixed-sums)
					next++
				}
				for i := range chain {
					for half, of := range []string{"", "2"} {
						mul := "smlal"
						if i == 0 {
							mul = "smull"
						}
						a.neon(mul+of, s[half], w+g+i, t.digits()+(g+i)*t.parts+p)
					}
				}
				for half := range 2 {
					a.neon("sadalp", t.acc(0, p, v)+half, s[half])
				}
			}
		}
	}
}

// scale adds the part's integers, times the scales of its columns and rows, to the sums of the blocks.
func (t neonBits) scale(a *asm) {
	free := t.free()
	if !t.dot {
		for p := range t.parts {
			for v := range t.nv() {
				s := t.acc(0, p, v)
				a.three("VADDP", "S4", s, s, s+1)
			}
		}
		if t.bits == 4 {
			t.terms(a, 0, free)
			for p := range t.parts {
				a.op("VDUP V%d.S[%d], V%d.S4", free, p, free+1)
				for v := range t.nv() {
					a.three("VADD", "S4", t.acc(0, p, v), t.acc(0, p, v), free+1)
				}
			}
		}
	}
	for r := range t.rows {
		for v := range t.nv() {
			for p := range t.parts {
				a.neon("scvtf", t.acc(r, p, v), t.acc(r, p, v))
			}
		}
	}
	if t.parts == 3 {
		for p := 1; p < 3; p++ {
			a.op("VDUP R%d, V%d.S4", 10+p, free)
			for r := range t.rows {
				for v := range t.nv() {
					a.three("VFMLA", "S4", t.acc(r, 0, v), t.acc(r, p, v), free)
				}
			}
		}
	}
	a.op("CBNZ R9, odd")
	t.sum(a, false)
	a.op("B done")
	a.label("odd")
	t.sum(a, true)
	a.label("done")
}

// sum adds the floats of a block to the sums of the blocks.
func (t neonBits) sum(a *asm, zeros bool) {
	c := "R7"
	if t.nv() < 8 {
		c = "R13"
	}
	terms, total := t.free(), t.free()+1
	for r := range t.rows {
		t.terms(a, r, terms)
		if zeros {
			a.op("FMOVS 16(R17), F%d", total)
		}
		if r == 1 {
			a.op("ADD R8, %s, R16", c)
		} else if r > 1 {
			a.op("ADD R8, R16")
		}
		row := "R16"
		if r == 0 {
			row = c
		}
		for v := 0; v < t.nv(); v += 2 {
			s, out, z := t.free()+2, t.free()+4, t.free()+6
			a.op("FLDPQ %d(R14), (F%d, F%d)", 16*v, s, s+1)
			if t.held() {
				out = 8 + v
			} else {
				a.op("FLDPQ %d(%s), (F%d, F%d)", 16*v, row, out, out+1)
			}
			if zeros {
				a.op("FLDPQ %d(R14), (F%d, F%d)", 128+16*v, z, z+1)
			}
			for i := range 2 {
				a.neon("fmullan", s+i, s+i, terms, 3)
			}
			for i := range 2 {
				a.three("VFMLA", "S4", out+i, t.acc(r, 0, v+i), s+i)
			}
			for i := range 2 {
				if zeros {
					a.neon("fmlslan", out+i, z+i, total, 0)
				}
			}
			if !t.held() {
				a.op("FSTPQ (F%d, F%d), %d(%s)", out, out+1, 16*v, row)
			}
		}
	}
}

// neonBitsFiles writes the products with block-wise quantized weights.
func neonBitsFiles() []file {
	a := newARM("neonbits.go")
	var s strings.Builder
	s.WriteString(armHead("neonbits.go"))
	for _, bits := range []int{4, 8} {
		for _, parts := range []int{1, 3} {
			for rows := 1; rows <= map[int]int{1: 4, 3: 3}[parts]; rows++ {
				neonBits{bits, parts, rows, true}.code(a, &s)
			}
			neonBits{bits, parts, 1, false}.code(a, &s)
		}
	}
	neonSplit(a, &s)
	for _, bits := range []int{4, 8} {
		neonWiden(a, &s, bits)
	}
	return []file{a.file("nbits_neon_arm64.s"), goFile("nbits_neon_stubs_arm64.go", s.String())}
}
