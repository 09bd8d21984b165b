package main

import (
	"fmt"
	"math"
	"strings"
)

// nbTop reduces the sixteen values of Z0 to the largest, in the low element of X0. Z1 is overwritten.
func nbTop(a *asm) {
	a.op("VEXTRACTI64X4 $1, Z0, Y1")
	a.op("VPMAXUD Y1, Y0, Y0")
	a.op("VEXTRACTI128 $1, Y0, X1")
	a.op("VPMAXUD X1, X0, X0")
	a.op("VPSHUFD $0x4e, X0, X1")
	a.op("VPMAXUD X1, X0, X0")
	a.op("VPSHUFD $0xb1, X0, X1")
	a.op("VPMAXUD X1, X0, X0")
}

// nbPower makes a power of two that takes the magnitude whose bits are in AX to 2^(bits-1) and more, but where the digits do not hold it: they hold
// mantissas below that of most. It leaves the power in X2 and its inverse in register inverse.
func nbPower(a *asm, bits int, most uint32, inverse int) {
	a.op("MOVL AX, CX")
	a.op("ANDL $0x7fffff, CX")
	a.op("SHRL $23, AX")
	a.op("CMPL CX, $0x%x", most&0x7fffff)
	a.op("SBBL CX, CX")
	a.op("MOVL $%d, DX", 127+126+bits-1)
	a.op("SUBL AX, DX")
	a.op("SUBL CX, DX")
	a.op("SHLL $23, DX")
	a.op("VMOVD DX, X2")
	a.op("LEAL %d(AX)(CX*1), AX", 127-126-bits+1)
	a.op("SHLL $23, AX")
	a.op("VMOVD AX, X%d", inverse)
}

// nbSum adds the sixteen values of register s up in the low element of X2. Y1 is overwritten.
func nbSum(a *asm, s int) {
	a.op("VEXTRACTI64X4 $1, Z%d, Y1", s)
	a.op("VPADDD Y1, Y%d, Y2", s)
	a.op("VEXTRACTI128 $1, Y2, X1")
	a.op("VPADDD X1, X2, X2")
	a.op("VPSHUFD $0x4e, X2, X1")
	a.op("VPADDD X1, X2, X2")
	a.op("VPSHUFD $0xb1, X2, X1")
	a.op("VPADDD X1, X2, X2")
}

// nbOrder sets up what nbDigits wants of three digits: Z11, K1.
func nbOrder(a *asm, parts int) {
	if parts == 3 {
		a.op("VMOVDQU32 nbitsOrder<>(SB), Z11")
		a.op("MOVL $0xfff, AX")
		a.op("KMOVW AX, K1")
	}
}

// nbDigits writes the loop over CX floats at SI, sixteen at a time: times Z10, rounded, as digits to DI, which are added up in Z20 and so on.
func nbDigits(a *asm, parts int) {
	for p := range parts {
		a.op("VPXORD Z%[1]d, Z%[1]d, Z%[1]d", 20+p)
	}
	a.label("loop")
	a.op("VMULPS (SI), Z10, Z0")
	a.op("VCVTPS2DQ Z0, Z0")
	for p := range parts {
		if p < parts-1 {
			a.op("VPSLLD $24, Z0, Z1")
			a.op("VPSRAD $24, Z1, Z1")
			a.op("VPSUBD Z1, Z0, Z0")
			a.op("VPSRAD $8, Z0, Z0")
			a.op("VPADDD Z1, Z%[1]d, Z%[1]d", 20+p)
			a.op("VPMOVDB Z1, X%d", 2+p)
		} else {
			a.op("VPADDD Z0, Z%[1]d, Z%[1]d", 20+p)
			a.op("VPMOVDB Z0, X%d", 2+p)
		}
	}
	if parts == 3 {
		a.op("VINSERTI32X4 $1, X3, Z2, Z2")
		a.op("VINSERTI32X4 $2, X4, Z2, Z2")
		a.op("VPERMD Z2, Z11, Z2")
		a.op("VMOVDQU32 Z2, K1, (DI)")
	} else {
		a.op("VMOVDQU X2, (DI)")
	}
	a.op("ADDQ $64, SI")
	a.op("ADDQ $%d, DI", 16*parts)
	a.op("SUBQ $16, CX")
	a.op("JG   loop")
}

// nbSplit writes the largest magnitude of a block and its division into digits.
func nbSplit(a *asm, stubs *strings.Builder) {
	decl := "func nbitsMax512(x *float32, n int) uint32"
	fmt.Fprintf(stubs, "\n// nbitsMax512 returns the bits of the largest magnitude of n floats, n a multiple of 16 and not 0; a NaN is the largest.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "nbitsMax512", 20)
	a.op("MOVQ x+0(FP), SI")
	a.op("MOVQ n+8(FP), CX")
	a.op("MOVL $0x7fffffff, AX")
	a.op("VPBROADCASTD AX, Z1")
	a.op("VPXORD Z0, Z0, Z0")
	a.label("loop")
	a.op("VPANDD (SI), Z1, Z2")
	a.op("VPMAXUD Z2, Z0, Z0")
	a.op("ADDQ $64, SI")
	a.op("SUBQ $16, CX")
	a.op("JG   loop")
	nbTop(a)
	a.op("VMOVD X0, AX")
	a.op("MOVL AX, ret+16(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
	a.data("nbitsOrder", []uint32{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 0, 0, 0, 0})
	for _, parts := range []int{1, 3} {
		name := fmt.Sprintf("nbitsSplit%d", parts)
		decl := fmt.Sprintf("func %s(x *float32, n int, factor float32, q *int8, sums *[3]int32)", name)
		fmt.Fprintf(stubs, "\n// %s rounds n floats times factor, n a multiple of 16 and not 0, to integers of %d digit(s) and adds up each digit.\n//\n//go:noescape\n%s\n", name, parts, decl)
		a.text(decl, name, 40)
		a.op("MOVQ x+0(FP), SI")
		a.op("MOVQ n+8(FP), CX")
		a.op("VBROADCASTSS factor+16(FP), Z10")
		a.op("MOVQ q+24(FP), DI")
		a.op("MOVQ sums+32(FP), BX")
		nbOrder(a, parts)
		nbDigits(a, parts)
		for p := range parts {
			nbSum(a, 20+p)
			a.op("VMOVD X2, %d(BX)", 4*p)
		}
		a.op("VZEROUPPER")
		a.op("RET")
	}
	nbBlocks(a, stubs, 1)
	nbBlocks(a, stubs, 3)
}

// The magnitudes that nbBlocks takes: from 2^-70 on, so that no factor is limited, and below 2^100.
const nbLeast, nbMost = (127 - 70) << 23, (127 + 100) << 23

// nbBlocks writes the division of a row into digits, block after block, with what the products need of each: as digitsOf does one by one.
// Registers: SI x, R8 blocks left, R9 elements of a block, DI digits, BX terms, R10 centre, R11 the largest magnitude, R12 blocks done, R13 w, R14 s1, R15 s2, X2 the
// factor of a block and X3 its scale.
func nbBlocks(a *asm, stubs *strings.Builder, parts int) {
	name := fmt.Sprintf("nbitsBlocks%d", parts)
	decl := fmt.Sprintf("func %s(x *float32, blocks, block int, q *int8, terms *nbitsTerms, centre int, w *byte, s1, s2 int) (n int, top uint32)", name)
	fmt.Fprintf(stubs, "\n// %s divides blocks of x into %d digit(s), up to the first whose largest magnitude is neither 0 nor of 2^-70 to 2^100. It returns their\n"+
		"// number and the bits of the largest magnitude in them. block is a multiple of 16 and not 0. With every block it fetches the next 128 bytes of\n"+
		"// w, w+s1, w+s2 and w+s1+s2 to the second level of cache; w may be nil.\n//\n//go:noescape\n%s\n", name, parts, decl)
	a.text(decl, name, 84)
	for _, l := range []string{"x+0(FP), SI", "blocks+8(FP), R8", "block+16(FP), R9", "q+24(FP), DI", "terms+32(FP), BX", "centre+40(FP), R10",
		"w+48(FP), R13", "s1+56(FP), R14", "s2+64(FP), R15"} {
		a.op("MOVQ %s", l)
	}
	nbOrder(a, parts)
	a.op("MOVL $0x7fffffff, AX")
	a.op("VPBROADCASTD AX, Z30")
	a.op("MOVL $0x%08x, AX", math.Float32bits(127))
	a.op("VMOVD AX, X31")
	if parts == 3 {
		for i, f := range []float32{256, 65536} {
			a.op("MOVL $0x%08x, AX", math.Float32bits(f))
			a.op("VMOVD AX, X%d", 28+i)
			a.op("VCVTSS2SD X%[1]d, X%[1]d, X%[1]d", 28+i)
		}
	}
	a.op("XORL R11, R11")
	a.op("XORL R12, R12")
	a.op("TESTQ R8, R8")
	a.op("JEQ  done")
	a.label("block")
	a.op("TESTQ R13, R13")
	a.op("JEQ  near")
	a.op("LEAQ (R13)(R14*1), DX")
	for _, at := range []string{"(R13)", "(R13)(R15*1)", "(DX)", "(DX)(R15*1)"} {
		a.op("PREFETCHT1 %s", at)
		a.op("PREFETCHT1 64%s", at)
	}
	a.op("SUBQ $-128, R13")
	a.label("near")
	a.op("MOVQ SI, DX")
	a.op("MOVQ R9, CX")
	a.op("VPXORD Z0, Z0, Z0")
	a.label("most")
	a.op("VPANDD (DX), Z30, Z1")
	a.op("VPMAXUD Z1, Z0, Z0")
	a.op("ADDQ $64, DX")
	a.op("SUBQ $16, CX")
	a.op("JG   most")
	nbTop(a)
	a.op("VMOVD X0, AX")
	a.op("VPXOR X2, X2, X2")
	a.op("VPXOR X3, X3, X3")
	a.op("TESTL AX, AX")
	a.op("JEQ  split")
	a.op("LEAL -0x%x(AX), CX", nbLeast)
	a.op("CMPL CX, $0x%x", nbMost-nbLeast)
	a.op("JCC  done")
	a.op("CMPL R11, AX")
	a.op("CMOVLCS AX, R11")
	if parts == 1 {
		a.op("VDIVSS X0, X31, X2")
		a.op("VDIVSS X31, X0, X3")
	} else { // a power of two that takes the largest to 2^22 and more, but where three digits do not hold it
		nbPower(a, 23, math.Float32bits(127<<16+127<<8+127.5), 3)
	}
	a.label("split")
	a.op("VBROADCASTSS X2, Z10")
	a.op("VMOVAPS X3, X5")
	a.op("MOVQ R9, CX")
	nbDigits(a, parts)
	for p := range parts {
		nbSum(a, 20+p)
		a.op("VMOVD X2, AX")
		a.op("VCVTDQ2PD X2, X%d", 6+p)
		a.op("IMULL R10, AX")
		a.op("NEGL AX")
		a.op("MOVL AX, %d(BX)", 4*p)
	}
	for p := 1; p < 3; p++ {
		if p < parts {
			a.op("VFMADD231SD X%d, X%d, X6", 6+p, 27+p)
		} else {
			a.op("MOVL $0, %d(BX)", 4*p)
		}
	}
	a.op("VMOVSS X5, 12(BX)")
	a.op("VCVTSS2SD X5, X5, X5")
	a.op("VMULSD X6, X5, X5")
	a.op("VCVTSD2SS X5, X5, X5")
	a.op("VMOVSS X5, 16(BX)")
	a.op("MOVL R10, 20(BX)")
	a.op("MOVQ $0, 24(BX)")
	a.op("ADDQ $32, BX")
	a.op("INCQ R12")
	a.op("DECQ R8")
	a.op("JNE  block")
	a.label("done")
	a.op("MOVQ R12, n+72(FP)")
	a.op("MOVL R11, top+80(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
}
