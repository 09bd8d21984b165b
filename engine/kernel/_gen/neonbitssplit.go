package main

import (
	"fmt"
	"math"
	"strings"
)

// neonLargest leaves the bits of the largest magnitude of n floats at a register, a multiple of 16, in R10 and F0; at and n move. V30 is the mask.
func neonLargest(a *asm, at, n string) {
	for i := range 4 {
		a.clear(i)
	}
	a.label("most")
	a.op("VLD1.P 64(%s), %s", at, vregs(16, 4))
	for i := range 4 {
		a.three("VAND", "B16", 16+i, 16+i, 30)
		a.three("VUMAX", "S4", i, i, 16+i)
	}
	a.op("SUBS $16, %[1]s, %[1]s", n)
	a.op("BNE most")
	a.three("VUMAX", "S4", 0, 0, 1)
	a.three("VUMAX", "S4", 2, 2, 3)
	a.three("VUMAX", "S4", 0, 0, 2)
	for _, by := range []int{8, 4} {
		a.op("VEXT $%d, V0.B16, V0.B16, V1.B16", by)
		a.three("VUMAX", "S4", 0, 0, 1)
	}
	a.op("FMOVS F0, R10")
}

// neonDigits writes the loop over R9 floats at R0, a multiple of 16: times V10, rounded, as digits to R3. It leaves the sums of the digits in R11,
// R12 and R13, as numbers of 32 bits. A digit is the lowest byte of an integer, and the rest of it the integer over 256, half up.
func neonDigits(a *asm, parts int) {
	for p := range parts {
		a.clear(20 + p)
	}
	pack := func(to, from int) {
		a.three("VUZP1", "H8", 24, from, from+1)
		a.three("VUZP1", "H8", 25, from+2, from+3)
		a.three("VUZP1", "B16", to, 24, 25)
	}
	a.label("digits")
	a.op("VLD1.P 64(R0), %s", vregs(0, 4))
	for i := range 4 {
		a.neon("fmul", i, i, 10)
	}
	for i := range 4 {
		a.neon("fcvtns", i, i)
	}
	for p := range parts {
		for i := range 4 {
			a.three("VADD", "S4", 20+p, 20+p, i)
		}
		pack(4+p, 0)
		for i := range 4 {
			if p < parts-1 {
				a.neon("srshr", i, i, 8)
			}
		}
	}
	if parts == 1 {
		a.op("VST1.P [V4.B16], 16(R3)")
	} else {
		a.op("VST3.P %s, 48(R3)", vregs(4, 3))
	}
	a.op("SUBS $16, R9, R9")
	a.op("BNE digits")
	for p := range parts {
		a.op("VADDV V%d.S4, V%d", 20+p, 20+p)
		a.op("FMOVS F%d, R%d", 20+p, 11+p)
	}
	for p := range parts - 1 {
		a.op("SUBW R%d<<8, R%d, R%d", 12+p, 11+p, 11+p)
	}
}

// neonMagnitude sets V30 to the mask of a magnitude.
func neonMagnitude(a *asm) {
	a.op("MOVD $0x7fffffff, R8")
	a.op("VDUP R8, V30.S4")
}

// neonBlocks writes the division of a row into digits, block after block, as nbBlocks does. Registers: R0 x, R1 blocks left, R2 elements of a block,
// R3 digits, R4 terms, R5 centre, R6 the largest magnitude, R7 blocks done; F10 the factor of a block and F11 its scale.
func neonBlocks(a *asm, stubs *strings.Builder, parts int) {
	name := fmt.Sprintf("nbitsBlocks%dNEON", parts)
	decl := fmt.Sprintf("func %s(x *float32, blocks, block int, q *int8, terms *nbitsTerms, centre int) (n int, top uint32)", name)
	fmt.Fprintf(stubs, "\n// %s divides blocks of x into %d digit(s), up to the first whose largest magnitude is neither 0 nor of 2^-70 to 2^100. It returns their\n"+
		"// number and the bits of the largest magnitude in them. block is a multiple of 16 and not 0, nor is blocks.\n//\n//go:noescape\n%s\n", name, parts, decl)
	a.text(decl, name, 60)
	for i, arg := range []string{"x", "blocks", "block", "q", "terms", "centre"} {
		a.op("MOVD %s+%d(FP), R%d", arg, 8*i, i)
	}
	neonMagnitude(a)
	a.op("MOVD $0, R6")
	a.op("MOVD $0, R7")
	a.op("MOVD $0x%08x, R8", math.Float32bits(127))
	a.op("FMOVS R8, F12")
	a.label("block")
	a.op("MOVD R0, R8")
	a.op("MOVD R2, R9")
	neonLargest(a, "R8", "R9")
	a.op("FMOVS ZR, F10")
	a.op("FMOVS ZR, F11")
	a.op("CBZ R10, split")
	a.op("MOVD $0x%x, R11", nbLeast)
	a.op("SUB R11, R10, R11")
	a.op("MOVD $0x%x, R12", nbMost-nbLeast)
	a.op("CMP R12, R11")
	a.op("BHS done")
	a.op("CMP R6, R10")
	a.op("CSEL HI, R10, R6, R6")
	if parts == 1 {
		a.op("FDIVS F0, F12, F10")
		a.op("FDIVS F12, F0, F11")
	} else { // a power of two that takes the largest to 2^22 and more, but where three digits do not hold it
		a.op("LSR $23, R10, R13")
		a.op("AND $0x7fffff, R10, R12")
		a.op("MOVD $0x%x, R11", math.Float32bits(127<<16+127<<8+127.5)&0x7fffff)
		a.op("CMP R11, R12")
		a.op("CSET HS, R14")
		a.op("ADD R14, R13, R13")
		a.op("MOVD $%d, R12", 127+126+23)
		a.op("SUB R13, R12, R12")
		a.op("LSL $23, R12, R14")
		a.op("FMOVS R14, F10")
		a.op("SUB $%d, R13, R13", 126+23-127)
		a.op("LSL $23, R13, R14")
		a.op("FMOVS R14, F11")
	}
	a.label("split")
	a.op("VDUP V10.S[0], V10.S4")
	a.op("MOVD R2, R9")
	neonDigits(a, parts)
	for p := range parts {
		a.op("MULW R5, R%d, R14", 11+p)
		a.op("NEGW R14, R14")
		a.op("MOVW R14, %d(R4)", 4*p)
		a.op("SXTW R%d, R%d", 11+p, 11+p)
	}
	for p := parts; p < 3; p++ {
		a.op("MOVW ZR, %d(R4)", 4*p)
	}
	for p := parts - 1; p > 0; p-- {
		a.op("ADD R%d<<8, R%d, R%d", 11+p, 10+p, 10+p)
	}
	a.op("SCVTFD R11, F13")
	a.op("FMOVS F11, 12(R4)")
	a.op("FCVTSD F11, F11")
	a.op("FMULD F11, F13, F13")
	a.op("FCVTDS F13, F13")
	a.op("FMOVS F13, 16(R4)")
	a.op("MOVW R5, 20(R4)")
	a.op("MOVD ZR, 24(R4)")
	a.op("ADD $32, R4")
	a.op("ADD $1, R7")
	a.op("SUBS $1, R1, R1")
	a.op("BNE block")
	a.label("done")
	a.op("MOVD R7, n+48(FP)")
	a.op("MOVW R6, top+56(FP)")
	a.op("RET")
}

// neonSplit writes the largest magnitude of a block and its division into digits.
func neonSplit(a *asm, stubs *strings.Builder) {
	decl := "func nbitsMaxNEON(x *float32, n int) uint32"
	fmt.Fprintf(stubs, "\n// nbitsMaxNEON returns the bits of the largest magnitude of n floats, n a multiple of 16 and not 0; a NaN is the largest.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "nbitsMaxNEON", 20)
	a.op("MOVD x+0(FP), R0")
	a.op("MOVD n+8(FP), R1")
	neonMagnitude(a)
	neonLargest(a, "R0", "R1")
	a.op("MOVW R10, ret+16(FP)")
	a.op("RET")
	for _, parts := range []int{1, 3} {
		name := fmt.Sprintf("nbitsSplit%dNEON", parts)
		decl := fmt.Sprintf("func %s(x *float32, n int, factor float32, q *int8, sums *[3]int32)", name)
		fmt.Fprintf(stubs, "\n// %s rounds n floats times factor, n a multiple of 16 and not 0, to integers of %d digit(s) and adds up each digit.\n//\n//go:noescape\n%s\n", name, parts, decl)
		a.text(decl, name, 40)
		a.op("MOVD x+0(FP), R0")
		a.op("MOVD n+8(FP), R9")
		a.op("FMOVS factor+16(FP), F10")
		a.op("VDUP V10.S[0], V10.S4")
		a.op("MOVD q+24(FP), R3")
		a.op("MOVD sums+32(FP), R4")
		neonDigits(a, parts)
		for p := range parts {
			a.op("MOVW R%d, %d(R4)", 11+p, 4*p)
		}
		a.op("RET")
	}
	for _, parts := range []int{1, 3} {
		neonBlocks(a, stubs, parts)
	}
}

// neonWiden writes rows of weights as float32, as nbits_wide.go says. Registers: R0 dst, R1 weights, R4 pairs of groups left; V16 to V23 scales, V24 to
// V31 terms of zero points, V14 the mask and V15 the middle.
func neonWiden(a *asm, stubs *strings.Builder, bits int) {
	name := fmt.Sprintf("nbits%dwidenNEON", bits)
	decl := fmt.Sprintf("func %s(dst *float32, w *byte, scale, zero *float32, pairs, centre int)", name)
	fmt.Fprintf(stubs, "\n// %s is widenNBitsGo for pairs of groups of four rows of weights of %d bits.\n//\n//go:noescape\n%s\n", name, bits, decl)
	a.text(decl, name, 48)
	for i, arg := range []string{"dst", "w", "scale", "zero", "pairs", "centre"} {
		a.op("MOVD %s+%d(FP), R%d", arg, 8*i, i)
	}
	for v := 0; v < 8; v += 2 {
		a.op("FLDPQ %d(R2), (F%d, F%d)", 16*v, 16+v, 17+v)
		a.op("FLDPQ %d(R3), (F%d, F%d)", 16*v, 24+v, 25+v)
	}
	a.op("VDUP R5, V15.S4")
	a.op("MOVD $%d, R6", 1<<bits-1)
	a.op("VDUP R6, V14.S4")
	a.label("pair")
	for v := 0; v < 8; v += 2 {
		a.op("FLDPQ %d(R1), (F0, F1)", 16*v)
		if bits == 8 {
			a.op("FLDPQ %d(R1), (F2, F3)", 128+16*v)
		}
		for k := range 8 {
			from, shift, to := 0, 8*(k%4), 4+2*(k%4)
			if bits == 8 {
				from = 2 * (k / 4)
			} else {
				shift += 4 * (k / 4)
			}
			for i := range 2 {
				w := from + i
				if shift > 0 {
					w = to + i
					a.op("VUSHR $%d, V%d.S4, V%d.S4", shift, from+i, w)
				}
				if shift+bits < 32 {
					a.three("VAND", "B16", to+i, w, 14)
				}
				a.three("VSUB", "S4", to+i, to+i, 15)
				a.neon("scvtf", to+i, to+i)
				a.neon("fmul", to+i, to+i, 16+v+i)
				a.neon("fsub", to+i, to+i, 24+v+i)
			}
			a.op("FSTPQ (F%d, F%d), %d(R0)", to, to+1, 128*k+16*v)
		}
	}
	a.op("ADD $%d, R1", 32*bits)
	a.op("ADD $1024, R0")
	a.op("SUBS $1, R4, R4")
	a.op("BNE pair")
	a.op("RET")
}
