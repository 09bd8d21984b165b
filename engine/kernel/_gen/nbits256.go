package main

import (
	"fmt"
	"slices"
	"strings"
)

// nbRow is the AVX2 kernel for block-wise quantized weights: one row of A in one or three digits, a panel of 32 columns, all blocks of K. The
// columns of a block are done in parts of nv vectors, whose sums fit the registers; the sums of the blocks are in Y10 to Y13 of one digit, and of
// three in memory, in c.
//
// Weights of 4 bits are the unsigned bytes of VPMADDUBSW: 2*15*128 is the most that it gives, and eight of these, of four pairs of groups, are
// added in 16 bits. Weights of 8 bits, 0 to 255, are widened where they stand, for three digits: those of even place by a mask, the others by a shift.
type nbRow struct{ bits, parts int }

func (t nbRow) name() string { return fmt.Sprintf("nbits%dp%dr256", t.bits, t.parts) }

// nv is the number of vectors of eight columns at a time.
func (t nbRow) nv() int {
	if t.parts == 3 {
		return 2
	}
	return 4
}

// sum is the register of the sums of a digit.
func (t nbRow) sum(v, p int) int { return v*t.parts + p }

// perPair is the bytes of A of a pair of groups.
func (t nbRow) perPair() int { return 2 * t.bits * t.parts }

// kernel writes the kernel. Registers: DX args, R12 blocks, DI weights, SI digits, R11 terms of the row, BX c, R8 the weights of the part and then
// its scales, R9 digits of the part, CX pairs left, Y15 the mask.
func (t nbRow) kernel(a *asm, stubs *strings.Builder) {
	decl := fmt.Sprintf("func %s(x *nbitsArgs)", t.name())
	fmt.Fprintf(stubs, "\n// %s is the AVX2 product of one row in %d digit(s) with a panel of weights of %d bits.\n//\n//go:noescape\n%s\n", t.name(), t.parts, t.bits, decl)
	a.text(decl+"\nfields: "+nbArgs, t.name(), 8)
	a.op("MOVQ x+0(FP), DX")
	for _, l := range []string{"0(DX), R12", "16(DX), DI", "24(DX), SI", "40(DX), R11", "56(DX), BX", "72(DX), AX"} {
		a.op("MOVQ %s", l)
	}
	a.op("VXORPS Y10, Y10, Y10")
	for v := range 4 {
		if t.parts == 1 {
			a.op("VXORPS Y%[1]d, Y%[1]d, Y%[1]d", 10+v)
		} else {
			a.op("VMOVUPS Y10, %d(BX)", 32*v)
		}
	}
	a.op("VPCMPEQB Y15, Y15, Y15")
	if t.bits == 8 {
		a.op("VPSRLW $8, Y15, Y15")
	} else {
		a.op("VPABSB Y15, Y15")
		a.op("VPSLLW $4, Y15, Y14")
		a.op("VPSUBB Y15, Y14, Y15") // bytes of 15
	}
	a.op("MOVQ 8(DX), R13")
	a.op("IMULQ $%d, R13", 32*t.bits) // bytes of weights of a block
	a.label("block")
	for h := range 4 / t.nv() {
		t.part(a, h)
	}
	a.op("LEAQ 128(DI)(R13*1), DI")
	a.op("TESTQ AX, AX")
	a.op("JEQ  even")
	a.op("ADDQ $128, DI")
	a.label("even")
	a.op("MOVQ R9, SI")
	a.op("ADDQ $32, R11")
	a.op("DECQ R12")
	a.op("JNE  block")
	for v := range 4 {
		if t.parts == 1 {
			a.op("VMOVUPS Y%d, %d(BX)", 10+v, 32*v)
		}
	}
	a.op("VZEROUPPER")
	a.op("RET")
}

// part writes part h of the columns of a block.
func (t nbRow) part(a *asm, h int) {
	label := func(s string) string { return fmt.Sprint(s, h) }
	a.op("LEAQ %d(DI), R8", 32*t.nv()*h)
	a.op("MOVQ SI, R9")
	a.op("MOVQ 8(DX), CX")
	if t.bits == 8 {
		for p := range t.parts {
			for v := range t.nv() {
				a.op("VPBROADCASTD %d(R11), Y%d", 4*p, t.sum(v, p))
			}
		}
		a.b.WriteString("\n\tPCALIGN $32\n")
		a.label(label("pair"))
		for g := range 2 {
			t.bytes(a, g, h)
		}
		a.op("ADDQ $256, R8")
		a.op("ADDQ $%d, R9", t.perPair())
		a.op("DECQ CX")
		a.op("JNE  %s", label("pair"))
		t.scale(a, h)
		return
	}
	a.op("CMPQ CX, $4")
	a.op("JLT  %s", label("two"))
	t.chunk(a, 4)
	t.start(a)
	a.op("SUBQ $4, CX")
	a.op("JEQ  %s", label("scale"))
	a.label(label("next"))
	t.eachSum(func(sum, at int) { a.op("VMOVDQU Y%d, %d(DX)", sum, at) })
	a.op("SUBQ $4, CX")
	a.op("JLT  %s", label("last"))
	t.chunk(a, 4)
	t.eachSum(func(sum, at int) { a.op("VPADDD %d(DX), Y%[2]d, Y%[2]d", at, sum) })
	a.op("TESTQ CX, CX")
	a.op("JNE  %s", label("next"))
	a.op("JMP  %s", label("scale"))
	a.label(label("last"))
	t.chunk(a, 2)
	t.eachSum(func(sum, at int) { a.op("VPADDD %d(DX), Y%[2]d, Y%[2]d", at, sum) })
	a.op("JMP  %s", label("scale"))
	a.label(label("two"))
	t.chunk(a, 2)
	t.start(a)
	a.label(label("scale"))
	t.scale(a, h)
}

// eachSum calls f for the sums and where they are kept between the chunks of a block.
func (t nbRow) eachSum(f func(sum, at int)) {
	for i := range t.nv() * t.parts {
		f(i, 80+32*i)
	}
}

// start adds where the sums of a block start.
func (t nbRow) start(a *asm) {
	for p := range t.parts {
		a.op("VPBROADCASTD %d(R11), Y14", 4*p)
		for v := range t.nv() {
			a.op("VPADDD Y14, Y%[1]d, Y%[1]d", t.sum(v, p))
		}
	}
}

// ahead fetches line i of what comes later than the bytes that R8 points to.
func (t nbRow) ahead(a *asm, i int) { a.op("PREFETCHT0 %d(R8)", ahead+64*i) }

// bytes adds group g of a pair of weights of 8 bits, in part h of the columns, in three digits.
func (t nbRow) bytes(a *asm, g, h int) {
	digit := func(p, odd int) int { return t.nv()*t.parts + 2*p + odd }
	for p := range t.parts {
		for odd := range 2 {
			a.op("VPBROADCASTD %d(R9), Y%d", 8*(g*t.parts+p)+4*odd, digit(p, odd))
		}
	}
	for v := range t.nv() {
		a.op("VMOVDQU %d(R8), Y13", 128*g+32*v)
		a.op("VPAND Y15, Y13, Y12")
		a.op("VPSRLW $8, Y13, Y13")
		if (h*t.nv()+v)%2 == 0 {
			t.ahead(a, 2*g+v/2)
		}
		for p := range t.parts {
			for odd := range 2 {
				a.op("VPMADDWD Y%d, Y%d, Y14", digit(p, odd), 12+odd)
				a.op("VPADDD Y14, Y%[1]d, Y%[1]d", t.sum(v, p))
			}
		}
	}
}

// chunk sets the sums to those of two or four pairs of groups of weights of 4 bits.
func (t nbRow) chunk(a *asm, pairs int) {
	size := t.perPair()
	if t.parts == 1 {
		for q := range pairs {
			for g := range 2 {
				a.op("VPBROADCASTD %d(R9), Y%d", size*q+4*g, 4+g)
			}
			for v := range t.nv() {
				w := 6 + v%2*2
				nibbles(a, "R8", q, v, w)
				if v%2 == 0 {
					t.ahead(a, 2*q+v/2)
				}
				for g := range 2 {
					multiply(a, 4+g, w+g, w+g, t.sum(v, 0), q+g == 0)
				}
			}
		}
	} else {
		for q := range pairs {
			for v := range 2 {
				nibbles(a, "R8", q, v, 6+2*v)
			}
			for g := range 2 {
				for p := range 3 {
					a.op("VPBROADCASTD %d(R9), Y14", size*q+4*(g*3+p))
					for v := range 2 {
						multiply(a, 14, 6+2*v+g, 10+(2*p+v)%4, t.sum(v, p), q+g == 0)
					}
				}
			}
			t.ahead(a, 2*q)
		}
	}
	t.eachSum(func(sum, _ int) { a.op("VPMADDWD nbitsOnes<>(SB), Y%[1]d, Y%[1]d", sum) })
	a.op("ADDQ $%d, R8", 128*pairs)
	a.op("ADDQ $%d, R9", size*pairs)
}

// nibbles loads vector v of pair q of the weights of 4 bits at base: the first group to register to, the second to the next. Y15 is the mask.
func nibbles(a *asm, base string, q, v, to int) {
	a.op("VMOVDQU %d(%s), Y%d", 128*q+32*v, base, to+1)
	a.op("VPAND Y15, Y%d, Y%d", to+1, to)
	a.op("VPSRLW $4, Y%[1]d, Y%[1]d", to+1)
	a.op("VPAND Y15, Y%[1]d, Y%[1]d", to+1)
}

// multiply adds the product of x and w to sum by way of register by, or sets it.
func multiply(a *asm, x, w, by, sum int, first bool) {
	if first {
		a.op("VPMADDUBSW Y%d, Y%d, Y%d", x, w, sum)
		return
	}
	a.op("VPMADDUBSW Y%d, Y%d, Y%d", x, w, by)
	a.op("VPADDW Y%d, Y%[2]d, Y%[2]d", by, sum)
}

// scale adds the part's integers, times the scales of its columns and of the row, to c. R8 is at the scales of the part.
func (t nbRow) scale(a *asm, h int) {
	for v := range t.nv() {
		for p := range t.parts {
			a.op("VCVTDQ2PS Y%[1]d, Y%[1]d", t.sum(v, p))
		}
	}
	if t.parts == 3 {
		for i := range 2 {
			a.op("VBROADCASTSS nbitsPowers<>+%d(SB), Y12", 4*i)
			for v := range t.nv() {
				a.op("VFMADD231PS Y%d, Y12, Y%d", t.sum(v, 1+i), t.sum(v, 0))
			}
		}
	}
	t.ahead(a, 0)
	a.op("VBROADCASTSS 12(R11), Y14")
	if t.parts == 1 {
		t.ahead(a, 1)
		for v := range 4 {
			a.op("VMULPS %d(R8), Y14, Y%d", 32*v, 6+v)
			a.op("VFMADD231PS Y%d, Y%d, Y%d", 6+v, v, 10+v)
		}
	} else {
		for v := range 2 {
			a.op("VMULPS %d(R8), Y14, Y%d", 32*v, 12+v)
			a.op("VMOVUPS %d(BX), Y%d", 64*h+32*v, 10+v)
			a.op("VFMADD231PS Y%d, Y%d, Y%d", 12+v, t.sum(v, 0), 10+v)
		}
	}
	a.op("TESTQ AX, AX")
	a.op("JEQ  store%d", h)
	a.op("VBROADCASTSS 16(R11), Y14")
	for v := range t.nv() {
		a.op("VFNMADD231PS %d(R8), Y14, Y%d", 128+32*v, 10+v)
	}
	a.label(fmt.Sprint("store", h))
	for v := range t.nv() {
		if t.parts == 3 {
			a.op("VMOVUPS Y%d, %d(BX)", 10+v, 64*h+32*v)
		}
	}
}

// nbSplit256 writes nbitsMax256, nbitsSplit1x256, nbitsSplit3x256 and nbitsWords256.
func nbSplit256(a *asm, stubs *strings.Builder) {
	decl := "func nbitsMax256(x *float32, n int) uint32"
	fmt.Fprintf(stubs, "\n// nbitsMax256 is nbitsMax512 with AVX2.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "nbitsMax256", 20)
	a.op("MOVQ x+0(FP), SI")
	a.op("MOVQ n+8(FP), CX")
	nbMost256(a, "SI", "loop")
	a.op("VMOVD X0, AX")
	a.op("MOVL AX, ret+16(FP)")
	a.op("VZEROUPPER")
	a.op("RET")
	a.data("nbitsPowers", []uint32{0x43800000, 0x47800000})                                                    // 256 and 65536
	a.data("nbitsOnes", append(slices.Repeat([]uint32{0x10001}, 8), slices.Repeat([]uint32{0x1000100}, 8)...)) // words of 1 and of 256
	// two packs leave digits 0 and 1 of the groups 0 to 3 as dwords 0 2 | 1 3 of the lanes: 0 and 1, then 2 and 3; digit 2 alone in 0 and 1
	a.data("nbitsOrder1", []uint32{0, 4, 1, 5, 0, 0, 0, 0})
	a.data("nbitsOrder3", []uint32{0, 2, 0, 4, 6, 0, 1, 3, 0, 5, 7, 0, 0, 0, 0, 0})
	a.data("nbitsOrder2", []uint32{0, 0, 0, 0, 0, 4, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0})
	for _, parts := range []int{1, 3} {
		name := fmt.Sprintf("nbitsSplit%dx256", parts)
		decl := fmt.Sprintf("func %s(x *float32, n int, factor float32, q *int8, sums *[3]int32)", name)
		fmt.Fprintf(stubs, "\n// %s is nbitsSplit%d with AVX2.\n//\n//go:noescape\n%s\n", name, parts, decl)
		a.text(decl, name, 40)
		a.op("MOVQ x+0(FP), SI")
		a.op("MOVQ n+8(FP), CX")
		a.op("VBROADCASTSS factor+16(FP), Y15")
		a.op("MOVQ q+24(FP), DI")
		a.op("MOVQ sums+32(FP), BX")
		for p := range parts {
			a.op("VPXOR Y%[1]d, Y%[1]d, Y%[1]d", 10+p)
		}
		nbDigits256(a, parts)
		for p := range parts {
			nbSum256(a, 10+p)
			a.op("VMOVD X2, %d(BX)", 4*p)
		}
		a.op("VZEROUPPER")
		a.op("RET")
	}
	decl = "func nbitsWords256(n int, q, w *int8)"
	fmt.Fprintf(stubs, "\n// nbitsWords256 widens n digits, a multiple of 16 and not 0, to 16 bits, those of every four in the order 0, 2, 1, 3.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "nbitsWords256", 24)
	for _, l := range []string{"n+0(FP), CX", "q+8(FP), SI", "w+16(FP), DI"} {
		a.op("MOVQ %s", l)
	}
	a.label("loop")
	a.op("VPMOVSXBW (SI), Y0")
	a.op("VPSHUFLW $0xd8, Y0, Y0")
	a.op("VPSHUFHW $0xd8, Y0, Y0")
	a.op("VMOVDQU Y0, (DI)")
	a.op("ADDQ $16, SI")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $16, CX")
	a.op("JG   loop")
	a.op("VZEROUPPER")
	a.op("RET")
}

// nbDigits256 writes the loop over CX elements, at SI, that makes digits of them, at DI, by the factor in Y15, and adds them to Y10 and on.
func nbDigits256(a *asm, parts int) {
	a.label("loop")
	for i := range 2 {
		a.op("VMULPS %d(SI), Y15, Y%d", 32*i, i)
		a.op("VCVTPS2DQ Y%[1]d, Y%[1]d", i)
	}
	for p := range parts {
		d := [2]int{2, 3}
		if p == parts-1 {
			d = [2]int{0, 1}
		} else {
			for i := range 2 {
				a.op("VPSLLD $24, Y%d, Y%d", i, d[i])
				a.op("VPSRAD $24, Y%[1]d, Y%[1]d", d[i])
				a.op("VPSUBD Y%d, Y%[2]d, Y%[2]d", d[i], i)
				a.op("VPSRAD $8, Y%[1]d, Y%[1]d", i)
			}
		}
		for i := range 2 {
			a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", d[i], 10+p)
		}
		a.op("VPACKSSDW Y%d, Y%d, Y%d", d[1], d[0], 4+p)
	}
	if parts == 1 {
		a.op("VPACKSSWB Y4, Y4, Y4")
		a.op("VMOVDQU nbitsOrder1<>(SB), Y5")
		a.op("VPERMD Y4, Y5, Y4")
		a.op("VMOVDQU X4, (DI)")
	} else {
		a.op("VPACKSSWB Y5, Y4, Y4")
		a.op("VPACKSSWB Y6, Y6, Y6")
		storeDigits(a, "nbitsOrder3")
	}
	a.op("ADDQ $64, SI")
	a.op("ADDQ $%d, DI", 16*parts)
	a.op("SUBQ $16, CX")
	a.op("JG   loop")
}

// nbSum256 leaves the sum of the eight integers of register r in X2.
func nbSum256(a *asm, r int) {
	a.op("VEXTRACTI128 $1, Y%d, X1", r)
	a.op("VPADDD X1, X%d, X2", r)
	a.op("VPSHUFD $0x4e, X2, X1")
	a.op("VPADDD X1, X2, X2")
	a.op("VPSHUFD $0xb1, X2, X1")
	a.op("VPADDD X1, X2, X2")
}

// storeDigits stores the digits of Y4, in the named order, and the last ones, of Y6, as 48 bytes at DI.
func storeDigits(a *asm, order string) {
	for i, blend := range []int{0x24, 0x09} {
		a.op("VMOVDQU %s<>+%d(SB), Y7", order, 32*i)
		a.op("VMOVDQU nbitsOrder2<>+%d(SB), Y8", 32*i)
		a.op("VPERMD Y4, Y7, Y7")
		a.op("VPERMD Y6, Y8, Y8")
		a.op("VPBLENDD $%d, Y8, Y7, Y7", blend)
		a.op("VMOVDQU %s7, %d(DI)", []string{"Y", "X"}[i], 32*i)
	}
}
