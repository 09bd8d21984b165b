package main

import (
	"fmt"
	"strings"
)

// vexProduct writes the product by VPDPBUSD with a VEX prefix, on CPUs with AVX-VNNI: mr rows, nv vectors of eight columns. With two vectors
// the last columns may be masked.
func vexProduct(a *asm, stubs *strings.Builder, mr, nv int) {
	name := fmt.Sprintf("vexU8S8x%dm%d", 8*nv, mr)
	decl := "func " + name + "(k int, a *uint8, lda int, b *int8, bs int, c *int32, ldc int"
	args, masked := 56, nv == 2
	if masked {
		decl, args = decl+", mask *int32", 64
	}
	decl += ")"
	fmt.Fprintf(stubs, "\n// %s is the AVX-VNNI product of %d row(s) and %d columns; k counts fours.\n//\n//go:noescape\n%s\n", name, mr, 8*nv, decl)
	a.text(decl, name, args)
	for _, l := range []string{"k+0(FP), DX", "a+8(FP), SI", "lda+16(FP), R8", "b+24(FP), DI", "bs+32(FP), R9", "c+40(FP), BX", "ldc+48(FP), R13"} {
		a.op("MOVQ %s", l)
	}
	if mr > 3 {
		a.op("LEAQ (R8)(R8*2), R10")
		a.op("ADDQ SI, R10")
	}
	for i := range mr * nv {
		a.op("VPXOR Y%d, Y%d, Y%d", i, i, i)
	}
	a.b.WriteString("\n\tPCALIGN $32\n")
	a.label("loop")
	from := mem{base: "DI"}
	for v := range nv {
		if nv*mr+nv < 16 {
			a.op("VMOVDQU %d(DI), Y%d", 32*v, nv*mr+v)
		}
	}
	for i := range mr {
		a.op("VPBROADCASTD %s, Y15", rowAddr(i, 0))
		for v := range nv {
			s := rm(regNum(nv*mr + v))
			if nv*mr+nv >= 16 { // no register is left: from memory
				from.disp = 32 * v
				s = from
			}
			a.inst(dotU8S8VEX("Y", nv*i+v, 15, s))
		}
	}
	a.op("ADDQ $4, SI")
	if mr > 3 {
		a.op("ADDQ $4, R10")
	}
	a.op("ADDQ R9, DI")
	a.op("DECQ DX")
	a.op("JNE  loop")
	if masked {
		a.op("MOVQ mask+56(FP), AX")
		a.op("VMOVDQU (AX), Y14")
		a.op("VMOVDQU 32(AX), Y15")
	}
	for i := range mr {
		for v := range nv {
			if masked {
				a.op("VPMASKMOVD Y%d, Y%d, %d(BX)", nv*i+v, 14+v, 32*v)
			} else {
				a.op("VMOVDQU Y%d, %d(BX)", nv*i+v, 32*v)
			}
		}
		if i < mr-1 {
			a.op("ADDQ R13, BX")
		}
	}
	a.op("VZEROUPPER")
	a.op("RET")
}
