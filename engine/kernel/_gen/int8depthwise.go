package main

import (
	"fmt"
	"strings"
)

// depthwiseU8x16 is the depthwise convolution of 16 channels with AVX2: words of two taps side by side, multiplied and added by VPMADDWD,
// which is exact for them.
func depthwiseU8x16(a *asm, s *strings.Builder) {
	decl := "func depthwise256(pixels, t2 int, ptrs *unsafe.Pointer, at, step int, w *int8, y *uint8, ldy int, q *convOut)"
	fmt.Fprintf(s, "\n// depthwise256 computes 16 channels of pixels. The 2*t2 taps of the first one lie at ptrs + at bytes, of each other step bytes on.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "depthwise256", 72)
	for _, l := range []string{"q+64(FP), BX", "pixels+0(FP), CX", "at+24(FP), R13", "step+32(FP), R12", "y+48(FP), DI", "ldy+56(FP), DX", "8(BX), R8", "(BX), R15"} {
		a.op("MOVQ %s", l)
	}
	a.op("VBROADCASTSS 16(BX), Y12")
	a.op("VPBROADCASTW 20(BX), Y13")
	a.op("VPBROADCASTD 28(BX), Y14")
	a.label("pixel")
	a.op("VMOVDQU (R15), Y0")
	a.op("VMOVDQU 32(R15), Y1")
	a.op("MOVQ t2+8(FP), AX")
	a.op("MOVQ w+40(FP), BX")
	a.op("MOVQ ptrs+16(FP), SI")
	a.label("taps")
	a.op("MOVQ (SI), R9")
	a.op("MOVQ 8(SI), R10")
	a.op("VPMOVZXBW (R9)(R13*1), Y4")
	a.op("VPMOVZXBW (R10)(R13*1), Y5")
	a.op("VPUNPCKLWD Y5, Y4, Y6")
	a.op("VPUNPCKHWD Y5, Y4, Y7")
	a.op("VPMADDWD (BX), Y6, Y6")
	a.op("VPMADDWD 32(BX), Y7, Y7")
	a.op("VPADDD Y6, Y0, Y0")
	a.op("VPADDD Y7, Y1, Y1")
	a.op("ADDQ $16, SI")
	a.op("ADDQ $64, BX")
	a.op("DECQ AX")
	a.op("JNE  taps")
	convStore16(a, 0)
	a.op("ADDQ DX, DI")
	a.op("ADDQ R12, R13")
	a.op("DECQ CX")
	a.op("JNE  pixel")
	a.op("VZEROUPPER")
	a.op("RET")
}

// depthwiseU8x32 is the depthwise convolution of 32 channels of two pixels at a time with AVX2: bytes of two taps side by side, multiplied and added
// by VPMADDUBSW, added up in two sums of 16 bits, A and B (see split in package kernel), which are widened, multiplied and added by one VPMADDWD at the
// end. Registers: Y4 to Y7 the sums of the first pixel, A and then B, Y8 to Y11 those of the second, Y15 what A and B are multiplied by.
func depthwiseU8x32(a *asm, s *strings.Builder) {
	decl := "func depthwise256x32(twos int, ptrs *unsafe.Pointer, at, step int, w *int8, y *uint8, ldy int, q *convOut)"
	fmt.Fprintf(s, "\n// depthwise256x32 computes 32 channels of pixels, two at a time. The taps of the first pixel lie at ptrs + at bytes, of each other step bytes on.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "depthwise256x32", 64)
	for _, l := range []string{"twos+0(FP), CX", "at+16(FP), R13", "step+24(FP), R12", "y+40(FP), DI", "ldy+48(FP), DX"} {
		a.op("MOVQ %s", l)
	}
	a.op("MOVQ w+32(FP), BX")
	a.op("VMOVDQU 32(BX), Y15")
	a.label("pixels")
	a.op("MOVQ w+32(FP), BX")
	a.op("MOVQ ptrs+8(FP), SI")
	a.op("LEAQ (R13)(R12*1), R14")
	for v := range 8 {
		a.op("VMOVDQU %d(BX), Y%d", 64+32*(v%4), 4+v)
	}
	a.op("MOVQ (BX), AX")   // pairs that add to both sums
	a.op("MOVQ 8(BX), R11") // to A
	a.op("ADDQ $192, BX")
	a.op("TESTQ AX, AX")
	a.op("JEQ  first")
	depthwisePairs(a, "both", "AX", 2)
	a.label("first")
	a.op("TESTQ R11, R11")
	a.op("JEQ  end")
	depthwisePairs(a, "one", "R11", 1)
	a.label("end")
	a.op("MOVQ q+56(FP), BX")
	a.op("MOVQ 8(BX), R8")
	a.op("MOVQ (BX), R15")
	a.op("VBROADCASTSS 16(BX), Y12")
	a.op("VPBROADCASTW 20(BX), Y13")
	a.op("VPBROADCASTD 28(BX), Y14")
	for k, y := range []string{"(DI)", "(DI)(DX*1)"} {
		for v := range 2 {
			a.op("VPUNPCKLWD Y%d, Y%d, Y%d", 6+4*k+v, 4+4*k+v, 2*v)
			a.op("VPUNPCKHWD Y%d, Y%d, Y%d", 6+4*k+v, 4+4*k+v, 2*v+1)
		}
		for v := range 4 {
			a.op("VPMADDWD Y15, Y%d, Y%d", v, v)
			a.op("VPADDD %d(R15), Y%d, Y%d", 32*v, v, v)
		}
		for v := range 4 {
			a.op("VCVTDQ2PS Y%d, Y%d", v, v)
			a.op("VMULPS %d(R8), Y%d, Y%d", 32*v, v, v)
			a.op("VMINPS Y12, Y%d, Y%d", v, v)
			a.op("VCVTPS2DQ Y%d, Y%d", v, v)
		}
		for _, v := range []int{0, 2} {
			a.op("VPACKSSDW Y%d, Y%d, Y%d", v+1, v, v)
			a.op("VPADDSW Y13, Y%d, Y%d", v, v)
		}
		a.op("VPACKUSWB Y2, Y0, Y0")
		a.op("VPMAXUB Y14, Y0, Y0")
		a.op("VMOVDQU Y0, %s", y)
	}
	a.op("LEAQ (DI)(DX*2), DI")
	a.op("LEAQ (R13)(R12*2), R13")
	a.op("DECQ CX")
	a.op("JNE  pixels")
	a.op("VZEROUPPER")
	a.op("RET")
}

// depthwisePairs adds the products of as many pairs of taps as the register count says to so many sums.
func depthwisePairs(a *asm, name, count string, sums int) {
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label(name)
	a.op("MOVQ (SI), R9")
	a.op("MOVQ 8(SI), R10")
	a.op("VMOVDQU (BX), Y12")
	a.op("VMOVDQU 32(BX), Y13")
	for k, at := range []string{"R13", "R14"} {
		a.op("VMOVDQU (R9)(%s*1), Y0", at)
		a.op("VMOVDQU (R10)(%s*1), Y1", at)
		a.op("VPUNPCKLBW Y1, Y0, Y2")
		a.op("VPUNPCKHBW Y1, Y0, Y3")
		for v := range 2 {
			a.op("VPMADDUBSW Y%d, Y%d, Y%d", 12+v, 2+v, v)
			a.op("VPADDW Y%d, Y%[2]d, Y%[2]d", v, 4+4*k+v)
		}
		if sums == 1 {
			continue
		}
		for v := range 2 {
			a.op("VPMADDUBSW %d(BX), Y%[2]d, Y%[2]d", 64+32*v, 2+v)
			a.op("VPADDW Y%d, Y%[2]d, Y%[2]d", 2+v, 6+4*k+v)
		}
	}
	a.op("ADDQ $%d, BX", 64*sums)
	a.op("ADDQ $16, SI")
	a.op("DECQ %s", count)
	a.op("JNE  %s", name)
}
