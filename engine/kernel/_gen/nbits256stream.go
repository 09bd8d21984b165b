package main

import (
	"fmt"
	"strings"
)

// The AVX2 kernels below take the panels of one row one after the other, as they lie in memory. Registers: DX args, R13 panels left, R12 blocks
// left, DI weights, SI digits, R11 terms of the row, AX zeros, BX c, CX pairs left of a block.

// nbStream writes what is around the blocks of a kernel: block writes one, from DI, SI and R11 on, and leaves DI at its scales.
func nbStream(a *asm, stubs *strings.Builder, name, what string, start, block, end func()) {
	decl := fmt.Sprintf("func %s(x *nbitsArgs)", name)
	fmt.Fprintf(stubs, "\n// %s is the AVX2 product of one row in %s.\n//\n//go:noescape\n%s\n", name, what, decl)
	a.text(decl+"\nfields: "+nbArgs, name, 8)
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"16(DX), DI", "56(DX), BX", "72(DX), AX", "272(DX), R13"} {
		a.op("MOVQ %s", l)
	}
	a.op("VPCMPEQB Y15, Y15, Y15")
	a.op("VPSRLW $15, Y15, Y14") // words of 1
	a.op("VPABSB Y15, Y15")
	a.op("VPSLLW $4, Y15, Y13")
	a.op("VPSUBB Y15, Y13, Y15") // bytes of 15
	a.label("panel")
	for _, l := range []string{"0(DX), R12", "24(DX), SI", "40(DX), R11"} {
		a.op("MOVQ %s", l)
	}
	start()
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("block")
	block()
	a.op("ADDQ $128, DI")
	a.label("even")
	a.op("ADDQ $128, DI")
	a.op("ADDQ $32, R11")
	a.op("DECQ R12")
	a.op("JNE  block")
	end()
	a.op("ADDQ $128, BX")
	a.op("DECQ R13")
	a.op("JNE  panel")
	a.op("VZEROUPPER")
	a.op("RET")
}

// nbClear and nbStore set the sums Y10 to Y13 of a panel to 0 and store them.
func nbClear(a *asm) {
	for v := range 4 {
		a.op("VXORPS Y%[1]d, Y%[1]d, Y%[1]d", 10+v)
	}
}

func nbStore(a *asm) {
	for v := range 4 {
		a.op("VMOVUPS Y%d, %d(BX)", 10+v, 32*v)
	}
}

// nbZero sets the sums of a panel in memory to 0.
func nbZero(a *asm) {
	a.op("VXORPS Y0, Y0, Y0")
	for v := range 4 {
		a.op("VMOVUPS Y0, %d(BX)", 32*v)
	}
}

// nbScaled adds the integers of Y0 to Y3, times the scales, at bytes from DI on, to the sums of a panel, and takes the terms of the zero points off. Where the
// sums are kept in memory between blocks, it loads them.
func nbScaled(a *asm, at int, loads bool) {
	a.op("VBROADCASTSS 12(R11), Y8")
	for v := range 4 {
		a.op("VMULPS %d(DI), Y8, Y%d", at+32*v, 4+v)
		if loads {
			a.op("VMOVUPS %d(BX), Y%d", 32*v, 10+v)
		}
	}
	for v := range 4 {
		a.op("VCVTDQ2PS Y%[1]d, Y%[1]d", v)
		a.op("VFMADD231PS Y%d, Y%d, Y%d", v, 4+v, 10+v)
	}
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
	a.op("VBROADCASTSS 16(R11), Y8")
	for v := range 4 {
		a.op("VFNMADD231PS %d(DI), Y8, Y%d", at+128+32*v, 10+v)
	}
}

// nbStreams writes nbits4p1b32x256, nbits4p3b32x256, nbits8p1x256 and nbits8p1wide256.
func nbStreams(a *asm, stubs *strings.Builder) {
	nbStream(a, stubs, "nbits4p1b32x256", "1 digit with panels of weights of 4 bits in blocks of 32", func() { nbClear(a) }, func() { nbFour1(a, ahead) }, func() { nbStore(a) })
	nbStream(a, stubs, "nbits4p3b32x256", "3 digits with panels of weights of 4 bits in blocks of 32", func() { nbZero(a) }, func() { nbFour3(a) }, func() {})
	nbStream(a, stubs, "nbits8p1x256", "1 digit, folded by foldBytes256, with panels of weights of 8 bits", func() { nbClear(a) }, func() { nbEight(a) }, func() { nbStore(a) })
	nbEightWide(a, stubs)
}

// fetch writes a request for what lies so far ahead of byte at behind DI, unless ahead is 0.
func fetch(a *asm, ahead, at int) {
	if ahead != 0 {
		a.op("PREFETCHT0 %d(DI)", ahead+at)
	}
}

// nbFour1 writes a block of 32 of weights of 4 bits and one digit: sums of 16 bits, as in nbRow, of the whole block.
func nbFour1(a *asm, ahead int) {
	for q := range 4 {
		for g := range 2 {
			a.op("VPBROADCASTD %d(SI), Y%d", 8*q+4*g, 4+g)
		}
		for v := range 4 {
			w := 6 + v%2*2
			nibbles(a, "DI", q, v, w)
			if v%2 == 0 {
				fetch(a, ahead, 128*q+32*v)
			}
			for g := range 2 {
				multiply(a, 4+g, w+g, w+g, v, q+g == 0)
			}
		}
	}
	a.op("ADDQ $512, DI")
	a.op("ADDQ $32, SI")
	fetch(a, ahead, 0)
	fetch(a, ahead, 64)
	a.op("VPBROADCASTD (R11), Y9")
	for v := range 4 {
		a.op("VPMADDWD Y14, Y%[1]d, Y%[1]d", v)
	}
	for v := range 4 {
		a.op("VPADDD Y9, Y%[1]d, Y%[1]d", v)
	}
	nbScaled(a, 0, false)
}

// nbFour3 writes a block of 32 of weights of 4 bits and three digits, half of the columns after the other, with their sums in c. The integers of a
// block, below 2^31, are joined before they are made floats: the lower two digits, below 2^24, would round nothing by themselves.
func nbFour3(a *asm) {
	for h := range 2 {
		for q := range 4 {
			for v := range 2 {
				nibbles(a, "DI", q, 2*h+v, 6+2*v)
			}
			for g := range 2 {
				for p := range 3 {
					a.op("VPBROADCASTD %d(SI), Y14", 24*q+4*(3*g+p))
					for v := range 2 {
						multiply(a, 14, 6+2*v+g, 10+(2*p+v)%4, 3*v+p, q+g == 0)
					}
				}
			}
			fetch(a, ahead, 128*q+64*h)
		}
		for v := range 2 {
			for p := range 3 {
				a.op("VPMADDWD nbitsOnes<>+%d(SB), Y%[2]d, Y%[2]d", p/2*32, 3*v+p)
			}
		}
		a.op("VPBROADCASTD 24(R11), Y9")
		a.op("VBROADCASTSS 12(R11), Y8")
		for v := range 2 {
			a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", 3*v+2, 3*v+1)
			a.op("VPADDD Y9, Y%[1]d, Y%[1]d", 3*v)
			a.op("VPSLLD $8, Y%[1]d, Y%[1]d", 3*v+1)
			a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", 3*v+1, 3*v)
			a.op("VCVTDQ2PS Y%[1]d, Y%[1]d", 3*v)
		}
		for v := range 2 {
			a.op("VMULPS %d(DI), Y8, Y%d", 512+64*h+32*v, 6+v)
			a.op("VMOVUPS %d(BX), Y%d", 64*h+32*v, 10+v)
			a.op("VFMADD231PS Y%d, Y%d, Y%d", 3*v, 6+v, 10+v)
			a.op("VMOVUPS Y%d, %d(BX)", 10+v, 64*h+32*v)
		}
	}
	a.op("ADDQ $512, DI")
	a.op("ADDQ $96, SI")
	fetch(a, ahead, 0)
	fetch(a, ahead, 64)
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
	a.op("VBROADCASTSS 16(R11), Y8")
	for v := range 4 {
		a.op("VMOVUPS %d(BX), Y%d", 32*v, v)
		a.op("VFNMADD231PS %d(DI), Y8, Y%d", 128+32*v, v)
		a.op("VMOVUPS Y%d, %d(BX)", v, 32*v)
	}
}

// nbEight writes a block of weights of 8 bits and one digit.
func nbEight(a *asm) {
	for v := range 4 {
		a.op("VPBROADCASTD 4(R11), Y%d", v)
	}
	a.op("MOVQ 8(DX), CX")
	a.op("CMPQ CX, $4")
	a.op("JLT  two")
	a.label("four")
	for g := range 8 {
		foldGroup(a, g, ahead)
	}
	a.op("ADDQ $1024, DI")
	a.op("ADDQ $64, SI")
	a.op("SUBQ $4, CX")
	a.op("JEQ  scale")
	a.op("CMPQ CX, $4")
	a.op("JGE  four")
	a.label("two")
	for g := range 4 {
		foldGroup(a, g, ahead)
	}
	a.op("ADDQ $512, DI")
	a.op("ADDQ $32, SI")
	a.label("scale")
	a.op("PREFETCHT0 %d(DI)", ahead)
	a.op("PREFETCHT0 %d(DI)", ahead+64)
	nbScaled(a, 0, false)
}
