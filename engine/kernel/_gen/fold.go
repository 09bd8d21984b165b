package main

import (
	"fmt"
	"strings"
)

// The AVX2 products of bytes below are exact for one row and any weights, with VPMADDUBSW, whose sums of two products have to fit 16 bits. The row
// is folded: of every element x, -128 to 127, the magnitude is the unsigned operand, and where x is negative the weight w, of the same range,
// has its bits inverted: |x|*(-1-w) = x*w - |x|. Two of these are -2*128*128 = -2^15 at the least, which fits, and 2*128*127 at most;
// the magnitudes of the negative elements are added to the sum again. A widening for each is left, with VPMADDWD by ones.

// foldBytes writes the folding of a row: four magnitudes and the four masks of the weights, in turn.
func foldBytes(a *asm, stubs *strings.Builder) {
	decl := "func foldBytes256(blocks, block int, x *int8, flip, mask uint32, dst *uint8, sums *int32, stride int)"
	fmt.Fprintf(stubs, "\n// foldBytes256 is foldBytesGo of whole blocks, at least one; block is a multiple of 16 and not 0.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "foldBytes256", 56)
	for _, l := range []string{"blocks+0(FP), R12", "block+8(FP), R8", "x+16(FP), SI", "dst+32(FP), DI", "sums+40(FP), BX", "stride+48(FP), R9"} {
		a.op("MOVQ %s", l)
	}
	for i, l := range []string{"flip+24(FP)", "mask+28(FP)"} {
		a.op("MOVL %s, AX", l)
		a.op("VMOVD AX, X%d", 8+i)
		a.op("VPBROADCASTD X%[1]d, X%[1]d", 8+i)
	}
	a.op("VPXOR X7, X7, X7")
	a.label("block")
	a.op("MOVQ R8, CX")
	a.op("VPXOR X6, X6, X6")
	a.label("loop")
	a.op("VPXOR (SI), X8, X0")
	a.op("VPABSB X0, X1")
	a.op("VPCMPGTB X0, X7, X2")
	a.op("VPAND X1, X2, X3")
	a.op("VPSADBW X7, X3, X3")
	a.op("VPADDD X3, X6, X6")
	a.op("VPXOR X9, X2, X2")
	a.op("VPUNPCKLDQ X2, X1, X3")
	a.op("VPUNPCKHDQ X2, X1, X4")
	a.op("VMOVDQU X3, (DI)")
	a.op("VMOVDQU X4, 16(DI)")
	a.op("ADDQ $16, SI")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $16, CX")
	a.op("JG   loop")
	a.op("VPSHUFD $0x4e, X6, X0")
	a.op("VPADDD X0, X6, X6")
	a.op("VMOVD X6, (BX)")
	a.op("ADDQ R9, BX")
	a.op("DECQ R12")
	a.op("JNE  block")
	a.op("VZEROUPPER")
	a.op("RET")
}

// foldGroup adds the product of group g of four folded elements, SI, and of 32 columns of weights, DI, to Y0 to Y3, and fetches what is so far ahead, if at
// all. Y14 has words of 1.
func foldGroup(a *asm, g, ahead int) {
	a.op("VPBROADCASTD %d(SI), Y4", 8*g)
	a.op("VPBROADCASTD %d(SI), Y5", 8*g+4)
	for v := range 4 {
		a.op("VPXOR %d(DI), Y5, Y%d", 128*g+32*v, 6+v)
		if v%2 == 0 {
			fetch(a, ahead, 128*g+32*v)
		}
	}
	for v := range 4 {
		a.op("VPMADDUBSW Y%[1]d, Y4, Y%[1]d", 6+v)
	}
	for v := range 4 {
		a.op("VPMADDWD Y14, Y%[1]d, Y%[1]d", 6+v)
	}
	for v := range 4 {
		a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", 6+v, v)
	}
}

// foldPanel starts a kernel and a panel of it: Y0 to Y3 are where the sums start, DX the fours and SI the folded row. foldPanelEnd stores the sums and
// goes on to the next.
func foldPanel(a *asm) {
	for _, l := range []string{"panels+0(FP), R13", "b+32(FP), DI", "sums+40(FP), R8", "c+48(FP), BX"} {
		a.op("MOVQ %s", l)
	}
	a.op("MOVL start+24(FP), AX")
	a.op("VPCMPEQW Y14, Y14, Y14")
	a.op("VPSRLW $15, Y14, Y14")
	a.label("panel")
	a.op("MOVQ k+8(FP), DX")
	a.op("MOVQ x+16(FP), SI")
	a.op("VMOVD AX, X3")
	for v := range 4 {
		a.op("VPBROADCASTD X3, Y%d", v)
	}
}

func foldPanelEnd(a *asm) {
	for v := range 4 {
		a.op("VMOVDQU %d(R8), Y%d", 32*v, 4+v)
		a.op("VPSLLD $7, Y%[1]d, Y%[1]d", 4+v)
		a.op("VPADDD Y%d, Y%[2]d, Y%[2]d", 4+v, v)
		a.op("VMOVDQU Y%d, %d(BX)", v, 32*v)
	}
	a.op("ADDQ $128, R8")
	a.op("ADDQ $128, BX")
	a.op("DECQ R13")
	a.op("JNE  panel")
	a.op("VZEROUPPER")
	a.op("RET")
}

// foldRow writes the product of one row of unsigned bytes, folded less 128, and any signed weights.
func foldRow(a *asm, stubs *strings.Builder) {
	decl := "func foldU8S8x32m1(panels, k int, x *uint8, start int32, b *int8, sums, c *int32)"
	fmt.Fprintf(stubs, "\n// foldU8S8x32m1 is the exact AVX2 product of one folded row and panels of 32 columns: the sum of the products, start and 128 times sums.\n"+
		"// k counts fours.\n//\n//go:noescape\n%s\n", decl)
	a.text(decl, "foldU8S8x32m1", 56)
	foldPanel(a)
	a.op("SUBQ $4, DX")
	a.op("JLT  rest")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("four")
	for g := range 4 {
		foldGroup(a, g, ahead)
	}
	a.op("ADDQ $32, SI")
	a.op("ADDQ $512, DI")
	a.op("SUBQ $4, DX")
	a.op("JGE  four")
	a.label("rest")
	a.op("ADDQ $4, DX")
	a.op("JEQ  store")
	a.label("one")
	foldGroup(a, 0, ahead)
	a.op("ADDQ $8, SI")
	a.op("ADDQ $128, DI")
	a.op("DECQ DX")
	a.op("JNE  one")
	a.label("store")
	foldPanelEnd(a)
}
