package main

import (
	"fmt"
	"strings"
)

// convArgs is the tail of the declarations of the integer convolutions.
const convU8Args = "taps, k4 int, ptrs *unsafe.Pointer, w *int8, y *uint8, ldy int, q *convOut"

// int8ConvFiles writes the convolutions of bytes by VPDPBUSD.
func int8ConvFiles() []file {
	var s strings.Builder
	fmt.Fprintf(&s, goHead, "int8conv.go")
	s.WriteString("\nimport \"unsafe\"\n")
	a := newAsm("int8conv.go")
	for nv := 4; nv >= 1; nv-- {
		rows := 8
		if nv == 4 {
			rows = 6
		}
		name := fmt.Sprintf("convVNNIx%dm", 16*nv)
		for mr := 1; mr <= rows; mr++ {
			convU8(a, &s, name, nv, mr)
		}
		fmt.Fprintf(&s, "\n// %s calls the kernel for mr rows, 1 to %d: taps times k4 groups of four products.\nfunc %s(mr int, %s) {\n\tswitch mr {\n", name, rows, name, convU8Args)
		for mr := 1; mr <= rows; mr++ {
			fmt.Fprintf(&s, "\tcase %d:\n\t\t%s%d(taps, k4, ptrs, w, y, ldy, q)\n", mr, name, mr)
		}
		s.WriteString("\t}\n}\n")
	}
	depthwiseU8(a, &s)
	b := newAsm("int8conv.go")
	depthwiseU8x16(b, &s)
	depthwiseU8x32(b, &s)
	binnedConvs(b, &s)
	for mr := 1; mr <= 4; mr++ {
		convNarrow(b, &s, mr, false)
		convNarrow(b, &s, mr, true)
	}
	return []file{a.file("int8_conv_avx512_amd64.s"), b.file("int8_conv_avx2_amd64.s"), {"int8_conv_stubs_amd64.go", []byte(s.String())}}
}

// convRow are the registers that point at the pixels of the rows.
var convRow = []string{"R8", "R9", "R10", "R11", "R12", "R13", "R15", "BX"}

// convU8 writes one kernel: mr rows of nv vectors of 16 columns. Registers: AX taps, CX k4, DX index, SI ptrs, DI w.
func convU8(a *asm, s *strings.Builder, name string, nv, mr int) {
	name = fmt.Sprintf("%s%d", name, mr)
	decl := fmt.Sprintf("func %s(%s)", name, convU8Args)
	fmt.Fprintf(s, "\n//go:noescape\n%s\n", decl)
	a.text(decl, name, 56)
	sum := func(i, v int) string { return fmt.Sprintf("Z%d", nv*i+v) }
	for _, l := range []string{"q+48(FP), BX", "taps+0(FP), AX", "k4+8(FP), CX", "ptrs+16(FP), SI", "w+24(FP), DI"} {
		a.op("MOVQ %s", l)
	}
	a.op("MOVQ (BX), BX")
	for v := range nv {
		a.op("VMOVDQU32 %d(BX), %s", 64*v, sum(0, v))
	}
	for i := 1; i < mr; i++ {
		for v := range nv {
			a.op("VMOVDQA32 %s, %s", sum(0, v), sum(i, v))
		}
	}
	a.label("tap")
	for i := range mr {
		a.op("MOVQ %d(SI), %s", 8*i, convRow[i])
	}
	a.op("XORQ DX, DX")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	for v := range nv {
		a.op("VMOVDQU32 %d(DI), Z%d", 64*v, 24+v)
	}
	for i := range mr {
		if nv == 1 {
			a.op("VPBROADCASTD (%s)(DX*4), Z%d", convRow[i], 28+i&3)
			a.op("VPDPBUSD Z24, Z%d, %s", 28+i&3, sum(i, 0))
			continue
		}
		a.op("VPBROADCASTD (%s)(DX*4), Z%d", convRow[i], 28+i&3)
		for v := range nv {
			a.op("VPDPBUSD Z%d, Z%d, %s", 24+v, 28+i&3, sum(i, v))
		}
	}
	a.op("ADDQ $%d, DI", 64*nv)
	a.op("INCQ DX")
	a.op("CMPQ DX, CX")
	a.op("JLT  loop")
	a.op("ADDQ $%d, SI", 8*mr)
	a.op("DECQ AX")
	a.op("JNE  tap")
	a.op("MOVQ q+48(FP), BX")
	a.op("MOVQ y+32(FP), DI")
	a.op("MOVQ ldy+40(FP), DX")
	convConstants(a, nv)
	for i := range mr {
		regs := make([]string, nv)
		for v := range nv {
			regs[v] = sum(i, v)
		}
		convStore(a, regs)
		if i < mr-1 {
			a.op("ADDQ DX, DI")
		}
	}
	a.op("VZEROUPPER")
	a.op("RET")
}

// convConstants loads the limits: Z24 hi, Z25 zero, Z26 lo; R8 scale; K1 the columns.
func convConstants(a *asm, nv int) {
	a.op("MOVQ 8(BX), R8")
	a.op("VBROADCASTSS 16(BX), Z24")
	if nv == 4 {
		a.op("VPBROADCASTW 20(BX), Z25")
		a.op("VPBROADCASTD 28(BX), Z26")
		a.op("KMOVQ 32(BX), K1")
		return
	}
	a.op("VPBROADCASTD 20(BX), Z25")
	a.op("VPBROADCASTD 24(BX), Z26")
	a.op("KMOVW 32(BX), K1")
}

// convStore turns the sums of a row into bytes at (DI).
func convStore(a *asm, regs []string) {
	for v, r := range regs {
		a.op("VCVTDQ2PS %s, %s", r, r)
		a.op("VMULPS %d(R8), %s, %s", 64*v, r, r)
		a.op("VMINPS Z24, %s, %s", r, r)
		a.op("VCVTPS2DQ %s, %s", r, r)
	}
	if len(regs) == 4 {
		a.op("VPACKSSDW %s, %s, %s", regs[1], regs[0], regs[0])
		a.op("VPACKSSDW %s, %s, %s", regs[3], regs[2], regs[2])
		a.op("VPADDSW Z25, %s, %s", regs[0], regs[0])
		a.op("VPADDSW Z25, %s, %s", regs[2], regs[2])
		a.op("VPACKUSWB %s, %s, %s", regs[2], regs[0], regs[0])
		a.op("VPMAXUB Z26, %s, %s", regs[0], regs[0])
		a.op("VMOVDQU8 %s, K1, (DI)", regs[0])
		return
	}
	for v, r := range regs {
		a.op("VPADDD Z25, %s, %s", r, r)
		a.op("VPMAXSD Z26, %s, %s", r, r)
		if v == len(regs)-1 {
			a.op("VPMOVDB %s, K1, %d(DI)", r, 16*v)
		} else {
			a.op("VPMOVDB %s, %d(DI)", r, 16*v)
		}
	}
}

// depthwiseU8 writes the depthwise convolution of 64 channels: the bytes of four taps are put side by side and multiplied at once.
func depthwiseU8(a *asm, s *strings.Builder) {
	decl := "func depthwise512(pixels, t4 int, ptrs *unsafe.Pointer, at, step int, w *int8, y *uint8, ldy int, q *convOut)"
	fmt.Fprintf(s, "\n// depthwise512 computes up to 64 channels of pixels. The 4*t4 taps of the first one lie at ptrs + at bytes, of each other step bytes on.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "depthwise512", 72)
	for _, l := range []string{"q+64(FP), BX", "pixels+0(FP), CX", "at+24(FP), R13", "step+32(FP), R12", "y+48(FP), DI", "ldy+56(FP), DX"} {
		a.op("MOVQ %s", l)
	}
	convConstants(a, 4)
	a.op("MOVQ (BX), R15")
	a.label("pixel")
	for v := range 4 {
		a.op("VMOVDQU32 %d(R15), Z%d", 64*v, v)
	}
	a.op("MOVQ t4+8(FP), AX")
	a.op("MOVQ w+40(FP), BX")
	a.op("MOVQ ptrs+16(FP), SI")
	a.label("taps")
	for i := range 4 {
		a.op("MOVQ %d(SI), R%d", 8*i, 9+i%2)
		a.op("VMOVDQU8.Z (R%d)(R13*1), K1, Z%d", 9+i%2, 4+i)
	}
	a.op("VPUNPCKLBW Z5, Z4, Z8")
	a.op("VPUNPCKHBW Z5, Z4, Z9")
	a.op("VPUNPCKLBW Z7, Z6, Z10")
	a.op("VPUNPCKHBW Z7, Z6, Z11")
	a.op("VPUNPCKLWD Z10, Z8, Z12")
	a.op("VPUNPCKHWD Z10, Z8, Z13")
	a.op("VPUNPCKLWD Z11, Z9, Z14")
	a.op("VPUNPCKHWD Z11, Z9, Z15")
	for v := range 4 {
		a.op("VPDPBUSD %d(BX), Z%d, Z%d", 64*v, 12+v, v)
	}
	a.op("ADDQ $32, SI")
	a.op("ADDQ $256, BX")
	a.op("DECQ AX")
	a.op("JNE  taps")
	convStore(a, []string{"Z0", "Z1", "Z2", "Z3"})
	a.op("ADDQ DX, DI")
	a.op("ADDQ R12, R13")
	a.op("DECQ CX")
	a.op("JNE  pixel")
	a.op("VZEROUPPER")
	a.op("RET")
}

// convStore16 turns the sums of 16 columns, at registers r and r+1 in the order of lane16, into bytes at (DI): Y12 hi, Y13 zero as words, Y14 lo, R8 scale.
func convStore16(a *asm, r int) {
	for v := range 2 {
		a.op("VCVTDQ2PS Y%d, Y%d", r+v, r+v)
		a.op("VMULPS %d(R8), Y%d, Y%d", 32*v, r+v, r+v)
		a.op("VMINPS Y12, Y%d, Y%d", r+v, r+v)
		a.op("VCVTPS2DQ Y%d, Y%d", r+v, r+v)
	}
	a.op("VPACKSSDW Y%d, Y%d, Y%d", r+1, r, r)
	a.op("VPADDSW Y13, Y%d, Y%d", r, r)
	a.op("VPACKUSWB Y%d, Y%d, Y%d", r, r, r)
	a.op("VPMAXUB Y14, Y%d, Y%d", r, r)
	a.op("VPERMQ $0x08, Y%d, Y%d", r, r)
	a.op("VMOVDQU X%d, (DI)", r)
}

// convNarrow writes the AVX2 convolution for weights of which two neighbours are at most 128 apart from 0 in sum: 255 times that fits the 16 bits
// of VPMADDUBSW. Of paired ones that holds for the four that meet in one lane of two groups of four, so that their products are added in 16 bits
// and widened once. tiles of mr rows of 16 columns, one after the other. Registers as in convU8, and R13 tiles, R12 y.
func convNarrow(a *asm, s *strings.Builder, mr int, paired bool) {
	name, kind := fmt.Sprintf("convNarrowx16m%d", mr), "narrow"
	if paired {
		name, kind = fmt.Sprintf("convPairedx16m%d", mr), "paired"
	}
	decl := fmt.Sprintf("func %s(tiles, %s)", name, convU8Args)
	fmt.Fprintf(s, "\n// %s computes 16 columns of tiles of %d row(s) of %s weights: taps times k4 groups of four products.\n//\n//go:noescape\n%s\n", name, mr, kind, decl)
	a.text(decl, name, 64)
	for _, l := range []string{"tiles+0(FP), R13", "y+40(FP), R12", "ptrs+24(FP), SI", "k4+16(FP), CX"} {
		a.op("MOVQ %s", l)
	}
	a.label("tile")
	for _, l := range []string{"q+56(FP), BX", "taps+8(FP), AX", "w+32(FP), DI", "(BX), BX"} {
		a.op("MOVQ %s", l)
	}
	for v := range 2 {
		for i := range mr {
			a.op("VMOVDQU %d(BX), Y%d", 32*v, 2*i+v)
		}
	}
	a.op("VPCMPEQW Y14, Y14, Y14")
	a.op("VPSRLW $15, Y14, Y14")
	a.label("tap")
	for i := range mr {
		a.op("MOVQ %d(SI), %s", 8*i, convRow[i])
	}
	a.op("XORQ DX, DX")
	if paired {
		a.op("DECQ CX")
		a.op("JLE  last")
		a.b.WriteString("\n\tPCALIGN $32\n")
		a.label("pair")
		a.op("VMOVDQU (DI), Y8")
		a.op("VMOVDQU 32(DI), Y9")
		for i := range mr {
			a.op("VPBROADCASTD (%s)(DX*4), Y10", convRow[i])
			a.op("VPBROADCASTD 4(%s)(DX*4), Y11", convRow[i])
			for v := range 2 {
				a.op("VPMADDUBSW Y%d, Y10, Y12", 8+v)
				a.op("VPMADDUBSW %d(DI), Y11, Y13", 64+32*v)
				a.op("VPADDW Y13, Y12, Y12")
				a.op("VPMADDWD Y14, Y12, Y12")
				a.op("VPADDD Y12, Y%d, Y%d", 2*i+v, 2*i+v)
			}
		}
		a.op("ADDQ $128, DI")
		a.op("ADDQ $2, DX")
		a.op("CMPQ DX, CX")
		a.op("JLT  pair")
		a.label("last")
		a.op("INCQ CX")
		a.op("CMPQ DX, CX")
		a.op("JGE  next")
	} else {
		a.b.WriteString("\n\tPCALIGN $32\n")
	}
	a.label("loop")
	a.op("VMOVDQU (DI), Y8")
	a.op("VMOVDQU 32(DI), Y9")
	for i := range mr {
		a.op("VPBROADCASTD (%s)(DX*4), Y10", convRow[i])
		for v := range 2 {
			a.op("VPMADDUBSW Y%d, Y10, Y%d", 8+v, 11+v)
			a.op("VPMADDWD Y14, Y%d, Y%d", 11+v, 11+v)
			a.op("VPADDD Y%d, Y%d, Y%d", 11+v, 2*i+v, 2*i+v)
		}
	}
	a.op("ADDQ $64, DI")
	a.op("INCQ DX")
	a.op("CMPQ DX, CX")
	a.op("JLT  loop")
	if paired {
		a.label("next")
	}
	a.op("ADDQ $%d, SI", 8*mr)
	a.op("DECQ AX")
	a.op("JNE  tap")
	for _, l := range []string{"q+56(FP), BX", "R12, DI", "ldy+48(FP), DX", "8(BX), R8"} {
		a.op("MOVQ %s", l)
	}
	a.op("VBROADCASTSS 16(BX), Y12")
	a.op("VPBROADCASTW 20(BX), Y13")
	a.op("VPBROADCASTD 28(BX), Y14")
	for i := range mr {
		convStore16(a, 2*i)
		a.op("ADDQ DX, DI")
	}
	a.op("MOVQ DI, R12")
	a.op("DECQ R13")
	a.op("JNE  tile")
	a.op("VZEROUPPER")
	a.op("RET")
}
