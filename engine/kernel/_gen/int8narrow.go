package main

import (
	"fmt"
	"strings"
)

// narrowProduct writes the AVX2 product for weights of which two neighbours are at most 128 apart from 0 in sum: 255 times that fits the 16
// bits of VPMADDUBSW. mr rows, 16 columns.
func narrowProduct(a *asm, stubs *strings.Builder, mr int) {
	name := fmt.Sprintf("narrowU8S8x16m%d", mr)
	decl := "func " + name + "(k int, a *uint8, lda int, b *int8, bs int, c *int32, ldc int, mask *int32)"
	fmt.Fprintf(stubs, "\n// %s is the AVX2 product of %d row(s) and 16 columns of narrow weights; k counts fours.\n//\n//go:noescape\n%s\n", name, mr, decl)
	a.text(decl, name, 64)
	for _, l := range []string{"k+0(FP), DX", "a+8(FP), SI", "lda+16(FP), R8", "b+24(FP), DI", "bs+32(FP), R9", "c+40(FP), BX", "ldc+48(FP), R13"} {
		a.op("MOVQ %s", l)
	}
	if mr > 3 {
		a.op("LEAQ (R8)(R8*2), R10")
		a.op("ADDQ SI, R10")
	}
	for i := range 2 * mr {
		a.op("VPXOR Y%d, Y%d, Y%d", i, i, i)
	}
	a.op("VPCMPEQW Y13, Y13, Y13")
	a.op("VPSRLW $15, Y13, Y13")
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	a.op("VMOVDQU (DI), Y8")
	a.op("VMOVDQU 32(DI), Y9")
	for i := range mr {
		from := []string{"(SI)", "(SI)(R8*1)", "(SI)(R8*2)", "(R10)"}[i]
		a.op("VPBROADCASTD %s, Y10", from)
		for v := range 2 {
			a.op("VPMADDUBSW Y%d, Y10, Y%d", 8+v, 11+v)
			a.op("VPMADDWD Y13, Y%d, Y%d", 11+v, 11+v)
			a.op("VPADDD Y%d, Y%d, Y%d", 11+v, 2*i+v, 2*i+v)
		}
	}
	a.op("ADDQ $4, SI")
	if mr > 3 {
		a.op("ADDQ $4, R10")
	}
	a.op("ADDQ R9, DI")
	a.op("DECQ DX")
	a.op("JNE  loop")
	a.op("MOVQ mask+56(FP), AX")
	a.op("VMOVDQU (AX), Y14")
	a.op("VMOVDQU 32(AX), Y15")
	for i := range mr {
		for v := range 2 {
			a.op("VPMASKMOVD Y%d, Y%d, %d(BX)", 2*i+v, 14+v, 32*v)
		}
		if i < mr-1 {
			a.op("ADDQ R13, BX")
		}
	}
	a.op("VZEROUPPER")
	a.op("RET")
}
