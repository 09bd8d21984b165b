package main

import (
	"fmt"
	"math/bits"
	"strings"
)

// nbWide is the kernel of one row and weights in blocks of 32, in whose code the bytes of a block are no loop. The integers of digits and of halves of
// bytes are joined before they are made floats, which rounds as nbTile does: see nbFour3. Of one digit the panels are cut into as many equal runs, which
// it goes through side by side, a block of each at a time: the elements of A are spread over registers once for all of them, and the weights come in
// streams as long as the runs, of which a Zen 4 has more under way than of one. Three digits, whose integers take the registers, have one.
//
// Registers: DX args, R12 blocks, DI weights, R9 bytes of a run and R15 three times that, R10 bytes of a block, SI A, R11 terms, AX zeros, R13
// panels left of a run, BX c, CX bytes of a run's c and R8 three times that. Z0 to Z7 are the sums and Z24 to Z27 the integers of a block, or, of
// three digits, Z0, Z1 and Z2 to Z13; Z8 to Z15 A, or, of three digits, Z14 and Z15; Z16 to Z23 weights, Z28 a factor, Z29 where integers start, Z30
// the scale of the row and Z31 a mask.
type nbWide struct {
	bits, parts int
	from        source
}

// source is where the weights come from, which says what is asked for ahead.
type source int

const (
	readAhead source = iota // by the CPU's own prefetcher (AMD), which requests disturb: few or none
	nearby                  // from a cache: what lies 2 KiB on
	distant                 // from memory: what lies 13.5 KiB on to the second-level cache first
)

func (w nbWide) name() string {
	return fmt.Sprintf("nbits%dp%d%s", w.bits, w.parts, []string{"wide", "near", "far"}[w.from])
}

// runs is the number of runs, of 4 and 8 bits as measured on a Zen 4. It is nbitsRuns in the package.
func (w nbWide) runs() int {
	switch {
	case w.parts > 1:
		return 1
	case w.bits == 4:
		return 2
	}
	return 4
}

// acc is the register of the integers of digit p and vector v; of set 1 those of the upper halves of bytes, 16 times too large, or of every second
// group of four.
func (w nbWide) acc(set, p, v int) int {
	if w.parts == 1 {
		return 24 + 2*set + v
	}
	return 2 + (3*set+p)*2 + v
}

// sets is the number of sets: two where halves of bytes have their own, or chains of additions would be too long.
func (w nbWide) sets() int {
	if w.bits == 8 && w.parts == 3 {
		return 1
	}
	return 2
}

// at is the address of byte d of a block of run p.
func (w nbWide) at(p, d int) string {
	return fmt.Sprintf("%d%s", d, []string{"(DI)", "(DI)(R9*1)", "(DI)(R9*2)", "(DI)(R15*1)"}[p])
}

// to is the address of byte d of what a panel of run p makes.
func (w nbWide) to(p, d int) string {
	return fmt.Sprintf("%d%s", d, []string{"(BX)", "(BX)(CX*1)", "(BX)(CX*2)", "(BX)(R8*1)"}[p])
}

func (w nbWide) kernel(a *asm, stubs *strings.Builder) {
	decl := fmt.Sprintf("func %s(x *nbitsArgs)", w.name())
	fmt.Fprintf(stubs, "\n// %s is the product of a row in %d digit(s) with panels, a multiple of %d, of weights of %d bits in blocks of 32.\n//\n//go:noescape\n%s\n",
		w.name(), w.parts, w.runs(), w.bits, decl)
	a.text(decl+"\nfields: "+nbArgs, w.name(), 8)
	runs, zeros := w.runs(), 128*w.bits+128
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"16(DX), DI", "72(DX), AX", "56(DX), BX", "272(DX), R13"} {
		a.op("MOVQ %s", l)
	}
	if w.bits == 4 {
		a.op("MOVL $0x0f0f0f0f, CX")
		a.op("VPBROADCASTD CX, Z31")
	}
	if w.bits == 8 && w.parts == 3 {
		a.op("MOVL $0x47800000, CX") // 65536
		a.op("VPBROADCASTD CX, Z28")
	}
	a.op("MOVQ AX, R10")
	a.op("SHLQ $7, R10")
	a.op("ADDQ $%d, R10", zeros)
	if runs > 1 {
		a.op("SHRQ $%d, R13", bits.Len(uint(runs))-1)
		a.op("MOVQ 0(DX), R9")
		a.op("IMULQ R10, R9")
		a.op("IMULQ R13, R9")
		a.op("MOVQ R13, CX")
		a.op("SHLQ $7, CX")
	}
	if runs > 2 {
		a.op("LEAQ (R9)(R9*2), R15")
		a.op("LEAQ (CX)(CX*2), R8")
	}
	a.label("panel")
	for _, l := range []string{"0(DX), R12", "24(DX), SI", "40(DX), R11"} {
		a.op("MOVQ %s", l)
	}
	for i := range 2 * runs {
		a.op("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", i)
	}
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("block")
	if w.parts == 1 {
		for g := range 8 {
			a.op("VPBROADCASTD %d(SI), Z%d", 4*g, 8+g)
		}
		a.op("VPBROADCASTD 0(R11), Z29")
	}
	a.op("VBROADCASTSS 12(R11), Z30")
	if runs == 1 && w.from == readAhead {
		nudge(a, "DI", 128*w.bits)
	}
	for p := range runs {
		w.ask(a, p)
		w.start(a)
		for u := range 4 {
			w.pair(a, p, u)
		}
		w.scale(a, p)
	}
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
	a.op("VBROADCASTSS 16(R11), Z29")
	for p := range runs {
		for v := range 2 {
			a.op("VFNMADD231PS %s, Z29, Z%d", w.at(p, zeros+64*v), 2*p+v)
		}
	}
	a.label("even")
	a.op("ADDQ $%d, SI", 32*w.parts)
	a.op("ADDQ R10, DI")
	a.op("ADDQ $32, R11")
	a.op("DECQ R12")
	a.op("JNE  block")
	for i := range 2 * runs {
		a.op("VMOVUPS Z%d, %s", i, w.to(i/2, i%2*64))
	}
	a.op("ADDQ $128, BX")
	a.op("DECQ R13")
	a.op("JNE  panel")
	a.op("VZEROUPPER")
	a.op("RET")
}

// ask fetches what lies behind the block of run p; with zero points two lines of a block are left to the CPU.
func (w nbWide) ask(a *asm, p int) {
	for d := 0; d < 128*w.bits+128 && w.from != readAhead; d += 64 {
		if w.from == distant {
			a.op("PREFETCHT1 %s", w.at(p, far+d))
		}
		a.op("PREFETCHT0 %s", w.at(p, 2048+d))
	}
}

// start sets the integers of a block.
func (w nbWide) start(a *asm) {
	for p := range w.parts {
		from := 29
		if w.parts > 1 {
			from = w.acc(0, p, 0)
			a.op("VPBROADCASTD %d(R11), Z%d", 4*p, from)
		}
		for v := range 2 {
			if to := w.acc(0, p, v); to != from {
				a.op("VMOVDQA32 Z%d, Z%d", from, to)
			}
			if w.sets() == 2 {
				a.op("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", w.acc(1, p, v))
			}
		}
	}
}

// pair multiplies groups 2u and 2u+1 of four rows of the block of run n.
func (w nbWide) pair(a *asm, n, u int) {
	z := func(g, v int) int { return 16 + 4*(u%2) + 2*g + v }
	for v := range 2 {
		if w.bits == 8 {
			for g := range 2 {
				a.op("VMOVDQU32 %s, Z%d", w.at(n, 256*u+128*g+64*v), z(g, v))
			}
			continue
		}
		a.op("VMOVDQU32 %s, Z%d", w.at(n, 128*u+64*v), z(1, v))
		a.op("VPANDD Z%d, Z31, Z%d", z(1, v), z(0, v))
		a.op("VPANDND Z%d, Z31, Z%[1]d", z(1, v))
	}
	for g := range 2 {
		for p := range w.parts {
			x := 8 + 2*u + g
			if w.parts > 1 {
				x = 14 + p%2
				a.op("VPBROADCASTD %d(SI), Z%d", 4*((2*u+g)*w.parts+p), x)
			}
			for v := range 2 {
				a.op("VPDPBUSD Z%d, Z%d, Z%d", x, z(g, v), w.acc(g*(w.sets()-1), p, v))
			}
		}
	}
}

// scale adds the integers of a block of run n, times the scales, to the sums.
func (w nbWide) scale(a *asm, n int) {
	add := func(from, to int) { a.op("VPADDD Z%d, Z%[2]d, Z%[2]d", from, to) }
	left := func(by, z int) { a.op("VPSLLD $%d, Z%[2]d, Z%[2]d", by, z) }
	for v := range 2 {
		low := w.acc(0, 0, v)
		if w.bits == 4 {
			a.op("VPSRAD $4, Z%[1]d, Z%[1]d", w.acc(1, 0, v))
		}
		if w.sets() == 2 {
			add(w.acc(1, 0, v), low)
		}
		for p := 1; p < w.parts; p++ {
			z := w.acc(0, p, v)
			switch {
			case w.bits == 4:
				left(4, z)
				add(w.acc(1, p, v), z)
				left(8*p-4, z)
			case p == 1:
				left(8, z)
			default: // might not fit
				continue
			}
			add(z, low)
		}
		a.op("VCVTDQ2PS Z%[1]d, Z%[1]d", low)
		if w.bits == 8 && w.parts == 3 {
			a.op("VCVTDQ2PS Z%[1]d, Z%[1]d", w.acc(0, 2, v))
			a.op("VFMADD231PS Z%d, Z28, Z%d", w.acc(0, 2, v), low)
		}
		a.op("VMULPS %s, Z30, Z%d", w.at(n, 128*w.bits+64*v), 16+v)
		a.op("VFMADD231PS Z%d, Z%d, Z%d", 16+v, low, 2*n+v)
	}
}
