package main

import (
	"fmt"
	"strings"
)

// nbWidePanels is the number of panels that nbWide takes at a time.
const nbWidePanels = 4

// nbWide writes the kernel of one row of one digit and weights of 8 bits in blocks of 32: it takes four panels at a time, block by block. The
// elements of A are spread over registers once for the four, and the weights come in four streams, of which a Zen 4 has more under way than of one.
// Weights of 4 bits gain nothing from that: the lines of a block are too few.
//
// Registers: DX args, R12 blocks, DI weights, R9 bytes of a panel and R15 three times that, R10 bytes of a block, SI A, R11 terms, AX zeros, R13
// panels left, BX c. Z0 to Z7 are the sums, Z8 to Z15 A, Z16 to Z23 weights, Z26 and Z27 the integers of a block.
func nbWide(a *asm, stubs *strings.Builder) {
	decl := "func nbits8p1wide(x *nbitsArgs)"
	fmt.Fprintf(stubs, "\n// nbits8p1wide is the product of a row in 1 digit with panels, a multiple of %d, of weights of 8 bits in blocks of 32.\n//\n//go:noescape\n%s\n",
		nbWidePanels, decl)
	a.text(decl+"\nfields: "+nbArgs, "nbits8p1wide", 8)
	const scales, zeros = 1024, 1024 + 128 // where they are in a block
	out := func(p, v int) string { return fmt.Sprintf("Z%d", 2*p+v) }
	at := func(p, d int) string {
		return fmt.Sprintf("%d%s", d, []string{"(DI)", "(DI)(R9*1)", "(DI)(R9*2)", "(DI)(R15*1)"}[p])
	}
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"16(DX), DI", "72(DX), AX", "56(DX), BX", "272(DX), R13"} {
		a.op("MOVQ %s", l)
	}
	a.op("MOVQ AX, R10")
	a.op("SHLQ $7, R10")
	a.op("ADDQ $%d, R10", zeros)
	a.op("MOVQ 0(DX), R9")
	a.op("IMULQ R10, R9")
	a.op("LEAQ (R9)(R9*2), R15")
	a.label("panel")
	for _, l := range []string{"0(DX), R12", "24(DX), SI", "40(DX), R11"} {
		a.op("MOVQ %s", l)
	}
	for i := range 2 * nbWidePanels {
		a.op("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", i)
	}
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("block")
	for g := range 8 {
		a.op("VPBROADCASTD %d(SI), Z%d", 4*g, 8+g)
	}
	a.op("VPBROADCASTD 0(R11), Z29")
	a.op("VBROADCASTSS 12(R11), Z30")
	for p := range nbWidePanels {
		for v := range 2 {
			a.op("VMOVDQA32 Z29, Z%d", 26+v)
		}
		for g := range 8 {
			for v := range 2 {
				w := 16 + (2*g+v)%8
				a.op("VMOVDQU32 %s, Z%d", at(p, 128*g+64*v), w)
				a.op("VPDPBUSD Z%d, Z%d, Z%d", 8+g, w, 26+v)
			}
		}
		for v := range 2 {
			a.op("VCVTDQ2PS Z%[1]d, Z%[1]d", 26+v)
			a.op("VMULPS %s, Z30, Z%d", at(p, scales+64*v), 24+v)
			a.op("VFMADD231PS Z%d, Z%d, %s", 24+v, 26+v, out(p, v))
		}
	}
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
	a.op("VBROADCASTSS 16(R11), Z31")
	for p := range nbWidePanels {
		for v := range 2 {
			a.op("VFNMADD231PS %s, Z31, %s", at(p, zeros+64*v), out(p, v))
		}
	}
	a.label("even")
	a.op("ADDQ $32, SI")
	a.op("ADDQ R10, DI")
	a.op("ADDQ $32, R11")
	a.op("DECQ R12")
	a.op("JNE  block")
	for i := range 2 * nbWidePanels {
		a.op("VMOVUPS Z%d, %d(BX)", i, 64*i)
	}
	a.op("ADDQ R15, DI")
	a.op("ADDQ $%d, BX", 128*nbWidePanels)
	a.op("SUBQ $%d, R13", nbWidePanels)
	a.op("JNE  panel")
	a.op("VZEROUPPER")
	a.op("RET")
}
