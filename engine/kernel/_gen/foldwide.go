package main

import (
	"fmt"
	"strings"
)

// The kernels below take four panels at a time, 32 rows of each in turn: a Zen 3 has more of four streams of memory under way than of one. The sums
// lie in c between the turns.

// wideAhead is how far in front of the bytes that are multiplied each of the streams is fetched.
const wideAhead = 1024

// widePanels is their number.
const widePanels = 4

// wideTurn writes the loop over four panels, R9 bytes apart at DI and with 128 bytes of c each at BX, and goes back to the first.
func wideTurn(a *asm, body func()) {
	a.op("MOVQ $4, R14")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("turn")
	body()
	a.op("ADDQ R9, DI")
	a.op("ADDQ $128, BX")
	a.op("DECQ R14")
	a.op("JNE  turn")
	a.op("SUBQ R15, DI") // four times R9
	a.op("SUBQ $512, BX")
}

// nbEightWide writes nbits8p1wide256. Registers as in nbStream.
func nbEightWide(a *asm, stubs *strings.Builder) {
	decl := "func nbits8p1wide256(x *nbitsArgs)"
	fmt.Fprintf(stubs, "\n// nbits8p1wide256 is nbits8p1x256 for panels, a multiple of %d, of weights in blocks of 32.\n//\n//go:noescape\n%s\n", widePanels, decl)
	a.text(decl+"\nfields: "+nbArgs, "nbits8p1wide256", 8)
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"16(DX), DI", "56(DX), BX", "72(DX), AX", "272(DX), R13"} {
		a.op("MOVQ %s", l)
	}
	a.op("MOVQ AX, R10")
	a.op("SHLQ $7, R10")
	a.op("ADDQ $1152, R10") // bytes of a block
	a.op("MOVQ 0(DX), R9")
	a.op("IMULQ R10, R9")
	a.op("LEAQ (R9*4), R15")
	a.op("VPCMPEQW Y14, Y14, Y14")
	a.op("VPSRLW $15, Y14, Y14")
	a.label("panel")
	for _, l := range []string{"0(DX), R12", "24(DX), SI", "40(DX), R11"} {
		a.op("MOVQ %s", l)
	}
	a.op("VXORPS Y0, Y0, Y0")
	for v := range 16 {
		a.op("VMOVUPS Y0, %d(BX)", 32*v)
	}
	a.label("block")
	wideTurn(a, func() {
		for v := range 4 {
			a.op("VPBROADCASTD 4(R11), Y%d", v)
		}
		for g := range 8 {
			foldGroup(a, g, wideAhead)
		}
		for i := range 2 {
			a.op("PREFETCHT0 %d(DI)", wideAhead+1024+64*i)
		}
		nbScaled(a, 1024, true)
		a.label("even")
		nbStore(a)
	})
	a.op("ADDQ R10, DI")
	a.op("ADDQ $64, SI")
	a.op("ADDQ $32, R11")
	a.op("DECQ R12")
	a.op("JNE  block")
	a.op("LEAQ (R9)(R9*2), R12")
	a.op("ADDQ R12, DI")
	a.op("ADDQ $512, BX")
	a.op("SUBQ $%d, R13", widePanels)
	a.op("JNE  panel")
	a.op("VZEROUPPER")
	a.op("RET")
}

// foldWide writes foldU8S8x128m1. Registers: SI the folded row, DI weights, R9 bytes of a panel, BX c, DX turns left.
func foldWide(a *asm, stubs *strings.Builder) {
	decl := "func foldU8S8x128m1(turns int, x *uint8, b *int8, ps int, c *int32)"
	fmt.Fprintf(stubs, "\n// foldU8S8x128m1 adds the exact AVX2 product of one folded row, 32 elements a turn, and four panels, ps bytes apart, to c.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "foldU8S8x128m1", 40)
	for _, l := range []string{"turns+0(FP), DX", "x+8(FP), SI", "b+16(FP), DI", "ps+24(FP), R9", "c+32(FP), BX"} {
		a.op("MOVQ %s", l)
	}
	a.op("LEAQ (R9*4), R15")
	a.op("VPCMPEQW Y14, Y14, Y14")
	a.op("VPSRLW $15, Y14, Y14")
	a.label("more")
	wideTurn(a, func() {
		for v := range 4 {
			a.op("VMOVDQU %d(BX), Y%d", 32*v, v)
		}
		for g := range 8 {
			foldGroup(a, g, wideAhead)
		}
		for v := range 4 {
			a.op("VMOVDQU Y%d, %d(BX)", v, 32*v)
		}
	})
	a.op("ADDQ $1024, DI")
	a.op("ADDQ $64, SI")
	a.op("DECQ DX")
	a.op("JNE  more")
	a.op("VZEROUPPER")
	a.op("RET")
}

// foldShort writes foldU8S8x32n1. Registers: SI the folded row, DI weights, BX c, R13 panels left, DX groups of four left, CX those of a turn of eight at most.
func foldShort(a *asm, stubs *strings.Builder) {
	decl := "func foldU8S8x32n1(panels, k int, x *uint8, start int32, b *int8, sums, c *int32)"
	fmt.Fprintf(stubs, "\n// foldU8S8x32n1 is foldU8S8x32m1 for CPUs that read ahead; k is not 0.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "foldU8S8x32n1", 56)
	a.op("MOVL $8, R9")
	foldPanel(a)
	a.label("turn")
	nudge(a, "DI", 1024)
	a.op("MOVQ DX, CX")
	a.op("CMPQ CX, R9")
	a.op("CMOVQGT R9, CX")
	a.op("SUBQ CX, DX")
	nbLoop(a, "group", func() {
		foldGroup(a, 0, 0)
		a.op("SUBQ $-128, DI")
		a.op("ADDQ $8, SI")
	})
	a.op("TESTQ DX, DX")
	a.op("JNE  turn")
	foldPanelEnd(a)
}
