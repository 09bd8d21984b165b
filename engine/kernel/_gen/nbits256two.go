package main

import (
	"fmt"
	"strings"
)

// nbTwo writes the AVX2 kernel for weights of 8 bits in blocks of up to 256 and one row of A in a digit of 16 bits and one of 7. The weights, 0 to
// 255, are widened where they stand for the high digit, as in nbRow; the low one, -64 to 63, is the signed operand of VPMADDUBSW, which adds no
// more than 2*255*64, and whose sums a product with ones widens. Registers as in nbRow: Y0 to Y3 sums of the high digit, Y4 to Y7 of the low one,
// Y8 to Y10 digits, Y14 ones, Y15 the mask.
func nbTwo(a *asm, stubs *strings.Builder) {
	decl := "func nbits8p2r256(x *nbitsArgs)"
	fmt.Fprintf(stubs, "\n// nbits8p2r256 is the AVX2 product of one row in digits of 7 and 16 bits with a panel of weights of 8 bits, in blocks of up to 256.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl+"\nfields: "+nbArgs, "nbits8p2r256", 8)
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"0(DX), R12", "16(DX), DI", "24(DX), SI", "40(DX), R11", "56(DX), BX", "72(DX), AX"} {
		a.op("MOVQ %s", l)
	}
	a.op("VXORPS Y0, Y0, Y0")
	for v := range 4 {
		a.op("VMOVUPS Y0, %d(BX)", 32*v)
	}
	a.op("VPCMPEQB Y15, Y15, Y15")
	a.op("VPSRLW $15, Y15, Y14")
	a.op("VPSRLW $8, Y15, Y15")
	a.label("block")
	for v := range 4 {
		a.op("VPBROADCASTD 4(R11), Y%d", v)
		a.op("VPBROADCASTD (R11), Y%d", 4+v)
	}
	a.op("MOVQ 8(DX), CX")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("pair")
	for g := range 2 {
		nbTwoGroup(a, g, ahead)
	}
	a.op("ADDQ $256, DI")
	a.op("ADDQ $24, SI")
	a.op("DECQ CX")
	a.op("JNE  pair")
	a.op("PREFETCHT0 %d(DI)", ahead)
	a.op("PREFETCHT0 %d(DI)", ahead+64)
	nbTwoScaled(a)
	a.op("ADDQ $128, DI")
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
	a.op("ADDQ $128, DI")
	a.label("even")
	a.op("ADDQ $32, R11")
	a.op("DECQ R12")
	a.op("JNE  block")
	a.op("VZEROUPPER")
	a.op("RET")
	a.data("nbitsTwo", []uint32{0x43000000, 64, 127}) // 128 as a float, and what makes the low digit of an integer
	nbSplitTwo(a, stubs)
}

// nbTwoScaled adds the integers of a block, in Y0 to Y7, times the scales, at DI, to c, and takes the terms of the zero points off.
func nbTwoScaled(a *asm) {
	for v := range 8 {
		a.op("VCVTDQ2PS Y%[1]d, Y%[1]d", v)
	}
	a.op("VBROADCASTSS nbitsTwo<>(SB), Y8")
	a.op("VBROADCASTSS 12(R11), Y9")
	for v := range 4 {
		a.op("VFMADD213PS Y%d, Y8, Y%d", 4+v, v)
		a.op("VMULPS %d(DI), Y9, Y%d", 32*v, 10+v%2)
		a.op("VMOVUPS %d(BX), Y%d", 32*v, 4+v)
		a.op("VFMADD231PS Y%d, Y%d, Y%d", 10+v%2, v, 4+v)
	}
	a.op("TESTQ AX, AX")
	a.op("JEQ  store")
	a.op("VBROADCASTSS 16(R11), Y8")
	for v := range 4 {
		a.op("VFNMADD231PS %d(DI), Y8, Y%d", 128+32*v, 4+v)
	}
	a.label("store")
	for v := range 4 {
		a.op("VMOVUPS Y%d, %d(BX)", 4+v, 32*v)
	}
}

// nbTwoGroup adds group g of four rows to Y0 to Y7, and fetches what is so far ahead, if at all.
func nbTwoGroup(a *asm, g, ahead int) {
	for p := range 3 {
		a.op("VPBROADCASTD %d(SI), Y%d", 12*g+4*p, 8+p)
	}
	for v := range 4 {
		a.op("VMOVDQU %d(DI), Y11", 128*g+32*v)
		a.op("VPMADDUBSW Y10, Y11, Y13")
		a.op("VPAND Y11, Y15, Y12")
		a.op("VPSRLW $8, Y11, Y11")
		a.op("VPMADDWD Y8, Y12, Y12")
		a.op("VPMADDWD Y9, Y11, Y11")
		a.op("VPMADDWD Y14, Y13, Y13")
		if v%2 == 0 {
			fetch(a, ahead, 128*g+32*v)
		}
		a.op("VPADDD Y12, Y%[1]d, Y%[1]d", v)
		a.op("VPADDD Y11, Y%[1]d, Y%[1]d", v)
		a.op("VPADDD Y13, Y%[1]d, Y%[1]d", 4+v)
	}
}

// nbSplitTwo writes nbitsSplit2x256.
func nbSplitTwo(a *asm, stubs *strings.Builder) {
	decl := "func nbitsSplit2x256(x *float32, n int, factor float32, q *int8, sums *[3]int32)"
	fmt.Fprintf(stubs, "\n// nbitsSplit2x256 is splitTwoGo with AVX2; n is a multiple of 16 and not 0.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "nbitsSplit2x256", 40)
	a.op("MOVQ x+0(FP), SI")
	a.op("MOVQ n+8(FP), CX")
	a.op("VBROADCASTSS factor+16(FP), Y15")
	a.op("MOVQ q+24(FP), DI")
	a.op("MOVQ sums+32(FP), BX")
	a.op("VPBROADCASTD nbitsTwo<>+4(SB), Y14")
	a.op("VPBROADCASTD nbitsTwo<>+8(SB), Y13")
	// the packs leave the high digits of the groups 0 to 3 as dwords 0 0 2 2 | 1 1 3 3 of the lanes, and the low ones as 0 2 | 1 3
	a.data("nbitsOrderTwo", []uint32{0, 1, 0, 4, 5, 0, 2, 3, 0, 6, 7, 0, 0, 0, 0, 0})
	a.op("VPXOR Y10, Y10, Y10")
	a.op("VPXOR Y11, Y11, Y11")
	nbDigitsTwo(a)
	for p := range 2 {
		nbSum256(a, 10+p)
		a.op("VMOVD X2, %d(BX)", 4*p)
	}
	a.op("VZEROUPPER")
	a.op("RET")
}

// nbDigitsTwo is nbDigits256 for digits of 7 and 16 bits, with 64 and 127 in Y14 and Y13.
func nbDigitsTwo(a *asm) {
	a.label("loop")
	for i := range 2 {
		a.op("VMULPS %d(SI), Y15, Y%d", 32*i, i)
		a.op("VCVTPS2DQ Y%[1]d, Y%[1]d", i)
		a.op("VPADDD Y14, Y%d, Y%d", i, 2+i)
		a.op("VPAND Y13, Y%[1]d, Y%[1]d", 2+i)
		a.op("VPSUBD Y14, Y%[1]d, Y%[1]d", 2+i)
		a.op("VPSUBD Y%d, Y%[2]d, Y%[2]d", 2+i, i)
		a.op("VPSRAD $7, Y%[1]d, Y%[1]d", i)
		a.op("VPADDD Y%d, Y10, Y10", 2+i)
		a.op("VPADDD Y%d, Y11, Y11", i)
	}
	a.op("VPACKSSDW Y1, Y0, Y4")
	a.op("VPSHUFLW $0xd8, Y4, Y4")
	a.op("VPSHUFHW $0xd8, Y4, Y4")
	a.op("VPACKSSDW Y3, Y2, Y6")
	a.op("VPACKSSWB Y6, Y6, Y6")
	storeDigits(a, "nbitsOrderTwo")
	a.op("ADDQ $64, SI")
	a.op("ADDQ $48, DI")
	a.op("SUBQ $16, CX")
	a.op("JG   loop")
}
