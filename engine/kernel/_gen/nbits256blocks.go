package main

import (
	"fmt"
	"math"
	"strings"
)

// nbBlocks256 writes nbBlocks with AVX2, also for digits of 7 and 16 bits. Registers: SI x, R8 blocks left, R9 elements of a block, DI digits, BX
// terms, R10 centre, R11 the largest magnitude, R12 blocks done, X9 the scale of a block and Y15 its factor.
func nbBlocks256(a *asm, stubs *strings.Builder, parts int) {
	name := fmt.Sprintf("nbitsBlocks%dx256", parts)
	decl := fmt.Sprintf("func %s(x *float32, blocks, block int, q *int8, terms *nbitsTerms, centre int) (n int, top uint32)", name)
	fmt.Fprintf(stubs, "\n// %s is nbitsBlocks1 with AVX2, for %d digit(s).\n//\n//go:noescape\n%s\n", name, parts, decl)
	a.text(decl, name, 60)
	for _, l := range []string{"x+0(FP), SI", "blocks+8(FP), R8", "block+16(FP), R9", "q+24(FP), DI", "terms+32(FP), BX", "centre+40(FP), R10"} {
		a.op("MOVQ %s", l)
	}
	if parts == 2 {
		a.op("VPBROADCASTD nbitsTwo<>+4(SB), Y14")
		a.op("VPBROADCASTD nbitsTwo<>+8(SB), Y13")
	}
	a.op("XORL R11, R11")
	a.op("XORL R12, R12")
	a.label("block")
	a.op("MOVQ SI, DX")
	a.op("MOVQ R9, CX")
	nbMost256(a, "DX", "most")
	a.op("VMOVD X0, AX")
	a.op("VPXOR X2, X2, X2")
	a.op("VPXOR X9, X9, X9")
	a.op("TESTL AX, AX")
	a.op("JEQ  split")
	a.op("LEAL -0x%x(AX), CX", nbLeast)
	a.op("CMPL CX, $0x%x", nbMost-nbLeast)
	a.op("JCC  done")
	a.op("CMPL R11, AX")
	a.op("CMOVLCS AX, R11")
	if parts == 1 {
		a.op("VMOVSS nbitsPlaces<>+24(SB), X3")
		a.op("VDIVSS X0, X3, X2")
		a.op("VDIVSS X3, X0, X9")
	} else { // as in nbBlocks; the largest integer of 7 and 16 bits has a bit less
		bits, most := 23, math.Float32bits(127<<16+127<<8+127.5)
		if parts == 2 {
			bits, most = 22, math.Float32bits(32767<<7+63.5)
		}
		nbPower(a, bits, most, 9)
	}
	a.label("split")
	a.op("VBROADCASTSS X2, Y15")
	a.op("MOVQ R9, CX")
	for p := range parts {
		a.op("VPXOR Y%[1]d, Y%[1]d, Y%[1]d", 10+p)
	}
	if parts == 2 {
		nbDigitsTwo(a)
	} else {
		nbDigits256(a, parts)
	}
	for p := range 3 {
		if p >= parts {
			a.op("MOVL $0, %d(BX)", 4*p)
			continue
		}
		nbSum256(a, 10+p)
		a.op("VMOVD X2, AX")
		a.op("VCVTDQ2PD X2, X%d", 5+p)
		a.op("IMULL R10, AX")
		a.op("NEGL AX")
		a.op("MOVL AX, %d(BX)", 4*p)
	}
	for p := 1; p < parts; p++ {
		at := 8 * (p - 1)
		if parts == 2 {
			at = 16
		}
		a.op("VFMADD231SD nbitsPlaces<>+%d(SB), X%d, X5", at, 5+p)
	}
	a.op("VMOVSS X9, 12(BX)")
	a.op("VCVTSS2SD X9, X9, X9")
	a.op("VMULSD X5, X9, X9")
	a.op("VCVTSD2SS X9, X9, X9")
	a.op("VMOVSS X9, 16(BX)")
	a.op("MOVL R10, 20(BX)")
	a.op("MOVQ $0, 24(BX)")
	a.op("ADDQ $32, BX")
	a.op("INCQ R12")
	a.op("DECQ R8")
	a.op("JNE  block")
	a.label("done")
	a.op("MOVQ R12, n+48(FP)")
	a.op("MOVL R11, top+56(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
}

// nbMost256 leaves the bits of the largest magnitude of CX floats, a multiple of 16, in X0. at is the register that points to them, and moves.
func nbMost256(a *asm, at, loop string) {
	a.op("VPCMPEQD Y3, Y3, Y3")
	a.op("VPSRLD $1, Y3, Y3")
	a.op("VPXOR Y0, Y0, Y0")
	a.op("VPXOR Y1, Y1, Y1")
	a.label(loop)
	for i := range 2 {
		a.op("VPAND %d(%s), Y3, Y2", 32*i, at)
		a.op("VPMAXUD Y2, Y%[1]d, Y%[1]d", i)
	}
	a.op("ADDQ $64, %s", at)
	a.op("SUBQ $16, CX")
	a.op("JG   %s", loop)
	a.op("VPMAXUD Y1, Y0, Y0")
	a.op("VEXTRACTI128 $1, Y0, X1")
	for _, s := range []string{"", "0x4e", "0xb1"} {
		if s != "" {
			a.op("VPSHUFD $%s, X0, X1", s)
		}
		a.op("VPMAXUD X1, X0, X0")
	}
}
