package main

import "fmt"

// moveFiles generates routines that only move data; AVX2 serves every higher level too.
func moveFiles() []file {
	a := newAsm("vecmove.go")
	a.text(`func stride2AVX2(dst, src *float32, n int)
for i := range n { dst[i] = src[2*i] }; n is a positive multiple of 8 and 2n elements of src may be read`, "stride2AVX2", 24)
	a.op("MOVQ dst+0(FP), DI")
	a.op("MOVQ src+8(FP), SI")
	a.op("MOVQ n+16(FP), BX")
	a.label("loop")
	a.op("VMOVUPS (SI), Y0")
	a.op("VSHUFPS $0x88, 32(SI), Y0, Y0")
	a.op("VPERMPD $0xd8, Y0, Y0")
	a.op("VMOVUPS Y0, (DI)")
	a.op("ADDQ $64, SI")
	a.op("ADDQ $32, DI")
	a.op("SUBQ $8, BX")
	a.op("JNZ loop")
	a.op("VZEROUPPER")
	a.op("RET")
	a.text(`func interleave2AVX2(dst, x, y *float32, n int)
for i := range n { dst[2*i], dst[2*i+1] = x[i], y[i] }; n is a positive multiple of 8`, "interleave2AVX2", 32)
	a.op("MOVQ dst+0(FP), DI")
	a.op("MOVQ x+8(FP), SI")
	a.op("MOVQ y+16(FP), DX")
	a.op("MOVQ n+24(FP), BX")
	a.label("loop")
	a.op("VMOVUPS (SI), Y0")
	a.op("VMOVUPS (DX), Y1")
	a.op("VUNPCKLPS Y1, Y0, Y2")
	a.op("VUNPCKHPS Y1, Y0, Y3")
	a.op("VPERM2F128 $0x20, Y3, Y2, Y4")
	a.op("VPERM2F128 $0x31, Y3, Y2, Y5")
	a.op("VMOVUPS Y4, (DI)")
	a.op("VMOVUPS Y5, 32(DI)")
	a.op("ADDQ $32, SI")
	a.op("ADDQ $32, DX")
	a.op("ADDQ $64, DI")
	a.op("SUBQ $8, BX")
	a.op("JNZ loop")
	a.op("VZEROUPPER")
	a.op("RET")
	transpose8(a)
	return []file{a.file("vecmove_amd64.s")}
}

// transpose8 transposes 8 rows of 32-bit elements, 8 columns at a time, with unpacks, shuffles and half swaps.
func transpose8(a *asm) {
	a.text(`func transpose8AVX2(dst, src *byte, dstStride, srcStride, blocks int)
for i := range 8 { for j := range 8*blocks { dst[j,i] = src[i,j] } } on 32-bit elements, strides in bytes; blocks >= 1`,
		"transpose8AVX2", 40)
	for i, r := range []string{"dst DI", "src SI", "dstStride DX", "srcStride CX", "blocks BX"} {
		var name, reg string
		fmt.Sscan(r, &name, &reg)
		a.op("MOVQ %s+%d(FP), %s", name, 8*i, reg)
	}
	a.op("LEAQ (DX)(DX*2), R8")
	a.op("LEAQ (CX)(CX*2), R9")
	a.label("loop")
	a.op("LEAQ (SI)(CX*4), R10")
	a.op("LEAQ (DI)(DX*4), R11")
	rows := func(base, stride, triple string) [4]string {
		return [4]string{"(" + base + ")", "(" + base + ")(" + stride + "*1)", "(" + base + ")(" + stride + "*2)", "(" + base + ")(" + triple + "*1)"}
	}
	for i := range 8 {
		a.op("VMOVUPS %s, Y%d", rows([]string{"SI", "R10"}[i/4], "CX", "R9")[i%4], i)
	}
	for i := 0; i < 8; i += 2 {
		a.op("VUNPCKLPS Y%d, Y%d, Y%d", i+1, i, 8+i)
		a.op("VUNPCKHPS Y%d, Y%d, Y%d", i+1, i, 9+i)
	}
	// Y8..Y15 -> Y0..Y7: column pairs of four rows
	for h := range 2 {
		for k := range 2 {
			lo, hi := 8+4*h+k, 10+4*h+k
			a.op("VSHUFPS $0x44, Y%d, Y%d, Y%d", hi, lo, 4*h+2*k)
			a.op("VSHUFPS $0xee, Y%d, Y%d, Y%d", hi, lo, 4*h+2*k+1)
		}
	}
	for c := range 4 {
		a.op("VPERM2F128 $0x20, Y%d, Y%d, Y8", 4+c, c)
		a.op("VPERM2F128 $0x31, Y%d, Y%d, Y9", 4+c, c)
		a.op("VMOVUPS Y8, %s", rows("DI", "DX", "R8")[c])
		a.op("VMOVUPS Y9, %s", rows("R11", "DX", "R8")[c])
	}
	a.op("ADDQ $32, SI")
	a.op("LEAQ (DI)(DX*8), DI")
	a.op("DECQ BX")
	a.op("JNZ loop")
	a.op("VZEROUPPER")
	a.op("RET")
}
